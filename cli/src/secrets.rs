//! Files that hold API keys: for their owner's eyes only.

use std::{io::Write as _, os::unix::fs::DirBuilderExt as _, path::Path};

use aevir_wire::Secret;
use anyhow::{Context, Result};

/// Makes a folder that only its owner can enter, so that everything in it is private. One that is there already keeps
/// its mode.
///
/// # Errors
/// When it can't be made.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Keeps a secret in a file that only its owner reads.
///
/// # Errors
/// When it can't be written.
pub(crate) fn write(path: &Path, secret: &Secret) -> Result<()> {
    let named = || format!("`{}` can't be written", path.display());
    let folder = path.parent().with_context(named)?;
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(named)?;
    writeln!(file, "{}", secret.expose()).with_context(named)?;
    file.as_file().sync_all().with_context(named)?;
    file.persist(path).with_context(named)?;
    Ok(())
}

/// Reads a kept secret; `None` where there is no file.
///
/// # Errors
/// When the file is there and can't be read.
pub(crate) fn read(path: &Path) -> Result<Option<Secret>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Secret::from_text(text.trim()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("`{}` can't be read", path.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        private_folder(&data).unwrap();
        let mode = std::fs::metadata(&data).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = data.join("you.key");
        assert_eq!(read(&path).unwrap(), None);
        let secret = Secret::new_key();
        write(&path, &secret).unwrap();
        assert_eq!(read(&path).unwrap(), Some(secret));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
