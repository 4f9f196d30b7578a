//! Nodes in the projection `work`: what they offer, and how they did. The arithmetic is the machine's own.

use std::collections::BTreeSet;

use aevir_events::{
    Timestamp,
    projection::{ProjectionError, Row, Rows, Value},
};
use aevir_platform::{
    event::{
        NodeRegistered, PolicyAdopted, RefusalReason, ReviewOutcome, ShareRole, TaskReviewed,
        TaskSettled, TaskVerified,
    },
    policy::Policy,
    state::{
        Backoff, FAILING_OWNERS_MIN, Fading, Outcome, Phase, SpeedRecord, Standing, Tally,
        could_be_in_time, moved_mib, needed_ms, took_too_long,
    },
    terms::NodeTerms,
};

use super::{
    id, json, ms, name,
    work_tables::{ASSIGNMENTS, BACKOFFS, FADING, NODES, POLICIES, RECORDS, TASKS},
};

type Done = Result<(), ProjectionError>;

/// The key of the one row of `fading`.
const FADING_ROW: i64 = 0;

pub(super) fn registered(rows: &mut Rows<'_>, e: &NodeRegistered, at: Timestamp) -> Done {
    let profile = &e.profile;
    rows.insert(
        NODES,
        [
            ("id", id(e.node)),
            ("owner", id(e.owner)),
            ("name", profile.name.as_str().into()),
            ("availability", "offline".into()),
            ("public_key", id(e.public_key)),
            ("slots", profile.slots.into()),
            (
                "gpu_class",
                profile.gpu.as_ref().map(|gpu| gpu.class.as_str()).into(),
            ),
            ("profile", json(profile)?),
            ("terms", json(&NodeTerms::default())?),
            ("standing", Standing::Working.name().into()),
            ("shown_mfuel_s", 0u32.into()),
            ("speed_samples", 0u32.into()),
            ("shown_mflop_s", 0u32.into()),
            ("compute_checks", 0u32.into()),
            ("compute_wrong", 0u32.into()),
            ("earned", 0u32.into()),
            ("registered_at", ms(at)),
        ],
    )
}

/// What a verdict means for the assignments, and against their nodes.
pub(super) async fn verified(rows: &mut Rows<'_>, e: &TaskVerified, at: Timestamp) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    let accepted: Vec<String> = e.accepted.iter().map(ToString::to_string).collect();
    task.set("accepted_runs", json(&accepted)?)?;
    let max_latency_ms = max_latency_ms(task)?;
    let moved = unsigned(task, "inputs_mib")?.saturating_add(moved_mib(&e.outputs));
    let needed = needed_ms(count(task, "runtime_s")?, moved);
    let asks_for_stake = task.int("asks_for_stake")? != 0;
    let is_narrowed = task.int("narrowed")? != 0;
    let version = task.int("policy_version")?;
    // Of a sample there is more than one.
    let is_sampled = task.int("first_round")? > 1;
    let terms = policy(rows, version).await?;
    let blames = terms.blames(is_sampled, asks_for_stake, is_narrowed);
    let task = rows.row(TASKS, [id(e.task)]).await?;
    let (contradicted, suspects) = if e.accepted.is_empty() || !blames {
        (Vec::new(), Vec::new())
    } else {
        (listed(task, "blamed_by")?, suspects(task)?)
    };
    let mut outcomes = Vec::new();
    let (mut nodes, mut from) = (Vec::new(), Vec::new());
    for assignment in &e.accepted {
        let row = rows.row(ASSIGNMENTS, [id(assignment)]).await?;
        row.set("state", "accepted")?.set("ended_at", ms(at))?;
        let time = |column| row.int(column).map(Timestamp);
        let (leased_at, committed_at) = (time("leased_at")?, time("committed_at")?);
        let absent = unsigned(row, "absent_ms")?;
        nodes.push(row.text("node")?.to_owned());
        from.push(row.get("resumed_from")?.clone());
        if took_too_long(max_latency_ms, leased_at, committed_at, absent)
            && could_be_in_time(max_latency_ms, needed)
        {
            outcomes.push((id(assignment), Outcome::Late));
        }
    }
    for refusal in &e.refused {
        let row = rows.row(ASSIGNMENTS, [id(refusal.assignment)]).await?;
        row.set("state", "refused")?
            .set("reason", name(&refusal.reason))?
            .set("ended_at", ms(at))?;
        if refusal.reason.is_blamed(e.accepted.is_empty() || blames) {
            outcomes.push((id(refusal.assignment), Outcome::Fault));
        }
    }
    let contradicted = contradicted.into_iter();
    outcomes.extend(contradicted.map(|assignment| (assignment.into(), Outcome::Fault)));
    // Runs whose checkpoint another one failed from, and the result was reached without: the first one of each node.
    for (by, checkpoint) in suspects {
        let author = rows.row(ASSIGNMENTS, [by.as_str().into()]).await?;
        let author = author.text("node")?.to_owned();
        if !nodes.contains(&author) && !from.contains(&Value::from(checkpoint.as_str())) {
            nodes.push(author);
            outcomes.push((by.into(), Outcome::Fault));
        }
    }
    for (assignment, outcome) in outcomes {
        note(rows, id(e.task), assignment, outcome, at).await?;
    }
    count_failures(rows, id(e.task), !e.accepted.is_empty(), at).await
}

