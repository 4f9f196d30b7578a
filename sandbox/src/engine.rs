//! The wasmtime engines, one for each profile.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::{Config, Strategy};

use crate::allocation::Allocation;
use crate::inspect::RULES;
use crate::limits::WASM_STACK_BYTES;

/// How a module is compiled. A run uses the same fuel in either: fuel is counted by WebAssembly's operators, and not by what they
/// are compiled to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// The same bytes on every machine: canonical NaNs, deterministic relaxed SIMD. For whatever is compared or run again.
    #[default]
    #[serde(rename = "det/1")]
    Deterministic,
    /// NaNs and relaxed SIMD as the processor has them. For results that nobody compares bit by bit.
    #[serde(rename = "fast/1")]
    Fast,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::Deterministic, Self::Fast];

    /// The profile's name. It stands for the exact wasmtime version, its operator costs, the stack limit and the host-call prices in
    /// [`crate::host::price`]; change any of them and the name must change.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deterministic => "det/1",
            Self::Fast => "fast/1",
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }
}

/// A configured engine and the key of what it compiles.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: wasmtime::Engine,
    profile: Profile,
    compatibility: String,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("profile", &self.profile)
            .field("compatibility", &self.compatibility)
            .finish()
    }
}

impl Engine {
    /// Makes an engine of a profile: fuel, no threads, memories of 32 bits.
    ///
    /// # Errors
    /// The machine lacks something that the profile needs.
    pub fn new(profile: Profile) -> wasmtime::Result<Self> {
        Self::allocating(profile, Allocation::OnDemand)
    }

    /// The same with a pool of memories, for a process that runs many guests one after the other.
    ///
    /// # Errors
    /// As above, or there is no room for the pool in the address space.
    pub fn pooled(profile: Profile) -> wasmtime::Result<Self> {
        Self::allocating(profile, Allocation::Pool)
    }

    fn allocating(profile: Profile, allocation: Allocation) -> wasmtime::Result<Self> {
        let mut config = config(profile);
        allocation.apply(&mut config);
        let inner = wasmtime::Engine::new(&config)?;
        let mut hasher = ShaHasher(Sha256::new());
        inner.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(profile.name());
        hasher.0.update(RULES.to_be_bytes());
        Ok(Self {
            inner,
            profile,
            compatibility: hex::encode(&hasher.0.finalize()[..16]),
        })
    }

    /// What a compiled module depends on besides its bytes: wasmtime's version, its settings, the CPU and the profile.
    #[must_use]
    pub fn compatibility(&self) -> &str {
        &self.compatibility
    }
}

/// An engine of each profile, for a process that runs both.
#[derive(Debug, Clone)]
pub(crate) struct Engines {
    deterministic: Engine,
    fast: Engine,
}

/// What compiled code of each profile depends on besides the module's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compatibility {
    deterministic: String,
    fast: String,
}

impl Engines {
    /// Engines that allocate for each instance.
    pub(crate) fn on_demand() -> wasmtime::Result<Self> {
        Self::made(Engine::new)
    }

    /// Engines with a pool of memories each.
    pub(crate) fn pooled() -> wasmtime::Result<Self> {
        Self::made(Engine::pooled)
    }

    fn made(engine: fn(Profile) -> wasmtime::Result<Engine>) -> wasmtime::Result<Self> {
        Ok(Self {
            deterministic: engine(Profile::Deterministic)?,
            fast: engine(Profile::Fast)?,
        })
    }

    /// The one of a profile.
    pub(crate) fn of(&self, profile: Profile) -> &Engine {
        match profile {
            Profile::Deterministic => &self.deterministic,
            Profile::Fast => &self.fast,
        }
    }

    pub(crate) fn compatibility(&self) -> Compatibility {
        Compatibility {
            deterministic: self.deterministic.compatibility().to_owned(),
            fast: self.fast.compatibility().to_owned(),
        }
    }
}

impl Compatibility {
    /// Of a profile.
    pub(crate) fn of(&self, profile: Profile) -> &str {
        match profile {
            Profile::Deterministic => &self.deterministic,
            Profile::Fast => &self.fast,
        }
    }
}

/// A profile's settings.
pub(crate) fn config(profile: Profile) -> Config {
    let deterministic = match profile {
        Profile::Deterministic => true,
        Profile::Fast => false,
    };
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .consume_fuel(true)
        .cranelift_nan_canonicalization(deterministic)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(deterministic)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .wasm_component_model(true)
        .concurrency_support(false)
        .max_wasm_stack(WASM_STACK_BYTES);
    config
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
