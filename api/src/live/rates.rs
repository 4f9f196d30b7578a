//! How often one node may write into the log, which keeps everything for ever, and one account where that costs nothing, and how often one
//! account may ask what takes long to answer.
//!
//! What a node does with leases is bounded by its leases, and what a task costs by the account's money. What a node says of itself, what its
//! runs keep, what an account writes for nothing, and quotes, which cost nothing and look at thousands of nodes while nothing is committed,
//! are bounded here: token buckets ([GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)) in the leader's memory, full again after a restart.

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::Mutex,
    time::{Duration, Instant},
};

use aevir_platform::ids::{AccountId, AssignmentId, NodeId};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};

use super::lock;
use crate::error::{ApiError, ApiResult, Code};

/// Changes of a node's terms, profile, key, stake and standing at once: more than an operator makes by hand in an hour.
const CHANGES_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);
/// One more in this time, for programs that change asks or hours.
const CHANGE_EVERY: Duration = Duration::from_secs(30);
/// Returns of a node that was away: more than restarts for an update and the trouble that follows.
const RETURNS_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);
/// One more in this time: a node that comes and goes all the time waits so long, and gets nothing meanwhile.
const RETURN_EVERY: Duration = Duration::from_secs(30);
/// Checkpoints of one run at once: those of one that an agent kept for itself while the platform was away, and its last.
const CHECKPOINTS_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);
/// One more in this time; an agent keeps one in five seconds.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(4);

/// What an account writes for nothing, at once: more than the tokens of a hall of machines or the versions of a data set's parts.
const WRITES_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(511);
/// One more in this time: the client of `api/wire` waits for it where a call can be repeated.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Tasks of an account that ended without a verdict, and blobs that it brought, at once: more than all the tasks that it may have by default.
const LEFT_BURST: u32 = 16_384;
/// One more in this time.
const LEFT_EVERY: Duration = Duration::from_secs(1);

/// Quotes, and answers why a task waits, at once for one account: a batch of definitions, or all that waits on one screen.
const QUOTES_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);
/// One more in this time. At some ms each that is less than a hundredth of the time in which nothing else is committed.
const QUOTE_EVERY: Duration = Duration::from_secs(1);

type Buckets<K> = RateLimiter<K, HashMapStateStore<K>, MonotonicClock, NoOpMiddleware<Instant>>;

/// Who changes what is known of a node. Each has a bucket of its own: whoever has got hold of a node's API key does not keep its owner from
/// draining it, nor the node from replacing the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum By {
    /// An API key of its owner's.
    Owner,
    /// The node's own API key.
    ApiKey,
    /// The node's signing key, which is not known to whoever has the API key alone.
    SigningKey,
}

/// The buckets of all nodes, runs and accounts.
#[derive(Debug)]
pub(crate) struct Rates {
    changes: Buckets<(NodeId, By)>,
    returns: Buckets<NodeId>,
    checkpoints: Buckets<AssignmentId>,
    writes: Buckets<AccountId>,
    quotes: Buckets<AccountId>,
    left: Left,
}

/// What accounts leave in the log for nothing and can't be kept from leaving: a task may always be called off, and its time runs out by itself.
/// So the bucket may be overdrawn, and who has nothing in it begins nothing new.
#[derive(Debug, Default)]
struct Left {
    /// By account, when what it left is worn off.
    until: Mutex<HashMap<AccountId, Instant>>,
}

impl Left {
    fn add(&self, account: AccountId, now: Instant) {
        let mut until = lock(&self.until);
        let until = until.entry(account).or_insert(now);
        *until = (*until).max(now) + LEFT_EVERY;
    }

