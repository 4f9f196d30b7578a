//! Running a settled task again from its blobs: a deterministic run gives the same outputs, result, metrics and fuel on
//! every machine, so that anybody can check an agreed result without trusting the nodes that agreed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use aevir_platform::{
    digest::Digest,
    ids::TaskId,
    inputs_of,
    report::Report,
    state::{Stage, State, Task},
};
use aevir_sandbox::{
    End, Executor, ExecutorConfig, Input, Limits, Outcome, Profile, RunSpec, TraceIds, Tuning,
};
use aevir_wire::{Client, FAST_CLASS_MARK, canonical, digest};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{EXECUTOR, workfolder::workfolder};

/// Events of a run that may wait; an audit does not look at them.
const EVENTS_WAITING: usize = 256;

/// Where a run's bytes come from.
#[derive(Debug)]
pub(super) enum Blobs {
    /// A folder of objects: `<digest>`, or `<first two digits>/<digest>` as a platform keeps them.
    Folder(PathBuf),
    /// The platform, as the account of the key.
    Server(Client),
}

/// A task that was run again.
#[derive(Debug, Serialize)]
pub(crate) struct Reexecution {
    pub(crate) task: String,
    /// What was compared is equal.
    pub(crate) equal: bool,
    /// What differs, or why it could not be run.
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fuel: Option<String>,
}

impl Reexecution {
    pub(super) fn outcome(&self) -> String {
        match (self.equal, &self.fuel) {
            (true, Some(fuel)) => format!("equal, with {fuel} units of fuel"),
            (true, None) => "equal".into(),
            (false, _) => format!("NOT EQUAL: {}", self.detail),
        }
    }
}

/// Runs a task again and compares.
///
/// # Errors
/// When it can't be run again: it is not settled, not deterministic, or its bytes can't be had.
pub(super) async fn reexecute(state: &State, task: &str, blobs: &Blobs) -> Result<Reexecution> {
    let id: TaskId = task
        .parse()
        .map_err(|_| anyhow!("`{task}` is no task's id"))?;
    let task = state
        .tasks
        .get(&id)
        .with_context(|| format!("the log has no task {id}"))?;
    let report = accepted(task)?;
    let folder = workfolder("audit-")?;
    let spec = spec(state, task, blobs, folder.path()).await?;
    let executor = Executor::tuned(
        ExecutorConfig {
            program: std::env::current_exe().context("this program's own file")?,
            args: vec![EXECUTOR.to_owned()],
            cache_dir: folder.path().join("compiled"),
            env: BTreeMap::new(),
            log: None,
        },
        Tuning::one_run(),
    );
    let (events, mut said) = mpsc::channel(EVENTS_WAITING);
    let running = executor.run(spec, events, CancellationToken::new());
    let listening = async { while said.recv().await.is_some() {} };
    let (outcome, ()) = tokio::join!(running, listening);
    let detail = compare(report, &outcome);
    Ok(Reexecution {
        task: id.to_string(),
        equal: detail.is_none(),
        detail: detail.unwrap_or_default(),
        fuel: Some(outcome.usage.fuel.to_string()),
    })
}

/// The report of the first accepted replica, where running it again means something.
fn accepted(task: &Task) -> Result<&Report> {
    let id = task.id;
    let verdict = task.verdict.as_ref();
    let verdict = verdict.with_context(|| {
        format!(
            "task {id} has no verdict: it is {}; only settled tasks are run again",
            task.phase.name()
        )
    })?;
    let first = verdict.accepted.first().with_context(|| {
        format!("no result of task {id} was accepted, so there is nothing to compare with")
    })?;
    let assignment = task.assignments.get(first).context("its assignment")?;
    let Stage::Accepted(revealed) = &assignment.stage else {
        bail!("assignment {first} of task {id} has no accepted report");
    };
    ensure!(
        revealed.report.trace_root.is_none() && task.definition.qos.gpu.is_none(),
        "task {id} used a GPU: its results compare bitwise within one class of hardware (`{}`), which this machine can't \
         promise to be; submit it again with `qos.gpu` on a node of that class instead",
        revealed.report.class
    );
    ensure!(
        !revealed.report.class.ends_with(FAST_CLASS_MARK),
        "task {id} was run in the fast profile, as it asked for: another machine may round NaNs and fused operations \
         otherwise, so there is nothing to compare with; leave `runtime` out where runs shall be repeatable"
    );
    ensure!(
        revealed.report.resumed_from.is_none(),
        "the accepted run of task {id} resumed from a checkpoint of an earlier one: its fuel counts only the rest"
    );
    Ok(&revealed.report)
}

