//! What the leader knows and does not record: who showed life when, whom to wake, the newest progress and log
//! lines. Lost with the process; a new leader gives every lease one fresh period.

mod leases;
mod nodes;
mod task_log;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aevir_platform::ids::{AssignmentId, NodeId, TaskId};
use aevir_wire as wire;
use tokio::sync::{Notify, broadcast, watch};

pub(crate) use leases::{Leases, Times as LeaseTimes};
pub(crate) use nodes::{Nodes, OpenPoll};
pub(crate) use task_log::{LINE_CHARS_MAX, TaskLogs};

/// Updates that a watcher may fall behind before it misses some; they are only a convenience.
const UPDATES: usize = 1_024;

/// Everything that is kept in memory only.
pub(crate) struct Live {
    leases: Mutex<Leases>,
    nodes: Arc<Mutex<Nodes>>,
    logs: Mutex<TaskLogs>,
    updates: broadcast::Sender<Arc<LiveUpdate>>,
    /// Size of the log as far as the driver has seen it.
    head: watch::Sender<u64>,
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
    pub(crate) fn new(head: u64) -> Self {
        Self {
            leases: Mutex::default(),
            nodes: Arc::default(),
            logs: Mutex::default(),
            updates: broadcast::Sender::new(UPDATES),
            head: watch::Sender::new(head),
            driver: Notify::new(),
        }
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        lock(&self.leases)
    }

    pub(crate) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        lock(&self.nodes)
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
