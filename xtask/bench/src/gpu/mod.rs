//! The GPU's figures: a guest on the compute interface, and a native program on wgpu that does the very same with the very same
//! instrumented kernels, in turns.

mod buffers;
mod guest;
mod hardware;
mod native;
#[path = "../../../../examples/testing/gpu-bench/src/plan.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "the guest's file"
)]
mod plan;

use std::path::PathBuf;

use aevir_gpu::{AdapterInfo, adapter::DeviceType};
use anyhow::{Context, Result, ensure};
use clap::Args;
use plan::Plan;

use crate::{
    figure::{Figure, Found, Target, median, number},
    host::{Host, say},
    plot, report,
};
use guest::Guest;
use native::Native;

const BENCH: &str = "gpu";
const PEER: &str = "native wgpu";
/// Dispatches of a batch, for the curve of what the interface costs.
const BATCHES: [usize; 5] = [1, 4, 16, 64, 256];
/// What is streamed, in chunks of [`plan::CHUNK_BYTES`].
const STREAM_BYTES: usize = 1 << 30;
/// Rounds that a stream is cut into, to look at the memory in between.
const STREAM_ROUNDS: usize = 16;
/// Resident memory that a stream may add after its first round, in MiB: less than a hundredth of what flows.
const STREAM_GROWTH_MIB: f64 = 8.0;
const MIB: f64 = (1u64 << 20) as f64;
/// The page's section on hardware. Software's figures stand where any bench's do, so that a machine without a GPU replaces only those.
const HARDWARE: &str = "a GPU";

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// One JSON line per figure on stdout, nothing else.
    #[arg(long)]
    json: bool,
    /// Few and short rounds: shows that everything works, and proves nothing. Writes no files.
    #[arg(long)]
    quick: bool,
    /// Where the table and the plots are written.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
}

/// What is measured in turns.
struct Work {
    /// In the metric's name.
    name: String,
    /// In the guest's `params`.
    guest: &'static str,
    dispatches: usize,
    plan: Plan,
    /// Computations of a round: enough for a few tenths of a second.
    repeat: usize,
    target: Option<Target>,
}

/// Seconds for one computation, in the middle.
#[derive(Clone, Copy)]
struct Pair {
    guest_s: f64,
    native_s: f64,
}

/// How it is measured, and what came out so far.
struct Bench {
    guest: Guest,
    adapter: AdapterInfo,
    turns: usize,
    rounds: usize,
    quick: bool,
    found: Found,
}

impl Bench {
    fn say(&self, what: &str) {
        say(what);
    }

    fn add(&mut self, figure: Figure) {
        self.found.add(figure);
    }

    fn is_software(&self) -> bool {
        self.adapter.device_type == DeviceType::Cpu
    }

    /// Time beside the peer's; of a software adapter only the ratio, for its speed says nothing about any GPU.
    fn add_pair(&mut self, metric: &str, pair: Pair, target: Option<Target>) {
        let figure = match self.is_software() {
            true => Figure::of(BENCH, metric, pair.guest_s / pair.native_s, "x").beside(PEER, 1.0),
            false => Figure::of(BENCH, metric, pair.guest_s * 1e3, "ms")
                .beside(PEER, pair.native_s * 1e3),
        };
        self.add(match target {
            Some(target) => figure.target(target),
            None => figure,
        });
    }

    /// Guest and native in turns; what they compute must be the same, bit by bit.
    async fn measure(&mut self, work: &Work) -> Result<Pair> {
        self.say(&work.name);
        let native = Native::open(&work.plan)?;
        let (mut guests, mut natives) = (Vec::new(), Vec::new());
        let repeat = if self.quick {
            work.repeat.div_ceil(20)
        } else {
            work.repeat
        };
        for _ in 0..self.turns {
            let ran = self
                .guest
                .run(work.guest, work.dispatches, self.rounds, repeat)
                .await?;
            guests.extend(ran.rounds.iter().map(|round| round.seconds / repeat as f64));
            let (seconds, words) = native.run(self.rounds, repeat)?;
            natives.extend(seconds.into_iter().map(|seconds| seconds / repeat as f64));
            ensure!(
                ran.words == words,
                "{}: the guest and the native program computed different things",
                work.name
            );
        }
        Ok(Pair {
            guest_s: median(guests),
            native_s: median(natives),
        })
    }

    async fn add_measured(&mut self, work: &Work) -> Result<Pair> {
        let pair = self.measure(work).await?;
        self.add_pair(&work.name, pair, work.target);
        Ok(pair)
    }

    /// A gibibyte in and out: its time, and the executor's memory after each round.
    async fn stream(&mut self) -> Result<Vec<(f64, f64)>> {
        self.say("stream");
        let plan = plan::stream();
        let bytes = if self.quick {
            STREAM_BYTES / 16
        } else {
            STREAM_BYTES
        };
        let repeat = bytes / plan::CHUNK_BYTES / STREAM_ROUNDS;
        let ran = self.guest.run("stream", 1, STREAM_ROUNDS, repeat).await?;
        let native = Native::open(&plan)?.stream(STREAM_ROUNDS, repeat)?;
        let seconds = |rounds: Vec<f64>| median(rounds) * STREAM_ROUNDS as f64;
        let pair = Pair {
            guest_s: seconds(ran.rounds.iter().map(|round| round.seconds).collect()),
            native_s: seconds(native),
        };
        self.add_pair("stream.1-gib", pair, None);
        let memory: Vec<_> = (1..)
            .zip(&ran.rounds)
            .map(|(round, measured)| {
                let streamed = f64::from(round) * bytes as f64 / STREAM_ROUNDS as f64;
                (streamed / MIB, measured.peak_bytes as f64 / MIB)
            })
            .collect();
        let (first, last) = (
            memory.first().context("no round")?.1,
            memory.last().context("no round")?.1,
        );
        self.add(Figure::of(BENCH, "stream.peak-memory", last, "MiB"));
        self.add(
            Figure::of(
                BENCH,
                "stream.growth-after-first-round",
                last - first,
                "MiB",
            )
            .target(Target::Below(STREAM_GROWTH_MIB)),
        );
        Ok(memory)
    }
}

