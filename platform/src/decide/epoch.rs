//! Epochs turn: the old one's secret is disclosed, the next one's is committed to.

use aevir_events::{Context, Timestamp};

use super::rewards;
use crate::{
    amount::{PPM, Ppm},
    event::{Disclosure, EpochClosed, EpochOpened, Event},
    schedule::{commitment, secret_of},
    state::State,
};

/// Closes an epoch whose time is over, or whose secret this leader does not know, and opens the next one; opens the first
/// one once there is a policy.
pub(super) fn turn(state: &State, context: &Context) -> Vec<Event> {
    if state.policy().is_none() {
        return Vec::new();
    }
    let mut events = Vec::new();
    if let Some(open) = &state.epochs.open {
        let secret = secret_of(&context.secret, open.number);
        let known = commitment(&secret) == open.commitment;
        if known && !is_over(state, context.time) {
            return Vec::new();
        }
        let secret = if known {
            Disclosure::Revealed(secret)
        } else {
            Disclosure::Lost
        };
        events.extend(closed(state, open.number, secret));
    }
    let epoch = state.epochs.last.saturating_add(1);
    let commitment = commitment(&secret_of(&context.secret, epoch));
    events.push(EpochOpened { epoch, commitment }.into());
    events
}

/// An epoch closes: points fade, and its pool opens.
pub(crate) fn closed(state: &State, epoch: u32, secret: Disclosure) -> Vec<Event> {
    let reward = rewards::pool(state);
    let keep_ppm = state.policy().map(|(_, policy)| policy.points.keep_ppm);
    let closed = EpochClosed {
        epoch,
        secret,
        points_keep_ppm: keep_ppm.unwrap_or(PPM as Ppm),
        reward,
    };
    let postings = rewards::postings(state, epoch, reward);
    std::iter::once(closed.into()).chain(postings).collect()
}

/// Whether the open epoch's time is over.
pub(crate) fn is_over(state: &State, now: Timestamp) -> bool {
    state.epoch_due().is_none_or(|due| due <= now)
}
