//! How fast an adapter is, coarsely: a short kernel of multiply-adds, and the class that its throughput falls into.
//!
//! The class is for placing tasks, not for paying them: it tells a phone from a workstation and a workstation from a server,
//! and comes out the same on every start of the same machine unless the figure is at a border.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::adapter::Gpu;
use crate::error::GpuError;
use crate::limits::GpuLimits;
use crate::session::Session;

/// Invocations of a workgroup.
const WORKGROUP: u64 = 64;
/// Floating point operations of one round: 4 sums of 4 lanes, 4 times, each a multiplication and an addition.
const FLOPS_PER_ROUND: u64 = 4 * 4 * 4 * 2;
/// Rounds and workgroups of the first try: 0.5 MFLOP, little for a phone.
const FIRST: (u32, u32) = (16, 4);
/// Workgroups that keep any GPU busy; beyond, rounds grow.
const GROUPS_MAX: u32 = 16_384;
/// A measured dispatch takes at least this long: thousands of times what its start costs.
const SPAN_NS: u64 = 20_000_000;
/// Measured dispatches; the fastest counts, as others may use the machine.
const TRIES: u32 = 3;
/// Steps of growth. Each is by four, so that the last has 4^24 times the work of the first.
const STEPS_MAX: u32 = 24;

const WGSL: &str = "
@group(0) @binding(0) var<storage, read> rounds: u32;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let m = vec4f(0.999, 0.998, 0.997, 0.996);
    let c = vec4f(f32(id.x & 7u)) * 0.001;
    var s = array<vec4f, 4>(c, c + 0.1, c + 0.2, c + 0.3);
    var s0 = s[0]; var s1 = s[1]; var s2 = s[2]; var s3 = s[3];
    for (var i = 0u; i < rounds; i++) {
        s0 = fma(s0, m, c); s1 = fma(s1, m, c); s2 = fma(s2, m, c); s3 = fma(s3, m, c);
        s0 = fma(s0, m, c); s1 = fma(s1, m, c); s2 = fma(s2, m, c); s3 = fma(s3, m, c);
        s0 = fma(s0, m, c); s1 = fma(s1, m, c); s2 = fma(s2, m, c); s3 = fma(s3, m, c);
        s0 = fma(s0, m, c); s1 = fma(s1, m, c); s2 = fma(s2, m, c); s3 = fma(s3, m, c);
    }
    let sum = s0 + s1 + s2 + s3;
    out[id.x & 255u] = sum.x + sum.y + sum.z + sum.w;
}";

/// A coarse class of arithmetic throughput: class `n` is from 4^(n-1) to 4^n f32 GFLOP/s, class 0 all below 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComputeClass(pub u8);

impl fmt::Display for ComputeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// 10^9 floating point operations a second, of 32 bits, in multiply-adds.
    pub f32_gflops: f64,
}

impl Speed {
    /// The class.
    #[must_use]
    pub fn class(&self) -> ComputeClass {
        let mut class = 0;
        let mut floor = 1.0;
        while self.f32_gflops >= floor && class < u8::MAX {
            class += 1;
            floor *= 4.0;
        }
        ComputeClass(class)
    }
}

/// Measures on a device that does nothing else.
pub(crate) fn measure(gpu: &Gpu) -> Result<Speed, GpuError> {
    let mut session = Session::new(gpu.clone(), GpuLimits::default());
    let kernel = session.create_kernel(WGSL, "main", &[])?;
    let rounds = session.create_buffer(4)?;
    let out = session.create_buffer(1024)?;
    let mut time = |rounds_now: u32, groups: u32| -> Result<u64, GpuError> {
        let before = session.usage().time_ns;
        session.write(&rounds, 0, &rounds_now.to_le_bytes())?;
        let mut batch = session.create_batch();
        batch.dispatch(&kernel, &[&rounds, &out], [groups, 1, 1])?;
        session.submit(batch)?;
        session.finish()?;
        Ok(session.usage().time_ns.saturating_sub(before))
    };
    let (mut rounds, mut groups) = FIRST;
    let mut best_ns = time(rounds, groups)?;
    for _ in 0..STEPS_MAX {
        if best_ns >= SPAN_NS {
            break;
        }
        if groups < GROUPS_MAX {
            groups *= 4;
        } else {
            rounds = rounds.saturating_mul(4);
        }
        best_ns = time(rounds, groups)?;
    }
    for _ in 1..TRIES {
        best_ns = best_ns.min(time(rounds, groups)?);
    }
    let flops = FLOPS_PER_ROUND * WORKGROUP * u64::from(rounds) * u64::from(groups);
    Ok(Speed {
        // Operations a nanosecond are 10^9 a second.
        f32_gflops: flops as f64 / best_ns.max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_powers_of_four() {
        for (f32_gflops, class) in [
            (0.0, 0),
            (0.99, 0),
            (1.0, 1),
            (3.9, 1),
            (4.0, 2),
            (60.0, 3),
            (67_000.0, 9),
        ] {
            assert_eq!(Speed { f32_gflops }.class(), ComputeClass(class));
        }
        assert_eq!(ComputeClass(3).to_string(), "c3");
    }
}
