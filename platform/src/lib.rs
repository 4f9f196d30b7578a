//! The pure domain of Aevir: tasks, nodes, contents, money and points as one deterministic state machine.
pub mod amount;
pub mod command;
pub mod definition;
pub mod digest;
pub mod event;
pub mod hexbytes;
pub mod ids;
pub mod ledger;
pub mod policy;
pub mod report;
