//! What an executor process gives up before it meets a guest: capabilities, resource limits, `landlock`, `seccomp`.
//!
//! The sandbox is WebAssembly; this is the second wall, for what a flaw in a compiler, a runtime or a driver might open. It is
//! applied by the process to itself, before it starts a thread and before it reads a request, and can't be taken back. By role:
//!
//! | | files | network | processes | devices |
//! | --- | --- | --- | --- | --- |
//! | run, CPU | reads its own code folder, writes its own folder; inputs come as open files | none | threads only | none |
//! | compile | none; module and artefact come as open files | none | threads only | none |
//! | run, GPU | also reads the system's libraries and the driver's files; shader caches in its own folder | none | threads only | GPUs' |
//!
//! Compilers stand back behind runs and servers where processors are short. No role has a capability, whoever started the node, and each is the first to be ended where the machine's memory runs out. What a
//! process really takes of it the parent watches ([`crate::watch`]).
//!
//! What stays open to a taken-over GPU executor is the driver and, through it, the kernel's GPU module; nothing here can close
//! that, which is why a GPU is offered per node and a device is never shared between requesters.
//!
//! A machine whose kernel lacks a part runs without it and says so: [`Confinement`] is in the executor's first message, in
//! `aevir doctor` and in the node's registration. Knows nothing of WebAssembly.

mod files;
mod privileges;
mod syscalls;

use std::{io, path::Path};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::limits::ceiling;

/// Open files: the most inputs and outputs together, and what a GPU driver opens.
const OPEN_FILES_MAX: u64 = 4_096;
/// Bytes that a GPU driver may lock into memory: the system's own default. Nothing else locks any.
const DRIVER_LOCKED_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How far compilers stand back behind what runs already, as `nice` counts it: beside a run a thread of one gets a quarter of a core. Less would let
/// a module that takes all the processor time it may ([`crate::limits::UPLOAD_CPU_S_MAX`]) pass the time by the clock
/// ([`crate::limits::COMPILE_MS_MAX`]) on a node that is busy.
const COMPILE_NICE: i32 = 5;
/// How many limits [`limit_resources`] sets.
const RESOURCE_LIMITS: usize = 6;

/// What an executor process is for. A process has one role for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs modules without a GPU.
    Cpu,
    /// Runs modules with one, and probes it.
    Gpu,
    /// Compiles modules.
    Compile,
}

impl Role {
    /// The name in the environment and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Compile => "compile",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Cpu, Self::Gpu, Self::Compile]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// How much of a part is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applied {
    /// All of it.
    Full,
    /// What this kernel can.
    Partly,
    /// Nothing, and why.
    Not(String),
}

/// What is in force in an executor process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The process's role.
    pub role: Role,
    /// The process and what it starts can't gain privileges.
    pub no_new_privileges: bool,
    /// Whether it is without capabilities.
    pub capabilities: Applied,
    /// Whether it is the first to be ended where the machine's memory runs out.
    pub oom_first: Applied,
    /// Which system calls are left; a call of another kills the process.
    pub seccomp: Applied,
    /// Which files, sockets and processes are in reach.
    pub landlock: Applied,
    /// Resource limits by their name in `getrlimit`'s manual; compilation has two more while it runs.
    pub resource_limits: Vec<(String, u64)>,
    /// Memories come from a pool that is zeroed between runs; `false` where the address space is too small for one.
    pub pooled: bool,
}

impl Confinement {
    /// What is known of a process that has not said anything yet.
    pub(crate) fn none(role: Role) -> Self {
        let unknown = || Applied::Not("the process has not said".into());
        Self {
            role,
            no_new_privileges: false,
            capabilities: unknown(),
            oom_first: unknown(),
            seccomp: unknown(),
            landlock: unknown(),
            resource_limits: Vec::new(),
            pooled: false,
        }
    }

    /// Whether every part is in force as far as the role allows.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let parts = [
            &self.capabilities,
            &self.oom_first,
            &self.seccomp,
            &self.landlock,
        ];
        self.no_new_privileges
            && self.has_resource_limits()
            && parts.into_iter().all(|part| *part == Applied::Full)
    }

    /// Whether every resource limit could be set.
    #[must_use]
    pub fn has_resource_limits(&self) -> bool {
        self.resource_limits.len() == RESOURCE_LIMITS
    }
}

