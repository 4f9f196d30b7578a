//! Following the log: from the table while behind, from the writer's broadcast once level.
//!
//! A cursor is a position. Every event must be the one after the last, so a gap is an error and never silent.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    entry::EntryError,
    envelope::Recorded,
    log::{Log, LogError},
    machine::Event,
};

/// Entries read from the table at once while behind.
const PAGE: usize = 256;

/// Why a subscription ended early. Subscribe again from the next position once the cause is gone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubscribeError {
    #[error("the log can't be read")]
    Log(#[source] LogError),
    #[error("expected position {expected}, found {found}")]
    Gap { expected: u64, found: u64 },
    #[error("position {expected} is missing")]
    Missing { expected: u64 },
    #[error("the entry at position {position} does not match its stored leaf hash")]
    Changed { position: u64 },
    #[error("position {position} can't be read")]
    Entry {
        position: u64,
        #[source]
        source: EntryError,
    },
}

/// One subscriber's place.
struct Cursor<E, F> {
    log: Arc<dyn Log>,
    /// `None` once the writer has ended.
    live: Option<Receiver<Arc<Recorded<E>>>>,
    /// Whether to read the table before listening again.
    behind: bool,
    next: u64,
    /// Read from the table and not yet handed out.
    ahead: VecDeque<Arc<Recorded<E>>>,
    /// How many entries readers may see.
    size: F,
}

/// Events from position `from` on. `live` must have been subscribed before `size` is first called, and `size` must
/// include an event before `live` brings it.
pub(crate) fn subscribe<E: Event>(
    log: Arc<dyn Log>,
    live: Option<Receiver<Arc<Recorded<E>>>>,
    from: u64,
    size: impl Fn() -> u64 + Send + 'static,
) -> impl Stream<Item = Result<Arc<Recorded<E>>, SubscribeError>> + Send + Unpin {
    let cursor = Cursor {
        log,
        live,
        behind: true,
        next: from,
        ahead: VecDeque::new(),
        size,
    };
    Box::pin(stream::try_unfold(cursor, |mut cursor| async move {
        Ok(cursor.next().await?.map(|recorded| (recorded, cursor)))
    }))
}

impl<E: Event, F: Fn() -> u64> Cursor<E, F> {
    async fn next(&mut self) -> Result<Option<Arc<Recorded<E>>>, SubscribeError> {
        loop {
            if let Some(recorded) = self.ahead.pop_front() {
                return self.hand_out(recorded).map(Some);
            }
            if self.behind {
                self.read_ahead().await?;
                continue;
            }
            let Some(live) = &mut self.live else {
                return Ok(None);
            };
            match live.recv().await {
                // Came from the table already, or is before the place where this subscriber starts.
                Ok(recorded) if recorded.position < self.next => {}
                Ok(recorded) if recorded.position == self.next => {
                    return self.hand_out(recorded).map(Some);
                }
                Ok(_) | Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => {
                    self.live = None;
                    self.behind = true;
                }
            }
        }
    }

    async fn read_ahead(&mut self) -> Result<(), SubscribeError> {
        let left = (self.size)().saturating_sub(self.next);
        if left == 0 {
            self.behind = false;
            return Ok(());
        }
        let limit = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = self
            .log
            .read(self.next, limit)
            .await
            .map_err(SubscribeError::Log)?;
        if page.is_empty() {
            return Err(SubscribeError::Missing {
                expected: self.next,
            });
        }
        for stored in page {
            let position = stored.position;
            if !stored.is_intact() {
                return Err(SubscribeError::Changed { position });
            }
            let recorded = stored
                .entry
                .decode()
                .map_err(|source| SubscribeError::Entry { position, source })?;
            self.ahead.push_back(Arc::new(recorded));
        }
        Ok(())
    }

    fn hand_out(&mut self, recorded: Arc<Recorded<E>>) -> Result<Arc<Recorded<E>>, SubscribeError> {
        if recorded.position != self.next {
            return Err(SubscribeError::Gap {
                expected: self.next,
                found: recorded.position,
            });
        }
        self.next += 1;
        Ok(recorded)
    }
}
