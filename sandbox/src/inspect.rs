//! Reading a module without running or compiling it: is it a component, for which world, and what does it want.
//!
//! [`inspect`] refuses everything that a run could not link: by name what the host does not have, and what it has with another type. It runs on
//! bytes from anybody, in a process of the compiling role ([`crate::upload`]). What a validator does for a byte is bounded: by
//! [`crate::complexity`] before it starts, and operator by operator, for some bytes stand for a thousand values.

mod refusal;
mod values;

use aevir_gpu::error::cut;
use serde::{Deserialize, Serialize};
use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentValType,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    BinaryReaderError, Encoding, FuncValidatorAllocations, OperatorsReader, Parser, Payload,
    PrimitiveValType, ValidPayload, Validator, WasmFeatures,
};

use crate::complexity::{self, CONTROL_DEPTH_MAX, TooMany};
use crate::composed;
use crate::host::wasi::{self, RUN};
use crate::host::{COMPUTE, CONTEXT, Interface};
use crate::limits::MODULE_BYTES_MAX;
use crate::link;
use values::Values;

pub use refusal::{InspectError, Refusal, Refused};

/// The number of what is refused. One more with each new reason: code that was compiled when there were fewer is not used again.
pub(crate) const RULES: u32 = 3;
/// Bytes of the names of all imports and exports of the outermost component: they are answered to whoever uploads it.
const NAMES_BYTES_MAX: usize = 64 * 1024;
/// What the name of a program's export begins with.
const RUN_VERSIONED: &str = "wasi:cli/run@0.2.";
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
    /// Exports `wasi:cli/run`: a WASI program, which runs as a task.
    Program,
}

impl World {
    /// The function that the host calls.
    #[must_use]
    pub fn export(self) -> &'static str {
        match self {
            Self::Task | Self::Program => "run",
            Self::Check => "verify",
            Self::Comparator => "equal",
        }
    }

    /// Whether an export of this name makes a component fit this world.
    fn is_marked_by(self, export: &str) -> bool {
        match self {
            Self::Task | Self::Check | Self::Comparator => export == self.export(),
            Self::Program => export == RUN || export.starts_with(RUN_VERSIONED),
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
    /// Core instances, memories and tables that it makes; see [`crate::Limits::instances`].
    pub instances: u32,
    /// Bytes that its memories have from the start.
    pub memory_bytes: u64,
    /// Elements that its tables have from the start.
    pub table_elements: u64,
}

impl ModuleInfo {
    /// Whether it imports GPU compute.
    #[must_use]
    pub fn wants_compute(&self) -> bool {
        self.imports.iter().any(|name| COMPUTE.is_named(name))
    }

    /// The export that a WASI program's entry is in.
    pub(crate) fn program_export(&self) -> Option<&str> {
        let mut exports = self.exports.iter();
        let name = exports.find(|name| World::Program.is_marked_by(name))?;
        Some(name)
    }
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
    // First, for it is quick and bounds what validating may take.
    let made = complexity::measure(bytes)?;
    let types = validate(bytes)?;
    let (imports, exports) = names(bytes)?;
    let hosts = imports.iter().map(|import| {
        let interface = check_import(&types, import)?;
        Ok((import.as_str(), interface.name))
    });
    let hosts = hosts.collect::<Result<Vec<_>, InspectError>>()?;
    link::check(bytes, &hosts, features())
        .map_err(|text| InspectError::WrongImport(shorten(&text)))?;
    let worlds = [World::Task, World::Check, World::Comparator, World::Program];
    let mut found = worlds
        .into_iter()
        .filter(|world| exports.iter().any(|name| world.is_marked_by(name)));
    let world = found.next().ok_or(InspectError::NoWorld)?;
    if found.next().is_some() {
        return Err(InspectError::TwoWorlds);
    }
    check_export(types.as_ref(), world, &exports)?;
    if made.components > 1
        && composed::passes_strings(bytes, features()).map_err(InspectError::Invalid)?
    {
        return Err(InspectError::StringsBetweenParts);
    }
    let info = ModuleInfo {
        world,
        imports,
        exports,
        size,
        // Bounded by `complexity`.
        instances: made.instances.max(made.memories).max(made.tables) as u32,
        memory_bytes: made.memory_bytes,
        table_elements: made.table_elements,
    };
    if matches!(world, World::Check | World::Comparator) && info.wants_compute() {
        return Err(InspectError::ComputeOutsideTask(world));
    }
    Ok(info)
}

/// Validates all of a module or component, and bounds how deep its functions nest.
pub(crate) fn validate(bytes: &[u8]) -> Result<Types, InspectError> {
    let invalid = |error: BinaryReaderError| InspectError::Invalid(shorten(&error.to_string()));
    let mut validator = Validator::new_with_features(features());
    let mut allocations = FuncValidatorAllocations::default();
    let mut types = None;
    let mut values = Values::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                values.begin(body.range().len() as u64);
                let mut reader = body.get_binary_reader();
                function.read_locals(&mut reader).map_err(invalid)?;
                let mut operators = OperatorsReader::new(reader);
                while !operators.eof() {
                    let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
                    values.count(&operator, &function)?;
                    function.op(offset, &operator).map_err(invalid)?;
                    let depth = function.control_stack_height() as usize;
                    if depth > CONTROL_DEPTH_MAX {
                        return Err(TooMany {
                            what: "blocks in each other in one function",
                            count: depth as u64,
                            max: CONTROL_DEPTH_MAX as u64,
                        }
                        .into());
                    }
                }
                operators.finish().map_err(invalid)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(whole) => types = Some(whole),
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
    }
    types.ok_or_else(|| InspectError::Invalid("it has no end".into()))
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
    let bytes: usize = imports.iter().chain(&exports).map(String::len).sum();
    if bytes > NAMES_BYTES_MAX {
        return Err(TooMany {
            what: "bytes of names of imports and exports",
            count: bytes as u64,
            max: NAMES_BYTES_MAX as u64,
        }
        .into());
    }
    Ok((imports, exports))
}

