//! The wasmtime engine of the deterministic profile.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Strategy};

use crate::allocation::Allocation;
use crate::limits::WASM_STACK_BYTES;

/// The profile's name. It stands for the exact wasmtime version, its operator costs, the stack limit below and the host-call
/// prices in [`crate::host::price`]; change any of them and the name must change.
pub const PROFILE: &str = "det/1";

/// A configured engine and the key of what it compiles.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: wasmtime::Engine,
    compatibility: String,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("profile", &PROFILE)
            .field("compatibility", &self.compatibility)
            .finish()
    }
}

impl Engine {
    /// Makes an engine of profile [`PROFILE`]: fuel, canonical NaNs, deterministic relaxed SIMD, no threads, 32-bit memories.
    ///
    /// # Errors
    /// The machine lacks something that the profile needs.
    pub fn new() -> wasmtime::Result<Self> {
        Self::allocating(Allocation::OnDemand)
    }

    /// The same with a pool of memories, for a process that runs many guests one after the other.
    ///
    /// # Errors
    /// As above, or there is no room for the pool in the address space.
    pub fn pooled() -> wasmtime::Result<Self> {
        Self::allocating(Allocation::Pool)
    }

    fn allocating(allocation: Allocation) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        allocation.apply(&mut config);
        config
            .strategy(Strategy::Cranelift)
            .consume_fuel(true)
            .cranelift_nan_canonicalization(true)
            .wasm_relaxed_simd(true)
            .relaxed_simd_deterministic(true)
            .shared_memory(false)
            .wasm_memory64(false)
            .wasm_wide_arithmetic(false)
            .wasm_custom_page_sizes(false)
            .wasm_component_model(true)
            .concurrency_support(false)
            .max_wasm_stack(WASM_STACK_BYTES);
        let inner = wasmtime::Engine::new(&config)?;
        let mut hasher = ShaHasher(Sha256::new());
        inner.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(PROFILE);
        Ok(Self {
            inner,
            compatibility: hex::encode(&hasher.0.finalize()[..16]),
        })
    }

    /// What a compiled module depends on besides its bytes: wasmtime's version, its settings, the CPU and the profile.
    #[must_use]
    pub fn compatibility(&self) -> &str {
        &self.compatibility
    }
}

/// Feeds what wasmtime hashes into SHA-256: the default hasher may change between compiler versions.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_be_bytes(std::array::from_fn(|i| digest[i]))
    }
}
