//! The dispute window of a verdict has passed: pending shares become available, and points are earned (formulas:
//! `docs/economics.md`).

use std::collections::BTreeMap;

use super::posting::{posted_for, transfer};
use crate::{
    amount::{Amount, PPM, Points, split},
    event::{
        Event, PointsChanged, PointsReason, Posting, PostingReason, ReviewCause, Share, ShareRole,
        TaskMatured, Track,
    },
    ids::{AccountId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    state::{Assignment, Review, State, Task},
};

/// A task whose window has passed.
pub(super) fn due(state: &State, id: TaskId) -> Vec<Event> {
    let task = state.tasks.get(&id);
    let settled = task.and_then(|task| Some((task, task.settlement.as_ref()?)));
    settled
        .map(|(task, settlement)| {
            let back = released(state, task, settlement.held);
            mature(task, &settlement.shares, back, &state.policy_of(task))
        })
        .unwrap_or_default()
}

/// Where what was held of the refund goes: what a second look cost that nothing but time called for to the node that advanced it, and the
/// rest to the requester.
fn released(state: &State, task: &Task, held: Amount) -> Vec<Posting> {
    let (node, cost) = match &task.review {
        Review::Ended { by, cause, .. } => match cause {
            ReviewCause::Unvouched { node } => (Some(*node), cost_of(state, *by).min(held)),
            ReviewCause::Caught { .. } | ReviewCause::Dispute { .. } => (None, Amount::ZERO),
        },
        Review::None | Review::Due { .. } | Review::Open { .. } => (None, Amount::ZERO),
    };
    let from = LedgerAccount::Pending(task.requester);
    let rest = Amount(held.0 - cost.0);
    let to = [
        node.map(|node| (LedgerAccount::Stake(node), cost)),
        Some((LedgerAccount::Available(task.requester), rest)),
    ];
    let to = to.into_iter().flatten();
    let to = to.filter(|(_, amount)| *amount > Amount::ZERO);
    to.flat_map(|(to, amount)| transfer(from, to, amount))
        .collect()
}

/// What a review cost.
fn cost_of(state: &State, review: TaskId) -> Amount {
    let review = state.tasks.get(&review);
    let settlement = review.and_then(|review| review.settlement.as_ref());
    settlement.map_or(Amount::ZERO, |settlement| settlement.fee)
}

/// What the maturity of a task's shares brings, with what is released of the refund.
pub(super) fn mature(
    task: &Task,
    shares: &[Share],
    released: Vec<Posting>,
    policy: &Policy,
) -> Vec<Event> {
    let mut events = matured(task, shares, released);
    events.extend(earned_points(task, shares, policy));
    events
}

fn matured(task: &Task, shares: &[Share], released: Vec<Posting>) -> Vec<Event> {
    let mut pending: BTreeMap<AccountId, i64> = BTreeMap::new();
    for share in shares {
        match (share.role, share.account) {
            (ShareRole::Compute | ShareRole::Content | ShareRole::Royalty, Some(owner)) => {
                *pending.entry(owner).or_default() += share.amount.0;
            }
            (ShareRole::Compute | ShareRole::Content | ShareRole::Royalty, None)
            | (ShareRole::Platform | ShareRole::Attempt, _) => {}
        }
    }
    let postings: Vec<Posting> = pending
        .into_iter()
        .filter(|(_, amount)| *amount != 0)
        .flat_map(|(owner, amount)| {
            let (from, to) = (
                LedgerAccount::Pending(owner),
                LedgerAccount::Available(owner),
            );
            transfer(from, to, Amount(amount))
        })
        .chain(released)
        .collect();
    let mut events = Vec::new();
    if !postings.is_empty() {
        events.push(posted_for(task.id, PostingReason::Maturity, postings));
    }
    events.push(TaskMatured { task: task.id }.into());
    events
}

/// Points minted in proportion to the platform share, so that paying oneself costs more than it brings; of what that allows, results
/// earn by work, quality and timeliness.
fn earned_points(task: &Task, shares: &[Share], policy: &Policy) -> Vec<Event> {
    let platform: i64 = shares
        .iter()
        .filter(|s| s.role == ShareRole::Platform)
        .map(|s| s.amount.0)
        .sum();
    let minted = i128::from(platform) * i128::from(policy.points.per_aev_of_platform_share)
        / i128::from(PPM);
    let minted = Amount(i64::try_from(minted).unwrap_or(i64::MAX));
    let of = |role: ShareRole| shares.iter().filter(move |s| s.role == role);
    let by_contents = || {
        shares.iter().filter(|s| match s.role {
            ShareRole::Content | ShareRole::Royalty => true,
            ShareRole::Compute | ShareRole::Platform | ShareRole::Attempt => false,
        })
    };
    let for_content = if by_contents().any(|s| s.amount > Amount::ZERO) {
        minted.share(policy.points.content_ppm)
    } else {
        Amount::ZERO
    };
    // Content points follow the money.
    let weights: Vec<u64> = by_contents().map(|s| s.amount.0.unsigned_abs()).collect();
    let content = by_contents().zip(split(for_content, &weights));
    let mut runs: Vec<(&Share, Option<&Assignment>)> = of(ShareRole::Compute)
        .map(|share| (share, run_of(task, share)))
        .collect();
    // What remains goes by the runs' ids, and not by which of them a comparison had for its centre.
    runs.sort_by_key(|(_, run)| run.map(|run| run.id));
    let work: Vec<u64> = runs.iter().map(|(_, run)| work(*run)).collect();
    let compute = split(Amount(minted.0 - for_content.0), &work);
    let repeated = runs.len() > 1;
    let compute = runs
        .into_iter()
        .zip(compute)
        .filter_map(|((share, run), most)| {
            let points = run.map_or(most, |run| earned_of(task, run, (most, repeated), policy));
            let changed = PointsChanged {
                account: share.account?,
                track: task.track(),
                delta: Points(points.0),
                reason: PointsReason::ResultAccepted,
                task: task.id,
                assignment: run.map(|run| run.id),
            };
            Some(changed)
        });
    // Once for each account, in the order of its first share: one that has a part in each of a task's contents has hundreds of them.
    let mut owners: Vec<(AccountId, i64)> = Vec::new();
    for (share, points) in content {
        let Some(owner) = share.account else { continue };
        match owners.iter_mut().find(|(of, _)| *of == owner) {
            Some((_, sum)) => *sum += points.0,
            None => owners.push((owner, points.0)),
        }
    }
    let content = owners.into_iter().map(|(account, points)| PointsChanged {
        account,
        track: Track::Content,
        delta: Points(points),
        reason: PointsReason::ContentUsed,
        task: task.id,
        assignment: None,
    });
    let earned = compute.chain(content).filter(|c| c.delta.0 > 0);
    earned.map(Event::from).collect()
}

/// The run that a compute share is for.
fn run_of<'a>(task: &'a Task, share: &Share) -> Option<&'a Assignment> {
    let mut runs = task.assignments.values();
    runs.find(|a| Some(a.node) == share.node && a.commitment().is_some())
}

/// Work units of a result: what it was worth before it was late.
fn work(run: Option<&Assignment>) -> u64 {
    run.map_or(0, |run| run.price.0.unsigned_abs())
}

/// Work units times quality times timeliness, each of which takes something off.
fn earned_of(
    task: &Task,
    run: &Assignment,
    (most, repeated): (Amount, bool),
    policy: &Policy,
) -> Amount {
    let mut points = most;
    if !repeated {
        points = points.share(policy.points.unrepeated_ppm);
    }
    if task.missed_latency(run) {
        points = points.share(policy.points.late_ppm);
    }
    points
}
