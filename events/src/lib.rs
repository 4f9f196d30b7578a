//! The event log as a library: append-only storage with tamper-evident history, single-writer executor, replay.
//!
//! Knows nothing of GPUs or tasks; the platform plugs in as a [`Machine`].

mod canonical;
mod entry;
mod envelope;
mod executor;
mod log;
mod machine;
pub mod merkle;
mod replay;
mod subscribe;
mod tail;
pub mod testing;
#[cfg(test)]
mod toy;

pub use canonical::{MAX_SAFE_INTEGER, canonical_hash, unsafe_integer};
pub use entry::{Entry, EntryError, Envelope, MAX_ENTRY_BYTES};
pub use envelope::{Recorded, Timestamp};
pub use executor::{
    BATCH_COMMANDS, Executor, Handle, LIVE_EVENTS, Options, QUEUE_COMMANDS, Receipt, Request,
    StartError, Status, SubmitError,
};
pub use log::{
    Batch, CommandRow, Head, Log, LogError, LogHead, NewEvent, PostgresLog, SqliteLog, StoredEntry,
};
pub use machine::{Context, Corrupt, Event, Ids, Machine, UnknownEvent, parse_data};
pub use merkle::Hash;
pub use replay::{Replay, ReplayError, Replayed, replay, replay_log, state_hash};
pub use subscribe::SubscribeError;
pub use tail::{Damage, Flaw, MAX_COMMAND_EVENTS};
