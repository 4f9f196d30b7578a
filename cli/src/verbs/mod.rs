//! What people ask of a platform: one module for each kind of thing.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod content;
pub(crate) mod log;
pub(crate) mod module;
mod money;
pub(crate) mod node;
mod plan;
pub(crate) mod points;
pub(crate) mod policy;
pub(crate) mod projections;
mod proof;
pub(crate) mod receipt;
mod schemas;
mod statement;
pub(crate) mod task;
