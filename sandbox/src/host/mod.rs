//! What a guest can call: the interfaces of `schemas/wit`, over one run's state.
//!
//! Rules for every function here: charge fuel first; check every length and offset before allocating; answer the interface's
//! errors for what a guest can handle and a `Stop` for what ends the run; never panic.

pub(crate) mod bindings;
pub(crate) mod compute;
pub(crate) mod context;
pub(crate) mod files;
pub mod price;

use std::collections::BTreeMap;

use aevir_gpu::Session;
use wasmtime::component::{Linker, Resource, ResourceTable, ResourceTableError};
use wasmtime::{StoreContextMut, Trap};

use crate::limiter::Limiter;
use crate::limits::Limits;
use crate::outcome::{MetricValue, RunEvent};

/// An interface: its versioned name, and all that it has.
#[derive(Debug)]
pub(crate) struct Interface {
    pub name: &'static str,
    pub functions: &'static [&'static str],
    pub types: &'static [&'static str],
}

/// `aevir:task/context`.
pub(crate) const CONTEXT: Interface = Interface {
    name: "aevir:task/context@1.0.0",
    functions: &[
        "params",
        "seed",
        "now",
        "[static]input.open",
        "[method]input.size",
        "[method]input.read",
        "[static]output.create",
        "[method]output.write",
        "log",
        "progress",
        "metric",
        "save-checkpoint",
        "last-checkpoint",
    ],
    types: &["io-error", "level", "input", "output"],
};

/// `aevir:task/compute`.
pub(crate) const COMPUTE: Interface = Interface {
    name: "aevir:task/compute@1.0.0",
    functions: &[
        "limits",
        "features",
        "[static]buffer.new",
        "[method]buffer.size",
        "[method]buffer.write",
        "[method]buffer.read",
        "[static]kernel.new",
        "[static]batch.new",
        "[method]batch.dispatch",
        "[method]batch.copy",
        "[method]batch.submit",
    ],
    types: &[
        "error",
        "device-limits",
        "buffer",
        "kernel",
        "constant",
        "batch",
    ],
};

/// Why a host function ends the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// A limit was passed.
    #[error("limit `{limit}` ({value}) passed")]
    Limit {
        /// Its name.
        limit: &'static str,
        /// Its value.
        value: u64,
    },
    /// The guest broke a rule of the interface.
    #[error("{0}")]
    Interface(String),
    /// The host failed.
    #[error("{0}")]
    Host(String),
}

impl Stop {
    pub(crate) fn limit(limit: &'static str, value: u64) -> Self {
        Self::Limit { limit, value }
    }
}

/// Where events of a run go. An error means that the parent is gone.
pub(crate) type EventSink = Box<dyn FnMut(RunEvent) -> std::io::Result<()> + Send>;

/// One run's state, as the host functions see it.
pub(crate) struct Host {
    pub params: String,
    pub seed: u64,
    pub limits: Limits,
    pub limiter: Limiter,
    pub table: ResourceTable,
    pub files: files::Files,
    pub metrics: BTreeMap<String, MetricValue>,
    pub counts: Counts,
    pub gpu: Option<Session>,
    pub events: EventSink,
    pub throttle: context::Throttle,
}

/// What was said so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub log_lines: u64,
    pub log_lines_dropped: u64,
    pub progress_events: u64,
    pub metric_events: u64,
}

impl Host {
    /// Passes an event to the parent.
    pub(crate) fn emit(&mut self, event: RunEvent) -> Result<(), Stop> {
        (self.events)(event)
            .map_err(|error| Stop::Host(format!("the parent process is gone: {error}")))
    }
}

/// Takes `fuel` units; too few left end the run like any other use of the last fuel.
pub(crate) fn charge(store: &mut StoreContextMut<'_, Host>, fuel: u64) -> wasmtime::Result<()> {
    match store.get_fuel()?.checked_sub(fuel) {
        Some(left) => store.set_fuel(left),
        None => {
            store.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// The result of a host function with one result value.
pub(crate) type Answer<T> = wasmtime::Result<(T,)>;

/// Puts an object into the guest's table.
pub(crate) fn push<T: Send + 'static>(host: &mut Host, object: T) -> wasmtime::Result<Resource<T>> {
    host.table.push(object).map_err(|error| match error {
        ResourceTableError::Full => Stop::limit("handles", host.limits.handles.into()).into(),
        other => other.into(),
    })
}

/// A linker with both interfaces. Components that import less use less.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    context::add(&mut linker)?;
    compute::add(&mut linker)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{COMPUTE, CONTEXT, linker};
    use crate::engine::Engine;

    /// The lists that uploads are judged by are the interface's, neither more nor less.
    #[test]
    fn the_interfaces_are_the_ones_in_the_schemas() {
        let wit = include_str!("../../../schemas/wit/aevir-task.wit");
        let (context, rest) = wit.split_once("interface compute {").unwrap();
        let compute = rest.split_once("\nworld ").unwrap().0;
        for (interface, text) in [(&CONTEXT, context), (&COMPUTE, compute)] {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("///"));
            let code = code.collect::<Vec<_>>().join("\n");
            assert_eq!(
                code.matches("func(").count(),
                interface.functions.len(),
                "{}",
                interface.name
            );
            for function in interface.functions {
                let name = function.rsplit('.').next().unwrap();
                let declared = code.contains(&format!("{name}: func("))
                    || code.contains(&format!("{name}: static func("));
                assert!(declared, "{function}");
            }
            for name in interface.types {
                let kinds = ["variant", "enum", "record", "resource"];
                assert!(
                    kinds
                        .iter()
                        .any(|kind| code.contains(&format!("{kind} {name} {{"))),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_linker_can_be_made() {
        linker(&Engine::new().unwrap().inner).unwrap();
    }
}
