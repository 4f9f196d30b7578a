//! The way in: submit commands, read the committed state, follow the events.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures::Stream;
use sha2::{Digest as _, Sha256};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use super::batch::{Key, Outcome, Submission};
use crate::{
    canonical::canonical_hash,
    entry::EntryError,
    envelope::Recorded,
    log::{Head, Log, LogError, StoredEntry},
    machine::{LeaderSecret, Machine},
    merkle::Hash,
    subscribe::{SubscribeError, subscribe},
};

/// A command and who gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<C> {
    /// `account/<id>`, `node/<id>` or `system`.
    pub actor: String,
    /// Idempotency key, unique per actor: repeating the command with it answers the original outcome.
    pub key: Option<String>,
    pub command: C,
}

/// The outcome of a command that was committed.
#[derive(Debug, Clone)]
pub struct Receipt<E> {
    /// What happened, in order. Empty where nothing was to be done.
    pub events: Vec<Arc<Recorded<E>>>,
    /// Size of the log with these events in it: a reader that has folded as many sees them.
    pub head: u64,
    /// Whether this is the outcome of an earlier command with the same key.
    pub replayed: bool,
}

/// Why a command has no receipt.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError<R> {
    /// The machine refused. True of the committed log: a failing or deposed leader gives no rejections.
    #[error(transparent)]
    Rejected(R),
    #[error("the idempotency key was used before with another command")]
    Conflict,
    #[error("the command's outcome does not fit into the log: {0}")]
    Unwritable(EntryError),
    #[error("too many commands are waiting; try again later")]
    Busy,
    #[error("another executor leads the log now")]
    NotLeader,
    #[error("the log is unavailable and nothing was written; try again later")]
    Unavailable,
    /// Repeat it with the same key, or look into the log.
    #[error(
        "the connection to the log was lost at commit, so it is unknown whether the command took effect"
    )]
    Unknown,
    #[error("the executor has stopped")]
    Stopped,
    #[error("internal error: {0}")]
    Internal(String),
}

impl<R> SubmitError<R> {
    /// Whether the same command may succeed later, and is safe to repeat (with its key, where it is `Unknown`).
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy | Self::NotLeader | Self::Unavailable | Self::Unknown | Self::Stopped => {
                true
            }
            Self::Rejected(_) | Self::Conflict | Self::Unwritable(_) | Self::Internal(_) => false,
        }
    }
}

/// What an executor is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Takes commands.
    Leading,
    /// Still the leader as far as it knows, but the log can't be reached; commands are answered `Unavailable`.
    Recovering,
    /// Final: another executor has taken over.
    Deposed,
    /// Final: shut down, with everything that was queued done.
    Stopped,
    /// Final: what it can't go on from, such as a damaged log.
    Failed(String),
}

impl Status {
    /// Whether the writer has ended.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Leading | Self::Recovering => false,
            Self::Deposed | Self::Stopped | Self::Failed(_) => true,
        }
    }
}

/// The state as committed, which readers see.
pub(super) struct Committed<S> {
    pub(super) state: S,
    pub(super) size: u64,
    pub(super) root: Hash,
}

/// What handles, subscriptions and the writer have in common.
pub(super) struct Shared<M: Machine> {
    pub(super) log: Arc<dyn Log>,
    pub(super) secret: LeaderSecret,
    pub(super) committed: RwLock<Committed<M::State>>,
    /// Weak, so that subscriptions end with the writer.
    pub(super) live: broadcast::WeakSender<Arc<Recorded<M::Event>>>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) closing: watch::Sender<bool>,
    /// When that was sent off to the log which is on its way, or of which nobody knows yet whether it is in.
    pub(super) sent: Mutex<Option<Instant>>,
}

impl<M: Machine> Shared<M> {
    pub(super) fn note_sent(&self, at: Option<Instant>) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Unless something is on its way since before.
    pub(super) fn note_sent_once(&self, at: Instant) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.get_or_insert(at);
    }

    pub(super) fn head(&self) -> Head {
        let committed = self
            .committed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Head {
            size: committed.size,
            root: committed.root,
        }
    }
}

/// The way to an executor. Cheap to clone; the writer ends when the last handle is dropped.
pub struct Handle<M: Machine> {
    pub(super) queue: mpsc::Sender<Submission<M>>,
    pub(super) shared: Arc<Shared<M>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: Machine> std::fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("head", &self.head())
            .field("status", &self.status())
            .finish()
    }
}

