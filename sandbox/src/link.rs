//! Whether a component's imports are of the types that the host has, judged without compiling it.
//!
//! WebAssembly's own rule decides: a component that imports the host's interfaces and instantiates the module with them is valid exactly if the
//! module links. That component is written here, around `schemas/interfaces.wasm`, the part of it that every module shares.

use wasmparser::{ComponentExternalKind, Parser, Payload, ValidPayload, Validator, WasmFeatures};

/// A component that imports every interface of the host, and does nothing else. Generated from `schemas/wit` and `schemas/wasi`.
const INTERFACES: &[u8] = include_bytes!("../../schemas/interfaces.wasm");
/// Section of a component in a component.
const COMPONENT: u8 = 4;
/// Section of instances of components.
const INSTANCES: u8 = 5;
/// How an instance begins that is made by instantiating a component.
const INSTANTIATE: u8 = 0;
/// The sort of an argument that is an instance.
const INSTANCE: u8 = 5;

/// An import: its name in the component, and the host's name of the interface that it gets.
pub(crate) type Import<'a> = (&'a str, &'static str);

/// Checks a component that is valid by itself.
///
/// # Errors
/// What does not fit, in the validator's words.
pub(crate) fn check(
    component: &[u8],
    imports: &[Import<'_>],
    features: WasmFeatures,
) -> Result<(), String> {
    let text = |error: wasmparser::BinaryReaderError| error.message().to_owned();
    let known = host_names().map_err(text)?;
    let mut arguments = Vec::new();
    leb(imports.len(), &mut arguments);
    for (name, interface) in imports {
        let index = known.iter().position(|known| known == interface);
        let index = index.ok_or_else(|| format!("there is no `{interface}`"))?;
        leb(name.len(), &mut arguments);
        arguments.extend(name.as_bytes());
        arguments.push(INSTANCE);
        leb(index, &mut arguments);
    }
    let mut whole = INTERFACES.to_vec();
    section(COMPONENT, component, &mut whole);
    // One instance, of the component with the number 0.
    let instance = [&[1, INSTANTIATE, 0], arguments.as_slice()].concat();
    section(INSTANCES, &instance, &mut whole);
    let mut validator = Validator::new_with_features(features);
    for payload in Parser::new(0).parse_all(&whole) {
        match validator.payload(&payload.map_err(text)?).map_err(text)? {
            // The bodies of functions were looked at before.
            ValidPayload::Func(..) => {}
            ValidPayload::Ok | ValidPayload::Parser(_) | ValidPayload::End(_) => {}
        }
    }
    Ok(())
}

/// The host's interfaces in the order of their numbers.
fn host_names() -> Result<Vec<&'static str>, wasmparser::BinaryReaderError> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(INTERFACES) {
        if let Payload::ComponentImportSection(section) = payload? {
            for import in section {
                let import = import?;
                if import.ty.kind() == ComponentExternalKind::Instance {
                    names.push(import.name.name);
                }
            }
        }
    }
    Ok(names)
}

fn section(id: u8, content: &[u8], to: &mut Vec<u8>) {
    to.push(id);
    leb(content.len(), to);
    to.extend(content);
}

/// A number as WebAssembly writes it (LEB128).
fn leb(mut value: usize, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8); // below 0x80
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use wasmparser::{Parser, Payload};
    use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::{ManglingAndAbi, Resolve};

    use super::{INTERFACES, host_names};
    use crate::host::{COMPUTE, CONTEXT, wasi};

    const EVERYTHING: &str = "package aevir:host@1.0.0;
        world everything {
            import aevir:task/context@1.0.0;
            import aevir:task/compute@1.0.0;
            include aevir:programs/program@1.0.0;
        }";

    /// A component that imports everything, up to where its own code begins.
    fn interfaces() -> Vec<u8> {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        let mut resolve = Resolve::default();
        for folder in ["wit", "wasi"] {
            resolve.push_dir(schemas.join(folder)).unwrap();
        }
        let package = resolve.push_str("host.wit", EVERYTHING).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let mut encoder = ComponentEncoder::default().module(&module).unwrap();
        let component = encoder.encode().unwrap();
        let code =
            Parser::new(0)
                .parse_all(&component)
                .find_map(|payload| match payload.unwrap() {
                    Payload::ModuleSection {
                        unchecked_range, ..
                    } => Some(unchecked_range.start),
                    _ => None,
                });
        // Before the module's bytes stand its section's number and length.
        let code = code.unwrap();
        let head = (2..=6).find(|head| component[code - head] == 1).unwrap();
        component[..code - head].to_vec()
    }

    /// `AEVIR_BLESS=1` (or `cargo xtask schemas`) writes it anew.
    #[test]
    fn the_hosts_interfaces_are_those_of_the_schemas() {
        let made = interfaces();
        if std::env::var_os("AEVIR_BLESS").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/interfaces.wasm");
            return std::fs::write(path, made).unwrap();
        }
        assert!(made == INTERFACES, "run `cargo xtask schemas`");
        let mut known = host_names().unwrap();
        known.sort_unstable();
        let wasi = wasi::INTERFACES.iter().map(|interface| interface.name);
        let mut names: Vec<_> = wasi.chain([CONTEXT.name, COMPUTE.name]).collect();
        names.sort_unstable();
        assert_eq!(known, names);
    }
}
