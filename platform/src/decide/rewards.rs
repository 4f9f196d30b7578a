//! Reward pools: a part of the platform fees that matured in an epoch, claimed by whoever had points at its end (formulas: `docs/economics.md`).

use super::{
    Decision,
    account::active_account,
    posting::{posted, transfer},
};
use crate::{
    amount::{Amount, Count},
    event::{Event, Posting, PostingReason, RewardPool, RewardsClaimed},
    ids::AccountId,
    ledger::LedgerAccount,
    rejection::Rejection,
    state::State,
};

/// What the pool of an epoch that closes now gets; `None` where there were no fees, or nobody has points.
pub(super) fn pool(state: &State) -> Option<RewardPool> {
    let (_, policy) = state.policy()?;
    let amount = state.rewards.collected.share(policy.rewards.pool_ppm);
    // What matured can't have gone back: this only guards the books.
    let amount = amount.min(state.ledger.balance(LedgerAccount::Treasury));
    let points: u128 = state.points.values().map(|p| p.thousandths()).sum();
    let points = Count(u64::try_from(points).ok()?);
    let is_some = amount > Amount::ZERO && points.0 > 0;
    is_some.then_some(RewardPool { amount, points })
}

/// The money of an epoch that closes: its pool is filled, and what is left of those that can't be claimed any more comes back.
pub(super) fn postings(state: &State, epoch: u32, pool: Option<RewardPool>) -> Vec<Event> {
    let filled = pool.map(|pool| {
        let (from, to) = (LedgerAccount::Treasury, LedgerAccount::Pool(epoch));
        posted(PostingReason::Pool, None, transfer(from, to, pool.amount))
    });
    let expired = state.rewards.expired(epoch);
    let left: Vec<Posting> = expired
        .map(|pool| {
            let from = LedgerAccount::Pool(pool);
            (from, state.ledger.balance(from))
        })
        .filter(|(_, left)| *left > Amount::ZERO)
        .flat_map(|(from, left)| transfer(from, LedgerAccount::Treasury, left))
        .collect();
    let expired = (!left.is_empty()).then(|| posted(PostingReason::PoolExpired, None, left));
    filled.into_iter().chain(expired).collect()
}

pub(super) fn claim(state: &State, account: AccountId) -> Decision {
    active_account(state, account)?;
    let parts = state.rewards.claimable(account, &state.epochs.points);
    if parts.is_empty() {
        return Err(Rejection::NothingToClaim);
    }
    let to = LedgerAccount::Available(account);
    let postings: Vec<Posting> = parts
        .iter()
        .flat_map(|part| transfer(LedgerAccount::Pool(part.epoch), to, part.amount))
        .collect();
    let claimed = RewardsClaimed {
        account,
        through: state.epochs.points.closed,
        parts,
    };
    let posted = posted(PostingReason::Reward, None, postings);
    Ok(vec![claimed.into(), posted])
}
