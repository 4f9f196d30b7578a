//! Reading the files: checked, in 32-bit little-endian words.

use aevir_guest::{Result, ensure};

/// Walks a file of 32-bit words; every step checks that the bytes are there.
#[derive(Debug)]
pub struct WordReader<'a> {
    rest: &'a [u8],
}

impl<'a> WordReader<'a> {
    /// Starts behind the magic and the format version, which have to be these.
    pub fn new(bytes: &'a [u8], magic: &[u8; 4], version: u32) -> Result<Self> {
        let name = magic.escape_ascii();
        ensure!(
            bytes.starts_with(magic),
            "this is no `{name}` file: its first four bytes differ"
        );
        let mut reader = Self {
            rest: &bytes[magic.len()..],
        };
        let found = reader.word()?;
        ensure!(
            found == version,
            "`{name}` version {found} is not supported, {version} is"
        );
        Ok(reader)
    }

    /// The next integer.
    pub fn word(&mut self) -> Result<u32> {
        Ok(self.words(1)?[0])
    }

    /// The next `count` integers.
    pub fn words(&mut self, count: usize) -> Result<Vec<u32>> {
        self.take(count).map(bytemuck::pod_collect_to_vec)
    }

    /// The next `count` numbers, all of them finite.
    pub fn floats(&mut self, count: usize) -> Result<Vec<f32>> {
        let floats: Vec<f32> = self.take(count).map(bytemuck::pod_collect_to_vec)?;
        ensure!(
            floats.iter().all(|x| x.is_finite()),
            "the file holds a number that is not finite"
        );
        Ok(floats)
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<()> {
        ensure!(
            self.rest.is_empty(),
            "the file has {} bytes too many",
            self.rest.len()
        );
        Ok(())
    }

    fn take(&mut self, words: usize) -> Result<&'a [u8]> {
        let len = words.saturating_mul(4);
        ensure!(len <= self.rest.len(), "the file is cut short");
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(taken)
    }
}

/// The product of sizes read from a file, refused where it overflows.
pub(crate) fn product(a: u32, b: u32) -> Result<usize> {
    let product = (a as usize).checked_mul(b as usize);
    Ok(product.ok_or("the file's sizes are too large")?)
}
