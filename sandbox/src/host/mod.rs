//! What a guest can call: the interfaces of `schemas/wit`, over one run's state.
//!
//! Rules for every function here: charge fuel first; check every length and offset before allocating; answer the interface's
//! errors for what a guest can handle and a `Stop` for what ends the run; never panic.

pub(crate) mod bindings;
pub(crate) mod compute;
pub(crate) mod context;
pub(crate) mod files;
pub mod price;
pub(crate) mod wasi;

use std::collections::BTreeMap;
use std::sync::Arc;

use aevir_gpu::Session;
use wasmtime::component::{Linker, Resource, ResourceTable, ResourceTableError};
use wasmtime::{StoreContextMut, Trap};

use crate::limiter::Limiter;
use crate::outcome::{MetricValue, RunEvent};
use crate::said::Said;
use crate::spec::RunSpec;

/// An interface: its versioned name, and all that it has.
#[derive(Debug)]
pub(crate) struct Interface {
    pub name: &'static str,
    pub functions: &'static [&'static str],
    pub types: &'static [&'static str],
}

impl Interface {
    /// Whether an import of this name is for this interface: of the same name, and of a version that is compatible in the sense of
    /// semantic versioning, as wasmtime's linker takes it. A module made for an earlier minor version links to a later one; one
    /// made for a later version links as long as it wants no function that is missing here, which is looked at by name.
    pub(crate) fn is_named(&self, import: &str) -> bool {
        match (compatible(self.name), compatible(import)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.name == import,
        }
    }
}

/// A versioned name's name, and the part of its version that compatible ones share: `1` of `1.2.3`, `0.2` of `0.2.6`.
fn compatible(name: &str) -> Option<(&str, &str)> {
    let (name, version) = name.split_once('@')?;
    let mut parts = version.split('.');
    let numbers = [parts.next()?, parts.next()?, parts.next()?];
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if parts.next().is_some() || !numbers.iter().all(is_number) {
        return None;
    }
    let [major, minor, patch] = numbers;
    let shared = match (major, minor) {
        ("0", "0") => return None,
        ("0", _) => version.len() - patch.len() - 1,
        _ => major.len(),
    };
    Some((name, &version[..shared]))
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
    /// The task's `params` are not what its program takes.
    #[error("{0}")]
    Params(String),
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
    pub spec: Arc<RunSpec>,
    pub limiter: Limiter,
    pub table: ResourceTable,
    pub files: files::Files,
    pub metrics: BTreeMap<String, MetricValue>,
    pub counts: Counts,
    pub said: Said,
    /// Boxed: few runs have one, and each would carry the room for it.
    pub gpu: Option<Box<Session>>,
    pub events: EventSink,
    pub throttle: context::Throttle,
    pub wasi: wasi::State,
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
        ResourceTableError::Full => Stop::limit("handles", host.spec.limits.handles.into()).into(),
        other => other.into(),
    })
}

/// A linker with all interfaces. Components that import less use less.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    context::add(&mut linker)?;
    compute::add(&mut linker)?;
    wasi::add(&mut linker)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use wasmtime::component::{Component, Linker};

    use super::{COMPUTE, CONTEXT, Interface, linker};
    use crate::engine::{Engine, Profile};

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
    fn versions_are_compatible_as_semantic_versioning_says() {
        for (import, fits) in [
            ("aevir:task/context@1.0.0", true),
            ("aevir:task/context@1.0.9", true),
            ("aevir:task/context@1.7.0", true),
            ("aevir:task/context@2.0.0", false),
            ("aevir:task/context@0.9.0", false),
            ("aevir:task/context@1.0.0-rc1", false),
            ("aevir:task/context@1.0", false),
            ("aevir:task/context", false),
            ("aevir:task/compute@1.0.0", false),
        ] {
            assert_eq!(CONTEXT.is_named(import), fits, "{import}");
        }
        let streams = Interface {
            name: "wasi:io/streams@0.2.12",
            functions: &[],
            types: &[],
        };
        assert!(streams.is_named("wasi:io/streams@0.2.0"));
        assert!(streams.is_named("wasi:io/streams@0.2.99"));
        assert!(!streams.is_named("wasi:io/streams@0.3.0"));
    }

    /// A guest that was made for 1.0 links to a host of a later minor version, which has more; not to the next major one.
    #[test]
    fn a_guest_links_to_later_minor_versions() {
        let guest = "(component (import \"aevir:task/context@1.0.0\" (instance (export \"seed\" (func (result u64))))))";
        let engine = Engine::new(Profile::default()).unwrap().inner;
        let guest = Component::new(&engine, wat::parse_str(guest).unwrap()).unwrap();
        for (name, links) in [
            ("aevir:task/context@1.0.0", true),
            ("aevir:task/context@1.4.2", true),
            ("aevir:task/context@2.0.0", false),
        ] {
            let mut linker = Linker::<()>::new(&engine);
            let mut instance = linker.instance(name).unwrap();
            for function in ["seed", "another"] {
                instance
                    .func_wrap(function, |_, (): ()| Ok((7_u64,)))
                    .unwrap();
            }
            assert_eq!(linker.instantiate_pre(&guest).is_ok(), links, "{name}");
        }
    }

    #[test]
    fn the_linker_can_be_made() {
        linker(&Engine::new(Profile::default()).unwrap().inner).unwrap();
    }
}
