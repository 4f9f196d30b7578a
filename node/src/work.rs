//! One assignment from lease to seal: fetch, start, run, upload, seal, commit. Whatever goes wrong on the way is told
//! with its class.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use aevir_sandbox::{Compiled, Input, Limits, Outcome, Profile, RunEvent, RunSpec, TraceIds};
use aevir_wire::{Fail, Lease};
use tokio::sync::mpsc;

use crate::{
    admission::Place,
    agent::Shared,
    card,
    checkpoints::Checkpoints,
    fault::Fault,
    fetch::{Materials, fetch},
    heartbeat::{flush, flush_within},
    held::{Held, Work},
    journal::Sealed,
    report::{self, class, failure},
    retry::{Tried, full, until_answered},
    seal::{author, commit},
};

const RUNS_FOLDER: &str = "runs";
/// How long a stopping node tries to give a run back.
const GIVE_BACK_PATIENCE: Duration = Duration::from_secs(3);

const MIB: u64 = 1024 * 1024;

/// Why an assignment ended without a seal.
enum Ended {
    /// The platform is told.
    Failed(Fail),
    /// The platform told us, or refused us.
    Dropped,
    /// The node is stopping.
    Halted,
}

/// Removes what runs of an earlier process left.
pub(crate) fn sweep(data_dir: &Path) -> io::Result<()> {
    let folder = data_dir.join(RUNS_FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(folder)
}

/// Takes a lease, starts it, and is never heard of again: a fault on purpose.
pub(crate) async fn stall(shared: &Shared, assignment: &str) {
    tracing::warn!("stalling on purpose");
    let call = || shared.client.start(assignment);
    if let Tried::Refused(error) = until_answered("start", &shared.halt, call).await {
        tracing::info!(error = full(&error), "the start was refused");
        shared.holdings.remove(assignment);
    }
}

/// Works on a lease until its result is sealed and committed, or it ended otherwise.
pub(crate) async fn work(shared: &Shared, lease: Lease, work: Work) {
    let folder = shared
        .config
        .data_dir
        .join(RUNS_FOLDER)
        .join(&lease.assignment);
    match admitted(shared, &lease, &work, &folder).await {
        Ok(()) => {
            shared.holdings.set(&lease.assignment, Held::Sealed);
            return;
        }
        Err(Ended::Failed(fail)) => {
            tracing::warn!(class = fail.class, message = fail.message, "the run failed");
            let call = || shared.submitter.fail(&lease.assignment, &fail);
            if let Tried::Refused(error) = until_answered("fail", &work.stop, call).await {
                tracing::info!(error = full(&error), "the failure was not wanted");
            }
        }
        Err(Ended::Dropped) => tracing::info!("the run was dropped"),
        Err(Ended::Halted) => {
            let (assignment, telemetry) = (&lease.assignment, &work.telemetry);
            flush_within(shared, assignment, telemetry, GIVE_BACK_PATIENCE).await;
            give_back(shared, assignment).await;
        }
    }
    shared.holdings.remove(&lease.assignment);
}

/// Enters, makes the attempt, and leaves nothing behind: only then the platform hears how it ended.
async fn admitted(shared: &Shared, lease: &Lease, work: &Work, folder: &Path) -> Result<(), Ended> {
    work.telemetry.note("waiting for room");
    let mut place = tokio::select! {
        place = shared.admission.enter(lease) => {
            place.map_err(|why| Ended::Failed(failure(class::HOST_ERROR, why.to_string())))?
        }
        () = work.stop.cancelled() => return Err(stopped(shared)),
    };
    let ended = attempt(shared, lease, work, folder, &mut place).await;
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the run's folder can't be removed");
    }
    ended
}

/// What being told to stop means.
fn stopped(shared: &Shared) -> Ended {
    if shared.halt.is_cancelled() {
        Ended::Halted
    } else {
        Ended::Dropped
    }
}

