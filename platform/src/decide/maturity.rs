//! The dispute window of a verdict has passed: pending shares become available, and points are earned (formulas:
//! `docs/economics.md`).

use std::collections::BTreeMap;

use super::posting::{posted_for, transfer};
use crate::{
    amount::{Amount, PPM, Points, split},
    event::{
        Event, PointsChanged, PointsReason, Posting, PostingReason, Share, ShareRole, TaskMatured,
        Track,
    },
    ids::{AccountId, AssignmentId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    state::{State, Task},
};

/// A task whose window has passed.
pub(super) fn due(state: &State, id: TaskId) -> Vec<Event> {
    let task = state.tasks.get(&id);
    let settled = task.and_then(|task| Some((task, task.settlement.as_ref()?)));
    settled
        .map(|(task, settlement)| mature(task, &settlement.shares, &state.policy_of(task)))
        .unwrap_or_default()
}

/// What the maturity of a task's shares brings.
pub(super) fn mature(task: &Task, shares: &[Share], policy: &Policy) -> Vec<Event> {
    let mut events = matured(task, shares);
    events.extend(earned_points(task, shares, policy));
    events
}

fn matured(task: &Task, shares: &[Share]) -> Vec<Event> {
    let mut pending: BTreeMap<AccountId, i64> = BTreeMap::new();
    for share in shares {
        match (share.role, share.account) {
            (ShareRole::Compute | ShareRole::Content, Some(owner)) => {
                *pending.entry(owner).or_default() += share.amount.0;
            }
            (ShareRole::Compute | ShareRole::Content, None)
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
        .collect();
    let mut events = Vec::new();
    if !postings.is_empty() {
        events.push(posted_for(task.id, PostingReason::Maturity, postings));
    }
    events.push(TaskMatured { task: task.id }.into());
    events
}

/// Points minted in proportion to the platform share, so that paying oneself costs more than it brings.
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
    let for_content = if of(ShareRole::Content).any(|s| s.amount > Amount::ZERO) {
        minted.share(policy.points.content_ppm)
    } else {
        Amount::ZERO
    };
    // Content points follow the money.
    let weights: Vec<u64> = of(ShareRole::Content)
        .map(|s| s.amount.0.unsigned_abs())
        .collect();
    let content = of(ShareRole::Content).zip(split(for_content, &weights));
    let equal = vec![1; of(ShareRole::Compute).count()];
    let compute = of(ShareRole::Compute).zip(split(Amount(minted.0 - for_content.0), &equal));
    let earned =
        |track, reason, assignment: Option<AssignmentId>, share: &Share, points: Amount| {
            let account = share.account.filter(|_| points.0 > 0)?;
            let delta = Points(points.0);
            Some(Event::from(PointsChanged {
                account,
                track,
                delta,
                reason,
                task: task.id,
                assignment,
            }))
        };
    let assignment_of = |share: &Share| {
        let of_node = task
            .assignments
            .values()
            .find(|a| Some(a.node) == share.node && a.commitment().is_some());
        of_node.map(|a| a.id)
    };
    let compute = compute.filter_map(|(s, p)| {
        earned(
            Track::Compute,
            PointsReason::ResultAccepted,
            assignment_of(s),
            s,
            p,
        )
    });
    let content =
        content.filter_map(|(s, p)| earned(Track::Content, PointsReason::ContentUsed, None, s, p));
    compute.chain(content).collect()
}
