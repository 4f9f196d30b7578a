//! Signs of life: they extend the leases of what runs, and carry what the runs have to say.

use std::{sync::Arc, time::Duration};

use aevir_wire::{Heartbeat, Heartbeats};
use tokio::time::Instant;

use crate::{
    agent::Shared,
    directive::heed,
    held::{Holdings, Work},
    retry::{full, may_pass},
    telemetry::HEARTBEAT_BYTES,
};

/// Signs of life of a node without work.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats within a lease: two may get lost.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// How long a run that has ended may take to tell what it had still to say; the platform waits for how it ended.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);
/// Heartbeats for that, of [`FLUSH_BYTES`] each: more than the lines that wait take.
const FLUSH_BEATS_MAX: usize = 5;
/// Bytes of lines, and of metrics, of such a heartbeat: below the 4 MiB of JSON that the server takes.
const FLUSH_BYTES: usize = 1024 * 1024;
/// How long a node that stops waits until the platform knows it.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(3);

/// Shows life, and tells what the runs have to say.
pub(crate) async fn heartbeats(shared: Arc<Shared>) {
    let mut last = Instant::now();
    loop {
        last = due(&shared.holdings, last).await;
        beat(&shared).await;
    }
}

/// Waits for the next heartbeat after the `last`, and answers when it is.
async fn due(holdings: &Holdings, last: Instant) -> Instant {
    loop {
        let running = holdings.running();
        let next = after(last, running.iter().map(|(_, work)| work.lease));
        tokio::select! {
            () = tokio::time::sleep_until(next) => return Instant::now(),
            // A new run may want a shorter pause. It never makes the others' longer: the pause counts from the last heartbeat.
            () = holdings.beat_again.notified() => {}
        }
    }
}

/// When the heartbeat after the `last` is due, for runs with these leases.
fn after(last: Instant, leases: impl Iterator<Item = Duration>) -> Instant {
    let pauses = leases.map(|lease| lease / HEARTBEATS_PER_LEASE);
    last + pauses.fold(IDLE_HEARTBEAT, Duration::min)
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

/// Tells what a run that has ended had still to say, before the platform hears how it ended: afterwards nobody listens to it. What takes
/// longer than there is time for is counted instead.
pub(crate) async fn flush(shared: &Shared, assignment: &str, work: &Work) {
    let told = tokio::time::timeout(FLUSH_PATIENCE, async {
        for _ in 0..FLUSH_BEATS_MAX {
            if !work.telemetry.is_waiting() {
                return;
            }
            last_words(shared, assignment, work).await;
        }
    });
    let told = told.await;
    if work.telemetry.is_waiting() && told.is_ok() {
        work.telemetry.drop_waiting();
        let _ = tokio::time::timeout(FLUSH_PATIENCE, last_words(shared, assignment, work)).await;
    }
}

/// One heartbeat of one run.
async fn last_words(shared: &Shared, assignment: &str, work: &Work) {
    let beat = work.telemetry.take(assignment, FLUSH_BYTES);
    let beats = Heartbeats {
        assignments: vec![beat.clone()],
        stopping: shared.shutdown.is_cancelled(),
    };
    // What is to be done about the run is told again: to the answer on how it ended.
    if let Err(error) = shared.client.heartbeat(&beats).await {
        tracing::debug!(error = full(&error), "a run's last words did not arrive");
        work.telemetry.give_back(beat);
    }
}

/// A sign of life, and nothing else.
fn bare(heartbeat: Heartbeat) -> Heartbeat {
    let lines = u32::try_from(heartbeat.logs.len()).unwrap_or(u32::MAX);
    Heartbeat {
        note: String::new(),
        logs_dropped: heartbeat.logs_dropped.saturating_add(lines),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_run_never_puts_a_heartbeat_off() {
        let (last, second) = (Instant::now(), Duration::from_secs(1));
        let due = |leases: &[u32]| after(last, leases.iter().map(|s| *s * second)) - last;
        assert_eq!(due(&[]), IDLE_HEARTBEAT);
        assert_eq!(due(&[9]), 3 * second);
        assert_eq!(due(&[9, 60]), 3 * second);
        assert_eq!(due(&[9, 60, 3]), second);
    }
}
