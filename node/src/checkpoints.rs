//! What a run saves on its way. Its newest checkpoint is offered to the platform, so that a run elsewhere can go on from it. A lease that
//! expects one wants that and no other: it shows whether what somebody else went on from is what a run from zero makes.

use std::{
    convert::Infallible,
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aevir_wire::Lease;
use tokio::sync::watch;

use crate::{
    agent::Shared,
    retry::{Tried, full, until_answered},
};

/// Checkpoints are offered to the platform at most this often: each becomes an entry of the log.
const PERIOD: Duration = Duration::from_secs(5);
/// How long a stopping node tries to keep a run's newest checkpoint.
const PATIENCE: Duration = Duration::from_secs(5);
/// Events of a run that may wait for the agent; a run that is faster is slowed down.
const EVENTS_WAITING: usize = 256;

/// The checkpoints of one run.
pub(crate) struct Checkpoints<'a> {
    lease: &'a Lease,
    newest: watch::Sender<Option<PathBuf>>,
    /// What the platform has.
    kept: Mutex<Option<PathBuf>>,
    /// The bytes of the one that the lease expects, once the run has made it.
    expected: Mutex<Option<Vec<u8>>>,
}

impl<'a> Checkpoints<'a> {
    pub(crate) fn of(lease: &'a Lease) -> Self {
        Self {
            lease,
            newest: watch::channel(None).0,
            kept: Mutex::default(),
            expected: Mutex::default(),
        }
    }

    /// Events of the run that may wait. The files of older checkpoints are removed meanwhile, so that no event waits where any of them may
    /// be the one that is expected.
    pub(crate) fn events_waiting(&self) -> usize {
        match self.lease.expects {
            Some(_) => 1,
            None => EVENTS_WAITING,
        }
    }

    /// The run has saved one.
    pub(crate) fn saved(&self, path: PathBuf, digest: &str) {
        match &self.lease.expects {
            // Its size has a bound, and it is read once.
            Some(expected) if expected.digest == digest => {
                let mut made = lock(&self.expected);
                if made.is_none() {
                    match fs::read(&path) {
                        Ok(bytes) => *made = Some(bytes),
                        Err(error) => {
                            tracing::warn!(error = full(&error), "a checkpoint can't be read");
                        }
                    }
                }
            }
            Some(_) => {}
            // Older ones are removed, also while they are being uploaded; then the newer one follows.
            None => drop(self.newest.send_replace(Some(path))),
        }
    }

    /// Offers the newest one to the platform, not more often than it wants them, for as long as it is polled. One that does not arrive costs
    /// nothing but the time that a successor loses.
    pub(crate) async fn offer(&self, shared: &Shared) -> Infallible {
        let mut newest = self.newest.subscribe();
        loop {
            let Some(path) = newest.borrow_and_update().clone() else {
                // Its sender lives as long as this.
                let _ = newest.changed().await;
                continue;
            };
            // Gone when a newer one came meanwhile: that one is next.
            if let Ok(bytes) = tokio::fs::read(&path).await {
                let kept = shared.client.save_checkpoint(&self.lease.assignment, bytes);
                match kept.await {
                    Ok(_) => *lock(&self.kept) = Some(path),
                    Err(error) => {
                        tracing::warn!(error = full(&error), "a checkpoint was not stored");
                    }
                }
                tokio::time::sleep(PERIOD).await;
            }
            let _ = newest.changed().await;
        }
    }

    /// Offers the newest one of a run that a stopping node breaks off, where the platform does not have it, so that another node loses
    /// nothing.
    pub(crate) async fn keep(&self, shared: &Shared) {
        let newest = self.newest.borrow().clone();
        let Some(path) = newest.filter(|newest| Some(newest) != lock(&self.kept).as_ref()) else {
            return;
        };
        let Ok(bytes) = tokio::fs::read(&path).await else {
            return;
        };
        let kept = shared.client.save_checkpoint(&self.lease.assignment, bytes);
        match tokio::time::timeout(PATIENCE, kept).await {
            Ok(Ok(_)) => tracing::info!("the newest checkpoint was kept"),
            Ok(Err(error)) => tracing::warn!(error = full(&error), "a checkpoint was not stored"),
            Err(_) => tracing::warn!("the platform did not take the checkpoint in time"),
        }
    }

    /// Brings the expected one before the result is sealed, if the run has made it. `None` where the node stops.
    pub(crate) async fn bring_expected(&self, shared: &Shared) -> Option<()> {
        let Some(bytes) = lock(&self.expected).take() else {
            return Some(());
        };
        let call = || {
            let client = &shared.client;
            client.save_checkpoint(&self.lease.assignment, bytes.clone())
        };
        match until_answered("checkpoint", &shared.halt, call).await {
            Tried::Done(_) => {}
            // The result counts all the same.
            Tried::Refused(error) => {
                tracing::warn!(error = full(&error), "the checkpoint was refused");
            }
            Tried::Stopped => return None,
        }
        Some(())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aevir_wire::BlobRef;

    use super::*;
    use crate::allowance::tests::lease;

    #[test]
    fn what_a_lease_expects_is_kept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000000");
        fs::write(&path, "half").unwrap();
        let mut lease = lease(64, 1, None);
        let plain = Checkpoints::of(&lease);
        plain.saved(path.clone(), "aa");
        assert_eq!(plain.newest.borrow().as_ref(), Some(&path));
        assert!(lock(&plain.expected).is_none());
        lease.expects = Some(BlobRef {
            digest: "bb".into(),
            size: "4".into(),
        });
        let looked_at = Checkpoints::of(&lease);
        looked_at.saved(path.clone(), "aa");
        assert!(lock(&looked_at.expected).is_none());
        looked_at.saved(path, "bb");
        assert_eq!(lock(&looked_at.expected).as_deref(), Some(&b"half"[..]));
        assert_eq!(*looked_at.newest.borrow(), None);
    }
}
