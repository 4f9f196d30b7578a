//! The platform's rules, walked through from outside: commands in, events or a rejection out.

#![allow(clippy::unwrap_used, missing_debug_implementations, unreachable_pub)]

mod adaptive;
mod attestation;
mod audit;
mod called_off;
mod concurrency;
mod crowds;
mod draws;
mod fairness;
mod foresight;
mod golden;
mod life;
mod lines;
mod lives;
mod market;
mod maturity;
mod money;
mod node_terms;
mod nodes;
mod pace;
mod placement;
mod pricing;
mod properties;
mod quotes;
mod records;
mod reservations;
mod resumption;
mod returns;
mod reviews;
mod rewards;
mod rotations;
mod sample;
mod schemas;
mod sla;
mod stake;
mod state_table;
mod suspensions;
mod tail;
mod turns;
mod unrevealed;
mod verification;
mod verifier_terms;
mod verifiers;
mod withdrawals;
mod world;
