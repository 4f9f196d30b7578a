//! Where events come from: the committed log, read in pages.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    envelope::Recorded,
    executor::Handle,
    log::LogError,
    machine::{Event, Machine},
    merkle::Hash,
};

/// Events in the order of their positions.
#[derive(Debug, Clone)]
pub struct Page<E> {
    pub events: Vec<Placed<E>>,
    /// Why there are no more of them, where what follows can't be read.
    pub stop: Option<Stop>,
}

/// An event and its entry's leaf hash, by which a log is told from another one.
#[derive(Debug, Clone)]
pub struct Placed<E> {
    pub recorded: Arc<Recorded<E>>,
    pub leaf: Hash,
}

/// The first position that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub position: u64,
    pub reason: String,
}

/// A log to fold.
#[async_trait]
pub trait Source<E>: Send + Sync + 'static {
    /// Number of committed events.
    fn size(&self) -> u64;

    /// At most `limit` committed events from position `from` on.
    async fn page(&self, from: u64, limit: usize) -> Result<Page<E>, LogError>;

    /// Waits until there are more than `position` events. False: there will be no more.
    async fn beyond(&self, position: u64) -> bool;
}

#[async_trait]
impl<M: Machine> Source<M::Event> for Handle<M> {
    fn size(&self) -> u64 {
        self.head().size
    }

    async fn page(&self, from: u64, limit: usize) -> Result<Page<M::Event>, LogError> {
        let stored = self.entries(from, limit).await?;
        let mut page = Page {
            events: Vec::with_capacity(stored.len()),
            stop: None,
        };
        for row in &stored {
            // An entry that was changed in its table must not become a balance that somebody is shown.
            let decoded = match row.is_intact() {
                true => row.entry.decode().map_err(|e| e.to_string()),
                false => Err("the entry does not match its stored leaf hash".to_owned()),
            };
            match decoded {
                Ok(recorded) => page.events.push(Placed {
                    recorded: Arc::new(recorded),
                    leaf: row.leaf,
                }),
                Err(reason) => {
                    let position = row.position;
                    page.stop = Some(Stop { position, reason });
                    break;
                }
            }
        }
        Ok(page)
    }

    async fn beyond(&self, position: u64) -> bool {
        self.wait_beyond(position).await
    }
}

/// Checks that events follow one another from `from` on; what does not ends the page.
pub(super) fn dense<E: Event>(mut page: Page<E>, from: u64) -> Page<E> {
    let misplaced = page
        .events
        .iter()
        .zip(from..)
        .map(|(event, expected)| (event.recorded.position, expected))
        .find(|(found, expected)| found != expected);
    if let Some((found, expected)) = misplaced {
        let kept = usize::try_from(expected - from).unwrap_or(usize::MAX);
        page.events.truncate(kept);
        page.stop = Some(Stop {
            position: expected,
            reason: format!("the log has position {found} where {expected} is due"),
        });
    }
    page
}
