//! Points fade, pools open, and accounts claim their parts.

use aevir_events::Corrupt;

use super::{ensure, task::task_ref};
use crate::{
    amount::{Amount, PPM},
    event::{EpochClosed, RewardsClaimed, ShareRole},
    ids::TaskId,
    state::State,
};

/// An epoch closes: its pool opens for the points at its end, and then all of them fade. Every account is looked at, which for a hundred
/// thousand of them takes a few ms: a plan ranks nodes by copies that are brought up to date in turn (`record`).
pub(super) fn epoch_closed(state: &mut State, e: &EpochClosed) -> Result<(), Corrupt> {
    ensure(i64::from(e.points_keep_ppm) <= PPM, || {
        format!("points grow when epoch {} closes", e.epoch)
    })?;
    let claim_epochs = state.policy().map_or(0, |(_, p)| p.rewards.claim_epochs);
    let at = (e.epoch, claim_epochs);
    state.rewards.close(at, e.reward, &state.points);
    state.epochs.points.close(e.epoch, e.points_keep_ppm);
    for points in state.points.values_mut() {
        *points = points.kept(e.points_keep_ppm);
    }
    Ok(())
}

/// What the platform's share of a verdict that matures adds to the fees of the open epoch. Not before: until then it may go back to who
/// paid it, and what a pool has paid out does not come back.
pub(super) fn collect(state: &mut State, task: TaskId) -> Result<(), Corrupt> {
    let settlement = task_ref(state, task)?.settlement.as_ref();
    let shares = settlement.iter().flat_map(|s| &s.shares);
    let platform = shares.filter(|s| s.role == ShareRole::Platform);
    let fees = platform.map(|s| s.amount.0).sum();
    let collected = state.rewards.collected.plus(Amount(fees));
    state.rewards.collected =
        collected.ok_or_else(|| Corrupt("an epoch's fees pass 64 bits".into()))?;
    Ok(())
}

pub(super) fn claimed(state: &mut State, e: &RewardsClaimed) -> Result<(), Corrupt> {
    let due = state.rewards.claimable(e.account, &state.epochs.points);
    let is_due = !due.is_empty() && due == e.parts && e.through == state.epochs.points.closed;
    ensure(is_due, || {
        format!("account {} claims what is not its", e.account)
    })?;
    let paid = e.parts.iter().all(|part| part.amount > Amount::ZERO);
    ensure(paid, || format!("account {} claims nothing", e.account))?;
    state.rewards.claimed.insert(e.account, e.through);
    Ok(())
}
