//! A task ends without a verdict: cancelled, expired, out of attempts, or without what it depends on.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::{Context, Timestamp};

use super::{
    Decision, inspect,
    posting::posted_for,
    result::{called_off, round_closed},
    review,
};
use crate::{
    amount::Amount,
    command::FailureClass,
    event::{AssignmentWithdrawn, CloseReason, Event, Posting, PostingReason, TaskClosed},
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    rejection::Rejection,
    schedule::reserved_ms,
    state::{Assignment, Phase, Stage, State, Task},
};

/// Nodes of distinct owners that must blame the module before their attempts are paid.
const BLAMING_OWNERS_MIN: usize = 2;

pub(super) fn cancel(state: &State, requester: AccountId, id: TaskId, now: Timestamp) -> Decision {
    let task = state.tasks.get(&id).filter(|t| t.requester == requester);
    let task = task.ok_or(Rejection::UnknownTask { task: id })?;
    if task.review_of.is_some() {
        return Err(Rejection::ReviewTask { task: id });
    }
    if task.inspects.is_some() {
        return Err(Rejection::InspectionTask { task: id });
    }
    match &task.phase {
        Phase::Created | Phase::Queued | Phase::Running => Ok(close(
            state,
            task,
            CloseReason::Cancelled,
            "cancelled by the requester",
            &[],
            None,
            now,
        )),
        Phase::Verifying { .. } | Phase::Inspecting => Err(Rejection::TaskVerifying { task: id }),
        Phase::Settled { .. }
        | Phase::Unmet { .. }
        | Phase::Overturned
        | Phase::Inconclusive
        | Phase::Failed { .. }
        | Phase::Expired
        | Phase::Cancelled { .. } => Err(Rejection::TaskEnded { task: id }),
    }
}

/// A task's deadline has passed. What is sealed of a sample is revealed and judged first, for a hash is no result: what runs is called off.
/// Otherwise it ends.
pub(super) fn expire(state: &State, task: &Task, context: &Context) -> Vec<Event> {
    let is_sealed = |a: &Assignment| a.is_replica() && !a.is_active();
    if !task.assignments.values().any(is_sealed) {
        let detail = "its deadline has passed";
        let reason = CloseReason::Expired;
        return close(state, task, reason, detail, &[], None, context.time);
    }
    let mut events = vec![round_closed(state, task, context).into()];
    events.extend(task.active().map(|run| called_off(task, run)));
    events
}

/// Withdraws what is under way, pays for work done, and gives the rest back.
///
/// `ended` are the assignments that end in the same batch, and `blame` the module-blaming failure that one of them ended with.
pub(super) fn close(
    state: &State,
    task: &Task,
    reason: CloseReason,
    detail: &str,
    ended: &[AssignmentId],
    blame: Option<(NodeId, FailureClass)>,
    now: Timestamp,
) -> Vec<Event> {
    let live = task
        .assignments
        .values()
        .filter(|a| !ended.contains(&a.id) && a.is_replica());
    let mut events: Vec<Event> = live
        .map(|a| {
            AssignmentWithdrawn {
                task: task.id,
                assignment: a.id,
            }
            .into()
        })
        .collect();
    let mut fees = fees(state, task, reason, ended, blame, now);
    // Who had others' payment wait for nothing owes them for that, while his bond lasts.
    let mut left = task.held().0 - fees.values().map(|a| a.0).sum::<i64>();
    for (account, owed) in review::held_up(state, task, now) {
        let part = owed.0.min(left);
        if part > 0 {
            let fee = fees.entry(account).or_default();
            *fee = Amount(fee.0 + part);
            left -= part;
        }
    }
    let fee = Amount(fees.values().map(|a| a.0).sum());
    // Verifiers may have had their part of it already: who compared the results of an earlier round.
    let held = task.held();
    let refund = Amount(held.0 - fee.0);
    if held > Amount::ZERO {
        let mut postings = vec![Posting {
            account: LedgerAccount::Escrow(task.id),
            amount: -held,
        }];
        postings.extend(fees.into_iter().map(|(owner, amount)| Posting {
            account: LedgerAccount::Available(owner),
            amount,
        }));
        if refund > Amount::ZERO {
            postings.push(Posting {
                account: task.payer(),
                amount: refund,
            });
        }
        events.push(posted_for(task.id, PostingReason::Closure, postings));
    }
    events.push(
        TaskClosed {
            task: task.id,
            reason,
            detail: detail.into(),
            fee,
            refund,
        }
        .into(),
    );
    events.extend(review::undecided(task));
    events.extend(inspect::ended(state, task, None));
    events
}

