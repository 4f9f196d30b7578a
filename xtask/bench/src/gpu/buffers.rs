//! What making and dropping buffers costs: a computation whose buffers are made for it and dropped after it, as guests make them that
//! compute layer by layer. A session makes them of the ones before; a program on wgpu has it make new ones.

use std::time::Instant;

use aevir_gpu::{Constant, Gpu, GpuLimits, Session};
use anyhow::{Result, ensure};

use super::{Bench, Pair, native::Native, plan};
use crate::figure::median;

/// Buffers of one computation.
pub(super) const BUFFERS: usize = 4;
/// What the last one begins with: each dispatch adds one to what the buffer before holds.
pub(super) const EXPECTED: u32 = BUFFERS as u32 - 1;
/// Bytes of each, and the name of the figure.
const SIZES: [(u64, &str); 3] = [
    (4 << 10, "buffers.4-kib"),
    (256 << 10, "buffers.256-kib"),
    (4 << 20, "buffers.4-mib"),
];
/// Computations of a round: a few tenths of a second.
const REPEAT: usize = 500;

/// Adds the figures.
pub(super) fn measure(bench: &mut Bench) -> Result<()> {
    for (bytes, name) in SIZES {
        bench.say(name);
        let plan = plan::stream();
        let native = Native::open(&plan)?;
        let limits = GpuLimits::default();
        let mut session = Session::new(Gpu::open(&limits)?, limits);
        let repeat = if bench.quick { REPEAT / 20 } else { REPEAT };
        let (mut ours, mut natives) = (Vec::new(), Vec::new());
        for _ in 0..bench.turns * bench.rounds {
            ours.push(session_round(&mut session, &plan, bytes, repeat)?);
            natives.push(native.with_new_buffers(bytes, repeat)?);
        }
        ensure!(session.reused_buffers() > 0, "no buffer was used again");
        let pair = Pair {
            guest_s: median(ours),
            native_s: median(natives),
        };
        bench.add_pair(name, pair, None);
    }
    Ok(())
}

/// Seconds of one computation.
fn session_round(
    session: &mut Session,
    plan: &plan::Plan,
    bytes: u64,
    repeat: usize,
) -> Result<f64> {
    let planned = &plan.kernels[0];
    let constants = planned.constants.iter().map(|&(name, value)| Constant {
        name: name.into(),
        value,
    });
    let constants: Vec<_> = constants.collect();
    let kernel = session.create_kernel(planned.wgsl, "main", &constants)?;
    let started = Instant::now();
    for _ in 0..repeat {
        let made = (0..BUFFERS).map(|_| session.create_buffer(bytes));
        let buffers = made.collect::<Result<Vec<_>, _>>()?;
        let mut batch = session.create_batch();
        for pair in buffers.windows(2) {
            batch.dispatch(&kernel, &[&pair[0], &pair[1]], [1, 1, 1])?;
        }
        session.submit(batch)?;
        let word = session.read(&buffers[BUFFERS - 1], 0, 4)?;
        ensure!(
            word == EXPECTED.to_le_bytes(),
            "a buffer did not begin as zero"
        );
    }
    Ok(started.elapsed().as_secs_f64() / repeat as f64)
}
