//! GPU work for `cargo xtask bench gpu`, which measures it from outside: a guest has no clock.
//!
//! Everything is made and computed once. Then each round is announced in the log (`begin`, `end`), computes the plan `repeat`
//! times, and reads the first words of its result after each time.

pub mod plan;

use aevir_guest::gpu::{Batch, Binding, Buffer, Kernel};
use aevir_guest::{Result, info};
use plan::Plan;
use serde::{Deserialize, Serialize};

/// The task's `params`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    work: Work,
    /// Rounds that are announced.
    rounds: u32,
    /// Computations of a round; for `stream`, chunks.
    repeat: u32,
    /// Dispatches of an `empty` batch.
    #[serde(default = "one")]
    dispatches: usize,
}

fn one() -> usize {
    1
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Work {
    Matmul,
    MatmulF16,
    Transformer,
    Empty,
    Stream,
}

/// The task's result.
#[derive(Debug, Serialize)]
pub struct Computed {
    /// The first words of the last result.
    words: Vec<u32>,
}

#[cfg(target_arch = "wasm32")]
aevir_guest::task!(run);

/// The task.
pub fn run(params: Params) -> Result<Computed> {
    let plan = match params.work {
        Work::Matmul => plan::matmul(),
        Work::MatmulF16 => plan::matmul_f16(),
        Work::Transformer => plan::transformer(),
        Work::Empty => plan::empty(params.dispatches),
        Work::Stream => plan::stream(),
    };
    let made = Made::new(&plan)?;
    let once = |repeat| match params.work {
        Work::Stream => made.stream(repeat),
        _ => made.compute(repeat),
    };
    let mut words = once(1)?;
    for _ in 0..params.rounds {
        info!("begin");
        words = once(params.repeat)?;
        info!("end");
    }
    Ok(Computed { words })
}

/// A plan's objects.
struct Made<'a> {
    plan: &'a Plan,
    kernels: Vec<Kernel>,
    buffers: Vec<Buffer<u32>>,
}

impl<'a> Made<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        let kernels = plan.kernels.iter();
        let kernels =
            kernels.map(|kernel| Kernel::with_constants(kernel.wgsl, "main", &kernel.constants));
        let buffers = plan.buffers.iter();
        let buffers = buffers.map(|buffer| match buffer.fill {
            plan::Fill::Zeroes => Buffer::new(buffer.words),
            _ => Buffer::from_slice(&plan::words(buffer)),
        });
        Ok(Self {
            plan,
            kernels: kernels.collect::<Result<_>>()?,
            buffers: buffers.collect::<Result<_>>()?,
        })
    }

    /// Submits the batch, and reads what came out, `repeat` times; the last result.
    fn compute(&self, repeat: u32) -> Result<Vec<u32>> {
        let (buffer, words) = self.plan.result;
        let mut result = Vec::new();
        for _ in 0..repeat {
            self.submit()?;
            result = self.buffers[buffer].read_range(0, words)?;
        }
        Ok(result)
    }

    fn submit(&self) -> Result<()> {
        let mut batch = Batch::new()?;
        for step in &self.plan.batch {
            let buffers: Vec<&dyn Binding> = step
                .buffers
                .iter()
                .map(|&buffer| &self.buffers[buffer] as &dyn Binding)
                .collect();
            batch.dispatch(&self.kernels[step.kernel], &buffers, step.groups)?;
        }
        batch.submit()
    }

    /// Sends `chunks` chunks in, through the kernel and out again; the first words of the last one.
    fn stream(&self, chunks: u32) -> Result<Vec<u32>> {
        let words = self.plan.result.1;
        let mut chunk = vec![0u32; words];
        let mut back = Vec::new();
        for number in 0..chunks {
            (chunk[0], chunk[words - 1]) = (number, !number);
            self.buffers[0].write(0, &chunk)?;
            self.submit()?;
            back = self.buffers[1].read_range(0, words)?;
            if back[0] != number.wrapping_add(1) || back[words - 1] != (!number).wrapping_add(1) {
                return Err(format!("chunk {number} came back wrong").into());
            }
        }
        back.truncate(4);
        Ok(back)
    }
}
