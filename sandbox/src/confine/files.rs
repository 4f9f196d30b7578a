//! Landlock: the files, sockets and processes that a role can reach.

use std::io::Read;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
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
const PLAIN_DEVICES: [&str; 4] = ["/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];
/// How the names of GPUs' device nodes in `/dev` begin.
const GPU_DEVICES: [&str; 5] = ["dri", "dxg", "kfd", "nvidia", "udmabuf"];
/// Variables that name manifests, or folders of them, that the Vulkan loader reads.
const MANIFEST_VARS: [&str; 3] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];
/// Most bytes of a manifest that is looked into: they have a few hundred.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

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
        // Plain files and folders: neither devices nor pipes nor sockets.
        let scratch = write
            | AccessFs::ReadDir
            | AccessFs::MakeDir
            | AccessFs::RemoveFile
            | AccessFs::RemoveDir
            | AccessFs::Refer;
        rules = rules
            .add_rules(path_beneath_rules(DRIVER_READS, read))?
            .add_rules(path_beneath_rules(named_folders(), AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(named_drivers(), AccessFs::ReadFile))?
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

/// What the environment names as drivers: manifests and folders.
fn named() -> impl Iterator<Item = PathBuf> {
    let lists = MANIFEST_VARS.into_iter().filter_map(std::env::var_os);
    lists.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>())
}

/// The folders among them, to be listed.
fn named_folders() -> Vec<PathBuf> {
    named().filter(|path| path.is_dir()).collect()
}

/// Their manifests, and the libraries that these name with the libraries beside them. Nothing else that lies in the same folder, which may be
/// a user's home, is the driver's.
fn named_drivers() -> Vec<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) = named().partition(|path| path.is_dir());
    let is_json = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    };
    let inside = folders
        .iter()
        .flat_map(|folder| files_in(folder))
        .filter(is_json);
    let manifests: Vec<_> = files.into_iter().chain(inside).collect();
    let libraries = manifests.iter().filter_map(|manifest| library(manifest));
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(".so") || name.contains(".so."))
    };
    let mut found: Vec<_> = libraries
        .flat_map(|library| {
            let beside = library.parent().map(files_in).unwrap_or_default();
            beside.into_iter().filter(is_library).chain([library])
        })
        .collect();
    found.extend(manifests);
    found.sort();
    found.dedup();
    found
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect()
}

/// The library that a manifest names, by the loader's rules: a path is taken from the manifest's folder on, a bare name is looked for where
/// libraries are, which is open anyway.
fn library(manifest: &Path) -> Option<PathBuf> {
    let mut text = String::new();
    let file = std::fs::File::open(manifest).ok()?;
    file.take(MANIFEST_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    let content: serde_json::Value = serde_json::from_str(&text).ok()?;
    let path = content.pointer("/ICD/library_path")?.as_str()?;
    path.contains('/')
        .then(|| Some(manifest.parent()?.join(path)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_manifest_names_its_library_by_the_loaders_rules() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("icd.json");
        for (path, expected) in [
            ("./libvk.so", Some(folder.path().join("./libvk.so"))),
            ("/opt/libvk.so", Some(PathBuf::from("/opt/libvk.so"))),
            ("libvk.so", None),
        ] {
            fs::write(
                &manifest,
                format!(r#"{{"ICD": {{"library_path": "{path}"}}}}"#),
            )
            .unwrap();
            assert_eq!(library(&manifest), expected, "{path}");
        }
        fs::write(&manifest, "{").unwrap();
        assert_eq!(library(&manifest), None);
    }
}
