//! How much processor time judging one account's uploads may take: a bucket of it, which fills again with time (in the leader's memory, full
//! after a restart).

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aevir_platform::ids::AccountId;

use crate::error::{ApiError, ApiResult, Code};

/// Processor time that an account may use at once, in ms: five modules that take as long as one may, or twenty interpreters of Python.
const CPU_MS_MAX: u64 = 600_000;
/// The time by the clock in which so much is there again, in ms: two accounts that use all of theirs take a third of one core.
const WINDOW_MS: u64 = 3_600_000;

/// Threads that a judgement computes on at most: of one whose end nobody waited for, all of them may have been busy all the time.
const THREADS: u64 = 4;

/// What accounts have used and not got back.
#[derive(Debug, Default)]
pub(super) struct Quota(Mutex<BTreeMap<AccountId, Owed>>);

/// Processor time that an account owed at a time.
#[derive(Debug, Clone, Copy)]
struct Owed {
    cpu_ms: u64,
    at: Instant,
}

impl Owed {
    /// What is left of it by now.
    fn left_ms(self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let back = passed * u128::from(CPU_MS_MAX) / u128::from(WINDOW_MS);
        self.cpu_ms
            .saturating_sub(u64::try_from(back).unwrap_or(u64::MAX))
    }
}

impl Quota {
    /// Whether an account may have one more judged, whatever that takes; answers what it owes, in ms.
    ///
    /// # Errors
    /// It has used all that it may: with the time after which it may have another.
    pub(super) fn check(&self, account: AccountId, now: Instant) -> ApiResult<u64> {
        let owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_ms = owed.get(&account).map_or(0, |owed| owed.left_ms(now));
        if left_ms < CPU_MS_MAX {
            return Ok(left_ms);
        }
        let wait_ms = (left_ms - CPU_MS_MAX).saturating_mul(WINDOW_MS / CPU_MS_MAX);
        let after_s = wait_ms / 1_000 + 1;
        let detail = format!(
            "judging this account's uploads has taken {} s of processor time, as much as it may have in {} minutes: the next one is taken in {after_s} s",
            CPU_MS_MAX / 1_000,
            WINDOW_MS / 60_000
        );
        Err(ApiError::new(Code::JudgingQuota, detail).after(after_s))
    }

    /// Counts what a judgement took, and forgets accounts that owe nothing any more.
    fn charge(&self, account: AccountId, cpu_ms: u64, now: Instant) {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owed.retain(|_, owed| owed.left_ms(now) > 0);
        let before = owed.get(&account).map_or(0, |owed| owed.left_ms(now));
        let cpu_ms = before.saturating_add(cpu_ms);
        owed.insert(account, Owed { cpu_ms, at: now });
    }
}

/// A judgement under way that is going to be paid for.
#[derive(Debug)]
pub(super) struct Charge<'a> {
    quota: &'a Quota,
    account: AccountId,
    begun: Instant,
    /// What it took, in ms; nothing while it is under way.
    took_ms: Option<u64>,
}

impl<'a> Charge<'a> {
    pub(super) fn begin(quota: &'a Quota, account: AccountId) -> Self {
        Self {
            quota,
            account,
            begun: Instant::now(),
            took_ms: None,
        }
    }

    /// It took so much processor time.
    pub(super) fn settle(mut self, cpu_ms: u64) {
        self.took_ms = Some(cpu_ms);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let passed: Duration = self.begun.elapsed();
        let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let took_ms = self.took_ms.unwrap_or(passed_ms.saturating_mul(THREADS));
        self.quota.charge(self.account, took_ms, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn account(n: u128) -> AccountId {
        AccountId(ulid::Ulid(n))
    }

    #[test]
    fn an_account_has_so_much_and_waits_for_more() {
        let (quota, now) = (Quota::default(), Instant::now());
        quota.charge(account(1), CPU_MS_MAX - 1, now);
        assert_eq!(quota.check(account(1), now), Ok(CPU_MS_MAX - 1));
        // However much the last one takes, it is told before it begins.
        quota.charge(account(1), 10_001, now);
        let refused = quota.check(account(1), now).unwrap_err();
        assert_eq!(refused.code(), Code::JudgingQuota.name());
        assert!(refused.problem().detail.contains("in 61 s"));
        assert_eq!(quota.check(account(2), now), Ok(0), "another one's");
        let at = |s| now + Duration::from_secs(s);
        assert!(quota.check(account(1), at(60)).is_err());
        assert_eq!(quota.check(account(1), at(61)), Ok(599_834));
        // Whoever owes nothing any more is forgotten.
        quota.charge(account(2), 0, at(3_661));
        assert_eq!(quota.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn who_does_not_wait_for_the_answer_pays_for_it() {
        let quota = Quota::default();
        Charge::begin(&quota, account(1)).settle(5_000);
        let paid = quota.check(account(1), Instant::now()).unwrap();
        assert!((4_900..=5_000).contains(&paid), "{paid}");
        let gone = Charge::begin(&quota, account(2));
        std::thread::sleep(Duration::from_millis(30));
        drop(gone);
        assert!(quota.check(account(2), Instant::now()).unwrap() >= 20);
    }
}
