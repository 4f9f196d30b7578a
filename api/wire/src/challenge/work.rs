//! What a challenge asks for, and its values as a CPU computes them. The GPU's side is `examples/gpu-probe/src/values.wgsl`, which says why it
//! is what it is; here is the same, step by step.

/// Values of one dispatch.
pub const VALUES_PER_DISPATCH: u32 = 65_536;
/// Above it the work is this class's: it is four times what the fastest GPUs do (some 100 TFLOP/s of single precision are class 9), and 16
/// values of it take a server's core up to ten seconds.
pub const CHECKED_CLASS_MAX: u8 = 10;
/// Chains of one value.
const CHAINS: u64 = 8;
/// Steps of a chain from one start to the next.
const STEPS: u32 = 512;
/// Of one step: a multiplication and an addition.
const FLOPS_PER_STEP: u64 = 2;
/// Dispatches at most: 16 MiB of values. Beyond it chains have more starts.
const DISPATCHES_MAX: u32 = 64;

/// The values of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    pub seed: [u8; 32],
    /// A power of two, 1 to 64.
    pub dispatches: u32,
    /// Starts of each chain.
    pub starts: u32,
}

impl Work {
    /// What takes a GPU at the lower bound of a class, 4^(class-1) GFLOP/s, 2.15 s: 4^class units of 2^29 floating point operations, one
    /// dispatch with one start each.
    #[must_use]
    pub fn of_class(class: u8, seed: [u8; 32]) -> Self {
        let units = 1 << (2 * u32::from(class.min(CHECKED_CLASS_MAX)));
        let dispatches = (1 << class.min(CHECKED_CLASS_MAX)).min(DISPATCHES_MAX);
        Self {
            seed,
            dispatches,
            starts: units / dispatches,
        }
    }

    /// How many values.
    #[must_use]
    pub fn values(&self) -> u32 {
        self.dispatches * VALUES_PER_DISPATCH
    }

    /// Floating point operations of all of them.
    #[must_use]
    pub fn flops(&self) -> u64 {
        let starts = u64::from(self.values()) * u64::from(self.starts);
        starts * CHAINS * u64::from(STEPS) * FLOPS_PER_STEP
    }

    /// Whether a value is what its chains come to: on hardware that rounds once in a step, or on hardware that rounds twice.
    #[must_use]
    pub fn gives(&self, index: u32, value: u32) -> bool {
        self.value(index, true) == value || self.value(index, false) == value
    }

    /// A value; with steps that are fused (rounded once), or not.
    #[must_use]
    pub fn value(&self, index: u32, fused: bool) -> u32 {
        match fused {
            true => self.chains(index, |x, c| x.mul_add(x, c)),
            false => self.chains(index, |x, c| x * x + c),
        }
    }

    fn chains(&self, index: u32, step: impl Fn(f32, f32) -> f32) -> u32 {
        let word = |n: usize| {
            let bytes = self.seed.get(n * 4..n * 4 + 4);
            u32::from_le_bytes(bytes.and_then(|b| b.try_into().ok()).unwrap_or_default())
        };
        let seed: [u32; 8] = std::array::from_fn(word);
        let starts = seed.map(|word| mix(word ^ index));
        // Each half of the seed goes into the other half's constants.
        let constants: [u32; 8] = std::array::from_fn(|i| mix(starts[i] ^ seed[(i + 4) % 8]));
        let mut end = [0u32; 4];
        for n in 0..self.starts {
            let by = n.wrapping_mul(0x9e37_79b9);
            let mut x = starts.map(|h| start(mix(h.wrapping_add(by))));
            let c = constants.map(|h| constant(mix(h.wrapping_add(by))));
            for _ in 0..STEPS {
                for (x, c) in x.iter_mut().zip(c) {
                    *x = step(*x, c);
                }
            }
            for (i, x) in x.iter().enumerate() {
                let into = &mut end[i % 4];
                *into = (*into ^ x.to_bits()).wrapping_mul(0x0100_0193);
            }
        }
        let [x, y, z, w] = end.map(mix);
        x ^ (y << 1) ^ (z << 2) ^ (w << 3)
    }
}

/// The finaliser of MurmurHash3: a bijection.
fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// 2^-23.
const GRAIN: f32 = 1.0 / 8_388_608.0;

/// From -1 to 1, 24 bits, exact.
fn start(h: u32) -> f32 {
    (h >> 8) as f32 * GRAIN - 1.0
}

/// From -1.9375 to -1.8125, 20 bits, exact.
fn constant(h: u32) -> f32 {
    -1.8125 - (h >> 12) as f32 * GRAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_four_times_the_work_of_the_one_below() {
        for class in 0..=CHECKED_CLASS_MAX {
            let work = Work::of_class(class, [0; 32]);
            assert_eq!(work.flops(), 4u64.pow(class.into()) << 29, "{class}");
            assert!(work.values() <= 1 << 22 && work.values().is_power_of_two());
        }
        let most = Work::of_class(CHECKED_CLASS_MAX, [0; 32]);
        assert_eq!(Work::of_class(u8::MAX, [0; 32]), most);
    }

    #[test]
    fn each_value_depends_on_its_index_the_seed_and_each_start() {
        let work = |byte, starts| Work {
            seed: [byte; 32],
            dispatches: 1,
            starts,
        };
        let value = work(1, 2).value(5, true);
        assert_ne!(value, work(1, 2).value(6, true));
        assert_ne!(value, work(2, 2).value(5, true));
        assert_ne!(value, work(1, 1).value(5, true));
        assert_ne!(value, work(1, 2).value(5, false));
        assert!(work(1, 2).gives(5, value) && !work(1, 2).gives(5, value ^ 1));
    }

    #[test]
    fn chains_stay_in_bounds_and_do_not_settle() {
        for h in (0..u32::MAX).step_by(98_765_432) {
            let (mut x, c) = (start(h), constant(!h));
            let mut ends: Vec<u32> = Vec::new();
            for _ in 0..STEPS {
                x = x.mul_add(x, c);
                assert!(x.abs() <= 2.0);
                ends.push(x.to_bits());
            }
            ends.sort_unstable();
            ends.dedup();
            assert!(ends.len() > STEPS as usize / 2, "{c}: {}", ends.len());
        }
    }
}
