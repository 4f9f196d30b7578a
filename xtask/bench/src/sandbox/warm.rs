//! A tiny task: what is left of a run's time when the guest does nothing.

use std::time::Instant;

use aevir_sandbox::{
    End, Role,
    measure::{Bare, InProcess},
};
use anyhow::{Context, Result, ensure};

use super::{BENCH, Bench, plain_error, task::Task};
use crate::figure::{Figure, Target, median};

/// Answers `"ok"` and imports nothing.
const GUEST: &str = include_str!("../../../../sandbox/tests/guests/ok.wat");
/// Runs in turn with the peer, so that both see the same machine.
const IN_PROCESS_CALLS: usize = 200;

/// Answers the warm runs' times, sorted, in µs.
pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<f64>> {
    let wasm = wat::parse_str(GUEST)?;
    bench.say("a warm run");
    let task = Task::new(&wasm, 0)?;
    for _ in 0..bench.rounds(200) {
        task.run("tenant").await?;
    }
    let mut times = Vec::new();
    for _ in 0..bench.rounds(5_000) {
        times.push(task.run("tenant").await?.as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let p50 = median(times.clone());
    let p99 = times.get(times.len() * 99 / 100).copied();
    let p99 = p99.context("no run")?;
    bench.add(Figure::of(BENCH, "warm.p50", p50, "µs").target(Target::Below(300.0)));
    bench.add(Figure::of(BENCH, "warm.p99", p99, "µs"));
    task.executor.close().await;

    in_process(bench, &wasm)?;
    cold(bench, &wasm).await?;
    Ok(times)
}

fn in_process(bench: &mut Bench, wasm: &[u8]) -> Result<()> {
    bench.say("inside of the process, beside wasmtime alone");
    let mut ours = plain_error(InProcess::new(wasm))?;
    let bare = plain_error(Bare::new(wasm))?;
    let (mut our_times, mut bare_times) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds(100) {
        let started = Instant::now();
        for _ in 0..IN_PROCESS_CALLS {
            let outcome = ours.run();
            ensure!(outcome.end == End::Ok, "{:?}", outcome.end);
        }
        our_times.push(started.elapsed().as_secs_f64() * 1e6 / IN_PROCESS_CALLS as f64);
        let started = Instant::now();
        for _ in 0..IN_PROCESS_CALLS {
            ensure!(plain_error(bare.run())?.is_ok());
        }
        bare_times.push(started.elapsed().as_secs_f64() * 1e6 / IN_PROCESS_CALLS as f64);
    }
    bench.add(
        Figure::of(BENCH, "warm.in-process", median(our_times), "µs")
            .beside("wasmtime alone", median(bare_times))
            .target(Target::RatioAtMost(1.2)),
    );
    Ok(())
}

async fn cold(bench: &mut Bench, wasm: &[u8]) -> Result<()> {
    bench.say("starting processes");
    let task = Task::new(wasm, 0)?;
    task.run("tenant").await?;
    let (mut starts, mut runs) = (Vec::new(), Vec::new());
    for n in 0..bench.rounds(60) {
        let started = task.executor.try_start(Role::Cpu).await?;
        starts.push(started.took.as_secs_f64() * 1e3);
        let took = task.run(&format!("tenant-{n}")).await?;
        runs.push(took.as_secs_f64() * 1e3);
        task.executor.close().await;
    }
    bench.add(Figure::of(
        BENCH,
        "cold.process-start",
        median(starts),
        "ms",
    ));
    bench.add(Figure::of(BENCH, "cold.run", median(runs), "ms"));
    Ok(())
}
