//! Placement's figures: what one placement costs with 10, 1,000 and 100,000 nodes while 100,000 tasks wait, what a task and
//! a node cost in memory, what ten thousand tasks cost that no node can take, and whether any of equal tasks starves.
//!
//! Everything goes through the real state machine: a placement is its part of a plan's decision and of the fold of its events.

mod market;
mod waits;

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::market::Market;
use crate::{
    figure::{Figure, Found, Target, median},
    host::{Host, say},
    plot, report,
};

const BENCH: &str = "plan";
const SIZES: [usize; 3] = [10, 1_000, 100_000];
const TASKS: usize = 100_000;
const REQUESTERS: usize = 20;
/// Placements that are measured at each size.
const PLACEMENTS: usize = 40_000;
/// Rounds at each size; the median counts.
const ROUNDS: usize = 3;
/// Epochs that are closed at each size.
const EPOCHS: usize = 9;
/// Tasks of one more requester that no node can take, each with needs of its own: as many as an account may have.
const IMPOSSIBLE: usize = 10_000;
/// The market in which they wait.
const IMPOSSIBLE_NODES: usize = 1_000;
/// They have waited for so long that plans look for nodes to keep free for them, in ms of the market's time.
const IMPOSSIBLE_MS: i64 = 300_000;
/// Plans for one task each, whose median counts: a market that is not full plans so.
const SINGLE: usize = 401;
/// With fewer nodes not every class of GPU has nodes of several owners.
const FEW_NODES: usize = 1_000;
/// Of all nodes one in so many is the same owner's, where one has many.
const OWNED_PART: usize = 10;
/// Samples that are placed there.
const SAMPLES: usize = 1_000;
/// Accounts whose points fade when an epoch ends.
const ACCOUNTS: usize = 100_000;
/// Nodes of the market in which equal tasks wait.
const WAITING_NODES: usize = 40;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// One JSON line per figure on stdout, nothing else.
    #[arg(long)]
    json: bool,
    /// Few tasks and one round: shows that everything works, and proves nothing. Writes no files.
    #[arg(long)]
    quick: bool,
    /// Only these numbers of nodes; writes no files.
    #[arg(long)]
    nodes: Vec<usize>,
    /// Where the table and the plot are written.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
}

/// What a waiting task and a node take of memory, in bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Weights {
    task: f64,
    node: f64,
    /// What a label, hours and a denial of its own add to that.
    particular: f64,
}

