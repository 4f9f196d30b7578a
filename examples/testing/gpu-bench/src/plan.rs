//! What is computed, as plain data, so that a guest and a native program compute the very same.
//!
//! Knows neither the guest interface nor wgpu.

/// A kernel: its source, and values of its `override` constants. The entry point is `main`.
#[derive(Clone, Debug)]
pub struct KernelPlan {
    pub wgsl: &'static str,
    pub constants: Vec<(&'static str, f64)>,
}

/// A buffer: its size in words, and what it holds at the start.
#[derive(Clone, Debug)]
pub struct BufferPlan {
    pub words: usize,
    pub fill: Fill,
}

/// What a buffer holds at the start.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    Zeroes,
    /// Numbers spread evenly over -scale..scale, drawn with this seed.
    Uniform {
        seed: u32,
        scale: f32,
    },
    /// The same, two halves in a word.
    UniformF16 {
        seed: u32,
        scale: f32,
    },
}

/// One dispatch of a batch.
#[derive(Clone, Debug)]
pub struct DispatchPlan {
    pub kernel: usize,
    pub buffers: Vec<usize>,
    pub groups: [u32; 3],
}

/// Everything that is made once, and the batch that is computed again and again.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kernels: Vec<KernelPlan>,
    pub buffers: Vec<BufferPlan>,
    pub batch: Vec<DispatchPlan>,
    /// The buffer that is read after each batch, and how many words of it.
    pub result: (usize, usize),
    /// Floating point operations of the batch.
    pub flops: f64,
}

const LINEAR: &str = include_str!("linear.wgsl");
const LINEAR_F16: &str = include_str!("linear_f16.wgsl");
const ATTENTION: &str = include_str!("attention.wgsl");
const NORM: &str = include_str!("norm.wgsl");
const EMPTY: &str = include_str!("empty.wgsl");
const ADD: &str = include_str!("add.wgsl");

/// Rows and columns of the tile that a workgroup of a linear layer computes.
const TILE: usize = 64;
/// Words that are read back of a result: enough to compare, too few to take time.
const RESULT_WORDS: usize = 256;

/// The side of the matrices.
pub const SIDE: usize = 1024;
/// The shape of all-MiniLM-L6-v2, on half of its longest text.
const TOKENS: usize = 128;
const WIDTH: usize = 384;
const HEADS: usize = 12;
const INNER: usize = 4 * WIDTH;
const LAYERS: usize = 6;
/// Bytes of a chunk of a stream.
pub const CHUNK_BYTES: usize = 1 << 20;

impl Plan {
    fn new() -> Self {
        Self {
            kernels: Vec::new(),
            buffers: Vec::new(),
            batch: Vec::new(),
            result: (0, RESULT_WORDS),
            flops: 0.0,
        }
    }

    fn buffer(&mut self, words: usize, fill: Fill) -> usize {
        self.buffers.push(BufferPlan { words, fill });
        self.buffers.len() - 1
    }

    fn kernel(&mut self, wgsl: &'static str, constants: &[(&'static str, usize)]) -> usize {
        self.kernels.push(KernelPlan {
            wgsl,
            constants: constants
                .iter()
                .map(|&(name, value)| (name, value as f64))
                .collect(),
        });
        self.kernels.len() - 1
    }

    fn dispatch(&mut self, kernel: usize, buffers: &[usize], groups: [usize; 3]) {
        self.batch.push(DispatchPlan {
            kernel,
            buffers: buffers.to_vec(),
            groups: groups.map(|n| n as u32),
        });
    }

    /// A linear layer for `rows` x `inner` times `inner` x `columns`; with GELU after it if asked.
    fn linear_kernel(&mut self, rows: usize, inner: usize, columns: usize, gelu: bool) -> usize {
        self.kernel(
            LINEAR,
            &[
                ("ROWS", rows),
                ("INNER", inner),
                ("COLUMNS", columns),
                ("GELU", gelu.into()),
            ],
        )
    }

    fn linear(
        &mut self,
        kernel: usize,
        [x, w, b, y]: [usize; 4],
        [rows, inner, columns]: [usize; 3],
    ) {
        self.dispatch(kernel, &[x, w, b, y], [columns / TILE, rows / TILE, 1]);
        self.flops += 2.0 * (rows * inner * columns) as f64;
    }
}

/// The product of two matrices of [`SIDE`].
pub fn matmul() -> Plan {
    let mut plan = Plan::new();
    let kernel = plan.linear_kernel(SIDE, SIDE, SIDE, false);
    let a = plan.buffer(
        SIDE * SIDE,
        Fill::Uniform {
            seed: 1,
            scale: 1.0,
        },
    );
    let b = plan.buffer(
        SIDE * SIDE,
        Fill::Uniform {
            seed: 2,
            scale: 1.0,
        },
    );
    let bias = plan.buffer(SIDE, Fill::Zeroes);
    let c = plan.buffer(SIDE * SIDE, Fill::Zeroes);
    plan.linear(kernel, [a, b, bias, c], [SIDE; 3]);
    plan.result.0 = c;
    plan
}

/// The same in half precision, summed in single.
pub fn matmul_f16() -> Plan {
    let mut plan = Plan::new();
    let kernel = plan.kernel(
        LINEAR_F16,
        &[("ROWS", SIDE), ("INNER", SIDE), ("COLUMNS", SIDE)],
    );
    let half = SIDE * SIDE / 2;
    let a = plan.buffer(
        half,
        Fill::UniformF16 {
            seed: 1,
            scale: 1.0,
        },
    );
    let b = plan.buffer(
        half,
        Fill::UniformF16 {
            seed: 2,
            scale: 1.0,
        },
    );
    let c = plan.buffer(half, Fill::Zeroes);
    plan.dispatch(kernel, &[a, b, c], [SIDE / TILE, SIDE / TILE, 1]);
    plan.flops = 2.0 * (SIDE * SIDE * SIDE) as f64;
    plan.result.0 = c;
    plan
}

