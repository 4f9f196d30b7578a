//! `aevir node`: the agent.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use aevir_node::{
    Ended, Fault, GRACE_DEFAULT, GpuOffer, NodeConfig, NodeError, STORAGE_MIB_DEFAULT,
};
use aevir_sandbox::LogFormat;
use aevir_wire::Secret;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::{
    EXECUTOR,
    args::{Global, LogStyle},
    lifeline,
    terms::TermsArgs,
    verbs::{self, node::NodeVerb},
};

/// The exit status of an agent whose node has left the market, or is not known to it (any more), for it was revoked, say: starting it
/// again is of no use. Supervisors tell it from the status of trouble that may pass.
pub(crate) const GONE: u8 = 3;

/// `aevir node`: the agent, or a verb about a node.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodeCommand {
    #[command(subcommand)]
    verb: Option<NodeVerb>,
    #[command(flatten)]
    agent: NodeArgs,
}

impl NodeCommand {
    /// Whether this is to be a node.
    pub(crate) fn is_agent(&self) -> bool {
        self.verb.is_none()
    }
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node's own folder: key, registration, cache, runs.
    #[arg(long, env = "AEVIR_NODE_DATA")]
    data: Option<PathBuf>,
    /// The join token (`aevir account join-token`); needed at the first start only. Better given in the
    /// environment (AEVIR_JOIN_TOKEN), where other users don't see it.
    #[arg(long, env = "AEVIR_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A name for people; the host's name when left out.
    #[arg(long)]
    name: Option<String>,
    /// Runs at once, at most as many as the machine has cores.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: u32,
    /// Memory for runs, in MiB; when left out seven eighths of what the machine has, or of what its control group (a container) may use.
    #[arg(long)]
    memory_mib: Option<u32>,
    /// Room on the disk for all that the node keeps there, in MiB: inputs, outputs, results that wait to be opened, and what it has cached.
    #[arg(long, default_value_t = STORAGE_MIB_DEFAULT)]
    storage_mib: u32,
    /// Whether to offer the GPU.
    #[arg(long, value_enum, default_value = "auto")]
    gpu: Gpu,
    /// What tasks may ask for, such as `region=eu`; repeatable.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = name_and_value)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    terms: TermsArgs,
    /// How long a stopping node lets its runs go on, in s; a second signal ends it at once.
    #[arg(long, default_value_t = GRACE_DEFAULT.as_secs())]
    grace_s: u64,
    /// Misbehave, for tests of the platform: `wrong-result=<task type>`, `slow=<ms>`, `flaky=<percent>` or `stall`.
    #[arg(long, hide = true)]
    fault: Option<Fault>,
    /// End when standard input ends.
    #[arg(long, hide = true)]
    lifeline: bool,
}

/// Whether to offer the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Gpu {
    /// If there is one that computes right, in hardware or software.
    Auto,
    /// Don't start without one.
    Required,
    /// Take tasks without GPU only.
    Off,
}

impl From<Gpu> for GpuOffer {
    fn from(gpu: Gpu) -> Self {
        match gpu {
            Gpu::Auto => Self::Auto,
            Gpu::Required => Self::Required,
            Gpu::Off => Self::Off,
        }
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a label is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn node(command: NodeCommand, global: &Global) -> Result<ExitCode> {
    match command.verb {
        None => agent(command.agent, global).await,
        Some(verb) => {
            verbs::node::run(verb, global).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn agent(args: NodeArgs, global: &Global) -> Result<ExitCode> {
    let shutdown = lifeline::shutdown(args.lifeline);
    let program = std::env::current_exe().context("this program's own file can't be found")?;
    let config = NodeConfig {
        server: global.server.clone(),
        data_dir: args.data.map_or_else(default_data_dir, Ok)?,
        token: args.token.map(Secret::from_text),
        name: args.name.unwrap_or_else(host_name),
        slots: args.slots,
        memory_mib: args.memory_mib,
        storage_mib: args.storage_mib,
        gpu: args.gpu.into(),
        labels: args.labels.into_iter().collect::<BTreeMap<_, _>>(),
        terms: args.terms.change()?,
        grace: Duration::from_secs(args.grace_s),
        executor: (program, vec![EXECUTOR.to_owned()]),
        executor_log: Some(match global.log {
            LogStyle::Json => LogFormat::Json,
            LogStyle::Text => LogFormat::Text,
        }),
        fault: args.fault,
    };
    match aevir_node::run(config, shutdown).await? {
        Ended::Stopped => Ok(ExitCode::SUCCESS),
        Ended::Left => Ok(ExitCode::from(GONE)),
    }
}

/// The exit status that an error ends the program with.
pub(crate) fn exit_status(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref() {
        Some(NodeError::Disowned(_)) => ExitCode::from(GONE),
        Some(_) | None => ExitCode::FAILURE,
    }
}

pub(crate) fn default_data_dir() -> Result<PathBuf> {
    let home = std::env::home_dir().context("there is no home folder: give --data")?;
    Ok(home.join(".local/share/aevir/node"))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "node" } else { name }.to_owned()
}
