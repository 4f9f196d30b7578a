//! Lists of tasks and assignments, from the view `work`.

use std::collections::BTreeMap;

use aevir_events::{
    Timestamp,
    projection::{Snapshot, Value},
};
use aevir_platform::{
    command::Scope,
    definition::TaskType,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
};
use aevir_wire as wire;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    app::App,
    auth::Caller,
    convert::{from_name, time},
    error::ApiResult,
    extract::Query,
    listing::{Shown, cursor, instant, invalid, limit, next, open},
    views::{self, Cells, WORK},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TaskFilter {
    state: Option<String>,
    /// `training`, `inference`, `evaluation` or `data-processing`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `name=value`.
    label: Option<String>,
    /// RFC 3339; created then or later.
    created_from: Option<String>,
    /// RFC 3339; created before.
    created_to: Option<String>,
    /// Those of this account; scope `audit` or `admin` for another than one's own.
    requester: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Those of all accounts; scope `audit` or `admin`.
    #[serde(default)]
    all: bool,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// Tasks, newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(TaskFilter),
    responses((status = 200, body = wire::TaskPage)))]
pub(super) async fn list_tasks(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<TaskFilter>,
) -> ApiResult<Shown<wire::TaskPage>> {
    caller.require(Scope::Read)?;
    let limit = limit(filter.limit)?;
    let query = task_query(&filter, &caller, limit)?;
    let mut view = open(&app, WORK, filter.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| summary(Cells::new(row)));
    let mut tasks = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut tasks, limit, |t| t.id.clone());
    add_progress(&app, &mut view, &mut tasks).await?;
    Ok(Shown::new(view.position(), wire::TaskPage { tasks, next }))
}

fn task_query(filter: &TaskFilter, caller: &Caller, limit: usize) -> ApiResult<views::Query> {
    let kind = filter
        .kind
        .as_deref()
        .map(|kind| from_name::<TaskType>("", kind));
    kind.transpose()
        .map_err(|_| invalid("`type` is no type of task"))?;
    let label = filter.label.as_deref().map(|label| label.split_once('='));
    let from = instant(
        filter.created_from.as_deref(),
        "`created_from` is a time such as 2026-01-31T00:00:00Z",
    )?;
    let to = instant(
        filter.created_to.as_deref(),
        "`created_to` is a time such as 2026-01-31T00:00:00Z",
    )?;
    let after = cursor::<TaskId>(filter.after.as_deref())?;
    let mut query = views::Query::new(
        "SELECT t.id, t.requester, t.type, t.state, t.labels, t.created_at, t.ended_at, t.fee FROM {tasks} t",
    );
    let requester = whose(
        filter.requester.as_deref(),
        filter.all,
        caller,
        "`requester` is an account's id",
    )?;
    query.when_some("t.requester = ?", requester.map(|r| r.to_string()));
    query.when_some("t.state = ?", filter.state.as_deref());
    query.when_some("t.type = ?", filter.kind.as_deref());
    match label {
        Some(None) => return Err(invalid("`label` is `name=value`")),
        Some(Some((name, value))) => {
            let has = "EXISTS (SELECT 1 FROM {task_labels} l WHERE l.task = t.id AND l.name = ? AND l.value = ?)";
            query.when(has, [name.into(), value.into()]);
        }
        None => {}
    }
    query.when_some("t.created_at >= ?", from.map(|t| t.0));
    query.when_some("t.created_at < ?", to.map(|t| t.0));
    query.when_some("t.id < ?", after.map(|id| id.to_string()));
    query.page("t.id DESC", limit);
    Ok(query)
}

/// The account that a list is bound to; none where the caller sees all.
///
/// # Errors
/// `scope-missing` where the caller asks for others' without the scope.
pub(in crate::routes) fn whose(
    asked: Option<&str>,
    all: bool,
    caller: &Caller,
    what: &str,
) -> ApiResult<Option<AccountId>> {
    let asked = asked.map(str::parse::<AccountId>);
    let asked = asked.transpose().map_err(|_| invalid(what))?;
    if all || asked.is_some_and(|asked| asked != caller.account) {
        caller.require_one_of(&[Scope::Audit, Scope::Admin])?;
    }
    Ok(asked.or((!all).then_some(caller.account)))
}

fn summary(mut cells: Cells) -> ApiResult<wire::TaskSummary> {
    Ok(wire::TaskSummary {
        id: cells.text()?,
        requester: cells.text()?,
        kind: cells.text()?,
        state: cells.text()?,
        labels: cells.json()?,
        created_at: time(Timestamp(cells.int()?)),
        ended_at: cells.int_or_null()?.map(|ms| time(Timestamp(ms))),
        progress: None,
        fee: cells.int_or_null()?.map(|fee| fee.to_string()),
    })
}

