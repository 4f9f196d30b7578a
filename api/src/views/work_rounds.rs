//! How many replicas a task wants, in the projection `work`.

use aevir_events::projection::{ProjectionError, Rows};
use aevir_platform::{event::TaskExtended, ids::TaskId, state::Phase};

use super::{id, work_tables::TASKS};

type Done = Result<(), ProjectionError>;

/// How many results the verdict is to rest on.
pub(super) async fn sample(rows: &mut Rows<'_>, of: TaskId, name: &str) -> Done {
    let task = rows.row(TASKS, [id(of)]).await?;
    task.set("sample", name).map(drop)
}

/// All replicas of the first round are wanted, where that was not decided before.
pub(super) async fn repeated(rows: &mut Rows<'_>, of: TaskId) -> Done {
    let task = rows.row(TASKS, [id(of)]).await?;
    if *task.get("sample")? == "undecided".into() {
        let all = task.get("first_round")?.clone();
        task.set("sample", "repeated")?
            .set("replicas_wanted", all)?;
    }
    Ok(())
}

pub(super) async fn extended(rows: &mut Rows<'_>, e: &TaskExtended) -> Done {
    let task = rows.row(TASKS, [id(e.task)]).await?;
    task.set("state", Phase::Running.name())?
        .set("round", e.round)?
        .set("replicas_wanted", e.replicas)
        .map(drop)
}