/// What is particular about a market.
#[derive(Debug, Clone, Copy)]
enum Sort {
    Plain,
    /// Each node has a label, hours and a denial of its own.
    Particular,
    /// Of all nodes a tenth are those of the requester.
    OfOne,
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    let host = Host::look(&std::env::temp_dir())?;
    let tasks = if options.quick { TASKS / 50 } else { TASKS };
    let rounds = if options.quick { 1 } else { ROUNDS };
    let mut found = Found::new(options.json);
    let mut curve = Vec::new();
    let (mut smallest, mut alone) = (None, None);
    let sizes = match options.nodes.is_empty() {
        true => SIZES.to_vec(),
        false => options.nodes.clone(),
    };
    for nodes in sizes {
        say(&format!("{tasks} tasks on {nodes} nodes"));
        let (mut costs, mut turns) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (cost, turn) = measure(nodes, tasks, 0)?;
            costs.push(cost);
            turns.push(turn);
        }
        let (cost, turn) = (median(costs), median(turns));
        let (smallest, shortest) = *smallest.get_or_insert((cost, turn));
        let micros = Figure::of(BENCH, format!("placement.{nodes}"), cost * 1e6, "µs");
        found.add(match nodes {
            100_000 => micros
                .beside("10 nodes", smallest * 1e6)
                .target(Target::RatioAtMost(3.0)),
            _ => micros,
        });
        let rate = Figure::of(BENCH, format!("rate.{nodes}"), 1.0 / cost, "placements/s");
        found.add(match nodes {
            1_000 => rate.target(Target::AtLeast(100_000.0)),
            _ => rate,
        });
        let turn = Figure::of(BENCH, format!("epoch.{nodes}"), turn * 1e6, "µs");
        found.add(match nodes {
            100_000 => turn
                .beside("10 nodes", shortest * 1e6)
                .target(Target::RatioAtMost(3.0)),
            _ => turn,
        });
        let single = single(nodes, options.quick, Sort::Plain)?;
        let (fewest, figure) = (
            *alone.get_or_insert(single),
            Figure::of(BENCH, format!("single.{nodes}"), single * 1e6, "µs"),
        );
        found.add(match nodes {
            100_000 => figure
                .beside("10 nodes", fewest * 1e6)
                .target(Target::RatioAtMost(3.0)),
            _ => figure,
        });
        if nodes == 100_000 {
            say("nodes with a label, hours and a denial of their own");
            let particular = self::single(nodes, options.quick, Sort::Particular)?;
            let figure = Figure::of(BENCH, "single.particular", particular * 1e6, "µs");
            let figure = figure.beside("nodes without", single * 1e6);
            found.add(figure.target(Target::RatioAtMost(1.5)));
            say("a tenth of the nodes are one owner's");
            let owner = self::single(nodes, options.quick, Sort::OfOne)?;
            let figure = Figure::of(BENCH, "single.owner", owner * 1e6, "µs");
            let figure = figure.beside("a stranger's", single * 1e6);
            found.add(figure.target(Target::RatioAtMost(1.5)));
            let [with, without] = [nodes / OWNED_PART, 0].map(|of_one| sampled(nodes, of_one));
            let figure = Figure::of(BENCH, "sampled.owner", with? * 1e6, "µs");
            let figure = figure.beside("small owners", without? * 1e6);
            found.add(figure.target(Target::RatioAtMost(1.5)));
        }
        if nodes == IMPOSSIBLE_NODES {
            say("beside tasks that no node can take");
            let rounds = 0..rounds;
            let costs = rounds.map(|_| measure(nodes, tasks, IMPOSSIBLE).map(|(cost, _)| cost));
            let among = median(costs.collect::<Result<Vec<f64>>>()?);
            let figure = Figure::of(BENCH, "placement.impossible", among * 1e6, "µs");
            let figure = figure.beside("without them", cost * 1e6);
            found.add(figure.target(Target::RatioAtMost(1.5)));
        }
        curve.push((nodes as f64, cost * 1e6));
        if nodes == 100_000 {
            say("memory, in a process that did nothing before");
            let weights = weigh_elsewhere(nodes, tasks)?;
            found.add(Figure::of(BENCH, "memory.task", weights.task, "bytes"));
            found.add(Figure::of(BENCH, "memory.node", weights.node, "bytes"));
            let particular = weights.node + weights.particular;
            let figure = Figure::of(BENCH, "memory.node.particular", particular, "bytes");
            found.add(figure.beside("nodes without", weights.node));
        }
    }
    if !options.nodes.is_empty() {
        return write(options, &host, &found, curve);
    }
    let accounts = if options.quick {
        ACCOUNTS / 50
    } else {
        ACCOUNTS
    };
    say(&format!("{accounts} accounts with points, which fade"));
    let mut market = Market::new(0, 0)?;
    market.endow(accounts)?;
    let turns = (0..EPOCHS).map(|_| market.turn_epoch());
    let turn = median(turns.collect::<Result<Vec<f64>>>()?);
    found.add(Figure::of(BENCH, "epoch.points", turn * 1e3, "ms"));
    say("equal tasks that arrive without end");
    let load = match options.quick {
        true => waits::Load {
            steps: waits::FULL.steps / 2,
            ..waits::FULL
        },
        false => waits::FULL,
    };
    let (mean, longest) = waits::measure(load, WAITING_NODES)?;
    let wait = Figure::of(BENCH, "wait.longest", longest, "s").beside("mean wait", mean);
    found.add(wait.target(Target::RatioAtMost(3.0)));
    write(options, &host, &found, curve)
}

fn write(options: &Options, host: &Host, found: &Found, curve: Vec<(f64, f64)>) -> Result<()> {
    found.show();
    if options.quick || !options.nodes.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("{} can't be made", options.out.display()))?;
    let frame = plot::Frame {
        title: "One placement while 100,000 tasks wait",
        x: "nodes",
        y: "µs",
    };
    let line = plot::Line {
        name: "decide and fold".into(),
        points: curve,
    };
    plot::draw(&options.out.join("plan.svg"), &frame, &[line])?;
    let conditions = "One core, everything in memory: commands are decided and their events folded; nothing is written.";
    report::write(&options.out, BENCH, found.all(), host, conditions)?;
    say(&format!("written to {}", options.out.display()));
    Ok(())
}

/// Seconds for one placement, and for one turn of the epoch: placements one after the other, while finished runs make room for
/// the next, and then some epochs, with which all that the nodes did fades. Beside them wait tasks that no node can take, of one more requester.
fn measure(nodes: usize, tasks: usize, impossible: usize) -> Result<(f64, f64)> {
    let mut market = Market::new(REQUESTERS + 1, nodes)?;
    fill(&mut market, tasks)?;
    let last = market.requesters[REQUESTERS];
    for n in 0..impossible {
        let nowhere = json!({"labels": {"nowhere": n.to_string()}});
        market.task(last, json!({"qos": nowhere}))?;
    }
    if impossible > 0 {
        market.now = market.now.plus_ms(IMPOSSIBLE_MS);
    }
    let (mut placed, mut seconds) = (0, 0.0);
    while placed < PLACEMENTS.min(tasks / 2) {
        let planned = market.plan()?;
        placed += planned.leases.len();
        seconds += planned.took.as_secs_f64();
        market.now = market.now.plus_ms(1_000);
        // As many end as were begun, once the market is full.
        let ended = planned.leases.len().max(market.running.len() / 8);
        if planned.leases.len() < 1_024 {
            market.finish(ended)?;
        }
    }
    let turns = (0..EPOCHS).map(|_| market.turn_epoch());
    let turns = turns.collect::<Result<Vec<f64>>>()?;
    Ok((seconds / f64::from(u32::try_from(placed)?), median(turns)))
}

