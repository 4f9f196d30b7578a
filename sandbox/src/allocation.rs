//! Where guests' memories, tables and instances come from: a pool that one process sets up once.
//!
//! An instance then takes no system call that maps memory, and what a run leaves is wiped when its store is dropped, before the
//! slot can be given out again: a memory's or table's first bytes by overwriting them, the rest by giving the pages back to the
//! system, which hands out zeroed ones. A module whose memory begins with data gets it as a copy-on-write mapping of its own file.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::ceiling;

/// Bytes at the start of each memory that stay mapped between runs and are overwritten with zeros instead: for guests of this
/// size the next run has no page faults. More would cost more to overwrite than to fault in.
const MEMORY_KEPT_BYTES: usize = 256 * 1024;
/// The same for tables.
const TABLE_KEPT_BYTES: usize = 16 * 1024;
/// Bytes of the runtime's own data about one core instance, and about one component with all its instances. It grows with the
/// number of functions; 16 MiB is enough for half a million of them, and is only taken when it is needed.
const INSTANCE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Components at once. A process runs one; the second is the one whose store is being dropped.
const COMPONENTS: u32 = 2;

/// How an engine allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// From the system, for each instance: for compiling, and where there is no room for a pool.
    OnDemand,
    /// From a pool with room for one component at the ceilings of [`crate::Limits`].
    Pool,
}

impl Allocation {
    /// Sets it in a configuration. What is compiled does not depend on it.
    pub(crate) fn apply(self, config: &mut Config) {
        let strategy = match self {
            Self::OnDemand => InstanceAllocationStrategy::OnDemand,
            Self::Pool => InstanceAllocationStrategy::Pooling(pool()),
        };
        config.allocation_strategy(strategy);
    }
}

fn pool() -> PoolingAllocationConfig {
    let instances = ceiling::INSTANCES;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(COMPONENTS)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        .max_memories_per_module(instances)
        .max_tables_per_module(instances)
        .max_memory_size(ceiling::MEMORY_BYTES as usize)
        .table_elements(ceiling::TABLE_ELEMENTS as usize)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        // Needs a file of `/proc`, which a confined process can't open.
        .pagemap_scan(Enabled::No);
    pool
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::engine::{Engines, Profile};

    #[test]
    fn what_is_compiled_without_a_pool_runs_with_one() {
        let (one, two) = (Engines::on_demand().unwrap(), Engines::pooled().unwrap());
        assert_eq!(one.compatibility(), two.compatibility());
        assert_ne!(
            one.compatibility().of(Profile::Deterministic),
            one.compatibility().of(Profile::Fast)
        );
    }
}
