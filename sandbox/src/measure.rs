//! What a bench measures inside of one process: a run without its process, beside the same calls on wasmtime alone.
//!
//! For benches only; a node never runs a guest in its own process.

use std::path::PathBuf;
use std::sync::Arc;

use aevir_gpu::Devices;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::engine::{Engine, Profile, config};
use crate::host::files::Files;
use crate::host::{self, EventSink};
use crate::inspect::inspect;
use crate::limits::Limits;
use crate::outcome::Outcome;
use crate::run::{self, Module};
use crate::said::Said;
use crate::spec::{RunSpec, TraceIds};

/// A loaded module, run as an executor runs it, without files and events.
#[allow(missing_debug_implementations, reason = "holds compiled code")]
pub struct InProcess {
    module: Module,
    spec: Arc<RunSpec>,
    devices: Devices,
}

impl InProcess {
    /// Compiles and links a task component.
    ///
    /// # Errors
    /// It is none, or does not compile.
    pub fn new(wasm: &[u8]) -> wasmtime::Result<Self> {
        let engine = Engine::pooled(Profile::Deterministic)?;
        let info = inspect(wasm)?;
        let component = Component::new(&engine.inner, wasm)?;
        let pre = host::linker(&engine.inner)?.instantiate_pre(&component)?;
        Ok(Self {
            module: Module::new(engine, pre, info),
            spec: Arc::new(RunSpec {
                module: PathBuf::new(),
                module_digest: String::new(),
                params: "{}".into(),
                seed: 0,
                inputs: Vec::new(),
                checkpoint: None,
                out_dir: PathBuf::new(),
                limits: Limits::default(),
                profile: Profile::Deterministic,
                gpu: false,
                gpu_class: None,
                tenant: String::new(),
                trace: TraceIds::default(),
            }),
            devices: Devices::default(),
        })
    }

    /// One run, and what it leaves wiped.
    pub fn run(&mut self) -> Outcome {
        let files = Files::new(&self.spec, Vec::new(), None);
        let ignore: EventSink = Box::new(|_| Ok(()));
        let told = (ignore, Said::default());
        let (outcome, remains) = run::run(&self.spec, &self.module, files, &mut self.devices, told);
        drop(remains);
        outcome
    }
}

/// The same module on wasmtime alone: a store, an instance from the same kind of pool, one call.
#[allow(missing_debug_implementations, reason = "holds compiled code")]
pub struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
    /// Looked up once, as a run has it.
    entry: ComponentExportIndex,
}

impl Bare {
    /// Compiles a component that imports nothing.
    ///
    /// # Errors
    /// It imports something, exports no `run`, or does not compile.
    pub fn new(wasm: &[u8]) -> wasmtime::Result<Self> {
        let engine = Engine::pooled(Profile::Deterministic)?;
        let component = Component::new(&engine.inner, wasm)?;
        let pre = Linker::new(&engine.inner).instantiate_pre(&component)?;
        let entry = component.get_export_index(None, "run");
        let entry = entry.ok_or_else(|| wasmtime::format_err!("it exports no `run`"))?;
        Ok(Self { engine, pre, entry })
    }

    /// One call of `run`.
    ///
    /// # Errors
    /// It traps.
    pub fn run(&self) -> wasmtime::Result<Result<String, String>> {
        let mut store = Store::new(&self.engine.inner, ());
        store.set_fuel(Limits::default().fuel)?;
        let instance = self.pre.instantiate(&mut store)?;
        let run =
            instance.get_typed_func::<(), (Result<String, String>,)>(&mut store, &self.entry)?;
        Ok(run.call(&mut store, ())?.0)
    }
}

/// An engine of the deterministic profile with parts of it left out, to see what they cost.
///
/// # Errors
/// The machine lacks something that the profile needs.
pub fn engine(fuel: bool, canonical_nans: bool) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config(Profile::Deterministic);
    config
        .consume_fuel(fuel)
        .cranelift_nan_canonicalization(canonical_nans);
    wasmtime::Engine::new(&config)
}
