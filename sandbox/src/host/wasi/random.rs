//! `wasi:random`: bytes that follow from the run's seed, the same on every machine and in every replica. None of it is secret.

use sha2::{Digest, Sha256};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::host::{Answer, Host, Stop, charge, price};
use crate::limits::CHUNK_BYTES_MAX;

/// Before the seed in the generator's key, so that the bytes are not those of another use of the seed.
const LABEL: &[u8] = b"aevir wasi random 1";

type Store<'a> = StoreContextMut<'a, Host>;

/// SHA-256 in counter mode: block `i` is `SHA-256(label || seed || i)`, numbers in big-endian.
#[derive(Debug)]
pub(super) struct Random {
    seed: u64,
    next_block: u64,
    block: [u8; 32],
    /// Bytes of the block that were given out.
    used: usize,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            next_block: 0,
            block: [0; 32],
            used: 32,
        }
    }

    fn fill(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.used == self.block.len() {
                let block = Sha256::new()
                    .chain_update(LABEL)
                    .chain_update(self.seed.to_be_bytes())
                    .chain_update(self.next_block.to_be_bytes());
                self.block = block.finalize().into();
                self.next_block += 1;
                self.used = 0;
            }
            let n = bytes.len().min(self.block.len() - self.used);
            let (now, later) = bytes.split_at_mut(n);
            now.copy_from_slice(&self.block[self.used..self.used + n]);
            self.used += n;
            bytes = later;
        }
    }

    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}

/// Registers the interfaces. The insecure ones are the same: nobody can tell.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:random/random@0.2.12")?;
    i.func_wrap("get-random-bytes", |s: Store<'_>, (len,): (u64,)| {
        bytes(s, len)
    })?;
    i.func_wrap("get-random-u64", |s: Store<'_>, (): ()| number(s))?;
    let mut i = linker.instance("wasi:random/insecure@0.2.12")?;
    i.func_wrap(
        "get-insecure-random-bytes",
        |s: Store<'_>, (len,): (u64,)| bytes(s, len),
    )?;
    i.func_wrap("get-insecure-random-u64", |s: Store<'_>, (): ()| number(s))?;
    let mut i = linker.instance("wasi:random/insecure-seed@0.2.12")?;
    i.func_wrap("insecure-seed", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        let random = &mut s.data_mut().wasi.random;
        Ok(((random.number(), random.number()),))
    })
}

fn bytes(mut s: Store<'_>, len: u64) -> Answer<Vec<u8>> {
    charge(&mut s, price::CALL)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > CHUNK_BYTES_MAX {
        let text = format!("{len} random bytes in one call; at most {CHUNK_BYTES_MAX} are allowed");
        return Err(Stop::Interface(text).into());
    }
    charge(&mut s, price::RANDOM_BYTE * len as u64)?;
    let mut bytes = vec![0; len];
    s.data_mut().wasi.random.fill(&mut bytes);
    Ok((bytes,))
}

fn number(mut s: Store<'_>) -> Answer<u64> {
    charge(&mut s, price::CALL)?;
    Ok((s.data_mut().wasi.random.number(),))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{LABEL, Random};

    #[test]
    fn the_bytes_are_the_documented_ones_however_they_are_asked_for() {
        let block = |i: u64| -> [u8; 32] {
            let whole = [LABEL, &7_u64.to_be_bytes(), &i.to_be_bytes()].concat();
            Sha256::digest(whole).into()
        };
        let expected = [block(0), block(1), block(2)].concat();
        let mut random = Random::new(7);
        let mut bytes = Vec::new();
        for len in [1, 0, 30, 5, 32, 28] {
            let mut part = vec![0; len];
            random.fill(&mut part);
            bytes.extend(part);
        }
        assert_eq!(bytes, expected);
        assert_ne!(Random::new(8).number(), Random::new(7).number());
    }
}
