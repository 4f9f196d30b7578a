//! Signs of life: they extend the leases of what runs, and carry what the runs have to say.

use std::{sync::Arc, time::Duration};

use aevir_wire::{Heartbeat, Heartbeats};

use crate::{
    agent::Shared,
    directive::heed,
    retry::{full, may_pass},
    telemetry::HEARTBEAT_BYTES,
};

/// Signs of life of a node without work.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats within a lease: two may get lost.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// How long a node that stops waits until the platform knows it.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(3);

/// Shows life, and tells what the runs have to say.
pub(crate) async fn heartbeats(shared: Arc<Shared>) {
    loop {
        let running = shared.holdings.running();
        let leases = running.iter().map(|(_, work)| work.lease);
        let pause = leases
            .map(|lease| lease / HEARTBEATS_PER_LEASE)
            .min()
            .unwrap_or(IDLE_HEARTBEAT)
            .min(IDLE_HEARTBEAT);
        tokio::select! {
            () = tokio::time::sleep(pause) => beat(&shared).await,
            // A new run may want a shorter pause.
            () = shared.holdings.beat_again.notified() => {}
        }
    }
}

async fn beat(shared: &Shared) {
    let running = shared.holdings.running();
    let budget = HEARTBEAT_BYTES / running.len().max(1);
    let assignments: Vec<_> = running
        .iter()
        .map(|(assignment, work)| work.telemetry.take(assignment, budget))
        .collect();
    let stopping = shared.shutdown.is_cancelled();
    let full_beat = Heartbeats {
        assignments: assignments.clone(),
        stopping,
    };
    match shared.client.heartbeat(&full_beat).await {
        Ok(answer) => heed(shared, answer.directives),
        Err(error) if may_pass(&error) => {
            tracing::debug!(error = full(&error), "a heartbeat did not arrive");
            for ((_, work), heartbeat) in running.iter().zip(assignments) {
                work.telemetry.give_back(heartbeat);
            }
        }
        // Whatever is wrong with what the runs say, their leases must not die of it.
        Err(error) => {
            tracing::warn!(
                error = full(&error),
                "a heartbeat was refused; going on without what the runs said"
            );
            let assignments = assignments.into_iter().map(bare).collect();
            let bare_beat = Heartbeats {
                assignments,
                stopping,
            };
            match shared.client.heartbeat(&bare_beat).await {
                Ok(answer) => heed(shared, answer.directives),
                Err(error) => tracing::warn!(error = full(&error), "a heartbeat did not arrive"),
            }
        }
    }
}

/// A sign of life, and nothing else.
fn bare(heartbeat: Heartbeat) -> Heartbeat {
    Heartbeat {
        note: String::new(),
        logs: Vec::new(),
        metrics: Vec::new(),
        ..heartbeat
    }
}

/// Tells the platform that nobody is here any more, so that it plans nothing on this node until it is silent for long.
pub(crate) async fn say_goodbye(shared: &Shared) {
    let last = Heartbeats {
        assignments: Vec::new(),
        stopping: true,
    };
    let told = tokio::time::timeout(GOODBYE_PATIENCE, shared.client.heartbeat(&last)).await;
    if !matches!(told, Ok(Ok(_))) {
        tracing::debug!("the platform was not told that the node is gone");
    }
}
