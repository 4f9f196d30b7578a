//! Epochs: each turns when its time is over, and once its secret is disclosed, every draw made in it is recomputed.

use aevir_events::Recorded;

use super::{Counts, Fault, Flaw, compare};
use crate::{
    amount::{PPM, Ppm},
    decide,
    event::{Disclosure, Event},
    ids::{NodeId, TaskId},
    schedule::{Ticket, Urn},
    state::State,
};

/// A draw that waits for its epoch's secret.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Of its lease in the log.
    pub(super) position: u64,
    pub(super) task: TaskId,
    pub(super) node: NodeId,
    pub(super) ticket: Ticket,
    /// Which of the candidates the log says was drawn.
    pub(super) index: u32,
    pub(super) candidates: u32,
    /// Candidates that it says were passed over, each with the chance with which it was not; and the chance of the one that was drawn.
    pub(super) passed: Vec<(u32, Ppm)>,
    pub(super) weight: Ppm,
}

impl Kept {
    /// The chance with which a candidate is taken that comes up. One that the log does not name would have been named.
    fn weight_of(&self, index: u32) -> Ppm {
        let mut known = self.passed.iter();
        let known = known.find(|(passed, _)| *passed == index);
        match known {
            Some((_, weight)) => *weight,
            None if index == self.index => self.weight,
            None => PPM as Ppm,
        }
    }
}

/// How many of a tick's first events turn the epoch, as they must.
///
/// # Errors
/// Where an epoch was closed too early, was not closed in time, or was not followed by the next one.
pub(super) fn turned(state: &State, batch: &[&Recorded<Event>]) -> Result<usize, Fault> {
    let Some(first) = batch.first() else {
        return Ok(0);
    };
    let due = decide::epoch_is_over(state, first.time);
    let fault = |position: u64, text: &str| {
        let flaw = Flaw::Rule(text.into());
        Err(Fault { position, flaw })
    };
    let mut turned = 0;
    let mut closes = false;
    if let Event::EpochClosed(closed) = &first.event {
        if !due && closed.secret != Disclosure::Lost {
            return fault(
                first.position,
                "the epoch was closed before its time was over",
            );
        }
        // All of it but the secret follows from the state.
        let expected = decide::epoch_closed(state, closed.epoch, closed.secret.clone());
        turned = expected.len();
        closes = true;
        let found = batch.get(..turned).unwrap_or(batch);
        if let Some(fault) = compare::first_difference(expected, found, first.position) {
            return Err(fault);
        }
    }
    let opens = batch
        .get(turned)
        .is_some_and(|next| matches!(next.event, Event::EpochOpened(_)));
    if opens {
        turned += 1;
    }
    if closes && !opens {
        return fault(
            first.position + turned as u64,
            "no epoch was opened after the last one",
        );
    }
    // Logs of old have no epochs.
    if turned == 0 && due && state.epochs.last > 0 {
        return fault(
            first.position,
            "the epoch's time was over, and it was not closed",
        );
    }
    Ok(turned)
}

/// Recomputes the draws of an epoch that is closed here.
///
/// # Errors
/// The first draw that the secret does not lead to.
pub(super) fn disclosed(
    secret: &Disclosure,
    kept: Vec<Kept>,
    counts: &mut Counts,
) -> Result<(), Fault> {
    let Disclosure::Revealed(secret) = secret else {
        counts.draws_lost += kept.len() as u64;
        return Ok(());
    };
    let urn = Urn::of(secret);
    for draw in kept {
        let choice = draw
            .ticket
            .choose(&urn, draw.candidates, |index| draw.weight_of(index));
        let index = choice.index;
        let passed = draw.passed.iter().map(|(passed, _)| *passed);
        if index != draw.index || !passed.eq(choice.passed.iter().copied()) {
            let text = format!(
                "node {} was not drawn for task {}: of {} candidates, from 0, the epoch's secret draws number {index} after \
                 passing over {:?}, and the log has number {} after {:?}",
                draw.node,
                draw.task,
                draw.candidates,
                choice.passed,
                draw.index,
                draw.passed
                    .iter()
                    .map(|(passed, _)| *passed)
                    .collect::<Vec<_>>()
            );
            return Err(Fault {
                position: draw.position,
                flaw: Flaw::Rule(text),
            });
        }
        counts.draws += 1;
    }
    Ok(())
}
