//! The projection `work`: tasks, their assignments, and the nodes that run them.

use aevir_events::{
    Recorded, Timestamp,
    projection::{Keys, Projection, ProjectionError, Rows, Table, Value},
};
use aevir_platform::{
    event::{AssignmentLeased, Event, TaskCreated, TaskSettled, Trust, Verdict},
    ids::{NodeId, TaskId},
    state::{HardwareClass, Phase, Standing, moved_mib},
};
use async_trait::async_trait;

use super::{
    id, json, money, ms, name, work_ends as ends, work_life as life, work_nodes as nodes,
    work_rounds as rounds,
    work_tables::{ASSIGNMENTS, LABELS, NODES, POLICIES, TABLES, TASKS},
};

/// The projection.
#[derive(Debug)]
pub(super) struct Work;

type Done = Result<(), ProjectionError>;

#[async_trait]
impl Projection<Event> for Work {
    fn name(&self) -> &'static str {
        super::WORK
    }

    fn version(&self) -> u32 {
        6
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn wants(&self, recorded: &Recorded<Event>, keys: &mut Keys) {
        wants(&recorded.event, keys);
    }

    async fn apply(&self, recorded: &Recorded<Event>, rows: &mut Rows<'_>) -> Done {
        let at = recorded.time;
        match &recorded.event {
            Event::PolicyAdopted(e) => {
                let policy = [
                    ("version", e.version.into()),
                    ("policy", json(&e.policy)?),
                    ("adopted_at", ms(at)),
                ];
                rows.insert(POLICIES, policy)?;
                nodes::policy_adopted(rows, e).await
            }
            Event::EpochClosed(e) => nodes::epoch_closed(rows, e.epoch).await,
            Event::NodeRegistered(e) => nodes::registered(rows, e, at),
            Event::AvailabilityChanged(e) => {
                let node = rows.row(NODES, [id(e.node)]).await?;
                node.set("availability", name(&e.availability)).map(drop)
            }
            Event::ProfileChanged(e) => life::profile(rows, e).await,
            Event::TermsChanged(e) => life::terms(rows, e).await,
            Event::ComputeChecked(e) => life::checked(rows, e, at).await,
            Event::NodeDrained(e) => {
                let leaving = e.leaving;
                life::standing(rows, e.node, &Standing::Draining { leaving }).await
            }
            Event::NodeResumed(e) => life::standing(rows, e.node, &Standing::Working).await,
            Event::NodeLeft(e) => life::standing(rows, e.node, &Standing::Left { at }).await,
            Event::NodeRevoked(e) => {
                let reason = e.reason.clone();
                life::standing(rows, e.node, &Standing::Revoked { reason, at }).await
            }
            Event::KeyRotated(e) => life::key(rows, e).await,
            Event::NodeSuspended(e) => life::suspension(rows, e.node, Some((&e.reason, at))).await,
            Event::NodeReleased(e) => life::suspension(rows, e.node, None).await,
            Event::ContentRegistered(e) => {
                let Some(lineage) = &e.lineage else {
                    return Ok(());
                };
                rows.row(TASKS, [id(lineage.task)])
                    .await?
                    .set("model", id(e.content))
                    .map(drop)
            }
            Event::TaskCreated(e) => created(rows, e, at),
            Event::TaskQueued(e) => {
                let task = rows.row(TASKS, [id(e.task)]).await?;
                // Of a comparison what there may be: it was created with that, and is queued without any.
                let most = u64::try_from(task.int("input_bytes")?).unwrap_or(0);
                let inputs = nodes::signed(moved_mib(&e.inputs));
                let sizes = e.inputs.iter().map(|input| input.size.0);
                let bytes = sizes.fold(most, u64::saturating_add);
                task.set("state", Phase::Queued.name())?
                    .set("inputs_mib", inputs)?
                    .set("input_bytes", i64::try_from(bytes).unwrap_or(i64::MAX))?
                    .set("queued_at", ms(at))
                    .map(drop)
            }
            Event::RoundClosed(e) => {
                let verifying = Phase::Verifying {
                    reveal_by: e.reveal_by,
                };
                rows.row(TASKS, [id(e.task)])
                    .await?
                    .set("state", verifying.name())
                    .map(drop)
            }
            Event::TaskExtended(e) => rounds::extended(rows, e).await,
            Event::TaskHastened(e) => rounds::repeated(rows, e.task).await,
            Event::TrustDecided(e) => match e.trust {
                Trust::Drawn {
                    repeated: false, ..
                } => rounds::sample(rows, e.task, "alone").await,
                Trust::Drawn { repeated: true, .. } | Trust::Denied { .. } => {
                    rounds::repeated(rows, e.task).await
                }
            },
            Event::TaskVerified(e) => {
                let task = rows.row(TASKS, [id(e.task)]).await?;
                task.set("state", phase(e.verdict).name())?
                    .set("ended_at", ms(at))?
                    .set("verdict", name(&e.verdict))?
                    .set("late", e.late)?;
                nodes::verified(rows, e, at).await
            }
            Event::TaskSettled(e) => settled(rows, e, at).await,
            Event::TaskMatured(e) => rows
                .row(TASKS, [id(e.task)])
                .await?
                .set("matured_at", ms(at))
                .map(drop),
            Event::TaskClosed(e) => ends::closed(rows, e, at).await,
            Event::InspectionOpened(e) => {
                let task = rows.row(TASKS, [id(e.task)]).await?;
                task.set("state", Phase::Inspecting.name()).map(drop)
            }
            Event::ReviewOpened(e) => {
                let task = rows.row(TASKS, [id(e.task)]).await?;
                task.set("review", id(e.review)).map(drop)
            }
            Event::TaskReviewed(e) => nodes::reviewed(rows, e, at).await,
            Event::AssignmentLeased(e) => leased(rows, e, at).await,
            Event::AssignmentStarted(e) => {
                let task = rows.row(TASKS, [id(e.task)]).await?;
                if *task.get("started_at")? == Value::Null {
                    task.set("started_at", ms(at))?;
                }
                let assignment = rows.row(ASSIGNMENTS, [id(e.assignment)]).await?;
                assignment
                    .set("state", "running")?
                    .set("started_at", ms(at))
                    .map(drop)
            }
            Event::AssignmentProgressed(e) => {
                let assignment = rows.row(ASSIGNMENTS, [id(e.assignment)]).await?;
                assignment
                    .set("progress_ppm", e.ppm)?
                    .set("progress_note", e.note.as_str())
                    .map(drop)
            }
            Event::AssignmentCommitted(e) => {
                rows.row(TASKS, [id(e.task)]).await?.add("sealed", 1)?;
                let assignment = rows.row(ASSIGNMENTS, [id(e.assignment)]).await?;
                assignment
                    .set("state", "committed")?
                    .set("commitment", id(e.commitment))?
                    .set("committed_at", ms(at))?
                    .set("absent_ms", nodes::signed(e.absent_ms.0))
                    .map(drop)
            }
            Event::AssignmentShown(e) => {
                let assignment = rows.row(ASSIGNMENTS, [id(e.assignment)]).await?;
                assignment.set("state", "revealed").map(drop)
            }
            Event::AssignmentRevealed(e) => {
                let assignment = rows.row(ASSIGNMENTS, [id(e.report.assignment)]).await?;
                // A column holds 63 bits, far more than a run may burn.
                let fuel = i64::try_from(e.report.usage.fuel.0).unwrap_or(i64::MAX);
                assignment
                    .set("state", "revealed")?
                    .set("fuel", fuel)
                    .map(drop)
            }
            Event::AssignmentFailed(e) => ends::failed(rows, e, at).await,
            Event::AssignmentCheckpointed(e) => {
                let task = rows.row(TASKS, [id(e.task)]).await?;
                let mut saved = nodes::checkpoints(task)?;
                let by = e.assignment.to_string();
                saved.retain(|(run, _)| *run != by);
                saved.push((by, e.checkpoint.digest.to_string()));
                task.set("checkpoints", json(&saved)?).map(drop)
            }
            Event::AssignmentLost(e) => ends::lost(rows, e, at).await,
            Event::AssignmentReturned(e) => ends::returned(rows, e, at).await,
            Event::AssignmentWithdrawn(e) => ends::withdrawn(rows, e, at).await,
            Event::ContentTermsChanged(_)
            | Event::AccountOpened(_)
            | Event::KeyAdded(_)
            | Event::KeyRevoked(_)
            | Event::JoinTokenIssued(_)
            | Event::NodeSlashed(_)
            | Event::WithdrawalRequested(_)
            | Event::WithdrawalPaid(_)
            | Event::WithdrawalRefused(_)
            | Event::BlobUploaded(_)
            | Event::LedgerPosted(_)
            | Event::PointsChanged(_)
            | Event::ModuleRegistered(_)
            | Event::AccountSuspended(_)
            | Event::AccountReleased(_)
            | Event::ContentSuspended(_)
            | Event::ContentReleased(_)
            | Event::ModuleSuspended(_)
            | Event::ModuleReleased(_)
            | Event::TaskReserved(_)
            | Event::TaskInspected(_)
            | Event::OutputUploaded(_)
            | Event::OutputClosed(_)
            | Event::EpochOpened(_)
            | Event::RewardsClaimed(_)
            | Event::LimitsSet(_) => Ok(()),
        }
    }
}

