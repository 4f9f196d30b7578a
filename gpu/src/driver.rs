//! Which Vulkan driver to load.
//!
//! The Vulkan loader reads the environment, so the choice is made before the process that uses it starts: the parent of an
//! executor sets [`DriverChoice::env`] on the child. The rules, first match wins:
//!
//! 1. `VK_DRIVER_FILES` or `VK_ICD_FILENAMES` is set: the user has chosen, nothing is changed.
//! 2. A GPU's device node exists (`/dev/nvidiactl`, `/dev/dri/renderD*`, `/dev/dxg`, `/dev/kfd`): the system's drivers, with
//!    SwiftShader added behind them (`VK_ADD_DRIVER_FILES`) for the case that none of them works.
//! 3. SwiftShader is set up in `$AEVIR_SWIFTSHADER` or `$HOME/.cache/aevir/swiftshader`: it alone. Other software drivers of
//!    the system are not even loaded; Debian's lavapipe gives wrong answers (see [`crate::probe`]).
//! 4. The system's default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Environment variable naming the folder that holds SwiftShader.
pub const SWIFTSHADER_DIR_VAR: &str = "AEVIR_SWIFTSHADER";
/// The folder under the home directory where setup puts SwiftShader.
pub const SWIFTSHADER_HOME_DIR: &str = ".cache/aevir/swiftshader";
/// SwiftShader's manifest in that folder.
const SWIFTSHADER_MANIFEST: &str = "vk_swiftshader_icd.json";
/// Device nodes that exist where a GPU's kernel driver is loaded.
const DEVICE_NODES: [&str; 3] = ["/dev/nvidiactl", "/dev/dxg", "/dev/kfd"];

/// How the driver was chosen, and what to set for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverChoice {
    /// Variables to set on the process that opens the GPU.
    pub env: BTreeMap<String, String>,
    /// One sentence for the log.
    pub reason: &'static str,
}

/// Chooses from this process's environment and devices.
#[must_use]
pub fn select_driver() -> DriverChoice {
    choose(
        |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
        has_device_node(),
    )
}

/// Where SwiftShader is looked for, given how to read the environment.
fn swiftshader_dir(var: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    var(SWIFTSHADER_DIR_VAR)
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(var("HOME")?).join(SWIFTSHADER_HOME_DIR)))
}

/// Where SwiftShader is looked for, as text for error messages.
pub(crate) fn swiftshader_place() -> String {
    swiftshader_dir(&|name| std::env::var(name).ok()).map_or_else(
        || format!("$HOME/{SWIFTSHADER_HOME_DIR}"),
        |dir| dir.display().to_string(),
    )
}

fn has_device_node() -> bool {
    let render_node = std::fs::read_dir("/dev/dri").is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("renderD"))
        })
    });
    render_node || DEVICE_NODES.iter().any(|node| Path::new(node).exists())
}

fn choose(var: impl Fn(&str) -> Option<String>, hardware: bool) -> DriverChoice {
    let mut env = BTreeMap::new();
    if var("XDG_RUNTIME_DIR").is_none() {
        // The loader and SwiftShader complain without one; nothing is kept there.
        env.insert(
            "XDG_RUNTIME_DIR".into(),
            std::env::temp_dir().display().to_string(),
        );
    }
    if var("VK_DRIVER_FILES").is_some() || var("VK_ICD_FILENAMES").is_some() {
        let reason = "the environment names the Vulkan driver";
        return DriverChoice { env, reason };
    }
    let manifest = swiftshader_dir(&var)
        .map(|dir| dir.join(SWIFTSHADER_MANIFEST))
        .filter(|path| path.is_file())
        .map(|path| path.display().to_string());
    let reason = match (hardware, manifest) {
        (true, Some(manifest)) => {
            env.insert("VK_ADD_DRIVER_FILES".into(), manifest);
            "the system's drivers, with SwiftShader behind them"
        }
        (true, None) => "the system's drivers",
        (false, Some(manifest)) => {
            // The loader of Debian 12 knows both names; older ones only the second.
            env.insert("VK_DRIVER_FILES".into(), manifest.clone());
            env.insert("VK_ICD_FILENAMES".into(), manifest);
            "no GPU's device node, so SwiftShader"
        }
        (false, None) => "no GPU's device node and no SwiftShader, so the system's default",
    };
    DriverChoice { env, reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::TempDir;

    use super::*;

    /// Chooses with the given variables; SwiftShader "is" this crate's folder when `installed`.
    fn with(vars: &[(&str, &str)], hardware: bool, installed: Option<&Path>) -> DriverChoice {
        choose(
            |name| {
                vars.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
                    .or_else(|| {
                        (name == SWIFTSHADER_DIR_VAR)
                            .then(|| installed.map(|dir| dir.display().to_string()))
                            .flatten()
                    })
            },
            hardware,
        )
    }

    /// A folder with SwiftShader's manifest in it.
    fn installed() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(SWIFTSHADER_MANIFEST), "{}").unwrap();
        dir
    }

    #[test]
    fn the_users_choice_stands() {
        let choice = with(
            &[("VK_ICD_FILENAMES", "/x.json")],
            true,
            Some(installed().path()),
        );
        assert!(!choice.env.keys().any(|key| key.starts_with("VK_")));
    }

    #[test]
    fn hardware_gets_swiftshader_behind_it() {
        let choice = with(&[], true, Some(installed().path()));
        assert!(choice.env.contains_key("VK_ADD_DRIVER_FILES"));
        assert!(!choice.env.contains_key("VK_DRIVER_FILES"));
    }

    #[test]
    fn without_hardware_swiftshader_stands_alone() {
        let choice = with(
            &[("XDG_RUNTIME_DIR", "/run/x")],
            false,
            Some(installed().path()),
        );
        let names: Vec<_> = choice.env.keys().map(String::as_str).collect();
        assert_eq!(names, ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]);
    }

    #[test]
    fn without_either_nothing_is_named() {
        let choice = with(&[], false, Some(Path::new("/nonexistent")));
        assert!(!choice.env.keys().any(|key| key.starts_with("VK_")));
    }
}
