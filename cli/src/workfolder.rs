//! Where a command that runs modules by itself keeps its files: below the user's cache, in a folder that goes with the command. What a
//! command that was killed has left, the next one removes.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use aevir_sandbox::Folder;
use anyhow::{Context, Result};

/// A folder of the command's own, below `$XDG_CACHE_HOME/aevir` or `~/.cache/aevir`; below the system's temporary files where there is no home.
pub(crate) fn workfolder(prefix: &str) -> Result<Folder> {
    let parent = cache().unwrap_or_else(without_home).join("runs");
    if let Err(error) = Folder::sweep(&parent) {
        tracing::debug!(%error, "folders of earlier runs can't be looked for");
    }
    Folder::new(&parent, prefix).with_context(|| {
        format!(
            "no folder for the run's files can be made in `{}`; XDG_CACHE_HOME names another place",
            parent.display()
        )
    })
}

/// Where compiled modules are kept between calls; for this call only where there is no home.
pub(crate) fn compiled(folder: &Path) -> PathBuf {
    cache()
        .unwrap_or_else(|| folder.to_owned())
        .join("compiled")
}

fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    cache.map(|cache| cache.join("aevir"))
}

/// Named by the user, for whom alone it is made.
fn without_home() -> PathBuf {
    let user = fs::metadata("/proc/self").map_or(0, |own| own.uid());
    std::env::temp_dir().join(format!("aevir-{user}"))
}
