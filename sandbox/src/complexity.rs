//! What a module would cost to compile and to instantiate, counted from its sections before anything else looks at it.
//!
//! A few bytes of a component can stand for much work: components that instantiate others twice, each, double with each level,
//! and a function of three bytes takes a compiler a tenth of a millisecond. What is counted here is bounded by named constants,
//! so that whoever is refused knows why.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, CompositeInnerType, Instance, Parser, Payload, TypeSectionReader,
};

use crate::limits::ceiling;

/// Functions of all core modules together: 20,000 take about 3 s to compile, and Python with its libraries has 30,000.
pub const FUNCTIONS_MAX: u64 = 100_000;
/// Core types: a large program has a few thousand.
pub const TYPES_MAX: u64 = 100_000;
/// Parameters, results and fields of all core types together: a function has up to a thousand of both, and a validator keeps some 60 bytes for
/// each. Large programs have some ten thousand.
pub const TYPE_VALUES_MAX: u64 = 1_000_000;
/// Core imports: those of a component are few hundred.
pub const IMPORTS_MAX: u64 = 10_000;
/// Core exports, of which each is a name in a table.
pub const EXPORTS_MAX: u64 = 100_000;
/// Globals.
pub const GLOBALS_MAX: u64 = 100_000;
/// Data and element segments: a linker makes a handful.
pub const SEGMENTS_MAX: u64 = 50_000;
/// Blocks, loops and branches in each other, in one function: compiling takes time by the square of it. 10,000 loops take a few
/// seconds, 100,000 two minutes; a compiled `switch` has one block for each of its cases.
pub const CONTROL_DEPTH_MAX: usize = 10_000;
/// Components in components in components.
pub const NESTING_MAX: usize = 32;
/// A memory's page; other sizes are off.
const PAGE_BYTES: u64 = 65_536;

/// What instantiating something makes, with all that it instantiates in turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Made {
    /// Instances of core modules.
    pub instances: u64,
    /// Instances of components.
    pub components: u64,
    /// Linear memories.
    pub memories: u64,
    /// Tables.
    pub tables: u64,
    /// Bytes that the memories have from the start.
    pub memory_bytes: u64,
    /// Elements that the tables have from the start.
    pub table_elements: u64,
}

impl Made {
    /// What can't be known, because it comes from outside: more than anything is allowed.
    const UNKNOWN: Self = Self {
        instances: ceiling::INSTANCES as u64 + 1,
        components: 0,
        memories: 0,
        tables: 0,
        memory_bytes: 0,
        table_elements: 0,
    };

    fn add(&mut self, other: Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.components = self.components.saturating_add(other.components);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.table_elements = self.table_elements.saturating_add(other.table_elements);
    }
}

/// A count that is over its bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the module has {count} {what}; at most {max} are allowed")]
pub struct TooMany {
    /// What there is too much of.
    pub what: &'static str,
    /// How much there is, at least.
    pub count: u64,
    /// How much may be.
    pub max: u64,
}

/// The sums over all core modules.
#[derive(Debug, Default)]
struct Sums {
    functions: u64,
    types: u64,
    type_values: u64,
    imports: u64,
    exports: u64,
    globals: u64,
    segments: u64,
}

impl Sums {
    fn check(&self) -> Result<(), TooMany> {
        let rows = [
            ("functions", self.functions, FUNCTIONS_MAX),
            ("types", self.types, TYPES_MAX),
            (
                "parameters and results in core types",
                self.type_values,
                TYPE_VALUES_MAX,
            ),
            ("imports", self.imports, IMPORTS_MAX),
            ("exports", self.exports, EXPORTS_MAX),
            ("globals", self.globals, GLOBALS_MAX),
            ("segments", self.segments, SEGMENTS_MAX),
        ];
        match rows.into_iter().find(|(_, count, max)| count > max) {
            None => Ok(()),
            Some((what, count, max)) => Err(TooMany { what, count, max }),
        }
    }
}

