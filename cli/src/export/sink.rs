//! Where exported lines go: plain, or as Zstandard frames that can each be read on their own.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};

/// Uncompressed bytes from which on a frame is closed: what an interruption costs at most, and large enough that
/// frames compress nearly as well as one stream.
pub(super) const FRAME_BYTES: usize = 4 * 1024 * 1024;
/// The level that Zstandard itself calls the default.
const LEVEL: i32 = 3;

/// Takes lines.
pub(super) struct Sink {
    to: Box<dyn Target>,
    /// Lines of the frame that is being filled; `None` where nothing is compressed.
    frame: Option<Vec<u8>>,
}

/// Something that can be written, and made durable.
trait Target: Write + Send {
    fn sync(&mut self) -> std::io::Result<()>;
}

impl Target for BufWriter<File> {
    fn sync(&mut self) -> std::io::Result<()> {
        self.flush()?;
        self.get_ref().sync_all()
    }
}

impl Target for BufWriter<std::io::Stdout> {
    fn sync(&mut self) -> std::io::Result<()> {
        self.flush()
    }
}

impl Sink {
    /// At the end of a file, which is made where it is missing.
    pub(super) fn append(file: &Path, zstd: bool) -> Result<Self> {
        let opened = OpenOptions::new().create(true).append(true).open(file);
        let opened = opened.with_context(|| format!("`{}` can't be written", file.display()))?;
        Ok(Self {
            to: Box::new(BufWriter::new(opened)),
            frame: zstd.then(Vec::new),
        })
    }

    pub(super) fn stdout(zstd: bool) -> Self {
        Self {
            to: Box::new(BufWriter::new(std::io::stdout())),
            frame: zstd.then(Vec::new),
        }
    }

    /// Takes a line with its line feed.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<()> {
        match &mut self.frame {
            None => self.to.write_all(line)?,
            Some(frame) => {
                frame.extend_from_slice(line);
                if frame.len() >= FRAME_BYTES {
                    self.close_frame()?;
                }
            }
        }
        Ok(())
    }

    fn close_frame(&mut self) -> Result<()> {
        let Some(frame) = self.frame.as_mut().filter(|frame| !frame.is_empty()) else {
            return Ok(());
        };
        let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
        // A damaged frame shows by itself.
        encoder.include_checksum(true)?;
        encoder.write_all(frame)?;
        self.to.write_all(&encoder.finish()?)?;
        frame.clear();
        Ok(())
    }

    /// Everything is written, and on the disk.
    pub(super) fn finish(mut self) -> Result<()> {
        self.close_frame()?;
        Ok(self.to.sync()?)
    }
}
