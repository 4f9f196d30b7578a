//! What a run opens. A comparison opens two results that are closed until their task's verdict: nobody is told of them but the verifiers
//! with a lease, and everybody afterwards.

use aevir_events::LeaderSecret;

use crate::{
    closed::{Keys, Told},
    ids::AssignmentId,
    report::{Artifact, Report},
    state::{Stage, State, Task},
};

/// The folders in which a comparator finds the outputs of the two results. Their inline results are beside those, as `a.json` and `b.json`.
pub const COMPARED: [&str; 2] = ["a", "b"];

/// The inputs of a task. Those of a comparison only who knows the leaders' secret can tell before the verdict; nobody can, where it is
/// another one than the results were closed under, and there are none then.
pub fn inputs_of(state: &State, task: &Task, leader: Option<&LeaderSecret>) -> Vec<Artifact> {
    let Some(pair) = task.compares() else {
        return task.inputs.clone();
    };
    let of = task
        .inspects
        .as_ref()
        .and_then(|of| state.tasks.get(&of.task));
    let keys = leader.map_or_else(|| Keys::Told(Told::default()), Keys::Leader);
    let report = |id| of.and_then(|task| report(task, id, &keys));
    match (report(pair.one), report(pair.two)) {
        (Some(one), Some(two)) => {
            let [a, b] = COMPARED;
            [compared(a, &one), compared(b, &two)].concat()
        }
        (None, _) | (_, None) => Vec::new(),
    }
}

/// What a result has, as a comparator finds it.
fn compared(folder: &str, report: &Report) -> Vec<Artifact> {
    let result = Artifact {
        name: format!("{folder}.json"),
        digest: report.result.digest,
        size: report.result.size,
    };
    let outputs = report.outputs.iter().map(|output| Artifact {
        name: format!("{folder}/{}", output.name),
        ..output.clone()
    });
    std::iter::once(result).chain(outputs).collect()
}

/// What a node revealed.
fn report(task: &Task, id: AssignmentId, keys: &Keys<'_>) -> Option<std::sync::Arc<Report>> {
    let assignment = task.assignments.get(&id)?;
    match &assignment.stage {
        Stage::Shown(_) => Some(keys.open(assignment)?.report),
        Stage::Revealed(revealed) | Stage::Accepted(revealed) => Some(revealed.report.clone()),
        Stage::Refused { report, .. } => report.clone(),
        Stage::Leased
        | Stage::Running { .. }
        | Stage::Committed(_)
        | Stage::Lost { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. }
        | Stage::Withdrawn => None,
    }
}
