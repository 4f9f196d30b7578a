//! A log that fails on demand, in the ways in which databases fail.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::watch;
use ulid::Ulid;

use crate::{
    log::{Batch, CommandRow, Log, LogError, LogHead, StoredEntry},
    merkle::Hash,
    snapshot::StoredSnapshot,
};

/// How one append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// Refused before anything was written, and the caller is told so.
    Refused,
    /// The connection is lost before the request arrives: unknown outcome, nothing stored.
    LostRequest,
    /// The connection is lost after the commit: unknown outcome, everything stored.
    LostAnswer,
    /// The log can't be reached from now on, until [`FaultyLog::set_reachable`]; nothing stored.
    Outage,
    /// Everything is stored, the answer is lost, and the log can't be reached from now on.
    LostAnswerThenOutage,
    /// The task that appends dies.
    Panic,
}

/// Wraps a log and injects faults.
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    /// For the next appends, in order.
    faults: Mutex<VecDeque<AppendFault>>,
    reachable: AtomicBool,
    /// Appends wait while this is false.
    flowing: watch::Sender<bool>,
    appends: AtomicUsize,
    prepared: AtomicUsize,
}

impl std::fmt::Debug for FaultyLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyLog").finish_non_exhaustive()
    }
}

impl FaultyLog {
    /// Behaves like `inner` until told otherwise.
    pub fn new(inner: Arc<dyn Log>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::default(),
            reachable: AtomicBool::new(true),
            flowing: watch::Sender::new(true),
            appends: AtomicUsize::new(0),
            prepared: AtomicUsize::new(0),
        })
    }

    /// Makes the next append without a fault of its own fail like this.
    pub fn fail_append(&self, fault: AppendFault) {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(fault);
    }

    /// While false, every operation fails as unavailable.
    pub fn set_reachable(&self, reachable: bool) {
        self.reachable.store(reachable, Ordering::SeqCst);
    }

    /// Lets appends wait before they are sent, so that a test can look at what happens meanwhile.
    pub fn hold_appends(&self, hold: bool) {
        self.flowing.send_replace(!hold);
    }

    /// How many appends have arrived here, held ones included.
    pub fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    /// How many batches were made ready before they could be sent.
    pub fn prepared(&self) -> usize {
        self.prepared.load(Ordering::SeqCst)
    }

    fn reach(&self) -> Result<(), LogError> {
        if self.reachable.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(LogError::from(broken()))
        }
    }
}

#[async_trait]
impl Log for FaultyLog {
    async fn head(&self) -> Result<LogHead, LogError> {
        self.reach()?;
        self.inner.head().await
    }

    async fn claim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.reach()?;
        self.inner.claim(leader).await
    }

    async fn reclaim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.reach()?;
        self.inner.reclaim(leader).await
    }

    async fn append(&self, batch: Arc<Batch>) -> Result<(), LogError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        // The sender lives as long as this log.
        let _ = self.flowing.subscribe().wait_for(|flowing| *flowing).await;
        let fault = self
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        self.reach()?;
        let unknown = || LogError::Unknown(Arc::new(broken()));
        match fault {
            None => self.inner.append(batch).await,
            Some(AppendFault::Refused) => Err(LogError::from(broken())),
            Some(AppendFault::LostRequest) => Err(unknown()),
            Some(AppendFault::LostAnswer) => {
                self.inner.append(batch).await.and_then(|()| Err(unknown()))
            }
            Some(AppendFault::Outage) => {
                self.set_reachable(false);
                Err(LogError::from(broken()))
            }
            Some(AppendFault::LostAnswerThenOutage) => {
                self.inner.append(batch).await?;
                self.set_reachable(false);
                Err(unknown())
            }
            Some(AppendFault::Panic) => panic!("injected: the append's task dies"),
        }
    }

    fn prepare(&self, batch: &Arc<Batch>) {
        self.prepared.fetch_add(1, Ordering::SeqCst);
        self.inner.prepare(batch);
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<StoredEntry>, LogError> {
        self.reach()?;
        self.inner.read(from, limit).await
    }

    async fn find_commands(&self, ids: &[Hash]) -> Result<Vec<CommandRow>, LogError> {
        self.reach()?;
        self.inner.find_commands(ids).await
    }

    async fn snapshot(&self, size_max: u64) -> Result<Option<StoredSnapshot>, LogError> {
        self.reach()?;
        self.inner.snapshot(size_max).await
    }

    async fn keep_snapshot(&self, snapshot: &StoredSnapshot) -> Result<(), LogError> {
        self.reach()?;
        self.inner.keep_snapshot(snapshot).await
    }
}

fn broken() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::ConnectionReset,
        "injected fault",
    ))
}
