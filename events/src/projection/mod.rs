//! SQL views of the log: tables that are folded from the events, exactly once, and can be folded anew at any time.
//!
//! ```text
//!   Source (the log) --batches--> Projection::apply --rows--> one transaction: rows + position (compare-and-set)
//!                                                                  |
//!   readers <-- Snapshot of the live generation <------------------+     a rebuild folds the next generation
//!                                                                        beside it, and swaps when it is level
//! ```
//!
//! What holds:
//! - Position and rows move in one transaction, by a compare-and-set on position and fence. So an event counts exactly
//!   once, whatever crashes, however many servers fold.
//! - A projection stops at the first event that it can't apply, and says which and why; it never skips.
//! - A *generation* is one set of tables. Another version of the code, other columns, another log behind the tables or
//!   an operator's wish start a new generation beside the live one; when it is level, one transaction swaps them. A
//!   generation that has never been level is not served.
//! - Views hold nothing that the log does not: losing them costs time only.
//!
//! Must not know: what a task is, HTTP.

mod fold;
mod generation;
mod manager;
mod rows;
mod runner;
mod source;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    generation::GenerationState,
    manager::{ProjectionStatus, Projections, ReadError, Snapshot},
    rows::{Keys, Row, Rows},
    source::{Page, Placed, Source, Stop},
    store::{SCHEMA, StoreError, ViewStore},
    table::{Column, Kind, Table, Value},
};
use crate::envelope::Recorded;

/// Most events folded in one transaction: the cost of a commit is spread over them, and a reader of the live end waits
/// for some tens of milliseconds at most.
pub const BATCH_EVENTS: usize = 1_024;

/// A fold of events into tables.
#[async_trait]
pub trait Projection<E>: Send + Sync + 'static {
    /// Stable, and unique among the projections of a store.
    fn name(&self) -> &'static str;

    /// Raise it with every change of what is folded: the next start then rebuilds by itself.
    fn version(&self) -> u32;

    /// Names are unique among all projections of a store.
    fn tables(&self) -> &'static [Table];

    /// Names rows that [`Projection::apply`] will want, so that a whole batch's are loaded together. What is left out is
    /// loaded when it is asked for.
    fn wants(&self, event: &Recorded<E>, keys: &mut Keys);

    /// Folds one event. A function of the event and the rows alone.
    ///
    /// # Errors
    /// [`ProjectionError::Refused`] stops the projection before this event.
    async fn apply(&self, event: &Recorded<E>, rows: &mut Rows<'_>) -> Result<(), ProjectionError>;
}

/// Why an event could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The event can't be applied to these rows, now or later.
    #[error("{0}")]
    Refused(String),
    #[error("the views' database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl ProjectionError {
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

/// How runners work.
#[derive(Debug, Clone)]
pub struct ProjectionOptions {
    /// Most events of one transaction; at least 1.
    pub batch_events: usize,
    /// How long a generation's tables outlive its swap, for queries that began before it. Longer than a query may take.
    pub retired_for: Duration,
    /// How often a runner that has nothing to fold looks at what others did to its generations.
    pub look_every: Duration,
}

impl Default for ProjectionOptions {
    /// Batches of [`BATCH_EVENTS`], a minute of grace, a look every second.
    fn default() -> Self {
        Self {
            batch_events: BATCH_EVENTS,
            retired_for: Duration::from_secs(60),
            look_every: Duration::from_secs(1),
        }
    }
}
