//! The terms of a node on the command line, for the agent and for its owner.

use std::path::PathBuf;

use aevir_node::TermsChange;
use aevir_wire::{AllowDeny, NodeCaps, NodeTerms};
use anyhow::{Context, Result};
use clap::Args;

use crate::hours::{Hours, windows};

/// What the operator of a node allows.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Terms")]
pub(crate) struct TermsArgs {
    /// The terms as a JSON file, as `aevir node terms --output json` prints them: it replaces all that held before. The options
    /// below change what they name, of the file or of what holds, and leave the rest.
    #[arg(long = "terms", value_name = "FILE", env = "AEVIR_NODE_TERMS")]
    file: Option<PathBuf>,
    /// Use at most so many cores: a run takes one. With 0 the node takes nothing; for a pause use `aevir node drain`.
    #[arg(long, value_name = "N")]
    max_cpu_cores: Option<u32>,
    /// Use at most so much memory for all runs together.
    #[arg(long, value_name = "MIB")]
    max_memory_mib: Option<u32>,
    /// Use at most so much of the GPU's memory for all runs together.
    #[arg(long, value_name = "MIB")]
    max_gpu_memory_mib: Option<u32>,
    /// Use at most so much of the disk for inputs and outputs of all runs together.
    #[arg(long, value_name = "MIB")]
    max_storage_mib: Option<u32>,
    /// Run at most so many at once. With 0 the node takes nothing; for a pause use `aevir node drain`.
    #[arg(long, value_name = "N")]
    max_runs: Option<u32>,
    /// Take work at these hours only, in UTC, such as `mon-fri 18:00-06:00` or `sat 00:00-24:00`; repeatable.
    #[arg(long = "hours", value_name = "DAYS FROM-TO")]
    hours: Vec<Hours>,
    /// Take no task of this type that pays less for a replica, such as `training=5000000`; repeatable.
    #[arg(long = "ask", value_name = "TYPE=MICRO_AEV", value_parser = type_and_amount)]
    asks: Vec<(String, String)>,
    /// Take tasks of these accounts only; repeatable.
    #[arg(long = "allow-requester", value_name = "ACCOUNT")]
    allow_requesters: Vec<String>,
    /// Take no tasks of this account; repeatable.
    #[arg(long = "deny-requester", value_name = "ACCOUNT")]
    deny_requesters: Vec<String>,
    /// Run these modules only, by digest; repeatable.
    #[arg(long = "allow-module", value_name = "DIGEST")]
    allow_modules: Vec<String>,
    /// Never run this module, by digest; repeatable.
    #[arg(long = "deny-module", value_name = "DIGEST")]
    deny_modules: Vec<String>,
}

fn type_and_amount(text: &str) -> Result<(String, String), String> {
    let (kind, amount) = text.split_once('=').ok_or("an ask is TYPE=MICRO_AEV")?;
    Ok((kind.to_owned(), amount.to_owned()))
}

impl TermsArgs {
    /// What they change of a node's terms.
    ///
    /// # Errors
    /// When the file can't be read or holds no terms.
    pub(crate) fn change(self) -> Result<TermsChange> {
        let whole = match &self.file {
            None => None,
            Some(file) => {
                let named = || format!("`{}` holds no terms of a node", file.display());
                let text = std::fs::read_to_string(file).with_context(named)?;
                Some(serde_json::from_str::<NodeTerms>(&text).with_context(named)?)
            }
        };
        let part = NodeTerms {
            caps: NodeCaps {
                cpu_cores: self.max_cpu_cores,
                memory_mib: self.max_memory_mib,
                gpu_memory_mib: self.max_gpu_memory_mib,
                storage_mib: self.max_storage_mib,
                runs: self.max_runs,
            },
            hours: windows(&self.hours),
            asks: self.asks.into_iter().collect(),
            requesters: AllowDeny {
                allow: self.allow_requesters,
                deny: self.deny_requesters,
            },
            modules: AllowDeny {
                allow: self.allow_modules,
                deny: self.deny_modules,
            },
        };
        Ok(TermsChange { whole, part })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_go_over_what_the_file_says() {
        assert!(TermsArgs::default().change().unwrap().is_empty());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("terms.json");
        let of_file = |text: &str| {
            std::fs::write(&file, text).unwrap();
            TermsArgs {
                file: Some(file.clone()),
                ..TermsArgs::default()
            }
        };
        let args = TermsArgs {
            max_memory_mib: Some(512),
            hours: vec!["mon 00:00-01:00".parse().unwrap()],
            asks: vec![("training".into(), "7".into())],
            deny_modules: vec!["ab".into()],
            ..of_file(r#"{"caps": {"runs": 3}, "asks": {"training": "5"}}"#)
        };
        let terms = args.change().unwrap().over(&NodeTerms::default());
        assert_eq!(
            (terms.caps.runs, terms.caps.memory_mib),
            (Some(3), Some(512))
        );
        assert_eq!(terms.asks["training"], "7");
        assert_eq!(terms.hours.len(), 1);
        assert_eq!(terms.modules.deny, ["ab"]);
        // An empty file is no restriction, and that is said, too.
        let free = of_file("{}").change().unwrap();
        assert_eq!(free.whole, Some(NodeTerms::default()));
        assert!(of_file("{\"hour\": 1}").change().is_err());
    }
}
