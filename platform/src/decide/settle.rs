//! Money of a verdict, and the points that it costs, in the same batch as the verdict (formulas: `docs/economics.md`).

use std::collections::BTreeMap;

use aevir_events::Timestamp;

use super::{maturity, posting::posted_for, review, stake, uses};
use crate::{
    amount::{Amount, Points},
    event::{
        Event, PointsChanged, PointsReason, Posting, PostingReason, Share, ShareRole, TaskSettled,
        TaskVerified, Verdict,
    },
    ids::{AccountId, AssignmentId, NodeId},
    ledger::LedgerAccount,
    policy::{Market, Policy},
    state::{Assignment, State, Task},
};

/// What a verdict is settled by, beside itself.
pub(super) struct Opened<'a> {
    /// The nodes whose replicas were opened.
    pub(super) revealed: &'a [NodeId],
    /// Those whose begun runs end with the verdict.
    pub(super) called_off: &'a [NodeId],
    /// The price by what the accepted replicas used, where the task pays by that.
    pub(super) metered: Option<Amount>,
    /// What is owed to those whose payment waited for it, as far as there is left.
    pub(super) held_up: Vec<(AccountId, Amount)>,
}

/// Settles a verdict.
pub(super) fn settle(
    state: &State,
    task: &Task,
    verified: &TaskVerified,
    opened: &Opened<'_>,
    now: Timestamp,
) -> Vec<Event> {
    let policy = state.policy_of(task);
    let mut shares = match verified.verdict {
        Verdict::Passed | Verdict::Unmet => {
            result_shares(state, task, verified, opened.metered, &policy)
        }
        Verdict::Inconclusive => attempt_shares(state, opened.revealed, &policy),
    };
    let mut overtaken = overtaken(task);
    overtaken.extend(opened.called_off);
    shares.extend(attempt_shares(state, &overtaken, &policy));
    let mut fee: i64 = shares.iter().map(|s| s.amount.0).sum();
    for (account, owed) in &opened.held_up {
        let part = Amount(owed.0.min(task.held().0 - fee));
        if part > Amount::ZERO {
            fee += part.0;
            shares.push(waited(*account, part));
        }
    }
    let fee = Amount(fee);
    let refund = Amount(task.held().0 - fee.0);
    let held = held(task, verified, refund, &policy);
    let mut events = Vec::new();
    if task.held() > Amount::ZERO {
        let postings = settlement_postings(task, &shares, (refund, held));
        events.push(posted_for(task.id, PostingReason::Settlement, postings));
    }
    let private_market = policy.market == Market::Private;
    let matures_at = match verified.verdict {
        Verdict::Passed | Verdict::Unmet => Some(now.plus_ms(policy.settlement.window_ms.into())),
        Verdict::Inconclusive => None,
    };
    events.push(
        TaskSettled {
            task: task.id,
            fee,
            refund,
            held,
            shares: shares.clone(),
            private_market,
            matures_at,
        }
        .into(),
    );
    let blamed = task.blamed(&verified.accepted, &verified.refused, &policy);
    let refused = refused_points(state, task, &blamed, &events);
    events.extend(refused);
    events.extend(stake::slashes(
        state,
        task,
        (verified, &blamed),
        &policy,
        now,
    ));
    events.extend(stake::shut_out(state, task, &blamed, &policy, now));
    // Without a window the shares mature at once.
    if matures_at.is_some_and(|at| at <= now) {
        events.extend(maturity::mature(task, &shares, Vec::new(), &policy));
    }
    events
}

/// Whose payment waited for a review that shows nothing gets this at once.
fn waited(account: AccountId, amount: Amount) -> Share {
    Share {
        role: ShareRole::Attempt,
        account: Some(account),
        node: None,
        content: None,
        amount,
    }
}

/// Of what comes back, what a second look at a result that stood alone may cost: it waits until that matures. Where third parties refute
/// it nothing matures, and nothing waits.
fn held(task: &Task, verified: &TaskVerified, refund: Amount, policy: &Policy) -> Amount {
    if verified.verdict == Verdict::Inconclusive || !review::must_be_vouched(task, policy) {
        return Amount::ZERO;
    }
    let cost = review::cost(&task.definition, true, policy);
    cost.map_or(refund, |cost| cost.min(refund))
}

