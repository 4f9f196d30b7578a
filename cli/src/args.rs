//! The command line.

use aevir_wire::{Client, Secret};
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    audit::AuditArgs,
    demo::DemoArgs,
    doctor::DoctorArgs,
    local::RunLocalArgs,
    node::NodeCommand,
    serve::ServeArgs,
    up::UpArgs,
    verbs::{
        account::AccountVerb,
        admin::{AdminVerb, Market},
        content::ContentVerb,
        log::LogVerb,
        module::ModuleVerb,
        points::PointsVerb,
        policy::PolicyVerb,
        projections::ProjectionsVerb,
        receipt::ReceiptArgs,
        task::TaskVerb,
    },
};

/// Where a platform listens when nothing else is said.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:7700";

#[derive(Debug, Parser)]
#[command(
    name = "aevir",
    version,
    about = "Runs AI tasks on other people's machines and proves what happened"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The platform's address.
    #[arg(
        long,
        global = true,
        env = "AEVIR_SERVER",
        default_value = "http://127.0.0.1:7700"
    )]
    pub(crate) server: String,
    /// The API key; better given in the environment, where other users don't see it.
    #[arg(long, global = true, env = "AEVIR_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// How this program's own log is printed, on standard error. What is logged follows RUST_LOG.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) log: LogStyle,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
}

/// How log lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogStyle {
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a whole platform on this machine: server, storage and local nodes, in one data folder.
    Up(UpArgs),
    /// Run the server.
    Serve(ServeArgs),
    /// Join this machine as a node and work; or look after a node. Ends with status 3 where the node has left or was revoked.
    Node(Box<NodeCommand>),
    /// Look whether this machine can be a node, and say what to do where it can't.
    Doctor(DoctorArgs),
    /// Run a module on this machine, without a platform: result, usage, digests.
    RunLocal(RunLocalArgs),
    /// Show the platform's main job from end to end: four AI tasks on three nodes, a cheater, a crash, an audit.
    Demo(DemoArgs),
    /// Task modules (WebAssembly components and WASI programs).
    Module {
        #[command(subcommand)]
        verb: ModuleVerb,
    },
    /// Tasks.
    Task {
        #[command(subcommand)]
        verb: TaskVerb,
    },
    /// Get the proof that a task's settlement is in the log, or check one offline.
    Receipt(ReceiptArgs),
    /// Accounts, balances, keys, nodes.
    Account {
        #[command(subcommand)]
        verb: AccountVerb,
    },
    /// IntelliPoints: who has how many, why, and what they are rewarded with.
    Points {
        #[command(subcommand)]
        verb: PointsVerb,
    },
    /// Datasets and models.
    Content {
        #[command(subcommand)]
        verb: ContentVerb,
    },
    /// Suspend and release accounts, nodes, contents and modules.
    Admin {
        #[command(subcommand)]
        verb: AdminVerb,
    },
    /// Show or set who may take part in the market (setting: scope `admin`).
    Market {
        #[arg(value_enum)]
        market: Option<Market>,
    },
    /// The market's constants.
    Policy {
        #[command(subcommand)]
        verb: PolicyVerb,
    },
    /// The SQL views that lists are served from.
    Projections {
        #[command(subcommand)]
        verb: ProjectionsVerb,
    },
    /// The event log.
    Log {
        #[command(subcommand)]
        verb: LogVerb,
    },
    /// Recompute everything from the log and compare.
    Audit(AuditArgs),
}

impl Global {
    /// A client of the platform, with the key if there is one.
    ///
    /// # Errors
    /// When the address is none.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::new(
            &self.server,
            self.key.clone().map(Secret::from_text),
        )?)
    }

    /// A client that must have a key.
    ///
    /// # Errors
    /// When there is no key.
    pub(crate) fn keyed_client(&self) -> Result<Client> {
        self.key
            .as_ref()
            .context("this needs an API key: set AEVIR_KEY, or give --key")?;
        self.client()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