/// Seconds for a plan that has one task to place, with the fold of its lease, while all nodes are idle.
fn single(nodes: usize, quick: bool, sort: Sort) -> Result<f64> {
    let mut market = match sort {
        Sort::Plain | Sort::Particular => Market::new(REQUESTERS, nodes)?,
        Sort::OfOne => Market::owned(REQUESTERS, nodes, nodes / OWNED_PART)?,
    };
    if let Sort::Particular = sort {
        market.make_particular()?;
    }
    let templates = templates(&mut market);
    let mut costs = Vec::new();
    for n in 0..if quick { SINGLE / 10 } else { SINGLE } {
        let of = n % REQUESTERS;
        let task = templates[of][market.below(3) as usize].clone();
        let requester = match sort {
            Sort::Plain | Sort::Particular => market.requesters[of],
            Sort::OfOne => market.requesters[0],
        };
        market.task(requester, task)?;
        let planned = market.plan()?;
        // What waits for another replica comes beside the next one.
        if planned.leases.len() == 1 {
            costs.push(planned.took.as_secs_f64());
        }
        market.finish(market.running.len())?;
        market.now = market.now.plus_ms(100);
    }
    Ok(median(costs))
}

/// Seconds for one placement of samples of two replicas that a stranger wants, where so many nodes are one owner's: no second replica goes
/// to the owner of the first.
fn sampled(nodes: usize, of_one: usize) -> Result<f64> {
    let mut market = Market::owned(REQUESTERS, nodes, of_one)?;
    let requester = market.requesters[1];
    let sample = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    for _ in 0..SAMPLES {
        market.task(requester, json!({"verification": sample}))?;
    }
    let (mut placed, mut seconds) = (0, 0.0);
    loop {
        let planned = market.plan()?;
        if planned.leases.is_empty() {
            return Ok(seconds / f64::from(u32::try_from(placed)?));
        }
        placed += planned.leases.len();
        seconds += planned.took.as_secs_f64();
    }
}

/// Queues so many tasks.
fn fill(market: &mut Market, tasks: usize) -> Result<()> {
    let templates = templates(market);
    for n in 0..tasks {
        let of = n % REQUESTERS;
        let requester = market.requesters[of];
        let mut task = templates[of][market.below(3) as usize].clone();
        task["qos"]["priority"] = json!(market.below(3));
        market.task(requester, task)?;
    }
    Ok(())
}

fn weigh_elsewhere(nodes: usize, tasks: usize) -> Result<Weights> {
    let output = Command::new(std::env::current_exe()?)
        .arg("weigh-market")
        .args([nodes, tasks].map(|n| n.to_string()))
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("the weighing process speaks JSON")
}

/// What a market takes of this process's memory, which must be fresh: what rounds before it have left would be used first.
pub(crate) fn weigh(nodes: usize, tasks: usize) -> Result<Weights> {
    let empty = resident();
    let mut market = Market::new(REQUESTERS, nodes)?;
    let with_nodes = resident();
    fill(&mut market, tasks)?;
    let with_tasks = resident();
    let per = |after: u64, before: u64, n: usize| after.saturating_sub(before) as f64 / n as f64;
    market.make_particular()?;
    let with_terms = resident();
    Ok(Weights {
        task: per(with_tasks, with_nodes, tasks),
        node: per(with_nodes, empty, nodes),
        particular: per(with_terms, with_tasks, nodes),
    })
}

/// What the tasks of each requester need: it has three kinds of them, most of which need little, and some a region, a GPU,
/// much memory, or replicas.
fn templates(market: &mut Market) -> Vec<[Value; 3]> {
    let mut all = Vec::new();
    for _ in 0..REQUESTERS {
        all.push([needs(market), needs(market), needs(market)]);
    }
    all
}

fn needs(market: &mut Market) -> Value {
    let kind =
        ["inference", "inference", "evaluation", "data-processing"][market.below(4) as usize];
    let mut qos = json!({});
    match market.below(10) {
        0 => qos["labels"] = json!({"region": format!("region-{}", market.below(6))}),
        1 => qos["labels_not"] = json!({"tier": ["tier-0"]}),
        2 => qos["labels_any"] = json!({"tier": ["tier-1", "tier-2"]}),
        3 => qos["gpu"] = json!({"memory_mib": 2_048}),
        4 => qos["gpu"] = json!({"memory_mib": 4_096, "features": ["shader-f16"]}),
        5 => qos["min_mfuel_s"] = json!(900),
        _ => {}
    }
    let memory = [128, 256, 256, 1_024][market.below(4) as usize];
    let mut task =
        json!({"type": kind, "qos": qos, "limits": {"memory_mib": memory, "runtime_s": 60}});
    // A few nodes have no class of GPU with owners enough, and no such sample is accepted there.
    let is_small = task["qos"]["gpu"].is_object() && market.state.nodes.len() < FEW_NODES;
    if market.below(8) == 0 && !is_small {
        task["verification"] = json!([{"method": "sampling", "quorum": 2, "replicas": 2}]);
    }
    task
}

/// Memory of this process, in bytes.
fn resident() -> u64 {
    const PAGE: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}
