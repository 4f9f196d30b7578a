//! Blobs: uploaded by their owner under their digest, read by whoever the machine says may read them.

use aevir_platform::{
    command::{Command, Scope},
    digest::Digest,
    rejection::Rejection,
    report::BlobRef,
};
use aevir_wire as wire;
use axum::{Json as Reply, body::Body, extract::State, http::HeaderMap, response::Response};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert,
    error::{ApiError, ApiResult},
    extract::Path,
    stream::{check_length, object, upload},
    submit::{may_begin, submit},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(put_blob, get_blob))
}

/// Uploads a blob. The bytes are checked against the digest while they come in.
#[utoipa::path(put, path = "/v1/blobs/{digest}", tag = "blobs", params(("digest" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = wire::BlobRef)))]
async fn put_blob(
    State(app): State<App>,
    caller: Caller,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Reply<wire::BlobRef>> {
    caller.require_one_of(&[Scope::ContentsWrite, Scope::TasksWrite])?;
    let digest: Digest = convert::parse("", &digest)?;
    let size_max = app.limits.blob_bytes_max;
    check_length(&headers, size_max)?;
    // Before the body, which nobody would own.
    if !has(&app, &caller, digest) {
        may_begin(&app, &caller, None).await?;
    }
    let size = app.objects.put(digest, size_max, upload(body)).await?;
    let blob = BlobRef {
        digest,
        size: convert::size(size),
    };
    record(&app, &caller, blob).await?;
    Ok(Reply(convert::blob(&blob)))
}

/// Records that the account has the blob, once.
pub(super) async fn record(app: &App, caller: &Caller, blob: BlobRef) -> ApiResult<()> {
    let account = caller.account;
    if has(app, caller, blob.digest) {
        return Ok(());
    }
    let command = Command::RecordUpload { account, blob };
    submit(app, caller.actor(), None, command).await?;
    app.live.rates.left(account);
    Ok(())
}

fn has(app: &App, caller: &Caller, digest: Digest) -> bool {
    let account = caller.account;
    app.log
        .read(|state, _| state.may_read_blob(account, digest))
}

/// Downloads a blob that the caller uploaded or got as a result, or a module of its own. Ranges are served.
#[utoipa::path(get, path = "/v1/blobs/{digest}", tag = "blobs", params(("digest" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream")))]
async fn get_blob(
    State(app): State<App>,
    caller: Caller,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    caller.require(Scope::Read)?;
    let account = caller.account;
    let digest = text.parse::<Digest>().ok();
    let digest = digest.filter(|digest| {
        app.log.read(|state, _| {
            let module = state.modules.get(digest);
            state.may_read_blob(account, *digest)
                || module.is_some_and(|module| module.names.contains_key(&account))
        })
    });
    let digest = digest.ok_or_else(|| no_blob(&text))?;
    object(&app, digest, &headers).await
}

fn no_blob(digest: &str) -> ApiError {
    let unknown = Rejection::BlobUnknown {
        digest: Digest([0; 32]),
    };
    ApiError::from(unknown).with_detail(format!("this account has no blob {digest}"))
}
