//! Every way in which a run can end, each in a real executor process.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use aevir_sandbox::{End, RunEvent, TrapKind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Bench, example};
use tokio_util::sync::CancellationToken;

fn is_limit(end: &End, name: &str) -> bool {
    matches!(end, End::Limit { limit, .. } if limit == name)
}

#[tokio::test]
async fn a_good_run_has_a_result_and_its_fuel() {
    let ran = Bench::guest("ok").run().await;
    assert_eq!(ran.outcome.end, End::Ok);
    assert_eq!(ran.result(), "\"ok\"");
    assert!(ran.outcome.usage.fuel > 0);
    assert_eq!(ran.outcome.usage.peak_memory_bytes, 65_536);
    assert!(matches!(ran.events[..], [RunEvent::Started { .. }]));
}

#[tokio::test]
async fn endless_loops_end_with_the_fuel_also_in_start_functions() {
    for name in ["spin", "start-spin"] {
        let ran = Bench::guest(name)
            .limits(|limits| limits.fuel = 1_000_000)
            .run()
            .await;
        let expected = End::Limit {
            limit: "fuel".into(),
            value: 1_000_000,
        };
        assert_eq!(ran.outcome.end, expected, "{name}");
        assert_eq!(ran.outcome.usage.fuel, 1_000_000, "{name}");
    }
}

#[tokio::test]
async fn the_wall_clock_kills() {
    let started = Instant::now();
    let ran = Bench::guest("spin")
        .limits(|limits| limits.wall_ms = 300)
        .run()
        .await;
    assert!(is_limit(&ran.outcome.end, "wall"), "{:?}", ran.outcome);
    assert_eq!(ran.outcome.usage.wall_ms, 300);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_gone(&ran.events);
}

#[tokio::test]
async fn cancelling_kills() {
    let cancel = CancellationToken::new();
    let on_start = cancel.clone();
    let ran = Bench::guest("spin")
        .run_with(cancel, |_| on_start.cancel())
        .await;
    assert_eq!(ran.outcome.end, End::Cancelled);
    assert_gone(&ran.events);
}

#[tokio::test]
async fn an_executor_that_is_killed_is_a_host_error_that_names_the_signal() {
    let ran = Bench::guest("spin")
        .run_with(CancellationToken::new(), |event| {
            if let RunEvent::Started { pid } = event {
                kill(Pid::from_raw(*pid as i32), Signal::SIGKILL).unwrap();
            }
        })
        .await;
    let End::HostError { text } = &ran.outcome.end else {
        panic!("{:?}", ran.outcome.end);
    };
    assert!(text.contains("SIGKILL"), "{text}");
    assert_gone(&ran.events);
}

/// The executor's process has been waited for: no zombie is left either.
fn assert_gone(events: &[RunEvent]) {
    let Some(RunEvent::Started { pid }) = events.first() else {
        panic!("the run has not started: {events:?}");
    };
    assert_eq!(
        kill(Pid::from_raw(*pid as i32), None),
        Err(nix::errno::Errno::ESRCH)
    );
}

#[tokio::test]
async fn memory_is_limited_and_a_modules_own_maximum_is_not_a_limit() {
    let ran = Bench::guest("grow")
        .limits(|limits| limits.memory_bytes = 32 << 20)
        .run()
        .await;
    let expected = End::Limit {
        limit: "memory".into(),
        value: 32 << 20,
    };
    assert_eq!(ran.outcome.end, expected);
    assert!(ran.outcome.usage.peak_memory_bytes <= 32 << 20);
    assert!(ran.outcome.usage.peak_memory_bytes > 31 << 20);
    let own_maximum = include_str!("guests/own-maximum.wat");
    let whole_address_space = own_maximum
        .replace(
            "(memory (export \"memory\") 1 2)",
            "(memory (export \"memory\") 1)",
        )
        .replace(
            "(memory.grow (i32.const 2))",
            "(memory.grow (i32.const 65536))",
        );
    assert_ne!(own_maximum, whole_address_space);
    for text in [own_maximum, &whole_address_space] {
        let ran = Bench::new(&wat::parse_str(text).unwrap()).run().await;
        assert_eq!(ran.outcome.end, End::Ok);
    }
}

