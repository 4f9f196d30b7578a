//! The environment of executor processes: little of this process's own, and the choice of a Vulkan driver.

use std::collections::BTreeMap;

use aevir_gpu::select_driver;

use super::ExecutorConfig;
use crate::child::{LOG_VAR, LogFormat};

/// Variables that a child inherits: what dynamic linking, temporary files, GPU drivers and their shader caches need.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "RUST_LOG",
    "RUST_BACKTRACE",
    LOG_VAR,
];
/// Prefixes of more such variables.
const INHERITED_PREFIXES: [&str; 5] = ["VK_", "MESA_", "NVIDIA_", "CUDA_", "LP_"];

/// What children inherit.
pub(crate) fn of(config: &ExecutorConfig) -> BTreeMap<String, String> {
    let choice = select_driver();
    tracing::debug!(reason = choice.reason, "Vulkan driver chosen");
    let is_inherited = |name: &str| {
        INHERITED.contains(&name)
            || INHERITED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let mut env: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_inherited(name))
        .collect();
    env.extend(choice.env);
    if let Some(format) = config.log {
        let format = match format {
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        };
        env.insert(LOG_VAR.into(), format.into());
    }
    env.extend(config.env.clone());
    env
}
