//! Adaptive samples: whether a result was repeated follows from its node's stake and record, which are recomputed at once, and from
//! a draw, which is recomputed when the epoch's secret is disclosed.

use aevir_events::Recorded;

use super::{Counts, Fault, Flaw};
use crate::{
    decide::Fall,
    event::{Disclosure, Event, Trust, Untrusted},
    ids::{AssignmentId, TaskId},
    schedule::{Toss, Urn},
    state::State,
};

/// A coin that waits for its epoch's secret.
#[derive(Debug, Clone)]
pub(super) struct KeptCoin {
    /// Of its event in the log.
    position: u64,
    task: TaskId,
    toss: Toss,
    /// What the log says.
    repeated: bool,
}

/// What a batch of the log says of a coin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    position: u64,
    task: Option<TaskId>,
    trust: Option<Trust>,
}

impl Told {
    /// Of the result that is sealed in the batch.
    ///
    /// # Errors
    /// Where a coin is of another epoch than the open one.
    pub(super) fn of(
        state: &State,
        batch: &[&Recorded<Event>],
        sealed: AssignmentId,
    ) -> Result<Self, Fault> {
        let mut told = Self {
            position: batch.first().map_or(0, |r| r.position),
            task: state.assignment(sealed).map(|(task, _)| task.id),
            trust: None,
        };
        for recorded in batch {
            if let Event::TrustDecided(decided) = &recorded.event {
                told.position = recorded.position;
                told.trust = Some(decided.trust);
            }
        }
        let open = state.epochs.open.as_ref().map(|open| open.number);
        match told.trust {
            Some(Trust::Drawn { coin, .. }) if Some(coin.epoch) != open => {
                let text = format!(
                    "a coin is of epoch {}, and the open one is {open:?}",
                    coin.epoch
                );
                Err(Fault {
                    position: told.position,
                    flaw: Flaw::Rule(text),
                })
            }
            Some(Trust::Drawn { .. } | Trust::Denied { .. }) | None => Ok(told),
        }
    }

    /// How the coin fell, by the log; it is kept until it can be recomputed.
    pub(super) fn answer(&self, toss: &Toss, kept: &mut Option<KeptCoin>) -> Fall {
        let Some(Trust::Drawn { coin, repeated }) = self.trust else {
            return None;
        };
        *kept = self.task.map(|task| KeptCoin {
            position: self.position,
            task,
            toss: *toss,
            repeated,
        });
        Some((coin.epoch, repeated))
    }

    /// The result is repeated because no secret was known.
    pub(super) fn is_without_secret(&self) -> bool {
        match self.trust {
            Some(Trust::Denied { reason }) => reason == Untrusted::NoSecret,
            Some(Trust::Drawn { .. }) | None => false,
        }
    }
}

/// Recomputes the coins of an epoch that is closed here.
///
/// # Errors
/// The first one that the secret does not lead to.
pub(super) fn disclosed(
    secret: &Disclosure,
    coins: Vec<KeptCoin>,
    counts: &mut Counts,
) -> Result<(), Fault> {
    let Disclosure::Revealed(secret) = secret else {
        counts.coins_lost += coins.len() as u64;
        return Ok(());
    };
    let urn = Urn::of(secret);
    for coin in coins {
        let repeats = coin.toss.repeats(&urn);
        if repeats != coin.repeated {
            let said = |repeated| if repeated { "repeated" } else { "left alone" };
            let text = format!(
                "by the epoch's secret the result of task {} is {}, and the log has it {}",
                coin.task,
                said(repeats),
                said(coin.repeated)
            );
            return Err(Fault {
                position: coin.position,
                flaw: Flaw::Rule(text),
            });
        }
        counts.coins += 1;
    }
    Ok(())
}
