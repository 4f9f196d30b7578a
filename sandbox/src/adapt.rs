//! What an upload becomes: a component that fits one of the worlds. A core module for WASI preview 1 is adapted here, once, so that
//! nodes and auditors only ever see components, and see the same one.
//!
//! The adapter and the encoder are those of the WebAssembly community (`wasi-preview1-component-adapter-provider`,
//! `wit-component`); the module has been validated, and what it may import checked, before they see it.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::complexity;
use crate::inspect::{InspectError, ModuleInfo, inspect, shorten, validate};
use crate::limits::MODULE_BYTES_MAX;

/// What the custom sections begin with in which binding generators leave the world that a core module is for.
const COMPONENT_TYPE: &str = "component-type";
/// A preview 1 program's entry.
const START: &str = "_start";

/// A module that can be stored and run.
#[derive(Debug)]
pub struct Upload<'a> {
    /// The component: what was uploaded, or what it was adapted to.
    pub component: Cow<'a, [u8]>,
    /// What it is.
    pub info: ModuleInfo,
}

impl Upload<'_> {
    /// Whether the component is another than what was uploaded.
    #[must_use]
    pub fn is_adapted(&self) -> bool {
        matches!(self.component, Cow::Owned(_))
    }
}

/// Reads an upload: components are taken as they are, core modules for WASI preview 1 (and those that carry their component type)
/// are adapted.
///
/// # Errors
/// Everything that would keep the host from running it.
pub fn prepare_upload(bytes: &[u8]) -> Result<Upload<'_>, InspectError> {
    if bytes.len() as u64 <= MODULE_BYTES_MAX && Parser::is_core_wasm(bytes) {
        let component = adapt(bytes)?;
        let info = inspect(&component)?;
        return Ok(Upload {
            component: Cow::Owned(component),
            info,
        });
    }
    Ok(Upload {
        component: Cow::Borrowed(bytes),
        info: inspect(bytes)?,
    })
}

fn adapt(module: &[u8]) -> Result<Vec<u8>, InspectError> {
    complexity::measure(module)?;
    validate(module)?;
    let has_type = check_core(module)?;
    let refused = |text: String| InspectError::NotAdaptable(shorten(&text));
    let encode = || {
        let mut encoder = ComponentEncoder::default().module(module)?;
        if !has_type {
            encoder = encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            )?;
        }
        encoder.encode()
    };
    // The encoder's assertions are about modules that no linker makes.
    let encoded = catch_unwind(AssertUnwindSafe(encode))
        .map_err(|_| refused("its sections contradict each other".into()))?;
    encoded.map_err(|error| refused(format!("{error:#}")))
}

/// Checks that a module is for WASI preview 1, or says itself which world it is for: then the encoder reads it there, and the answer
/// is true. The bytes are valid.
fn check_core(module: &[u8]) -> Result<bool, InspectError> {
    let invalid =
        |error: wasmparser::BinaryReaderError| InspectError::Invalid(shorten(&error.to_string()));
    let mut foreign = None;
    let mut has_start = false;
    let mut has_type = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    if import.module != WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME {
                        foreign.get_or_insert_with(|| format!("{}.{}", import.module, import.name));
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    has_start |= export.name == START && export.kind == ExternalKind::Func;
                }
            }
            Payload::CustomSection(section) => {
                has_type |= section.name().starts_with(COMPONENT_TYPE);
            }
            _ => {}
        }
    }
    match foreign {
        _ if has_type => Ok(true),
        Some(name) => Err(InspectError::ForeignCoreImport(shorten(&name))),
        None if has_start => Ok(false),
        None => Err(InspectError::CoreModule),
    }
}