/// The replica that is furthest; heartbeats know more than the log.
async fn add_progress(
    app: &App,
    view: &mut Snapshot,
    tasks: &mut [wire::TaskSummary],
) -> ApiResult<()> {
    let running = tasks
        .iter()
        .filter(|t| t.state == "running")
        .map(|t| t.id.clone());
    let ids = Snapshot::texts(running);
    let sql = format!(
        "SELECT task, id, progress_ppm, progress_note FROM {{assignments}} WHERE state = 'running' AND {} ORDER BY id",
        view.is_one_of("task", 1)
    );
    // By task: what heartbeats say, else what the log says.
    let mut furthest: BTreeMap<String, (bool, u32, String)> = BTreeMap::new();
    for row in view.select(&sql, &[ids]).await? {
        let mut cells = Cells::new(row);
        let (task, id) = (cells.text()?, cells.text()?);
        let recorded = (cells.count()?, cells.text()?);
        let live = id
            .parse::<AssignmentId>()
            .ok()
            .and_then(|id| app.live.progress(id));
        let is_live = live.is_some();
        let (ppm, note) = live.unwrap_or(recorded);
        let best = furthest.entry(task).or_insert((is_live, ppm, note.clone()));
        if (is_live, ppm) >= (best.0, best.1) {
            *best = (is_live, ppm, note);
        }
    }
    for task in tasks {
        let progress = furthest.remove(&task.id);
        task.progress = progress.map(|(_, ppm, note)| wire::Progress { ppm, note });
    }
    Ok(())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AssignmentFilter {
    task: Option<String>,
    node: Option<String>,
    /// `leased`, `running`, `committed`, `revealed`, `accepted`, `refused`, `lost`, `failed` or `withdrawn`.
    state: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// Assignments, newest first: of the caller's tasks and on its nodes; all of them for the scopes `audit` and `admin`.
#[utoipa::path(get, path = "/v1/assignments", tag = "tasks", params(AssignmentFilter),
    responses((status = 200, body = wire::AssignmentPage)))]
pub(super) async fn list_assignments(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<AssignmentFilter>,
) -> ApiResult<Shown<wire::AssignmentPage>> {
    caller.require(Scope::Read)?;
    let limit = limit(filter.limit)?;
    let task = filter.task.as_deref().map(str::parse::<TaskId>).transpose();
    let task = task.map_err(|_| invalid("`task` is a task's id"))?;
    let node = filter.node.as_deref().map(str::parse::<NodeId>).transpose();
    let node = node.map_err(|_| invalid("`node` is a node's id"))?;
    let after = cursor::<AssignmentId>(filter.after.as_deref())?;
    let mut query = views::Query::new(
        "SELECT id, task, requester, node, owner, round, state, reason, leased_at, started_at, committed_at, ended_at
         FROM {assignments}",
    );
    if !caller.sees_all() {
        let own: Value = caller.account.to_string().into();
        query.when("(requester = ? OR owner = ?)", [own.clone(), own]);
    }
    query.when_some("task = ?", task.map(|id| id.to_string()));
    query.when_some("node = ?", node.map(|id| id.to_string()));
    query.when_some("state = ?", filter.state.as_deref());
    query.when_some("id < ?", after.map(|id| id.to_string()));
    query.page("id DESC", limit);
    let mut view = open(&app, WORK, filter.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows
        .into_iter()
        .map(|row| assignment(&caller, Cells::new(row)));
    let mut assignments = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut assignments, limit, |a| a.id.clone());
    Ok(Shown::new(
        view.position(),
        wire::AssignmentPage { assignments, next },
    ))
}

fn assignment(caller: &Caller, mut cells: Cells) -> ApiResult<wire::AssignmentSummary> {
    let at = |ms| time(Timestamp(ms));
    let (id, task, requester) = (cells.text()?, cells.text()?, cells.text()?);
    let (node, owner, round) = (cells.text()?, cells.text()?, cells.count()?);
    let state = cells.text()?;
    // Until it is bound, a node must not learn that it decides between others.
    let is_bound = state != "leased" && state != "running";
    let is_shown = is_bound || caller.sees_all() || requester == caller.account.to_string();
    Ok(wire::AssignmentSummary {
        id,
        task,
        node,
        owner,
        round: is_shown.then_some(round),
        state,
        reason: cells.text_or_null()?,
        leased_at: at(cells.int()?),
        started_at: cells.int_or_null()?.map(at),
        committed_at: cells.int_or_null()?.map(at),
        ended_at: cells.int_or_null()?.map(at),
    })
}
