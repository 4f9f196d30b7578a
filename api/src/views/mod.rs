//! The platform's SQL views: what the list endpoints are served from, and what operators query.
//!
//! Three projections, each a set of tables that stand at one position: `work` (tasks, assignments, nodes), `accounts`
//! (accounts, keys, money, withdrawals, points) and `catalogue` (modules, contents). They are folded from events alone and must equal
//! the machine's state; a test compares them after random histories. `docs/views.md` lists their columns, written from
//! the declarations here by a test.
//!
//! Must not know: HTTP.

mod accounts;
mod accounts_points;
mod accounts_tables;
mod catalogue;
mod query;
mod work;
mod work_ends;
mod work_life;
mod work_nodes;
mod work_rounds;
mod work_tables;

use std::sync::Arc;

use aevir_events::{
    Timestamp,
    projection::{Projection, ProjectionError, Value},
};
use aevir_platform::{amount::Amount, event::Event};
use serde::Serialize;

pub(crate) use query::{Cells, Query};

use crate::convert::name_of;

/// Names of the projections.
pub(crate) const WORK: &str = "work";
pub(crate) const ACCOUNTS: &str = "accounts";
pub(crate) const CATALOGUE: &str = "catalogue";

/// Every projection of the platform.
pub fn projections() -> Vec<Arc<dyn Projection<Event>>> {
    vec![
        Arc::new(work::Work),
        Arc::new(accounts::Accounts),
        Arc::new(catalogue::Catalogue),
    ]
}

/// An id or digest as a column's value.
fn id(id: impl ToString) -> Value {
    id.to_string().into()
}

/// A time as a column's value.
fn ms(time: Timestamp) -> Value {
    time.0.into()
}

fn money(amount: Amount) -> Value {
    amount.0.into()
}

/// A domain enum's public name.
fn name(value: &impl Serialize) -> Value {
    name_of(value).into()
}

/// A structure as JSON text.
fn json(value: &impl Serialize) -> Result<Value, ProjectionError> {
    serde_json::to_string(value)
        .map(Value::from)
        .map_err(|e| ProjectionError::refused(format!("a part of the event has no JSON form: {e}")))
}

/// A position as a column's value.
fn position(position: u64) -> Result<Value, ProjectionError> {
    let signed = i64::try_from(position);
    signed
        .map(Value::Int)
        .map_err(|_| ProjectionError::refused("the position passes 63 bits"))
}
