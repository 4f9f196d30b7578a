//! `aevir node drain` and the other verbs of who looks after a node.

use std::path::PathBuf;

use aevir_wire::{ChangeStake, Client, Node, NodeCompute, NodeTally, NodeTerms, RevokeNode, Wall};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::{
    args::Global,
    hours,
    node::default_data_dir,
    output::{aev, or_dash, print, properties},
    terms::TermsArgs,
};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Let the node finish what it has, and give it nothing new.
    Drain(Whose),
    /// Let the node take work again.
    Resume(Whose),
    /// Drain the node; it is gone for good once nothing of it is open.
    Leave(Whose),
    /// Show how the node stands: machine, terms, work, reliability, earnings.
    Status(Whose),
    /// Show the terms on which the node is offered, or change what the options name.
    Terms {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        terms: Box<TermsArgs>,
        /// Take all restrictions back first.
        #[arg(long)]
        any: bool,
    },
    /// Give the node of this machine another signing key and another API key, while it runs or not; results of the old one count no more,
    /// and calls with the old one are refused.
    RotateKey {
        /// The node's own folder.
        #[arg(long, env = "AEVIR_NODE_DATA")]
        data: Option<PathBuf>,
    },
    /// Put money up for a node's results; what covers none that is open can be taken back.
    Stake {
        /// The node's id.
        node: String,
        /// In micro-AEV: 1 AEV is 1000000.
        amount: String,
    },
    /// Take back what of a node's stake covers no result.
    Unstake {
        /// The node's id.
        node: String,
        /// In micro-AEV: 1 AEV is 1000000.
        amount: String,
    },
    /// Shut a node out for good (its owner's key, or scope `admin`): its leases are lost at once, its keys are dead.
    Revoke {
        /// The node's id.
        node: String,
        /// Why; it is in the log.
        #[arg(long)]
        reason: String,
    },
}

/// Which node is meant.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// The node's id, with its owner's API key; the node of this machine, with its own key, when left out.
    node: Option<String>,
    /// The folder of this machine's node.
    #[arg(long, env = "AEVIR_NODE_DATA", conflicts_with = "node")]
    data: Option<PathBuf>,
}

impl Whose {
    /// Who asks, and for which node.
    fn find(self, global: &Global) -> Result<(Client, String)> {
        if let Some(node) = self.node {
            return Ok((global.keyed_client()?, node));
        }
        let data = self.data.map_or_else(default_data_dir, Ok)?;
        aevir_node::client_of(&global.server, &data).with_context(|| {
            let data = data.display();
            format!("no node is found in `{data}`: name one by its id with its owner's key, or its folder with --data")
        })
    }
}

pub(crate) async fn run(verb: NodeVerb, global: &Global) -> Result<()> {
    let node = match verb {
        NodeVerb::Drain(whose) => {
            let (client, node) = whose.find(global)?;
            client.drain_node(&node).await?
        }
        NodeVerb::Resume(whose) => {
            let (client, node) = whose.find(global)?;
            client.resume_node(&node).await?
        }
        NodeVerb::Leave(whose) => {
            let (client, node) = whose.find(global)?;
            client.leave_market(&node).await?
        }
        NodeVerb::Status(whose) => {
            let (client, node) = whose.find(global)?;
            client.node(&node).await?
        }
        NodeVerb::Terms { whose, terms, any } => {
            return set_terms(whose, *terms, any, global).await;
        }
        NodeVerb::RotateKey { data } => return rotate_key(data, global).await,
        NodeVerb::Stake { node, amount } => {
            let client = global.keyed_client()?;
            client.stake(&node, &ChangeStake { amount }).await?
        }
        NodeVerb::Unstake { node, amount } => {
            let client = global.keyed_client()?;
            client.unstake(&node, &ChangeStake { amount }).await?
        }
        NodeVerb::Revoke { node, reason } => {
            let client = global.keyed_client()?;
            client.revoke_node(&node, &RevokeNode { reason }).await?
        }
    };
    print(global.output, &node, || status(&node))
}

