//! The pure domain of Aevir: tasks, nodes, contents, money and IntelliPoints as one deterministic state machine.
//!
//! A command comes in ([`command`]), [`decide`] answers it with events or a [`rejection`], and [`evolve`] folds
//! events into the [`state`]. Nothing here reads a clock, draws a random number, does I/O or computes in
//! floating point: time, entropy and ids arrive in the [`aevir_events::Context`] of a decision. So the same log
//! gives the same state on every machine, and an auditor needs nothing else.
//!
//! Must not know: HTTP, SQL, WebAssembly, GPUs, clocks.

pub mod amount;
pub mod audit;
mod check;
pub mod closed;
pub mod command;
pub mod content;
mod decide;
pub mod definition;
pub mod digest;
pub mod event;
mod evolve;
mod fixed;
pub mod hexbytes;
pub mod ids;
mod inputs;
pub mod json;
pub mod ledger;
mod lift;
pub mod policy;
pub mod rejection;
pub mod report;
mod rights;
pub mod rotation;
pub mod schedule;
pub mod schemas;
pub mod state;
pub mod terms;
pub mod testing;

use aevir_events::{Context, Corrupt, Machine, Recorded};

pub use decide::{
    CHECKED_DEFINITION, CHECKED_INPUT, CHECKED_RESULT, CHECKPOINT_BYTES_MAX, DEFINITION_BYTES_MAX,
    INLINE_BYTES_MAX, PARAMS_BYTES_MAX, REPLICAS_MAX, RESULT_BYTES_MAX, SCHEMA_BYTES_MAX,
    checked_definition_bytes, decide, may_register_module, taken_by_others, validate, worst_case,
};
pub use evolve::evolve;
pub use inputs::{COMPARED, inputs_of};
pub use rights::{Actor, NotAnActor};

/// The platform's state machine.
#[derive(Debug)]
pub struct Platform;

impl Machine for Platform {
    type State = state::State;
    type Command = command::Command;
    type Event = event::Event;
    type Rejection = rejection::Rejection;

    fn decide(
        state: &Self::State,
        command: &Self::Command,
        context: &Context,
    ) -> Result<Vec<Self::Event>, Self::Rejection> {
        decide::decide(state, command, context)
    }

    fn state_version() -> Option<&'static str> {
        Some(env!("AEVIR_STATE_VERSION"))
    }

    fn restored(state: &mut Self::State) {
        state.reindex();
    }

    fn evolve(state: &mut Self::State, recorded: &Recorded<Self::Event>) -> Result<(), Corrupt> {
        evolve::evolve(state, recorded)
    }
}