/// Confines the calling thread and all that it will start, for good. `dir` is the process's own folder, with folders `code`,
/// `outputs` and `checkpoints`; `pooled` is reported as it is.
pub fn confine(role: Role, dir: &Path, pooled: bool) -> Confinement {
    if role == Role::Compile {
        warn("nice", privileges::give_way(COMPILE_NICE));
    }
    let resource_limits = limit_resources(role);
    let oom_first = privileges::volunteer_for_oom();
    let no_new_privileges = warn("no_new_privs", nix::sys::prctl::set_no_new_privs()).is_some();
    let capabilities = privileges::drop_capabilities();
    let landlock = files::restrict(role, dir);
    // Last: it forbids the calls that the others need.
    let seccomp = syscalls::restrict(role);
    let parts = [
        ("capabilities", &capabilities),
        ("oom_score_adj", &oom_first),
        ("landlock", &landlock),
        ("seccomp", &seccomp),
    ];
    for (part, applied) in parts {
        if *applied != Applied::Full {
            tracing::warn!(part, ?applied, "the executor is not fully confined");
        }
    }
    Confinement {
        role,
        no_new_privileges,
        capabilities,
        oom_first,
        seccomp,
        landlock,
        resource_limits,
        pooled,
    }
}

/// No core dumps (they would hold a tenant's data), no better priority than it has, bounds on open files, on the size of a file and on locked
/// memory. No `RLIMIT_AS` or `RLIMIT_DATA`: the pool and GPU drivers reserve far more than they use; a guest's memory is metered, and
/// what the process takes is watched.
fn limit_resources(role: Role) -> Vec<(String, u64)> {
    let files = getrlimit(Resource::RLIMIT_NOFILE)
        .map_or(OPEN_FILES_MAX, |(_, hard)| hard.min(OPEN_FILES_MAX));
    let locked = match role {
        Role::Cpu | Role::Compile => 0,
        Role::Gpu => getrlimit(Resource::RLIMIT_MEMLOCK)
            .map_or(DRIVER_LOCKED_BYTES_MAX, |(_, hard)| {
                hard.min(DRIVER_LOCKED_BYTES_MAX)
            }),
    };
    let rows: [_; RESOURCE_LIMITS] = [
        ("RLIMIT_CORE", Resource::RLIMIT_CORE, 0),
        ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK, locked),
        ("RLIMIT_NICE", Resource::RLIMIT_NICE, 0),
        ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO, 0),
        ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE, files),
        (
            "RLIMIT_FSIZE",
            Resource::RLIMIT_FSIZE,
            ceiling::OUTPUT_BYTES,
        ),
    ];
    let set = rows.into_iter().filter_map(|(name, resource, value)| {
        warn(name, setrlimit(resource, value, value))?;
        Some((name.to_owned(), value))
    });
    set.collect()
}

/// Bounds what compiling may take; called between confinement and the first look at the module.
///
/// # Errors
/// The system grants this process less, by a limit of its own that is not to be raised; which one.
pub(crate) fn limit_compilation(cpu_s: u64, memory_bytes: u64) -> io::Result<()> {
    // A second between the two, so that the first signal, which says what happened, is the one that ends it.
    let limits = [
        ("RLIMIT_CPU", Resource::RLIMIT_CPU, cpu_s, cpu_s + 1),
        (
            "RLIMIT_DATA",
            Resource::RLIMIT_DATA,
            memory_bytes,
            memory_bytes,
        ),
    ];
    for (name, resource, soft, hard) in limits {
        setrlimit(resource, soft, hard).map_err(|error| {
            let kind = io::Error::from(error).kind();
            let text = format!(
                "{name} can't be set to {soft}, for this process was given less (`ulimit -H`, the service's limits): {error}"
            );
            io::Error::new(kind, text)
        })?;
    }
    Ok(())
}

fn warn(what: &str, result: nix::Result<()>) -> Option<()> {
    result
        .inspect_err(|error| tracing::warn!(what, %error, "a limit could not be set"))
        .ok()
}