/// Measures everything.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let host = Host::look(&std::env::temp_dir())?;
    let guest = Guest::new()?;
    let adapter = guest.probe().await?;
    // Software takes seconds where hardware takes milliseconds.
    let (turns, rounds) = match (options.quick, adapter.device_type) {
        (true, _) => (1, 2),
        (false, DeviceType::Cpu) => (3, 3),
        (false, _) => (3, 5),
    };
    let mut bench = Bench {
        guest,
        adapter,
        turns,
        rounds,
        quick: options.quick,
        found: Found::new(options.json),
    };
    let heavy = Some(Target::RatioAtMost(1.05));
    for (name, guest, plan) in [
        ("matmul.1024", "matmul", plan::matmul()),
        ("transformer.6-layers", "transformer", plan::transformer()),
    ] {
        let work = Work {
            name: name.into(),
            guest,
            dispatches: 1,
            plan,
            repeat: if bench.is_software() { 1 } else { 200 },
            target: heavy,
        };
        bench.add_measured(&work).await?;
    }
    let mut curve = Vec::new();
    for dispatches in BATCHES {
        let work = Work {
            name: format!("empty.{dispatches}"),
            guest: "empty",
            dispatches,
            plan: plan::empty(dispatches),
            repeat: 2_000 / dispatches.isqrt(),
            target: (dispatches == 1).then_some(Target::RatioAtMost(2.0)),
        };
        let pair = bench.add_measured(&work).await?;
        curve.push((dispatches as f64, pair.guest_s / pair.native_s));
    }
    let memory = bench.stream().await?;
    buffers::measure(&mut bench)?;
    let hardware = hardware::measure(&mut bench).await?;
    bench.found.show();
    if !options.json {
        println!("hardware: {hardware}");
    }
    if !options.quick {
        write(options, &bench, &host, [curve, memory], &hardware)?;
    }
    Ok(())
}

fn write(
    options: &Options,
    bench: &Bench,
    host: &Host,
    [curve, memory]: [Vec<(f64, f64)>; 2],
    hardware: &str,
) -> Result<()> {
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("{} can't be made", options.out.display()))?;
    let (part, kind) = match bench.is_software() {
        true => ("", "gpu"),
        false => (HARDWARE, "gpu-hardware"),
    };
    let [dispatch, stream] = ["dispatch", "stream"].map(|plot| format!("{kind}-{plot}.svg"));
    let line = |name: &str, points| plot::Line {
        name: name.into(),
        points,
    };
    let frame = plot::Frame {
        title: "What the guest interface costs: empty dispatches, one submission and one wait",
        x: "dispatches in a batch",
        y: "time over native wgpu's",
    };
    let even = curve.iter().map(|&(x, _)| (x, 1.0)).collect();
    plot::draw(
        &options.out.join(&dispatch),
        &frame,
        &[line("guest interface", curve), line("native wgpu", even)],
    )?;
    let frame = plot::Frame {
        title: "1 GiB streamed through a kernel in chunks of 1 MiB",
        x: "MiB streamed",
        y: "executor's peak memory, MiB",
    };
    plot::draw(
        &options.out.join(&stream),
        &frame,
        &[line("executor process", memory)],
    )?;
    let facts = conditions(&bench.adapter, hardware, [&dispatch, &stream]);
    report::write_part(&options.out, BENCH, part, bench.found.all(), host, &facts)?;
    bench.say(&format!("written to {}", options.out.display()));
    Ok(())
}

fn conditions(adapter: &AdapterInfo, hardware: &str, [dispatch, stream]: [&str; 2]) -> String {
    let AdapterInfo {
        name,
        driver,
        driver_info,
        device_type,
        memory_bytes,
        buffer_bytes_max,
        features,
        timestamps,
        class,
        compute,
        ..
    } = adapter;
    let software = match device_type {
        DeviceType::Cpu => {
            " This adapter is software: its own speed says nothing about any GPU, so only ratios are given."
        }
        _ => "",
    };
    let times = if *timestamps { "timestamps" } else { "waiting" };
    let compute = compute.map_or_else(|| "not measured".to_owned(), |compute| compute.to_string());
    let mib = |bytes: u64| number(bytes as f64 / MIB);
    format!(
        "Adapter: {name} ({device_type:?}), driver {} {driver_info}, class `{class}`, compute class {compute}, {} MiB of memory, buffers \
         of up to {} MiB, GPU time by {times}; on request: {}.{software}\n\
         Hardware figures: {hardware}.\n\n\
         ![Empty dispatches]({dispatch})\n\n![Memory while streaming]({stream})",
        driver.trim(),
        mib(*memory_bytes),
        mib(*buffer_bytes_max),
        features.join(", "),
    )
}
