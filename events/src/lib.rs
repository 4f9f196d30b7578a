//! The event log as a library: append-only storage with tamper-evident history, a single writer, replay.
//!
//! Knows nothing of GPUs or tasks; the platform plugs in as a [`Machine`]: a pure `decide` that turns a command
//! into events or a rejection, and a pure `evolve` that folds one event.
//!
//! ```text
//!   callers --submit--> [bounded queue] --> Executor: decide on the speculative state
//!                                               |  one batch per commit; the next is decided meanwhile
//!                                               v
//!   Log::append: compare-and-set on (epoch, size) + all rows, one transaction      SqliteLog | PostgresLog
//!                                               |
//!                                               v
//!   evolve the committed state (Handle::read) --> live subscribers --> answers
//! ```
//!
//! What holds, at every moment and after every crash:
//! - Positions are gapless from 0, revisions gapless within a stream, and time never goes back.
//! - An entry is the canonical JSON of its envelope ([`Entry`]), the same bytes on every database, and the leaf of
//!   one RFC 6962 tree ([`merkle`]). Nothing is written that can't be read back.
//! - An answer, good or bad, is given only once the head it was decided on is durable and still the leader's.
//! - Of two writers on one log only one can append; the other one finds out and stops ([`Status::Deposed`]).
//! - A command with an idempotency key happens at most once per actor and key.
//! - The state is what [`replay`] makes of the entries, and nothing else.
//!
//! Where a change goes: bytes in `entry`; earlier versions of events in `upcast`; places and checks of entries in `tail`; storage in `log`; what happens to
//! a command in `executor/decide`; commits in `executor/writer`; failures of the log in `executor/recover`; SQL views
//! of the log in `projection`.

mod canonical;
mod cloudevents;
mod entry;
mod envelope;
mod executor;
mod jcs;
mod log;
mod machine;
pub mod merkle;
pub mod projection;
mod replay;
mod snapshot;
mod subscribe;
mod tail;
pub mod testing;
mod text;
pub mod tlog;
#[cfg(test)]
mod toy;
mod upcast;

pub use canonical::{MAX_SAFE_INTEGER, canonical_hash, unsafe_integer};
pub use cloudevents::{CloudEventError, CloudEventLine, CloudEventWriter};
pub use entry::{Entry, EntryError, Envelope, MAX_ENTRY_BYTES};
pub use envelope::{Recorded, Timestamp};
pub use executor::{
    BATCH_COMMANDS, Executor, Handle, LIVE_EVENTS, Options, QUEUE_COMMANDS, Receipt, Request,
    SNAPSHOT_EVENTS, StartError, Status, SubmitError, Timer,
};
pub use log::{
    Batch, CommandRow, Head, Log, LogError, LogHead, LogRows, NewEvent, PostgresLog, Row, RowPage,
    SqliteLog, StoreFault, StoredEntry,
};
pub use machine::{Context, Corrupt, Event, Ids, LeaderSecret, Machine, UnknownEvent, parse_data};
pub use merkle::Hash;
pub use replay::{
    CHUNK_ENTRIES, Found, Inspect, Inspected, Replay, ReplayError, Replayed, Stopped, Visit,
    replay, replay_log, state_hash, workers,
};
pub use snapshot::{SNAPSHOT_BYTES_MAX, SNAPSHOTS_KEPT, StoredSnapshot};
pub use subscribe::SubscribeError;
pub use tail::{Damage, Flaw, MAX_COMMAND_EVENTS};
pub use text::{from_text, is_plain_decimal};
pub use upcast::{Upcaster, read_data};