async fn set_terms(whose: Whose, terms: TermsArgs, any: bool, global: &Global) -> Result<()> {
    let mut change = terms.change()?;
    if any && change.whole.is_none() {
        change.whole = Some(NodeTerms::default());
    }
    let (client, node) = whose.find(global)?;
    let mut node = client.node(&node).await?;
    if !change.is_empty() {
        let terms = change.over(&node.terms);
        node = client.set_node_terms(&node.id, &terms).await?;
    }
    print(global.output, &node.terms, || {
        let rows = terms_rows(&node.terms);
        if rows.is_empty() {
            return "no restrictions".to_owned();
        }
        properties(rows)
    })
}

async fn rotate_key(data: Option<PathBuf>, global: &Global) -> Result<()> {
    let data = data.map_or_else(default_data_dir, Ok)?;
    let (node, public_key) = aevir_node::rotate_key(&global.server, &data).await?;
    let document = serde_json::json!({"node": node, "public_key": public_key});
    print(global.output, &document, || {
        properties([("node", node.clone()), ("public key", public_key.clone())])
    })
}

/// As many as it is given for now.
fn runs_at_once(node: &Node) -> String {
    let given = node.runs_at_once.unwrap_or_default();
    if given < node.profile.slots {
        format!(
            "{given} for now: accepted results raise it, lost leases and the node's own caps lower it"
        )
    } else {
        format!("{given}")
    }
}

/// A node that gets nothing new, though it has room for some, says why.
fn kept_free(node: &Node) -> String {
    let until = node.kept_free_until.as_ref().map(|until| {
        format!("for a task that needs more room than there is, until {until} at the latest")
    });
    or_dash(until.as_deref())
}

fn status(node: &Node) -> String {
    let profile = &node.profile;
    let speed = &node.speed;
    let mut rows = vec![
        ("node", node.id.clone()),
        ("name", profile.name.clone()),
        ("owner", node.owner.clone()),
        ("availability", node.availability.clone()),
        ("standing", standing(node)),
        (
            "machine",
            format!(
                "{} cores, {} MiB memory, {} MiB storage, {} slots, {}",
                profile.cpu_cores,
                profile.memory_mib,
                profile.storage_mib,
                profile.slots,
                profile.runtime
            ),
        ),
        ("runs at once", runs_at_once(node)),
        ("GPU", gpu(node)),
        (
            "CPU speed",
            format!(
                "claimed {} Mfuel/s, shown {} by {} results, counted {}{}",
                number(speed.claimed_mfuel_s),
                speed.shown_mfuel_s,
                speed.samples,
                number(speed.counted_mfuel_s),
                if speed.slower_than_claimed {
                    ": SLOWER THAN CLAIMED"
                } else {
                    ""
                }
            ),
        ),
        ("confinement", confinement(node)),
        ("running", list(&node.active)),
        ("kept free", kept_free(node)),
        ("sealed", sealed(node)),
        ("earned", format!("{} AEV", aev(&node.earned))),
    ];
    rows.extend(
        node.compute
            .as_ref()
            .map(|found| ("GPU speed", compute(found))),
    );
    rows.extend(node.stake.as_ref().map(|stake| {
        let (amount, locked) = (aev(&stake.amount), aev(&stake.locked));
        let text = format!(
            "{amount} AEV, of which {locked} locked; {} strikes",
            stake.strikes
        );
        ("stake", text)
    }));
    rows.extend(terms_rows(&node.terms));
    for (kind, record) in &node.records {
        for (class, tally) in &record.classes {
            rows.push((kind_name(kind), tally_row(class, tally)));
        }
        if let Some(until) = &record.backoff_until {
            let faults = record.faults_in_a_row;
            let text = format!("backing off until {until} after {faults} faults in a row");
            rows.push((kind_name(kind), text));
        }
    }
    properties(rows)
}

/// How the node did on one class of hardware: `cpu: 9.95 good, 1 bad, reliability 52.41 %`.
fn tally_row(class: &str, tally: &NodeTally) -> String {
    format!(
        "{class}: {} good, {} bad, reliability {}.{:02} %",
        outcomes(tally.good_thousandths),
        outcomes(tally.bad_thousandths),
        tally.reliability_ppm / 10_000,
        tally.reliability_ppm / 100 % 100
    )
}

/// Outcomes fade, so that there are parts of them.
fn outcomes(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The types of tasks as row names.
fn kind_name(kind: &str) -> &'static str {
    match kind {
        "training" => "on training",
        "inference" => "on inference",
        "evaluation" => "on evaluation",
        "data-processing" => "on data-processing",
        _ => "on others",
    }
}

