//! Many callers with one event each, on PostgreSQL: the executor beside those that commit every event by itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aevir_events::{
    Executor, Handle, Options, PostgresLog,
    testing::{Durability, PrivatePostgres},
};
use anyhow::{Context, Result};
use sqlx::{Connection as _, PgConnection};

use super::{
    Bench,
    notes::{Notes, Writer},
    peers::{Kind, Peer},
};
use crate::{
    callers::{Sample, Span, drive},
    figure::{Figure, Target, median},
};

/// Callers at the same time; the last two have targets, the others are for the plot.
pub(crate) const CALLERS: [usize; 5] = [1, 8, 32, 128, 512];
/// Connections that are tried for peers with more callers than the server takes connections.
const CONNECTIONS: [usize; 5] = [16, 32, 64, 128, 256];
/// Most callers that get a connection each.
const OWN_CONNECTION_MAX: usize = 128;

/// All rounds of one contender at one number of callers.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) samples: Vec<Sample>,
}

impl Rounds {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }

    pub(crate) fn per_s(&self) -> f64 {
        self.median(|sample| sample.per_s)
    }

    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        self.median(|sample| sample.percentile_ms(percent))
    }
}

/// By the contender's name and the number of callers.
pub(crate) type Curves = BTreeMap<(&'static str, usize), Rounds>;

/// How the executor is called in tables and plots.
pub(crate) const OURS: &str = "Aevir";

/// Who takes turns.
struct Contenders {
    ours: Handle<Notes>,
    peers: [Peer; 2],
    /// For `CHECKPOINT`.
    admin: PgConnection,
}

/// Measures all contenders in turns.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Curves> {
    let database = PrivatePostgres::start_with(Durability::Disk).await;
    let mut contenders = Contenders {
        ours: start(&database).await?,
        peers: [
            peer(bench, Kind::Bigserial).await?,
            peer(bench, Kind::MessageDb).await?,
        ],
        admin: PgConnection::connect_with(&database.options()).await?,
    };
    let best = best_connections(bench, &contenders).await?;
    let mut curves = Curves::new();
    for callers in CALLERS {
        let rounds = if callers < OWN_CONNECTION_MAX {
            bench.rounds.min(3)
        } else {
            bench.rounds
        };
        for round in 0..rounds {
            bench.say(&format!(
                "append, {callers} callers, round {} of {rounds}",
                round + 1
            ));
            contenders
                .round(bench.span, callers, round, &best, &mut curves)
                .await?;
        }
    }
    contenders.ours.shutdown().await;
    report(bench, &curves, &best);
    Ok(curves)
}

async fn start(database: &PrivatePostgres) -> Result<Handle<Notes>> {
    let log = PostgresLog::open_with(database.options()).await?;
    Ok(Executor::start(Arc::new(log), Options::default()).await?)
}

async fn peer(bench: &Bench, kind: Kind) -> Result<Peer> {
    let database = PrivatePostgres::start_with(Durability::Disk).await;
    Peer::set_up(kind, &database, &bench.tools).await
}

impl Contenders {
    /// Everybody once, in an order that differs from round to round.
    async fn round(
        &mut self,
        span: Span,
        callers: usize,
        round: usize,
        best: &BTreeMap<&'static str, usize>,
        curves: &mut Curves,
    ) -> Result<()> {
        let contenders = 1 + self.peers.len();
        for turn in 0..contenders {
            // So that nobody pays for the pages that another one left dirty.
            sqlx::query("CHECKPOINT").execute(&mut self.admin).await?;
            let (name, sample) = match (turn + round) % contenders {
                0 => (OURS, drive(Writer::many(&self.ours, callers), span).await?),
                number => {
                    let peer = &self.peers[number - 1];
                    let name = peer.kind.name();
                    let connections = match callers <= OWN_CONNECTION_MAX {
                        true => callers,
                        false => best.get(name).copied().unwrap_or(OWN_CONNECTION_MAX),
                    };
                    let callers = peer.callers(callers, connections).await?;
                    (name, drive(callers, span).await?)
                }
            };
            curves
                .entry((name, callers))
                .or_default()
                .samples
                .push(sample);
        }
        Ok(())
    }
}

/// With how many connections each peer does most.
async fn best_connections(
    bench: &Bench,
    contenders: &Contenders,
) -> Result<BTreeMap<&'static str, usize>> {
    let probe = Span {
        warm_up: Duration::from_millis(300),
        measure: bench.span.measure / 2,
    };
    let mut best = BTreeMap::new();
    for peer in &contenders.peers {
        let mut found = Vec::new();
        for connections in CONNECTIONS {
            let callers = peer.callers(connections, connections).await?;
            found.push((drive(callers, probe).await?.per_s, connections));
        }
        let most = found.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
        let (per_s, connections) = most.context("connections are tried")?;
        let name = peer.kind.name();
        bench.say(&format!(
            "{name} does most with {connections} connections: {per_s:.0}/s"
        ));
        best.insert(name, connections);
    }
    Ok(best)
}

fn report(bench: &mut Bench, curves: &Curves, best: &BTreeMap<&'static str, usize>) {
    let targets = [
        (128, Kind::Bigserial, 2.0),
        (128, Kind::MessageDb, 4.0),
        (512, Kind::Bigserial, 3.0),
        (512, Kind::MessageDb, 6.0),
    ];
    for (callers, kind, least) in targets {
        let (Some(ours), Some(theirs)) = (
            curves.get(&(OURS, callers)),
            curves.get(&(kind.name(), callers)),
        ) else {
            continue;
        };
        let connections = match callers <= OWN_CONNECTION_MAX {
            true => callers,
            false => best.get(kind.name()).copied().unwrap_or_default(),
        };
        let peer = format!("{}, {connections} connections", kind.name());
        bench.add(
            Figure::alone(
                format!("append.postgres.{callers}"),
                ours.per_s(),
                "events/s",
            )
            .beside(peer.clone(), theirs.per_s())
            .target(Target::RatioAtLeast(least)),
        );
        for percent in [50.0, 99.0] {
            bench.add(
                Figure::alone(
                    format!("append.postgres.{callers}.p{percent}"),
                    ours.percentile_ms(percent),
                    "ms",
                )
                .beside(peer.clone(), theirs.percentile_ms(percent)),
            );
        }
    }
}