impl<M: Machine> Handle<M> {
    /// Hands a command to the writer and waits until its outcome is durable.
    ///
    /// Answers [`SubmitError::Busy`] at once where the queue is full. Dropping the future does not recall the
    /// command.
    pub async fn submit(
        &self,
        request: Request<M::Command>,
    ) -> Result<Receipt<M::Event>, SubmitError<M::Rejection>> {
        let Request {
            actor,
            key,
            command,
        } = request;
        let key = match key {
            None => None,
            Some(text) => {
                let payload = canonical_hash(&command).map_err(|e| {
                    SubmitError::Internal(format!("the command has no JSON form: {e}"))
                })?;
                Some(Key {
                    id: command_id(&actor, &text),
                    text,
                    payload,
                })
            }
        };
        let (reply, answer) = oneshot::channel();
        let submission = Submission {
            actor,
            key,
            command,
            span: tracing::Span::current(),
            reply,
        };
        match self.queue.try_send(submission) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(SubmitError::Busy),
            Err(TrySendError::Closed(_)) => return Err(self.closed()),
        }
        match answer.await {
            Ok(Ok(Outcome::Done(receipt))) => Ok(receipt),
            Ok(Ok(Outcome::Before { position, events })) => self.original(position, events).await,
            Ok(Err(error)) => Err(error),
            // The writer is gone without an answer, so its last commit may have been this command's.
            Err(_) => Err(SubmitError::Unknown),
        }
    }

    /// Calls `f` with the committed state and the number of entries folded into it.
    ///
    /// A caller that has its receipt sees its events. The writer waits while `f` runs: copy out what is needed and
    /// return.
    pub fn read<R>(&self, f: impl FnOnce(&M::State, u64) -> R) -> R {
        let committed = self
            .shared
            .committed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        f(&committed.state, committed.size)
    }

    /// A copy of the committed state with the head that it is the fold of, for work that takes long.
    ///
    /// Commits wait for the copy alone. It takes as much memory as the state.
    pub fn copy(&self) -> (M::State, Head) {
        let committed = self
            .shared
            .committed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let head = Head {
            size: committed.size,
            root: committed.root,
        };
        (committed.state.clone(), head)
    }

    /// What is handed to every decision, for who looks ahead at one: nobody else is to see it.
    pub fn secret(&self) -> &LeaderSecret {
        &self.shared.secret
    }

    /// The committed end of the log.
    pub fn head(&self) -> Head {
        self.shared.head()
    }

    /// All events from position `from` on: first those in the table, then live, without a gap or a repetition.
    ///
    /// An event appears here no earlier than [`Handle::read`] shows it. The stream ends when the executor does.
    pub fn subscribe(
        &self,
        from: u64,
    ) -> impl Stream<Item = Result<Arc<Recorded<M::Event>>, SubscribeError>> + Send + Unpin + use<M>
    {
        let shared = Arc::clone(&self.shared);
        let live = shared.live.upgrade().map(|live| live.subscribe());
        subscribe(Arc::clone(&shared.log), live, from, move || {
            shared.head().size
        })
    }

    /// At most `limit` committed entries from position `from` on, as stored.
    pub async fn entries(&self, from: u64, limit: usize) -> Result<Vec<StoredEntry>, LogError> {
        let left = usize::try_from(self.head().size.saturating_sub(from)).unwrap_or(usize::MAX);
        match limit.min(left) {
            0 => Ok(Vec::new()),
            limit => self.shared.log.read(from, limit).await,
        }
    }

    /// Waits until the log has more than `position` entries. False: the executor has ended, so there will be no more.
    pub async fn wait_beyond(&self, position: u64) -> bool {
        // Subscribed before the first look, so that nothing falls between the two.
        let mut live = self.shared.live.upgrade().map(|live| live.subscribe());
        loop {
            if self.head().size > position {
                return true;
            }
            let Some(receiver) = &mut live else {
                return false;
            };
            if let Err(RecvError::Closed) = receiver.recv().await {
                live = None;
            }
        }
    }

    /// Whether the log has the outcome of an actor's command with this idempotency key: repeated, it writes nothing more.
    pub async fn is_known(&self, actor: &str, key: &str) -> Result<bool, LogError> {
        let ids = [command_id(actor, key)];
        Ok(!self.shared.log.find_commands(&ids).await?.is_empty())
    }

    /// For how long by now the writer waits for the log, to take a batch or to say what it has; `None` where it does not. Long where the log
    /// can't be reached.
    pub fn unwritten_for(&self) -> Option<Duration> {
        let sent = self.shared.sent.lock();
        let sent = *sent.unwrap_or_else(PoisonError::into_inner);
        sent.map(|sent| sent.elapsed())
    }

    /// What the executor is doing now.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Waits until the writer has ended, and says how.
    pub async fn ended(&self) -> Status {
        let mut status = self.shared.status.clone();
        match status.wait_for(Status::is_final).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Failed("the writer's task has gone".to_owned()),
        }
    }

    /// Stops taking commands, finishes those that are queued, and waits for the writer's end.
    pub async fn shutdown(&self) -> Status {
        self.shared.closing.send_replace(true);
        self.ended().await
    }

    /// The outcome of an earlier command, from the log.
    async fn original(
        &self,
        position: u64,
        events: u32,
    ) -> Result<Receipt<M::Event>, SubmitError<M::Rejection>> {
        let stored = self
            .shared
            .log
            .read(position, events as usize)
            .await
            .map_err(|error| {
                tracing::warn!(
                    position,
                    error = &error as &dyn std::error::Error,
                    "an earlier outcome can't be read"
                );
                SubmitError::Unavailable
            })?;
        let damaged = |reason: String| {
            SubmitError::Internal(format!("the outcome at position {position}: {reason}"))
        };
        if stored.len() != events as usize {
            return Err(damaged(format!(
                "{} of {events} entries are left",
                stored.len()
            )));
        }
        let events = stored
            .iter()
            .map(|row| row.entry.decode().map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| damaged(e.to_string()))?;
        Ok(Receipt {
            head: position + events.len() as u64,
            events,
            replayed: true,
        })
    }

    fn closed(&self) -> SubmitError<M::Rejection> {
        match self.status() {
            Status::Deposed => SubmitError::NotLeader,
            Status::Leading | Status::Recovering | Status::Stopped | Status::Failed(_) => {
                SubmitError::Stopped
            }
        }
    }
}

/// What names a command in the log: one actor's keys say nothing about another's.
pub(super) fn command_id(actor: &str, key: &str) -> Hash {
    let mut hash = Sha256::new();
    hash.update(b"aevir.idempotency/1\n");
    hash.update((actor.len() as u64).to_be_bytes());
    hash.update(actor);
    hash.update(key);
    Hash(hash.finalize().into())
}
