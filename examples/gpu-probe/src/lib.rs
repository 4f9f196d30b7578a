//! The work by which a node shows the platform how fast its GPU is: values of which each takes as many multiply-adds as the others, and that
//! a server can compute again, some of them, without a GPU. What a value is says `values.wgsl`.

use aevir_guest::gpu::{Batch, Buffer, Kernel};
use aevir_guest::{Output, Result};
use serde::{Deserialize, Serialize};

/// Workgroups of a dispatch: on the slowest GPU of its class one takes a second at most.
const GROUPS: u32 = 1_024;
/// Values of a dispatch.
const VALUES: u32 = GROUPS * 64;
/// Words that are read at once.
const CHUNK: usize = 1 << 18;

/// What is to be computed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// 64 hex digits.
    seed: String,
    /// Dispatches, of 65,536 values each.
    dispatches: u32,
    /// Starts of each chain.
    starts: u32,
}

/// The values are the output `values`, four bytes each, little endian.
#[derive(Debug, Serialize)]
pub struct Computed {}

#[cfg(target_arch = "wasm32")]
aevir_guest::task!(run);

/// The task.
pub fn run(params: Params) -> Result<Computed> {
    let seed = words(&params.seed)?;
    let kernel = Kernel::new(include_str!("values.wgsl"), "main")?;
    let count = params.dispatches as usize * VALUES as usize;
    let values = Buffer::<u32>::new(count)?;
    for dispatch in 0..params.dispatches {
        let mut work = seed.to_vec();
        work.extend([dispatch * VALUES, params.starts]);
        let work = Buffer::from_slice(&work)?;
        let mut batch = Batch::new()?;
        batch.dispatch(&kernel, &[&work, &values], [GROUPS, 1, 1])?;
        batch.submit()?;
    }
    let mut output = Output::create("values")?;
    for begin in (0..count).step_by(CHUNK) {
        let words = values.read_range(begin, CHUNK.min(count - begin))?;
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        output.write(&bytes)?;
    }
    Ok(Computed {})
}

/// The seed's bytes as words, little endian.
fn words(seed: &str) -> Result<[u32; 8]> {
    let word = |n: usize| {
        let digits = seed.get(n * 8..n * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::swap_bytes)
    };
    let mut words = [0; 8];
    for (n, to) in words.iter_mut().enumerate() {
        *to = word(n).ok_or("the seed is 64 hex digits")?;
    }
    Ok(words)
}
