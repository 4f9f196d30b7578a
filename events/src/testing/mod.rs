//! What tests of this crate and of those above it stand on: a private PostgreSQL, a log and a store of tiles that
//! fail on demand, and a writer of histories.
//!
//! Part of the library and not of its tests so that other crates' tests have it too. Nothing else may use it.

mod author;
mod faults;
mod postgres;
mod tiles;

pub use self::{
    author::{Author, AuthorError, Decided},
    faults::{AppendFault, FaultyLog},
    postgres::{Crash, Durability, PrivatePostgres},
    tiles::MemoryTiles,
};
