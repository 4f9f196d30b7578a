//! What a kernel binds: the buffers of group 0, numbered without gaps.

use std::collections::BTreeMap;

use naga::valid::FunctionInfo;
use naga::{AddressSpace, Module, StorageAccess};

use crate::error::GpuError;

/// What a binding of group 0 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// Declared but not used by the entry point: takes any buffer.
    Unused,
    Uniform,
    StorageRead,
    StorageReadWrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub kind: SlotKind,
    /// The least bytes that the variable's type needs.
    pub min_bytes: u64,
}

impl Slot {
    /// How many bytes of a buffer the kernel gets, from its beginning on: a uniform's type has one size, and of storage it is all,
    /// for `arrayLength`.
    pub(crate) fn bound_bytes(&self, buffer_bytes: u64) -> u64 {
        match self.kind {
            SlotKind::Unused => 0,
            SlotKind::Uniform => self.min_bytes,
            SlotKind::StorageRead | SlotKind::StorageReadWrite => buffer_bytes,
        }
    }
}

/// The bindings of group 0, by number.
pub(super) fn slots(module: &Module, uses: &FunctionInfo) -> Result<Vec<Slot>, GpuError> {
    let mut used = BTreeMap::new();
    let mut declared = Vec::new();
    for (handle, global) in module.global_variables.iter() {
        let name = || global.name.clone().unwrap_or_default();
        let is_used = !uses[handle].is_empty();
        let Some(binding) = &global.binding else {
            let private = matches!(
                global.space,
                AddressSpace::Private | AddressSpace::WorkGroup
            );
            if is_used && !private {
                return Err(GpuError::invalid(format!(
                    "`{}` is of no supported address space",
                    name()
                )));
            }
            continue;
        };
        if binding.group != 0 {
            return Err(GpuError::invalid(format!(
                "`{}` is in group {}; only group 0 is bound",
                name(),
                binding.group
            )));
        }
        declared.push(binding.binding);
        if !is_used {
            continue;
        }
        let kind = match global.space {
            AddressSpace::Uniform => SlotKind::Uniform,
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                SlotKind::StorageReadWrite
            }
            AddressSpace::Storage { .. } => SlotKind::StorageRead,
            _ => {
                return Err(GpuError::invalid(format!(
                    "`{}` is neither a storage nor a uniform buffer",
                    name()
                )));
            }
        };
        let size = module.types[global.ty].inner.try_size(module.to_ctx());
        let size = size
            .ok_or_else(|| GpuError::invalid(format!("the type of `{}` is too large", name())))?;
        let min_bytes = u64::from(size);
        used.insert(binding.binding, Slot { kind, min_bytes });
    }
    let count = used
        .last_key_value()
        .map_or(0, |(last, _)| last.saturating_add(1));
    (0..count)
        .map(|number| match used.get(&number) {
            Some(slot) => Ok(*slot),
            None if declared.contains(&number) => Ok(Slot {
                kind: SlotKind::Unused,
                min_bytes: 0,
            }),
            None => Err(GpuError::invalid(format!(
                "bindings must be numbered from 0 without gaps; {number} is missing"
            ))),
        })
        .collect()
}