/// Everything that a module may import.
fn interfaces() -> impl Iterator<Item = &'static Interface> {
    [&CONTEXT, &COMPUTE].into_iter().chain(&wasi::INTERFACES)
}

/// The interface that an import is for, if it has all that is wanted of it by name.
fn check_import(types: &Types, name: &str) -> Result<&'static Interface, InspectError> {
    let unknown = || InspectError::UnknownImport(shorten(name));
    let interface = interfaces().find(|interface| interface.is_named(name));
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
    Ok(interface)
}

fn check_export(types: TypesRef<'_>, world: World, exports: &[String]) -> Result<(), InspectError> {
    let wrong = |result| Err(InspectError::WrongType(world.export(), result));
    let function = |name: &str| match types.component_item_for_export(name)?.ty {
        ComponentEntityType::Func(id) => Some(&types[id]),
        _ => None,
    };
    let string = Some(PrimitiveValType::String);
    match world {
        World::Task => match function(world.export()) {
            Some(function) if answers(types, function, string, string) => Ok(()),
            _ => wrong("result<string, string>"),
        },
        World::Check | World::Comparator => match function(world.export()) {
            Some(function) if answers(types, function, Some(PrimitiveValType::Bool), string) => {
                Ok(())
            }
            _ => wrong("result<bool, string>"),
        },
        World::Program => {
            let mut names = exports.iter().filter(|name| world.is_marked_by(name));
            let run = names.next().and_then(|name| {
                let ComponentEntityType::Instance(id) = types.component_item_for_export(name)?.ty
                else {
                    return None;
                };
                match types[id].exports.get(world.export())?.ty {
                    ComponentEntityType::Func(id) => Some(&types[id]),
                    _ => None,
                }
            });
            match run {
                Some(function) if answers(types, function, None, None) => Ok(()),
                _ => wrong("result"),
            }
        }
    }
}

/// Whether a function takes nothing and answers a result of these values.
fn answers(
    types: TypesRef<'_>,
    function: &ComponentFuncType,
    wanted_ok: Option<PrimitiveValType>,
    wanted_err: Option<PrimitiveValType>,
) -> bool {
    let Some(ComponentValType::Type(id)) = function.result else {
        return false;
    };
    let is = |value: &Option<ComponentValType>, wanted: Option<PrimitiveValType>| match value {
        None => wanted.is_none(),
        Some(ComponentValType::Primitive(primitive)) => wanted == Some(*primitive),
        Some(ComponentValType::Type(_)) => false,
    };
    function.params.is_empty()
        && !function.async_
        && matches!(&types[id], ComponentDefinedType::Result { ok, err, .. }
            if is(ok, wanted_ok) && is(err, wanted_err))
}

pub(crate) fn shorten(text: &str) -> String {
    cut(text.to_owned(), NAME_BYTES_MAX)
}
