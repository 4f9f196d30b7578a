//! The artefact store: compiled modules on disk, by what they were compiled from and for.
//!
//! Loading compiled code is as dangerous as running any native program, so an executor is only ever given a file that a compiler
//! process of this host wrote into a folder that is open to its user alone, and whose bytes still have the SHA-256 that they
//! had then. That is checked once, when this process first sees the file, and again when its inode, size or time of change is another: a
//! run must not hash megabytes. A run also never reads the WebAssembly that an artefact was made from.
//!
//! Layout: `KEY.json` (what the module is, and the digest of its code) beside `DIGEST.cwasm` (the code). The JSON file is
//! written last and replaced as a whole, and says in its seal for which key it was written, so no mixture of old and new, and no file under
//! another's name, passes. Whatever does not pass is removed and made anew.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::inspect::ModuleInfo;
use crate::ipc::CodeId;

/// Most bytes of all artefacts together, and of one. Of the requester whose artefacts take most the one goes first that was used longest ago:
/// nobody's modules drive out everybody's.
pub const CACHE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Whose the artefacts are that no run of this process has used.
const NOBODY: &str = "";
/// The files' extensions.
const CODE: &str = "cwasm";
const ENTRY: &str = "json";
/// How much older than now an entry's time of use may be before it is set again: setting it at each run would be a write each.
const USED_RESOLUTION: Duration = Duration::from_secs(60);
/// Age at which a file that is being written is taken for one that a crash left.
const ABANDONED_AGE: Duration = Duration::from_secs(3_600);
/// Most bytes of an entry's JSON: a module with the most imports that pass inspection takes a fraction.
const ENTRY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A folder of compiled modules.
#[derive(Debug)]
pub struct ArtefactStore {
    dir: PathBuf,
    bytes_max: u64,
    /// Bytes that all together may take now; and what they took when they were counted last.
    bound: AtomicU64,
    held: AtomicU64,
    /// Whose run each was made for, or, of those that an earlier process made, who used it first since. Those that nobody used are nobody's.
    owners: Mutex<HashMap<String, String>>,
    next_id: AtomicU64,
    known: Mutex<HashMap<String, Artefact>>,
    compiling: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Compiled code that was verified.
#[derive(Debug, Clone)]
pub(crate) struct Artefact {
    pub(crate) id: CodeId,
    pub(crate) path: PathBuf,
    pub(crate) info: Arc<ModuleInfo>,
    stamp: Stamp,
    used: SystemTime,
}

/// What tells a changed file from the one that was verified, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// What one requester has.
#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    /// What can be removed, with its bytes; what was used longest ago comes first.
    oldest: VecDeque<(String, u64)>,
}

/// The JSON file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    info: ModuleInfo,
    code: String,
    /// SHA-256 over the key and the fields above.
    seal: String,
}

impl Entry {
    fn new(key: &str, info: ModuleInfo, code: String) -> Self {
        let seal = seal(key, &info, &code);
        Self { info, code, seal }
    }

    fn is_for(&self, key: &str) -> bool {
        self.seal == seal(key, &self.info, &self.code)
    }
}

