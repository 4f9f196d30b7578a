//! Writing files so that a crash leaves the old one or the new one, never half of one.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

/// Replaces a file. It can be read by its owner only, for some of these files hold secrets.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("the file has no folder"))?;
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    File::open(folder)?.sync_all()
}

/// Puts a file in another one's place, in the same folder.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let folder = to
        .parent()
        .ok_or_else(|| io::Error::other("the file has no folder"))?;
    File::open(folder)?.sync_all()
}

/// Replaces a file by a JSON document.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec_pretty(value)?)
}

/// Reads a JSON document; `None` where there is no file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Bytes that the files of a folder take, which may be gone already.
pub(crate) fn bytes_in(folder: &Path) -> io::Result<u64> {
    let files = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        files => files?,
    };
    files.map(|file| Ok(file?.metadata()?.len())).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing temporary is left"
        );
    }

    #[test]
    fn what_is_missing_is_none_and_what_is_broken_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document");
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
        remove(&path).unwrap();
        fs::write(&path, "no json").unwrap();
        read_json::<u32>(&path).unwrap_err();
        write_json(&path, &7).unwrap();
        assert_eq!(read_json::<u32>(&path).unwrap(), Some(7));
    }
}
