//! What a review has shown, and what follows for the task that it is about.

use std::collections::BTreeMap;

use aevir_events::Timestamp;

use super::super::{
    posting::{posted_for, transfer},
    settle, stake,
};
use crate::{
    amount::Amount,
    event::{
        Blamed, ContentSuspended, Event, NodeSlashed, Posting, PostingReason, RefusalReason,
        ReviewCause, ReviewOutcome, ShareRole, TaskReviewed,
    },
    ids::AssignmentId,
    ledger::LedgerAccount,
    state::{Assignment, Review, ReviewOf, State, Task},
};

/// What the fresh replicas of a review show.
#[derive(Debug, Clone, Copy)]
pub(in crate::decide) enum Shown {
    /// They agree on the reviewed result.
    TheSame,
    /// They agree on another one.
    Another {
        /// One of them made the checkpoint that runs from zero are to make.
        has_remade: bool,
    },
    /// They agree on nothing, and not with the one word that the verdict rests on, which was counted among them.
    Nothing,
    /// Too few of them were shown, or agree.
    TooLittle,
}

/// What the reviewing task's verdict means for the other, with what it cost. `before` is what was decided of the reviewing task.
pub(in crate::decide) fn decided(
    state: &State,
    review: &Task,
    (shown, fee): (Shown, Amount),
    before: &[Event],
    now: Timestamp,
) -> Vec<Event> {
    let Some(of) = &review.review_of else {
        return Vec::new();
    };
    let Some(task) = state.tasks.get(&of.task) else {
        return Vec::new();
    };
    match shown {
        Shown::TooLittle => undecided(review),
        Shown::Nothing => unconfirmed(state, (task, review), of, fee),
        Shown::TheSame => vec![told(of, review, ReviewOutcome::Upheld)],
        Shown::Another { has_remade } => {
            let fault = Fault::of(task, of, has_remade);
            overturned(state, (task, review), of, (fault, fee), before, now)
        }
    }
}

/// The sample is complete, and has no quorum: as with any such sample nobody is known to be wrong, and nobody is paid for a result that
/// nobody confirms.
fn unconfirmed(
    state: &State,
    (task, review): (&Task, &Task),
    of: &ReviewOf,
    fee: Amount,
) -> Vec<Event> {
    let mut events = vec![told(of, review, ReviewOutcome::Unconfirmed)];
    // What it cost is made good to a node that did nothing to have it made.
    let advanced = match &task.review {
        Review::Open {
            cause: ReviewCause::Unvouched { .. },
            ..
        } => fee,
        Review::Open { .. } | Review::None | Review::Due { .. } | Review::Ended { .. } => {
            Amount::ZERO
        }
    };
    events.extend(reversal(state, (task, review), Amount::ZERO, advanced));
    events.extend(model_suspended(state, task));
    events
}

/// Too little was shown: the verdict stands.
pub(in crate::decide) fn undecided(review: &Task) -> Vec<Event> {
    let of = review.review_of.iter();
    of.map(|of| told(of, review, ReviewOutcome::Undecided))
        .collect()
}

/// An outcome for which nobody answers.
fn told(of: &ReviewOf, review: &Task, outcome: ReviewOutcome) -> Event {
    TaskReviewed {
        task: of.task,
        review: review.id,
        outcome,
        refused: Vec::new(),
        blamed: Vec::new(),
        doubted: Vec::new(),
    }
    .into()
}

/// Whose work is wrong where a result is refuted.
struct Fault<'a> {
    /// Runs whose nodes answer for it.
    blamed: Vec<&'a Assignment>,
    /// Runs that may be the reason.
    doubted: Vec<AssignmentId>,
}

