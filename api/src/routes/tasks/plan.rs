//! What a task would cost and when it would run, and why one waits.

use std::collections::BTreeMap;

use aevir_events::{Context, LeaderSecret};
use aevir_platform::{
    command::Scope,
    content::ContentPrice,
    schedule::{self, Quote, Refused, Remedy, Why},
    state::State as Platform,
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use serde_json::Value;

use super::with_task;
use crate::{
    app::{App, now},
    auth::Caller,
    convert::time,
    error::{ApiError, ApiResult},
    extract::{Json, Path},
};

/// What a task definition (`schemas/task.v1.json`) would cost and when it would be done, by what waits and what nodes there
/// are now. Nothing is stored, and nothing is promised but the escrow.
#[utoipa::path(post, path = "/v1/tasks:quote", tag = "tasks", request_body = Object,
    responses((status = 200, body = wire::Quote)))]
pub(super) async fn quote_task(
    State(app): State<App>,
    caller: Caller,
    Json(definition): Json<Value>,
) -> ApiResult<Reply<wire::Quote>> {
    caller.require(Scope::TasksWrite)?;
    let definition = app.task_schema.read(&definition)?;
    app.live.rates.quote(caller.account)?;
    let context = Context {
        time: now(),
        actor: caller.actor().to_string(),
        // A quote draws nothing that is kept.
        entropy: [0; 32],
        secret: LeaderSecret([0; 32]),
    };
    let (app, account) = (app.clone(), caller.account);
    let quote = apart(move || {
        let quote = |state: &Platform, _| schedule::quote(state, account, &definition, &context);
        app.log.read(quote)
    });
    let quote = quote.await?;
    Ok(Reply(quote_to_wire(quote?)))
}

/// Looks at thousands of nodes apart from the threads that answer calls, which some ms of work would hold up.
async fn apart<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|e| ApiError::internal("a look at the nodes", &e))
}

fn quote_to_wire(quote: Quote) -> wire::Quote {
    wire::Quote {
        expected_fee: quote.expected_fee.to_string(),
        escrow: quote.escrow.to_string(),
        prices: prices(&quote.prices),
        contents_max: (!quote.prices.is_empty()).then(|| quote.contents.to_string()),
        available: quote.available.to_string(),
        affordable: quote.escrow <= quote.available,
        eligible_nodes: count(quote.eligible),
        borderline_nodes: count(quote.borderline),
        free_nodes: count(quote.free),
        refused: refused(quote.refused),
        nearest: nearest(quote.nearest),
        nodes_looked_at: count(quote.looked_at),
        nodes: count(quote.nodes),
        tasks_ahead: count(quote.ahead),
        starts_at: quote.starts_at.map(time),
        at_once: quote.at_once,
        finishes_by: quote.finishes_by.map(time),
    }
}

/// What contents cost, as the wire has it.
pub(super) fn prices(prices: &[ContentPrice]) -> Vec<wire::ContentPrice> {
    let prices = prices.iter().map(|p| wire::ContentPrice {
        content: p.content.to_string(),
        price: p.price.to_string(),
    });
    prices.collect()
}

/// Why a task waits: how many nodes each filter refuses, which one lacks least, and what would help.
#[utoipa::path(get, path = "/v1/tasks/{id}/why", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = wire::Why)))]
pub(super) async fn why_task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Reply<wire::Why>> {
    caller.require(Scope::Read)?;
    app.live.rates.quote(caller.account)?;
    let answer = apart(move || {
        let why = with_task(&app, &caller, &id, |state, task| {
            (task.phase.name(), schedule::why(state, task, now()))
        });
        why.map(|(state, why)| why_to_wire(id, state, why))
    });
    Ok(Reply(answer.await??))
}

fn why_to_wire(id: String, state: &str, why: Why) -> wire::Why {
    wire::Why {
        id,
        state: state.into(),
        waits_for: why.waits_for.code().into(),
        awaits: why.awaits.iter().map(ToString::to_string).collect(),
        at_once_from: why.at_once_from.map(time),
        nodes: count(why.nodes),
        nodes_looked_at: count(why.looked_at),
        fitting: count(why.fitting),
        refused: refused(why.refused),
        nearest: nearest(why.nearest),
    }
}

fn refused(by: BTreeMap<Refused, usize>) -> Vec<wire::Waiting> {
    let refused = by.into_iter().map(|(reason, nodes)| wire::Waiting {
        reason: reason.code().into(),
        nodes: count(nodes),
    });
    refused.collect()
}

fn nearest(node: Option<Vec<Remedy>>) -> Vec<wire::Remedy> {
    let remedies = node.unwrap_or_default().into_iter();
    let remedies = remedies.map(|remedy| wire::Remedy {
        reason: remedy.reason.code().into(),
        help: remedy.help,
    });
    remedies.collect()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
