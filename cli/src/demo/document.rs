//! The demo's outcome as one document, and the promises that it has to keep.

use std::{collections::BTreeMap, path::Path, time::Instant};

use aevir_wire::{Assignment, Task};
use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    history::{self, History},
    play::Story,
    world::World,
};
use crate::{export, verbs::receipt::verify};

/// The exported log, in the demo's folder.
pub(super) const EXPORT: &str = "log.ndjson";
/// The least accuracy that the evaluation's check demands.
const ACCURACY_MIN: f64 = 0.95;
const PPM: f64 = 1_000_000.0;

/// Everything that happened.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    pub(super) tasks: Vec<TaskRow>,
    pub(super) accuracy: f64,
    pub(super) cheater: Cheater,
    pub(super) killed: Killed,
    pub(super) ledger: LedgerPart,
    /// IntelliPoints by account.
    pub(super) points: BTreeMap<String, PointsRow>,
    pub(super) log: LogPart,
    pub(super) adapter: Adapter,
    pub(super) duration_ms: u64,
    /// For the tables: names of nodes and accounts by id.
    #[serde(skip)]
    pub(super) names: BTreeMap<String, String>,
    /// For the tables: who earned what, by task.
    #[serde(skip)]
    pub(super) earnings: Vec<Earning>,
}

/// One task.
#[derive(Debug, Serialize)]
pub(super) struct TaskRow {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) state: String,
    /// Whose result was accepted.
    pub(super) nodes: Vec<String>,
    pub(super) refused_nodes: Vec<String>,
    /// In micro-AEV.
    pub(super) fee: String,
    pub(super) duration_ms: u64,
}

/// The node that submitted a wrong result.
#[derive(Debug, Serialize)]
pub(super) struct Cheater {
    pub(super) node: String,
    pub(super) caught: bool,
    /// Its owner's compute points before it was caught.
    pub(super) points_before: i64,
    pub(super) points_after: i64,
}

/// The node that was killed, and who finished in its place.
#[derive(Debug, Serialize)]
pub(super) struct Killed {
    pub(super) node: String,
    pub(super) task: String,
    pub(super) finished_on: String,
}

/// The ledger, in micro-AEV.
#[derive(Debug, Serialize)]
pub(super) struct LedgerPart {
    pub(super) sum: String,
    pub(super) accounts: BTreeMap<String, String>,
}

/// An account's points.
#[derive(Debug, Serialize)]
pub(super) struct PointsRow {
    pub(super) compute: i64,
    pub(super) content: i64,
    pub(super) verification: i64,
}

/// The log and its replay.
#[derive(Debug, Serialize)]
pub(super) struct LogPart {
    pub(super) events: u64,
    pub(super) root: String,
    pub(super) replay_equal: bool,
    /// The public key that signs its checkpoints.
    pub(super) key: String,
    /// Settlements whose receipts were verified with that key alone.
    pub(super) receipts: usize,
}

/// What computed.
#[derive(Debug, Serialize)]
pub(super) struct Adapter {
    pub(super) name: String,
    pub(super) class: String,
}

/// One share of one task's fee.
#[derive(Debug)]
pub(super) struct Earning {
    pub(super) task: String,
    pub(super) role: String,
    pub(super) account: Option<String>,
    pub(super) amount: String,
}

/// Exports the log, replays it, and puts everything together.
pub(super) async fn gather(
    world: &World,
    story: &Story,
    folder: &Path,
    started: Instant,
) -> Result<Document> {
    let head = world.admin.log_head(true).await?;
    let file = folder.join(EXPORT);
    export::whole(&world.admin, &file).await?;
    let history = history::read(&file).await?;
    let audit = &history.audit;
    let live_ledger = world.admin.ledger().await?;
    // The ledger moves with verdicts only, and all have been given.
    let replay_equal = audit.clean
        && head.root == audit.root
        && head.state_hash.as_ref() == Some(&audit.state_hash)
        && live_ledger.balances == audit.ledger.accounts;
    let key = world.admin.log_key().await?.key;
    let verifier = key.parse()?;
    let mut receipts = 0;
    for task in &story.tasks {
        let receipt = world.requester.task_receipt(&task.id).await?;
        verify(&receipt, &verifier)?;
        receipts += 1;
    }
    Ok(Document {
        tasks: story.tasks.iter().map(row).collect::<Result<_>>()?,
        accuracy: accuracy(&story.tasks)?,
        cheater: cheater(world, &story.tasks, &history).await?,
        killed: killed(world, story),
        ledger: LedgerPart {
            sum: audit.ledger.sum.clone(),
            accounts: audit.ledger.accounts.clone(),
        },
        points: points(&history)?,
        log: LogPart {
            events: audit.events,
            root: audit.root.clone(),
            replay_equal,
            key,
            receipts,
        },
        adapter: Adapter {
            name: world.gpu.adapter.clone(),
            class: world.gpu.class.clone(),
        },
        duration_ms: u64::try_from(started.elapsed().as_millis())?,
        names: names(world),
        earnings: earnings(&story.tasks),
    })
}

