//! What tests of this crate and of those above it stand on: a private PostgreSQL, and a log and
//! a store of tiles that fail on demand.
//!
//! Part of the library and not of its tests so that other crates' tests have it too. Nothing else may use it.

mod faults;
mod postgres;
mod tiles;

pub use self::{
    faults::{AppendFault, FaultyLog},
    postgres::{Crash, PrivatePostgres},
    tiles::MemoryTiles,
};