/// A module or component that is being read.
#[derive(Debug, Default)]
struct Level {
    is_component: bool,
    /// What its core modules and its components make when they are instantiated, in the order of their index spaces.
    modules: Vec<Made>,
    components: Vec<Made>,
    makes: Made,
}

/// Reads all sections of a module or component. Bytes that are not valid may be counted or not: whoever validates them says so.
///
/// # Errors
/// The first bound that is passed.
pub(crate) fn measure(bytes: &[u8]) -> Result<Made, TooMany> {
    let mut sums = Sums::default();
    let mut levels: Vec<Level> = Vec::new();
    let mut whole = Made::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else {
            break;
        };
        count(&payload, &mut sums);
        sums.check()?;
        if let Payload::TypeSection(section) = &payload {
            count_type_values(section, &mut sums)?;
        }
        match payload {
            Payload::Version { encoding, .. } => {
                let is_component = encoding == wasmparser::Encoding::Component;
                levels.push(Level {
                    is_component,
                    // The instance itself.
                    makes: Made {
                        instances: u64::from(!is_component),
                        components: u64::from(is_component),
                        ..Made::default()
                    },
                    ..Level::default()
                });
                if levels.len() > NESTING_MAX {
                    return Err(TooMany {
                        what: "levels of components in components",
                        count: levels.len() as u64,
                        max: NESTING_MAX as u64,
                    });
                }
            }
            Payload::End(_) => {
                let Some(level) = levels.pop() else {
                    break;
                };
                match levels.last_mut() {
                    Some(outer) if level.is_component => outer.components.push(level.makes),
                    Some(outer) => outer.modules.push(level.makes),
                    None => whole = level.makes,
                }
            }
            payload => read_section(&payload, &mut levels),
        }
    }
    let max = u64::from(ceiling::INSTANCES);
    let count = whole.instances.max(whole.components);
    if count > max {
        return Err(TooMany {
            what: "instances",
            count,
            max,
        });
    }
    Ok(whole)
}

fn count(payload: &Payload<'_>, sums: &mut Sums) {
    let (sum, count) = match payload {
        Payload::TypeSection(section) => (&mut sums.types, section.count()),
        Payload::CoreTypeSection(section) => (&mut sums.types, section.count()),
        Payload::ComponentTypeSection(section) => (&mut sums.types, section.count()),
        Payload::FunctionSection(section) => (&mut sums.functions, section.count()),
        Payload::ImportSection(section) => (&mut sums.imports, section.count()),
        Payload::ExportSection(section) => (&mut sums.exports, section.count()),
        Payload::GlobalSection(section) => (&mut sums.globals, section.count()),
        Payload::DataSection(section) => (&mut sums.segments, section.count()),
        Payload::ElementSection(section) => (&mut sums.segments, section.count()),
        _ => return,
    };
    *sum += u64::from(count);
}

/// What the types of a section are made of. Stops at the bound: each type that is read takes memory.
fn count_type_values(section: &TypeSectionReader<'_>, sums: &mut Sums) -> Result<(), TooMany> {
    for group in section.clone().into_iter().flatten() {
        for subtype in group.types() {
            let values = match &subtype.composite_type.inner {
                CompositeInnerType::Func(function) => {
                    function.params().len() + function.results().len()
                }
                CompositeInnerType::Struct(fields) => fields.fields.len(),
                CompositeInnerType::Array(_) | CompositeInnerType::Cont(_) => 1,
            };
            sums.type_values += values as u64;
        }
        sums.check()?;
    }
    Ok(())
}