/// A transformer's forward pass: six layers of attention and a network of one hidden layer, each with a residual and a
/// normalisation after it.
pub fn transformer() -> Plan {
    let mut plan = Plan::new();
    let square = plan.linear_kernel(TOKENS, WIDTH, WIDTH, false);
    let up = plan.linear_kernel(TOKENS, WIDTH, INNER, true);
    let down = plan.linear_kernel(TOKENS, INNER, WIDTH, false);
    let attention = plan.kernel(
        ATTENTION,
        &[("TOKENS", TOKENS), ("WIDTH", WIDTH), ("HEADS", HEADS)],
    );
    let norm = plan.kernel(NORM, &[("WIDTH", WIDTH)]);

    let activations = TOKENS * WIDTH;
    let x = plan.buffer(
        activations,
        Fill::Uniform {
            seed: 1,
            scale: 1.0,
        },
    );
    let state = plan.buffer(activations, Fill::Zeroes);
    let [q, k, v, mixed, out, between] = [(); 6].map(|()| plan.buffer(activations, Fill::Zeroes));
    let hidden = plan.buffer(TOKENS * INNER, Fill::Zeroes);
    for layer in 0..LAYERS {
        let mut seed = 100 * (layer as u32 + 1);
        let mut weights = |plan: &mut Plan, inner: usize, columns: usize| {
            seed += 1;
            let scale = (3.0 / inner as f32).sqrt();
            let w = plan.buffer(inner * columns, Fill::Uniform { seed, scale });
            seed += 1;
            let b = plan.buffer(columns, Fill::Uniform { seed, scale: 0.1 });
            [w, b]
        };
        let input = if layer == 0 { x } else { state };
        for target in [q, k, v] {
            let [w, b] = weights(&mut plan, WIDTH, WIDTH);
            plan.linear(square, [input, w, b, target], [TOKENS, WIDTH, WIDTH]);
        }
        plan.dispatch(attention, &[q, k, v, mixed], [TOKENS / 32, HEADS, 1]);
        plan.flops += 4.0 * (TOKENS * TOKENS * WIDTH) as f64;
        let [w, b] = weights(&mut plan, WIDTH, WIDTH);
        plan.linear(square, [mixed, w, b, out], [TOKENS, WIDTH, WIDTH]);
        plan.dispatch(norm, &[input, out, between], [TOKENS, 1, 1]);
        let [w, b] = weights(&mut plan, WIDTH, INNER);
        plan.linear(up, [between, w, b, hidden], [TOKENS, WIDTH, INNER]);
        let [w, b] = weights(&mut plan, INNER, WIDTH);
        plan.linear(down, [hidden, w, b, out], [TOKENS, INNER, WIDTH]);
        plan.dispatch(norm, &[between, out, state], [TOKENS, 1, 1]);
    }
    plan.result.0 = state;
    plan
}

/// As many dispatches that do nothing, and a word to wait for.
pub fn empty(dispatches: usize) -> Plan {
    let mut plan = Plan::new();
    let kernel = plan.kernel(EMPTY, &[]);
    let word = plan.buffer(1, Fill::Zeroes);
    for _ in 0..dispatches {
        plan.dispatch(kernel, &[], [1, 1, 1]);
    }
    plan.result = (word, 1);
    plan
}

/// One is added to each word of a chunk.
pub fn stream() -> Plan {
    let mut plan = Plan::new();
    let words = CHUNK_BYTES / 4;
    let kernel = plan.kernel(ADD, &[("ADDEND", 1)]);
    let from = plan.buffer(words, Fill::Zeroes);
    let to = plan.buffer(words, Fill::Zeroes);
    plan.dispatch(kernel, &[from, to], [words / 256, 1, 1]);
    plan.result = (to, words);
    plan
}

/// The words that a buffer holds at the start.
pub fn words(buffer: &BufferPlan) -> Vec<u32> {
    let number = |seed: u32, scale: f32, i: usize| {
        let bits = mix(seed.wrapping_mul(0x9e37_79b9) ^ i as u32);
        ((bits >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    };
    let all = 0..buffer.words;
    match buffer.fill {
        Fill::Zeroes => vec![0; buffer.words],
        Fill::Uniform { seed, scale } => all.map(|i| number(seed, scale, i).to_bits()).collect(),
        Fill::UniformF16 { seed, scale } => all
            .map(|i| {
                let half = |i| u32::from(f16_bits(number(seed, scale, i)));
                half(2 * i) | half(2 * i + 1) << 16
            })
            .collect(),
    }
}

/// A hash of 32 bits (the finaliser of MurmurHash3).
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ x >> 16
}

/// Half precision of a number between 2^-14 and 2, its last bits cut; smaller ones become zero.
fn f16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    if exponent <= 0 {
        return sign;
    }
    sign | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_they_should_be() {
        for (x, bits) in [(1.0, 0x3c00), (-0.5, 0xb800), (0.0, 0), (1.5, 0x3e00)] {
            assert_eq!(f16_bits(x), bits, "{x}");
        }
    }

    #[test]
    fn numbers_are_spread_and_repeatable() {
        let buffer = BufferPlan {
            words: 10_000,
            fill: Fill::Uniform {
                seed: 3,
                scale: 2.0,
            },
        };
        let numbers: Vec<f32> = words(&buffer).into_iter().map(f32::from_bits).collect();
        let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
        assert!(mean.abs() < 0.05, "{mean}");
        assert!(numbers.iter().all(|x| (-2.0..2.0).contains(x)));
        assert_eq!(words(&buffer), words(&buffer));
    }
}