/// A verdict was settled: what its accepted results show of their nodes counts where they earned them enough.
pub(super) async fn paid(rows: &mut Rows<'_>, e: &TaskSettled, at: Timestamp) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    let accepted = listed(task, "accepted_runs")?;
    let max_latency_ms = max_latency_ms(task)?;
    let with_gpu = task.int("gpu")? != 0;
    let bytes = u64::try_from(task.int("input_bytes")?).unwrap_or(0);
    let version = task.int("policy_version")?;
    let scheduling = policy(rows, version).await?.scheduling;
    let fetching_ms = scheduling.leases.transfer_ms(bytes);
    let compute = e.shares.iter().filter(|s| s.role == ShareRole::Compute);
    let enough: BTreeSet<String> = compute
        .filter(|share| share.amount >= scheduling.record_pay_min)
        .filter_map(|share| Some(share.node?.to_string()))
        .collect();
    for assignment in accepted {
        let assignment = Value::from(assignment);
        let row = rows.row(ASSIGNMENTS, [assignment.clone()]).await?;
        let node = row.text("node")?.to_owned();
        if !enough.contains(&node) {
            continue;
        }
        let time = |column| row.int(column).map(Timestamp);
        let (leased_at, committed_at) = (time("leased_at")?, time("committed_at")?);
        let absent = unsigned(row, "absent_ms")?;
        let fuel = u64::try_from(row.int("fuel")?).unwrap_or(0);
        let told_ms = u64::try_from(row.int("started_at")? - leased_at.0).unwrap_or(0);
        if !with_gpu {
            let took_ms = committed_at.0 - leased_at.0;
            see(rows, &node, (fuel, took_ms, told_ms.min(fetching_ms))).await?;
        }
        if !took_too_long(max_latency_ms, leased_at, committed_at, absent) {
            note(rows, id(e.task), assignment, Outcome::Good, at).await?;
        }
    }
    Ok(())
}

fn max_latency_ms(task: &Row) -> Result<Option<u32>, ProjectionError> {
    match task.get("max_latency_ms")? {
        Value::Int(_) => count(task, "max_latency_ms").map(Some),
        Value::Null | Value::Text(_) => Ok(None),
    }
}

/// A task ended: the failures that nodes took on themselves count, unless nobody managed and nodes of several owners failed.
pub(super) async fn count_failures(
    rows: &mut Rows<'_>,
    task: Value,
    others_managed: bool,
    at: Timestamp,
) -> Done {
    let failed_by = listed(rows.row(TASKS, [task.clone()]).await?, "failed_by")?;
    let mut owners = BTreeSet::new();
    for assignment in &failed_by {
        let row = rows
            .row(ASSIGNMENTS, [Value::from(assignment.as_str())])
            .await?;
        owners.insert(row.text("owner")?.to_owned());
    }
    if !others_managed && owners.len() >= FAILING_OWNERS_MIN {
        return Ok(());
    }
    for assignment in failed_by {
        note(rows, task.clone(), assignment.into(), Outcome::Failure, at).await?;
    }
    Ok(())
}

