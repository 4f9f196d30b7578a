//! How many lines a run has logged, told past the socket: in a file of the process's own folder, which is there when the process was killed.
//! What it sent and nobody read, and what was left out, is counted by it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

/// The file's name.
const FILE: &str = "said";

/// The process's side.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// None where nobody looks.
    file: Option<File>,
    lines: u64,
}

impl Said {
    /// In the folder of a process.
    pub(crate) fn in_folder(dir: &Path) -> io::Result<Self> {
        let file = File::create(dir.join(FILE))?;
        Ok(Self {
            file: Some(file),
            lines: 0,
        })
    }

    /// The same for the next run, which has said nothing.
    pub(crate) fn anew(&self) -> io::Result<Self> {
        let file = self.file.as_ref().map(File::try_clone).transpose()?;
        let anew = Self { file, lines: 0 };
        anew.tell()?;
        Ok(anew)
    }

    /// One more line.
    pub(crate) fn count(&mut self) {
        self.lines += 1;
        if let Err(error) = self.tell() {
            tracing::debug!(%error, "how many lines were logged can't be told");
        }
    }

    fn tell(&self) -> io::Result<()> {
        match &self.file {
            Some(file) => file.write_all_at(&self.lines.to_be_bytes(), 0),
            None => Ok(()),
        }
    }
}

/// How many lines the last run of a process logged, by the process's own word; none where it never said so.
pub(crate) fn lines_in(dir: &Path) -> u64 {
    let bytes = fs::read(dir.join(FILE)).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_runs_lines_are_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(lines_in(folder.path()), 0);
        let process = Said::in_folder(folder.path()).unwrap();
        assert_eq!(lines_in(folder.path()), 0);
        let mut run = process.anew().unwrap();
        (0..300).for_each(|_| run.count());
        assert_eq!(lines_in(folder.path()), 300);
        let mut next = process.anew().unwrap();
        assert_eq!(lines_in(folder.path()), 0);
        next.count();
        assert_eq!(lines_in(folder.path()), 1);
        Said::default().count();
    }
}
