//! Handing a command to the log's writer and reading its outcome, and counting those that cost nothing.

use std::{cell::Cell, sync::Arc};

use aevir_events::{Receipt, Recorded, Request};
use aevir_platform::{
    Actor,
    command::{Command, Scope},
    event::Event,
};
use tracing::{Span, field::display};

use crate::{
    app::App,
    auth::Caller,
    error::{ApiError, ApiResult, Code},
    live::Rates,
};

tokio::task_local! {
    /// How many entries the log has with the outcomes of this request's commands in it; 0 before there are any.
    pub(crate) static POSITION: Cell<u64>;
}

/// Submits a command and waits until its outcome is durable. The request's span gets the position.
pub(crate) async fn submit(
    app: &App,
    actor: Actor,
    key: Option<String>,
    command: Command,
) -> ApiResult<Receipt<Event>> {
    let request = Request {
        actor: actor.to_string(),
        key,
        command,
    };
    let receipt = app.log.submit(request).await?;
    // The driver's commands belong to no request.
    let _ = POSITION.try_with(|position| position.set(position.get().max(receipt.head)));
    if let Some(first) = receipt.events.first() {
        Span::current().record("position", display(first.position));
    }
    Ok(receipt)
}

/// Counts what an account is about to write into the log for nothing; `key` is the command's. Not counted is what was taken with this key
/// before, which writes nothing more, nor what administrators do.
///
/// # Errors
/// Where the account wrote too much: with the time after which it may go on.
pub(crate) async fn count(app: &App, caller: &Caller, key: Option<&str>) -> ApiResult<()> {
    unless_known(app, caller, key, |rates| rates.write(caller.account)).await
}

/// Whether the caller may begin another task, or bring another blob; `key` is the command's.
///
/// # Errors
/// Where the account left too much in the log for nothing: with the time after which it may go on.
pub(crate) async fn may_begin(app: &App, caller: &Caller, key: Option<&str>) -> ApiResult<()> {
    unless_known(app, caller, key, |rates| rates.may_begin(caller.account)).await
}

async fn unless_known(
    app: &App,
    caller: &Caller,
    key: Option<&str>,
    ask: impl FnOnce(&Rates) -> ApiResult<()>,
) -> ApiResult<()> {
    if caller.has(Scope::Admin) {
        return Ok(());
    }
    let Err(refused) = ask(&app.live.rates) else {
        return Ok(());
    };
    let Some(key) = key else {
        return Err(refused);
    };
    match app.log.is_known(&caller.actor().to_string(), key).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused),
        Err(error) => {
            let reason = &error as &dyn std::error::Error;
            tracing::warn!(error = reason, "an idempotency key can't be looked up");
            Err(ApiError::new(Code::LogUnavailable, error.to_string()))
        }
    }
}

/// The event of a receipt that the command can't succeed without.
pub(crate) fn find<'a, T>(
    receipt: &'a Receipt<Event>,
    pick: impl Fn(&'a Event) -> Option<&'a T>,
) -> ApiResult<&'a T> {
    let events: &'a [Arc<Recorded<Event>>] = &receipt.events;
    events.iter().find_map(|e| pick(&e.event)).ok_or_else(|| {
        tracing::error!("a receipt lacks the event that its command causes");
        ApiError::new(
            Code::Internal,
            "the outcome lacks what the command should cause",
        )
    })
}

/// The first event of a kind in a receipt: `event!(&receipt, TaskCreated)?`.
macro_rules! event {
    ($receipt:expr, $kind:ident) => {
        $crate::submit::find($receipt, |event| {
            if let aevir_platform::event::Event::$kind(event) = event {
                Some(event)
            } else {
                None
            }
        })
    };
}
pub(crate) use event;
