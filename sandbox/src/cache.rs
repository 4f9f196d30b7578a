//! Compiled modules on disk.
//!
//! Loading compiled code is as dangerous as running any native program, so only files that this host wrote are loaded: the
//! folder is readable by its owner alone, and each file begins with a digest over its key and its code that is checked before
//! anything else looks at it. A file that does not match is removed and made anew.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::engine::Engine;

/// Most bytes of all files together; the ones that were used longest ago go first.
pub const CACHE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Bytes of the digest before the code.
const DIGEST_BYTES: usize = 32;
/// The files' extension.
const EXTENSION: &str = "cwasm";

/// A folder of compiled modules.
#[derive(Debug, Clone)]
pub struct ModuleCache {
    dir: PathBuf,
}

impl ModuleCache {
    /// Uses `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The component `wasm`, whose SHA-256 is `digest`: from the cache, or compiled and kept. The second value says which
    /// (`true`: from the cache). A cache that can't be written is logged and otherwise ignored.
    ///
    /// # Errors
    /// The component does not compile.
    pub fn load(
        &self,
        engine: &Engine,
        wasm: &[u8],
        digest: &str,
    ) -> wasmtime::Result<(Component, bool)> {
        let key = format!("{digest}-{}", engine.compatibility());
        let path = self.dir.join(&key).with_extension(EXTENSION);
        if let Some(component) = read(engine, &key, &path) {
            return Ok((component, true));
        }
        let component = Component::new(&engine.inner, wasm)?;
        let code = component.serialize()?;
        if let Err(error) = self.write(&key, &path, &code) {
            tracing::warn!(path = %path.display(), %error, "a compiled module could not be kept");
        }
        Ok((component, false))
    }

    fn write(&self, key: &str, path: &Path, code: &[u8]) -> std::io::Result<()> {
        self.make_room(code.len() as u64)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&seal(key, code))?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// Removes old files until `bytes` more fit.
    fn make_room(&self, bytes: u64) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                let metadata = entry.metadata()?;
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((used, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total = files
            .iter()
            .fold(bytes, |sum, (_, len, _)| sum.saturating_add(*len));
        for (_, len, path) in files {
            if total <= CACHE_BYTES_MAX {
                break;
            }
            fs::remove_file(path)?;
            total -= len;
        }
        Ok(())
    }
}

fn seal(key: &str, code: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::new()
        .chain_update(key)
        .chain_update([0])
        .chain_update(code)
        .finalize()
        .into()
}

fn read(engine: &Engine, key: &str, path: &Path) -> Option<Component> {
    let bytes = fs::read(path).ok()?;
    let component = bytes
        .split_at_checked(DIGEST_BYTES)
        .and_then(|(digest, code)| {
            if digest != seal(key, code) {
                return None;
            }
            // SAFETY: the digest covers the code and names the module and the engine, so this host wrote it with `serialize`.
            unsafe { Component::deserialize(&engine.inner, code) }.ok()
        });
    match component {
        Some(_) => {
            // Marks the file as used; only the order of removal depends on it.
            let touched =
                fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
            if let Err(error) = touched {
                tracing::debug!(path = %path.display(), %error, "a compiled module could not be marked as used");
            }
        }
        None => {
            tracing::warn!(path = %path.display(), "a compiled module is damaged and is made anew");
            let _ = fs::remove_file(path);
        }
    }
    component
}