fn nodes_in(task: &Task, state: &str) -> Vec<String> {
    let assignments = task.assignments.iter().filter(|a| a.state == state);
    assignments.map(|a| a.node.clone()).collect()
}

fn row(task: &Task) -> Result<TaskRow> {
    let fee = task.settlement.as_ref().map(|s| s.fee.clone());
    let duration = task.duration_ms.as_deref().unwrap_or("0");
    Ok(TaskRow {
        id: task.id.clone(),
        kind: task.kind.clone(),
        state: task.state.clone(),
        nodes: nodes_in(task, "accepted"),
        refused_nodes: nodes_in(task, "refused"),
        fee: fee.unwrap_or_else(|| "0".to_owned()),
        duration_ms: duration.parse().context("a duration is no number")?,
    })
}

fn of_kind<'a>(tasks: &'a [Task], kind: &str) -> Result<&'a Task> {
    let found = tasks.iter().find(|task| task.kind == kind);
    found.with_context(|| format!("there is no {kind} task"))
}

fn accuracy(tasks: &[Task]) -> Result<f64> {
    let verdict = of_kind(tasks, "evaluation")?.verdict.as_ref();
    let metrics = verdict.map(|v| v.metrics.as_slice()).unwrap_or_default();
    let metric = metrics.iter().find(|m| m.name == "accuracy");
    let micro: i64 = metric
        .context("the evaluation has no metric `accuracy`")?
        .value
        .parse()
        .context("the accuracy is no number")?;
    // Exact: there are fewer micro-units in an accuracy than a double holds.
    Ok(micro as f64 / PPM)
}

async fn cheater(world: &World, tasks: &[Task], history: &History) -> Result<Cheater> {
    let process = &world.nodes[world.cheater];
    let owner = world.admin.node(&process.id).await?.owner;
    let evaluation = of_kind(tasks, "evaluation")?;
    let refused = evaluation.assignments.iter().any(|a| {
        a.node == process.id && a.state == "refused" && a.reason.as_deref() == Some("mismatch")
    });
    let punishment = history.punishments.iter().find(|p| p.account == owner);
    Ok(Cheater {
        node: process.id.clone(),
        caught: refused && punishment.is_some(),
        points_before: punishment.map_or(0, |p| p.before),
        points_after: punishment.map_or(0, |p| p.after),
    })
}

fn killed(world: &World, story: &Story) -> Killed {
    let crash = &story.crash;
    let task = story.tasks.iter().find(|t| t.id == crash.task);
    let finisher = |a: &&Assignment| a.id > crash.assignment && a.state == "accepted";
    let finished_on = task.and_then(|t| t.assignments.iter().find(finisher));
    Killed {
        node: world.nodes[crash.node].id.clone(),
        task: crash.task.clone(),
        finished_on: finished_on.map(|a| a.node.clone()).unwrap_or_default(),
    }
}

fn points(history: &History) -> Result<BTreeMap<String, PointsRow>> {
    let rows = history.audit.points.iter().map(|(account, points)| {
        let row = PointsRow {
            compute: points.compute.parse()?,
            content: points.content.parse()?,
            verification: points.verification.parse()?,
        };
        Ok((account.clone(), row))
    });
    rows.collect()
}

fn names(world: &World) -> BTreeMap<String, String> {
    let nodes = world.nodes.iter().map(|n| (n.id.clone(), n.name.clone()));
    world.accounts.clone().into_iter().chain(nodes).collect()
}

fn earnings(tasks: &[Task]) -> Vec<Earning> {
    let shares = tasks.iter().flat_map(|task| {
        let shares = task.settlement.iter().flat_map(|s| &s.shares);
        shares.map(|share| Earning {
            task: task.kind.clone(),
            role: share.role.clone(),
            account: share.account.clone(),
            amount: share.amount.clone(),
        })
    });
    shares.collect()
}

impl Document {
    /// Whether every promise was kept.
    ///
    /// # Errors
    /// The first that was not.
    pub(super) fn check(&self) -> Result<()> {
        for task in &self.tasks {
            ensure!(
                task.state == "settled",
                "the task {} is {} and not settled",
                task.kind,
                task.state
            );
        }
        ensure!(
            self.accuracy >= ACCURACY_MIN,
            "the accuracy is {}, below {ACCURACY_MIN}",
            self.accuracy
        );
        let cheater = &self.cheater;
        ensure!(cheater.caught, "the cheater was not caught");
        ensure!(
            cheater.points_after < cheater.points_before,
            "the cheater lost no points: {} before, {} after",
            cheater.points_before,
            cheater.points_after
        );
        let killed = &self.killed;
        ensure!(
            !killed.finished_on.is_empty() && killed.finished_on != killed.node,
            "the killed node's task was not finished elsewhere"
        );
        ensure!(
            self.ledger.sum == "0",
            "the ledger sums to {} and not to zero",
            self.ledger.sum
        );
        ensure!(
            self.log.replay_equal,
            "the replayed log does not make the live state"
        );
        Ok(())
    }
}
