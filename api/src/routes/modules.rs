//! Modules: uploaded, inspected, registered.

use std::time::Duration;

use aevir_events::Timestamp;
use aevir_platform::{
    command::{Command, RegisterModule, Scope, World},
    digest::Digest,
    may_register_module,
    rejection::Rejection,
    report::BlobRef,
    state::Module,
};
use aevir_wire as wire;
use axum::{
    Json as Reply,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    convert::{name_of, size, time},
    error::{ApiError, ApiResult},
    extract::{Path, Query, read_all},
    judging::{Verdict, refusal},
    listing::{Shown, cursor, limit, next, open},
    objects,
    stream::check_length,
    submit::{count, submit},
    views::{self, CATALOGUE, Cells},
};

/// A module must be here by then.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(300);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(push_module, list_modules))
        .routes(routes!(show_module))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Named {
    /// 1 to 64 printable characters.
    name: String,
}

/// Pushes a WebAssembly component, or a core module for WASI preview 1, which is adapted to one: the digest in the answer is the
/// component's. Pushing the same one again answers what is there.
#[utoipa::path(post, path = "/v1/modules", tag = "modules", params(Named),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = wire::Module), (status = 200, body = wire::Module)))]
async fn push_module(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Reply<wire::Module>)> {
    caller.require(Scope::TasksWrite)?;
    // What is refused anyhow is refused before anybody works for it.
    app.log
        .read(|state, _| may_register_module(state, caller.account, &query.name))?;
    let bytes_max = app.limits.module_bytes_max;
    check_length(&headers, bytes_max as u64)?;
    // Before the body is read: what waits is not held in memory.
    let _turn = app.judging.turn(caller.account).await?;
    let uploaded = read_all(body, bytes_max, UPLOAD_TIME_MAX).await?;
    if let Some(known) = own_module(&app, &caller, Digest::of(&uploaded)) {
        return Ok((StatusCode::OK, Reply(known)));
    }
    let judged = judged(&app, &caller, uploaded).await?;
    let digest = judged.blob.digest;
    if let Some(known) = own_module(&app, &caller, digest) {
        return Ok((StatusCode::OK, Reply(known)));
    }
    count(&app, &caller, None).await?;
    if let Some(wasm) = judged.wasm {
        let length = wasm.len() as u64;
        app.objects.put(digest, length, objects::once(wasm)).await?;
    }
    let command = Command::RegisterModule(RegisterModule {
        owner: caller.account,
        name: query.name,
        blob: judged.blob,
        world: judged.world,
        imports: judged.imports,
        compile_mib: judged.compile_mib,
        code_mib: judged.code_mib,
    });
    match submit(&app, caller.actor(), None, command).await {
        Ok(_) => {}
        // Somebody was faster. If it was this account, the outcome is what it wants.
        Err(error) => {
            let known = own_module(&app, &caller, digest).ok_or(error)?;
            return Ok((StatusCode::OK, Reply(known)));
        }
    }
    let registered =
        own_module(&app, &caller, digest).ok_or_else(|| no_module(&digest.to_string()))?;
    Ok((StatusCode::CREATED, Reply(registered)))
}

/// What an upload becomes.
struct Judged {
    blob: BlobRef,
    world: World,
    imports: Vec<String>,
    compile_mib: u32,
    code_mib: u32,
    /// The component, unless it is stored already.
    wasm: Option<Bytes>,
}

/// What an upload becomes: of bytes that are registered, or were judged before, that is known.
async fn judged(app: &App, caller: &Caller, uploaded: Bytes) -> ApiResult<Judged> {
    let upload = Digest::of(&uploaded);
    if let Some(judged) = registered(app, upload, Some(&uploaded)) {
        return Ok(judged);
    }
    match app.judging.known(upload) {
        Some(Verdict::Refused(error)) => return Err(refusal(error)),
        Some(Verdict::Adapted(component)) => {
            if let Some(judged) = registered(app, component, None) {
                return Ok(judged);
            }
        }
        None => {}
    }
    let wasm = uploaded.clone();
    let inspected = app
        .judging
        .judge(&*app.inspector, caller.account, upload, wasm)
        .await?;
    let wasm = inspected.adapted.unwrap_or(uploaded);
    Ok(Judged {
        blob: BlobRef {
            digest: Digest::of(&wasm),
            size: size(wasm.len() as u64),
        },
        world: inspected.world,
        imports: inspected.imports,
        compile_mib: inspected.compile_mib,
        code_mib: inspected.code_mib,
        wasm: Some(wasm),
    })
}

