//! `aevir doctor`: what this machine has for being a node, how executors are confined on it, and remedies.

use std::{
    collections::BTreeMap,
    ffi::CString,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use aevir_gpu::{AdapterInfo, GpuLimits, select_driver};
use aevir_node::DiskUsage;
use aevir_sandbox::{
    Applied, Confinement, End, Executor, ExecutorConfig, Limits, Profile, Role, RunSpec, TraceIds,
    Tuning,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    EXECUTOR,
    args::{Global, Output},
    output::{print, table},
};

const MIB: u64 = 1024 * 1024;
/// Least memory with which a node is of use: the default memory of a task, and as much again for the node and the system.
const MEMORY_MIB_MIN: u64 = 512;
/// Least room on the disk: the default outputs of a task, its inputs, and compiled modules.
const DISK_MIB_MIN: u64 = 2 * 1024;
/// A small module that does nothing when it is given no parameters.
const MODULE: &[u8] = include_bytes!("../../examples/modules/echo.wasm");
/// Events of its run that may wait.
const EVENTS_WAITING: usize = 16;
/// Open files of a node below which many inputs at once may fail.
const OPEN_FILES_MIN: u64 = 1_024;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The folder that a node would use.
    #[arg(long, env = "AEVIR_NODE_DATA")]
    data: Option<PathBuf>,
    /// One JSON document, for programs; the same as `--output json`.
    #[arg(long)]
    json: bool,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    /// As it should be.
    Good,
    /// A node works, with less than it could have.
    Warning,
    /// No node works.
    Bad,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    grade: Grade,
    /// What was found.
    found: String,
    /// What to do, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// The document.
#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
    /// What is in force in an executor, by role.
    confinement: Vec<Confinement>,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            grade: Grade::Good,
            found: found.into(),
            remedy: None,
        }
    }

    fn not(
        grade: Grade,
        name: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name,
            grade,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Looks; fails when no node could work here.
pub(crate) async fn doctor(args: DoctorArgs, global: &Global) -> Result<()> {
    let output = if args.json {
        Output::Json
    } else {
        global.output
    };
    let folder = args.data.unwrap_or_else(std::env::temp_dir);
    let mut checks = vec![cores(), memory(), disk(&folder)];
    checks.extend(node_files(&folder));
    checks.push(open_files());
    let mut confinement = Vec::new();
    // A node keeps everything below its folder, and so do the executors that are looked at here.
    match own_folder(&folder) {
        Ok(own) => look_at_executors(own.path(), &mut checks, &mut confinement).await?,
        Err(check) => checks.push(check),
    }
    let report = Report {
        checks,
        confinement,
    };
    print(output, &report, || report.table())?;
    let bad = report.checks.iter().find(|check| check.grade == Grade::Bad);
    match bad {
        None => Ok(()),
        Some(check) => bail!("this machine can't be a node yet: {}", check.found),
    }
}

/// A folder of this look's own, with a file in it: what a node needs to be able to do there.
fn own_folder(folder: &Path) -> Result<TempDir, Check> {
    let own = tempfile::Builder::new()
        .prefix("aevir-doctor-")
        .tempdir_in(folder);
    let written = own.and_then(|own| {
        std::fs::write(own.path().join("probe"), [0; 4096])?;
        Ok(own)
    });
    written.map_err(|error| {
        let found = format!("nothing can be written in `{}`: {error}", folder.display());
        let remedy =
            "name a folder that this user may write to, with --data (or TMPDIR, without it)";
        Check::not(Grade::Bad, "folder", found, remedy)
    })
}

/// Starts an executor of each role, and runs a module.
async fn look_at_executors(
    own: &Path,
    checks: &mut Vec<Check>,
    confinement: &mut Vec<Confinement>,
) -> Result<()> {
    let executor = Executor::tuned(
        ExecutorConfig {
            program: std::env::current_exe().context("this program's own file can't be found")?,
            args: vec![EXECUTOR.to_owned()],
            cache_dir: own.join("compiled"),
            env: BTreeMap::new(),
            log: None,
        },
        Tuning::one_run(),
    );
    for role in [Role::Cpu, Role::Compile, Role::Gpu] {
        checks.push(start(&executor, role, confinement).await);
    }
    if let Some(cpu) = confinement.iter().find(|known| known.role == Role::Cpu) {
        checks.push(pool(cpu));
    }
    checks.push(run(&executor, own).await);
    checks.extend(confinement.iter().map(confined));
    checks.push(gpu(&executor).await);
    executor.close().await;
    Ok(())
}

impl Report {
    fn table(&self) -> String {
        let rows = self.checks.iter().map(|check| {
            let grade = match check.grade {
                Grade::Good => "ok",
                Grade::Warning => "warn",
                Grade::Bad => "BAD",
            };
            [grade.to_owned(), check.name.to_owned(), check.found.clone()]
        });
        let mut text = table(["", "check", "found"], rows);
        let remedies = self
            .checks
            .iter()
            .filter_map(|check| Some(format!("{}: {}", check.name, check.remedy.as_ref()?)));
        let remedies: Vec<_> = remedies.collect();
        if !remedies.is_empty() {
            text += "\n\nWhat to do\n";
            text += &remedies.join("\n");
        }
        text
    }
}

fn cores() -> Check {
    match available_parallelism() {
        Ok(cores) => Check::good("cores", cores.to_string()),
        Err(error) => Check::not(
            Grade::Warning,
            "cores",
            format!("not known: {error}"),
            "the node says one; set `--slots` by what the machine has",
        ),
    }
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let Some(mib) = kib.map(|kib| kib / 1024) else {
        let remedy = "say how much runs may take with `aevir node --memory-mib`";
        return Check::not(Grade::Warning, "memory", "not known", remedy);
    };
    // What a control group bounds is not there for runs, however much the machine has.
    let mib = mib.min(aevir_node::offered_memory_mib().into());
    let found = format!("{mib} MiB available");
    if mib >= MEMORY_MIB_MIN {
        return Check::good("memory", found);
    }
    let remedy = format!(
        "at least {MEMORY_MIB_MIN} MiB are needed: end other programs, or offer less with `--memory-mib`"
    );
    Check::not(Grade::Warning, "memory", found, remedy)
}

fn disk(folder: &Path) -> Check {
    let Some(mib) = free_mib(folder) else {
        let found = format!("`{}` can't be looked at", folder.display());
        let remedy = "make the folder, or name another with --data";
        return Check::not(Grade::Bad, "disk", found, remedy);
    };
    let found = format!("{mib} MiB free in {}", folder.display());
    if mib >= DISK_MIB_MIN {
        return Check::good("disk", found);
    }
    let remedy = format!(
        "at least {DISK_MIB_MIN} MiB are needed for inputs, outputs and compiled modules: free some, or name another folder with --data"
    );
    Check::not(Grade::Warning, "disk", found, remedy)
}

/// What a node has in the folder, where there is one.
fn node_files(folder: &Path) -> Option<Check> {
    let usage = DiskUsage::of(folder).ok().filter(|of| of.total() > 0)?;
    let mib = |bytes: u64| bytes.div_ceil(MIB);
    let found = format!(
        "{} MiB: {} of runs, {} of sealed results, {} of modules and inputs, {} of compiled modules",
        mib(usage.total()),
        mib(usage.runs),
        mib(usage.sealed),
        mib(usage.blobs),
        mib(usage.compiled)
    );
    if usage.left > 0 {
        let remedy = format!(
            "{} MiB are of results that are done with and could not be removed: its log says why; remove the folders in `{}` beside which no file of the same name with `.json` stands",
            mib(usage.left),
            folder.join("sealed").display()
        );
        return Some(Check::not(Grade::Warning, "node's files", found, remedy));
    }
    Some(Check::good("node's files", found))
}

fn free_mib(folder: &Path) -> Option<u64> {
    let path = CString::new(folder.as_os_str().as_encoded_bytes()).ok()?;
    let found = nix::sys::statvfs::statvfs(path.as_c_str()).ok()?;
    Some(found.blocks_available() * found.fragment_size() / MIB)
}

fn open_files() -> Check {
    use nix::sys::resource::{Resource, getrlimit};
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft >= OPEN_FILES_MIN => {
            Check::good("open files", format!("up to {soft}"))
        }
        Ok((soft, hard)) => {
            let remedy = match hard >= OPEN_FILES_MIN {
                true => format!("raise it with `ulimit -n {}`", hard.min(4 * OPEN_FILES_MIN)),
                false => format!(
                    "the user may have no more than {hard}: have it raised to {} (`nofile` in /etc/security/limits.conf, or `LimitNOFILE=`)",
                    4 * OPEN_FILES_MIN
                ),
            };
            Check::not(
                Grade::Warning,
                "open files",
                format!("up to {soft}"),
                remedy,
            )
        }
        Err(error) => Check::not(
            Grade::Warning,
            "open files",
            error.to_string(),
            "set `ulimit -n 4096`",
        ),
    }
}