/// Follows what a section adds to the innermost level. Entries that can't be read are for the validator.
fn read_section(payload: &Payload<'_>, levels: &mut [Level]) {
    let Some((level, outer)) = levels.split_last_mut() else {
        return;
    };
    match payload {
        Payload::MemorySection(section) => {
            for memory in section.clone().into_iter().flatten() {
                let bytes = memory.initial.saturating_mul(PAGE_BYTES);
                level.makes.add(Made {
                    memories: 1,
                    memory_bytes: bytes,
                    ..Made::default()
                });
            }
        }
        Payload::TableSection(section) => {
            for table in section.clone().into_iter().flatten() {
                level.makes.add(Made {
                    tables: 1,
                    table_elements: table.ty.initial,
                    ..Made::default()
                });
            }
        }
        Payload::InstanceSection(section) => {
            for instance in section.clone().into_iter().flatten() {
                if let Instance::Instantiate { module_index, .. } = instance {
                    let made = level.modules.get(module_index as usize);
                    level.makes.add(made.copied().unwrap_or(Made::UNKNOWN));
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section.clone().into_iter().flatten() {
                if let ComponentInstance::Instantiate {
                    component_index, ..
                } = instance
                {
                    let made = level.components.get(component_index as usize);
                    level.makes.add(made.copied().unwrap_or(Made::UNKNOWN));
                }
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section.clone().into_iter().flatten() {
                match import.ty {
                    ComponentTypeRef::Module(_) => level.modules.push(Made::UNKNOWN),
                    ComponentTypeRef::Component(_) => level.components.push(Made::UNKNOWN),
                    _ => {}
                }
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section.clone().into_iter().flatten() {
                let index = export.index as usize;
                match export.kind {
                    ComponentExternalKind::Module => repeat(&mut level.modules, index),
                    ComponentExternalKind::Component => repeat(&mut level.components, index),
                    _ => {}
                }
            }
        }
        Payload::ComponentAliasSection(section) => {
            for alias in section.clone().into_iter().flatten() {
                read_alias(&alias, level, outer);
            }
        }
        _ => {}
    }
}

/// An export has an index of its own.
fn repeat(space: &mut Vec<Made>, index: usize) {
    let made = space.get(index).copied().unwrap_or(Made::UNKNOWN);
    space.push(made);
}

fn read_alias(alias: &ComponentAlias<'_>, level: &mut Level, outer: &[Level]) {
    match *alias {
        ComponentAlias::Outer { kind, count, index } => {
            let of = |from: &Level| match kind {
                ComponentOuterAliasKind::CoreModule => from.modules.get(index as usize).copied(),
                ComponentOuterAliasKind::Component => from.components.get(index as usize).copied(),
                _ => None,
            };
            let made = match (count as usize).checked_sub(1) {
                None => of(level),
                Some(up) => outer.iter().rev().nth(up).and_then(of),
            };
            let made = made.unwrap_or(Made::UNKNOWN);
            match kind {
                ComponentOuterAliasKind::CoreModule => level.modules.push(made),
                ComponentOuterAliasKind::Component => level.components.push(made),
                _ => {}
            }
        }
        ComponentAlias::InstanceExport { kind, .. } => match kind {
            ComponentExternalKind::Module => level.modules.push(Made::UNKNOWN),
            ComponentExternalKind::Component => level.components.push(Made::UNKNOWN),
            _ => {}
        },
        ComponentAlias::CoreInstanceExport { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Made, PAGE_BYTES, measure};

    fn made(text: &str) -> Made {
        measure(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn what_instances_make_is_summed() {
        let text = "(component $top
            (core module $m (memory 3) (table 1 funcref) (table 7 funcref))
            (component $c (alias outer $top $m (core module $m)) (core instance (instantiate $m)) (core instance (instantiate $m)))
            (instance (instantiate $c)) (instance (instantiate $c)) (core instance (instantiate $m)))";
        let expected = Made {
            instances: 2 * 2 + 1,
            components: 1 + 2,
            memories: 5,
            tables: 10,
            memory_bytes: 5 * 3 * PAGE_BYTES,
            table_elements: 5 * 8,
        };
        assert_eq!(made(text), expected);
        let unused =
            "(component (core module $m (memory 1)) (component $c (core module $m (memory 1))))";
        let itself = Made {
            components: 1,
            ..Made::default()
        };
        assert_eq!(made(unused), itself);
    }

    #[test]
    fn what_comes_from_outside_can_not_be_instantiated() {
        let text = "(component (import \"c\" (component $c)) (instance (instantiate $c)))";
        let refused = measure(&wat::parse_str(text).unwrap()).unwrap_err();
        assert_eq!(refused.what, "instances");
    }
}
