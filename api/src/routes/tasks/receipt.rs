//! A task's receipt: the proof that its settlement, or how else it ended, is in the log.

use aevir_events::tlog::TlogProof;
use aevir_platform::{
    command::Scope,
    ids::AccountId,
    rejection::Rejection,
    state::{State as Platform, Task},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};

use super::task_id;
use crate::{
    app::App,
    auth::Caller,
    error::{ApiError, ApiResult, Code},
    extract::Path,
};

/// The entry that settled or closed the task, with its proof: checkable with the log's key alone. For the requester,
/// and for whom the task paid.
#[utoipa::path(get, path = "/v1/tasks/{id}/receipt", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = wire::TaskReceipt)))]
pub(super) async fn task_receipt(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::TaskReceipt>> {
    caller.require_one_of(&[Scope::Read, Scope::Audit])?;
    let task = task_id(&id)?;
    let position = app.log.read(|state, _| {
        let found = state.tasks.get(&task);
        let found = found.filter(|t| caller.sees_all() || concerns(state, t, caller.account));
        found.map(|task| task.settlement.as_ref().map(|s| s.position))
    });
    let position = position.ok_or(Rejection::UnknownTask { task })?;
    let position = position.ok_or_else(|| {
        ApiError::new(
            Code::ReceiptNotReady,
            "the task has not ended yet: its receipt comes then",
        )
    })?;
    let checkpoint = app
        .published
        .covering(position + 1, app.log.head().size)
        .await?;
    let (reader, size) = (app.published.publisher.reader(), checkpoint.size);
    let entry = reader.entry(position, size).await?;
    let proof = TlogProof {
        extra: None,
        index: position,
        hashes: reader.inclusion_proof(position, size, size).await?,
        checkpoint: checkpoint.note().to_owned(),
    };
    Ok(Reply(wire::TaskReceipt {
        task: id,
        entry: String::from_utf8(entry)
            .map_err(|e| ApiError::internal("an entry is no text", &e))?,
        proof: proof.to_string(),
    }))
}

/// Whether the account asked for the task or was paid by it. Where a closed task paid for work that was done, the
/// ledger says whom; the receipt then is for the owners of all nodes that had a lease.
fn concerns(state: &Platform, task: &Task, account: AccountId) -> bool {
    if task.requester == account {
        return true;
    }
    let Some(settlement) = &task.settlement else {
        return false;
    };
    if task.verdict.is_some() {
        return settlement.shares.iter().any(|s| s.account == Some(account));
    }
    let owner = |assignment: &aevir_platform::state::Assignment| {
        state.nodes.get(&assignment.node).map(|node| node.owner)
    };
    settlement.fee != aevir_platform::amount::Amount::ZERO
        && task.assignments.values().any(|a| owner(a) == Some(account))
}
