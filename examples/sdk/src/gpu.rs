//! GPU compute: typed buffers, WGSL kernels and batches of dispatches.
//!
//! Stay inside what every WebGPU implementation offers and a task runs anywhere: workgroups of at most 256
//! invocations, at most 8 storage buffers a kernel, no `f16`, no subgroups. For results that are equal bit by bit on one
//! kind of GPU, let each output element be computed by one invocation in a fixed order; atomics are fine on integers.
//!
//! ```no_run
//! # use aevir_guest::gpu::{Batch, Buffer, Kernel, workgroups};
//! let wgsl = "
//!     @group(0) @binding(0) var<storage, read_write> values: array<f32>;
//!     @compute @workgroup_size(64)
//!     fn main(@builtin(global_invocation_id) id: vec3<u32>) {
//!         if id.x < arrayLength(&values) { values[id.x] *= 2.0; }
//!     }";
//! let kernel = Kernel::new(wgsl, "main")?;
//! let values = Buffer::from_slice(&[1.0f32, 2.0, 3.0])?;
//! let mut batch = Batch::new()?;
//! batch.dispatch(&kernel, &[&values], [workgroups(3, 64), 1, 1])?;
//! batch.submit()?;
//! assert_eq!(values.read()?, [2.0, 4.0, 6.0]);
//! # Ok::<(), aevir_guest::Error>(())
//! ```

use core::marker::PhantomData;

use crate::Result;
use crate::bindings::aevir::task::compute;

pub use compute::DeviceLimits;

/// Bytes moved a call: copying is fastest at about this size, and the interface allows 8 MiB.
const STEP_BYTES: usize = 1 << 20;

/// What the run may count on: the portable defaults unless the task asked for more.
pub fn limits() -> Result<DeviceLimits> {
    Ok(compute::limits()?)
}

/// The granted optional WebGPU features, by name.
pub fn features() -> Result<Vec<String>> {
    Ok(compute::features()?)
}

/// How many workgroups of `size` invocations cover `items`.
pub fn workgroups(items: usize, size: u32) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX).div_ceil(size)
}

/// A type that buffers hold: `f32`, `u32` or `i32`, four bytes each.
pub trait Element: bytemuck::Pod {}

impl Element for f32 {}
impl Element for u32 {}
impl Element for i32 {}

/// A zeroed array on the GPU, usable as storage or uniform binding.
#[derive(Debug)]
pub struct Buffer<T> {
    raw: compute::Buffer,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    const ELEMENT_BYTES: usize = size_of::<T>();

    /// Allocates `len` zeroes.
    pub fn new(len: usize) -> Result<Self> {
        let raw = compute::Buffer::new((len * Self::ELEMENT_BYTES) as u64)?;
        Ok(Self {
            raw,
            len,
            element: PhantomData,
        })
    }

    /// Allocates and fills.
    pub fn from_slice(values: &[T]) -> Result<Self> {
        let buffer = Self::new(values.len())?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    /// Length in elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Overwrites from element `start` on, before every batch submitted later.
    pub fn write(&self, start: usize, values: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let mut offset = (start * Self::ELEMENT_BYTES) as u64;
        for chunk in bytes.chunks(STEP_BYTES) {
            self.raw.write(offset, chunk)?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// Waits for the submitted work, then reads everything.
    pub fn read(&self) -> Result<Vec<T>> {
        self.read_range(0, self.len)
    }

    /// Waits for the submitted work, then reads `len` elements from `start` on.
    pub fn read_range(&self, start: usize, len: usize) -> Result<Vec<T>> {
        let mut values = Vec::with_capacity(len);
        let step = STEP_BYTES / Self::ELEMENT_BYTES;
        for begin in (start..start + len).step_by(step) {
            let count = step.min(start + len - begin) * Self::ELEMENT_BYTES;
            let bytes = self
                .raw
                .read((begin * Self::ELEMENT_BYTES) as u64, count as u32)?;
            values.extend(bytemuck::pod_collect_to_vec::<u8, T>(&bytes));
        }
        Ok(values)
    }
}

/// A buffer of any element type, as a kernel's binding.
pub trait Binding {
    /// The host's buffer.
    fn raw(&self) -> &compute::Buffer;
}

impl<T> Binding for Buffer<T> {
    fn raw(&self) -> &compute::Buffer {
        &self.raw
    }
}

/// One entry point of a WGSL module. Its bindings are the buffers of group 0, numbered from 0 without gaps.
#[derive(Debug)]
pub struct Kernel {
    raw: compute::Kernel,
}

impl Kernel {
    /// Validates and compiles.
    pub fn new(wgsl: &str, entry: &str) -> Result<Self> {
        Self::with_constants(wgsl, entry, &[])
    }

    /// Validates and compiles with values for the module's `override` constants.
    pub fn with_constants(wgsl: &str, entry: &str, constants: &[(&str, f64)]) -> Result<Self> {
        let constants: Vec<_> = constants
            .iter()
            .map(|&(name, value)| compute::Constant {
                name: name.into(),
                value,
            })
            .collect();
        Ok(Self {
            raw: compute::Kernel::new(wgsl, entry, &constants)?,
        })
    }
}

impl Kernel {
    /// Runs the kernel by itself, one invocation for each of `items`: the workgroups' size along x is `size`, as the WGSL says. For
    /// more than one kernel, or one again and again, fill a [`Batch`].
    pub fn run(&self, bindings: &[&dyn Binding], items: usize, size: u32) -> Result<()> {
        let mut batch = Batch::new()?;
        batch.dispatch(self, bindings, [workgroups(items, size), 1, 1])?;
        batch.submit()
    }
}

/// Dispatches and copies that are submitted together and run in order.
#[derive(Debug)]
pub struct Batch {
    raw: compute::Batch,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Result<Self> {
        Ok(Self {
            raw: compute::Batch::new()?,
        })
    }

    /// Appends a dispatch of `groups` workgroups; binding `i` gets `bindings[i]`.
    pub fn dispatch(
        &mut self,
        kernel: &Kernel,
        bindings: &[&dyn Binding],
        groups: [u32; 3],
    ) -> Result<()> {
        let buffers: Vec<_> = bindings.iter().map(|binding| binding.raw()).collect();
        let [x, y, z] = groups;
        Ok(self.raw.dispatch(&kernel.raw, &buffers, x, y, z)?)
    }

    /// Appends a copy of `len` elements.
    pub fn copy<T: Element>(
        &mut self,
        (from, from_start): (&Buffer<T>, usize),
        (to, to_start): (&Buffer<T>, usize),
        len: usize,
    ) -> Result<()> {
        let bytes = |elements: usize| (elements * size_of::<T>()) as u64;
        Ok(self.raw.copy(
            &from.raw,
            bytes(from_start),
            &to.raw,
            bytes(to_start),
            bytes(len),
        )?)
    }

    /// Hands the batch to the GPU. It does not wait; reading a buffer does.
    pub fn submit(self) -> Result<()> {
        Ok(self.raw.submit()?)
    }
}