/// The rows that an event changes, as far as it names them.
fn wants(event: &Event, keys: &mut Keys) {
    fn task(keys: &mut Keys, task: TaskId) {
        keys.add(TASKS, [id(task)]);
    }
    fn node(keys: &mut Keys, node: NodeId) {
        keys.add(NODES, [id(node)]);
    }
    let assignment = match event {
        Event::TaskCreated(e) => return task(keys, e.task),
        Event::TaskQueued(e) => return task(keys, e.task),
        Event::RoundClosed(e) => return task(keys, e.task),
        Event::AssignmentCheckpointed(e) => return task(keys, e.task),
        Event::TaskExtended(e) => return task(keys, e.task),
        Event::TaskHastened(e) => return task(keys, e.task),
        Event::TrustDecided(e) => return task(keys, e.task),
        Event::TaskSettled(e) => {
            task(keys, e.task);
            let nodes = e.shares.iter().filter_map(|share| share.node);
            return nodes.for_each(|of_share| node(keys, of_share));
        }
        Event::TaskMatured(e) => return task(keys, e.task),
        Event::TaskClosed(e) => return task(keys, e.task),
        Event::ReviewOpened(e) => return task(keys, e.task),
        Event::InspectionOpened(e) => return task(keys, e.task),
        Event::TaskReviewed(e) => {
            task(keys, e.task);
            let refused = e.refused.iter().copied().map(id);
            return refused.for_each(|assignment| keys.add(ASSIGNMENTS, [assignment]));
        }
        Event::TaskVerified(e) => {
            task(keys, e.task);
            let refused = e.refused.iter().map(|r| &r.assignment);
            for assignment in e.accepted.iter().chain(refused) {
                keys.add(ASSIGNMENTS, [id(assignment)]);
            }
            return;
        }
        Event::AssignmentLeased(e) => {
            task(keys, e.task);
            keys.add(NODES, [id(e.node)]);
            e.assignment
        }
        Event::AssignmentStarted(e) => {
            task(keys, e.task);
            e.assignment
        }
        Event::AssignmentFailed(e) => {
            task(keys, e.task);
            e.assignment
        }
        Event::AssignmentLost(e) => {
            task(keys, e.task);
            e.assignment
        }
        Event::AssignmentReturned(e) => {
            task(keys, e.task);
            e.assignment
        }
        Event::AssignmentWithdrawn(e) => {
            task(keys, e.task);
            e.assignment
        }
        Event::AssignmentProgressed(e) => e.assignment,
        Event::AssignmentCommitted(e) => e.assignment,
        Event::AssignmentShown(e) => e.assignment,
        Event::AssignmentRevealed(e) => e.report.assignment,
        Event::AvailabilityChanged(e) => return node(keys, e.node),
        Event::ProfileChanged(e) => return node(keys, e.node),
        Event::TermsChanged(e) => return node(keys, e.node),
        Event::ComputeChecked(e) => return node(keys, e.node),
        Event::NodeDrained(e) => return node(keys, e.node),
        Event::NodeResumed(e) => return node(keys, e.node),
        Event::NodeLeft(e) => return node(keys, e.node),
        Event::NodeRevoked(e) => return node(keys, e.node),
        Event::KeyRotated(e) => return node(keys, e.node),
        Event::NodeSuspended(e) => return node(keys, e.node),
        Event::NodeReleased(e) => return node(keys, e.node),
        Event::PolicyAdopted(_)
        | Event::TaskReserved(_)
        | Event::TaskInspected(_)
        | Event::EpochOpened(_)
        | Event::EpochClosed(_)
        | Event::RewardsClaimed(_)
        | Event::LimitsSet(_)
        | Event::NodeRegistered(_)
        | Event::ContentRegistered(_)
        | Event::ContentTermsChanged(_)
        | Event::AccountOpened(_)
        | Event::KeyAdded(_)
        | Event::KeyRevoked(_)
        | Event::JoinTokenIssued(_)
        | Event::NodeSlashed(_)
        | Event::WithdrawalRequested(_)
        | Event::WithdrawalPaid(_)
        | Event::WithdrawalRefused(_)
        | Event::BlobUploaded(_)
        | Event::LedgerPosted(_)
        | Event::PointsChanged(_)
        | Event::ModuleRegistered(_)
        | Event::AccountSuspended(_)
        | Event::AccountReleased(_)
        | Event::ContentSuspended(_)
        | Event::ContentReleased(_)
        | Event::ModuleSuspended(_)
        | Event::ModuleReleased(_)
        | Event::OutputUploaded(_)
        | Event::OutputClosed(_) => return,
    };
    keys.add(ASSIGNMENTS, [id(assignment)]);
}