async fn start(executor: &Executor, role: Role, confinement: &mut Vec<Confinement>) -> Check {
    let name = match role {
        Role::Cpu => "executor",
        Role::Compile => "compiler",
        Role::Gpu => "executor with GPU",
    };
    match executor.try_start(role).await {
        Ok(started) => {
            confinement.push(started.confinement);
            let ms = started.took.as_secs_f64() * 1_000.0;
            Check::good(name, format!("starts in {ms:.1} ms"))
        }
        Err(error) => Check::not(
            Grade::Bad,
            name,
            error.to_string(),
            "this program must be able to start itself: look at its file's rights and at `noexec` of its file system",
        ),
    }
}

/// Compiles and runs a module, as a task would be.
async fn run(executor: &Executor, own: &Path) -> Check {
    const NAME: &str = "a run";
    let failed = |found: String| {
        Check::not(
            Grade::Bad,
            NAME,
            found,
            "no task would run here: allow more virtual memory (`ulimit -v unlimited`), more data (`ulimit -d unlimited`) and more open files",
        )
    };
    let (module, out_dir) = (own.join("module.wasm"), own.join("out"));
    let prepared = std::fs::write(&module, MODULE).and_then(|()| std::fs::create_dir(&out_dir));
    if let Err(error) = prepared {
        return failed(error.to_string());
    }
    let spec = RunSpec {
        module,
        module_digest: aevir_wire::digest(MODULE),
        profile: Profile::Deterministic,
        params: "{}".into(),
        seed: 0,
        inputs: Vec::new(),
        checkpoint: None,
        out_dir,
        limits: Limits::default(),
        gpu: false,
        gpu_class: None,
        tenant: String::new(),
        trace: TraceIds::default(),
    };
    let (events, mut said) = mpsc::channel(EVENTS_WAITING);
    let running = executor.run(spec, events, CancellationToken::new());
    let listening = async { while said.recv().await.is_some() {} };
    let (outcome, ()) = tokio::join!(running, listening);
    match outcome.end {
        End::Ok => Check::good(NAME, format!("ends well, in {} ms", outcome.usage.wall_ms)),
        End::HostError { text } => failed(text),
        end => failed(format!("a module that does nothing ended as {end:?}")),
    }
}

