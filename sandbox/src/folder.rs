//! Folders that go with whoever made them.
//!
//! A folder is removed when its handle is dropped. Where that does not come to pass, because the process is killed, the next one that works beside it
//! removes it: each folder is locked as long as its maker lives. (A number of a process says nothing where several systems of processes share a
//! disk, as containers do.)

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use tempfile::TempDir;

/// A folder of this process's own.
#[derive(Debug)]
pub struct Folder {
    dir: TempDir,
    /// Open and locked: whoever finds the folder unlocked knows that nobody lives who would remove it. After the folder in this list, so
    /// that it is held until that is gone.
    _lock: File,
}

impl Folder {
    /// Makes one in `parent`, which is for such folders alone, locked before anybody else can look at it. For this user's eyes only.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        make_private(parent)?;
        let gate = File::open(parent)?;
        gate.lock_shared()?;
        let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        let lock = File::open(dir.path())?;
        lock.try_lock()?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Removes those in `parent` that nobody holds. Who is just making one is waited for. Nothing is there before the first was made.
    ///
    /// # Errors
    /// `parent` can't be read. A folder that can't be removed is left.
    pub fn sweep(parent: &Path) -> io::Result<()> {
        let gate = match File::open(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        gate.lock()?;
        for folder in fs::read_dir(parent)? {
            let path = folder?.path();
            let nobodys = File::open(&path).and_then(|lock| Ok(lock.try_lock()?));
            if nobodys.is_ok()
                && let Err(error) = fs::remove_dir_all(&path)
            {
                tracing::debug!(folder = %path.display(), %error, "an old folder can't be removed");
            }
        }
        Ok(())
    }
}

/// Makes a folder, and those above it, for this user alone.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn folders_are_removed_when_nobody_holds_them_and_not_before() {
        let parent = tempfile::tempdir().unwrap();
        Folder::sweep(&parent.path().join("none")).unwrap();
        let live = Folder::new(parent.path(), "run-").unwrap();
        fs::create_dir(live.path().join("code")).unwrap();
        // As a process leaves it that is killed, whatever number it had.
        let left = parent.path().join("1-left");
        fs::create_dir_all(left.join("outputs")).unwrap();
        Folder::sweep(parent.path()).unwrap();
        assert!(
            live.path().join("code").is_dir(),
            "one that lives was removed"
        );
        assert!(!left.exists(), "one that nobody holds was left");
        let path = live.path().to_owned();
        drop(live);
        assert!(!path.exists());
    }
}
