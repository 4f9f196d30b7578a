//! From one run to the next in the same process: it answers before it has given back what its run held, and the next run is not
//! judged by that.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::{End, Executor, ExecutorConfig, PoolConfig, RunEvent, Tuning};
use support::{Bench, Ran};

/// A guest that takes and touches a gigabyte of memory, and returns.
const LARGE: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "\"ok\"")
    (func (export "run") (result i32)
      (drop (memory.grow (i32.const 16000)))
      (memory.fill (i32.const 65536) (i32.const 1) (i32.const 1048576000))
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (i32.const 64))
      (i32.store (i32.const 8) (i32.const 4))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))"#;

/// Processes that may take 128 MiB beside what their runs' limits grant.
fn executor(bench: &Bench, pool: PoolConfig) -> Executor {
    let config = ExecutorConfig {
        program: env!("CARGO_BIN_EXE_aevir-executor").into(),
        args: Vec::new(),
        cache_dir: bench.dir.path().join("cache"),
        env: Default::default(),
        log: None,
    };
    let tuning = Tuning {
        host_bytes_max: 128 << 20,
        pool: PoolConfig { warm: 0, ..pool },
        ..Tuning::default()
    };
    Executor::tuned(config, tuning)
}

/// The process that ran it, which must have returned.
fn pid(ran: &Ran) -> u32 {
    assert_eq!(ran.outcome.end, End::Ok);
    match ran.events.first() {
        Some(RunEvent::Started { pid }) => *pid,
        other => panic!("not started: {other:?}"),
    }
}

#[tokio::test]
async fn a_process_in_which_a_run_left_much_gets_no_other() {
    for (left_bytes_max, is_kept) in [(1, false), (1 << 30, true)] {
        let mut bench = Bench::guest("ok");
        bench.executor = executor(
            &bench,
            PoolConfig {
                left_bytes_max,
                ..PoolConfig::default()
            },
        );
        let first = pid(&bench.run().await);
        let second = pid(&bench.run().await);
        assert_eq!(first == second, is_kept, "{left_bytes_max}");
    }
}

#[tokio::test]
async fn a_small_run_after_a_large_one_is_not_judged_by_its_memory() {
    let mut large = Bench::new(&wat::parse_str(LARGE).unwrap()).limits(|limits| {
        limits.memory_bytes = 1 << 30;
    });
    let mut small = Bench::guest("ok").limits(|limits| limits.memory_bytes = 1 << 20);
    large.executor = executor(&large, PoolConfig::default());
    small.executor = large.executor.clone();
    let process = pid(&small.run().await);
    for _ in 0..3 {
        let ran = large.run().await;
        assert_eq!(pid(&ran), process);
        assert!(ran.outcome.usage.peak_memory_bytes > 900 << 20);
        assert_eq!(pid(&small.run().await), process);
    }
}
