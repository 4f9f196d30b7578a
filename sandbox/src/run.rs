//! One run, inside of the executor process: a store of its own, dropped at the end with all that the guest had.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use aevir_gpu::error::cut;
use aevir_gpu::{Devices, GpuError, Session};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lift};

use crate::classify::{classify, from_stop};
use crate::engine::Engine;
use crate::host::context::{Throttle, flush_progress};
use crate::host::files::Files;
use crate::host::wasi::{self, Exit};
use crate::host::{Counts, EventSink, Host, Stop};
use crate::inspect::{ModuleInfo, World};
use crate::limiter::Limiter;
use crate::limits::{CHUNK_BYTES_MAX, Limits};
use crate::outcome::{End, Outcome, RunEvent, TrapKind, Usage};
use crate::said::Said;
use crate::spec::RunSpec;

/// Bytes that a guest may hand over in one call: four chunks, so that who hands over a little too much gets the interface's answer. More ends
/// the run, before anything is copied.
pub(crate) const CALL_BYTES_MAX: usize = 4 * CHUNK_BYTES_MAX;
/// This process, asked for once: the question is a system call.
static PID: LazyLock<u32> = LazyLock::new(std::process::id);
/// Handles that wasmtime allows beyond the limit's own.
const SPARE_HANDLES: usize = 1024;

/// A compiled and linked module, ready to be instantiated.
pub(crate) struct Module {
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<Host>,
    pub(crate) info: ModuleInfo,
    /// The world's export, looked up once and not by each run.
    entry: Option<ComponentExportIndex>,
}

impl Module {
    pub(crate) fn new(engine: Engine, pre: InstancePre<Host>, info: ModuleInfo) -> Self {
        let component = pre.component();
        let outer = match info.world {
            World::Program => info.program_export(),
            World::Task | World::Check | World::Comparator => None,
        };
        let outer = outer.and_then(|name| component.get_export_index(None, name));
        Self {
            entry: component.get_export_index(outer.as_ref(), info.world.export()),
            engine,
            pre,
            info,
        }
    }
}

/// The limit that a module passes by what it declares, before a byte of it is loaded: a pool would refuse it in words of its own.
pub(crate) fn declared(info: &ModuleInfo, limits: &Limits) -> Option<End> {
    let rows = [
        (
            "instances",
            u64::from(info.instances),
            u64::from(limits.instances),
        ),
        ("memory", info.memory_bytes, limits.memory_bytes),
        ("table", info.table_elements, limits.table_elements),
    ];
    let passed = rows.into_iter().find(|(_, declared, max)| declared > max);
    passed.map(|(limit, _, value)| End::Limit {
        limit: limit.into(),
        value,
    })
}

/// What a run leaves: its store, with all that the guest had. Dropping it wipes and unmaps what the guest used, which nobody has to wait for who
/// waits for the outcome; do it before the next run.
#[must_use]
pub(crate) struct Remains {
    _store: Option<Store<Host>>,
}

/// Runs `spec` to its end, with a GPU from `devices` if it wants one. Does not watch the clock: the parent does.
pub(crate) fn run(
    spec: &Arc<RunSpec>,
    module: &Module,
    files: Files,
    devices: &mut Devices,
    (mut events, said): (EventSink, Said),
) -> (Outcome, Remains) {
    let failed = |text: String| (Outcome::host_error(text), Remains { _store: None });
    let gpu = if spec.gpu && module.info.wants_compute() {
        match devices.session(&spec.limits.gpu, spec.gpu_class.as_deref()) {
            Ok(session) => Some(Box::new(session)),
            Err(error) => return failed(error.to_string()),
        }
    } else {
        None
    };
    if let Err(error) = events(RunEvent::Started { pid: *PID }) {
        return failed(format!("the parent process is gone: {error}"));
    }
    let mut table = wasmtime::component::ResourceTable::new();
    table.set_max_capacity(spec.limits.handles as usize);
    let host = Host {
        spec: Arc::clone(spec),
        limiter: Limiter::new(&spec.limits),
        table,
        files,
        metrics: Default::default(),
        counts: Counts::default(),
        said,
        gpu,
        events,
        throttle: Throttle::default(),
        wasi: wasi::State::new(module.info.world == World::Program, spec.seed),
    };
    let (outcome, store) = execute(module, host);
    if store.data().gpu.is_none() {
        let _store = Some(store);
        return (outcome, Remains { _store });
    }
    // A driver can hang: while the parent watches the clock, then.
    if let Some(session) = store.into_data().gpu {
        devices.keep(*session);
    }
    (outcome, Remains { _store: None })
}