/// Tells the platform that this node won't finish, so that another one need not wait for the lease to run out.
async fn give_back(shared: &Shared, assignment: &str) {
    let told = tokio::time::timeout(GIVE_BACK_PATIENCE, shared.submitter.give_back(assignment));
    match told.await {
        Ok(Ok(())) => tracing::info!("the run was given back"),
        Ok(Err(error)) => tracing::warn!(error = full(&error), "the run could not be given back"),
        Err(_) => tracing::warn!("the platform did not answer in time to the run given back"),
    }
}

async fn attempt(
    shared: &Shared,
    lease: &Lease,
    work: &Work,
    folder: &Path,
    place: &mut Place<'_>,
) -> Result<(), Ended> {
    let stopped = || stopped(shared);
    work.telemetry.note("fetching");
    let materials = tokio::select! {
        materials = fetch(shared, lease) => {
            materials.map_err(host_error("the lease can't be run"))?
        }
        () = work.stop.cancelled() => return Err(stopped()),
    };
    let spec = spec(shared, lease, &materials, folder)?;
    // Until the run is over: what it has loaded takes its room on the disk as long.
    let _compiled = tokio::select! {
        compiled = compile(shared, work, &spec, place.memory_mib()) => compiled?,
        () = work.stop.cancelled() => return Err(stopped()),
    };
    // Fetched and compiled first: what that takes is not counted as the run's time.
    let call = || shared.submitter.start(&lease.assignment);
    place.start();
    expect_answer(until_answered("start", &work.stop, call).await, stopped)?;
    work.telemetry.note("starting");
    let checkpoints = Checkpoints::of(lease);
    let outcome = run(shared, lease, work, spec, &checkpoints).await;
    if !lease.word_only {
        work.telemetry.drop_lines(outcome.log_lines_dropped);
    }
    if lease.gpu.is_some() {
        card::look(shared, &outcome).await;
    }
    if shared.halt.is_cancelled() {
        checkpoints.keep(shared).await;
    }
    if work.stop.is_cancelled() {
        return Err(stopped());
    }
    flush(shared, &lease.assignment, work).await;
    misbehave(shared, work).await?;
    if work.stop.is_cancelled() {
        return Err(stopped());
    }
    let brought = checkpoints.bring_expected(shared).await;
    brought.ok_or(Ended::Halted)?;
    let sealed = seal(shared, lease, &outcome)?;
    work.telemetry.progress(1_000_000, "uploading");
    tokio::select! {
        uploaded = upload(shared, lease, &outcome) => uploaded?,
        () = work.stop.cancelled() => return Err(stopped()),
    }
    // Kept before the commitment is sent: whatever happens then, the result can be revealed.
    let outputs = outcome.outputs.first().filter(|_| !lease.word_only);
    shared
        .keep_sealed(&sealed, outputs.and_then(|o| o.path.parent()))
        .map_err(host_error("the sealed result can't be kept"))?;
    let commitment = sealed.commit.commitment.clone();
    let answer = commit(shared, sealed, &work.stop).await;
    let committed = expect_answer(answer, stopped);
    match &committed {
        Ok(()) => tracing::info!(commitment, "committed"),
        // A stopping node keeps it: the next start sends the commitment again.
        Err(Ended::Halted) => {}
        Err(Ended::Dropped | Ended::Failed(_)) => shared.discard_sealed(&lease.assignment),
    }
    committed
}

/// Has the module compiled if it is not, in the memory that its lease holds until it starts.
async fn compile(
    shared: &Shared,
    work: &Work,
    spec: &RunSpec,
    memory_mib: u64,
) -> Result<Compiled, Ended> {
    if let Some(compiled) = shared.executor.compiled(spec).await {
        return Ok(compiled);
    }
    work.telemetry.note("compiling");
    let compiled = shared.executor.compile(spec, memory_mib * MIB).await;
    compiled.map_err(|end| Ended::Failed(report::not_compiled(&end)))
}

