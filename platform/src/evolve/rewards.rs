//! Points fade, pools open, and accounts claim their parts.

use aevir_events::Corrupt;

use super::ensure;
use crate::{
    amount::{Amount, PPM},
    event::{EpochClosed, LedgerPosted, PostingReason, RewardsClaimed, Share, ShareRole},
    ledger::LedgerAccount,
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

/// What the platform's share of a settlement adds to the fees of the open epoch.
pub(super) fn collect(state: &mut State, shares: &[Share]) -> Result<(), Corrupt> {
    let platform = shares.iter().filter(|s| s.role == ShareRole::Platform);
    for share in platform {
        let collected = state.rewards.collected.plus(share.amount);
        state.rewards.collected =
            collected.ok_or_else(|| Corrupt("an epoch's fees pass 64 bits".into()))?;
    }
    Ok(())
}

/// What goes back of a platform's share is no fee of the open epoch, as far as it has any.
pub(super) fn given_back(state: &mut State, e: &LedgerPosted) {
    if e.reason != PostingReason::Reversal {
        return;
    }
    let back = e
        .postings
        .iter()
        .filter(|p| p.account == LedgerAccount::Treasury);
    let back: i64 = back.map(|p| p.amount.0).sum();
    let left = state.rewards.collected.0.saturating_add(back.min(0));
    state.rewards.collected = Amount(left.max(0));
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