impl<'a> Fault<'a> {
    /// The makers of the accepted results answer for them. A run that went on from what another node had made does not: a run from zero makes
    /// the same checkpoints everywhere, so that the first one, which no fresh run has made, is its author's fault; and where one has, nothing
    /// tells a wrong run from a module that goes on otherwise than it began.
    fn of(task: &'a Task, of: &ReviewOf, has_remade: bool) -> Self {
        let accepted = task.verdict.iter().flat_map(|v| &v.accepted);
        let accepted = accepted.filter_map(|id| task.assignments.get(id));
        let (mut blamed, mut doubted) = (Vec::new(), Vec::new());
        for run in accepted {
            let first = of.expects.and_then(|first| task.assignments.get(&first.by));
            let own = |author: &Assignment| author.node == run.node;
            match first {
                _ if !task.took_over(run) => blamed.push(run),
                Some(first) if !has_remade && own(first) => blamed.push(run),
                Some(first) if !has_remade => blamed.push(first),
                Some(_) | None => {
                    let is_cleared =
                        |author: &Assignment| of.expects.is_some_and(|e| e.by == author.id);
                    let author = task
                        .rests_on(run)
                        .into_iter()
                        .next()
                        .map(|(author, _)| author);
                    let author = author.filter(|author| !own(author) && !is_cleared(author));
                    doubted.push(run.id);
                    doubted.extend(author.map(|author| author.id));
                }
            }
        }
        Self { blamed, doubted }
    }
}

/// Fresh results agree on another one. Its makers lose what they locked for theirs, out of which the review is paid, and what was pending
/// for them; the contents were used, and are paid.
fn overturned(
    state: &State,
    (task, review): (&Task, &Task),
    of: &ReviewOf,
    (fault, fee): (Fault<'_>, Amount),
    before: &[Event],
    now: Timestamp,
) -> Vec<Event> {
    let blamed = blamed(state, task, &fault, now);
    let refused = task.verdict.iter().flat_map(|v| &v.accepted).copied();
    let reviewed = TaskReviewed {
        task: of.task,
        review: review.id,
        outcome: ReviewOutcome::Overturned,
        refused: refused.collect(),
        blamed: blamed.iter().map(|(_, blamed, _)| *blamed).collect(),
        doubted: fault.doubted,
    };
    let mut events = vec![reviewed.into()];
    // What the review cost its payer, as far as it is not made good. A node that was caught pays for it itself.
    let mut owed = match of.payer {
        crate::event::Payer::Account(_) => fee,
        crate::event::Payer::Stake(_) => Amount::ZERO,
    };
    for (assignment, blamed, strikes) in &blamed {
        if blamed.slashed <= Amount::ZERO {
            continue;
        }
        let slashed = NodeSlashed {
            node: assignment.node,
            task: task.id,
            assignment: assignment.id,
            amount: blamed.slashed,
            reason: RefusalReason::Mismatch,
            strikes: *strikes,
        };
        events.push(slashed.into());
        let back = owed.min(blamed.slashed);
        owed = Amount(owed.0 - back.0);
        events.push(slash(task, review, assignment, blamed.slashed, back));
    }
    events.extend(reversal(state, (task, review), owed, Amount::ZERO));
    let ids: Vec<AssignmentId> = blamed.iter().map(|(a, ..)| a.id).collect();
    events.extend(settle::refused_points(state, task, &ids, before));
    events.extend(stake::shut_out(
        state,
        task,
        &ids,
        &state.policy_of(task),
        now,
    ));
    events.extend(model_suspended(state, task));
    events
}

/// The runs that are to blame, with what each costs its node and the node's strikes from here on.
fn blamed<'a>(
    state: &State,
    task: &Task,
    fault: &Fault<'a>,
    now: Timestamp,
) -> Vec<(&'a Assignment, Blamed, u32)> {
    let policy = state.policy_of(task);
    let runs = fault.blamed.iter().copied();
    runs.filter_map(|a| {
        let node = state.nodes.get(&a.node)?;
        let strikes = node.pledges.strikes_at(now, policy.stake).saturating_add(1);
        // Of a GPU one mismatch never costs stake.
        let is_free =
            policy.stake.is_free(strikes, node.pledges.accepted) && a.hardware.gpu().is_some();
        let slashed = if is_free { Amount::ZERO } else { a.stake };
        let blamed = Blamed {
            assignment: a.id,
            slashed,
        };
        Some((a, blamed, strikes))
    })
    .collect()
}

