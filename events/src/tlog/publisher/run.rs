//! A publisher at work: each second while the log grows, on demand, and once more at the end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use ulid::Ulid;

use super::{PublishError, Publisher};
use crate::tlog::{checkpoint::Checkpoint, key::VerifierKey, reader::TileReader};

/// How often a growing log is published.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a caller waits for a checkpoint that covers what it asks for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a publisher is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublisherState {
    Publishing,
    /// The last try failed, and the next one may not; the reason.
    Failing(String),
    /// Final: nothing will be signed any more; the reason, and what to do.
    Refused(String),
    /// Final: shut down, or another server leads the log.
    Ended,
}

/// A publisher's state, and the newest checkpoint that it showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherStatus {
    pub latest: Option<Checkpoint>,
    pub state: PublisherState,
}

/// Why there is no checkpoint that covers so much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishNowError {
    #[error("publishing has ended: {0}")]
    Refused(String),
    #[error("the server publishes no more: it is stopping, or another one leads the log")]
    Ended,
    #[error("the log was not published in time: {0}")]
    Late(String),
}

/// What handles and the task have in common.
#[derive(Debug)]
struct Shared {
    status: watch::Sender<PublisherStatus>,
    wake: Notify,
    closing: watch::Sender<bool>,
    reader: Arc<TileReader>,
    key: VerifierKey,
}

/// The way to a running publisher. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PublisherHandle(Arc<Shared>);

impl Publisher {
    /// Publishes as a task of the current tokio runtime, as long as the log's leader of this moment leads it.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn start(self) -> Result<PublisherHandle, PublishError> {
        let leader = self.leader().await?.ok_or(PublishError::Deposed)?;
        let shared = Arc::new(Shared {
            status: watch::Sender::new(PublisherStatus {
                // What was published before is served at once.
                latest: self.edge.as_ref().map(|(stored, _)| stored.clone()),
                state: PublisherState::Publishing,
            }),
            wake: Notify::new(),
            closing: watch::Sender::new(false),
            reader: self.reader(),
            key: self.config.key.verifier().clone(),
        });
        tokio::spawn(run(self, leader, Arc::clone(&shared)));
        Ok(PublisherHandle(shared))
    }
}

impl PublisherHandle {
    /// What the publisher is doing.
    pub fn status(&self) -> PublisherStatus {
        self.0.status.borrow().clone()
    }

    /// Reads what is published.
    pub fn reader(&self) -> &TileReader {
        &self.0.reader
    }

    /// The log's public key and origin.
    pub fn key(&self) -> &VerifierKey {
        &self.0.key
    }

    /// A checkpoint that covers at least `min_size` entries, which the log must have: the newest one, or a new one.
    ///
    /// # Errors
    /// [`PublishNowError`].
    pub async fn publish_now(&self, min_size: u64) -> Result<Checkpoint, PublishNowError> {
        let mut status = self.0.status.subscribe();
        let published = timeout(PATIENCE, async {
            loop {
                match outcome(&status.borrow_and_update(), min_size) {
                    Some(outcome) => return outcome,
                    None => self.0.wake.notify_one(),
                }
                // The sender lives in what this handle holds.
                if status.changed().await.is_err() {
                    return Err(PublishNowError::Ended);
                }
            }
        });
        published.await.unwrap_or_else(|_| {
            Err(PublishNowError::Late(match self.status().state {
                PublisherState::Failing(reason) | PublisherState::Refused(reason) => reason,
                PublisherState::Publishing | PublisherState::Ended => {
                    format!("there is no checkpoint of {min_size} entries yet")
                }
            }))
        })
    }

    /// Publishes once more what the log has by now, and ends.
    pub async fn shutdown(&self) {
        self.0.closing.send_replace(true);
        let mut status = self.0.status.subscribe();
        let ended = status.wait_for(|status| match status.state {
            PublisherState::Refused(_) | PublisherState::Ended => true,
            PublisherState::Publishing | PublisherState::Failing(_) => false,
        });
        if timeout(PATIENCE, ended).await.is_err() {
            tracing::warn!("the last checkpoint was not published in time; the next start does it");
        }
    }
}

/// What a status says to somebody who wants `min_size` entries covered; nothing while it may still come.
fn outcome(status: &PublisherStatus, min_size: u64) -> Option<Result<Checkpoint, PublishNowError>> {
    if let Some(latest) = status.latest.as_ref().filter(|c| c.size >= min_size) {
        return Some(Ok(latest.clone()));
    }
    match &status.state {
        PublisherState::Publishing | PublisherState::Failing(_) => None,
        PublisherState::Refused(reason) => Some(Err(PublishNowError::Refused(reason.clone()))),
        PublisherState::Ended => Some(Err(PublishNowError::Ended)),
    }
}

async fn run(mut publisher: Publisher, leader: Ulid, shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = *closing.borrow_and_update();
        let state = step(&mut publisher, leader, &shared).await;
        let state = if last && !matches!(state, PublisherState::Refused(_)) {
            PublisherState::Ended
        } else {
            state
        };
        let is_final = matches!(state, PublisherState::Refused(_) | PublisherState::Ended);
        let is_failing = matches!(state, PublisherState::Failing(_));
        shared.status.send_modify(|status| status.state = state);
        if is_final {
            return;
        }
        tokio::select! {
            _ = closing.changed() => {}
            // Whoever waits does not make a failing store fail faster.
            () = shared.wake.notified(), if !is_failing => {}
            _ = ticks.tick() => {}
        }
    }
}

/// Publishes if there is something to publish; notes the checkpoint and answers the state after it.
async fn step(publisher: &mut Publisher, leader: Ulid, shared: &Shared) -> PublisherState {
    let latest = shared.status.borrow().latest.clone();
    let level = match &latest {
        None => Ok(false),
        Some(latest) => publisher.is_level(latest).await,
    };
    let published = match level {
        Ok(true) => return PublisherState::Publishing,
        Ok(false) => publisher.publish(leader).await,
        Err(error) => Err(error),
    };
    match published {
        Ok(checkpoint) => {
            tracing::debug!(size = checkpoint.size, root = %checkpoint.root, "published");
            shared
                .status
                .send_modify(|status| status.latest = Some(checkpoint));
            PublisherState::Publishing
        }
        Err(PublishError::Deposed) => {
            tracing::warn!("another server leads the log: this one publishes no more");
            PublisherState::Ended
        }
        Err(error) if error.is_final() => {
            let reason = error.to_string();
            tracing::error!(
                reason,
                "the log is NOT published any more, and nothing is signed"
            );
            PublisherState::Refused(reason)
        }
        Err(error) => {
            let was_failing = matches!(shared.status.borrow().state, PublisherState::Failing(_));
            if !was_failing {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the log is not published; trying again");
            }
            PublisherState::Failing(error.to_string())
        }
    }
}