/// A refusal by the platform means that the assignment is no longer ours.
fn expect_answer<T>(tried: Tried<T>, stopped: impl Fn() -> Ended) -> Result<T, Ended> {
    match tried {
        Tried::Done(done) => Ok(done),
        Tried::Refused(error) => {
            tracing::info!(error = full(&error), "the platform refused");
            Err(Ended::Dropped)
        }
        Tried::Stopped => Err(stopped()),
    }
}

/// A failure of this machine. The platform keeps its message for ever, so the reason, which may name files, stays here.
fn host_error<E: std::error::Error>(what: &'static str) -> impl Fn(E) -> Ended {
    move |error| {
        tracing::error!(error = full(&error), "{what}");
        Ended::Failed(failure(class::HOST_ERROR, what))
    }
}

fn spec(
    shared: &Shared,
    lease: &Lease,
    materials: &Materials,
    folder: &Path,
) -> Result<RunSpec, Ended> {
    let number = |name: &str, text: &str| {
        text.parse::<u64>().map_err(|_| {
            let text = format!("the lease's {name} `{text}` is no number");
            Ended::Failed(failure(class::HOST_ERROR, text))
        })
    };
    let profile = Profile::named(&lease.runtime).ok_or_else(|| {
        let text = format!("this node has no runtime `{}`", lease.runtime);
        Ended::Failed(failure(class::HOST_ERROR, text))
    })?;
    fs::create_dir(folder).map_err(host_error("the run's folder can't be made"))?;
    let mut inputs = Vec::new();
    for (input, pinned) in lease.inputs.iter().zip(&materials.inputs) {
        inputs.push(Input {
            name: input.name.clone(),
            path: pinned.path().to_owned(),
            size: number("input size", &input.size)?,
        });
    }
    let limits = limits(lease, number("fuel", &lease.limits.fuel)?);
    Ok(RunSpec {
        module: materials.module.path().to_owned(),
        module_digest: lease.module.digest.clone(),
        profile,
        params: lease.params.clone(),
        seed: number("seed", &lease.seed)?,
        inputs,
        checkpoint: materials.checkpoint.as_ref().map(|c| c.path().to_owned()),
        out_dir: folder.to_owned(),
        limits,
        gpu: lease.gpu.is_some(),
        gpu_class: lease
            .gpu
            .as_ref()
            .and_then(|_| card::class(shared))
            .map(str::to_owned),
        tenant: lease.tenant.clone(),
        trace: TraceIds {
            task: lease.task.clone(),
            assignment: lease.assignment.clone(),
            node: shared.node.clone(),
        },
    })
}

/// What a lease grants its run.
fn limits(lease: &Lease, fuel: u64) -> Limits {
    let limits = Limits::for_task(
        fuel,
        lease.limits.memory_mib,
        lease.limits.runtime_s,
        lease.limits.output_mib,
    );
    match &lease.gpu {
        Some(need) => limits.with_gpu(need.memory_mib, need.buffer_mib, &need.features),
        None => limits,
    }
}

/// Faults on purpose, between a run's end and its seal.
async fn misbehave(shared: &Shared, work: &Work) -> Result<(), Ended> {
    let Some(fault) = &shared.config.fault else {
        return Ok(());
    };
    tokio::select! {
        () = tokio::time::sleep(fault.delay()) => {}
        () = work.stop.cancelled() => {}
    }
    if fault.breaks() {
        let text = "failing on purpose";
        return Err(Ended::Failed(failure(class::HOST_ERROR, text)));
    }
    Ok(())
}

