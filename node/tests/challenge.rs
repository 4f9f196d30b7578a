//! The work by which a node shows how fast its GPU is, on this machine's adapter (SwiftShader where there is no hardware; set it up with
//! `cargo xtask setup`): a GPU gives the values that a server computes again on its CPU, bit for bit.
#![allow(clippy::unwrap_used)]

use aevir_gpu::{Gpu, GpuLimits, Session, select_driver};
use aevir_wire::{VALUES_PER_DISPATCH, Work};

/// What the module has its GPU compute.
const KERNEL: &str = include_str!("../../examples/gpu-probe/src/values.wgsl");

fn session() -> Session {
    for (name, value) in select_driver().env {
        // SAFETY: the only test of this binary has not started a thread yet.
        unsafe { std::env::set_var(name, value) };
    }
    let limits = GpuLimits::default();
    let gpu = Gpu::open(&limits).unwrap_or_else(|error| panic!("{error}"));
    Session::new(gpu, limits)
}

/// All values of the second of two dispatches, as the GPU gives them.
fn computed(session: &mut Session, work: &Work) -> Vec<u32> {
    let words = work.seed.chunks(4);
    let words = words.map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let given = words.chain([VALUES_PER_DISPATCH, work.starts]);
    let given: Vec<u8> = given.flat_map(u32::to_le_bytes).collect();
    let kernel = session.create_kernel(KERNEL, "main", &[]).unwrap();
    let what = session.create_buffer(40).unwrap();
    let bytes = u64::from(work.values()) * 4;
    let values = session.create_buffer(bytes).unwrap();
    session.write(&what, 0, &given).unwrap();
    let mut batch = session.create_batch();
    let groups = [VALUES_PER_DISPATCH / 64, 1, 1];
    batch.dispatch(&kernel, &[&what, &values], groups).unwrap();
    session.submit(batch).unwrap();
    let half = bytes / 2;
    let read = session.read(&values, half, half as u32).unwrap();
    let words = read.chunks(4);
    words
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn a_gpu_gives_the_values_that_a_cpu_gives_bit_for_bit() {
    let mut session = session();
    let work = Work {
        seed: std::array::from_fn(|i| i as u8 * 7 + 1),
        dispatches: 2,
        starts: 3,
    };
    let found = computed(&mut session, &work);
    let indices = || (VALUES_PER_DISPATCH..work.values()).step_by(13);
    let at = |index: u32| found[(index - VALUES_PER_DISPATCH) as usize];
    let are = |fused| indices().all(|index| work.value(index, fused) == at(index));
    assert!(
        are(true) != are(false),
        "all of them one of both ways, and none the other"
    );
}
