//! Whatever bytes come over the socket between an executor and its parent, reading them ends, without a panic and without taking
//! more memory than a frame may have.
//!
//! Runs for `AEVIR_FUZZ_SECONDS` (30 when unset) each.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::ipc::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX, read_frames};
use support::fuzz_time;

/// What was found or thought of before: one file each below `tests/corpus/ipc`.
#[test]
fn the_corpus_is_read_or_refused() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/ipc");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for replies in [true, false] {
            assert!(read_frames(&bytes, replies) <= 1);
        }
        files += 1;
    }
    assert!(files >= 8);
}

#[test]
fn any_bytes_are_read_or_refused() {
    bolero::check!()
        .with_test_time(fuzz_time())
        .with_type::<(bool, Vec<u8>)>()
        .for_each(|(replies, bytes)| {
            let frames = read_frames(bytes, *replies);
            assert!(frames <= bytes.len() / 4);
        });
}

/// Frames that are right up to one change: random bytes seldom get past the length.
#[test]
fn changed_messages_are_read_or_refused() {
    let messages = [
        r#"{"Event":{"event":"log","level":"info","text":"x"}}"#,
        r#"{"Event":{"event":"checkpoint","path":"/x","digest":"ab","size":1}}"#,
        r#"{"BadCode":"text"}"#,
        r#"{"Compiled":{"Err":{"kind":"too-complex","text":"text"}}}"#,
        r#"{"Judged":[{"Err":{"kind":"not-a-component","text":"text"}},{"cpu_ms":1,"peak_bytes":2}]}"#,
        r#""NoMemory""#,
        r#"{"Outcome":{"end":{"end":"limit","limit":"fuel","value":5},"result":null,"outputs":[],"metrics":[],"usage":{"fuel":1,"wall_ms":1,"peak_memory_bytes":1,"gpu_dispatches":0,"gpu_workgroups":0,"gpu_bytes_in":0,"gpu_bytes_out":0,"gpu_time_ns":0},"trace_root":"","adapter":null,"log_lines_dropped":0}}"#,
    ];
    for message in messages {
        assert_eq!(
            read_frames(&framed(message.as_bytes()), true),
            1,
            "{message}"
        );
    }
    bolero::check!()
        .with_test_time(fuzz_time())
        .with_type::<(u8, Vec<(u16, u8)>, u16)>()
        .for_each(|(which, changes, cut)| {
            let mut bytes = framed(messages[usize::from(*which) % messages.len()].as_bytes());
            for (at, value) in changes {
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *value;
            }
            bytes.truncate(usize::from(*cut).max(1));
            let _ = read_frames(&bytes, true);
        });
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_anything_is_allocated() {
    for (replies, max) in [(true, REPLY_BYTES_MAX), (false, REQUEST_BYTES_MAX)] {
        let mut bytes = (max as u32 + 1).to_be_bytes().to_vec();
        bytes.extend(vec![b' '; max + 1]);
        assert_eq!(read_frames(&bytes, replies), 0);
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = (message.len() as u32).to_be_bytes().to_vec();
    bytes.extend(message);
    bytes
}
