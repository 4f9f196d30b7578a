//! What operators and administrators decide about nodes, in the projection `work`.

use aevir_events::{
    Timestamp,
    projection::{ProjectionError, Rows, Value},
};
use aevir_platform::{
    event::{ComputeChecked, KeyRotated, ProfileChanged, TermsChanged},
    ids::NodeId,
    state::{ComputeRecord, Standing},
};

use super::{id, json, ms, work_tables::NODES};

type Done = Result<(), ProjectionError>;

pub(super) async fn profile(rows: &mut Rows<'_>, e: &ProfileChanged) -> Done {
    let gpu = e.profile.gpu.as_ref();
    let node = rows.row(NODES, [id(e.node)]).await?;
    node.set("profile", json(&e.profile)?)?
        .set("name", e.profile.name.as_str())?
        .set("slots", e.profile.slots)?
        .set("gpu_class", gpu.map(|gpu| gpu.class.as_str()))
        .map(drop)
}

pub(super) async fn terms(rows: &mut Rows<'_>, e: &TermsChanged) -> Done {
    let node = rows.row(NODES, [id(e.node)]).await?;
    node.set("terms", json(&e.terms)?).map(drop)
}

pub(super) async fn key(rows: &mut Rows<'_>, e: &KeyRotated) -> Done {
    let node = rows.row(NODES, [id(e.node)]).await?;
    node.set("public_key", id(e.public_key)).map(drop)
}

pub(super) async fn checked(rows: &mut Rows<'_>, e: &ComputeChecked, at: Timestamp) -> Done {
    let node = rows.row(NODES, [id(e.node)]).await?;
    let mut record = ComputeRecord {
        mflop_s: u64::try_from(node.int("shown_mflop_s")?).unwrap_or(0),
        checks: u32::try_from(node.int("compute_checks")?).unwrap_or(u32::MAX),
        wrong: node.int("compute_wrong")? != 0,
        ..ComputeRecord::default()
    };
    record.see(e.class, e.elapsed_ms, e.outcome, at);
    node.set(
        "shown_mflop_s",
        i64::try_from(record.mflop_s).unwrap_or(i64::MAX),
    )?
    .set("compute_checks", record.checks)?
    .set("compute_wrong", u32::from(record.wrong))
    .map(drop)
}

pub(super) async fn standing(rows: &mut Rows<'_>, node: NodeId, standing: &Standing) -> Done {
    let reason = match standing {
        Standing::Revoked { reason, .. } => Some(reason.as_str()),
        Standing::Working | Standing::Draining { .. } | Standing::Left { .. } => None,
    };
    let node = rows.row(NODES, [id(node)]).await?;
    node.set("standing", standing.name())?
        .set("standing_reason", reason)
        .map(drop)
}

pub(super) async fn suspension(
    rows: &mut Rows<'_>,
    node: NodeId,
    suspension: Option<(&str, Timestamp)>,
) -> Done {
    let (reason, since) = match suspension {
        None => (Value::Null, Value::Null),
        Some((reason, since)) => (reason.into(), ms(since)),
    };
    let node = rows.row(NODES, [id(node)]).await?;
    node.set("suspended_for", reason)?
        .set("suspended_at", since)
        .map(drop)
}
