//! Reward pools, and what points accounts had when they opened.
//!
//! Which part of a pool is an account's follows from its points at the epoch's end. Those are kept for accounts whose points changed
//! in the epoch; of all others they follow by fading, so that an epoch costs the state nothing for who did nothing in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{points::PointsBalance, record::Fading};
use crate::{
    amount::{Amount, Count},
    event::{RewardPart, RewardPool},
    ids::AccountId,
};

/// The pools so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rewards {
    /// Platform fees of verdicts that matured since the open epoch began.
    pub collected: Amount,
    /// By epoch, as long as they can be claimed.
    pub pools: BTreeMap<u32, Pool>,
    /// Points of accounts at the ends of epochs in which they changed, in their order: as many as open pools need.
    pub standings: BTreeMap<AccountId, Vec<Standing>>,
    /// Accounts whose points changed in the open epoch.
    pub changed: BTreeSet<AccountId>,
    /// Up to which epoch an account has claimed.
    pub claimed: BTreeMap<AccountId, u32>,
}

/// One epoch's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub amount: Amount,
    /// All points at the epoch's end, in thousandths.
    pub points: Count,
    /// When this epoch closes it can't be claimed any more.
    pub until: u32,
}

/// An account's points at the end of an epoch, before they faded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub epoch: u32,
    pub points: PointsBalance,
}

impl Rewards {
    /// Pools that can't be claimed any more once this epoch closes.
    pub(crate) fn expired(&self, epoch: u32) -> impl Iterator<Item = u32> + '_ {
        let pools = self.pools.iter();
        pools
            .filter(move |(_, pool)| pool.until <= epoch)
            .map(|(of, _)| *of)
    }

    /// An epoch closes; `points` are those at its end.
    pub(crate) fn close(
        &mut self,
        (epoch, claim_epochs): (u32, u32),
        reward: Option<RewardPool>,
        points: &BTreeMap<AccountId, PointsBalance>,
    ) {
        self.collected = Amount::ZERO;
        self.pools.retain(|_, pool| pool.until > epoch);
        if let Some(RewardPool { amount, points }) = reward {
            let until = epoch.saturating_add(claim_epochs);
            let pool = Pool {
                amount,
                points,
                until,
            };
            self.pools.insert(epoch, pool);
        }
        let oldest = self.pools.keys().next().copied().unwrap_or(epoch);
        for account in std::mem::take(&mut self.changed) {
            let standings = self.standings.entry(account).or_default();
            let points = points.get(&account).copied().unwrap_or_default();
            standings.push(Standing { epoch, points });
            // The last one before the oldest pool tells what there was then.
            let needed = standings.partition_point(|s| s.epoch <= oldest);
            standings.drain(..needed.saturating_sub(1));
        }
    }

    /// An account's points at the end of an epoch that has closed; nothing of earlier ones than the oldest open pool's.
    pub fn points_at(&self, account: AccountId, epoch: u32, fading: &Fading) -> PointsBalance {
        let standings = self.standings.get(&account).map_or(&[][..], Vec::as_slice);
        let known = standings.partition_point(|s| s.epoch <= epoch);
        let last = known.checked_sub(1).and_then(|at| standings.get(at));
        last.map_or(PointsBalance::default(), |last| {
            let (since, to) = (last.epoch.saturating_sub(1), epoch.saturating_sub(1));
            last.points.faded(fading, since, to)
        })
    }

    /// An account's parts of the open pools that it has not claimed.
    pub fn claimable(&self, account: AccountId, fading: &Fading) -> Vec<RewardPart> {
        let claimed = self.claimed.get(&account).copied().unwrap_or(0);
        let open = self.pools.range(claimed.saturating_add(1)..);
        open.filter_map(|(epoch, pool)| {
            let points = self.points_at(account, *epoch, fading).thousandths();
            // Parts of a whole that fits.
            let part = u128::try_from(pool.amount.0).ok()? * points;
            let amount = part.checked_div(u128::from(pool.points.0))?;
            let part = RewardPart {
                epoch: *epoch,
                points: Count(u64::try_from(points).ok()?),
                amount: Amount(i64::try_from(amount).ok()?),
            };
            (part.amount > Amount::ZERO).then_some(part)
        })
        .collect()
    }
}
