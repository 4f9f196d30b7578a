//! Fuzzing what reads uploads: anything may come, it is judged in bounded time, and nothing panics.
//!
//! Runs for `AEVIR_FUZZ_SECONDS` (30 when unset). The corpus stands under `tests/__fuzz__/judge/corpus`.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aevir_sandbox::{inspect, prepare_upload};
use support::{example, fuzz_time, guest};

/// Bytes of randomness for one module.
const INPUT_BYTES_MAX: usize = 512;
/// No small module may take longer, on a machine that does other work besides.
const JUDGEMENT_MAX: Duration = Duration::from_secs(5);

/// Good modules, to be changed.
fn originals() -> &'static [Vec<u8>] {
    static ORIGINALS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ORIGINALS.get_or_init(|| {
        let mut modules: Vec<_> = ["ok", "ranges", "denied-socket", "hello-preview1", "verdict"]
            .map(guest)
            .into();
        modules.push(example("echo"));
        let c = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../examples/programs/survey.wasm"
        );
        modules.push(std::fs::read(c).unwrap());
        modules
    })
}

/// A module from bytes: the bytes themselves, or a good module changed as the bytes say.
fn module(bytes: &[u8]) -> Vec<u8> {
    let Some((&which, edits)) = bytes.split_first() else {
        return Vec::new();
    };
    let Some(original) = originals().get(which as usize % (originals().len() + 1)) else {
        let header: &[u8] = if which & 0x80 == 0 {
            b"\0asm\x01\0\0\0"
        } else {
            b"\0asm\x0d\0\x01\0"
        };
        return [header, edits].concat();
    };
    let mut module = original.clone();
    for edit in edits.chunks_exact(5) {
        let at = u32::from_le_bytes([edit[1], edit[2], edit[3], 0]) as usize % module.len().max(1);
        match edit[0] % 6 {
            0 if at < module.len() => module[at] = edit[4],
            1 if at < module.len() => module[at] ^= 1 << (edit[4] % 8),
            2 => module.insert(at.min(module.len()), edit[4]),
            3 if at < module.len() => {
                module.remove(at);
            }
            // A length that is too long by much.
            4 if at + 5 <= module.len() => {
                module[at..at + 5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
            }
            // A part, twice.
            5 if at < module.len() => {
                let part = module[at..].iter().take(usize::from(edit[4])).copied();
                let part: Vec<u8> = part.collect();
                module.splice(at..at, part);
            }
            _ => {}
        }
    }
    module
}

#[test]
fn judge() {
    bolero::check!()
        .with_max_len(INPUT_BYTES_MAX)
        .with_test_time(fuzz_time())
        .for_each(|bytes: &[u8]| {
            let module = module(bytes);
            let started = Instant::now();
            let prepared = prepare_upload(&module);
            if let Ok(upload) = &prepared {
                // What is taken is a component that is taken.
                assert!(inspect(&upload.component).is_ok());
            }
            assert!(started.elapsed() < JUDGEMENT_MAX, "{prepared:?}");
        });
}
