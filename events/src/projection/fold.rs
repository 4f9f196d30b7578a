//! Folds a batch: events into rows, rows and position into one transaction. Knows nothing of when and why.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use super::{
    Keys, Placed, Projection, ProjectionError,
    generation::{self, Generation},
    rows::Rows,
    store::ViewStore,
};
use crate::{machine::Event, replay::panic_text};

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Done,
    /// Another folder moved the generation.
    Lost,
    /// All before the event of this index are folded.
    Refused {
        index: usize,
        reason: String,
    },
}

/// Folds events, which follow the generation's position, in one transaction; those before one that is refused stay.
pub(super) async fn apply<E: Event>(
    store: &ViewStore,
    projection: &dyn Projection<E>,
    generation: &mut Generation,
    events: &[Placed<E>],
) -> Result<Applied, ProjectionError> {
    match attempt(store, projection, generation, events).await? {
        Applied::Refused { index, reason } if index < events.len() => {
            if index > 0 {
                let before = attempt(store, projection, generation, &events[..index]).await?;
                if before != Applied::Done {
                    return Ok(before);
                }
            }
            Ok(Applied::Refused { index, reason })
        }
        // The database refused rows, and did not say whose: one by one it is found out.
        Applied::Refused { reason, .. } => {
            for (index, one) in events.iter().enumerate() {
                match attempt(store, projection, generation, std::slice::from_ref(one)).await? {
                    Applied::Done => {}
                    Applied::Lost => return Ok(Applied::Lost),
                    Applied::Refused { reason, .. } => {
                        return Ok(Applied::Refused { index, reason });
                    }
                }
            }
            tracing::warn!(
                reason,
                "the database refused a batch, but none of its events"
            );
            Ok(Applied::Done)
        }
        done @ (Applied::Done | Applied::Lost) => Ok(done),
    }
}

/// Folds all of these events in one transaction, or none. A refusal by the database has the index behind the last.
async fn attempt<E: Event>(
    store: &ViewStore,
    projection: &dyn Projection<E>,
    generation: &mut Generation,
    events: &[Placed<E>],
) -> Result<Applied, ProjectionError> {
    let Some(last) = events.last() else {
        return Ok(Applied::Done);
    };
    let (position, anchor) = (last.recorded.position + 1, last.leaf.to_string());
    let mut tx = store.begin().await?;
    if !generation::advance(&mut tx, projection.name(), generation, (position, &anchor)).await? {
        tx.rollback().await?;
        return Ok(Applied::Lost);
    }
    let folded = {
        let mut rows = Rows::new(&mut tx, projection.tables(), generation.number);
        fold(projection, &mut rows, events).await
    };
    let refused = match folded {
        Ok(None) => {
            tx.commit().await?;
            generation.position = position;
            generation.anchor = anchor;
            generation.failed = None;
            return Ok(Applied::Done);
        }
        Ok(Some(refused)) => refused,
        Err(ProjectionError::Database(error)) if blames_rows(&error) => Applied::Refused {
            index: events.len(),
            reason: format!("the database refuses its rows: {error}"),
        },
        Err(error) => return Err(error),
    };
    tx.rollback().await?;
    Ok(refused)
}

async fn fold<E: Event>(
    projection: &dyn Projection<E>,
    rows: &mut Rows<'_>,
    events: &[Placed<E>],
) -> Result<Option<Applied>, ProjectionError> {
    let mut keys = Keys::default();
    for event in events {
        projection.wants(&event.recorded, &mut keys);
    }
    rows.prefetch(&keys).await?;
    for (index, event) in events.iter().enumerate() {
        // A bad event must not become a restart loop without a position.
        let applied = AssertUnwindSafe(projection.apply(&event.recorded, rows))
            .catch_unwind()
            .await;
        let reason = match applied {
            Ok(Ok(())) => continue,
            Ok(Err(ProjectionError::Refused(reason))) => reason,
            Ok(Err(error @ ProjectionError::Database(_))) => return Err(error),
            Err(panic) => format!("the projection panicked: {}", panic_text(panic.as_ref())),
        };
        return Ok(Some(Applied::Refused { index, reason }));
    }
    rows.flush().await?;
    Ok(None)
}

/// Whether the database refused what was written, and would again; everything else may pass.
fn blames_rows(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    let code = error.code().unwrap_or_default();
    if error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        // TOOBIG, CONSTRAINT, MISMATCH, without what extends them.
        return code
            .parse::<i64>()
            .is_ok_and(|code| matches!(code & 0xff, 18..=20));
    }
    // Cardinality, data, integrity.
    ["21", "22", "23"]
        .iter()
        .any(|class| code.starts_with(class))
}