/// Runs the guest.
fn execute(module: &Module, host: Host) -> (Outcome, Store<Host>) {
    let started = Instant::now();
    let fuel = host.spec.limits.fuel;
    let result_bytes = host.spec.limits.result_bytes;
    let mut store = Store::new(&module.engine.inner, host);
    store.limiter(|host| &mut host.limiter);
    store.set_hostcall_fuel(CALL_BYTES_MAX);
    // Above the table's own limit, which has a name: borrowed handles count here as well.
    store.set_max_component_handles(store.data().spec.limits.handles as usize * 2 + SPARE_HANDLES);
    // Before instantiating: start functions run there.
    let called = match store.set_fuel(fuel) {
        Ok(()) => call(module, &mut store),
        Err(error) => Err(error),
    };
    let left = store.get_fuel().unwrap_or(0);
    let (mut end, mut result) = match called {
        Ok(Ok(result)) if result.len() > result_bytes as usize => (
            End::Limit {
                limit: "result".into(),
                value: result_bytes.into(),
            },
            None,
        ),
        Ok(Ok(result)) => (End::Ok, Some(result)),
        Ok(Err(text)) => (
            End::GuestError {
                text: cut(text, result_bytes as usize),
            },
            None,
        ),
        Err(error) => (classify(&error, fuel), None),
    };
    let host = store.data_mut();
    if let Some(gpu_end) = gpu_end(host, &end) {
        (end, result) = (gpu_end, None);
    }
    if let Err(stop) = flush_progress(host).and_then(|()| wasi::flush(host)) {
        (end, result) = (from_stop(stop), None);
    }
    let outcome = outcome(host, end, result, fuel.saturating_sub(left), started);
    (outcome, store)
}

fn outcome(
    host: &mut Host,
    end: End,
    result: Option<String>,
    fuel: u64,
    started: Instant,
) -> Outcome {
    let gpu = host.gpu.as_deref();
    let used = gpu.map(Session::usage).unwrap_or_default();
    let usage = Usage {
        fuel,
        wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        peak_memory_bytes: host.limiter.peak_memory_bytes(),
        gpu_dispatches: used.dispatches,
        gpu_workgroups: used.workgroups,
        gpu_bytes_in: used.bytes_in,
        gpu_bytes_out: used.bytes_out,
        gpu_time_ns: used.time_ns,
    };
    let mut outcome = Outcome::empty(end);
    outcome.usage = usage;
    if let Some(session) = gpu {
        outcome.trace_root = hex::encode(session.trace_root());
        outcome.adapter = Some(session.adapter().clone());
    }
    outcome.metrics = std::mem::take(&mut host.metrics).into_values().collect();
    outcome.log_lines_dropped = host.counts.log_lines_dropped;
    if outcome.end == End::Ok {
        outcome.result = result;
        outcome.outputs = host.files.finish();
    }
    outcome
}

/// Instantiates and calls the world's export.
fn call(module: &Module, store: &mut Store<Host>) -> wasmtime::Result<Result<String, String>> {
    let instance = module.pre.instantiate(&mut *store)?;
    let entry = module.entry.as_ref();
    let entry = entry.ok_or_else(|| Stop::Host("the module's entry is gone".into()))?;
    Ok(match module.info.world {
        World::Task => typed::<String>(&instance, store, entry)?,
        World::Check | World::Comparator => {
            typed::<bool>(&instance, store, entry)?.map(|verdict| verdict.to_string())
        }
        World::Program => program(&instance, store, entry)?,
    })
}

/// Calls `func() -> result<T, string>`.
fn typed<T>(
    instance: &wasmtime::component::Instance,
    store: &mut Store<Host>,
    entry: &ComponentExportIndex,
) -> wasmtime::Result<Result<T, String>>
where
    (Result<T, String>,): ComponentNamedList + Lift + Send + Sync + 'static,
{
    let function = instance.get_typed_func::<(), (Result<T, String>,)>(&mut *store, entry)?;
    let (result,) = function.call(&mut *store, ())?;
    Ok(result)
}

/// Calls a WASI program's entry. Its end by `exit` is an end like the other.
fn program(
    instance: &wasmtime::component::Instance,
    store: &mut Store<Host>,
    entry: &ComponentExportIndex,
) -> wasmtime::Result<Result<String, String>> {
    let function = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, entry)?;
    let code = match function.call(&mut *store, ()) {
        Ok((result,)) => u8::from(result.is_err()),
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(Exit(code)) => *code,
            None => return Err(error),
        },
    };
    let host = store.data_mut();
    wasi::flush(host)?;
    if code == 0 {
        return Ok(Ok(wasi::result(host)));
    }
    let said = match host.wasi.last_words() {
        "" => String::new(),
        text => format!(": {text}"),
    };
    Ok(Err(format!("the program exited with code {code}{said}")))
}

/// What the GPU says about the run, where it outweighs what the guest says: the guest may have ignored an error that makes
/// its results worthless, and where it failed right after a limit or the machine refused it something, it failed because of that: of a limit it
/// is the task's failure, of a device without memory or one that failed this machine's.
fn gpu_end(host: &mut Host, end: &End) -> Option<End> {
    let session = host.gpu.as_mut()?;
    let ended = match end {
        // An error, too, is an answer, whose work is metered; after a trap or a limit nobody waits.
        End::Ok | End::GuestError { .. } => session.finish().err(),
        _ => session.ended().cloned(),
    };
    let gave_up = matches!(
        end,
        End::GuestError { .. }
            | End::Trap {
                kind: TrapKind::Unreachable,
                ..
            }
    );
    let refused = || session.refused().filter(|_| gave_up).cloned();
    Some(match ended.or_else(refused)? {
        GpuError::Limit { limit, value }
        | GpuError::Timeout {
            limit,
            value_ms: value,
        } => End::Limit {
            limit: format!("gpu-{limit}"),
            value,
        },
        error @ (GpuError::DeviceLost(_) | GpuError::OutOfMemory | GpuError::Validation(_)) => {
            End::HostError {
                text: error.to_string(),
            }
        }
    })
}
