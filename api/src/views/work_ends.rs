//! Assignments of the projection `work` that end before a verdict: failed, lost, given back, called off; and the tasks that end so.

use aevir_events::{
    Timestamp,
    projection::{ProjectionError, Rows, Value},
};
use aevir_platform::{
    command::{FailureClass, LossReason},
    event::{
        AssignmentFailed, AssignmentLost, AssignmentReturned, AssignmentWithdrawn, TaskClosed,
    },
    state::{Outcome, Phase, left_all_time, needed_ms},
};
use serde::Serialize;

use super::{
    id, json, money, ms, name, work_nodes as nodes,
    work_tables::{ASSIGNMENTS, TASKS},
};

type Done = Result<(), ProjectionError>;

pub(super) async fn lost(rows: &mut Rows<'_>, e: &AssignmentLost, at: Timestamp) -> Done {
    end(rows, id(e.assignment), ("lost", Some(&e.reason)), at).await?;
    if e.reason == LossReason::NotRevealed {
        unseal(rows, id(e.task)).await?;
        // The next result is a first one again.
        let task = rows.row(TASKS, [id(e.task)]).await?;
        if task.text("sample")? == "alone" {
            task.set("sample", "undecided")?;
        }
    }
    spend_attempt(rows, id(e.task)).await?;
    let (task, assignment) = (id(e.task), id(e.assignment));
    nodes::note(rows, task, assignment, Outcome::Fault, at).await
}

pub(super) async fn failed(rows: &mut Rows<'_>, e: &AssignmentFailed, at: Timestamp) -> Done {
    end(rows, id(e.assignment), ("failed", Some(&e.class)), at).await?;
    let assignment = rows.row(ASSIGNMENTS, [id(e.assignment)]).await?;
    assignment.set("message", e.message.as_str())?;
    let suspect = nodes::suspect(assignment)?;
    spend_attempt(rows, id(e.task)).await?;
    // That the node can't compile the module is nobody's fault.
    if e.class == FailureClass::NotCompiled {
        return Ok(());
    }
    // Whose fault it was shows when the task has ended.
    if e.class.blames_node() {
        let task = rows.row(TASKS, [id(e.task)]).await?;
        let mut failed_by = nodes::listed(task, "failed_by")?;
        failed_by.push(e.assignment.to_string());
        task.set("failed_by", json(&failed_by)?)?;
        let (task, assignment) = (id(e.task), id(e.assignment));
        return nodes::note(rows, task, assignment, Outcome::Setback, at).await;
    }
    let task = rows.row(TASKS, [id(e.task)]).await?;
    let mut blamed_by = nodes::listed(task, "blamed_by")?;
    blamed_by.push(e.assignment.to_string());
    let mut suspects = nodes::suspects(task)?;
    suspects.extend(suspect);
    task.set("blamed_by", json(&blamed_by)?)?
        .set("suspects", json(&suspects)?)
        .map(drop)
}

/// Ends an assignment, with the reason that there may be.
async fn end(
    rows: &mut Rows<'_>,
    assignment: Value,
    (state, reason): (&str, Option<&impl Serialize>),
    at: Timestamp,
) -> Done {
    let assignment = rows.row(ASSIGNMENTS, [assignment]).await?;
    assignment.set("state", state)?.set("ended_at", ms(at))?;
    match reason {
        Some(reason) => assignment.set("reason", name(reason)).map(drop),
        None => Ok(()),
    }
}

/// A task ended without a verdict.
pub(super) async fn closed(rows: &mut Rows<'_>, e: &TaskClosed, at: Timestamp) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    task.set("state", Phase::closed(e.reason, &e.detail).name())?
        .set("detail", e.detail.as_str())?
        .set("ended_at", ms(at))?
        .set("fee", money(e.fee))?
        .set("refund", money(e.refund))?;
    nodes::count_failures(rows, id(e.task), false, at).await
}

pub(super) async fn withdrawn(rows: &mut Rows<'_>, e: &AssignmentWithdrawn, at: Timestamp) -> Done {
    let assignment = rows.row(ASSIGNMENTS, [id(e.assignment)]).await?;
    let state = assignment.text("state")?.to_owned();
    let is_sealed = is_sealed(&state);
    let leased_at = Timestamp(assignment.int("leased_at")?);
    let mates = ["doubles", "doubled_by"].map(|column| assignment.get(column).cloned());
    end(rows, id(e.assignment), ("withdrawn", None::<&()>), at).await?;
    let mut mate_sealed = false;
    for mate in mates {
        let mate = mate?;
        if mate != Value::Null {
            let mate = rows.row(ASSIGNMENTS, [mate]).await?;
            mate_sealed |= self::is_sealed(mate.text("state")?);
        }
    }
    let task = rows.row(TASKS, [id(e.task)]).await?;
    let deadline = match task.get("deadline")? {
        Value::Int(deadline) => Some(Timestamp(*deadline)),
        Value::Null | Value::Text(_) => None,
    };
    let inputs = nodes::unsigned(task, "inputs_mib")?;
    let needed = needed_ms(nodes::count(task, "runtime_s")?, inputs);
    let is_over = deadline.is_some_and(|deadline| deadline <= at);
    let is_late = state == "running" && is_over && left_all_time(deadline, leased_at, needed);
    task.add("replicas", -1)?
        .add("sealed", -i64::from(is_sealed))?;
    // Another result was taken for its replica: that uses up an attempt.
    let is_overtaken = task.text("state")? == "verifying" || mate_sealed;
    if is_overtaken && state != "leased" {
        task.add("attempts_spent", 1)?;
    }
    if is_late {
        let (task, assignment) = (id(e.task), id(e.assignment));
        nodes::note(rows, task, assignment, Outcome::Late, at).await?;
    }
    Ok(())
}

pub(super) async fn returned(rows: &mut Rows<'_>, e: &AssignmentReturned, at: Timestamp) -> Done {
    let reason = e.counted.then_some(&"counted");
    end(rows, id(e.assignment), ("returned", reason), at).await?;
    if !e.counted {
        return one_less(rows, id(e.task)).await;
    }
    spend_attempt(rows, id(e.task)).await?;
    let (task, assignment) = (id(e.task), id(e.assignment));
    nodes::note(rows, task, assignment, Outcome::Fault, at).await
}

/// Whether an assignment in this state has brought a result that nobody has judged.
fn is_sealed(state: &str) -> bool {
    matches!(state, "committed" | "revealed")
}

/// A sealed result was not revealed: with the last one the task is running again.
async fn unseal(rows: &mut Rows<'_>, task: Value) -> Done {
    let task = rows.row(TASKS, [task]).await?;
    if task.add("sealed", -1)?.int("sealed")? == 0 {
        task.set("state", Phase::Running.name())?;
    }
    Ok(())
}

async fn spend_attempt(rows: &mut Rows<'_>, task: Value) -> Done {
    let of = rows.row(TASKS, [task.clone()]).await?;
    of.add("attempts_spent", 1)?;
    one_less(rows, task).await
}

/// A replica ended without a result: a task of which nothing runs any more waits again.
async fn one_less(rows: &mut Rows<'_>, task: Value) -> Done {
    let task = rows.row(TASKS, [task]).await?;
    task.add("replicas", -1)?;
    if task.text("state")? == Phase::Running.name() && task.int("replicas")? == 0 {
        task.set("state", Phase::Queued.name())?;
    }
    Ok(())
}