/// What looking at a verdict again has shown. Results that were accepted and are refuted count against their nodes.
pub(super) async fn reviewed(rows: &mut Rows<'_>, e: &TaskReviewed, at: Timestamp) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    task.set("review_outcome", name(&e.outcome))?;
    if matches!(
        e.outcome,
        ReviewOutcome::Overturned | ReviewOutcome::Unconfirmed
    ) {
        task.set("state", Phase::Overturned.name())?;
    }
    for refused in &e.refused {
        let row = rows.row(ASSIGNMENTS, [id(refused)]).await?;
        row.set("state", "refused")?
            .set("reason", name(&RefusalReason::Mismatch))?;
    }
    let blamed = e.blamed.iter().map(|run| &run.assignment);
    for run in blamed.chain(&e.doubted) {
        note(rows, id(e.task), id(run), Outcome::Fault, at).await?;
    }
    Ok(())
}

/// What an accepted result without GPU shows of its node's speed: its fuel, the time from its lease to its commitment, and how much of that
/// went to fetching, in ms.
async fn see(rows: &mut Rows<'_>, node: &str, sample: (u64, i64, u64)) -> Done {
    let row = rows.row(NODES, [node.into()]).await?;
    let mut speed = SpeedRecord {
        mfuel_s: count(row, "shown_mfuel_s")?,
        samples: count(row, "speed_samples")?,
    };
    let (fuel, took_ms, fetched_ms) = sample;
    speed.see(fuel, took_ms, fetched_ms);
    row.set("shown_mfuel_s", speed.mfuel_s)?
        .set("speed_samples", speed.samples)
        .map(drop)
}

pub(super) fn unsigned(row: &Row, column: &str) -> Result<u64, ProjectionError> {
    u64::try_from(row.int(column)?)
        .map_err(|_| ProjectionError::refused(format!("`{column}` is no count")))
}

/// Counts stay far below 63 bits.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(row: &Row, column: &str) -> Result<u32, ProjectionError> {
    u32::try_from(row.int(column)?)
        .map_err(|_| ProjectionError::refused(format!("`{column}` is no count")))
}

/// What the end of an assignment means for its node's record.
pub(super) async fn note(
    rows: &mut Rows<'_>,
    task: Value,
    assignment: Value,
    outcome: Outcome,
    at: Timestamp,
) -> Done {
    let task = rows.row(TASKS, [task]).await?;
    let (kind, version) = (task.text("type")?.to_owned(), task.int("policy_version")?);
    let policy = policy(rows, version).await?;
    let row = rows.row(ASSIGNMENTS, [assignment]).await?;
    let (node, class) = (
        row.text("node")?.to_owned(),
        row.text("hardware")?.to_owned(),
    );
    let fading = fading(rows).await?;
    let of_type = [Value::from(node.as_str()), Value::from(kind.as_str())];
    let row = rows.entry(BACKOFFS, of_type).await?;
    let mut backoff = Backoff {
        faults_in_a_row: count(row, "faults_in_a_row")?,
        backoff_until: Timestamp(row.int("backoff_until")?),
    };
    // Counted first, set after: a row can't be held while another one is looked up.
    let of_class = [
        Value::from(node.as_str()),
        Value::from(kind.as_str()),
        class.into(),
    ];
    let record = rows.entry(RECORDS, of_class).await?;
    let tally = Tally {
        good: unsigned(record, "good")?,
        bad: unsigned(record, "bad")?,
    };
    let mut tally = fading.fade(tally, count(record, "epoch")?);
    outcome.count(&mut tally, &mut backoff, at, &policy);
    record
        .set("good", signed(tally.good))?
        .set("bad", signed(tally.bad))?
        .set("epoch", fading.closed)?;
    let of_type = [Value::from(node), Value::from(kind)];
    let row = rows.entry(BACKOFFS, of_type).await?;
    row.set("faults_in_a_row", backoff.faults_in_a_row)?
        .set("backoff_until", ms(backoff.backoff_until))
        .map(drop)
}

