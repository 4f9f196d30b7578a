//! The contract between the log and a deterministic state machine: decide, then evolve.
//!
//! Knows nothing of any particular machine, of storage or of callers.

use serde::{Serialize, Serializer, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use crate::envelope::{Recorded, Timestamp};

/// A deterministic state machine over one log.
///
/// `decide` turns a command into events or a rejection and changes nothing; `evolve` folds one recorded event
/// and is the only way in which state changes: live, at restart, in a follower and in an audit.
pub trait Machine: Send + Sync + 'static {
    /// Without interior mutability: a panic in `decide`, which only borrows it, must leave it whole.
    type State: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Serialised only to compare a repeated idempotency key's payload with the original one.
    type Command: Serialize + Send + Sync + 'static;
    type Event: Event;
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// A function of its arguments alone. An empty list means that nothing is to be done.
    fn decide(
        state: &Self::State,
        command: &Self::Command,
        context: &Context,
    ) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Names the code that folds and writes the state: any change of either must change it. A snapshot of another
    /// version is not used. `None`: no snapshots are kept.
    fn state_version() -> Option<&'static str> {
        None
    }

    /// Completes a state that was read from its JSON: fills what is not written there, such as indexes.
    fn restored(state: &mut Self::State) {
        let _ = state;
    }

    /// Folds one event. An error means that the log and this code disagree: the caller stops.
    fn evolve(state: &mut Self::State, recorded: &Recorded<Self::Event>) -> Result<(), Corrupt>;
}

/// One kind of domain event and how it is written down.
pub trait Event: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The stable type label, such as `task.created`; independent of the Rust name.
    fn label(&self) -> &'static str;
    /// Version of this type's schema, from 1.
    fn schema(&self) -> u16;
    /// The stream this event belongs to, such as `task/01J...`.
    fn stream(&self) -> String;
    /// Writes the envelope's `data`. Integers of 64 bits are decimal strings in it.
    fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    /// The envelope's `data` for readers that know no types; null where it has no JSON form, and then it can't be
    /// written either.
    fn to_data(&self) -> serde_json::Value {
        serde_json::to_value(Data(self)).unwrap_or_default()
    }
    /// Reads what `serialize_data` of this or an earlier version wrote; `data` is JSON text, straight from the entry's bytes.
    fn from_data(label: &str, schema: u16, data: &str) -> Result<Self, UnknownEvent>;
}

/// An event's `data`, for serde.
pub(crate) struct Data<'a, E>(pub(crate) &'a E);

impl<E: Event> Serialize for Data<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_data(serializer)
    }
}

/// Reads JSON text with serde; for [`Event::from_data`].
pub fn parse_data<T: DeserializeOwned>(label: &str, data: &str) -> Result<T, UnknownEvent> {
    serde_json::from_str(data).map_err(|e| UnknownEvent(format!("`{label}` can't be read: {e}")))
}

/// What a decision may know besides state and command.
#[derive(Debug, Clone)]
pub struct Context {
    /// The time that the decided events will carry.
    pub time: Timestamp,
    /// Who asked: `account/<id>`, `node/<id>` or `system`.
    pub actor: String,
    /// Fresh random bytes, for ids and nonces.
    pub entropy: [u8; 32],
    /// The same at every decision of one leader, and of all leaders who share it.
    pub secret: LeaderSecret,
}

/// What the leaders of a log know and nobody else does. Decisions derive from it what they commit to now and disclose
/// later; it never stands in an event itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LeaderSecret(pub [u8; 32]);

impl std::fmt::Debug for LeaderSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaderSecret(..)")
    }
}

impl Context {
    /// A generator of ids for this decision: the same context yields the same ids.
    pub fn ids(&self) -> Ids<'_> {
        Ids {
            context: self,
            next: 0,
        }
    }
}

/// Time-ordered ids made from a [`Context`].
#[derive(Debug)]
pub struct Ids<'a> {
    context: &'a Context,
    next: u64,
}

impl Ids<'_> {
    /// A ULID with the context's time and bits derived from its entropy.
    pub fn ulid(&mut self) -> Ulid {
        let mut hash = Sha256::new();
        hash.update(b"aevir.id/1\n");
        hash.update(self.context.entropy);
        hash.update(self.next.to_be_bytes());
        self.next += 1;
        let digest = hash.finalize();
        let mut random = [0u8; 16];
        random.copy_from_slice(&digest[..16]);
        Ulid::from_parts(
            self.context.time.0.max(0) as u64,
            u128::from_be_bytes(random),
        )
    }
}

/// An event that the state can't accept: the log is damaged, or was written by other code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

/// A record whose type, version or data this code can't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownEvent(pub String);