/// A module that somebody has registered.
fn registered(app: &App, digest: Digest, wasm: Option<&Bytes>) -> Option<Judged> {
    app.log.read(|state, _| {
        let module = state.modules.get(&digest)?;
        Some(Judged {
            blob: BlobRef {
                digest,
                size: module.size,
            },
            world: module.world,
            imports: module.imports.clone(),
            compile_mib: module.compile_mib,
            code_mib: module.code_mib,
            wasm: wasm.cloned(),
        })
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ModulePage {
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// The caller's modules, by digest.
#[utoipa::path(get, path = "/v1/modules", tag = "modules", params(ModulePage),
    responses((status = 200, body = wire::ModuleList)))]
async fn list_modules(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<ModulePage>,
) -> ApiResult<Shown<wire::ModuleList>> {
    caller.require(Scope::Read)?;
    let limit = limit(page.limit)?;
    let after = cursor::<Digest>(page.after.as_deref())?;
    let mut query = views::Query::new(
        "SELECT m.digest, n.name, m.size, m.world, m.imports, m.compile_mib, m.code_mib, m.registered_at
         FROM {module_names} n JOIN {modules} m ON m.digest = n.digest",
    );
    query.when("n.account = ?", [caller.account.to_string().into()]);
    query.when_some("n.digest > ?", after.map(|digest| digest.to_string()));
    query.page("n.digest", limit);
    let mut view = open(&app, CATALOGUE, page.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| from_row(Cells::new(row)));
    let mut modules = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut modules, limit, |m| m.digest.clone());
    Ok(Shown::new(
        view.position(),
        wire::ModuleList { modules, next },
    ))
}

fn from_row(mut cells: Cells) -> ApiResult<wire::Module> {
    Ok(wire::Module {
        digest: cells.text()?,
        name: cells.text()?,
        size: cells.int()?.to_string(),
        world: cells.text()?,
        imports: cells.json()?,
        compile_mib: cells.count()?,
        code_mib: cells.count()?,
        registered_at: time(Timestamp(cells.int()?)),
    })
}

/// One of the caller's modules.
#[utoipa::path(get, path = "/v1/modules/{digest}", tag = "modules", params(("digest" = String, Path)),
    responses((status = 200, body = wire::Module)))]
async fn show_module(
    State(app): State<App>,
    caller: Caller,
    Path(text): Path<String>,
) -> ApiResult<Reply<wire::Module>> {
    caller.require(Scope::Read)?;
    let digest = text.parse().ok();
    let module = digest.and_then(|digest| own_module(&app, &caller, digest));
    module.map(Reply).ok_or_else(|| no_module(&text))
}

fn own_module(app: &App, caller: &Caller, digest: Digest) -> Option<wire::Module> {
    app.log.read(|state, _| {
        let module = state.modules.get(&digest)?;
        view(caller, digest, module)
    })
}

fn no_module(digest: &str) -> ApiError {
    let unknown = Rejection::UnknownModule {
        digest: Digest([0; 32]),
    };
    ApiError::from(unknown).with_detail(format!("this account has no module {digest}"))
}

/// A module as the caller pushed it; nothing where it did not.
fn view(caller: &Caller, digest: Digest, module: &Module) -> Option<wire::Module> {
    Some(wire::Module {
        digest: digest.to_string(),
        name: module.names.get(&caller.account)?.clone(),
        size: module.size.to_string(),
        world: name_of(&module.world),
        imports: module.imports.clone(),
        compile_mib: module.compile_mib,
        code_mib: module.code_mib,
        registered_at: time(module.registered_at),
    })
}
