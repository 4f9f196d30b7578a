//! The published log as files, with the paths that it has on the web.
//!
//! Written to `<root>/tmp` first, synced, renamed, and the folders synced: a file is there whole or not at all, and
//! what a checkpoint names is on the disk before the checkpoint is.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aevir_events::tlog::{TilePath, TileSource, TileStore, TileStoreError};
use async_trait::async_trait;
use tempfile::NamedTempFile;

/// Name of the newest checkpoint.
const CHECKPOINT: &str = "checkpoint";

/// A published log in a folder of a local file system.
#[derive(Debug, Clone)]
pub struct FileTiles {
    root: Arc<Path>,
    /// Folders whose names are on the disk for certain. One for each 256 tiles stays here.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

impl FileTiles {
    /// Opens the folder, making it where there is none.
    ///
    /// # Errors
    /// When it can't be made or written.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, TileStoreError> {
        let root: PathBuf = root.into();
        let tiles = Self {
            root: root.into(),
            durable: Arc::default(),
        };
        tiles
            .blocking(|root| {
                let temporary = root.join("tmp");
                // What a crash left there; nobody writes into it before the store is open.
                match fs::remove_dir_all(&temporary) {
                    Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                    Ok(()) | Err(_) => {}
                }
                fs::create_dir_all(&temporary)?;
                sync_folder(root)
            })
            .await?;
        Ok(tiles)
    }

    /// Runs file operations off the runtime's threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, TileStoreError> {
        let root = Arc::clone(&self.root);
        let done = tokio::task::spawn_blocking(move || work(&root)).await;
        done.unwrap_or_else(|e| Err(io::Error::other(e)))
            .map_err(|e| TileStoreError::failed(self.root.display().to_string(), e))
    }

    async fn read(&self, name: String) -> Result<Option<Vec<u8>>, TileStoreError> {
        self.blocking(move |root| match fs::read(root.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await
    }
}

#[async_trait]
impl TileSource for FileTiles {
    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, TileStoreError> {
        self.read(CHECKPOINT.to_owned()).await
    }

    async fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, TileStoreError> {
        self.read(path.to_string()).await
    }
}

#[async_trait]
impl TileStore for FileTiles {
    async fn put_tile(&self, path: TilePath, bytes: Vec<u8>) -> Result<(), TileStoreError> {
        let name = path.to_string();
        let durable = Arc::clone(&self.durable);
        let stored = self.blocking(move |root| {
            let path = root.join(&name);
            let parent = path.parent().unwrap_or(root);
            make_folders(root, parent, &durable)?;
            match written(root, &bytes)?.persist_noclobber(&path) {
                Ok(_) => sync_folder(parent).map(|()| true),
                Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {
                    // Whoever put it there may have died before its name was durable.
                    sync_folder(parent)?;
                    Ok(fs::read(&path)? == bytes)
                }
                Err(e) => Err(e.error),
            }
        });
        if stored.await? {
            Ok(())
        } else {
            let path = path.to_string();
            Err(TileStoreError::Conflict { path })
        }
    }

    async fn put_checkpoint(&self, note: &str) -> Result<(), TileStoreError> {
        let note = note.to_owned();
        self.blocking(move |root| {
            written(root, note.as_bytes())?.persist(root.join(CHECKPOINT))?;
            sync_folder(root)
        })
        .await
    }

    async fn remove_partials(&self, of: TilePath) -> Result<(), TileStoreError> {
        let durable = Arc::clone(&self.durable);
        self.blocking(move |root| {
            let folder = root.join(of.partials());
            lock(&durable).remove(&folder);
            match fs::remove_dir_all(folder) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                Ok(()) | Err(_) => Ok(()),
            }
        })
        .await
    }
}

/// A synced temporary file, removed unless it is persisted.
fn written(root: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(root.join("tmp"))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Makes a folder below `root` with its parents, each durable before the next. One that is there already may be what
/// a process left that died before it was durable, so each is synced once by every process.
fn make_folders(root: &Path, folder: &Path, durable: &Mutex<HashSet<PathBuf>>) -> io::Result<()> {
    if folder == root || (lock(durable).contains(folder) && folder.is_dir()) {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(root);
    make_folders(root, parent, durable)?;
    match fs::create_dir(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        Ok(()) | Err(_) => sync_folder(parent)?,
    }
    lock(durable).insert(folder.to_owned());
    Ok(())
}

fn lock(durable: &Mutex<HashSet<PathBuf>>) -> MutexGuard<'_, HashSet<PathBuf>> {
    durable.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
