//! The log's figures.

mod append;
mod audit;
mod notes;
mod peers;
mod proof;
mod replay;
mod saturated;
mod sqlite;

use std::{path::PathBuf, time::Duration};

use aevir_events::testing::{Durability, PrivatePostgres};
use anyhow::{Context, Result};
use sqlx::{Connection as _, PgConnection};

pub(crate) use self::{
    append::{CALLERS, Curves, OURS},
    replay::replay_export,
};
use crate::{
    Options,
    callers::Span,
    figure::{Figure, Found},
    host::{Host, say},
    plot, report,
};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Many callers with one event each.
    Append,
    /// More waiting than a batch takes.
    Saturated,
    /// From an export and from PostgreSQL; starts.
    Replay,
    /// Everything that an auditor checks.
    Audit,
    /// Out of tiles.
    Proof,
}

const PARTS: [Part; 5] = [
    Part::Append,
    Part::Saturated,
    Part::Replay,
    Part::Audit,
    Part::Proof,
];

/// How it is measured, and what came out so far.
pub(crate) struct Bench {
    pub(crate) rounds: usize,
    pub(crate) span: Span,
    /// Length of the history that is replayed.
    pub(crate) history_events: usize,
    pub(crate) tools: PathBuf,
    /// The program `aevir`, built for release.
    pub(crate) program: Option<PathBuf>,
    found: Found,
}

impl Bench {
    fn new(options: &Options) -> Self {
        let seconds = |warm_up: f64, measure: f64| Span {
            warm_up: Duration::from_secs_f64(warm_up),
            measure: Duration::from_secs_f64(measure),
        };
        let (rounds, span, history_events) = match options.quick {
            true => (1, seconds(0.3, 1.0), 20_000),
            false => (5, seconds(1.0, 3.0), 1_000_000),
        };
        Self {
            rounds,
            span,
            history_events,
            tools: options.tools.clone(),
            program: options.program.clone(),
            found: Found::new(options.json),
        }
    }

    pub(crate) fn say(&self, what: &str) {
        say(what);
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.found.add(figure);
    }
}

/// Measures what `options` ask for.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let host = Host::look(&std::env::temp_dir())?;
    let settings = settings().await?;
    let parts: Vec<Part> = match options.only.is_empty() {
        true => PARTS.to_vec(),
        false => options.only.clone(),
    };
    let mut bench = Bench::new(options);
    let (mut curves, mut peaks) = (Curves::new(), replay::Peaks::new());
    for part in &parts {
        match part {
            Part::Append => curves = append::measure(&mut bench).await?,
            Part::Saturated => {
                saturated::postgres(&mut bench).await?;
                saturated::sqlite(&mut bench).await?;
            }
            Part::Replay => peaks = replay::measure(&mut bench).await?,
            Part::Audit => tokio::task::block_in_place(|| audit::measure(&mut bench))?,
            Part::Proof => proof::measure(&mut bench).await?,
        }
    }
    bench.found.show();
    if !options.quick && parts.len() == PARTS.len() {
        std::fs::create_dir_all(&options.out)
            .with_context(|| format!("{} can't be made", options.out.display()))?;
        plot::append(&curves, &options.out)?;
        replay::draw(peaks, &options.out)?;
        let conditions = format!(
            "One small write with `fdatasync` takes {:.2} ms. PostgreSQL for everybody: {}. SQLite for everybody: journal_mode WAL, \
             synchronous FULL.",
            host.sync.as_secs_f64() * 1_000.0,
            settings.join(", ")
        );
        report::write(&options.out, "log", bench.found.all(), &host, &conditions)?;
        bench.say(&format!("written to {}", options.out.display()));
    }
    Ok(())
}

/// What the server that everybody is measured on says about itself.
async fn settings() -> Result<Vec<String>> {
    let database = PrivatePostgres::start_with(Durability::Disk).await;
    let mut connection = PgConnection::connect_with(&database.options()).await?;
    let mut shown = Vec::new();
    for name in [
        "server_version",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "shared_buffers",
    ] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
        shown.push(format!("{name} {value}"));
    }
    Ok(shown)
}
