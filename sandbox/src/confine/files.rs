//! Landlock: the files, sockets and processes that a role can reach.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Applied, Role};
use crate::host::files::{CHECKPOINTS_DIR, OUTPUTS_DIR};
use crate::process::{CODE_DIR, DRIVER_DIR};

/// The newest version of landlock whose rights are asked for; older kernels give what they have.
const ABI_WANTED: ABI = ABI::V6;
/// What a GPU driver and the Vulkan loader read: libraries, their configuration, and what the kernel says of devices. Neither other
/// processes nor users' files nor passwords are among it.
const DRIVER_READS: [&str; 29] = [
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/nix/store",
    "/run/opengl-driver",
    "/sys",
    "/etc/OpenCL",
    "/etc/alternatives",
    "/etc/drirc",
    "/etc/egl",
    "/etc/glvnd",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/nvidia",
    "/etc/vulkan",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/thread-self",
    "/proc/version",
];
/// Device nodes that are no GPU's and are harmless.
const PLAIN_DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/random",
    "/dev/shm",
    "/dev/urandom",
    "/dev/zero",
];
/// How the names of GPUs' device nodes in `/dev` begin.
const GPU_DEVICES: [&str; 5] = ["dri", "dxg", "kfd", "nvidia", "udmabuf"];
/// Variables that name files, or lists of files, that the Vulkan loader reads; libraries lie beside the manifests.
const MANIFEST_VARS: [&str; 3] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];
/// Restricts the calling thread.
pub(super) fn restrict(role: Role, dir: &Path) -> Applied {
    match try_restrict(role, dir) {
        Ok(RulesetStatus::FullyEnforced) => Applied::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Applied::Partly,
        Ok(RulesetStatus::NotEnforced) => Applied::Not("the kernel has no landlock".into()),
        Err(error) => Applied::Not(error.to_string()),
    }
}

fn try_restrict(role: Role, dir: &Path) -> Result<RulesetStatus, landlock::RulesetError> {
    // A file is made for writing and reading; what is read is the run's own.
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_WANTED))?
        .handle_access(AccessNet::from_all(ABI_WANTED))?
        .scope(Scope::from_all(ABI_WANTED))?
        .create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // What is not there is left out.
    match role {
        Role::Compile => {}
        Role::Cpu | Role::Gpu => {
            rules = rules
                .add_rules(path_beneath_rules([dir.join(CODE_DIR)], AccessFs::ReadFile))?
                .add_rules(path_beneath_rules(
                    [dir.join(OUTPUTS_DIR), dir.join(CHECKPOINTS_DIR)],
                    write,
                ))?;
        }
    }
    if role == Role::Gpu {
        let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
        let scratch = AccessFs::from_all(ABI_WANTED) & !BitFlags::from(AccessFs::Execute);
        rules = rules
            .add_rules(path_beneath_rules(DRIVER_READS, read))?
            .add_rules(path_beneath_rules(manifest_folders(), read))?
            .add_rules(path_beneath_rules(devices(), device))?
            .add_rules(path_beneath_rules([dir.join(DRIVER_DIR)], scratch))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// The device nodes of GPUs, and a few plain ones.
fn devices() -> Vec<PathBuf> {
    let is_gpus = |name: &str| GPU_DEVICES.iter().any(|prefix| name.starts_with(prefix));
    let found = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let gpus = found.filter(|entry| entry.file_name().to_str().is_some_and(is_gpus));
    let plain = PLAIN_DEVICES.iter().map(PathBuf::from);
    gpus.map(|entry| entry.path()).chain(plain).collect()
}

/// The folders of the drivers that the environment names.
fn manifest_folders() -> Vec<PathBuf> {
    let lists = MANIFEST_VARS.iter().filter_map(std::env::var_os);
    let files = lists.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>());
    let mut folders: Vec<_> = files
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect();
    folders.sort();
    folders.dedup();
    folders
}
