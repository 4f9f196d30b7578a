//! Doing what the platform says: taking leases, revealing, stopping.

use std::{sync::Arc, time::Duration};

use aevir_wire::{Action, Directive, Lease, Leases, StopReason};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::{
    agent::Shared,
    fault::Fault,
    held::{Held, Work},
    journal::is_plain,
    reveal::reveal,
    work,
};

/// Does what an answer says; `false` when none of it was news.
pub(crate) fn follow(shared: &Arc<Shared>, answer: Leases, tasks: &mut JoinSet<()>) -> bool {
    let mut news = false;
    for lease in answer.leases {
        news |= take(shared, lease, tasks);
    }
    for directive in answer.directives {
        news |= obey(shared, directive, tasks);
    }
    news
}

/// Takes a lease; `false` when it is held already, or none.
fn take(shared: &Arc<Shared>, lease: Lease, tasks: &mut JoinSet<()>) -> bool {
    let assignment = lease.assignment.clone();
    if !is_plain(&assignment) {
        tracing::error!(assignment, "a lease has an id that is no plain word");
        return false;
    }
    let span =
        tracing::info_span!("assignment", %assignment, task = lease.task, node = shared.node);
    if shared.config.fault == Some(Fault::Stall) {
        let fresh = shared.holdings.add(&assignment, Held::Stalled);
        if fresh {
            let shared = Arc::clone(shared);
            tasks.spawn(async move { work::stall(&shared, &assignment).await }.instrument(span));
        }
        return fresh;
    }
    let running = Work {
        stop: shared.halt.child_token(),
        telemetry: Arc::default(),
        lease: Duration::from_millis(lease.lease_ms.into()),
    };
    let fresh = shared
        .holdings
        .add(&assignment, Held::Running(running.clone()));
    if fresh {
        if let Some(pay) = &lease.pay {
            span.in_scope(|| {
                tracing::info!(
                    price = pay.price,
                    max_latency_ms = pay.max_latency_ms,
                    late_price = pay.late_price,
                    deadline = pay.deadline,
                    "leased"
                );
            });
        }
        let shared = Arc::clone(shared);
        tasks.spawn(async move { work::work(&shared, lease, running).await }.instrument(span));
    }
    fresh
}

/// Follows a directive; `false` when there is nothing to do.
fn obey(shared: &Arc<Shared>, directive: Directive, tasks: &mut JoinSet<()>) -> bool {
    let assignment = directive.assignment;
    match (directive.action, shared.holdings.get(&assignment)) {
        (Action::Reveal, Some(Held::Sealed)) => {
            shared.holdings.set(&assignment, Held::Revealing);
            let shared = Arc::clone(shared);
            let span = tracing::info_span!("reveal", assignment, node = shared.node);
            tasks.spawn(async move { reveal(&shared, &assignment).await }.instrument(span));
            true
        }
        (Action::Stop { reason }, Some(held)) => {
            stop(shared, &assignment, reason, held);
            true
        }
        // Nothing to do, done already, or to be done once our own call's answer is here: the platform may say to
        // reveal before the commitment's answer has arrived.
        (Action::Continue, _) | (Action::Reveal | Action::Stop { .. }, _) => false,
    }
}

fn stop(shared: &Shared, assignment: &str, reason: StopReason, held: Held) {
    match reason {
        StopReason::Done => tracing::info!(assignment, "done"),
        StopReason::Withdrawn | StopReason::LeaseEnded | StopReason::Unknown => {
            tracing::info!(assignment, ?reason, "dropping the assignment");
        }
    }
    match held {
        // The task that runs it cleans up behind itself.
        Held::Running(work) => work.stop.cancel(),
        Held::Sealed | Held::Stalled => forget(shared, assignment),
        Held::Revealing => {}
    }
}

/// Drops an assignment and its sealed result.
pub(crate) fn forget(shared: &Shared, assignment: &str) {
    shared.holdings.remove(assignment);
    shared.discard_sealed(assignment);
}

/// Stops what the platform says to stop.
pub(crate) fn heed(shared: &Shared, directives: Vec<Directive>) {
    for directive in directives {
        if let (Action::Stop { reason }, Some(held)) = (
            &directive.action,
            shared.holdings.get(&directive.assignment),
        ) {
            stop(shared, &directive.assignment, *reason, held);
        }
    }
}
