//! How many lines a run has logged, told past the socket: in a file of the process's own folder, which is there when the process was killed.
//! What it sent and nobody read, and what was left out, is counted by it.
//!
//! The file is mapped into the process, so that a line costs no system call: a guest can log millions a second.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::Path,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::{
    fcntl::{OFlag, open},
    libc,
    sys::stat::Mode,
};

/// The file's name.
const FILE: &str = "said";

/// The process's side.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// None where nobody looks.
    told: Option<Arc<Counter>>,
    lines: u64,
}

/// A number at the start of a file, most significant byte first: what is stored there is in the file at once, and stays when the process is
/// killed.
#[derive(Debug)]
struct Counter(NonNull<AtomicU64>);

// SAFETY: what it points to is shared by threads as any atomic number may be, and stays mapped until it is dropped.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

impl Counter {
    /// Bytes of the number, and of the mapping, which the system rounds up to a page.
    const BYTES: usize = size_of::<u64>();

    fn create(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        // Written and not only made so long: what is mapped has a block of the disk, and a full one fails here. Where the file system copies on
        // writing (btrfs, zfs) each page that it wrote back needs a new block: a disk that is full by then ends the process by SIGBUS, and its run
        // as the host's error, which says nothing of the module.
        file.write_all_at(&[0; Self::BYTES], 0)?;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that the system chooses touches no memory that there is. The file is open and not empty.
        let at = unsafe {
            let file = file.as_raw_fd();
            libc::mmap(
                ptr::null_mut(),
                Self::BYTES,
                rights,
                libc::MAP_SHARED,
                file,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped to nothing"))?;
        Ok(Self(at))
    }

    fn set(&self, number: u64) {
        // SAFETY: it points to eight mapped bytes at the start of a page, and every bit pattern is a number. Another process may change the
        // bytes: nothing but the number follows from them, and here nobody reads it.
        let number_told = unsafe { self.0.as_ref() };
        number_told.store(number.to_be(), Ordering::Relaxed);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // SAFETY: what `create` mapped, which nobody has any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::BYTES) };
    }
}

impl Said {
    /// In the folder of a process.
    pub(crate) fn in_folder(dir: &Path) -> io::Result<Self> {
        let told = Counter::create(&dir.join(FILE))?;
        Ok(Self {
            told: Some(Arc::new(told)),
            lines: 0,
        })
    }

    /// The same for the next run, which has said nothing.
    pub(crate) fn anew(&self) -> Self {
        let told = self.told.clone();
        let anew = Self { told, lines: 0 };
        anew.tell();
        anew
    }

    /// One more line.
    pub(crate) fn count(&mut self) {
        self.lines += 1;
        self.tell();
    }

    fn tell(&self) {
        if let Some(told) = &self.told {
            told.set(self.lines);
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
        let mut run = process.anew();
        (0..300).for_each(|_| run.count());
        assert_eq!(lines_in(folder.path()), 300);
        let mut next = process.anew();
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
        let file = folder.path().join(FILE);
        let opened = File::options().write(true).open(&file).unwrap();
        opened.set_len(1 << 40).unwrap();
        assert_eq!(lines_in(folder.path()), 1);
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert_eq!(lines_in(folder.path()), 0, "a link");
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        assert_eq!(lines_in(folder.path()), 0, "a pipe without an end");
    }

    /// A guest can log millions of lines a second: none of them costs a system call.
    #[test]
    fn counting_asks_the_system_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Said::in_folder(folder.path()).unwrap();
        let written = || {
            let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
            let line = io.lines().find_map(|line| line.strip_prefix("syscw: "));
            line.unwrap().parse::<u64>().unwrap()
        };
        let before = written();
        (0..10_000).for_each(|_| run.count());
        assert_eq!(written(), before);
        assert_eq!(lines_in(folder.path()), 10_000);
    }
}
