//! Making kernels: out of the device's cache, or by checking and compiling.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Session;
use crate::error::{GpuError, limit};
use crate::kernel::{self, Checked, Compiled, Constant, Kernel, KernelInner, Slot, SlotKind};
use crate::{cache, encode};

impl Session {
    /// Compiles one entry point of a WGSL module, or finds it compiled by an earlier run on this device.
    ///
    /// # Errors
    /// `Validation` with the compiler's message; `Limit` for `source-size`, `constants`, `call-tree` or `kernels`.
    pub fn create_kernel(
        &mut self,
        wgsl: &str,
        entry: &str,
        constants: &[Constant],
    ) -> Result<Kernel, GpuError> {
        let made = self.make_kernel(wgsl, entry, constants);
        self.noted(made)
    }

    fn make_kernel(
        &mut self,
        wgsl: &str,
        entry: &str,
        constants: &[Constant],
    ) -> Result<Kernel, GpuError> {
        self.check_alive()?;
        if self.holdings.kernels.load(Relaxed) >= self.limits.kernels {
            return Err(GpuError::limit(limit::KERNELS, self.limits.kernels));
        }
        kernel::check_size(wgsl, constants, &self.limits)?;
        let digest = kernel::digest(wgsl, entry, constants);
        let key = cache::key(&digest, self.limits.loop_budget);
        let compiled = match self.gpu.kernels.get(&key) {
            Some(compiled) => compiled,
            None => {
                let checked = kernel::check(
                    wgsl,
                    entry,
                    constants,
                    &self.limits,
                    &self.gpu.device_limits,
                    &self.gpu.features,
                )?;
                self.check_slots(&checked.slots)?;
                let compiled = Arc::new(self.compile(checked, entry, digest)?);
                self.gpu.kernels.put(key, Arc::clone(&compiled));
                compiled
            }
        };
        self.holdings.kernels.fetch_add(1, Relaxed);
        Ok(Kernel(Arc::new(KernelInner {
            compiled,
            holdings: Arc::clone(&self.holdings),
        })))
    }

    /// What the validator does not know: how many and how large bindings the device takes.
    fn check_slots(&self, slots: &[Slot]) -> Result<(), GpuError> {
        let storage = |slot: &&Slot| {
            matches!(
                slot.kind,
                SlotKind::StorageRead | SlotKind::StorageReadWrite
            )
        };
        let buffers = slots.iter().filter(storage).count();
        let most = self.gpu.device_limits.max_storage_buffers_per_kernel;
        if buffers > most as usize {
            return Err(GpuError::invalid(format!(
                "the kernel binds {buffers} storage buffers; at most {most} are allowed"
            )));
        }
        let too_large = slots.iter().any(|slot| {
            slot.kind == SlotKind::Uniform && slot.min_bytes > self.gpu.uniform_bytes_max
        });
        if too_large {
            return Err(GpuError::invalid(format!(
                "a uniform buffer is at most {} bytes",
                self.gpu.uniform_bytes_max
            )));
        }
        Ok(())
    }

    fn compile(
        &mut self,
        checked: Checked,
        entry: &str,
        digest: crate::trace::Hash,
    ) -> Result<Compiled, GpuError> {
        let Checked {
            module,
            slots,
            has_loops,
        } = checked;
        let built = self.scoped(|gpu, _| encode::pipeline(gpu, module, entry, &slots, has_loops));
        let (layout, pipeline) = built.map_err(|error| match error {
            // Without a lost device, a failure inside the driver's compiler is about this kernel.
            GpuError::DeviceLost(text) if self.gpu.is_healthy() => GpuError::Validation(text),
            other => other,
        })?;
        Ok(Compiled {
            pipeline,
            layout,
            slots,
            has_loops,
            digest,
        })
    }
}
