//! Reading a long log: replay into the platform's state with every entry's leaf hashed into the tree and the root
//! compared, from an export and from PostgreSQL; and a start that a snapshot makes short.
//!
//! The history is a market's, decided by the platform's own machine. Replays from exports run in a process of their
//! own, so that its peak of memory is theirs.

use std::{
    convert::Infallible,
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    process::Command,
    sync::Arc,
    time::Instant,
};

use aevir_events::{
    CHUNK_ENTRIES, CloudEventLine, CloudEventWriter, Executor, Found, Log, Options, PostgresLog,
    Replay, replay_log,
    testing::{Durability, PrivatePostgres},
    workers,
};
use aevir_platform::{Platform, testing::History};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Bench;
use crate::{
    figure::{Figure, Target, median},
    host::peak_bytes,
    plot::{self, Line},
};

/// Which history; every length is a prefix of the same one.
const SEED: u64 = 1;
/// Events of one append while a database is filled.
const FILL_EVENTS: usize = 2_000;
/// Runs of a start whose median counts.
const STARTS: usize = 3;
const MIB: f64 = 1_048_576.0;

/// What one replay of an export came to, printed by the process that made it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    events: u64,
    root: String,
    seconds: f64,
    peak_bytes: u64,
}

/// Peak memory in MiB over the length, for the plot.
pub(crate) type Peaks = Vec<(f64, f64)>;

/// Measures all of it; answers the peaks.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Peaks> {
    let longest = bench.history_events;
    let folder = tempfile::tempdir()?;
    let mut peaks = Peaks::new();
    for events in [longest / 4, longest / 2, longest] {
        bench.say(&format!("replay of an export of {events} events"));
        let file = folder.path().join("export.ndjson");
        let root = tokio::task::block_in_place(|| export(&file, events))?;
        let mut rates = Vec::new();
        let mut peak = 0;
        for _ in 0..bench.rounds {
            let outcome = tokio::task::block_in_place(|| replay_elsewhere(&file))?;
            if outcome.root != root {
                bail!(
                    "the replay's root is {}, the history's {root}",
                    outcome.root
                );
            }
            rates.push(outcome.events as f64 / outcome.seconds);
            peak = peak.max(outcome.peak_bytes);
        }
        let peak = peak as f64 / MIB;
        peaks.push((events as f64, peak));
        bench.add(Figure::alone(
            format!("replay.export.{events}.peak"),
            peak,
            "MiB",
        ));
        if events == longest {
            bench.add(
                Figure::alone("replay.export", median(rates), "events/s")
                    .target(Target::AtLeast(300_000.0)),
            );
        }
    }
    postgres(bench, longest).await?;
    Ok(peaks)
}

/// Writes the history's beginning as `aevir log export` does, `events` and the few more that make the last command whole;
/// answers its root.
pub(crate) fn export(file: &Path, events: usize) -> Result<String> {
    let mut out = BufWriter::new(File::create(file)?);
    let writer = CloudEventWriter::new("bench.invalid/log");
    let mut tree = aevir_events::merkle::Frontier::default();
    let mut line = Vec::new();
    let mut history = History::new(SEED);
    while tree.size() < events as u64 {
        for row in history.batch(1, 0).events {
            line.clear();
            writer.write(&row.entry, &mut line)?;
            line.push(b'\n');
            out.write_all(&line)?;
            tree.push(row.leaf);
        }
    }
    // On the disk, so that no replay shares the machine with the writing of it.
    out.into_inner()?.sync_all()?;
    Ok(tree.root().to_string())
}

fn replay_elsewhere(file: &Path) -> Result<Outcome> {
    let output = Command::new(std::env::current_exe()?)
        .arg("replay-export")
        .arg(file)
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("the replaying process speaks JSON")
}

/// Replays an export; what the process of its own does.
pub(crate) fn replay_export(file: &Path) -> Result<Outcome> {
    let started = Instant::now();
    let mut lines = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut broken = None;
    let chunks = std::iter::from_fn(|| {
        let mut chunk = Vec::with_capacity(CHUNK_ENTRIES);
        let mut line = Vec::new();
        while chunk.len() < CHUNK_ENTRIES {
            line.clear();
            let read = lines
                .read_until(b'\n', &mut line)
                .map_err(anyhow::Error::from);
            let entry = read.and_then(|bytes| match line.strip_suffix(b"\n") {
                None if bytes == 0 => Ok(None),
                line_or_rest => Ok(Some(
                    CloudEventLine::read(line_or_rest.unwrap_or(&line))?.entry,
                )),
            });
            match entry {
                Ok(Some(entry)) => chunk.push(Found::from(entry)),
                Ok(None) => break,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        (!chunk.is_empty()).then_some(Ok::<_, Infallible>(chunk))
    });
    let mut replay = Replay::<Platform>::default();
    replay.run(workers(), chunks, &(), &mut ())?;
    if let Some(error) = broken {
        return Err(error);
    }
    Ok(Outcome {
        events: replay.size(),
        root: replay.root().to_string(),
        seconds: started.elapsed().as_secs_f64(),
        peak_bytes: peak_bytes(),
    })
}

async fn postgres(bench: &mut Bench, events: usize) -> Result<()> {
    bench.say(&format!("filling PostgreSQL with {events} events"));
    let database = PrivatePostgres::start_with(Durability::Disk).await;
    let log: Arc<dyn Log> = Arc::new(PostgresLog::open_with(database.options()).await?);
    fill(log.as_ref(), events).await?;
    let mut rates = Vec::new();
    for round in 0..bench.rounds {
        bench.say(&format!(
            "replay from PostgreSQL, round {} of {}",
            round + 1,
            bench.rounds
        ));
        let started = Instant::now();
        // Compares the root itself.
        let replayed = replay_log::<Platform>(log.as_ref()).await?;
        rates.push(replayed.size as f64 / started.elapsed().as_secs_f64());
    }
    bench.add(
        Figure::alone("replay.postgres", median(rates), "events/s")
            .target(Target::AtLeast(200_000.0)),
    );
    // The first start has no snapshot and leaves one behind.
    let whole = start(&log).await?;
    let mut short = Vec::new();
    for _ in 0..STARTS {
        short.push(start(&log).await?);
    }
    bench.add(
        Figure::alone("start", median(short), "s")
            .beside("start without a snapshot", whole)
            .target(Target::Below(2.0)),
    );
    Ok(())
}

async fn fill(log: &dyn Log, events: usize) -> Result<()> {
    let mut history = History::new(SEED);
    let head = log.claim(Default::default()).await?;
    let mut written = 0;
    while written < events {
        let batch = history.batch(FILL_EVENTS, head.epoch);
        written += batch.events.len();
        log.append(Arc::new(batch)).await?;
    }
    Ok(())
}

/// Seconds until an executor leads the log.
async fn start(log: &Arc<dyn Log>) -> Result<f64> {
    let started = Instant::now();
    let handle = Executor::start::<Platform>(Arc::clone(log), Options::default()).await?;
    let seconds = started.elapsed().as_secs_f64();
    handle.shutdown().await;
    Ok(seconds)
}

/// The plot of the peaks.
pub(crate) fn draw(peaks: Peaks, folder: &Path) -> Result<()> {
    let frame = plot::Frame {
        title: "Replay of an export into the platform's state",
        x: "events in the log",
        y: "peak memory, MiB",
    };
    let line = Line {
        name: "resident".to_owned(),
        points: peaks,
    };
    plot::draw(&folder.join("log-replay.svg"), &frame, &[line])
}
