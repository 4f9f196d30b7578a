//! Reading a module without running or compiling it: is it a component, for which world, and what does it want.
//!
//! [`inspect`] runs where modules are uploaded, on bytes from anybody: it validates in one pass, in time and memory linear in
//! the size, and refuses everything that a run could not link, by name.

use serde::{Deserialize, Serialize};
use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentValType,
};
use wasmparser::types::Types;
use wasmparser::{Encoding, Parser, Payload, PrimitiveValType, Validator, WasmFeatures};

use crate::host::{COMPUTE, CONTEXT};
use crate::limits::MODULE_BYTES_MAX;

/// Most bytes of a name in an error message.
const NAME_BYTES_MAX: usize = 200;

/// What a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Exports `run`: a task.
    Task,
    /// Exports `verify`: judges a result.
    Check,
    /// Exports `equal`: compares two results.
    Comparator,
}

impl World {
    /// The function that the host calls.
    #[must_use]
    pub fn export(self) -> &'static str {
        match self {
            Self::Task => "run",
            Self::Check => "verify",
            Self::Comparator => "equal",
        }
    }
}

/// A module that this host can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// What it is for.
    pub world: World,
    /// The interfaces it imports, in its order, such as `aevir:task/context@1.0.0`.
    pub imports: Vec<String>,
    /// What it exports, in its order.
    pub exports: Vec<String>,
    /// Bytes.
    pub size: u64,
}

impl ModuleInfo {
    /// Whether it imports GPU compute.
    #[must_use]
    pub fn wants_compute(&self) -> bool {
        self.imports.iter().any(|name| name == COMPUTE.name)
    }
}

/// Why a module is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Too many bytes.
    #[error("the module is {size} bytes; at most {MODULE_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// WebAssembly, but not a component.
    #[error(
        "the file is a core WebAssembly module and not a component; build it with `wasm-component-ld`, `wasm-tools component new` or for the target wasm32-wasip2"
    )]
    CoreModule,
    /// Not WebAssembly at all.
    #[error("the file is not a WebAssembly component: it does not begin with a component's header")]
    NotWasm,
    /// WebAssembly, but not valid, or with features that are off.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// It wants something that the host does not have.
    #[error("the component imports `{0}`, which this host does not provide; a task may import {context} and {compute}", context = CONTEXT.name, compute = COMPUTE.name)]
    UnknownImport(String),
    /// It wants a function that the interface does not have.
    #[error(
        "the component imports `{function}` of {interface}, which that interface does not have"
    )]
    UnknownFunction {
        /// The interface.
        interface: &'static str,
        /// The function or type.
        function: String,
    },
    /// A check or comparator wants a GPU.
    #[error("only tasks may import {}; this component exports `{}`", COMPUTE.name, .0.export())]
    ComputeOutsideTask(World),
    /// No known export.
    #[error(
        "the component exports neither `run` (a task), `verify` (a check) nor `equal` (a comparator)"
    )]
    NoWorld,
    /// More than one of them.
    #[error("the component exports more than one of `run`, `verify` and `equal`")]
    TwoWorlds,
    /// The export has another type.
    #[error("the export `{0}` is not of the type `func() -> result<{1}, string>`")]
    WrongType(&'static str, &'static str),
}

/// Reads a module.
///
/// # Errors
/// Everything that would keep the host from running it.
pub fn inspect(bytes: &[u8]) -> Result<ModuleInfo, InspectError> {
    let size = bytes.len() as u64;
    if size > MODULE_BYTES_MAX {
        return Err(InspectError::TooLarge { size });
    }
    check_header(bytes)?;
    let types = Validator::new_with_features(features())
        .validate_all(bytes)
        .map_err(|error| InspectError::Invalid(shorten(&error.to_string())))?;
    let (imports, exports) = names(bytes)?;
    for import in &imports {
        check_import(&types, import)?;
    }
    let worlds = [World::Task, World::Check, World::Comparator];
    let mut found = worlds
        .into_iter()
        .filter(|world| exports.iter().any(|name| name == world.export()));
    let world = found.next().ok_or(InspectError::NoWorld)?;
    if found.next().is_some() {
        return Err(InspectError::TwoWorlds);
    }
    check_export(&types, world)?;
    if world != World::Task && imports.iter().any(|name| name == COMPUTE.name) {
        return Err(InspectError::ComputeOutsideTask(world));
    }
    Ok(ModuleInfo {
        world,
        imports,
        exports,
        size,
    })
}

/// The features that [`crate::engine`] leaves on, so that what passes here compiles there.
fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::FLOATS
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::GC_TYPES
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::BULK_MEMORY_OPT
}

fn check_header(bytes: &[u8]) -> Result<(), InspectError> {
    match Parser::new(0).parse(bytes, true) {
        Ok(wasmparser::Chunk::Parsed {
            payload: Payload::Version { encoding, .. },
            ..
        }) => match encoding {
            Encoding::Component => Ok(()),
            Encoding::Module => Err(InspectError::CoreModule),
        },
        _ => Err(InspectError::NotWasm),
    }
}

/// Names of the outermost component's imports and exports. The bytes are valid.
fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), InspectError> {
    let invalid =
        |error: wasmparser::BinaryReaderError| InspectError::Invalid(shorten(&error.to_string()));
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn check_import(types: &Types, name: &str) -> Result<(), InspectError> {
    let unknown = || InspectError::UnknownImport(shorten(name));
    let interface = [&CONTEXT, &COMPUTE]
        .into_iter()
        .find(|interface| interface.name == name);
    let interface = interface.ok_or_else(unknown)?;
    let item = types
        .as_ref()
        .component_item_for_import(name)
        .ok_or_else(unknown)?;
    let ComponentEntityType::Instance(id) = item.ty else {
        return Err(unknown());
    };
    for name in types.as_ref()[id].exports.keys() {
        if !interface.functions.contains(&name.as_str())
            && !interface.types.contains(&name.as_str())
        {
            return Err(InspectError::UnknownFunction {
                interface: interface.name,
                function: shorten(name),
            });
        }
    }
    Ok(())
}

fn check_export(types: &Types, world: World) -> Result<(), InspectError> {
    let (ok, ok_name) = match world {
        World::Task => (PrimitiveValType::String, "string"),
        World::Check | World::Comparator => (PrimitiveValType::Bool, "bool"),
    };
    let types = types.as_ref();
    let function = types
        .component_item_for_export(world.export())
        .and_then(|item| match item.ty {
            ComponentEntityType::Func(id) => Some(&types[id]),
            _ => None,
        });
    let is_result = |function: &ComponentFuncType| {
        let Some(ComponentValType::Type(id)) = function.result else {
            return false;
        };
        let is = |value: &Option<ComponentValType>, primitive| matches!(value, Some(ComponentValType::Primitive(p)) if *p == primitive);
        matches!(&types[id], ComponentDefinedType::Result { ok: value, err, .. }
            if is(value, ok) && is(err, PrimitiveValType::String))
    };
    match function {
        Some(function) if function.params.is_empty() && !function.async_ && is_result(function) => {
            Ok(())
        }
        _ => Err(InspectError::WrongType(world.export(), ok_name)),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(NAME_BYTES_MAX).collect()
}