fn pool(confinement: &Confinement) -> Check {
    if confinement.pooled {
        return Check::good("address space", "enough for a pool of guest memories");
    }
    Check::not(
        Grade::Warning,
        "address space",
        "not enough for a pool of guest memories: runs start slower",
        "allow about 1.2 TiB of virtual memory (`ulimit -v unlimited`; no vm.overcommit_memory=2)",
    )
}

fn confined(confinement: &Confinement) -> Check {
    let name = match confinement.role {
        Role::Cpu => "confinement",
        Role::Compile => "confinement of the compiler",
        Role::Gpu => "confinement with GPU",
    };
    let parts = [
        ("seccomp", &confinement.seccomp),
        ("landlock", &confinement.landlock),
        ("capabilities dropped", &confinement.capabilities),
        ("first to go without memory", &confinement.oom_first),
    ];
    let words = parts.map(|(part, applied)| match applied {
        Applied::Full => format!("{part} in full"),
        Applied::Partly => format!("{part} in part"),
        Applied::Not(why) => format!("no {part} ({why})"),
    });
    let limits = match confinement.has_resource_limits() {
        true => "resource limits in full",
        false => "resource limits in part",
    };
    let found = format!("{}, {limits}", words.join(", "));
    if confinement.is_full() {
        return Check::good(name, found);
    }
    Check::not(
        Grade::Warning,
        name,
        found,
        "guests are still contained by WebAssembly; for the second wall use Linux 6.12 or newer with CONFIG_SECCOMP_FILTER, \
         and `landlock` in the kernel's `lsm=` list; in a container, allow the system calls seccomp and landlock_*",
    )
}

/// What a node is going to say of its adapter when it registers.
fn adapter_facts(adapter: &AdapterInfo) -> String {
    let speed = adapter
        .compute
        .map_or_else(String::new, |class| format!(" {class},"));
    let features = match &adapter.features[..] {
        [] => "nothing on request".to_owned(),
        names => format!("on request {}", names.join(", ")),
    };
    format!(
        "{} ({} MiB), driver {} {}, class {},{speed} {features}",
        adapter.name,
        adapter.memory_bytes / MIB,
        adapter.driver.trim(),
        adapter.driver_info,
        adapter.class,
    )
}

async fn gpu(executor: &Executor) -> Check {
    let driver = select_driver().reason;
    match executor.probe_gpu(&GpuLimits::default()).await {
        Ok(adapter) => Check::good("GPU", format!("{}; {driver}", adapter_facts(&adapter))),
        Err(error) => Check::not(
            Grade::Warning,
            "GPU",
            format!("{error} ({driver})"),
            "the node takes tasks without GPU only; install the GPU's Vulkan driver and the loader (Debian: libvulkan1), or \
             SwiftShader for a software one (`cargo xtask setup`)",
        ),
    }
}