fn seal(key: &str, info: &ModuleInfo, code: &str) -> String {
    let info = serde_json::to_vec(info).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [key.as_bytes(), code.as_bytes(), &info] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

impl ArtefactStore {
    /// Uses `dir`, which is made if it is missing, for at most `bytes_max` bytes.
    ///
    /// # Errors
    /// The folder can't be made or read.
    pub fn open(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // It may have been there with other rights.
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let store = Self {
            dir: dir.to_owned(),
            bytes_max,
            bound: AtomicU64::new(bytes_max),
            held: AtomicU64::new(0),
            owners: Mutex::default(),
            next_id: AtomicU64::new(0),
            known: Mutex::default(),
            compiling: Mutex::default(),
        };
        store.sweep()?;
        store.make_room(0, NOBODY)?;
        Ok(store)
    }

    /// From now on all artefacts together may take so many bytes, and not more than when the store was opened. Those that a run is about to
    /// load stay. Answers how many they take.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn set_bound(&self, bytes: u64) -> io::Result<u64> {
        let bytes = bytes.min(self.bytes_max);
        self.bound.store(bytes, Ordering::Relaxed);
        if self.bytes_held() > bytes {
            self.make_room(0, NOBODY)?;
        }
        Ok(self.bytes_held())
    }

    /// Bytes that all artefacts took when they were counted last.
    pub fn bytes_held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Who uses an artefact that is nobody's has it from then on.
    pub(crate) fn claim(&self, key: &str, owner: &str) {
        let mut owners = locked(&self.owners);
        if !owners.contains_key(key) {
            owners.insert(key.to_owned(), owner.to_owned());
        }
    }

    /// The key of a module under an engine.
    pub(crate) fn key(module_digest: &str, compatibility: &str) -> String {
        format!("{module_digest}-{compatibility}")
    }

    /// The lock under which `key` is compiled: whoever waited for it finds the artefact.
    pub(crate) fn lock(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut compiling = locked(&self.compiling);
        // Nobody waits for those that only the map holds.
        compiling.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(compiling.entry(key.to_owned()).or_default())
    }

    /// The artefact, if it was verified before and its file is the same; costs one look at the file.
    pub(crate) fn get_known(&self, key: &str) -> Option<Artefact> {
        let mut known = locked(&self.known);
        let artefact = known.get_mut(key)?;
        let unchanged = fs::symlink_metadata(&artefact.path)
            .is_ok_and(|metadata| Stamp::of(&metadata) == artefact.stamp);
        if !unchanged {
            known.remove(key);
            return None;
        }
        let now = SystemTime::now();
        if now
            .duration_since(artefact.used)
            .is_ok_and(|age| age > USED_RESOLUTION)
        {
            artefact.used = now;
            mark_used(&self.entry_path(key));
        }
        Some(artefact.clone())
    }

    /// The artefact, if there is one that passes; reads and hashes it. One that does not pass is removed.
    pub(crate) fn verify(&self, key: &str) -> Option<Artefact> {
        let entry_path = self.entry_path(key);
        let bytes = match fs::metadata(&entry_path) {
            Ok(metadata) if metadata.len() <= ENTRY_BYTES_MAX => fs::read(&entry_path).ok()?,
            Ok(_) => Vec::new(),
            Err(_) => return None,
        };
        let entry = serde_json::from_slice::<Entry>(&bytes)
            .ok()
            .filter(|entry| entry.is_for(key));
        let verified = entry.and_then(|entry| {
            let path = self.code_path(&entry.code);
            let (stamp, digest) = hash_file(&path).ok()?;
            (digest == entry.code).then_some((path, stamp, entry.info))
        });
        let Some((path, stamp, info)) = verified else {
            tracing::warn!(path = %entry_path.display(), "a compiled module is damaged and is made anew");
            self.discard(key);
            return None;
        };
        mark_used(&entry_path);
        Some(self.remember(key, path, stamp, info))
    }

    /// A file to write an artefact to.
    pub(crate) fn begin(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.dir)
    }

    /// Keeps what was written to `file`, for a run of `owner`'s.
    pub(crate) fn keep(
        &self,
        (key, owner): (&str, &str),
        info: ModuleInfo,
        file: NamedTempFile,
    ) -> io::Result<Artefact> {
        let (_, code) = hash_file(file.path())?;
        let bytes = file.as_file().metadata()?.len();
        if bytes > self.bytes_max {
            let max = self.bytes_max;
            let text = format!("compiled code of {bytes} bytes; at most {max} are kept");
            return Err(io::Error::other(text));
        }
        self.make_room(bytes, owner)?;
        let path = self.code_path(&code);
        file.persist(&path)?;
        let entry = Entry::new(key, info.clone(), code);
        let mut written = NamedTempFile::new_in(&self.dir)?;
        written.write_all(&serde_json::to_vec(&entry)?)?;
        written.as_file().sync_all()?;
        written.persist(self.entry_path(key))?;
        let stamp = Stamp::of(&fs::symlink_metadata(&path)?);
        self.claim(key, owner);
        Ok(self.remember(key, path, stamp, info))
    }

    /// Forgets an artefact and removes its files.
    pub(crate) fn discard(&self, key: &str) {
        locked(&self.owners).remove(key);
        let known = locked(&self.known).remove(key);
        let entry_path = self.entry_path(key);
        let entry = fs::read(&entry_path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
        let code = known
            .map(|artefact| artefact.path)
            .or_else(|| Some(self.code_path(&entry?.code)));
        // A file that is not there is as good as removed.
        let _ = fs::remove_file(entry_path);
        if let Some(code) = code.filter(|path| path.starts_with(&self.dir)) {
            let _ = fs::remove_file(code);
        }
    }

    /// The same where it was known already: whoever is about to load it is known by what the map holds.
    fn remember(&self, key: &str, path: PathBuf, stamp: Stamp, info: ModuleInfo) -> Artefact {
        let mut known = locked(&self.known);
        let same = known.get(key);
        if let Some(same) = same.filter(|same| same.stamp == stamp && same.path == path) {
            return same.clone();
        }
        let artefact = Artefact {
            id: CodeId(self.next_id.fetch_add(1, Ordering::Relaxed)),
            path,
            info: Arc::new(info),
            stamp,
            used: SystemTime::now(),
        };
        known.insert(key.to_owned(), artefact.clone());
        artefact
    }

    fn entry_path(&self, key: &str) -> PathBuf {
        self.dir.join(key).with_extension(ENTRY)
    }

    fn code_path(&self, digest: &str) -> PathBuf {
        // From a file that may be damaged: nothing but a digest becomes a path.
        let digest: String = digest.chars().filter(char::is_ascii_hexdigit).collect();
        self.dir.join(digest).with_extension(CODE)
    }

    /// Removes artefacts until `bytes` more of `owner`'s fit: of whoever has most then the one that was used longest ago. What is being
    /// written is not counted: each file is, when its turn comes.
    fn make_room(&self, bytes: u64, owner: &str) -> io::Result<()> {
        let (mut total, keys) = self.kept()?;
        total = total.saturating_add(bytes);
        let bound = self.bound.load(Ordering::Relaxed);
        if total > bound {
            let mut holders = self.holders(keys);
            holders.entry(owner.to_owned()).or_default().bytes += bytes;
            while total > bound {
                let removable = holders.values_mut().filter(|held| !held.oldest.is_empty());
                let Some(most) = removable.max_by_key(|held| held.bytes) else {
                    break;
                };
                if let Some((key, bytes)) = most.oldest.pop_front() {
                    self.discard(&key);
                    most.bytes = most.bytes.saturating_sub(bytes);
                    total = total.saturating_sub(bytes);
                }
            }
        }
        self.held.store(total, Ordering::Relaxed);
        Ok(())
    }

    /// The bytes of all files that are kept, and each artefact's key with its time of use.
    fn kept(&self) -> io::Result<(u64, Vec<(SystemTime, String)>)> {
        let mut keys = Vec::new();
        let mut total = 0_u64;
        for file in fs::read_dir(&self.dir)? {
            let file = file?;
            let path = file.path();
            let is_kept = [CODE, ENTRY]
                .iter()
                .any(|kept| path.extension().is_some_and(|e| e == *kept));
            let Ok(metadata) = file.metadata() else {
                continue; // removed meanwhile
            };
            if !is_kept {
                continue;
            }
            total = total.saturating_add(metadata.len());
            if let Some(key) = key_of(&path) {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                keys.push((used, key));
            }
        }
        keys.sort();
        Ok((total, keys))
    }

    /// What each requester has of these artefacts. Those that a run is about to load can't be removed.
    fn holders(&self, keys: Vec<(SystemTime, String)>) -> BTreeMap<String, Held> {
        let mut owners = locked(&self.owners);
        let there: HashSet<&String> = keys.iter().map(|(_, key)| key).collect();
        owners.retain(|key, _| there.contains(key));
        let known = locked(&self.known);
        let in_use = |key: &String| {
            let artefact = known.get(key);
            artefact.is_some_and(|artefact| Arc::strong_count(&artefact.info) > 1)
        };
        let mut holders: BTreeMap<String, Held> = BTreeMap::new();
        for (_, key) in keys {
            let owner = owners.get(&key).map_or(NOBODY, String::as_str);
            let held = holders.entry(owner.to_owned()).or_default();
            let bytes = self.bytes_of(&key);
            held.bytes = held.bytes.saturating_add(bytes);
            if !in_use(&key) {
                held.oldest.push_back((key, bytes));
            }
        }
        holders
    }

    fn bytes_of(&self, key: &str) -> u64 {
        let entry = self.entry_path(key);
        let code = fs::read(&entry)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok())
            .map(|entry| self.code_path(&entry.code));
        let len = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        len(entry) + code.map_or(0, len)
    }

    /// Removes code that no entry names and files that a crash left in the middle of their writing.
    fn sweep(&self) -> io::Result<()> {
        let mut named = Vec::new();
        let mut others = Vec::new();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            match key_of(&path) {
                Some(_) => {
                    let entry = fs::read(&path)
                        .ok()
                        .and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
                    named.extend(entry.map(|entry| self.code_path(&entry.code)));
                }
                None => others.push(path),
            }
        }
        for path in others {
            let old = fs::metadata(&path)
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED_AGE));
            if old && path.is_file() && !named.contains(&path) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

/// The key of an entry's file.
fn key_of(path: &Path) -> Option<String> {
    let is_entry = path.extension().is_some_and(|extension| extension == ENTRY);
    is_entry.then(|| Some(path.file_stem()?.to_str()?.to_owned()))?
}

/// Sets the time of use; only the order of removal depends on it.
fn mark_used(entry: &Path) {
    let touched = File::open(entry).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %entry.display(), %error, "a compiled module could not be marked as used");
    }
}

/// The digest of a plain file, and the stamp that it had before it was read.
fn hash_file(path: &Path) -> io::Result<(Stamp, String)> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok((Stamp::of(&metadata), hex::encode(hash.finalize())))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
