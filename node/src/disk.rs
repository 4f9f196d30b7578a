//! What lies on the disk of a node, part by part: for its operator, who allows so much for all of it together.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Bytes of a node's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    /// Of runs, and of the processes that they are in: outputs and checkpoints so far, and what is loaded
    /// of compiled modules that were removed since.
    pub runs: u64,
    /// Outputs of sealed results, until they are opened.
    pub sealed: u64,
    /// Of those, what belongs to no result any more: it could not be removed.
    pub left: u64,
    /// Modules and inputs that were fetched.
    pub blobs: u64,
    /// Compiled modules.
    pub compiled: u64,
}

impl DiskUsage {
    /// Of the node whose folder this is; nothing where there is none yet.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(data_dir: &Path) -> io::Result<Self> {
        let mut seen = HashSet::new();
        let mut bytes = |name: &str, deep: bool| bytes_in(&data_dir.join(name), deep, &mut seen);
        Ok(Self {
            left: left_in(&data_dir.join("sealed"))?,
            sealed: bytes("sealed", true)?,
            blobs: bytes("cache", true)?,
            // Before the processes, which link what they load.
            compiled: bytes("compiled", false)?,
            runs: bytes("runs", true)? + bytes("compiled/processes", true)?,
        })
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.runs + self.sealed + self.blobs + self.compiled
    }
}

/// Bytes of the folders beside which no result stands.
fn left_in(sealed: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in there(fs::read_dir(sealed))?.into_iter().flatten() {
        let path = entry?.path();
        if path.is_dir() && !path.with_extension("json").exists() {
            bytes += bytes_in(&path, true, &mut HashSet::new())?;
        }
    }
    Ok(bytes)
}

/// Bytes of all files in a folder, and of those further below where it goes `deep`, but for what was `seen` under another name. What goes
/// while it is counted counts nothing.
fn bytes_in(folder: &Path, deep: bool, seen: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in there(fs::read_dir(folder))?.into_iter().flatten() {
            let entry = entry?;
            let Some(file) = there(entry.metadata())? else {
                continue;
            };
            if file.is_dir() {
                folders.extend(deep.then(|| entry.path()));
            } else if seen.insert((file.dev(), file.ino())) {
                bytes += file.len();
            }
        }
    }
    Ok(bytes)
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_part_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(DiskUsage::of(folder.path()).unwrap(), DiskUsage::default());
        let parts = [
            ("runs/a/outputs", 1),
            ("sealed/b", 20),
            ("cache", 300),
            ("compiled", 4_000),
            ("compiled/processes/one/outputs", 2),
        ];
        for (name, bytes) in parts {
            let part = folder.path().join(name);
            fs::create_dir_all(&part).unwrap();
            fs::write(part.join("file"), vec![0; bytes]).unwrap();
        }
        let compiled = folder.path().join("compiled");
        fs::hard_link(compiled.join("file"), compiled.join("processes/one/linked")).unwrap();
        let usage = DiskUsage::of(folder.path()).unwrap();
        assert_eq!((usage.runs, usage.sealed, usage.blobs), (3, 20, 300));
        assert_eq!(usage.left, 20, "no result stands beside it");
        fs::write(folder.path().join("sealed/b.json"), "{}").unwrap();
        assert_eq!(DiskUsage::of(folder.path()).unwrap().left, 0);
        assert_eq!((usage.compiled, usage.total()), (4_000, 4_323));
    }
}
