//! `aevir projections`: the views that lists are served from.

use std::time::Duration;

use aevir_wire::{Client, Projection};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    args::Global,
    output::{or_dash, print, properties, table},
};

/// How often the progress of a rebuild is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectionsVerb {
    /// List the projections: how far each is, and why one stopped (scope `admin`).
    List,
    /// Fold a projection anew from the log, beside what is served, and swap when it is level (scope `admin`).
    Rebuild {
        name: String,
        /// Wait until it is live, with a progress bar.
        #[arg(long)]
        wait: bool,
    },
}

pub(crate) async fn run(verb: ProjectionsVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    match verb {
        ProjectionsVerb::List => {
            let list = client.projections().await?;
            print(global.output, &list, || {
                table(
                    [
                        "NAME",
                        "VERSION",
                        "GENERATION",
                        "STATE",
                        "POSITION",
                        "LAG",
                        "ERROR",
                    ],
                    list.projections.iter().map(|p| {
                        [
                            p.name.clone(),
                            p.version.to_string(),
                            p.generation.clone(),
                            p.state.clone(),
                            p.position.clone(),
                            p.lag.clone(),
                            error(p),
                        ]
                    }),
                )
            })
        }
        ProjectionsVerb::Rebuild { name, wait } => {
            let rebuild = client.rebuild_projection(&name).await?;
            if wait {
                live(&client, &name, &rebuild.generation).await?;
            }
            print(global.output, &rebuild, || {
                properties([
                    ("name", rebuild.name.clone()),
                    ("generation", rebuild.generation.clone()),
                    ("state", if wait { "live" } else { "building" }.to_owned()),
                ])
            })
        }
    }
}

fn error(projection: &Projection) -> String {
    match (&projection.failed_at, &projection.error) {
        (Some(position), Some(error)) => format!("stopped at {position}: {error}"),
        (Some(_), None) | (None, _) => or_dash(projection.error.as_deref()),
    }
}

/// Waits until a generation is live.
async fn live(client: &Client, name: &str, generation: &str) -> Result<()> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template(
        "{wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta}",
    )?;
    bar.set_style(style);
    loop {
        let list = client.projections().await?.projections;
        let ours = list
            .iter()
            .find(|p| p.name == name && p.generation == generation);
        let ours = ours.context("the rebuild was given up: another one took its place")?;
        bar.set_length(ours.size.parse()?);
        bar.set_position(ours.position.parse()?);
        if ours.state == "live" {
            bar.finish_and_clear();
            return Ok(());
        }
        if ours.failed_at.is_some() {
            bar.abandon();
            bail!("`{name}` {}", error(ours));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
