//! The program as a whole: real servers, real nodes, real modules, over HTTP.
#![allow(clippy::unwrap_used)]

mod attacks;
mod checkpoints;
mod closed;
mod command_line;
mod commitment;
mod comparators;
mod compiling;
mod crash;
mod exports;
mod failures;
mod local;
mod money;
mod node_life;
mod nodes;
mod nodes_under_load;
mod platform;
// The attacks need a part of it.
#[allow(dead_code)]
#[path = "../../../api/tests/api/support/node.rs"]
mod protocol;
mod receipts;
mod reservations;
mod reviews;
mod sealed_storage;
mod stores;
mod up;
mod verifiers;
