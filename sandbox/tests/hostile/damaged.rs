//! Modules that nobody wrote: good ones that were damaged, and random ones. Each is a function of its seed.

use crate::generators::{component, random};
use crate::support::{example, guest};

/// A good module to damage.
fn original(seed: u64) -> Vec<u8> {
    if seed.is_multiple_of(2) {
        guest("ranges")
    } else {
        example("echo")
    }
}

/// A good module, cut somewhere.
pub(crate) fn truncated(seed: u64) -> Vec<u8> {
    let mut module = original(seed);
    let len = random(seed)() as usize % module.len();
    module.truncate(len);
    module
}

/// A good module in which so many bits are another.
pub(crate) fn flipped(seed: u64, bits: usize) -> Vec<u8> {
    let mut module = original(seed);
    let mut next = random(seed);
    for _ in 0..bits {
        let at = next() as usize % (module.len() * 8);
        module[at / 8] ^= 1 << (at % 8);
    }
    module
}

/// A valid random core module in a component; its `run` does whatever it does.
pub(crate) fn smith(seed: u64, bytes: usize) -> Vec<u8> {
    let mut next = random(seed);
    let words = std::iter::repeat_with(|| next().to_le_bytes()).take(bytes / 8);
    let entropy: Vec<u8> = words.flatten().collect();
    let exports =
        "(module (memory (export \"memory\") 1) (func (export \"run\") (result i32) unreachable))";
    let config = wasm_smith::Config {
        exports: Some(wat::parse_str(exports).unwrap()),
        max_imports: 0,
        max_memories: 1,
        max_memory32_bytes: 1 << 24,
        threads_enabled: false,
        memory64_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        shared_everything_threads_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut unstructured = arbitrary::Unstructured::new(&entropy);
    let module = wasm_smith::Module::new(config, &mut unstructured).unwrap();
    component(&module.to_bytes())
}