fn phase(verdict: Verdict) -> Phase {
    match verdict {
        Verdict::Passed => Phase::Settled { matured_at: None },
        Verdict::Unmet => Phase::Unmet { matured_at: None },
        Verdict::Inconclusive => Phase::Inconclusive,
    }
}

/// The most that a comparison opens, in bytes: how much it is stays closed.
fn compared_bytes(e: &TaskCreated) -> i64 {
    let compares = e.inspection.and_then(|of| of.compares);
    compares.map_or(0, |of| i64::try_from(of.bytes_max.0).unwrap_or(i64::MAX))
}

fn created(rows: &mut Rows<'_>, e: &TaskCreated, at: Timestamp) -> Done {
    let definition = &e.definition;
    let sampling = definition.sampling();
    let (sample, first_round) = if sampling.adaptive {
        ("undecided", 1)
    } else {
        ("repeated", sampling.initial())
    };
    for (label, value) in &definition.labels {
        rows.insert(
            LABELS,
            [
                ("task", id(e.task)),
                ("name", label.as_str().into()),
                ("value", value.as_str().into()),
            ],
        )?;
    }
    rows.insert(
        TASKS,
        [
            ("id", id(e.task)),
            ("requester", id(e.requester)),
            ("type", name(&definition.kind)),
            ("state", Phase::Created.name().into()),
            ("module", id(definition.module)),
            ("gpu", definition.qos.gpu.is_some().into()),
            ("labels", json(&definition.labels)?),
            ("policy_version", e.policy_version.into()),
            ("input_bytes", compared_bytes(e).into()),
            ("asks_for_stake", definition.asks_for_stake().into()),
            ("narrowed", definition.is_narrowed().into()),
            ("max_latency_ms", definition.qos.max_latency_ms.into()),
            ("deadline", definition.qos.deadline.map(|d| d.0).into()),
            ("runtime_s", definition.limits.runtime_s.into()),
            ("inputs_mib", 0u32.into()),
            ("budget", money(definition.economics.budget)),
            ("escrow", money(e.escrow)),
            ("round", 1u32.into()),
            ("replicas_wanted", first_round.into()),
            ("first_round", sampling.initial().into()),
            ("sample", sample.into()),
            ("reviews", e.review.map(|of| of.task.to_string()).into()),
            (
                "inspects",
                e.inspection.map(|of| of.task.to_string()).into(),
            ),
            ("replicas", 0u32.into()),
            ("sealed", 0u32.into()),
            ("attempts_spent", 0u32.into()),
            ("accepted_runs", "[]".into()),
            ("blamed_by", "[]".into()),
            ("failed_by", "[]".into()),
            ("suspects", "[]".into()),
            ("checkpoints", "[]".into()),
            ("created_at", ms(at)),
        ],
    )
}