async fn spec(state: &State, task: &Task, blobs: &Blobs, folder: &Path) -> Result<RunSpec> {
    let definition = &task.definition;
    let module = fetch(blobs, definition.module, folder)
        .await
        .with_context(|| format!("the module {} can't be had", definition.module))?;
    let mut inputs = Vec::new();
    for input in inputs_of(state, task, None) {
        let path = fetch(blobs, input.digest, folder).await.with_context(|| {
            format!("the input `{}` ({}) can't be had", input.name, input.digest)
        })?;
        inputs.push(Input {
            name: input.name.clone(),
            path,
            size: input.size.0,
        });
    }
    let out_dir = folder.join("out");
    std::fs::create_dir(&out_dir).context("the run's folder can't be made")?;
    let limits = &definition.limits;
    Ok(RunSpec {
        module,
        module_digest: definition.module.to_string(),
        profile: Profile::default(),
        params: definition.params.text().to_owned(),
        seed: task.seed.0,
        inputs,
        checkpoint: None,
        out_dir,
        // As a node grants them.
        limits: Limits::for_task(
            limits.fuel.0,
            limits.memory_mib,
            limits.runtime_s,
            limits.output_mib,
        ),
        gpu: false,
        gpu_class: None,
        tenant: String::new(),
        trace: TraceIds::default(),
    })
}

/// Brings a blob into the folder, whole and with the right digest.
async fn fetch(blobs: &Blobs, wanted: Digest, folder: &Path) -> Result<PathBuf> {
    let name = wanted.to_string();
    let path = folder.join(&name);
    if path.exists() {
        return Ok(path);
    }
    match blobs {
        Blobs::Folder(objects) => {
            let places = [objects.join(&name), objects.join(&name[..2]).join(&name)];
            let found = places.iter().find(|place| place.is_file());
            let found = found
                .with_context(|| format!("`{}` has no file of this name", objects.display()))?;
            std::fs::copy(found, &path)?;
        }
        Blobs::Server(client) => {
            client.download_blob(&name, &path).await.context(
                "the platform gives blobs to the account that uploaded them or paid for them: use its key, or --blobs \
                 with a folder that has them",
            )?;
        }
    }
    let bytes = std::fs::read(&path)?;
    ensure!(
        digest(&bytes) == name,
        "the bytes have another digest than their name"
    );
    Ok(path)
}

/// What differs; nothing where all is equal.
fn compare(report: &Report, outcome: &Outcome) -> Option<String> {
    if outcome.end != End::Ok {
        return Some(format!("the run ended otherwise: {:?}", outcome.end));
    }
    let outputs: Vec<(String, String)> = outcome
        .outputs
        .iter()
        .map(|o| (o.name.clone(), o.digest.clone()))
        .collect();
    let recorded: Vec<(String, String)> = report
        .outputs
        .iter()
        .map(|o| (o.name.clone(), o.digest.to_string()))
        .collect();
    if let Some((name, _)) = recorded.iter().find(|output| !outputs.contains(output)) {
        return Some(format!("the output `{name}` has another digest"));
    }
    if outputs.len() != recorded.len() {
        return Some(format!("{} outputs, not {}", outputs.len(), recorded.len()));
    }
    let text = outcome.result.as_deref().unwrap_or("null");
    let value: Option<Value> = serde_json::from_str(text).ok();
    let result = value.and_then(|value| canonical(&value).ok());
    if result.map(|bytes| digest(&bytes)) != Some(report.result.digest.to_string()) {
        return Some("the inline result has another digest".into());
    }
    let metric = |name: &str| outcome.metrics.iter().find(|m| m.name == name);
    let differs = report
        .metrics
        .iter()
        .find(|m| metric(&m.name).is_none_or(|found| found.micro != m.value.0));
    if let Some(differs) = differs {
        return Some(format!("the metric `{}` differs", differs.name));
    }
    let (found, recorded) = (outcome.usage.fuel, report.usage.fuel.0);
    (found != recorded).then(|| format!("{found} units of fuel, and the log says {recorded}"))
}
