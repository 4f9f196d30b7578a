//! When snapshots are taken: in the background while the log grows, and at a graceful end.
//!
//! A snapshot in the background is made of the one before it and the entries since, from the table: it takes no
//! lock of the writer's and does not copy its state. It costs the memory of one more state while it lasts.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{StoredSnapshot, restore};
use crate::{
    log::{Head, Log},
    machine::Machine,
    replay::Replay,
};

/// A long log's next snapshot waits for this part of its length: each costs time in proportion to the state, so
/// that all of them together cost no more than in proportion to the log. A start then folds a sixteenth at most.
const SNAPSHOT_SHARE: u64 = 16;
/// A graceful end with fewer new events than this writes none: a start folds them in some milliseconds.
const SHUTDOWN_EVENTS: u64 = 1_000;

/// Takes one writer's snapshots.
pub(crate) struct Keeper {
    log: Arc<dyn Log>,
    /// Fewest events between two snapshots.
    every: u64,
    /// Size of the newest one that is known of, or was tried.
    newest: u64,
    under_way: Option<JoinHandle<()>>,
}

impl Keeper {
    /// `newest` is the size of the snapshot that the start was made from, or 0.
    pub(crate) fn new(log: Arc<dyn Log>, every: u64, newest: u64) -> Self {
        Self {
            log,
            every: every.max(1),
            newest,
            under_way: None,
        }
    }

    /// Whether a log of this size needs a newer one.
    fn is_due(&self, size: u64) -> bool {
        size.saturating_sub(self.newest) >= self.every.max(size / SNAPSHOT_SHARE)
    }

    /// After a start: where that had to fold much, the next one shall not.
    pub(crate) fn started<M: Machine>(&mut self, replay: impl FnOnce() -> Replay<M>, size: u64) {
        if !self.is_due(size) || M::state_version().is_none() {
            return;
        }
        self.newest = size;
        let (log, replay) = (Arc::clone(&self.log), replay());
        self.under_way = Some(tokio::spawn(async move { write(log, replay).await }));
    }

    /// After a commit: begins the next snapshot when it is due and none is under way.
    pub(crate) fn committed<M: Machine>(&mut self, head: Head) {
        let busy = self
            .under_way
            .as_ref()
            .is_some_and(|job| !job.is_finished());
        if busy || !self.is_due(head.size) || M::state_version().is_none() {
            return;
        }
        self.newest = head.size;
        let log = Arc::clone(&self.log);
        self.under_way = Some(tokio::spawn(async move {
            match restore::<M>(log.as_ref(), head).await {
                Ok(restored) => write(log, restored.replay).await,
                Err(error) => tracing::warn!(
                    size = head.size,
                    error = &error as &dyn std::error::Error,
                    "no snapshot was taken"
                ),
            }
        }));
    }

    /// At a graceful end, with everything committed: the state itself is at hand now.
    pub(crate) async fn finish<M: Machine>(&mut self, replay: Replay<M>) {
        if let Some(job) = self.under_way.take() {
            // It has said itself what went wrong.
            let _ = job.await;
        }
        let grown = replay.size().saturating_sub(self.newest);
        if grown >= SHUTDOWN_EVENTS.min(self.every) {
            write(Arc::clone(&self.log), replay).await;
        }
    }
}

/// Failing is no harm but to the next start's speed, so nobody waits for it or hears of it but the operator.
async fn write<M: Machine>(log: Arc<dyn Log>, replay: Replay<M>) {
    let size = replay.size();
    let made =
        tokio::task::spawn_blocking(move || StoredSnapshot::of::<M>(&replay.state, &replay.tail));
    let reason = match made.await {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(snapshot))) => match log.keep_snapshot(&snapshot).await {
            Ok(()) => {
                let bytes = snapshot.state.len();
                tracing::info!(size, bytes, "snapshot taken");
                return;
            }
            Err(error) => format!("{error:?}"),
        },
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    };
    tracing::warn!(size, reason, "no snapshot was taken");
}
