//! Inputs and outputs: bytes in and out of the run, moved in chunks.

use crate::Result;
use crate::bindings::aevir::task::context;

/// The most bytes one call moves, by the interface; larger reads and writes are split.
pub const CHUNK_BYTES: usize = 8 << 20;

/// The chunk this crate moves at a time: copying is fastest at about this size.
const STEP_BYTES: usize = 1 << 20;

/// A declared input of the task.
#[derive(Debug)]
pub struct Input {
    raw: context::Input,
    size: u64,
}

impl Input {
    /// Opens the input that the task definition declares under `name`.
    pub fn open(name: &str) -> Result<Self> {
        let raw = context::Input::open(name)?;
        let size = raw.size();
        Ok(Self { raw, size })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to `len` bytes (at most [`CHUNK_BYTES`]) from `offset`; fewer only at the end.
    pub fn read_at(&self, offset: u64, len: u32) -> Result<Vec<u8>> {
        Ok(self.raw.read(offset, len)?)
    }

    /// The whole input. It has to fit the run's memory; walk [`chunks`](Self::chunks) where it may not.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let size =
            usize::try_from(self.size).map_err(|_| "the input is too large to read at once")?;
        let mut bytes = Vec::with_capacity(size);
        for chunk in self.chunks() {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    /// The input's bytes, in order, a chunk at a time.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        (0..self.size)
            .step_by(STEP_BYTES)
            .map(|offset| self.read_at(offset, STEP_BYTES as u32))
    }
}

impl Input {
    /// The first `len` bytes, or all if there are fewer.
    pub fn head(&self, len: u64) -> Result<Vec<u8>> {
        let len = len.min(self.size);
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let rest = len - bytes.len() as u64;
            bytes.extend(self.read_at(bytes.len() as u64, rest.min(STEP_BYTES as u64) as u32)?);
        }
        Ok(bytes)
    }

    /// The bytes from `offset` on as little-endian numbers.
    pub fn f32s_from(&self, offset: u64) -> Result<Vec<f32>> {
        self.words_from(offset, f32::from_le_bytes)
    }

    /// The bytes from `offset` on as little-endian numbers.
    pub fn u32s_from(&self, offset: u64) -> Result<Vec<u32>> {
        self.words_from(offset, u32::from_le_bytes)
    }

    fn words_from<T>(&self, offset: u64, word: fn([u8; 4]) -> T) -> Result<Vec<T>> {
        let Some(bytes) = self.size.checked_sub(offset) else {
            return Err(format!("the input has {} bytes and not {offset}", self.size).into());
        };
        if !bytes.is_multiple_of(4) {
            return Err(format!("{bytes} bytes are no whole numbers of four bytes").into());
        }
        let mut words = Vec::with_capacity((bytes / 4) as usize);
        // A step is a multiple of four, so no number is cut.
        for at in (offset..self.size).step_by(STEP_BYTES) {
            let chunk = self.read_at(at, STEP_BYTES as u32)?;
            words.extend(chunk.as_chunks().0.iter().map(|bytes| word(*bytes)));
        }
        Ok(words)
    }

    /// The input as a stream that can be sought in, for libraries that read files.
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            input: self,
            position: 0,
        }
    }
}

/// An [`Input`] as a stream. Give it a [`std::io::BufReader`] where reads are small: each is a call of the host.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    input: &'a Input,
    position: u64,
}

impl std::io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.position >= self.input.size {
            return Ok(0);
        }
        let len = buffer.len().min(STEP_BYTES) as u32;
        let bytes = self.input.read_at(self.position, len);
        let bytes = bytes.map_err(std::io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl std::io::Seek for Reader<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let position = sought(self.position, self.input.size, to);
        self.position = position.ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "a place before the beginning",
            )
        })?;
        Ok(self.position)
    }
}

/// Where a stream of `size` bytes that stands at `position` is after seeking; behind the end is allowed.
fn sought(position: u64, size: u64, to: std::io::SeekFrom) -> Option<u64> {
    match to {
        std::io::SeekFrom::Start(at) => Some(at),
        std::io::SeekFrom::Current(by) => position.checked_add_signed(by),
        std::io::SeekFrom::End(by) => size.checked_add_signed(by),
    }
}

/// An output of the task. It becomes a blob when the run returns.
#[derive(Debug)]
pub struct Output {
    raw: context::Output,
}

impl Output {
    /// Creates the output `name` (`[A-Za-z0-9._-]{1,64}`), which must be new in this run.
    pub fn create(name: &str) -> Result<Self> {
        Ok(Self {
            raw: context::Output::create(name)?,
        })
    }

    /// Appends any number of bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(STEP_BYTES) {
            self.raw.write(chunk)?;
        }
        Ok(())
    }
}

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(STEP_BYTES)];
        self.raw
            .write(bytes)
            .map_err(|error| std::io::Error::other(crate::Error::from(error)))?;
        Ok(bytes.len())
    }

    /// Nothing is held back.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::SeekFrom;

    use super::sought;

    #[test]
    fn seeking_is_that_of_files() {
        let rows = [
            (SeekFrom::Start(200), Some(200)),
            (SeekFrom::Current(-5), Some(5)),
            (SeekFrom::Current(-11), None),
            (SeekFrom::End(-100), Some(0)),
            (SeekFrom::End(1), Some(101)),
            (SeekFrom::End(-101), None),
            (SeekFrom::Current(i64::MAX), Some(10 + i64::MAX as u64)),
        ];
        for (to, expected) in rows {
            assert_eq!(sought(10, 100, to), expected, "{to:?}");
        }
    }
}