/// Slashed stake makes good what the review cost; the rest is the treasury's.
fn slash(
    task: &Task,
    review: &Task,
    assignment: &Assignment,
    slashed: Amount,
    back: Amount,
) -> Event {
    let stake = LedgerAccount::Stake(assignment.node);
    let rest = Amount(slashed.0 - back.0);
    let parts = [(review.payer(), back), (LedgerAccount::Treasury, rest)];
    let parts = parts.into_iter().filter(|(_, part)| *part > Amount::ZERO);
    let postings: Vec<Posting> = parts
        .flat_map(|(to, part)| transfer(stake, to, part))
        .collect();
    posted_for(task.id, PostingReason::Slash, postings)
}

/// What was pending for the results goes back to who paid, and before that to who had the review made, as far as no stake
/// made it good; so does the platform's share, as far as the treasury has it. What is pending for contents is paid out, and what was held
/// of the refund is the requester's but for what a node advanced.
fn reversal(
    state: &State,
    (task, review): (&Task, &Task),
    mut owed: Amount,
    advanced: Amount,
) -> Option<Event> {
    let mut moved: BTreeMap<LedgerAccount, i64> = BTreeMap::new();
    let shares = task.settlement.iter().flat_map(|s| &s.shares);
    for share in shares.filter(|share| share.amount > Amount::ZERO) {
        if share.role == ShareRole::Platform {
            let left = state.ledger.balance(LedgerAccount::Treasury);
            let back = share.amount.min(left);
            *moved.entry(LedgerAccount::Treasury).or_default() -= back.0;
            *moved.entry(task.payer()).or_default() += back.0;
        }
        let Some(owner) = share.account else {
            continue;
        };
        let (pending, amount) = (LedgerAccount::Pending(owner), share.amount.0);
        match share.role {
            ShareRole::Compute => {
                let back = owed.min(share.amount);
                owed = Amount(owed.0 - back.0);
                *moved.entry(pending).or_default() -= amount;
                *moved.entry(review.payer()).or_default() += back.0;
                *moved.entry(task.payer()).or_default() += amount - back.0;
            }
            ShareRole::Content | ShareRole::Royalty => {
                *moved.entry(pending).or_default() -= amount;
                *moved.entry(LedgerAccount::Available(owner)).or_default() += amount;
            }
            // Went at once.
            ShareRole::Platform | ShareRole::Attempt => {}
        }
    }
    let held = task.settlement.as_ref().map_or(Amount::ZERO, |s| s.held);
    let back = advanced.min(held);
    let waiting = LedgerAccount::Pending(task.requester);
    *moved.entry(waiting).or_default() -= held.0;
    *moved.entry(review.payer()).or_default() += back.0;
    *moved.entry(task.payer()).or_default() += held.0 - back.0;
    let postings: Vec<Posting> = moved
        .into_iter()
        .filter(|(_, amount)| *amount != 0)
        .map(|(account, amount)| Posting {
            account,
            amount: Amount(amount),
        })
        .collect();
    (!postings.is_empty()).then(|| posted_for(task.id, PostingReason::Reversal, postings))
}

/// Nobody builds on a model whose training was refuted, until an administrator has looked at it.
fn model_suspended(state: &State, task: &Task) -> Option<Event> {
    let content = task.model?;
    let known = state.contents.get(&content)?;
    let reason = format!(
        "the verdict on task {}, which made it, was overturned",
        task.id
    );
    known
        .suspended
        .is_none()
        .then(|| ContentSuspended { content, reason }.into())
}