    /// How long it is until there is room for one more.
    fn wait(&self, account: AccountId, now: Instant) -> Option<Duration> {
        let until = *lock(&self.until).get(&account)?;
        let room_at = (until + LEFT_EVERY).checked_sub(LEFT_EVERY * LEFT_BURST)?;
        let wait = room_at.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    fn sweep(&self, now: Instant) {
        lock(&self.until).retain(|_, until| *until > now);
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            changes: buckets(CHANGE_EVERY, CHANGES_BURST),
            returns: buckets(RETURN_EVERY, RETURNS_BURST),
            checkpoints: buckets(CHECKPOINT_EVERY, CHECKPOINTS_BURST),
            writes: buckets(WRITE_EVERY, WRITES_BURST),
            quotes: buckets(QUOTE_EVERY, QUOTES_BURST),
            left: Left::default(),
        }
    }
}

impl Rates {
    /// Counts a change of what is known of a node, by somebody who may change it.
    ///
    /// # Errors
    /// When there were too many: with the time after which there may be another.
    pub(crate) fn change(&self, node: NodeId, by: By) -> ApiResult<()> {
        let until = take(&self.changes, (node, by));
        until.map_err(|after_s| too_many(Code::TooManyChanges, "changes of this node", after_s))
    }

    /// Counts a checkpoint of a run.
    ///
    /// # Errors
    /// When there were too many: with the time after which there may be another.
    pub(crate) fn checkpoint(&self, run: AssignmentId) -> ApiResult<()> {
        let what = "checkpoints of this run";
        let until = take(&self.checkpoints, run);
        until.map_err(|after_s| too_many(Code::TooManyChanges, what, after_s))
    }

    /// Counts what an account writes into the log for nothing, whatever of that it is.
    ///
    /// # Errors
    /// When there were too many: with the time after which there may be another.
    pub(crate) fn write(&self, account: AccountId) -> ApiResult<()> {
        let what = "changes of this account that cost nothing (keys, join tokens, contents, modules, withdrawals)";
        let until = take(&self.writes, account);
        until.map_err(|after_s| too_many(Code::TooManyChanges, what, after_s))
    }

    /// Counts a task of an account that ended without a verdict, or a blob that it brought.
    pub(crate) fn left(&self, account: AccountId) {
        self.left.add(account, Instant::now());
    }

    /// Whether the account may begin another task, or bring another blob.
    ///
    /// # Errors
    /// When it left too much in the log for nothing: with the time after which it may.
    pub(crate) fn may_begin(&self, account: AccountId) -> ApiResult<()> {
        let Some(wait) = self.left.wait(account, Instant::now()) else {
            return Ok(());
        };
        let what = "tasks of this account that ended without a verdict (called off, or their time ran out), and blobs";
        let after_s = wait.as_secs().saturating_add(1);
        Err(too_many(Code::TooManyChanges, what, after_s))
    }

    /// Counts a quote for an account, or an answer why a task of it waits.
    ///
    /// # Errors
    /// When there were too many: with the time after which there may be another.
    pub(crate) fn quote(&self, account: AccountId) -> ApiResult<()> {
        let what = "quotes and questions of this account why tasks wait";
        let until = take(&self.quotes, account);
        until.map_err(|after_s| too_many(Code::TooManyQuotes, what, after_s))
    }

    /// Counts that a node which was away is back; answers whether that may be recorded now. That it goes is recorded always: nothing is
    /// to be placed on it.
    pub(crate) fn may_return(&self, node: NodeId) -> bool {
        self.returns.check_key(&node).is_ok()
    }

    /// Forgets those whose buckets are full again.
    pub(crate) fn sweep(&self) {
        self.changes.retain_recent();
        self.returns.retain_recent();
        self.checkpoints.retain_recent();
        self.writes.retain_recent();
        self.quotes.retain_recent();
        self.left.sweep(Instant::now());
    }
}

/// Takes one, or answers after how many seconds there is another.
fn take<K: Hash + Eq + Clone>(of: &Buckets<K>, key: K) -> Result<(), u64> {
    of.check_key(&key).map_err(|until| {
        let wait = until.wait_time_from(MonotonicClock.now());
        wait.as_secs().saturating_add(1)
    })
}

