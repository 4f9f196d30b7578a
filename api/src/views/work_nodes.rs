//! Nodes in the projection `work`: what they offer, and how they did. The arithmetic is the machine's own.

use aevir_events::{
    Timestamp,
    projection::{ProjectionError, Row, Rows, Value},
};
use aevir_platform::{
    event::{NodeRegistered, TaskVerified},
    policy::Policy,
    state::{Record, SpeedRecord, Standing},
    terms::NodeTerms,
};

use super::{
    id, json, ms, name,
    work_tables::{ASSIGNMENTS, NODES, POLICIES, RECORDS, TASKS},
};

type Done = Result<(), ProjectionError>;

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
            ("earned", 0u32.into()),
            ("registered_at", ms(at)),
        ],
    )
}

/// What a verdict means for the assignments and for the records of their nodes.
pub(super) async fn verified(rows: &mut Rows<'_>, e: &TaskVerified, at: Timestamp) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    let kind = task.text("type")?.to_owned();
    let max_latency_ms = match task.get("max_latency_ms")? {
        Value::Int(ms) => Some(*ms),
        Value::Null | Value::Text(_) => None,
    };
    let policy_version = task.int("policy_version")?;
    let with_gpu = task.int("gpu")? != 0;
    let contradicted = if e.accepted.is_empty() {
        Vec::new()
    } else {
        blamed_by(task)?
    };
    let policy = policy(rows, policy_version).await?;
    let mut accepted = Vec::new();
    for assignment in &e.accepted {
        let row = rows.row(ASSIGNMENTS, [id(assignment)]).await?;
        row.set("state", "accepted")?.set("ended_at", ms(at))?;
        let took_ms = row.int("committed_at")? - row.int("leased_at")?;
        let late = max_latency_ms.is_some_and(|most| took_ms > most);
        let fuel = u64::try_from(row.int("fuel")?).unwrap_or(0);
        let ran_ms = row.int("committed_at")? - row.int("started_at")?;
        let node = row.text("node")?.to_owned();
        if !with_gpu {
            see(rows, &node, fuel, ran_ms).await?;
        }
        accepted.push((node, late));
    }
    let mut faulty = Vec::new();
    for refusal in &e.refused {
        let row = rows.row(ASSIGNMENTS, [id(refusal.assignment)]).await?;
        row.set("state", "refused")?
            .set("reason", name(&refusal.reason))?
            .set("ended_at", ms(at))?;
        faulty.push(row.text("node")?.to_owned());
    }
    for (node, late) in accepted {
        change(rows, &node, &kind, |record| {
            if late {
                record.late()
            } else {
                record.succeed()
            }
        })
        .await?;
    }
    for node in faulty.into_iter().chain(contradicted) {
        change(rows, &node, &kind, |record| record.fault(at, &policy)).await?;
    }
    Ok(())
}

/// What an accepted result without GPU shows of its node's speed.
async fn see(rows: &mut Rows<'_>, node: &str, fuel: u64, ms: i64) -> Done {
    let row = rows.row(NODES, [node.into()]).await?;
    let mut speed = SpeedRecord {
        mfuel_s: count(row, "shown_mfuel_s")?,
        samples: count(row, "speed_samples")?,
    };
    speed.see(fuel, ms);
    row.set("shown_mfuel_s", speed.mfuel_s)?
        .set("speed_samples", speed.samples)
        .map(drop)
}

fn count(row: &Row, column: &str) -> Result<u32, ProjectionError> {
    u32::try_from(row.int(column)?)
        .map_err(|_| ProjectionError::refused(format!("`{column}` is no count")))
}

/// Counts a fault of an assignment's node.
pub(super) async fn harm(
    rows: &mut Rows<'_>,
    task: Value,
    assignment: Value,
    at: Timestamp,
) -> Done {
    let task = rows.row(TASKS, [task]).await?;
    let (kind, version) = (task.text("type")?.to_owned(), task.int("policy_version")?);
    let policy = policy(rows, version).await?;
    let node = rows
        .row(ASSIGNMENTS, [assignment])
        .await?
        .text("node")?
        .to_owned();
    change(rows, &node, &kind, |record| record.fault(at, &policy)).await
}

/// Nodes that blamed the module for a failure.
pub(super) fn blamed_by(task: &Row) -> Result<Vec<String>, ProjectionError> {
    serde_json::from_str(task.text("blamed_by")?)
        .map_err(|e| ProjectionError::refused(format!("`tasks.blamed_by` is no list: {e}")))
}

async fn policy(rows: &mut Rows<'_>, version: i64) -> Result<Policy, ProjectionError> {
    let Some(row) = rows.find(POLICIES, [version.into()]).await? else {
        return Ok(Policy::default());
    };
    serde_json::from_str(row.text("policy")?)
        .map_err(|e| ProjectionError::refused(format!("`policies.policy` is no policy: {e}")))
}

async fn change(
    rows: &mut Rows<'_>,
    node: &str,
    kind: &str,
    change: impl FnOnce(&mut Record),
) -> Done {
    let row = rows.entry(RECORDS, [node.into(), kind.into()]).await?;
    let mut record = Record {
        good: count(row, "good")?,
        bad: count(row, "bad")?,
        faults_in_a_row: count(row, "faults_in_a_row")?,
        backoff_until: Timestamp(row.int("backoff_until")?),
    };
    change(&mut record);
    row.set("good", record.good)?
        .set("bad", record.bad)?
        .set("faults_in_a_row", record.faults_in_a_row)?
        .set("backoff_until", ms(record.backoff_until))
        .map(drop)
}
