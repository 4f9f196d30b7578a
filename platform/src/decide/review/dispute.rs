//! Somebody doubts a verdict: who may, whether anybody could look at it, and what it costs him where nobody did.

use aevir_events::{Context, Timestamp};

use super::super::{
    Decision,
    account::{active_account, check_reason},
};
use crate::{
    amount::Amount,
    event::{Event, Payer, RefusalReason, ReviewCause, ShareRole, TaskCreated},
    evolve::reviewing,
    ids::{AccountId, TaskId},
    ledger::LedgerAccount,
    rejection::Rejection,
    schedule::takers,
    state::{Phase, Review, Stage, State, Task},
};

/// What a day costs whose payment waits for a review that brings no verdict, in parts of it.
const HELD_UP_PARTS: i128 = 1_000;
const DAY_MS: i128 = 86_400_000;

pub(in crate::decide) fn dispute(
    state: &State,
    account: AccountId,
    id: TaskId,
    reason: &str,
    bond: Amount,
    context: &Context,
) -> Decision {
    let task = state.tasks.get(&id).filter(|t| has_part(state, t, account));
    let task = task.ok_or(Rejection::UnknownTask { task: id })?;
    active_account(state, account)?;
    check_reason(reason)?;
    if task.review_of.is_some() {
        return Err(Rejection::ReviewTask { task: id });
    }
    if task.inspects.is_some() {
        return Err(Rejection::InspectionTask { task: id });
    }
    if task.review != Review::None {
        return Err(Rejection::ReviewedAlready { task: id });
    }
    if task.maturing().is_none_or(|at| at <= context.time) {
        return Err(Rejection::NothingToDispute { task: id });
    }
    let definition = &task.definition;
    if !definition.runtime.is_reproducible() || definition.comparison().is_some() {
        return Err(Rejection::NotComparable { task: id });
    }
    // Nobody would run it, and everybody would wait.
    super::super::submit::check_suspension(state, definition.module)?;
    let policy = state.policy_of(task);
    let needed = super::cost(&task.definition, false, &policy).ok_or(Rejection::AmountTooLarge)?;
    if bond < needed {
        return Err(Rejection::BondTooSmall { bond, needed });
    }
    let available = state.ledger.balance(LedgerAccount::Available(account));
    if needed > available {
        return Err(Rejection::BalanceTooSmall { available, needed });
    }
    let reason = reason.to_owned();
    let cause = ReviewCause::Dispute { account, reason };
    let review = TaskId(context.ids().ulid());
    let events = super::open(state, task, cause, (review, needed), context.time);
    check_takers(state, task, &events, context.time)?;
    Ok(events)
}

/// Who may doubt a verdict: who has something to lose by it. That is who paid for it, and who brought a result that it refuses for being
/// another one; not who is paid by it, nor who kept back what he sealed.
fn has_part(state: &State, task: &Task, account: AccountId) -> bool {
    let runs = task.assignments.values();
    let mut outvoted = runs.filter(
        |a| matches!(&a.stage, Stage::Refused { reason, .. } if *reason == RefusalReason::Mismatch),
    );
    task.requester == account
        || outvoted.any(|a| state.nodes.get(&a.node).is_some_and(|n| n.owner == account))
}

/// Nodes of as many other owners as its quorum needs could take the fresh replicas, once they are idle; and of as many as it needs
/// with stake behind them such nodes have that. Else everybody's payment would wait for nothing.
fn check_takers(
    state: &State,
    task: &Task,
    events: &[Event],
    now: Timestamp,
) -> Result<(), Rejection> {
    let created = events.iter().find_map(|event| {
        if let Event::TaskCreated(created) = event {
            Some(created)
        } else {
            None
        }
    });
    let Some(again) = created.and_then(|created| queued(state, task, created, now)) else {
        return Ok(());
    };
    let policy = state.policy_of(&again);
    let quorum = again.definition.sampling().quorum;
    for (staked, needed) in [(false, quorum), (true, again.staked_votes(&policy))] {
        let (found, stake) = takers(state, &again, staked, needed as usize, now);
        if found < needed as usize {
            return Err(Rejection::NoReviewers {
                task: task.id,
                needed,
                found,
                stake,
            });
        }
    }
    Ok(())
}

/// The task that looks at the verdict again, as it will wait for nodes.
fn queued(state: &State, task: &Task, created: &TaskCreated, now: Timestamp) -> Option<Task> {
    let mut again = state.task_of_its_module(created, now);
    again.inputs.clone_from(&task.inputs);
    again.phase = Phase::Queued;
    reviewing(state, &mut again, created.review).ok()?;
    Some(again)
}

/// What the maker of a dispute owes that ended without a verdict, whom: those whose payment waited for it, for each day a part of it, and
/// nodes' owners never less than the attempt fee for a result. In the order in which they are to be paid, while the bond lasts.
pub(in crate::decide) fn held_up(
    state: &State,
    review: &Task,
    now: Timestamp,
) -> Vec<(AccountId, Amount)> {
    let of = review.review_of.as_ref();
    let of = of.filter(|of| matches!(of.payer, Payer::Account(_)));
    let Some(task) = of.and_then(|of| state.tasks.get(&of.task)) else {
        return Vec::new();
    };
    let waited_ms = i128::from(now.0.saturating_sub(review.created_at.0).max(0));
    let attempt = state.policy_of(task).attempt_fee;
    let shares = task.settlement.iter().flat_map(|s| &s.shares);
    let owed = shares.filter_map(|share| {
        let part = i128::from(share.amount.0) * waited_ms / (DAY_MS * HELD_UP_PARTS);
        let part = Amount(i64::try_from(part).unwrap_or(share.amount.0));
        match share.role {
            ShareRole::Compute => Some((share.account?, part.max(attempt))),
            ShareRole::Content | ShareRole::Royalty => Some((share.account?, part)),
            // Went at once.
            ShareRole::Platform | ShareRole::Attempt => None,
        }
    });
    owed.collect()
}