fn too_many(code: Code, what: &str, after_s: u64) -> ApiError {
    let detail = format!("there were too many {what}: the next one is taken in {after_s} s");
    ApiError::new(code, detail).after(after_s)
}

/// So many at once, and one more in each period.
fn buckets<K: Hash + Eq + Clone>(every: Duration, burst: NonZeroU32) -> Buckets<K> {
    // There is none without a period only.
    let steady = Quota::with_period(every).unwrap_or_else(|| Quota::per_second(burst));
    RateLimiter::hashmap_with_clock(steady.allow_burst(burst), MonotonicClock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_so_many_and_waits_for_more() {
        let rates = Rates::default();
        let node = |n| NodeId(ulid::Ulid::from_parts(0, n));
        for _ in 0..CHANGES_BURST.get() {
            assert_eq!(rates.change(node(1), By::ApiKey), Ok(()));
        }
        let refused = rates.change(node(1), By::ApiKey);
        let refused = refused.expect_err("one too many");
        assert_eq!(refused.code(), "too-many-changes");
        assert_eq!(rates.change(node(2), By::ApiKey), Ok(()), "another one's");
        for other in [By::Owner, By::SigningKey] {
            assert_eq!(rates.change(node(1), other), Ok(()), "{other:?} is another");
        }
        let returns = (0..100).filter(|_| rates.may_return(node(1))).count();
        assert_eq!(returns, RETURNS_BURST.get() as usize);
        let account = |n| AccountId(ulid::Ulid::from_parts(0, n));
        let quotes = (0..100).filter(|_| rates.quote(account(1)).is_ok()).count();
        assert_eq!(quotes, QUOTES_BURST.get() as usize);
        let refused = rates.quote(account(1)).expect_err("one too many");
        assert_eq!(refused.code(), "too-many-quotes");
        assert_eq!(rates.quote(account(2)), Ok(()), "another one's");
        // What is used up is not forgotten.
        rates.sweep();
        assert!(rates.change(node(1), By::ApiKey).is_err());
    }

    #[test]
    fn each_account_writes_so_much_for_nothing_and_waits_for_more() {
        let rates = Rates::default();
        let account = |n| AccountId(ulid::Ulid::from_parts(0, n));
        for _ in 0..WRITES_BURST.get() {
            assert_eq!(rates.write(account(1)), Ok(()));
        }
        // One comes back each second: no hundred.
        let refused = (0..100).find_map(|_| rates.write(account(1)).err());
        let refused = refused.expect("one too many");
        assert_eq!(refused.code(), "too-many-changes");
        assert_eq!(refused.after_s(), Some(1));
        assert_eq!(rates.write(account(2)), Ok(()), "another one's");
        assert_eq!(rates.quote(account(1)), Ok(()), "quotes are counted apart");
        rates.sweep();
        assert!((0..100).any(|_| rates.write(account(1)).is_err()));
    }

    #[test]
    fn who_left_too_much_begins_nothing_until_it_is_worn_off() {
        let left = Left::default();
        let account = |n| AccountId(ulid::Ulid::from_parts(0, n));
        let begun = Instant::now();
        for n in 0..LEFT_BURST {
            assert_eq!(left.wait(account(1), begun), None, "{n}");
            left.add(account(1), begun);
        }
        assert_eq!(left.wait(account(1), begun), Some(LEFT_EVERY));
        assert_eq!(left.wait(account(2), begun), None, "another one's");
        // What can't be refused is counted nevertheless.
        for _ in 0..9 {
            left.add(account(1), begun);
        }
        assert_eq!(left.wait(account(1), begun), Some(LEFT_EVERY * 10));
        let later = begun + LEFT_EVERY * 10;
        assert_eq!(left.wait(account(1), later), None);
        left.sweep(later);
        left.add(account(1), later);
        assert_eq!(
            left.wait(account(1), later),
            Some(LEFT_EVERY),
            "it was not forgotten"
        );
        left.sweep(later + LEFT_EVERY * (LEFT_BURST + 1));
        assert!(lock(&left.until).is_empty());
    }
}
