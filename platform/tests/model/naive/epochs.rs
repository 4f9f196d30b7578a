//! Epochs in the model: points fade, and part of an epoch's fees is for who has them.

use std::collections::BTreeMap;

use aevir_platform::{event::EpochClosed, ids::AccountId, ledger::LedgerAccount};

use super::{Naive, Pool, share};

impl Naive {
    /// The pool opens for the points there are, what is over goes back, and then all points fade.
    pub(super) fn epoch_closed(&mut self, e: &EpochClosed) {
        let policy = self.policy.clone().unwrap();
        let mut points: BTreeMap<AccountId, i64> = BTreeMap::new();
        for ((account, _), balance) in &self.points {
            *points.entry(*account).or_default() += balance;
        }
        let all: i64 = points.values().sum();
        let collected = std::mem::take(&mut self.collected);
        let amount =
            share(collected, policy.rewards.pool_ppm).min(self.balance(LedgerAccount::Treasury));
        let told = e.reward.map(|pool| (pool.amount.0, pool.points.0 as i64));
        assert_eq!(told, (amount > 0 && all > 0).then_some((amount, all)));
        let over = self.pools.iter().filter(|(_, pool)| pool.until <= e.epoch);
        let over: Vec<u32> = over.map(|(epoch, _)| *epoch).collect();
        if told.is_some() {
            let to = LedgerAccount::Pool(e.epoch);
            self.transfer(LedgerAccount::Treasury, to, amount);
            let until = e.epoch + policy.rewards.claim_epochs;
            let pool = Pool {
                amount,
                points,
                all,
                until,
            };
            self.pools.insert(e.epoch, pool);
        }
        for epoch in over {
            let from = LedgerAccount::Pool(epoch);
            let left = self.balance(from);
            self.transfer(from, LedgerAccount::Treasury, left);
            self.pools.remove(&epoch);
        }
        self.last_closed = e.epoch;
        assert_eq!(e.points_keep_ppm, policy.points.keep_ppm);
        for balance in self.points.values_mut() {
            *balance = share(*balance, e.points_keep_ppm);
        }
        self.points.retain(|_, balance| *balance > 0);
    }

    /// An account's parts of the pools that it has not claimed.
    pub(super) fn parts(&self, account: AccountId) -> Vec<(u32, i64)> {
        let claimed = self.claimed.get(&account).copied().unwrap_or(0);
        let open = self.pools.iter().filter(|(epoch, _)| **epoch > claimed);
        let part = |pool: &Pool| {
            let points = pool.points.get(&account).copied().unwrap_or(0);
            (i128::from(pool.amount) * i128::from(points) / i128::from(pool.all)) as i64
        };
        open.map(|(epoch, pool)| (*epoch, part(pool))).collect()
    }
}
