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
