//! Asking for work, and for what to do with what the node has, until it is stopped or gone.

use std::{sync::Arc, time::Duration};

use aevir_wire::{Ask, ClientError, NodeStanding};
use tokio::task::JoinSet;

use crate::{
    agent::{Ended, Shared},
    challenge,
    directive::follow,
    error::NodeError,
    retry::{Backoff, full},
};

/// How long one ask for leases may wait at the server: short against any policy's time until a silent node counts
/// as offline.
const LEASE_WAIT_MS: u32 = 5_000;
/// Wait after an answer that told only what is known or being done already: it would come again at once.
const NO_NEWS_PAUSE: Duration = Duration::from_millis(250);
/// Standings of a node that mean something to it.
const WORKING: &str = "working";
const LEAVING: &str = "leaving";

/// Asks for work and for what to do with what we have, until the node is stopped and has nothing left, or its time
/// to stop is over.
pub(crate) async fn lease_loop(
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
) -> Result<Ended, NodeError> {
    let shutdown = &shared.shutdown;
    let mut standing = NodeStanding::default();
    let mut backoff = Backoff::default();
    let grace = async {
        shutdown.cancelled().await;
        tracing::info!(grace_s = shared.config.grace.as_secs(), "stopping");
        shared.holdings.ask_again.notify_one();
        tokio::time::sleep(shared.config.grace).await;
    };
    tokio::pin!(grace);
    loop {
        if shutdown.is_cancelled() && shared.holdings.is_empty() {
            return Ok(Ended::Stopped);
        }
        let free = shared
            .admission
            .runs()
            .saturating_sub(shared.holdings.busy());
        let stopping = shutdown.is_cancelled();
        let idle = stopping || !takes_work(&standing);
        let ask = Ask {
            max: if idle { 0 } else { free },
            wait_ms: LEASE_WAIT_MS,
            holding: shared.holdings.named(),
            stopping,
            challenge: shared.challenge.id(),
        };
        let answer = tokio::select! {
            answer = shared.client.lease(&ask) => answer,
            () = shared.holdings.ask_again.notified() => continue,
            () = &mut grace => return Ok(Ended::Stopped),
        };
        match answer {
            Ok(mut leases) => {
                backoff.reset();
                heed_standing(&mut standing, &leases.standing);
                if let Some(challenge) = leases.challenge.take() {
                    challenge::take(shared, challenge, tasks);
                }
                let silent = leases.leases.is_empty() && leases.directives.is_empty();
                if !follow(shared, leases, tasks) && !silent {
                    tokio::select! {
                        () = tokio::time::sleep(NO_NEWS_PAUSE) => {}
                        () = &mut grace => return Ok(Ended::Stopped),
                    }
                }
            }
            // It asked to leave, and is gone now.
            Err(error) if is_disowned(&error) && standing.standing == LEAVING => {
                tracing::info!("the node has left the market");
                return Ok(Ended::Left);
            }
            Err(error) if is_disowned(&error) => return Err(NodeError::Disowned(error)),
            Err(error) => {
                tracing::warn!(error = full(&error), "no answer to the ask for work");
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = &mut grace => return Ok(Ended::Stopped),
                }
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Whether the platform lets the node take work. Servers that do not say so let it.
fn takes_work(standing: &NodeStanding) -> bool {
    matches!(standing.standing.as_str(), "" | WORKING) && standing.suspended.is_none()
}

/// Says what changed in how the node stands.
fn heed_standing(known: &mut NodeStanding, told: &NodeStanding) {
    if known == told {
        return;
    }
    match (&told.suspended, told.standing.as_str()) {
        (Some(reason), _) => {
            tracing::warn!(
                reason,
                "suspended: what runs goes on, and nothing new comes"
            );
        }
        (None, "" | WORKING) if takes_work(known) => {}
        (None, "" | WORKING) => tracing::info!("taking work again"),
        (None, standing) => tracing::info!(standing, "what runs goes on, and nothing new comes"),
    }
    known.clone_from(told);
}

fn is_disowned(error: &ClientError) -> bool {
    match error {
        ClientError::Problem(problem) => matches!(problem.status, 401 | 403),
        ClientError::Transport(_)
        | ClientError::Unexpected { .. }
        | ClientError::Digest { .. }
        | ClientError::File { .. }
        | ClientError::Url(..)
        | ClientError::Json(_)
        | ClientError::Stream(_) => false,
    }
}
