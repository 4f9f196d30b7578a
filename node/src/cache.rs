//! Downloaded blobs, named by their digest, in a bounded folder. What a run uses is never evicted.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use aevir_wire::ClientError;
use sha2::{Digest as _, Sha256};

/// Bytes read at once while hashing a file.
const HASH_CHUNK_BYTES: usize = 1 << 20;

/// Why a blob can't be had.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("the cache's folder can't be used")]
    Io(#[from] io::Error),
    #[error("`{0}` is no digest")]
    NotADigest(String),
    #[error("it has {found} bytes, and {declared} were declared")]
    Size { declared: u64, found: u64 },
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A bounded store of verified files.
#[derive(Debug)]
pub struct BlobCache {
    folder: PathBuf,
    bytes_max: AtomicU64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    blobs: HashMap<String, Blob>,
    /// Counts uses, to know which blob was used last.
    clock: u64,
    /// One lock for each digest that is being fetched, so that it is fetched once.
    fetching: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

#[derive(Debug)]
struct Blob {
    size: u64,
    used: u64,
    pins: u32,
    /// Its bytes had its digest since this process started.
    verified: bool,
}

/// A blob that stays where it is for as long as this lives.
#[derive(Debug)]
pub struct Pinned {
    cache: Arc<BlobCache>,
    digest: String,
    path: PathBuf,
}

impl Pinned {
    /// Where its bytes are.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut index = self.cache.index();
        if let Some(blob) = index.blobs.get_mut(&self.digest) {
            blob.pins = blob.pins.saturating_sub(1);
        }
        self.cache.evict(&mut index);
    }
}

impl BlobCache {
    /// Opens the cache of a data folder. It grows to `bytes_max`, and beyond only for what runs hold.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn open(data_dir: &Path, bytes_max: u64) -> io::Result<Arc<Self>> {
        let folder = data_dir.join("cache");
        fs::create_dir_all(&folder)?;
        let mut found: Vec<(SystemTime, String, u64)> = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let meta = entry.metadata()?;
            if is_digest(&name) {
                found.push((meta.modified()?, name, meta.len()));
            } else {
                // A download that was cut short.
                fs::remove_file(entry.path())?;
            }
        }
        found.sort();
        let mut index = Index::default();
        for (_, digest, size) in found {
            index.clock += 1;
            let used = index.clock;
            index.blobs.insert(
                digest,
                Blob {
                    size,
                    used,
                    pins: 0,
                    verified: false,
                },
            );
        }
        let cache = Self {
            folder,
            bytes_max: AtomicU64::new(bytes_max),
            index: Mutex::new(Index::default()),
        };
        cache.evict(&mut index);
        *cache.index() = index;
        Ok(Arc::new(cache))
    }

    /// From now on it grows to so many bytes; what is above goes, but for what runs hold.
    pub(crate) fn set_bound(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.evict(&mut self.index());
    }

    /// A blob, from the folder or else by `download`, which writes it to the path it is given and checks its digest.
    ///
    /// # Errors
    /// When it can't be downloaded or is not what was declared.
    pub async fn fetch<F>(
        self: &Arc<Self>,
        digest: &str,
        size: u64,
        download: impl FnOnce(PathBuf) -> F,
    ) -> Result<Pinned, CacheError>
    where
        F: Future<Output = Result<u64, ClientError>>,
    {
        if !is_digest(digest) {
            return Err(CacheError::NotADigest(digest.to_owned()));
        }
        let path = self.folder.join(digest);
        let lock = Arc::clone(self.index().fetching.entry(digest.to_owned()).or_default());
        let _one_at_a_time = lock.lock().await;
        let held = match self.holds(digest, &path).await? {
            true => self.pin(digest),
            false => None,
        };
        let found = match held {
            Some(size) => size,
            None => {
                let found = download(path.clone()).await?;
                self.insert_pinned(digest, found);
                found
            }
        };
        self.index().fetching.remove(digest);
        let pinned = Pinned {
            cache: Arc::clone(self),
            digest: digest.to_owned(),
            path,
        };
        if found != size {
            return Err(CacheError::Size {
                declared: size,
                found,
            });
        }
        Ok(pinned)
    }

    /// Whether the blob is there and its bytes are right; checked once after a start, for disks fail.
    async fn holds(&self, digest: &str, path: &Path) -> io::Result<bool> {
        match self.index().blobs.get(digest) {
            None => return Ok(false),
            Some(blob) if blob.verified => return Ok(true),
            Some(_) => {}
        }
        let (file, expected) = (path.to_owned(), digest.to_owned());
        let right = tokio::task::spawn_blocking(move || {
            hash_file(&file).is_ok_and(|found| found == expected)
        });
        let right = right.await.map_err(io::Error::other)?;
        let mut index = self.index();
        if right {
            if let Some(blob) = index.blobs.get_mut(digest) {
                blob.verified = true;
            }
            return Ok(true);
        }
        tracing::warn!(digest, "a cached blob is damaged and is fetched again");
        index.blobs.remove(digest);
        Ok(false)
    }

    /// Pins a blob that is still there; answers its size.
    fn pin(&self, digest: &str) -> Option<u64> {
        let mut index = self.index();
        index.clock += 1;
        let used = index.clock;
        let blob = index.blobs.get_mut(digest)?;
        blob.used = used;
        blob.pins += 1;
        Some(blob.size)
    }

    /// The pin is the caller's, from here on: what makes room for it or for others does not throw it out.
    fn insert_pinned(&self, digest: &str, size: u64) {
        let mut index = self.index();
        index.clock += 1;
        let used = index.clock;
        let blob = Blob {
            size,
            used,
            pins: 1,
            verified: true,
        };
        index.blobs.insert(digest.to_owned(), blob);
        self.evict(&mut index);
    }

    /// Removes what was used least recently until the rest fits.
    fn evict(&self, index: &mut Index) {
        let mut total: u64 = index.blobs.values().map(|b| b.size).sum();
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        while total > bytes_max {
            let oldest = index
                .blobs
                .iter()
                .filter(|(_, b)| b.pins == 0)
                .min_by_key(|(_, b)| b.used);
            let Some((digest, size)) = oldest.map(|(d, b)| (d.clone(), b.size)) else {
                return;
            };
            if let Err(error) = fs::remove_file(self.folder.join(&digest)) {
                tracing::warn!(digest, %error, "a cached blob can't be removed");
            }
            index.blobs.remove(&digest);
            total -= size;
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let mut chunk = vec![0; HASH_CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&chunk[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn digest_of(bytes: &[u8]) -> String {
        aevir_wire::digest(bytes)
    }

    /// Fetches `bytes`; answers the pin and whether they were downloaded.
    async fn fetch(cache: &Arc<BlobCache>, bytes: &'static [u8]) -> (Pinned, bool) {
        let downloads = AtomicU32::new(0);
        let pinned = cache
            .fetch(&digest_of(bytes), bytes.len() as u64, |path| {
                downloads.fetch_add(1, Ordering::Relaxed);
                async move {
                    fs::write(path, bytes).unwrap();
                    Ok(bytes.len() as u64)
                }
            })
            .await
            .unwrap();
        assert_eq!(fs::read(pinned.path()).unwrap(), bytes);
        (pinned, downloads.into_inner() > 0)
    }

    #[tokio::test]
    async fn a_blob_is_downloaded_once_and_found_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(folder.path(), 100).unwrap();
        assert!(fetch(&cache, b"one").await.1);
        assert!(!fetch(&cache, b"one").await.1);
        drop(cache);
        let cache = BlobCache::open(folder.path(), 100).unwrap();
        assert!(!fetch(&cache, b"one").await.1);
    }

    #[tokio::test]
    async fn a_damaged_blob_is_downloaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(folder.path(), 100).unwrap();
        let path = fetch(&cache, b"one").await.0.path().to_owned();
        fs::write(path, b"0ne").unwrap();
        let cache = BlobCache::open(folder.path(), 100).unwrap();
        assert!(fetch(&cache, b"one").await.1);
    }

    #[tokio::test]
    async fn the_least_recently_used_blob_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(folder.path(), 8).unwrap();
        fetch(&cache, b"one").await;
        fetch(&cache, b"two").await;
        fetch(&cache, b"one").await;
        fetch(&cache, b"six").await;
        assert!(!fetch(&cache, b"one").await.1, "one was used after two");
        assert!(fetch(&cache, b"two").await.1, "two had to go");
    }

    #[tokio::test]
    async fn a_pinned_blob_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(folder.path(), 4).unwrap();
        let (one, _) = fetch(&cache, b"one").await;
        let (two, _) = fetch(&cache, b"two").await;
        assert!(one.path().exists() && two.path().exists());
        drop((one, two));
        let left = fs::read_dir(folder.path().join("cache")).unwrap().count();
        assert_eq!(left, 1, "once nobody needs them the bound holds");
    }

    #[tokio::test]
    async fn a_lower_bound_holds_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(folder.path(), 100).unwrap();
        let (held, _) = fetch(&cache, b"one").await;
        fetch(&cache, b"two").await;
        cache.set_bound(3);
        let there = || fs::read_dir(folder.path().join("cache")).unwrap().count();
        assert!(held.path().exists() && there() == 1);
        cache.set_bound(0);
        assert_eq!(there(), 1, "a run holds it");
        drop(held);
        assert_eq!(there(), 0);
    }

    #[tokio::test]
    async fn what_is_not_what_was_declared_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::open(folder.path(), 100).unwrap();
        let error = cache
            .fetch("../../etc/passwd", 1, |_| async { Ok(1) })
            .await
            .unwrap_err();
        assert!(matches!(error, CacheError::NotADigest(_)), "{error}");
        let error = cache
            .fetch(&digest_of(b"one"), 7, |path| async move {
                fs::write(path, b"one").unwrap();
                Ok(3)
            })
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                CacheError::Size {
                    declared: 7,
                    found: 3
                }
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn unfinished_downloads_are_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        fs::write(folder.path().join("cache/.tmpAbc"), b"half").unwrap();
        BlobCache::open(folder.path(), 100).unwrap();
        assert_eq!(
            fs::read_dir(folder.path().join("cache")).unwrap().count(),
            0
        );
    }
}
