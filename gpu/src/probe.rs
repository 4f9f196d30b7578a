//! What an adapter must compute right before it is used, and what it computes that tells classes apart.
//!
//! Debian 12's lavapipe (Mesa 22.3) silently leaves loops after 65,535 iterations of an invocation, counted over all its
//! loops: wrong answers and no error. So the first probe is a loop that is longer. The second runs the float functions whose
//! last bits differ between vendors; its outputs go into the adapter's class.

use crate::adapter::Gpu;
use crate::error::GpuError;
use crate::limits::GpuLimits;
use crate::session::Session;

/// Iterations of the probed loop: over the 65,535 after which a known driver stops.
const LOOP_ITERATIONS: u32 = 200_000;
/// Invocations of the float probe.
const FLOATS: u32 = 64;
/// Results of one invocation of it.
const RESULTS: u32 = 12;

/// A linear congruential generator in two nested loops, so that the count is over the invocation and not over one loop.
const LOOP_WGSL: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
override outer: u32;
override inner: u32;
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3u) {
    var x = id.x;
    for (var i = 0u; i < outer; i++) {
        for (var j = 0u; j < inner; j++) { x = x * 1664525u + 1013904223u; }
    }
    out[id.x] = x;
}";

/// Functions whose precision WGSL leaves open, on values spread over (0, 4).
const FLOAT_WGSL: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let x = (f32(id.x) + 0.37) * 0.0617;
    let at = id.x * 12u;
    out[at] = exp(x);
    out[at + 1u] = log(x);
    out[at + 2u] = sin(x);
    out[at + 3u] = cos(x);
    out[at + 4u] = tanh(x);
    out[at + 5u] = sqrt(x);
    out[at + 6u] = inverseSqrt(x);
    out[at + 7u] = 1.0 / x;
    out[at + 8u] = x / 0.7;
    out[at + 9u] = fma(x, x, 0.1);
    out[at + 10u] = x * x + 0.1;
    out[at + 11u] = pow(x, 2.3);
}";

/// Why an adapter failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The loop's result is wrong.
    #[error(
        "its driver computes a loop of {LOOP_ITERATIONS} iterations wrong (some cut loops at 65,535), so its results can't be trusted"
    )]
    WrongLoop,
    /// The probe could not run.
    #[error("a probe failed: {0}")]
    Gpu(#[from] GpuError),
}

/// Runs the probes; answers the outputs that belong into the class.
pub(crate) fn run(gpu: &Gpu) -> Result<Vec<u8>, ProbeError> {
    let mut session = Session::new(gpu.clone(), GpuLimits::default());
    let (outer, inner) = (4, LOOP_ITERATIONS / 4);
    let constants = [("outer", outer), ("inner", inner)].map(|(name, value)| crate::Constant {
        name: name.into(),
        value: f64::from(value),
    });
    let kernel = session.create_kernel(LOOP_WGSL, "main", &constants)?;
    let out = session.create_buffer(16)?;
    let mut batch = session.create_batch();
    batch.dispatch(&kernel, &[&out], [1, 1, 1])?;
    session.submit(batch)?;
    let expected: Vec<u8> = (0..4u32)
        .flat_map(|lane| {
            let step = |x: u32, _| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (0..outer * inner).fold(lane, step).to_le_bytes()
        })
        .collect();
    if session.read(&out, 0, 16)? != expected {
        return Err(ProbeError::WrongLoop);
    }

    let kernel = session.create_kernel(FLOAT_WGSL, "main", &[])?;
    let bytes = FLOATS * RESULTS * 4;
    let out = session.create_buffer(bytes.into())?;
    let mut batch = session.create_batch();
    batch.dispatch(&kernel, &[&out], [1, 1, 1])?;
    session.submit(batch)?;
    Ok(session.read(&out, 0, bytes)?)
}
