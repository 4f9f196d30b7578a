//! The demo's course: four tasks are submitted at once, and while they run, one node is killed and started again.

use std::time::{Duration, Instant};

use aevir_wire::Task;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{progress::Progress, world::World};
use crate::manifest::{self, Named};

/// How often the tasks are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// All four tasks have to end within this time.
const PATIENCE: Duration = Duration::from_secs(300);
/// A node is killed once its training is this far.
const KILL_AT_PPM: u32 = 200_000;
/// Training on a GPU in hardware is over in a moment: so many times more epochs let the crash fall into its middle.
const HARDWARE_EPOCHS_FACTOR: u64 = 20;

/// The manifests, in the order of their dependencies.
const MANIFESTS: [&str; 4] = [
    include_str!("../../../examples/data-processing/task.json"),
    include_str!("../../../examples/training/task.json"),
    include_str!("../../../examples/evaluation/task.json"),
    include_str!("../../../examples/inference/task.json"),
];

/// What happened.
#[derive(Debug)]
pub(super) struct Story {
    /// The tasks as they ended, in the order of their dependencies.
    pub(super) tasks: Vec<Task>,
    pub(super) crash: Crash,
}

/// The node that was killed.
#[derive(Debug, Clone)]
pub(super) struct Crash {
    /// Its index.
    pub(super) node: usize,
    pub(super) task: String,
    /// The assignment that was lost.
    pub(super) assignment: String,
    /// It is running again.
    restarted: bool,
}

pub(super) async fn play(world: &mut World, progress: &mut Progress) -> Result<Story> {
    let ids = submit(world).await?;
    progress.say("four tasks are submitted");
    let started = Instant::now();
    let mut crash: Option<Crash> = None;
    loop {
        let mut tasks = Vec::new();
        for id in &ids {
            tasks.push(world.requester.task(id).await?);
        }
        for task in &tasks {
            progress.task(task);
        }
        match &mut crash {
            None => crash = kill_one(world, &tasks, progress).await?,
            Some(crash) if !crash.restarted => bring_back(world, &tasks, crash, progress)?,
            Some(_) => {}
        }
        if tasks.iter().all(|task| task.ended) {
            let crash = crash.context("the training ended before a node could be killed")?;
            return Ok(Story { tasks, crash });
        }
        if let Some(failed) = tasks.iter().find(|t| t.ended && t.state != "settled") {
            bail!("{}", why(failed));
        }
        if started.elapsed() > PATIENCE {
            let open: Vec<_> = tasks.iter().filter(|t| !t.ended).map(why).collect();
            bail!(
                "not all tasks ended within {} s: {}",
                PATIENCE.as_secs(),
                open.join("; ")
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A task that went wrong in a sentence.
fn why(task: &Task) -> String {
    let assignments = task.assignments.iter().map(|a| {
        let reason = a.message.as_deref().or(a.reason.as_deref());
        let reason = reason.map_or_else(String::new, |r| format!(" ({r})"));
        format!("{} {}{reason}", a.node_name, a.state)
    });
    let assignments: Vec<_> = assignments.collect();
    let detail = task.detail.as_deref().unwrap_or_default();
    format!(
        "the task {} is {} {detail} [{}]",
        task.kind,
        task.state,
        assignments.join(", ")
    )
}

/// Submits the four tasks; each names those before it.
async fn submit(world: &World) -> Result<Vec<String>> {
    let mut ids = world.ids.clone();
    let mut submitted = Vec::new();
    for manifest in MANIFESTS {
        let mut definition: Value = serde_json::from_str(manifest)?;
        let kind = definition["type"].as_str().unwrap_or_default().to_owned();
        manifest::resolve(&mut definition, |kind, name| {
            ids.get(&(kind, name.to_owned())).cloned()
        })?;
        stage(&mut definition, &kind, world.gpu.software);
        let task = world.requester.submit_task(&definition, None).await?;
        ids.insert((Named::Task, kind), task.id.clone());
        submitted.push(task.id);
    }
    Ok(submitted)
}

/// What the demo asks for beyond the manifests.
fn stage(definition: &mut Value, kind: &str, software_gpu: bool) {
    match kind {
        // All three nodes run it: each earns points that it can lose, and the cheater is among those that
        // evaluate.
        "data-processing" | "evaluation" => {
            let methods = definition["verification"].as_array_mut();
            for method in methods.into_iter().flatten() {
                if method["method"] == "sampling" {
                    method["initial"] = json!(3);
                }
            }
        }
        "training" if !software_gpu => {
            let epochs = definition["params"]["epochs"].as_u64().unwrap_or_default();
            definition["params"]["epochs"] = json!(epochs * HARDWARE_EPOCHS_FACTOR);
        }
        _ => {}
    }
}

/// Kills a node in the middle of the training, without warning; not the cheater, so that they stay two stories.
async fn kill_one(world: &mut World, tasks: &[Task], progress: &Progress) -> Result<Option<Crash>> {
    let Some(training) = tasks.iter().find(|t| t.kind == "training" && !t.ended) else {
        return Ok(None);
    };
    let victim = training.assignments.iter().find_map(|a| {
        let far = a.progress.as_ref().is_some_and(|p| p.ppm >= KILL_AT_PPM);
        let node = world.node(&a.node)?;
        (a.state == "running" && far && node != world.cheater).then_some((a, node))
    });
    let Some((assignment, node)) = victim else {
        return Ok(None);
    };
    let process = &mut world.nodes[node];
    process.kill().await?;
    let percent = assignment.progress.as_ref().map_or(0, |p| p.ppm / 10_000);
    progress.say(&format!(
        "{} is killed at {percent} % of the training",
        process.name
    ));
    Ok(Some(Crash {
        node,
        task: training.id.clone(),
        assignment: assignment.id.clone(),
        restarted: false,
    }))
}

/// Starts the killed node again once its work has moved to another one.
fn bring_back(
    world: &mut World,
    tasks: &[Task],
    crash: &mut Crash,
    progress: &Progress,
) -> Result<()> {
    let task = tasks.iter().find(|t| t.id == crash.task);
    let assignments = task.map(|t| t.assignments.as_slice()).unwrap_or_default();
    let lost = assignments
        .iter()
        .any(|a| a.id == crash.assignment && a.state == "lost");
    let killed = &world.nodes[crash.node];
    // The replacement is younger than what was lost: ids are in the order of time.
    let replacement = assignments
        .iter()
        .find(|a| a.id > crash.assignment && a.node != killed.id);
    let Some(replacement) = replacement.filter(|_| lost) else {
        return Ok(());
    };
    progress.say(&format!(
        "the lease of {} is lost, its work moved to {}; {} is started again",
        killed.name, replacement.node_name, killed.name
    ));
    world.nodes[crash.node].restart()?;
    crash.restarted = true;
    Ok(())
}
