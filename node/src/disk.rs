//! What lies on the disk of a node, part by part: for its operator, who allows so much for all of it together.

use std::{fs, io, path::Path};

/// Bytes of a node's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUsage {
    /// Of runs: outputs and checkpoints so far.
    pub runs: u64,
    /// Outputs of sealed results, until they are opened.
    pub sealed: u64,
    /// Modules and inputs that were fetched.
    pub blobs: u64,
    /// Compiled modules, and what executors have linked of them and write.
    pub compiled: u64,
}

impl DiskUsage {
    /// Of the node whose folder this is; nothing where there is none yet.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(data_dir: &Path) -> io::Result<Self> {
        let bytes = |name: &str| bytes_below(&data_dir.join(name));
        Ok(Self {
            runs: bytes("runs")?,
            sealed: bytes("sealed")?,
            blobs: bytes("cache")?,
            compiled: bytes("compiled")?,
        })
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.runs + self.sealed + self.blobs + self.compiled
    }
}

/// Bytes of all files below a folder; what goes while it is counted counts nothing.
fn bytes_below(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_part_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(DiskUsage::of(folder.path()).unwrap(), DiskUsage::default());
        for (name, bytes) in [("runs/a/outputs", 1), ("sealed/b", 20), ("cache", 300)] {
            let part = folder.path().join(name);
            fs::create_dir_all(&part).unwrap();
            fs::write(part.join("file"), vec![0; bytes]).unwrap();
        }
        let usage = DiskUsage::of(folder.path()).unwrap();
        assert_eq!((usage.runs, usage.sealed, usage.blobs), (1, 20, 300));
        assert_eq!((usage.compiled, usage.total()), (0, 321));
    }
}