fn standing(node: &Node) -> String {
    let reason = node.standing_reason.as_ref();
    let own = reason.map_or(node.standing.clone(), |reason| {
        format!("{} ({reason})", node.standing)
    });
    match &node.suspended {
        None => own,
        Some(suspension) => format!(
            "{own}, suspended since {}: {}",
            suspension.since, suspension.reason
        ),
    }
}

fn gpu(node: &Node) -> String {
    let Some(gpu) = &node.profile.gpu else {
        return "-".to_owned();
    };
    let class = gpu
        .compute
        .map_or("-".to_owned(), |class| format!("c{class}"));
    format!(
        "{} ({} MiB, speed {class}, {})",
        gpu.adapter, gpu.memory_mib, gpu.class
    )
}

/// The class that the node claims, what checks showed of it, and what counts: `claimed c5, shown c3 by 2 checks (17179 MFLOP/s), counted c3`.
fn compute(found: &NodeCompute) -> String {
    let class = |class: Option<u8>| class.map_or("-".to_owned(), |class| format!("c{class}"));
    let note = match (found.wrong, found.slower_than_claimed) {
        (true, _) => ": THE LAST ANSWER WAS WRONG",
        (false, true) => ": SLOWER THAN CLAIMED",
        (false, false) => "",
    };
    format!(
        "claimed {}, shown {} by {} checks ({} MFLOP/s), counted {}{note}",
        class(found.claimed),
        class(found.shown),
        found.checks,
        found.shown_mflop_s,
        class(found.counted)
    )
}

fn confinement(node: &Node) -> String {
    let Some(walls) = &node.profile.confinement else {
        return "not told".to_owned();
    };
    let name = |wall: Option<Wall>| {
        let name = serde_json::to_value(wall).unwrap_or_default();
        or_dash(name.as_str())
    };
    let shown = |seccomp, landlock, capabilities, limits| {
        format!(
            "seccomp {}, landlock {}, no capabilities {}, resource limits {}",
            name(Some(seccomp)),
            name(Some(landlock)),
            name(capabilities),
            name(limits)
        )
    };
    let cpu = shown(
        walls.seccomp,
        walls.landlock,
        walls.capabilities,
        walls.resource_limits,
    );
    let pool = match walls.pooled {
        Some(true) => ", memories from a pool",
        Some(false) => ", no pool of memories",
        None => "",
    };
    let gpu = walls.gpu.as_ref().map(|gpu| {
        let walls = shown(
            gpu.seccomp,
            gpu.landlock,
            Some(gpu.capabilities),
            Some(gpu.resource_limits),
        );
        format!("; with GPU: {walls}")
    });
    format!("{cpu}{pool}{}", gpu.unwrap_or_default())
}

fn terms_rows(terms: &NodeTerms) -> Vec<(&'static str, String)> {
    let caps = &terms.caps;
    let caps = [
        ("at most cores", caps.cpu_cores),
        ("at most memory, MiB", caps.memory_mib),
        ("at most GPU memory, MiB", caps.gpu_memory_mib),
        ("at most storage, MiB", caps.storage_mib),
        ("at most runs", caps.runs),
    ];
    let mut rows: Vec<(&'static str, String)> = caps
        .into_iter()
        .filter_map(|(name, cap)| Some((name, cap?.to_string())))
        .collect();
    let hours: Vec<String> = terms.hours.iter().map(hours::shown).collect();
    let asks: Vec<String> = terms
        .asks
        .iter()
        .map(|(kind, ask)| format!("{kind} {} AEV", aev(ask)))
        .collect();
    let lists = [
        ("hours, UTC", &hours),
        ("asks", &asks),
        ("only for", &terms.requesters.allow),
        ("not for", &terms.requesters.deny),
        ("only modules", &terms.modules.allow),
        ("not modules", &terms.modules.deny),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    rows.extend(lists.map(|(name, list)| (name, list.join(", "))));
    rows
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.join(" ")
}

/// How many results are sealed and have not matured, and the newest of them.
fn sealed(node: &Node) -> String {
    let newest = list(&node.sealed);
    match node.sealed_count {
        0 => newest,
        all if all > node.sealed.len() as u64 => format!("{all}, the newest: {newest}"),
        all => format!("{all}: {newest}"),
    }
}

fn number(number: Option<u32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
