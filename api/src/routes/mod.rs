//! The routes, one module per family; each has the conversions of its family beside its handlers.

mod accounts;
mod blobs;
mod contents;
mod keys;
mod ledger;
mod limits;
mod log;
mod modules;
mod node;
mod node_life;
mod nodes;
mod points;
mod policy;
mod projections;
mod server;
mod statement;
mod suspensions;
mod tasks;
mod tlog;
mod withdrawals;

pub(crate) use node::challenge_ended;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Every route but `/openapi.json`, which describes them.
pub(crate) fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(server::routes())
        .merge(accounts::routes())
        .merge(keys::routes())
        .merge(limits::routes())
        .merge(ledger::routes())
        .merge(points::routes())
        .merge(statement::routes())
        .merge(withdrawals::routes())
        .merge(policy::routes())
        .merge(projections::routes())
        .merge(blobs::routes())
        .merge(modules::routes())
        .merge(contents::routes())
        .merge(tasks::routes())
        .merge(log::routes())
        .merge(tlog::routes())
        .merge(nodes::routes())
        .merge(node_life::routes())
        .merge(node::routes())
        .merge(suspensions::routes())
}
