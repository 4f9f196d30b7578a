//! End-to-end tests of the API: a real server on a free port, a real log, and nodes that speak the protocol but
//! run nothing.

#![allow(clippy::unwrap_used)]

mod accounts;
mod challenges;
mod connections;
mod contents;
mod documents;
mod fencing;
mod judging;
mod leases;
mod lifecycle;
mod money;
mod node_life;
mod objects;
mod pauses;
mod plan;
mod points;
mod protocol;
mod rates;
mod recovery;
mod refusals;
mod support;
mod tasks;
mod tlog;
mod uploads;
mod views;