/// The policy in force from here on.
pub(super) async fn policy_adopted(rows: &mut Rows<'_>, e: &PolicyAdopted) -> Done {
    let row = rows.entry(FADING, [FADING_ROW.into()]).await?;
    if row.text("keeps")?.is_empty() {
        row.set("keeps", "[]")?;
    }
    row.set("keep_ppm", e.policy.scheduling.reliability_keep_ppm)
        .map(drop)
}

/// All outcomes fade.
pub(super) async fn epoch_closed(rows: &mut Rows<'_>, epoch: u32) -> Done {
    let mut fading = fading(rows).await?;
    let row = rows.row(FADING, [FADING_ROW.into()]).await?;
    fading.close(epoch, count(row, "keep_ppm")?);
    row.set("closed", fading.closed)?
        .set("keeps", json(&fading.keeps)?)
        .map(drop)
}

async fn fading(rows: &mut Rows<'_>) -> Result<Fading, ProjectionError> {
    let Some(row) = rows.find(FADING, [FADING_ROW.into()]).await? else {
        return Ok(Fading::default());
    };
    let keeps = serde_json::from_str(row.text("keeps")?)
        .map_err(|e| ProjectionError::refused(format!("`fading.keeps` is no list: {e}")))?;
    Ok(Fading {
        closed: count(row, "closed")?,
        keeps,
    })
}

/// The assignments in a column of a task's.
pub(super) fn listed(task: &Row, column: &str) -> Result<Vec<String>, ProjectionError> {
    serde_json::from_str(task.text(column)?)
        .map_err(|e| ProjectionError::refused(format!("`tasks.{column}` is no list: {e}")))
}

/// The run that saved the checkpoint which a failed one began from, and that checkpoint, where it is another node's.
pub(super) fn suspect(failed: &Row) -> Result<Option<(String, String)>, ProjectionError> {
    let (node, author) = (failed.text("node")?, failed.get("checkpoint_author")?);
    let is_others = matches!(author, Value::Text(author) if author != node);
    match (failed.get("resumed_run")?, failed.get("resumed_from")?) {
        (Value::Text(by), Value::Text(checkpoint)) if is_others => {
            Ok(Some((by.clone(), checkpoint.clone())))
        }
        (Value::Text(_) | Value::Int(_) | Value::Null, _) => Ok(None),
    }
}

/// The runs of a task that saved a checkpoint, with the newest of each, in the order of saving.
pub(super) fn checkpoints(task: &Row) -> Result<Vec<(String, String)>, ProjectionError> {
    serde_json::from_str(task.text("checkpoints")?)
        .map_err(|e| ProjectionError::refused(format!("`tasks.checkpoints` is no list: {e}")))
}

/// The run that saved a checkpoint last.
pub(super) fn saved_by(task: &Row, checkpoint: &str) -> Result<Option<String>, ProjectionError> {
    let mut saved = checkpoints(task)?.into_iter().rev();
    Ok(saved
        .find(|(_, known)| known == checkpoint)
        .map(|(by, _)| by))
}

/// Runs whose checkpoints another node's run failed from, with those.
pub(super) fn suspects(task: &Row) -> Result<Vec<(String, String)>, ProjectionError> {
    serde_json::from_str(task.text("suspects")?)
        .map_err(|e| ProjectionError::refused(format!("`tasks.suspects` is no list: {e}")))
}

async fn policy(rows: &mut Rows<'_>, version: i64) -> Result<Policy, ProjectionError> {
    let Some(row) = rows.find(POLICIES, [version.into()]).await? else {
        return Ok(Policy::default());
    };
    serde_json::from_str(row.text("policy")?)
        .map_err(|e| ProjectionError::refused(format!("`policies.policy` is no policy: {e}")))
}