/// Runs it, passing on what it says.
async fn run(
    shared: &Shared,
    lease: &Lease,
    work: &Work,
    spec: RunSpec,
    checkpoints: &Checkpoints<'_>,
) -> Outcome {
    let (events, mut said) = mpsc::channel(checkpoints.events_waiting());
    let started = Instant::now();
    let running = shared.executor.run(spec, events, work.stop.clone());
    let listening = async {
        while let Some(event) = said.recv().await {
            // What a comparison says could be what it compares.
            if !lease.word_only || matches!(event, RunEvent::Started { .. }) {
                hear(work, event, checkpoints);
            }
        }
    };
    let (outcome, ()) = tokio::select! {
        done = async { tokio::join!(running, listening) } => done,
        // A run that has ended needs no checkpoint any more.
        never = checkpoints.offer(shared) => match never {},
    };
    tracing::info!(
        end = ?outcome.end,
        fuel = outcome.usage.fuel,
        wall_ms = outcome.usage.wall_ms,
        total_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "the run ended"
    );
    outcome
}

fn hear(work: &Work, event: RunEvent, checkpoints: &Checkpoints<'_>) {
    match event {
        RunEvent::Started { .. } => work.telemetry.note("started"),
        RunEvent::Log { level, text } => {
            let level = serde_json::to_value(level).unwrap_or_default();
            work.telemetry.log(level.as_str().unwrap_or("info"), text);
        }
        RunEvent::Progress { ppm, note } => work.telemetry.progress(ppm, note),
        RunEvent::Metric(metric) => work.telemetry.metric(report::metric(&metric)),
        RunEvent::Checkpoint { path, digest, .. } => checkpoints.saved(path, &digest),
    }
}

fn seal(shared: &Shared, lease: &Lease, outcome: &Outcome) -> Result<Sealed, Ended> {
    let spoil = shared.config.fault.as_ref();
    let spoil = spoil.is_some_and(|fault: &Fault| fault.spoils(&lease.task_type));
    if spoil {
        tracing::warn!("altering the result on purpose");
    }
    let key = shared.key.get();
    report::seal(lease, outcome, author(shared, &key, spoil)).map_err(Ended::Failed)
}

async fn upload(shared: &Shared, lease: &Lease, outcome: &Outcome) -> Result<(), Ended> {
    if lease.word_only {
        return Ok(());
    }
    for output in &outcome.outputs {
        let call = || {
            shared
                .client
                .put_output_file(&lease.assignment, &output.digest, &output.path)
        };
        match until_answered("output", &shared.halt, call).await {
            Tried::Done(_) => {}
            Tried::Refused(error) => {
                let text = format!("the output `{}` was refused: {}", output.name, full(&error));
                return Err(Ended::Failed(failure(class::HOST_ERROR, text)));
            }
            Tried::Stopped => return Err(Ended::Halted),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aevir_sandbox::{End, TrapKind};

    use super::*;
    use crate::allowance::tests::lease;

    #[test]
    fn a_run_gets_what_its_lease_says_of_the_gpu() {
        let mut lease = lease(1, 1, Some(2_048));
        lease.limits.runtime_s = 7_200;
        lease.gpu.as_mut().unwrap().buffer_mib = Some(256);
        let limits = limits(&lease, 5);
        assert_eq!((limits.fuel, limits.wall_ms), (5, 7_200_000));
        assert_eq!(limits.gpu.time_ms, 7_200_000);
        assert_eq!(limits.gpu.memory_bytes, 2_048 << 20);
        assert_eq!(limits.gpu.buffer_bytes, 256 << 20);
    }

    #[test]
    fn a_module_that_this_node_can_not_compile_is_not_blamed() {
        let limit = |limit: &str| End::Limit {
            limit: limit.into(),
            value: 1,
        };
        let refused = End::Trap {
            kind: TrapKind::Module,
            text: "the compiler breaks on the module".into(),
        };
        for end in [limit("compile-time"), limit("compile-memory"), refused] {
            assert_eq!(report::not_compiled(&end).class, "not-compiled", "{end:?}");
        }
        let text = "no disk".into();
        let fail = report::not_compiled(&End::HostError { text });
        assert_eq!(fail.class, "host-error");
    }
}
