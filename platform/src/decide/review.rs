//! A verdict is looked at again: because somebody doubts it and puts a bond up, or because it rests on one word of a node that was
//! caught. Another task runs it again, on nodes of owners that had no part in it, and its end decides (formulas: `docs/economics.md`,
//! Disputes and reviews).

mod dispute;
mod outcome;

use aevir_events::Timestamp;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

use super::posting::{posted_for, transfer};
use crate::{
    amount::Amount,
    definition::{Method, Model, Pricing, Privacy, Sampling, TaskDefinition},
    digest::Digest,
    event::{
        Event, Payer, PostingReason, ReviewCause, ReviewOpened, ReviewOrigin, TaskCreated,
        TaskQueued,
    },
    hexbytes::Hex,
    ids::{NodeId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    state::{Node, Review, Sample, State, Task},
};

pub(super) use dispute::{dispute, held_up};
pub(super) use outcome::{Shown, decided, undecided};

/// Fresh replicas of a task that asked for no sample, and how many of them must agree: the fewest with a majority.
const REPLICAS: u32 = 3;
const QUORUM: u32 = 2;

/// A verdict that rests on one word of a node that was caught is looked at again, at the cost of what the node locked for it.
pub(super) fn recall(
    state: &State,
    task: &Task,
    review: TaskId,
    now: Timestamp,
) -> Option<Vec<Event>> {
    let Review::Due { node } = task.review else {
        return None;
    };
    let bond = cost(&task.definition, true, &state.policy_of(task))?;
    let cause = ReviewCause::Caught { node };
    Some(open(state, task, cause, (review, bond), now))
}

/// A verdict that is to mature rests on one word of a node for which nothing vouches: it is looked at again.
pub(super) fn vouch(
    state: &State,
    task: &Task,
    review: TaskId,
    now: Timestamp,
) -> Option<Vec<Event>> {
    let node = rests_on_unvouched(state, task)?;
    let bond = cost(&task.definition, true, &state.policy_of(task))?;
    let cause = ReviewCause::Unvouched { node };
    Some(open(state, task, cause, (review, bond), now))
}

/// The most that looking at a verdict again may cost: the price for each fresh replica, and the attempt fees. Neither contents nor
/// the platform earn by it. `None` past 64 bits.
pub(crate) fn cost(definition: &TaskDefinition, counts: bool, policy: &Policy) -> Option<Amount> {
    let replicas = fresh(definition.sampling(), counts).replicas;
    let paid = definition.economics.pricing.max_price().times(replicas)?;
    let undecided = policy.attempt_fee.times(replicas)?;
    let attempts = policy.attempt_fee.times(definition.retry.max_attempts)?;
    paid.max(undecided).plus(attempts)
}

/// The sample of a review: a new one; or where the reviewed result counts, what is left of the old one.
pub(crate) fn fresh(sampling: &Sampling, counts: bool) -> Sampling {
    let (replicas, quorum) = match sampling.replicas {
        0 | 1 => (REPLICAS, QUORUM),
        replicas => (replicas, sampling.quorum),
    };
    let (replicas, initial) = if counts {
        ((replicas - 1).max(QUORUM), (quorum - 1).max(1))
    } else {
        (replicas, quorum)
    };
    Sampling {
        replicas,
        quorum,
        initial: Some(initial),
        comparator: sampling.comparator.clone(),
        adaptive: false,
        // It may cost others their stake.
        unstaked: false,
    }
}

fn open(
    state: &State,
    task: &Task,
    cause: ReviewCause,
    (review, bond): (TaskId, Amount),
    now: Timestamp,
) -> Vec<Event> {
    let policy = state.policy_of(task);
    let (payer, counts) = match &cause {
        ReviewCause::Dispute { account, .. } => (Payer::Account(*account), false),
        ReviewCause::Caught { node } | ReviewCause::Unvouched { node } => {
            (Payer::Stake(*node), true)
        }
    };
    let sampling = fresh(task.definition.sampling(), counts);
    let deadline = now.plus_ms(policy.verification.review_ms.into());
    let definition = again(task, sampling, nonce(task), (deadline, bond));
    // Structs with string keys always have a JSON form.
    let definition_digest = Digest::of_json("aevir.task/1", &definition).unwrap_or(Digest([0; 32]));
    let created = TaskCreated {
        task: review,
        requester: task.requester,
        seed: task.seed,
        nonce: nonce(task),
        definition: Arc::new(definition),
        definition_digest,
        policy_version: task.policy_version,
        escrow: bond,
        // Contents earn nothing by a second look.
        prices: Vec::new(),
        review: Some(ReviewOrigin {
            task: task.id,
            payer,
            counts,
        }),
        inspection: None,
    };
    let opened = ReviewOpened {
        task: task.id,
        review,
        cause,
        bond,
    };
    let mut events: Vec<Event> = vec![opened.into(), created.into()];
    if bond > Amount::ZERO {
        let postings = transfer(payer.account(), LedgerAccount::Escrow(review), bond);
        events.push(posted_for(review, PostingReason::Escrow, postings));
    }
    let inputs = task.inputs.clone();
    events.push(
        TaskQueued {
            task: review,
            inputs,
        }
        .into(),
    );
    events
}

/// The same run for the same price: module, parameters, inputs, seed and limits are those of the task that is looked at. Who looks is
/// drawn from all nodes that can run it: labels, speeds and asks are what nodes say of themselves, and whoever chose by them who computes would
/// choose who judges.
pub(super) fn again(
    task: &Task,
    sampling: Sampling,
    nonce: Hex<32>,
    (deadline, budget): (Timestamp, Amount),
) -> TaskDefinition {
    let of = task.definition.as_ref();
    let mut again = TaskDefinition {
        seed: Some(task.seed),
        nonce: Some(nonce),
        // Its files are inputs.
        model: of.model.as_ref().and_then(|m| m.base).map(|base| Model {
            base: Some(base),
            target: None,
        }),
        // So are their outputs.
        depends_on: Vec::new(),
        verification: vec![Method::Sampling(sampling)],
        privacy: Privacy::default(),
        labels: Default::default(),
        ..of.clone()
    };
    again.qos.labels.clear();
    again.qos.labels_any.clear();
    again.qos.labels_not.clear();
    again.qos.min_mfuel_s = None;
    again.qos.max_latency_ms = None;
    again.qos.deadline = Some(deadline);
    again.economics.budget = budget;
    if of.economics.pricing.is_by_ask() {
        // What the bond holds for each: who publishes no ask is among them, and nobody pledges less than was pledged for the result.
        again.economics.pricing = Pricing::Fixed {
            price: of.economics.pricing.max_price(),
        };
    }
    again.economics.contents_max = None;
    again.economics.late_refund_ppm = 0;
    again
}

/// What goes into the draws of a review: nobody chooses it.
fn nonce(task: &Task) -> Hex<32> {
    let mut hash = Sha256::new();
    hash.update(b"aevir.review/1\n");
    hash.update(task.nonce.0);
    Hex(hash.finalize().into())
}

/// Whether a settled verdict rests on one word of a node that was caught since it gave it.
pub(crate) fn rests_on_caught(state: &State, task: &Task) -> Option<NodeId> {
    let (node, sealed_at) = lone_word(state, task)?;
    (node.pledges.caught_at >= sealed_at).then_some(node.id)
}

/// Whether a settled verdict rests on one word of a node of which no result that a draw had repeated has stood since, and nobody looked
/// at it again.
pub(crate) fn rests_on_unvouched(state: &State, task: &Task) -> Option<NodeId> {
    let (node, sealed_at) = lone_word(state, task)?;
    let is_open = task.review == Review::None && task.maturing().is_some();
    let is_held = must_be_vouched(task, &state.policy_of(task));
    (is_open && is_held && node.vouched_at < sealed_at).then_some(node.id)
}

/// Whether the task's result stood alone, and something has to vouch for it before it matures.
pub(crate) fn must_be_vouched(task: &Task, policy: &Policy) -> bool {
    let is_alone = matches!(task.sample, Sample::Alone { .. });
    is_alone && policy.verification.adaptive.vouched && policy.settlement.window_ms > 0
}

/// Whose word a verdict rests on that nobody repeated, and when it was sealed.
fn lone_word<'a>(state: &'a State, task: &Task) -> Option<(&'a Node, Timestamp)> {
    let (node, sealed_at) = task.lone_word()?;
    Some((state.nodes.get(&node)?, sealed_at))
}
