//! `aevir policy`.

use std::path::PathBuf;

use aevir_wire::Policy;
use anyhow::{Context, Result};
use clap::Subcommand;

use crate::{
    args::Global,
    output::{print, properties},
};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Show the policy in force.
    Show,
    /// Adopt the policy of a JSON file (scope `admin`); tasks keep the one they were created under.
    Adopt { file: PathBuf },
}

pub(crate) async fn run(verb: PolicyVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    let adopted = match verb {
        PolicyVerb::Show => client.policy().await?,
        PolicyVerb::Adopt { file } => {
            let named = || format!("`{}` holds no policy", file.display());
            let text = std::fs::read_to_string(&file).with_context(named)?;
            let policy: Policy = serde_json::from_str(&text).with_context(named)?;
            client.adopt_policy(&policy).await?
        }
    };
    print(global.output, &adopted, || {
        let document = serde_json::to_value(&adopted.policy).unwrap_or_default();
        let fields = document.as_object().cloned().unwrap_or_default();
        let version = ("version".to_owned(), adopted.version.to_string());
        let rows = fields.into_iter().map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name, text)
        });
        properties(std::iter::once(version).chain(rows))
    })
}