/// What the nodes' owners get for work that ends without a verdict (see `docs/economics.md`):
/// a cancelled or expired task pays each run and each sealed result its part of the price by time, as many as it wanted, and the attempt fee
/// for more, for leases, and for runs that had all their time; a failed one pays the attempt fee for each sealed result, and for each
/// failure that blames the module, once nodes of two owners say the same.
fn fees(
    state: &State,
    task: &Task,
    reason: CloseReason,
    ended: &[AssignmentId],
    blame: Option<(NodeId, FailureClass)>,
    now: Timestamp,
) -> BTreeMap<AccountId, Amount> {
    let attempt = state.policy_of(task).attempt_fee;
    let mut fees: BTreeMap<AccountId, Amount> = BTreeMap::new();
    let mut pay = |node: NodeId, amount: Amount| {
        if let Some(node) = state.nodes.get(&node).filter(|_| amount > Amount::ZERO) {
            let fee = fees.entry(node.owner).or_default();
            *fee = Amount(fee.0 + amount.0);
        }
    };
    // Who sealed a result in an earlier round and did not open it is owed nothing.
    let in_good_faith = |a: &&Assignment| {
        let kept_back = matches!(a.stage, Stage::Committed(_)) && a.round < task.round;
        !kept_back && !ended.contains(&a.id)
    };
    let overtaken = task.assignments.values().filter(|a| a.overtaken);
    overtaken.for_each(|a| pay(a.node, attempt));
    let mut runs: Vec<&Assignment> = task.assignments.values().filter(in_good_faith).collect();
    // What is sealed comes before what runs, and the older before the younger.
    runs.sort_by_key(|a| (a.is_active(), a.leased_at, a.id));
    let mut left = task.replicas_wanted;
    for assignment in runs {
        match (&assignment.stage, reason) {
            // Who drew nodes and sends them away pays for it: else draws could be repeated until they please.
            (
                Stage::Leased
                | Stage::Running { .. }
                | Stage::Committed(_)
                | Stage::Shown(_)
                | Stage::Revealed(_),
                CloseReason::Cancelled | CloseReason::Expired,
            ) => {
                // The escrow holds the price of what the task wanted; a duplicate beyond it is an attempt.
                let amount = if left > 0 {
                    earned(task, assignment, reason, attempt, now)
                } else {
                    attempt
                };
                left = left.saturating_sub(1);
                pay(assignment.node, amount);
            }
            (
                Stage::Committed(_) | Stage::Shown(_) | Stage::Revealed(_),
                CloseReason::AttemptsSpent,
            ) => {
                pay(assignment.node, attempt);
            }
            (
                Stage::Leased
                | Stage::Running { .. }
                | Stage::Committed(_)
                | Stage::Shown(_)
                | Stage::Revealed(_)
                | Stage::Accepted(_)
                | Stage::Refused { .. }
                | Stage::Lost { .. }
                | Stage::Failed { .. }
                | Stage::Returned { .. }
                | Stage::Withdrawn,
                _,
            ) => {}
        }
    }
    if reason == CloseReason::AttemptsSpent {
        let blaming = blaming_nodes(task, blame);
        let owners: BTreeSet<_> = blaming
            .iter()
            .filter_map(|n| state.nodes.get(n))
            .map(|n| n.owner)
            .collect();
        if owners.len() >= BLAMING_OWNERS_MIN {
            blaming.into_iter().for_each(|node| pay(node, attempt));
        }
    }
    fees
}

/// What a run has earned that is called off: its part of the price by the time that it ran, or took for what it sealed, of the time that it
/// may run, which nothing that its node says changes; and never less than the attempt fee. What was sealed and nobody looked at is worth no
/// more: it may be anything. A run that its deadline overtakes although it had all its time is its node's own fault, and gets that fee.
fn earned(
    task: &Task,
    run: &Assignment,
    reason: CloseReason,
    attempt: Amount,
    now: Timestamp,
) -> Amount {
    let until = run.commitment().map_or(now, |sealed| sealed.at);
    let had_its_time = match reason {
        CloseReason::Expired => task.left_all_time(run),
        CloseReason::Cancelled | CloseReason::AttemptsSpent | CloseReason::DependencyFailed => {
            false
        }
    };
    let begun = run.started_at.filter(|_| !had_its_time);
    let ran_ms = begun.map_or(0, |begun| u64::try_from(until.0 - begun.0).unwrap_or(0));
    let limit_ms = reserved_ms(task).max(1);
    let part = i128::from(run.price.0) * i128::from(ran_ms.min(limit_ms)) / i128::from(limit_ms);
    Amount(i64::try_from(part).unwrap_or(run.price.0)).max(attempt)
}

/// The nodes whose failure blames the module in the class that most of them name.
fn blaming_nodes(task: &Task, blame: Option<(NodeId, FailureClass)>) -> Vec<NodeId> {
    let mut by_class: BTreeMap<FailureClass, Vec<NodeId>> = BTreeMap::new();
    let failed = task.assignments.values();
    let failed = failed.filter_map(|a| Some((a.node, a.failure()?)));
    let earlier = failed.filter(|(_, class)| class.blames_module());
    for (node, class) in earlier.chain(blame) {
        by_class.entry(class).or_default().push(node);
    }
    by_class
        .into_values()
        .max_by_key(Vec::len)
        .unwrap_or_default()
}
