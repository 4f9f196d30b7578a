//! How many lines a run has logged, told past the socket: in a file of the process's own folder, which is there when the process was killed.
//! What it sent and nobody read, and what was left out, is counted by it.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
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

/// How many lines the last run of a process logged, by the process's own word; none where it never said so. The process may have been taken
/// over: no more is read than the number, and nothing that could be waited for.
pub(crate) fn lines_in(dir: &Path) -> u64 {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let told = || {
        let file = File::from(open(&dir.join(FILE), flags, Mode::empty())?);
        let mut lines = [0; size_of::<u64>()];
        file.read_exact_at(&mut lines, 0)?;
        io::Result::Ok(u64::from_be_bytes(lines))
    };
    told().unwrap_or(0)
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

    #[test]
    fn a_process_that_was_taken_over_has_no_more_read_than_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Said::in_folder(folder.path()).unwrap();
        run.count();
        // More than there is memory for.
        run.file.as_ref().unwrap().set_len(1 << 40).unwrap();
        assert_eq!(lines_in(folder.path()), 1);
        let file = folder.path().join(FILE);
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert_eq!(lines_in(folder.path()), 0, "a link");
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        assert_eq!(lines_in(folder.path()), 0, "a pipe without an end");
    }
}
