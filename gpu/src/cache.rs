//! Kernels that a device has compiled before.
//!
//! Checking and compiling a kernel takes a driver a millisecond or a hundred, and a requester's next task has the same
//! kernels. The cache belongs to one device, and a device to one requester: nobody can learn from its timing what others run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::kernel::Compiled;
use crate::trace::Hash;

/// Pipelines kept. A driver takes up to a megabyte for each, and a module has a few dozen at most.
pub const PIPELINES_MAX: usize = 256;

/// Compiled kernels by source, entry point, constants and loop budget.
#[derive(Debug, Default)]
pub(crate) struct KernelCache(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kept: HashMap<Hash, Kept>,
    /// Counts uses, as the time by which the longest unused one is found.
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    compiled: Arc<Compiled>,
    used: u64,
}

/// The place of a kernel: its digest (`kernel::digest`) and what else decides the compiled code on one device.
pub(crate) fn key(kernel: &Hash, loop_budget: u32) -> Hash {
    Sha256::new()
        .chain_update(kernel)
        .chain_update(loop_budget.to_be_bytes())
        .finalize()
        .into()
}

impl KernelCache {
    pub(crate) fn get(&self, key: &Hash) -> Option<Arc<Compiled>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.uses += 1;
        let now = inner.uses;
        let kept = inner.kept.get_mut(key)?;
        kept.used = now;
        Some(Arc::clone(&kept.compiled))
    }

    /// Keeps a kernel, in the place of the longest unused one where there is no room.
    pub(crate) fn put(&self, key: Hash, compiled: Arc<Compiled>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.kept.len() >= PIPELINES_MAX {
            let oldest = inner.kept.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                inner.kept.remove(&oldest);
            }
        }
        inner.uses += 1;
        let used = inner.uses;
        inner.kept.insert(key, Kept { compiled, used });
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.kept.len()
    }
}
