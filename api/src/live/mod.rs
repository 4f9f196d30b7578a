//! What the leader knows and does not record: who showed life when, whom to wake, the newest progress and log
//! lines. Lost with the process; a new leader gives every lease one fresh period.

mod challenges;
mod leases;
mod nodes;
mod pulse;
mod rates;
mod task_log;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aevir_events::Handle;
use aevir_platform::{
    Platform,
    ids::{AssignmentId, NodeId, TaskId},
};
use aevir_wire as wire;
use tokio::{
    sync::{Notify, Semaphore, broadcast, watch},
    time::Instant,
};

use challenges::Challenges;
pub(crate) use challenges::{Open as OpenChallenge, Wanted};
pub(crate) use leases::{Known, Leases, Times as LeaseTimes};
pub(crate) use nodes::{Nodes, OpenPoll};
pub(crate) use pulse::BEAT_EVERY;
use pulse::{Pulse, stuck_after};
pub(crate) use rates::{By, Rates};
pub(crate) use task_log::{LINE_CHARS_MAX, TaskLogs};

use crate::app::now;

/// Updates that a watcher may fall behind before it misses some; they are only a convenience.
const UPDATES: usize = 1_024;

/// A shorter pause is a busy machine's, and nothing that its operator has to hear of.
const PAUSE_TOLD_MIN: Duration = Duration::from_secs(1);

/// After a pause nobody is taken to keep a result back for so long at most, whatever it was: nodes that were refused try again within
/// seconds, and ticks wait for it.
const REVEALS_HEARD_MAX: Duration = Duration::from_secs(30);

/// Everything that is kept in memory only.
pub(crate) struct Live {
    pulse: Mutex<Pulse>,
    log: Handle<Platform>,
    /// Until then those who are late with their reveals may not have been heard.
    reveals_heard_until: Mutex<Instant>,
    leases: Mutex<Leases>,
    nodes: Arc<Mutex<Nodes>>,
    challenges: Mutex<Challenges>,
    /// Whose turn it is to have an answer to a challenge computed again.
    pub(crate) judging_challenges: Arc<Semaphore>,
    logs: Mutex<TaskLogs>,
    updates: broadcast::Sender<Arc<LiveUpdate>>,
    /// Size of the log as far as the driver has seen it.
    head: watch::Sender<u64>,
    /// How often nodes may write into the log, and accounts may ask for quotes.
    pub(crate) rates: Rates,
    /// Makes the driver look again.
    pub(crate) driver: Notify,
}

/// Something that a watcher of a task may want to see.
#[derive(Debug, Clone)]
pub(crate) struct LiveUpdate {
    pub(crate) task: TaskId,
    pub(crate) update: wire::TaskUpdate,
}

impl Live {
    pub(crate) fn new(log: Handle<Platform>) -> Self {
        let head = log.head().size;
        Self {
            pulse: Mutex::new(Pulse::new(Instant::now(), now())),
            log,
            reveals_heard_until: Mutex::new(Instant::now()),
            leases: Mutex::default(),
            nodes: Arc::default(),
            challenges: Mutex::default(),
            judging_challenges: Arc::new(Semaphore::new(1)),
            logs: Mutex::default(),
            updates: broadcast::Sender::new(UPDATES),
            head: watch::Sender::new(head),
            rates: Rates::default(),
            driver: Notify::new(),
        }
    }

    /// This process is there. Where it was not for a while, or could write nothing down, no node was silent meanwhile: every lease, every
    /// node and every sealed result gets that time back before anybody can look at it.
    pub(crate) fn beat(&self) {
        // Held until the deadlines have moved: whoever beats next finds them moved.
        let mut pulse = lock(&self.pulse);
        let unwritten = self.log.unwritten_for();
        let stuck = unwritten.and_then(|unwritten| unwritten.checked_sub(self.stuck_after()));
        let Some(pause) = pulse.beat(Instant::now(), now(), stuck) else {
            return;
        };
        self.leases().shift(pause.gone, pause.by_wall);
        self.nodes().shift(pause.gone);
        self.challenges().shift(pause.gone);
        self.hear_reveals(pause.so_far.min(REVEALS_HEARD_MAX));
        let paused_ms = pause.so_far.as_millis();
        if pause.goes_on {
            tracing::trace!(paused_ms, "the log is out of reach");
        } else if pause.so_far >= PAUSE_TOLD_MIN {
            tracing::warn!(
                paused_ms,
                "this process stood still, or could write nothing: that counts for no lease"
            );
        } else {
            tracing::debug!(paused_ms, "this process was slow: that counts for no lease");
        }
    }

    fn stuck_after(&self) -> Duration {
        let shortest = self.log.read(|state, _| {
            let (_, policy) = state.policy()?;
            let times = [
                policy.lease_ms,
                policy.accept_ms,
                policy.reveal_ms,
                policy.offline_ms,
            ];
            times.into_iter().min()
        });
        let shortest = Duration::from_millis(shortest.unwrap_or(u32::MAX).into());
        stuck_after(shortest)
    }

    /// For so long from now nobody is taken to keep back what he sealed: he may not have been heard.
    pub(crate) fn hear_reveals(&self, time: Duration) {
        let mut until = lock(&self.reveals_heard_until);
        *until = (*until).max(Instant::now() + time);
    }

    /// Whether what is not revealed in time may not have been heard.
    pub(crate) fn hears_reveals(&self) -> bool {
        Instant::now() < *lock(&self.reveals_heard_until)
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        lock(&self.leases)
    }

    pub(crate) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        lock(&self.nodes)
    }

    pub(crate) fn challenges(&self) -> MutexGuard<'_, Challenges> {
        lock(&self.challenges)
    }

    pub(crate) fn logs(&self) -> MutexGuard<'_, TaskLogs> {
        lock(&self.logs)
    }

    /// Counts the node as alive for as long as the answer is kept.
    pub(crate) fn open_poll(&self, node: NodeId) -> OpenPoll {
        OpenPoll::new(Arc::clone(&self.nodes), node)
    }

    /// The newest progress of an assignment, which may be newer than the log's.
    pub(crate) fn progress(&self, assignment: AssignmentId) -> Option<(u32, String)> {
        self.leases().get(assignment)?.progress.clone()
    }

    pub(crate) fn publish(&self, task: TaskId, update: wire::TaskUpdate) {
        // Nobody watching is fine.
        let _ = self.updates.send(Arc::new(LiveUpdate { task, update }));
    }

    pub(crate) fn watch_updates(&self) -> broadcast::Receiver<Arc<LiveUpdate>> {
        self.updates.subscribe()
    }

    pub(crate) fn advance(&self, size: u64) {
        self.head.send_replace(size);
    }

    pub(crate) fn watch_head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}

/// A panic while the lock was held leaves at worst a stale reminder behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
