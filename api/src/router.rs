//! The router with its layers, and the OpenAPI document of what it serves.

use std::{cell::Cell, panic::AssertUnwindSafe};

use aevir_wire as wire;
use axum::{
    Json, Router,
    extract::{MatchedPath, Request, State},
    http::HeaderValue,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::FutureExt as _;
use tracing::{Instrument as _, field};
use utoipa::openapi::{
    Content, Info, License, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
    path::Operation,
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};

use crate::{
    app::App,
    error::{ApiError, Code, RefusalCode},
    routes,
    submit::POSITION,
};

/// Routes that need no API key.
const OPEN_ROUTES: [&str; 7] = [
    "/health",
    "/ready",
    "/v1/version",
    "/openapi.json",
    "/log/checkpoint",
    "/log/tile/{*path}",
    "/v1/log/key",
];
const KEY_SCHEME: &str = "api_key";

/// The router of the whole API.
pub(crate) fn router(app: App) -> Router {
    let (router, _) = routes::all().split_for_parts();
    let document = openapi();
    router
        .route("/openapi.json", get(move || async { Json(document) }))
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// The OpenAPI 3.1 document.
pub fn openapi() -> OpenApi {
    let (_, routes) = routes::all().split_for_parts();
    let mut info = Info::new("Aevir", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Runs AI tasks on other people's machines and proves what happened. Errors are problem documents with a stable code.".into(),
    );
    info.license = Some(License::new("Apache-2.0"));
    let mut api = OpenApiBuilder::from(routes).info(info).build();
    let components = api.components.get_or_insert_default();
    components.add_security_scheme(
        KEY_SCHEME,
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
    let problem = <wire::Problem as utoipa::PartialSchema>::schema();
    components.schemas.insert("Problem".into(), problem);
    for (path, item) in &mut api.paths.paths {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            complete(path, operation);
        }
    }
    // OpenAPI has no name for a parameter that spans several segments.
    let paths = std::mem::take(&mut api.paths.paths).into_iter();
    api.paths.paths = paths
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    api
}

/// Adds what every operation has: the problem document as its other answer, and the key.
fn complete(path: &str, operation: &mut Operation) {
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    let refusal = ResponseBuilder::new()
        .description("A problem document; docs/errors.md lists the codes.")
        .content(wire::PROBLEM_JSON, problem)
        .build();
    operation
        .responses
        .responses
        .insert("default".into(), refusal.into());
    let joining = operation.operation_id.as_deref() == Some("register_node");
    if !joining && !OPEN_ROUTES.contains(&path) {
        let none: [&str; 0] = [];
        operation.security = Some(vec![SecurityRequirement::new(KEY_SCHEME, none)]);
    }
}

async fn unknown_route() -> ApiError {
    ApiError::new(
        Code::UnknownRoute,
        "there is no such route: see /openapi.json",
    )
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(
        Code::MethodNotAllowed,
        "the route does not have this method: see /openapi.json",
    )
}

/// A span around each request, which handlers fill in, a net for panics, and the position of the log that the answer to
/// a command names.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let reads = request.method().is_safe();
    let route = request.extensions().get::<MatchedPath>();
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = route.map_or("", |r| r.as_str()),
        account = field::Empty,
        node = field::Empty,
        task = field::Empty,
        assignment = field::Empty,
        position = field::Empty,
        status = field::Empty,
        code = field::Empty,
    );
    let handled = POSITION.scope(Cell::new(0), async move {
        let response = next.run(request).await;
        (response, POSITION.with(Cell::get))
    });
    let handled = AssertUnwindSafe(handled).catch_unwind();
    let response = handled.instrument(span.clone()).await;
    let (mut response, position) = response.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        span.in_scope(|| {
            tracing::error!(panic = text.unwrap_or("no message"), "a handler panicked")
        });
        let error = ApiError::new(Code::Internal, "the server failed at this request");
        (error.into_response(), 0)
    });
    if !reads && response.status().is_success() {
        // What was there already was put there before now.
        let position = if position > 0 {
            position
        } else {
            app.log.head().size
        };
        let headers = response.headers_mut();
        headers.insert(wire::LOG_POSITION, HeaderValue::from(position));
    }
    span.record("status", response.status().as_u16());
    if let Some(RefusalCode(code)) = response.extensions().get() {
        span.record("code", code);
    }
    span.in_scope(|| tracing::debug!("answered"));
    response
}
