//! Epochs, and what requesters have used.

use aevir_events::{Corrupt, Timestamp};

use super::{ensure, record};
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

/// Changes what a requester has used, and its place among the others.
pub(super) fn use_up(state: &mut State, requester: AccountId, change: impl FnOnce(&mut Requester)) {
    let entry = state.requesters.entry(requester).or_default();
    let before = entry.used;
    change(entry);
    let after = entry.used;
    if before != after {
        state.index.queues.used(requester, before, after);
    }
}
