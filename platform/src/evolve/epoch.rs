//! Epochs, and what requesters have used.

use aevir_events::{Corrupt, Timestamp};

use super::{ensure, record, rewards};
use crate::{
    event::{Disclosure, EpochClosed, EpochOpened, LimitsSet},
    ids::AccountId,
    schedule::commitment,
    state::{OpenEpoch, Requester, State},
};

pub(super) fn opened(state: &mut State, e: &EpochOpened, at: Timestamp) -> Result<(), Corrupt> {
    let epochs = &mut state.epochs;
    ensure(epochs.open.is_none() && e.epoch == epochs.last + 1, || {
        format!("epoch {} opened amiss", e.epoch)
    })?;
    epochs.last = e.epoch;
    epochs.open = Some(OpenEpoch {
        number: e.epoch,
        commitment: e.commitment,
        opened_at: at,
    });
    Ok(())
}

pub(super) fn closed(state: &mut State, e: &EpochClosed) -> Result<(), Corrupt> {
    let open = state.epochs.open.take();
    let open = open.filter(|open| open.number == e.epoch);
    let open = open.ok_or_else(|| Corrupt(format!("epoch {} is not open", e.epoch)))?;
    record::epoch_closed(state, e.epoch);
    rewards::epoch_closed(state, e)?;
    match &e.secret {
        Disclosure::Revealed(secret) => ensure(commitment(secret) == open.commitment, || {
            format!(
                "the secret of epoch {} is not the one committed to",
                e.epoch
            )
        }),
        Disclosure::Lost => Ok(()),
    }
}

pub(super) fn limits_set(state: &mut State, e: &LimitsSet) -> Result<(), Corrupt> {
    ensure(state.accounts.contains_key(&e.account), || {
        format!("limits of the unknown account {}", e.account)
    })?;
    state.requesters.entry(e.account).or_default().limits = Some(e.limits);
    Ok(())
}

/// Requesters that one placement lifts at most: the first ones, so that all of them are lifted, the more placements the more of them.
const LIFTED_MAX: usize = 16;

/// A requester is served. Virtual time goes on to what it has used by ended runs; what runs only reserve does not count, for it may come back.
/// Those who come before it and wait could not be served though it was their turn: they are lifted as far, and do not save up what
/// they could not use.
pub(super) fn served(state: &mut State, requester: AccountId) {
    let Some(entry) = state.requesters.get(&requester) else {
        return;
    };
    let (used, turn) = (entry.used, entry.turn());
    state.virtual_time = state.virtual_time.max(used);
    for other in state.index.queues.before(turn, requester, LIFTED_MAX) {
        use_up(state, other, |r| r.used = r.used.max(used));
    }
}

/// Changes what a requester has used, and its place among the others.
pub(super) fn use_up(state: &mut State, requester: AccountId, change: impl FnOnce(&mut Requester)) {
    let entry = state.requesters.entry(requester).or_default();
    let before = entry.turn();
    change(entry);
    let after = entry.turn();
    if before != after {
        state.index.queues.used(requester, before, after);
    }
}