#[tokio::test]
async fn traps_have_their_class() {
    let rows = [
        ("trap", TrapKind::Unreachable),
        ("divide", TrapKind::Arithmetic),
        ("outside", TrapKind::OutOfBounds),
        ("recurse", TrapKind::StackOverflow),
        ("nan-metric", TrapKind::Interface),
        ("bad-handle", TrapKind::Interface),
    ];
    for (name, expected) in rows {
        let ran = Bench::guest(name).run().await;
        let End::Trap { kind, text } = &ran.outcome.end else {
            panic!("{name}: {:?}", ran.outcome.end);
        };
        assert_eq!(*kind, expected, "{name}: {text}");
        assert!(!text.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_guests_own_error_is_its_text() {
    let ran = Bench::guest("guest-error").run().await;
    let expected = End::GuestError {
        text: "no luck".into(),
    };
    assert_eq!(ran.outcome.end, expected);
    let ran = Bench::guest("long-result").run().await;
    assert!(
        is_limit(&ran.outcome.end, "result"),
        "{:?}",
        ran.outcome.end
    );
}

#[tokio::test]
async fn refused_modules_trap_with_the_reason_and_changed_files_are_the_hosts_fault() {
    let ran = Bench::guest("foreign-import").run().await;
    let End::Trap { kind, text } = &ran.outcome.end else {
        panic!("{:?}", ran.outcome.end);
    };
    assert_eq!(*kind, TrapKind::Module);
    assert!(text.contains("wasi:http/outgoing-handler@0.2.0"), "{text}");

    // A module that no test has compiled: one that was is not read again.
    let mut bench = Bench::guest("ok");
    bench.spec.module_digest = "ab".repeat(32);
    let ran = bench.run().await;
    assert!(
        matches!(&ran.outcome.end, End::HostError { text } if text.contains("was asked for")),
        "{:?}",
        ran.outcome.end
    );
}

#[tokio::test]
async fn checks_answer_their_verdict() {
    let ran = Bench::guest("verdict").run().await;
    assert_eq!(ran.result(), "true");
}

#[tokio::test]
async fn reads_are_checked_at_every_edge() {
    let ran = Bench::guest("ranges").input("data", &[7; 100]).run().await;
    assert_eq!(ran.outcome.end, End::Ok);
}

#[tokio::test]
async fn an_input_that_changed_its_size_is_the_hosts_fault() {
    let mut bench = Bench::guest("ranges").input("data", &[7; 100]);
    std::fs::write(&bench.spec.inputs[0].path, [7; 99]).unwrap();
    let ran = bench.run().await;
    assert!(
        matches!(ran.outcome.end, End::HostError { .. }),
        "{:?}",
        ran.outcome.end
    );
}

#[tokio::test]
async fn floods_are_stopped() {
    let ran = Bench::guest("flood")
        .limits(|limits| limits.output_bytes = 10 << 20)
        .run()
        .await;
    assert!(
        is_limit(&ran.outcome.end, "output"),
        "{:?}",
        ran.outcome.end
    );
    assert!(
        ran.outcome.outputs.is_empty(),
        "outputs of a failed run do not count"
    );

    let mut hoard = Bench::guest("hoard")
        .limits(|limits| limits.handles = 100)
        .input("data", b"x");
    let ran = hoard.run().await;
    assert!(
        is_limit(&ran.outcome.end, "handles"),
        "{:?}",
        ran.outcome.end
    );

    let mut chatter = Bench::guest("chatter").limits(|limits| {
        limits.log_lines = 10;
        limits.fuel = 1_000_000;
    });
    let ran = chatter.run().await;
    assert!(is_limit(&ran.outcome.end, "fuel"), "{:?}", ran.outcome.end);
    let lines = ran
        .events
        .iter()
        .filter(|event| matches!(event, RunEvent::Log { .. }));
    assert_eq!(lines.count(), 10);
    assert!(
        ran.outcome.log_lines_dropped > 50,
        "{}",
        ran.outcome.log_lines_dropped
    );
}

#[tokio::test]
async fn the_same_run_twice_gives_the_same_bytes_and_the_same_fuel() {
    let nan = Bench::guest("floats").run().await;
    assert_eq!(nan.result(), "7fc00000", "NaNs are canonical");

    let params = r#"{"spin": 3, "copy": ["a"], "metrics": {"x": 0.1234565}}"#;
    let mut bench = Bench::new(&example("echo"))
        .params(params)
        .input("a", b"some bytes");
    let (one, two) = (bench.run().await, bench.run().await);
    assert_eq!(one.outcome.end, End::Ok);
    assert_eq!(one.result(), two.result());
    assert_eq!(one.outcome.usage.fuel, two.outcome.usage.fuel);
    assert_eq!(
        one.outcome.usage.peak_memory_bytes,
        two.outcome.usage.peak_memory_bytes
    );
    assert_eq!(one.output("a"), b"some bytes");
    assert_eq!(one.output("a"), two.output("a"));
    assert_eq!(one.outcome.metrics, two.outcome.metrics);
    assert_eq!(one.outcome.metrics[0].micro, 123_457);
    bench.spec.seed += 1;
    assert_ne!(bench.run().await.result(), one.result());
}

#[tokio::test]
async fn a_run_resumes_from_a_checkpoint_with_the_same_result() {
    let mut bench = Bench::new(&example("echo")).params(r#"{"spin": 4}"#);
    let whole = bench.run().await;
    let checkpoints: Vec<_> = whole
        .events
        .iter()
        .filter_map(|event| match event {
            RunEvent::Checkpoint { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(checkpoints.len(), 4);
    let left = std::fs::read_dir(bench.dir.path().join("run-1/checkpoints")).unwrap();
    assert_eq!(left.count(), 2, "older files are removed");
    let progress = whole.events.iter().rev().find_map(|event| match event {
        RunEvent::Progress { ppm, .. } => Some(*ppm),
        _ => None,
    });
    assert_eq!(progress, Some(1_000_000), "the last progress is never lost");
    bench.spec.checkpoint = Some(checkpoints[2].clone());
    let resumed = bench.run().await;
    assert_eq!(resumed.result(), whole.result());
    assert!(resumed.outcome.usage.fuel < whole.outcome.usage.fuel / 2);
}

#[tokio::test]
async fn a_damaged_cache_is_rebuilt() {
    let mut bench = Bench::guest("ok");
    let cache = bench.dir.path().join("cache");
    let mut config = aevir_sandbox::ExecutorConfig {
        program: env!("CARGO_BIN_EXE_aevir-executor").into(),
        args: Vec::new(),
        cache_dir: cache.clone(),
        env: Default::default(),
        log: None,
    };
    bench.executor = aevir_sandbox::Executor::new(config.clone());
    let code = |cache: &std::path::Path| -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(cache).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "cwasm")
            })
            .collect()
    };
    let file = |cache: &std::path::Path| code(cache).pop().unwrap();
    assert_eq!(bench.run().await.outcome.end, End::Ok);
    let good = std::fs::read(file(&cache)).unwrap();
    for at in [0, 40, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(file(&cache), bad).unwrap();
        assert_eq!(bench.run().await.outcome.end, End::Ok, "changed at {at}");
        assert_eq!(
            std::fs::read(file(&cache)).unwrap(),
            good,
            "changed at {at}"
        );
    }
    for len in [0, 10, good.len() - 1] {
        std::fs::write(file(&cache), &good[..len]).unwrap();
        assert_eq!(bench.run().await.outcome.end, End::Ok, "cut at {len}");
        assert_eq!(std::fs::read(file(&cache)).unwrap(), good, "cut at {len}");
    }
    // One module's code under another's name is as bad.
    let ok = file(&cache);
    let mut other = Bench::guest("trap");
    other.executor = aevir_sandbox::Executor::new(config.clone());
    other.run().await;
    let trap = code(&cache).into_iter().find(|path| *path != ok);
    std::fs::copy(trap.unwrap(), &ok).unwrap();
    assert_eq!(bench.run().await.outcome.end, End::Ok);

    config.program = "/nonexistent/executor".into();
    bench.executor = aevir_sandbox::Executor::new(config);
    let ran = bench.run().await;
    assert!(
        matches!(&ran.outcome.end, End::HostError { text } if text.contains("/nonexistent/executor"))
    );
}

#[tokio::test]
async fn a_bad_spec_starts_nothing() {
    let mut bench = Bench::guest("ok").limits(|limits| limits.wall_ms = u64::MAX);
    let ran = bench.run().await;
    assert!(matches!(&ran.outcome.end, End::HostError { text } if text.contains("wall_ms")));
    assert!(ran.events.is_empty());
}
