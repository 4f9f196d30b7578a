//! The kernels of the hostile corpus (`sandbox/tests/hostile/cases/gpu-*.wgsl`), on a session in this process: each ends as its
//! head says, and the device computes right afterwards. The corpus's own runner has them in executor processes, with bounds on
//! time and memory, and those that take their process with them.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::time::Instant;

use aevir_gpu::{Devices, GpuError, GpuLimits, Session};
use serde::Deserialize;

const CASES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../sandbox/tests/hostile/cases"
);
/// Ends that come from outside of the process, which goes with them: they are not for this one.
const FROM_OUTSIDE: [&str; 4] = ["gpu-wait", "gpu-time", "wall", "host-memory"];

/// What of a case's head concerns the GPU alone.
#[derive(Debug, Deserialize)]
struct Head {
    dispatch: Dispatch,
    #[serde(default)]
    limits: Limits,
    expect: Expect,
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    #[serde(default)]
    gpu: GpuLimits,
}

#[derive(Debug, Deserialize)]
struct Dispatch {
    buffers: Vec<u64>,
    #[serde(default)]
    words: Vec<u32>,
    groups: [u32; 3],
    #[serde(default = "once")]
    source_times: usize,
}

#[derive(Debug, Deserialize)]
struct Expect {
    end: String,
    limit: Option<String>,
    value: Option<u64>,
    result: Option<String>,
    #[serde(default)]
    says: String,
}

fn once() -> usize {
    1
}

/// Runs a case as a guest would; the first word of its last buffer.
fn play(session: &mut Session, wgsl: &str, dispatch: &Dispatch) -> Result<u32, GpuError> {
    let kernel = session.create_kernel(wgsl, "main", &[])?;
    let sizes = dispatch.buffers.iter();
    let buffers = sizes
        .map(|&size| session.create_buffer(size))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(first) = buffers.first() {
        session.write(first, 0, bytemuck::cast_slice(&dispatch.words))?;
    }
    let mut batch = session.create_batch();
    let bound: Vec<_> = buffers.iter().collect();
    batch.dispatch(&kernel, &bound, dispatch.groups)?;
    session.submit(batch)?;
    match buffers.last() {
        Some(last) => Ok(support::words(&session.read(last, 0, 4)?)[0]),
        None => session.finish().map(|()| 0),
    }
}

fn check(name: &str, ended: &Result<u32, GpuError>, expect: &Expect) {
    let right = match (expect.end.as_str(), ended) {
        ("ok", Ok(word)) => {
            let wanted = expect.result.as_deref();
            wanted.is_none_or(|wanted| wanted == format!("\"{word:08x}\""))
        }
        ("limit", Err(GpuError::Limit { limit, value })) => {
            expect.limit.as_deref() == Some(&format!("gpu-{limit}")) && expect.value == Some(*value)
        }
        // In a guest's error the interface's name of the error stands before its text.
        ("guest-error", Err(GpuError::Validation(text))) => {
            expect.says == "validation" || text.contains(&expect.says)
        }
        ("contained", Err(error)) => !error.is_fatal(),
        ("contained", Ok(_)) => true,
        _ => false,
    };
    assert!(right, "{name}: {ended:?}, and {expect:?} was expected");
}

/// Something simple comes out right on the same device.
fn check_device(session: &mut Session) {
    let wgsl = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
            for (var i = 0u; i < 10u; i++) { out[id.x] += id.x; }
        }";
    let kernel = session.create_kernel(wgsl, "main", &[]).unwrap();
    let out = session.create_buffer(256).unwrap();
    let mut batch = session.create_batch();
    batch.dispatch(&kernel, &[&out], [1, 1, 1]).unwrap();
    session.submit(batch).unwrap();
    let words = support::words(&session.read(&out, 0, 256).unwrap());
    assert!(words.iter().zip(0..).all(|(&word, i)| word == 10 * i));
}

#[test]
fn every_kernel_of_the_corpus_is_contained() {
    support::driver();
    let only = std::env::var("AEVIR_GPU_CASE").unwrap_or_default();
    let mut files: Vec<_> = std::fs::read_dir(Path::new(CASES))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wgsl")
        })
        .collect();
    files.sort();
    let mut played = 0;
    let mut devices = Devices::default();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let is_head = |line: &&str| line.starts_with("//!");
        let head: Vec<_> = text
            .lines()
            .take_while(is_head)
            .map(|line| &line[3..])
            .collect();
        let body: Vec<_> = text.lines().skip(head.len()).collect();
        let head: Head = toml::from_str(&head.join("\n")).unwrap();
        let outside = |limit: &String| FROM_OUTSIDE.contains(&limit.as_str());
        if head.expect.limit.as_ref().is_some_and(outside) || !name.contains(&only) {
            continue;
        }
        let wgsl = body.join("\n").repeat(head.dispatch.source_times);
        let started = Instant::now();
        // A stack like the executor's: the parsers of WGSL are recursive.
        let worker = std::thread::Builder::new()
            .stack_size(64 << 20)
            .spawn(move || {
                let mut session = devices.session(&head.limits.gpu, None).unwrap();
                let ended = play(&mut session, &wgsl, &head.dispatch);
                devices.keep(session);
                let mut session = devices.session(&GpuLimits::default(), None).unwrap();
                check_device(&mut session);
                devices.keep(session);
                (devices, ended, head.expect)
            });
        let (kept, ended, expect) = worker.unwrap().join().unwrap();
        devices = kept;
        println!("{name}: {ended:.80?} in {:?}", started.elapsed());
        check(&name, &ended, &expect);
        played += 1;
    }
    assert!(played > 40 || !only.is_empty(), "only {played} cases");
}