async fn settled(rows: &mut Rows<'_>, e: &TaskSettled, at: Timestamp) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    task.set("fee", money(e.fee))?
        .set("refund", money(e.refund))?
        .set("matures_at", e.matures_at.map(|at| at.0))?;
    for share in &e.shares {
        if let Some(node) = share.node {
            let node = rows.row(NODES, [id(node)]).await?;
            node.add("earned", share.amount.0)?;
        }
    }
    nodes::paid(rows, e, at).await
}

async fn leased(rows: &mut Rows<'_>, e: &AssignmentLeased, at: Timestamp) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    task.set("state", Phase::Running.name())?
        .add("replicas", 1)?;
    let requester = task.text("requester")?.to_owned();
    let with_gpu = task.int("gpu")? != 0;
    let node = rows.row(NODES, [id(e.node)]).await?;
    let owner = node.text("owner")?.to_owned();
    let hardware = match node.get("gpu_class")? {
        Value::Text(class) if with_gpu => HardwareClass::Gpu(class.as_str().into()),
        Value::Text(_) | Value::Int(_) | Value::Null => HardwareClass::Cpu,
    };
    if let Some(run) = e.doubles {
        let run = rows.row(ASSIGNMENTS, [id(run)]).await?;
        run.set("doubled_by", id(e.assignment))?;
    }
    let task = rows.row(TASKS, [id(e.task)]).await?;
    let resumed_run = match e.resume {
        Some(blob) => nodes::saved_by(task, &blob.digest.to_string())?,
        None => None,
    };
    rows.insert(
        ASSIGNMENTS,
        [
            ("id", id(e.assignment)),
            ("task", id(e.task)),
            ("requester", requester.into()),
            ("node", id(e.node)),
            ("owner", owner.into()),
            ("round", e.round.into()),
            ("state", "leased".into()),
            ("hardware", id(hardware)),
            ("doubles", e.doubles.map(|run| run.to_string()).into()),
            (
                "resumed_from",
                e.resume.map(|blob| blob.digest.to_string()).into(),
            ),
            (
                "checkpoint_author",
                e.author.map(|node| node.to_string()).into(),
            ),
            ("resumed_run", resumed_run.into()),
            ("progress_ppm", 0u32.into()),
            ("absent_ms", 0u32.into()),
            ("progress_note", "".into()),
            ("leased_at", ms(at)),
        ],
    )
}
