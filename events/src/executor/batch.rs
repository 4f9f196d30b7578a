//! What is on its way: a command in the queue, and the batch that is being decided or committed.

use std::{collections::HashMap, sync::Arc, time::Instant};

use tokio::{sync::oneshot, task::JoinHandle};
use tracing::Span;

use super::handle::{Receipt, SubmitError};
use crate::{
    envelope::Recorded,
    log::{Batch, CommandRow, LogError, NewEvent},
    machine::Machine,
    merkle::Hash,
    tail::Staged,
};

/// Bytes of entries after which a batch takes no more commands, to bound memory and the commit's duration.
const BATCH_BYTES: usize = 8 << 20;

/// An idempotency key, made ready for comparison.
#[derive(Debug)]
pub(super) struct Key {
    /// Over actor and key.
    pub(super) id: Hash,
    /// As the caller gave it: the events' cause.
    pub(super) text: String,
    /// Over the command.
    pub(super) payload: Hash,
}

/// A command in the queue.
pub(super) struct Submission<M: Machine> {
    pub(super) actor: String,
    pub(super) key: Option<Key>,
    pub(super) command: M::Command,
    /// The caller's span, so that what happens to the command is logged where the request is.
    pub(super) span: Span,
    pub(super) reply: Reply<M>,
}

/// Where the answer goes.
pub(super) type Reply<M> = oneshot::Sender<Answer<M>>;

/// What a caller is told.
pub(super) type Answer<M> =
    Result<Outcome<<M as Machine>::Event>, SubmitError<<M as Machine>::Rejection>>;

/// A good outcome.
pub(super) enum Outcome<E> {
    Done(Receipt<E>),
    /// It was done before; the caller reads these events from the log itself, so that the writer need not.
    Before {
        position: u64,
        events: u32,
    },
}

/// An answer that waits for the commit of what it was decided on.
pub(super) struct Held<M: Machine> {
    pub(super) reply: Reply<M>,
    pub(super) answer: Answer<M>,
    pub(super) span: Span,
}

/// The outcome of a command with a key that isn't in the log yet.
pub(super) struct Pending<E> {
    pub(super) payload: Hash,
    pub(super) receipt: Receipt<E>,
}

/// Keys that were decided and aren't in the log yet.
pub(super) type PendingKeys<M> = HashMap<Hash, Pending<<M as Machine>::Event>>;

/// A batch that is being decided.
pub(super) struct Open<M: Machine> {
    /// Position of its first event, if it will have one.
    pub(super) base: u64,
    pub(super) events: Vec<NewEvent>,
    pub(super) recorded: Vec<Arc<Recorded<M::Event>>>,
    pub(super) commands: Vec<CommandRow>,
    pub(super) held: Vec<Held<M>>,
    bytes: usize,
    /// It takes no more, and waits as this for the flight before it to land.
    pub(super) sealed: Option<Arc<Batch>>,
}

impl<M: Machine> Open<M> {
    pub(super) fn new(base: u64) -> Self {
        Self {
            base,
            events: Vec::new(),
            recorded: Vec::new(),
            commands: Vec::new(),
            held: Vec::new(),
            bytes: 0,
            sealed: None,
        }
    }

    /// Whether there is nobody to answer.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many more commands it takes, `limit` being the most.
    pub(super) fn room(&self, limit: usize) -> usize {
        if self.bytes >= BATCH_BYTES || self.sealed.is_some() {
            0
        } else {
            limit.saturating_sub(self.held.len())
        }
    }

    /// Adds a decision's events, and answers the receipt that its caller will get.
    pub(super) fn add(&mut self, staged: Vec<Staged<M::Event>>) -> Receipt<M::Event> {
        let first = self.recorded.len();
        for Staged { recorded, row } in staged {
            self.bytes += row.entry.as_ref().len();
            self.recorded.push(recorded);
            self.events.push(row);
        }
        Receipt {
            events: self.recorded[first..].to_vec(),
            head: self.base + self.recorded.len() as u64,
            replayed: false,
        }
    }
}

/// A batch that is being committed, or, where it has no events, whose base is being confirmed.
pub(super) struct Flight<M: Machine> {
    pub(super) task: JoinHandle<Result<(), LogError>>,
    pub(super) batch: Arc<Batch>,
    pub(super) recorded: Vec<Arc<Recorded<M::Event>>>,
    pub(super) held: Vec<Held<M>>,
    pub(super) since: Instant,
}
