//! Dispatches and copies that are submitted together.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::buffer::{Buffer, Holdings};
use crate::error::{GpuError, limit};
use crate::kernel::{Kernel, SlotKind};
use crate::limits::ceiling;

/// Commands of all batches that wait to be submitted, together: the most that one batch may ever have. Each holds some hundred bytes of the
/// host's memory.
pub const WAITING_COMMANDS_MAX: u32 = ceiling::COMMANDS_PER_BATCH;

/// One command of a batch.
#[derive(Debug)]
pub(crate) enum Command {
    Dispatch {
        kernel: Kernel,
        bindings: Vec<Buffer>,
        groups: [u32; 3],
    },
    Copy {
        src: Buffer,
        src_offset: u64,
        dst: Buffer,
        dst_offset: u64,
        len: u64,
    },
}

/// Commands in order, not yet handed to the GPU. Made by [`crate::Session::create_batch`].
#[derive(Debug)]
pub struct Batch {
    pub(crate) commands: Vec<Command>,
    /// Most commands.
    pub(crate) commands_max: u32,
    /// Most workgroups of one dispatch.
    pub(crate) workgroups_max: u64,
    /// Most workgroups in one dimension.
    pub(crate) dimension_max: u32,
    /// The session's account.
    pub(crate) holdings: Arc<Holdings>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        // At most `WAITING_COMMANDS_MAX`, so it fits.
        let commands = self.commands.len() as u32;
        self.holdings.commands.fetch_sub(commands, Relaxed);
    }
}

impl Batch {
    /// Adds a dispatch of `groups` workgroups, with `bindings[i]` at binding `i` of group 0.
    ///
    /// # Errors
    /// `Validation` for a wrong number or size of buffers, `Limit` for too many workgroups or commands.
    pub fn dispatch(
        &mut self,
        kernel: &Kernel,
        bindings: &[&Buffer],
        groups: [u32; 3],
    ) -> Result<(), GpuError> {
        self.check_room()?;
        let slots = &kernel.0.compiled.slots;
        if bindings.len() != slots.len() {
            return Err(GpuError::invalid(format!(
                "the kernel binds {} buffers, and {} were given",
                slots.len(),
                bindings.len()
            )));
        }
        for (number, (slot, buffer)) in slots.iter().zip(bindings).enumerate() {
            if buffer.size() < slot.min_bytes {
                return Err(GpuError::invalid(format!(
                    "binding {number} needs at least {} bytes, and its buffer has {}",
                    slot.min_bytes,
                    buffer.size()
                )));
            }
        }
        let total = groups
            .iter()
            .try_fold(1u64, |product, &n| product.checked_mul(n.into()));
        if groups.iter().any(|&n| n > self.dimension_max) {
            return Err(GpuError::limit(
                limit::WORKGROUPS_PER_DIMENSION,
                self.dimension_max,
            ));
        }
        if total.is_none_or(|total| total > self.workgroups_max) {
            return Err(GpuError::limit(limit::WORKGROUPS, self.workgroups_max));
        }
        let writes = slots.iter().zip(bindings);
        let writes = writes.filter(|(slot, _)| slot.kind == SlotKind::StorageReadWrite);
        writes.for_each(|(_, buffer)| buffer.touch());
        self.add(Command::Dispatch {
            kernel: kernel.clone(),
            bindings: bindings.iter().map(|&buffer| buffer.clone()).collect(),
            groups,
        });
        Ok(())
    }

    /// Adds a copy of `len` bytes between two different buffers.
    ///
    /// # Errors
    /// `Validation` for a range outside of a buffer or not of whole words, `Limit` for too many commands.
    pub fn copy(
        &mut self,
        src: &Buffer,
        src_offset: u64,
        dst: &Buffer,
        dst_offset: u64,
        len: u64,
    ) -> Result<(), GpuError> {
        self.check_room()?;
        src.check_range("copy from", src_offset, len)?;
        dst.check_range("copy to", dst_offset, len)?;
        if src.is(dst) {
            return Err(GpuError::invalid("a copy needs two different buffers"));
        }
        dst.touch();
        self.add(Command::Copy {
            src: src.clone(),
            src_offset,
            dst: dst.clone(),
            dst_offset,
            len,
        });
        Ok(())
    }

    /// Whether any of its kernels has a loop, and with it a budget that can be used up.
    pub(crate) fn has_loops(&self) -> bool {
        self.commands.iter().any(|command| match command {
            Command::Dispatch { kernel, .. } => kernel.0.compiled.has_loops,
            Command::Copy { .. } => false,
        })
    }

    fn check_room(&self) -> Result<(), GpuError> {
        if self.commands.len() >= self.commands_max as usize {
            return Err(GpuError::limit(limit::BATCH, self.commands_max));
        }
        if self.holdings.commands.load(Relaxed) >= WAITING_COMMANDS_MAX {
            return Err(GpuError::limit(limit::WAITING, WAITING_COMMANDS_MAX));
        }
        Ok(())
    }

    /// There is room for it.
    fn add(&mut self, command: Command) {
        self.commands.push(command);
        self.holdings.commands.fetch_add(1, Relaxed);
    }
}
