//! The event log as a library: append-only storage with tamper-evident history, single-writer executor, replay.
//!
//! Knows nothing of GPUs or tasks; the platform plugs in as a [`Machine`].

mod envelope;
mod machine;

pub use envelope::{Recorded, Timestamp};
pub use machine::{Context, Corrupt, Event, Ids, Machine, UnknownEvent, parse_data};
