//! Objects as files: `<root>/<first two hex digits>/<digest>`.
//!
//! Written to `<root>/tmp` first, synced, renamed, and the folder synced: after a crash an object is there whole or
//! not at all. What a crash left in `tmp` is removed at start.

use std::{
    io::{ErrorKind, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use aevir_platform::digest::Digest;
use async_trait::async_trait;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};
use tokio_util::io::ReaderStream;

use super::{ByteStream, Object, ObjectStore, PutError, StoreError};

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Objects in a folder of a local file system.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
}

impl FileStore {
    /// Opens the store in `root`, making the folder where there is none.
    ///
    /// # Errors
    /// When the folder can't be made or written.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        let temporary = store.temporary();
        // Nobody writes into it before the store is open.
        match fs::remove_dir_all(&temporary).await {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(&temporary, e)),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(&temporary)
            .await
            .map_err(|e| failed(&temporary, e))?;
        sync_folder(&store.root).await?;
        Ok(store)
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(name)
    }
}

#[async_trait]
impl ObjectStore for FileStore {
    async fn put(
        &self,
        digest: Digest,
        size_max: u64,
        mut bytes: ByteStream,
    ) -> Result<u64, PutError> {
        let folder = self.temporary();
        // Removed when this future is dropped or fails.
        let temporary = tempfile::NamedTempFile::new_in(&folder).map_err(|e| failed(&folder, e))?;
        let at = |e| failed(temporary.path(), e);
        let mut file = File::from_std(temporary.as_file().try_clone().map_err(at)?);
        let (mut hash, mut size) = (Sha256::new(), 0u64);
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(PutError::Source)?;
            size += chunk.len() as u64;
            if size > size_max {
                return Err(PutError::TooLarge { size_max });
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(at)?;
        }
        let found = Digest(hash.finalize().into());
        if found != digest {
            return Err(PutError::Digest { found });
        }
        file.flush().await.map_err(at)?;
        file.sync_all().await.map_err(at)?;
        let path = self.path(digest);
        let parent = path.parent().unwrap_or(&self.root).to_owned();
        if fs::metadata(&parent).await.is_err() {
            fs::create_dir_all(&parent)
                .await
                .map_err(|e| failed(&parent, e))?;
            sync_folder(&self.root).await?;
        }
        temporary
            .persist(&path)
            .map_err(|e| failed(&path, e.error))?;
        sync_folder(&parent).await?;
        Ok(size)
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        let path = self.path(digest);
        match fs::metadata(&path).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(&path, e)),
        }
    }

    async fn get(
        &self,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StoreError> {
        let path = self.path(digest);
        let mut file = match File::open(&path).await {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(&path, e)),
        };
        let size = file.metadata().await.map_err(|e| failed(&path, e))?.len();
        let range = range.unwrap_or(0..size);
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start))
                .await
                .map_err(|e| failed(&path, e))?;
        }
        let limited = file.take(range.end.saturating_sub(range.start));
        let bytes = ReaderStream::with_capacity(limited, CHUNK_BYTES).boxed();
        Ok(Some(Object { size, bytes }))
    }

    async fn delete(&self, digest: Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path).await {
            Ok(()) => sync_folder(path.parent().unwrap_or(&self.root)).await,
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(failed(&path, e)),
        }
    }
}

/// Makes names in a folder durable.
async fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = async { File::open(folder).await?.sync_all().await };
    synced.await.map_err(|e| failed(folder, e))
}

fn failed(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File {
        at: path.display().to_string(),
        source,
    }
}
