//! Write an Aevir task in a page of Rust.
//!
//! A task is a function from typed parameters to a typed result. [`task!`] makes it the module's entry point; everything
//! else a task may do is in this crate: read [`Input`]s, write [`Output`]s, report [`progress`], [`metric`]s and log
//! lines, draw from the seeded [`Rng`], save and resume from [checkpoints](checkpoint), and compute on the [`gpu`].
//!
//! ```no_run
//! use aevir_guest::{Input, Result, info, task};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Params { word: String }
//!
//! #[derive(Serialize)]
//! struct Count { occurrences: usize }
//!
//! fn count(params: Params) -> Result<Count> {
//!     let text = String::from_utf8_lossy(&Input::open("text")?.read_all()?).into_owned();
//!     info!("{} bytes of text", text.len());
//!     Ok(Count { occurrences: text.matches(&params.word).count() })
//! }
//!
//! task!(count);
//! ```
//!
//! [`check!`] and [`comparator!`] make modules of the other two worlds in the same way.
//!
//! A run is a pure function of parameters, inputs and seed: there is no clock to read, no network and no file. Keep it
//! that way (no iteration over hash maps, no pointers printed) and any node reproduces the result.

#![forbid(unsafe_op_in_unsafe_fn)]

pub mod checkpoint;
mod error;
pub mod gpu;
mod io;
mod report;
mod rng;

pub use error::{Error, Result};
pub use io::{CHUNK_BYTES, Input, Output, Reader};
pub use report::{Level, log, metric, progress};
pub use rng::Rng;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The generated bindings of `schemas/wit/aevir-task.wit`, for what this crate does not wrap.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../schemas/wit",
        world: "task",
        pub_export_macro: true,
        default_bindings_module: "aevir_guest::bindings",
        runtime_path: "::aevir_guest::wit_bindgen::rt",
    });
}

/// The generated bindings of the world `check`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all
)]
#[doc(hidden)]
pub mod check_bindings {
    wit_bindgen::generate!({
        path: "../../schemas/wit",
        world: "check",
        with: { "aevir:task/context@1.0.0": crate::bindings::aevir::task::context },
        pub_export_macro: true,
        default_bindings_module: "aevir_guest::check_bindings",
        runtime_path: "::aevir_guest::wit_bindgen::rt",
    });
}

/// The generated bindings of the world `comparator`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all
)]
#[doc(hidden)]
pub mod comparator_bindings {
    wit_bindgen::generate!({
        path: "../../schemas/wit",
        world: "comparator",
        with: { "aevir:task/context@1.0.0": crate::bindings::aevir::task::context },
        pub_export_macro: true,
        default_bindings_module: "aevir_guest::comparator_bindings",
        runtime_path: "::aevir_guest::wit_bindgen::rt",
    });
}

#[doc(hidden)]
pub use wit_bindgen;

// The generated code names its runtime by this crate's public path, also from inside it.
extern crate self as aevir_guest;

/// Makes a function `fn(Params) -> Result<Outcome, E>` the task of this module.
///
/// `Params` is read from the task's `params` (JSON), `Outcome` is written as the inline result (JSON, at most 32 KiB);
/// an error's text becomes the task's error.
#[macro_export]
macro_rules! task {
    ($run:path) => {
        struct AevirTask;

        impl $crate::bindings::Guest for AevirTask {
            fn run() -> ::core::result::Result<::std::string::String, ::std::string::String> {
                $crate::run_task($run)
            }
        }

        $crate::bindings::export!(AevirTask with_types_in $crate::bindings);
    };
}

/// Makes a function `fn(Params) -> Result<bool, E>` the check of this module.
///
/// The run's inputs are the checked task's definition (`task.json`), its inputs and its outputs; `Params` is read from the
/// check's own `params`. `true` accepts the result and `false` refuses it; an error is the check's own failure.
#[macro_export]
macro_rules! check {
    ($verify:path) => {
        struct AevirCheck;

        impl $crate::check_bindings::Guest for AevirCheck {
            fn verify() -> ::core::result::Result<bool, ::std::string::String> {
                $crate::run_verdict($verify)
            }
        }

        $crate::check_bindings::export!(AevirCheck with_types_in $crate::check_bindings);
    };
}

/// Makes a function `fn(Params) -> Result<bool, E>` the comparator of this module.
///
/// The run's inputs are the outputs of the two results, `a/NAME` and `b/NAME`; `Params` is read from the comparator's own
/// `params`. `true` says that the results agree; an error is the comparator's own failure.
#[macro_export]
macro_rules! comparator {
    ($equal:path) => {
        struct AevirComparator;

        impl $crate::comparator_bindings::Guest for AevirComparator {
            fn equal() -> ::core::result::Result<bool, ::std::string::String> {
                $crate::run_verdict($equal)
            }
        }

        $crate::comparator_bindings::export!(AevirComparator with_types_in $crate::comparator_bindings);
    };
}

/// What [`task!`] expands to: parameters in, result out, a panic's message logged before the module traps.
#[doc(hidden)]
pub fn run_task<P, R, E>(
    run: impl FnOnce(P) -> core::result::Result<R, E>,
) -> core::result::Result<String, String>
where
    P: DeserializeOwned,
    R: Serialize,
    E: core::fmt::Display,
{
    let result = run_with_params(run)?;
    serde_json::to_string(&result).map_err(|error| format!("result: {error}"))
}

/// What [`check!`] and [`comparator!`] expand to.
#[doc(hidden)]
pub fn run_verdict<P, E>(
    judge: impl FnOnce(P) -> core::result::Result<bool, E>,
) -> core::result::Result<bool, String>
where
    P: DeserializeOwned,
    E: core::fmt::Display,
{
    run_with_params(judge)
}

fn run_with_params<P, R, E>(
    run: impl FnOnce(P) -> core::result::Result<R, E>,
) -> core::result::Result<R, String>
where
    P: DeserializeOwned,
    E: core::fmt::Display,
{
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    let text = bindings::aevir::task::context::params();
    let params = serde_json::from_str(&text).map_err(|error| format!("params: {error}"))?;
    run(params).map_err(|error| error.to_string())
}

/// The run's seed: the same for every replica of a task.
pub fn seed() -> u64 {
    bindings::aevir::task::context::seed()
}

/// The run's random numbers: the stream of its [`seed`].
pub fn rng() -> Rng {
    Rng::new(seed())
}
