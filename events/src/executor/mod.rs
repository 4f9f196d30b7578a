//! The single writer of a log: takes commands from a bounded queue, decides them one at a time against the state
//! in memory, commits their events in groups, and only then answers.
//!
//! [`Executor::start`] takes leadership, rebuilds the state from the log and answers a [`Handle`], through which
//! everything else goes. Knows nothing of any particular machine or database.

mod batch;
mod decide;
mod handle;
mod recover;
mod timer;
mod writer;

use std::{
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{broadcast, mpsc, watch};
use ulid::Ulid;

use self::{
    handle::{Committed, Shared},
    timer::SystemTimer,
    writer::{Speculation, Term, Writer},
};
pub use self::{
    handle::{Handle, Receipt, Request, Status, SubmitError},
    timer::Timer,
};
use crate::{
    envelope::Timestamp,
    log::{Log, LogError},
    machine::{LeaderSecret, Machine},
    replay::{Replay, ReplayError, load},
    snapshot::{Keeper, Restored, restore},
    tail::{Damage, Flaw},
};

/// Commands that may wait before [`SubmitError::Busy`]: a few full batches, some tens of milliseconds of work.
pub const QUEUE_COMMANDS: usize = 4_096;
/// Most commands decided into one commit. Above some hundreds the processor is the limit and not the disk's sync,
/// and a larger batch only makes callers wait longer.
pub const BATCH_COMMANDS: usize = 1_024;
/// Events kept for live subscribers; one that falls further behind reads from the table.
pub const LIVE_EVENTS: usize = 4_096;
/// Fewest events between two snapshots: some tenths of a second of replay. Long logs take them less often.
pub const SNAPSHOT_EVENTS: u64 = 50_000;
/// How long callers wait for the outcome of a commit whose answer was lost, before they're told that it is
/// unknown. The executor itself goes on until it knows.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(10);

/// Where an executor's time and randomness come from, and its limits.
#[derive(Clone)]
pub struct Options {
    /// The time now. Events carry it, but never a time before the previous event's.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// 32 fresh random bytes for every command.
    pub entropy: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
    /// Handed to every decision. Who leads the log next should have the same, or what was committed to can't be disclosed.
    pub secret: LeaderSecret,
    /// How to wait while the log can't be reached.
    pub timer: Arc<dyn Timer>,
    /// Commands that may wait; at least 1.
    pub queue_commands: usize,
    /// Most commands in one commit; at least 1.
    pub batch_commands: usize,
    /// See the constant of the same purpose: how long callers wait for a lost commit's outcome.
    pub resolve_patience: Duration,
    /// Fewest events between two snapshots; at least 1.
    pub snapshot_events: u64,
}

impl Default for Options {
    /// The system's clock and randomness.
    fn default() -> Self {
        Self {
            clock: Arc::new(system_clock),
            entropy: Arc::new(rand::random),
            secret: LeaderSecret(rand::random()),
            timer: Arc::new(SystemTimer::new()),
            queue_commands: QUEUE_COMMANDS,
            batch_commands: BATCH_COMMANDS,
            resolve_patience: RESOLVE_PATIENCE,
            snapshot_events: SNAPSHOT_EVENTS,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("queue_commands", &self.queue_commands)
            .field("batch_commands", &self.batch_commands)
            .field("resolve_patience", &self.resolve_patience)
            .field("snapshot_events", &self.snapshot_events)
            .finish_non_exhaustive()
    }
}

/// Why an executor did not start. The log is as it was, but for a new epoch where leadership was taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// Names the first bad position.
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("the log can't be read")]
    Log(#[source] LogError),
}

impl From<ReplayError> for StartError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Damage(damage) => Self::Damage(damage),
            ReplayError::Log(error) => Self::Log(error),
        }
    }
}

/// Starts single writers.
#[derive(Debug)]
pub struct Executor;

impl Executor {
    /// Brings the state up to the log's head, from a snapshot where there is a good one, takes leadership of it (which deposes any other executor on it) and starts
    /// the writer as a task of the current tokio runtime.
    ///
    /// The writer ends after [`Handle::shutdown`], when the last handle is dropped, or when it is deposed.
    pub async fn start<M: Machine>(
        log: Arc<dyn Log>,
        options: Options,
    ) -> Result<Handle<M>, StartError> {
        // Not from the options' entropy, which tests repeat: two executors must never have the same name.
        let leader = Ulid::from_parts((options.clock)().0.max(0) as u64, rand::random());
        // The bulk is read before leadership is taken: a damaged log deposes nobody, and a hand-over is short.
        let head = log.head().await.map_err(StartError::Log)?;
        let started = Instant::now();
        let Restored { replay, snapshot } = restore::<M>(log.as_ref(), head.head()).await?;
        let head = log.claim(leader).await.map_err(StartError::Log)?;
        let Replay { state, tail } = load(log.as_ref(), replay, head.head()).await?;
        if !log
            .read(head.size(), 1)
            .await
            .map_err(StartError::Log)?
            .is_empty()
        {
            return Err(tail.damage(Flaw::BeyondHead).into());
        }
        let elapsed_ms = started.elapsed().as_millis() as u64;
        tracing::info!(
            epoch = head.epoch, size = head.size(), root = %head.root, snapshot, elapsed_ms, "leading the log"
        );
        let mut keeper = Keeper::new(Arc::clone(&log), options.snapshot_events, snapshot);
        keeper.started(
            || Replay::<M> {
                state: state.clone(),
                tail: tail.clone(),
            },
            head.size(),
        );

        let (queue, commands) = mpsc::channel(options.queue_commands.max(1));
        let (live, _) = broadcast::channel(LIVE_EVENTS);
        let (status, status_seen) = watch::channel(Status::Leading);
        let (closing, closing_seen) = watch::channel(false);
        let shared = Arc::new(Shared {
            log,
            secret: options.secret,
            committed: RwLock::new(Committed {
                state: state.clone(),
                size: head.size(),
                root: head.root,
            }),
            live: live.downgrade(),
            status: status_seen,
            closing,
            sent: Mutex::default(),
        });
        let speculation = Speculation { state, tail };
        let writer = Writer::new(
            Arc::clone(&shared),
            options,
            Term {
                leader,
                epoch: head.epoch,
            },
            speculation,
            live,
            status,
            keeper,
        );
        tokio::spawn(writer.run(commands, closing_seen));
        Ok(Handle { queue, shared })
    }
}

/// Milliseconds since 1970 by the system's clock; 0 where that is set before 1970.
fn system_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
