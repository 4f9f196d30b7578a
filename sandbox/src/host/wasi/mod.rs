//! WASI 0.2 for programs that know nothing of Aevir: their streams, files, clocks and randomness are the task's.
//!
//! - arguments and environment: `params.args` and `params.env` ([`cli`]);
//! - standard input: the input `stdin`; standard output: the output `stdout` of a program, log lines of everything else; standard
//!   error: log lines ([`streams`]);
//! - files: inputs below `/inputs`, to be read, and outputs below `/outputs`, to be written from the beginning to the end
//!   ([`filesystem`], [`tree`]);
//! - clocks show the fuel used ([`clocks`]); random bytes follow from the seed ([`random`]); there is no network ([`sockets`]).
//!
//! The rules of [`crate::host`] hold: charge first, check before allocating, never panic. Nothing here reads the machine's clock,
//! environment or file metadata.

mod bindings;
mod cli;
mod clocks;
mod filesystem;
mod filesystem_refused;
mod interfaces;
mod lines;
mod listings;
mod random;
mod sockets;
mod streams;
mod tree;

pub(crate) use cli::{Exit, RUN};
pub(crate) use interfaces::INTERFACES;

use wasmtime::component::Linker;

use super::Host;
use lines::Lines;
use listings::Listings;
use random::Random;

/// What a run keeps for its program.
#[derive(Debug)]
pub(crate) struct State {
    /// Standard output is an output, and not lines of the log.
    program: bool,
    /// The number of the output `stdout`, once something was written to it.
    stdout: Option<usize>,
    /// What was written to it, up to one byte more than an inline result may have.
    printed: Vec<u8>,
    stdout_lines: Lines,
    stderr_lines: Lines,
    random: Random,
    listings: Listings,
}

impl State {
    /// `program`: the module is a WASI program and not a task of Aevir's own interface.
    pub(crate) fn new(program: bool, seed: u64) -> Self {
        Self {
            program,
            stdout: None,
            printed: Vec::new(),
            stdout_lines: Lines::default(),
            stderr_lines: Lines::default(),
            random: Random::new(seed),
            listings: Listings::default(),
        }
    }

    /// The last line on standard error that is not empty.
    pub(crate) fn last_words(&self) -> &str {
        self.stderr_lines.last()
    }
}

/// Registers all interfaces.
pub(crate) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    cli::add(linker)?;
    clocks::add(linker)?;
    filesystem::add(linker)?;
    random::add(linker)?;
    sockets::add(linker)?;
    streams::add(linker)
}

/// A program's inline result: what it wrote to standard output, if that is one JSON document and short enough, and `null` otherwise.
pub(crate) fn result(host: &Host) -> String {
    let printed = &host.wasi.printed;
    let text = str::from_utf8(printed).unwrap_or_default();
    let is_document = printed.len() <= host.spec.limits.result_bytes as usize
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if is_document { text.trim() } else { "null" }.to_owned()
}

/// Passes on what a program left on its standard streams without a line's end.
pub(crate) fn flush(host: &mut Host) -> Result<(), super::Stop> {
    streams::flush(host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::path::Path;

    use wasmtime::component::Component;
    use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::{InterfaceId, ManglingAndAbi, PackageId, Resolve};

    use super::INTERFACES;
    use crate::engine::{Engine, Profile};
    use crate::host::linker;

    fn schemas() -> (Resolve, PackageId) {
        let mut resolve = Resolve::default();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/wasi");
        let (package, _) = resolve.push_dir(folder).unwrap();
        (resolve, package)
    }

    /// The lists that uploads are judged by are those of the schemas, neither more nor less.
    #[test]
    fn the_interfaces_are_the_ones_in_the_schemas() {
        let (resolve, package) = schemas();
        let world = resolve.select_world(&[package], Some("program")).unwrap();
        let imported: Vec<InterfaceId> = resolve.worlds[world]
            .imports
            .values()
            .filter_map(|item| match item {
                wit_parser::WorldItem::Interface { id, .. } => Some(*id),
                _ => None,
            })
            .collect();
        assert_eq!(imported.len(), INTERFACES.len());
        for id in imported {
            let name = resolve.id_of(id).unwrap();
            let ours = INTERFACES.iter().find(|interface| interface.name == name);
            let ours = ours.unwrap_or_else(|| panic!("{name} is missing"));
            let interface = &resolve.interfaces[id];
            let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<&str>>();
            let functions = interface.functions.keys().map(String::as_str);
            assert_eq!(set(ours.functions), functions.collect(), "{name}");
            let types = interface.types.keys().map(String::as_str);
            assert_eq!(set(ours.types), types.collect(), "{name}");
        }
    }

    /// A component that imports everything that there is links: each function is there, and of the right type.
    #[test]
    fn a_program_that_imports_everything_links() {
        let (resolve, package) = schemas();
        let world = resolve.select_world(&[package], Some("program")).unwrap();
        let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let mut encoder = ComponentEncoder::default().module(&module).unwrap();
        let component = encoder.encode().unwrap();
        let engine = Engine::new(Profile::default()).unwrap();
        let component = Component::new(&engine.inner, component).unwrap();
        let imports = component.component_type().imports(&engine.inner).count();
        assert_eq!(imports, INTERFACES.len());
        linker(&engine.inner)
            .unwrap()
            .instantiate_pre(&component)
            .unwrap();
    }
}
