//! The terms of a node on the command line, for the agent and for its owner.

use std::path::PathBuf;

use aevir_wire::{AllowDeny, NodeCaps, NodeTerms};
use anyhow::{Context, Result};
use clap::Args;

use crate::hours::{Hours, windows};

/// What the operator of a node allows.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Terms")]
pub(crate) struct TermsArgs {
    /// The terms as a JSON file, as `aevir node terms --output json` prints them; the options below replace its fields.
    #[arg(long = "terms", value_name = "FILE", env = "AEVIR_NODE_TERMS")]
    file: Option<PathBuf>,
    /// Use at most so many cores: a run takes one.
    #[arg(long, value_name = "N")]
    max_cpu_cores: Option<u32>,
    /// Use at most so much memory for all runs together.
    #[arg(long, value_name = "MIB")]
    max_memory_mib: Option<u32>,
    /// Use at most so much of the GPU's memory for one run.
    #[arg(long, value_name = "MIB")]
    max_gpu_memory_mib: Option<u32>,
    /// Use at most so much of the disk for inputs and outputs of all runs together.
    #[arg(long, value_name = "MIB")]
    max_storage_mib: Option<u32>,
    /// Run at most so many at once.
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
    /// The terms, where any were given.
    ///
    /// # Errors
    /// When the file can't be read or holds no terms.
    pub(crate) fn terms(self) -> Result<Option<NodeTerms>> {
        let given = match &self.file {
            None => None,
            Some(file) => {
                let named = || format!("`{}` holds no terms of a node", file.display());
                let text = std::fs::read_to_string(file).with_context(named)?;
                Some(serde_json::from_str::<NodeTerms>(&text).with_context(named)?)
            }
        };
        let before = given.clone().unwrap_or_default();
        let changed = self.over(before.clone());
        Ok(given
            .is_some()
            .then_some(changed.clone())
            .or((changed != before).then_some(changed)))
    }

    /// These options over other terms.
    fn over(self, terms: NodeTerms) -> NodeTerms {
        let caps = terms.caps;
        let or = |given: Vec<String>, before: Vec<String>| {
            if given.is_empty() { before } else { given }
        };
        NodeTerms {
            caps: NodeCaps {
                cpu_cores: self.max_cpu_cores.or(caps.cpu_cores),
                memory_mib: self.max_memory_mib.or(caps.memory_mib),
                gpu_memory_mib: self.max_gpu_memory_mib.or(caps.gpu_memory_mib),
                storage_mib: self.max_storage_mib.or(caps.storage_mib),
                runs: self.max_runs.or(caps.runs),
            },
            hours: if self.hours.is_empty() {
                terms.hours
            } else {
                windows(&self.hours)
            },
            asks: terms.asks.into_iter().chain(self.asks).collect(),
            requesters: AllowDeny {
                allow: or(self.allow_requesters, terms.requesters.allow),
                deny: or(self.deny_requesters, terms.requesters.deny),
            },
            modules: AllowDeny {
                allow: or(self.allow_modules, terms.modules.allow),
                deny: or(self.deny_modules, terms.modules.deny),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_replace_what_the_file_says() {
        assert_eq!(TermsArgs::default().terms().unwrap(), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("terms.json");
        std::fs::write(&file, r#"{"caps": {"runs": 3}, "asks": {"training": "5"}}"#).unwrap();
        let args = TermsArgs {
            file: Some(file.clone()),
            max_memory_mib: Some(512),
            hours: vec!["mon 00:00-01:00".parse().unwrap()],
            asks: vec![("training".into(), "7".into())],
            deny_modules: vec!["ab".into()],
            ..TermsArgs::default()
        };
        let terms = args.terms().unwrap().unwrap();
        assert_eq!(
            (terms.caps.runs, terms.caps.memory_mib),
            (Some(3), Some(512))
        );
        assert_eq!(terms.asks["training"], "7");
        assert_eq!(terms.hours.len(), 1);
        assert_eq!(terms.modules.deny, ["ab"]);
        // An empty file is no restriction, and that is said, too.
        std::fs::write(&file, "{}").unwrap();
        let args = TermsArgs {
            file: Some(file.clone()),
            ..TermsArgs::default()
        };
        assert_eq!(args.terms().unwrap(), Some(NodeTerms::default()));
        std::fs::write(&file, "{\"hour\": 1}").unwrap();
        let args = TermsArgs {
            file: Some(file),
            ..TermsArgs::default()
        };
        assert!(args.terms().is_err());
    }
}
