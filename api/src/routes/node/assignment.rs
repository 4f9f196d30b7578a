//! A node works on its assignment: start, commit, reveal, fail, return. Each may be repeated after a lost answer.

use aevir_events::Context;
use aevir_platform::{
    RESULT_BYTES_MAX,
    amount::Count,
    command::Command,
    decide,
    digest::Digest,
    hexbytes::Hex,
    rejection::Rejection,
    report::{Report, SignedCommitment},
};
use aevir_wire as wire;
use axum::{extract::State, http::StatusCode};
use serde_json::Value;

use super::assignment_id;
use crate::{
    app::{App, now},
    auth::NodeCaller,
    convert::{from_name, into_domain, parse},
    error::{ApiError, ApiResult, Code},
    extract::{Json, Path},
    objects,
    submit::submit,
};

/// The run begins.
#[utoipa::path(post, path = "/v1/node/assignments/{id}/start", tag = "node", params(("id" = String, Path)),
    responses((status = 204)))]
pub(super) async fn start(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let command = Command::Start {
        node: caller.node,
        assignment: assignment_id(&id)?,
    };
    submit(&app, caller.actor(), None, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Seals a result. The signature is checked here, before the one writer sees it.
#[utoipa::path(post, path = "/v1/node/assignments/{id}/commit", tag = "node", params(("id" = String, Path)),
    request_body = wire::Commit, responses((status = 204)))]
pub(super) async fn commit(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    Json(request): Json<wire::Commit>,
) -> ApiResult<StatusCode> {
    let assignment = assignment_id(&id)?;
    let digest: Digest = parse("/commitment", &request.commitment)?;
    let signature: Hex<64> = into_domain("/signature", &request.signature)?;
    let node = caller.node;
    let key = app
        .log
        .read(|state, _| state.nodes.get(&node).map(|n| n.public_key));
    let key = key.ok_or(Rejection::UnknownNode)?;
    let commitment = SignedCommitment::check(key, digest, signature)
        .map_err(|e| ApiError::new(Code::BadSignature, e.to_string()))?;
    // A pause that it waited in is known from here on.
    app.live.beat();
    let absent = app.live.leases().absent(assignment);
    let command = Command::Commit {
        node,
        assignment,
        commitment,
        absent_ms: Count(u64::try_from(absent.as_millis()).unwrap_or(u64::MAX)),
    };
    submit(&app, caller.actor(), None, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Opens a sealed result. All its outputs must have been uploaded.
#[utoipa::path(post, path = "/v1/node/assignments/{id}/reveal", tag = "node", params(("id" = String, Path)),
    request_body = wire::Reveal, responses((status = 204)))]
pub(super) async fn reveal(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    Json(request): Json<wire::Reveal>,
) -> ApiResult<StatusCode> {
    let assignment = assignment_id(&id)?;
    let report: Report = into_domain("/report", &request.report)?;
    if report.assignment != assignment {
        return Err(Rejection::RevealMismatch.into());
    }
    let command = Command::Reveal {
        node: caller.node,
        report: Box::new(report.clone()),
        result: request.result.clone(),
    };
    // Judged on the committed state first, so that no commitment that is still under way can make it count before its
    // bytes were looked at.
    if !would_reveal(&app, &caller, &command)? {
        return Ok(StatusCode::NO_CONTENT);
    }
    require_outputs(&app, &report).await?;
    store_result(&app, &report, &request.result).await?;
    submit(&app, caller.actor(), None, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives the assignment up.
#[utoipa::path(post, path = "/v1/node/assignments/{id}/fail", tag = "node", params(("id" = String, Path)),
    request_body = wire::Fail, responses((status = 204)))]
pub(super) async fn fail(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
    Json(request): Json<wire::Fail>,
) -> ApiResult<StatusCode> {
    let command = Command::Fail {
        node: caller.node,
        assignment: assignment_id(&id)?,
        class: from_name("/class", &request.class)?,
        message: request.message,
    };
    submit(&app, caller.actor(), None, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives the assignment back, because the node is about to stop. The node counts as offline until it asks for work again. It
/// costs nothing as long as the task and the node have not had too many returns.
#[utoipa::path(post, path = "/v1/node/assignments/{id}/return", tag = "node", params(("id" = String, Path)),
    responses((status = 204)))]
pub(super) async fn give_back(
    State(app): State<App>,
    caller: NodeCaller,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let command = Command::GiveBack {
        node: caller.node,
        assignment: assignment_id(&id)?,
    };
    submit(&app, caller.actor(), None, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether the machine would take the reveal as things stand; `false` when it was taken before.
fn would_reveal(app: &App, caller: &NodeCaller, command: &Command) -> ApiResult<bool> {
    let context = Context {
        time: now(),
        actor: caller.actor().to_string(),
        entropy: [0; 32],
        // Opens what others showed.
        secret: *app.log.secret(),
    };
    let decided = app.log.read(|state, _| decide(state, command, &context));
    Ok(!decided?.is_empty())
}

/// What was brought must still be there: nobody pays for bytes that the store has lost.
async fn require_outputs(app: &App, report: &Report) -> ApiResult<()> {
    for (i, output) in report.outputs.iter().enumerate() {
        let size = app.objects.size(output.digest).await?;
        if size != Some(output.size.0) {
            let found = size.map_or("is not there".to_owned(), |n| format!("has {n} bytes"));
            let detail = format!(
                "output `{}` should have {} bytes, and {found}: upload it again, then reveal",
                output.name, output.size
            );
            let at = format!("/report/outputs/{i}");
            return Err(ApiError::new(Code::OutputMissing, detail).at(at));
        }
    }
    Ok(())
}

/// Stores the inline result's canonical bytes, as the report names them.
async fn store_result(app: &App, report: &Report, result: &Value) -> ApiResult<()> {
    let bytes = wire::canonical(result).map_err(|e| {
        let detail = format!("the result has no canonical form: {e}");
        ApiError::new(Code::FieldInvalid, detail).at("/result")
    })?;
    // What does not fit is the machine's to refuse, with its own code.
    if bytes.len() <= RESULT_BYTES_MAX && Digest::of(&bytes) == report.result.digest {
        let size = bytes.len() as u64;
        let stream = objects::once(bytes);
        app.objects.put(report.result.digest, size, stream).await?;
    }
    Ok(())
}