/// Compute to each accepted replica; content and platform shares on top of the compute fee. Of what came too late, the
/// requester's terms leave less: of the price of nodes that took too long, or of the platform's share where none did.
fn result_shares(
    state: &State,
    task: &Task,
    verified: &TaskVerified,
    metered: Option<Amount>,
    policy: &Policy,
) -> Vec<Share> {
    let economics = &task.definition.economics;
    let price = |run: &Assignment| metered.unwrap_or(run.price);
    let less = |amount: Amount| amount.less(economics.late_refund_ppm);
    let accepted: Vec<&Assignment> = verified
        .accepted
        .iter()
        .filter_map(|id| task.assignments.get(id))
        .collect();
    let mut shares: Vec<Share> = accepted
        .iter()
        .filter_map(|a| Some((state.nodes.get(&a.node)?.owner, a)))
        .map(|(owner, a)| Share {
            role: ShareRole::Compute,
            account: Some(owner),
            node: Some(a.node),
            content: None,
            amount: if task.missed_latency(a) {
                less(price(a))
            } else {
                price(a)
            },
        })
        .collect();
    if task.review_of.is_some() {
        // Neither contents nor the platform earn by a second look.
        return shares;
    }
    // Contents and the platform are paid by the full price: they were not late.
    let compute = Amount(accepted.iter().map(|run| price(run).0).sum());
    // What verifiers use earned by the run that they look at.
    if task.inspects.is_none() {
        shares.extend(uses::shares(state, task, compute, policy));
    }
    let platform = compute.share(policy.platform_share_ppm);
    let waited = verified.late && !accepted.iter().any(|a| task.missed_latency(a));
    let amount = if waited { less(platform) } else { platform };
    shares.push(Share {
        role: ShareRole::Platform,
        account: None,
        node: None,
        content: None,
        amount,
    });
    shares
}

/// The nodes of runs that had begun when another result was taken for their replica.
fn overtaken(task: &Task) -> Vec<NodeId> {
    let runs = task.assignments.values().filter(|a| a.overtaken);
    runs.map(|a| a.node).collect()
}

/// Nodes that never agreed, or were overtaken, get the attempt fee, and nobody is blamed.
fn attempt_shares(state: &State, revealed: &[NodeId], policy: &Policy) -> Vec<Share> {
    let owners = revealed
        .iter()
        .filter_map(|node| Some((state.nodes.get(node)?.owner, *node)));
    owners
        .map(|(owner, node)| Share {
            role: ShareRole::Attempt,
            account: Some(owner),
            node: Some(node),
            content: None,
            amount: policy.attempt_fee,
        })
        .collect()
}

fn settlement_postings(
    task: &Task,
    shares: &[Share],
    (refund, held): (Amount, Amount),
) -> Vec<Posting> {
    let mut credits: BTreeMap<LedgerAccount, i64> = BTreeMap::new();
    for share in shares {
        let account = match (share.role, share.account) {
            (ShareRole::Compute | ShareRole::Content | ShareRole::Royalty, Some(owner)) => {
                LedgerAccount::Pending(owner)
            }
            // No verdict, so nothing that a dispute could reverse.
            (ShareRole::Attempt, Some(owner)) => LedgerAccount::Available(owner),
            (ShareRole::Platform, _)
            | (
                ShareRole::Compute | ShareRole::Content | ShareRole::Royalty | ShareRole::Attempt,
                None,
            ) => LedgerAccount::Treasury,
        };
        *credits.entry(account).or_default() += share.amount.0;
    }
    *credits.entry(task.payer()).or_default() += refund.0 - held.0;
    let waiting = LedgerAccount::Pending(task.requester);
    *credits.entry(waiting).or_default() += held.0;
    let escrow = Posting {
        account: LedgerAccount::Escrow(task.id),
        amount: -task.held(),
    };
    let credits = credits.into_iter().filter(|(_, amount)| *amount != 0);
    std::iter::once(escrow)
        .chain(credits.map(|(account, amount)| Posting {
            account,
            amount: Amount(amount),
        }))
        .collect()
}

/// A refused result costs its owner part of the points of its track, and never more than there are after what was `decided` before it in
/// the same command.
pub(super) fn refused_points(
    state: &State,
    task: &Task,
    refused: &[AssignmentId],
    decided: &[Event],
) -> Vec<Event> {
    let policy = state.policy_of(task);
    let taken = |account: AccountId| -> i64 {
        let changes = decided.iter().filter_map(|event| match event {
            Event::PointsChanged(e) => Some(e),
            _ => None,
        });
        let of_it = changes.filter(|e| (e.account, e.track) == (account, task.track()));
        of_it.map(|e| e.delta.0).sum()
    };
    let mut left: BTreeMap<AccountId, i64> = BTreeMap::new();
    let mut events = Vec::new();
    for id in refused {
        let node = task
            .assignments
            .get(id)
            .and_then(|a| state.nodes.get(&a.node));
        let Some(account) = node.map(|n| n.owner) else {
            continue;
        };
        let balance = left
            .entry(account)
            .or_insert_with(|| state.points(account, task.track()) + taken(account));
        let part = Amount(*balance).share(policy.points.refused_ppm).0;
        let loss = part.max(policy.points.refused_min.0).min(*balance);
        *balance -= loss;
        if loss > 0 {
            let changed = PointsChanged {
                account,
                track: task.track(),
                delta: Points(-loss),
                reason: PointsReason::ResultRefused,
                task: task.id,
                assignment: Some(*id),
            };
            events.push(changed.into());
        }
    }
    events
}
