//! The account of a guest's memory and tables.

use wasmtime::ResourceLimiter;

use crate::host::Stop;
use crate::limits::Limits;

/// Sums all linear memories and all tables of a store; going over a limit ends the run.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: u64,
    table_elements_max: u64,
    instances_max: usize,
    memory_bytes: u64,
    table_elements: u64,
    peak_memory_bytes: u64,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes,
            table_elements_max: limits.table_elements,
            instances_max: limits.instances as usize,
            memory_bytes: 0,
            table_elements: 0,
            peak_memory_bytes: 0,
        }
    }

    /// Most bytes of linear memory held at once.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        self.peak_memory_bytes
    }
}

/// The machine is out of memory, which must not become an answer that a guest computes with.
fn machine_has_none(error: &wasmtime::Error) -> wasmtime::Error {
    Stop::Host(format!(
        "the machine could not give the guest memory: {error}"
    ))
    .into()
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // the memory's own maximum, or 4 GiB: `memory.grow` answers -1
        }
        let more = desired.saturating_sub(current) as u64;
        let total = self.memory_bytes.saturating_add(more);
        if total > self.memory_bytes_max {
            return Err(Stop::limit("memory", self.memory_bytes_max).into());
        }
        self.memory_bytes = total;
        self.peak_memory_bytes = self.peak_memory_bytes.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(machine_has_none(&error))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(machine_has_none(&error))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        let total = self.table_elements.saturating_add(more);
        if total > self.table_elements_max {
            return Err(Stop::limit("table", self.table_elements_max).into());
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.instances_max
    }

    fn memories(&self) -> usize {
        self.instances_max
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter;

    use super::Limiter;
    use crate::host::Stop;
    use crate::limits::Limits;

    #[test]
    fn what_the_machine_lacks_ends_the_run_as_its_fault() {
        let mut limiter = Limiter::new(&Limits::default());
        let failed = || wasmtime::Error::from(rustix::io::Errno::NOMEM);
        for ended in [
            limiter.memory_grow_failed(failed()),
            limiter.table_grow_failed(failed()),
        ] {
            let stop = ended.err().and_then(|error| error.downcast::<Stop>().ok());
            assert!(matches!(stop, Some(Stop::Host(_))), "{stop:?}");
        }
    }
}
