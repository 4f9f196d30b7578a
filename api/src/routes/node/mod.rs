//! The protocol that a node speaks with its own key.

mod assignment;
mod batch;
mod challenge;
mod heartbeat;
mod lease;
mod transfer;

use aevir_platform::{
    command::{Availability, Command},
    ids::{AssignmentId, NodeId},
    rejection::Rejection,
    state::{Assignment, Phase, Stage, State as Platform, Task},
};
use aevir_wire::{Action, StopReason};
use tracing::{Span, field::display};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use challenge::challenge_ended;

use crate::{app::App, auth::NodeCaller, error::ApiResult, submit::submit};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(lease::lease))
        .routes(routes!(heartbeat::heartbeat))
        .routes(routes!(batch::batch))
        .routes(routes!(challenge::root))
        .routes(routes!(challenge::openings))
        .routes(routes!(assignment::start))
        .routes(routes!(assignment::commit))
        .routes(routes!(assignment::reveal))
        .routes(routes!(assignment::fail))
        .routes(routes!(assignment::give_back))
        .routes(routes!(transfer::put_output))
        .routes(routes!(transfer::get_input))
        .routes(routes!(transfer::get_module))
        .routes(routes!(transfer::put_checkpoint, transfer::get_checkpoint))
}

/// Records that the node is there, or that it is about to stop, where the log says otherwise.
async fn show_life(app: &App, caller: NodeCaller, stopping: bool) -> ApiResult<()> {
    app.live.nodes().see(caller.node);
    let availability = if stopping {
        Availability::Offline
    } else {
        Availability::Online
    };
    let recorded = app
        .log
        .read(|state, _| state.nodes.get(&caller.node).map(|n| n.availability));
    let node = caller.node;
    let is_news = recorded.is_some_and(|recorded| recorded != availability);
    // One that comes and goes all the time comes later: a sign of life after that tells again.
    if is_news && (stopping || app.live.rates.may_return(node)) {
        let command = Command::SetAvailability { node, availability };
        submit(app, caller.actor(), None, command).await?;
    }
    Ok(())
}

/// What the node shall do with an assignment.
fn action(state: &Platform, node: NodeId, id: AssignmentId) -> Action {
    let stop = |reason| Action::Stop { reason };
    let found = state.assignment(id).filter(|(_, a)| a.node == node);
    let Some((task, assignment)) = found else {
        return stop(StopReason::Unknown);
    };
    match &assignment.stage {
        Stage::Leased | Stage::Running { .. } => Action::Continue,
        // Its time to reveal is over.
        Stage::Committed(_) if task.phase.is_final() || task.phase == Phase::Inspecting => {
            stop(StopReason::Done)
        }
        Stage::Committed(_) if matches!(task.phase, Phase::Verifying { .. }) => Action::Reveal,
        Stage::Committed(_) => Action::Continue,
        Stage::Shown(_) | Stage::Revealed(_) | Stage::Accepted(_) | Stage::Refused { .. } => {
            stop(StopReason::Done)
        }
        Stage::Lost { .. } | Stage::Failed { .. } | Stage::Returned { .. } => {
            stop(StopReason::LeaseEnded)
        }
        Stage::Withdrawn => stop(StopReason::Withdrawn),
    }
}

/// An id that can't be parsed is one that does not exist.
fn assignment_id(text: &str) -> ApiResult<AssignmentId> {
    let id = text.parse().map_err(|_| Rejection::UnknownAssignment)?;
    Span::current().record("assignment", display(id));
    Ok(id)
}

/// Calls `read` with the node's own assignment while its task lasts.
fn with_assignment<T>(
    app: &App,
    caller: NodeCaller,
    id: AssignmentId,
    read: impl FnOnce(&Platform, &Task, &Assignment) -> T,
) -> ApiResult<T> {
    app.log.read(|state, _| {
        let found = state.assignment(id).filter(|(_, a)| a.node == caller.node);
        let (task, assignment) = found.ok_or(Rejection::UnknownAssignment)?;
        Span::current().record("task", display(task.id));
        if task.phase.is_final() {
            return Err(Rejection::LeaseEnded.into());
        }
        Ok(read(state, task, assignment))
    })
}
