//! `aevir demo`: the platform's main job from end to end, on real data, with a cheater and a crash.
//!
//! A platform (server in this process, SQLite and files in one folder), three nodes of three owners (child processes
//! that talk to it over HTTP), a requester and a content contributor. Four tasks, each verified by sampling; one node
//! cheats in the evaluation, and one is killed in the middle of the training and started again later. At the end the
//! exported log is replayed from position 0 and compared with the live platform, and every promise is checked: the
//! demo fails when one is not kept.

mod document;
mod history;
mod play;
mod progress;
mod tables;
mod world;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::{lifeline, output};
use progress::Progress;
use world::World;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Print the outcome as one JSON document.
    #[arg(long)]
    json: bool,
    /// Keep everything in this folder, which must not exist yet: log, objects, nodes, and the exported `log.ndjson`.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(crate) async fn demo(args: DemoArgs) -> Result<()> {
    let shutdown = lifeline::shutdown(false);
    let started = Instant::now();
    let (folder, temporary) = match args.keep {
        Some(folder) => {
            std::fs::create_dir(&folder).with_context(|| {
                format!(
                    "`{}` can't be made: name a folder that does not exist",
                    folder.display()
                )
            })?;
            (std::path::absolute(folder)?, None)
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("aevir-demo-").tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let mut progress = Progress::new();
    let mut world = World::start(&folder, &progress).await?;
    let played = tokio::select! {
        played = play::play(&mut world, &mut progress) => played,
        () = shutdown.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    progress.end();
    let outcome = match played {
        Ok(story) => document::gather(&world, &story, &folder, started).await,
        Err(error) => Err(error.context(world.last_words())),
    };
    world.end().await;
    let document = outcome?;
    if args.json {
        output::print(crate::args::Output::Json, &document, String::new)?;
    } else {
        output::print(crate::args::Output::Table, &document, || {
            tables::shown(&document)
        })?;
    }
    if temporary.is_none() {
        let export = folder.join(document::EXPORT);
        progress.say(&format!("everything is kept in {}", folder.display()));
        progress.say(&format!(
            "check it: python3 docs/audit/recompute.py {}",
            export.display()
        ));
    }
    document.check()
}
