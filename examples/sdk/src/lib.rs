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
pub use io::{CHUNK_BYTES, Input, Output};
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
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    let text = bindings::aevir::task::context::params();
    let params = serde_json::from_str(&text).map_err(|error| format!("params: {error}"))?;
    let result = run(params).map_err(|error| error.to_string())?;
    serde_json::to_string(&result).map_err(|error| format!("result: {error}"))
}

/// The run's seed: the same for every replica of a task.
pub fn seed() -> u64 {
    bindings::aevir::task::context::seed()
}

/// The run's random numbers: the stream of its [`seed`].
pub fn rng() -> Rng {
    Rng::new(seed())
}
