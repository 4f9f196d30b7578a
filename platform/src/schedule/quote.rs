//! What a task would cost and when it would be done, before it is submitted.

use aevir_events::{Context, Timestamp};

use super::{
    filter::{capable, machine_room},
    first_pace,
    needs::Needs,
    queue,
    why::sample,
};
use crate::{
    amount::Amount,
    amount::Count,
    decide::prepare,
    definition::TaskDefinition,
    digest::Digest,
    event::TaskCreated,
    ids::AccountId,
    ledger::LedgerAccount,
    rejection::Rejection,
    report::BlobRef,
    state::{Pace, Phase, State, Task},
};

/// Tasks before it that are counted.
const AHEAD_MAX: usize = 100_000;

/// What a task would cost and take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What it costs where the first replicas agree: each accepted one, with all shares.
    pub expected_fee: Amount,
    /// What is locked: the most that it can cost.
    pub escrow: Amount,
    /// What its requester has.
    pub available: Amount,
    /// Nodes whose machine and owner fit, busy or not, among those looked at.
    pub eligible: usize,
    /// Of them, those that could begin at once.
    pub free: usize,
    pub looked_at: usize,
    pub nodes: usize,
    /// Tasks with equal needs that wait before it.
    pub ahead: usize,
    /// `None` where no node fits, or it waits for other tasks.
    pub starts_at: Option<Timestamp>,
    /// Whether its first replicas are placed at once, for one after the other could be too late.
    pub at_once: bool,
    /// The latest of runs of which the first begins then: by what one is expected to burn on a node of known speed, else by its
    /// limit.
    pub finishes_by: Option<Timestamp>,
}

/// The quote for a definition.
///
/// # Errors
/// What a submission would be refused for, but for a lack of money.
pub fn quote(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
    context: &Context,
) -> Result<Quote, Rejection> {
    let brought: Vec<BlobRef> = definition
        .inline_inputs()
        .map(|text| BlobRef {
            digest: Digest::of(text.as_bytes()),
            size: Count(text.len() as u64),
        })
        .collect();
    let prepared = prepare(state, requester, definition, &brought, context)?;
    let waits = prepared.inputs.is_none();
    let mut task = Task::new(&prepared.created, context.time);
    task.queued_at = Some(context.time);
    task.inputs = prepared.inputs.unwrap_or_default();
    task.phase = Phase::Queued;
    task.pace = first_pace(&task, &state.policy_of(&task), context.time);
    let needs = Needs::of(&task, &state.policy_of(&task).scheduling);
    let mut quote = Quote {
        expected_fee: expected_fee(state, &prepared.created),
        escrow: prepared.created.escrow,
        available: state.ledger.balance(LedgerAccount::Available(requester)),
        eligible: 0,
        free: 0,
        looked_at: 0,
        nodes: state.nodes.len(),
        ahead: state
            .index
            .queues
            .ahead(&needs, queue::turn(state, &task), AHEAD_MAX),
        starts_at: None,
        at_once: task.pace == Pace::AtOnce,
        finishes_by: None,
    };
    let slots = count(state, &task, &needs, context.time, &mut quote);
    if quote.eligible > 0 && !waits {
        estimate(&task, slots, context.time, &mut quote);
    }
    Ok(quote)
}

/// Counts the nodes that fit; answers their slots, and the speed of the slowest of those that are measured.
fn count(
    state: &State,
    task: &Task,
    needs: &Needs,
    now: Timestamp,
    quote: &mut Quote,
) -> (u64, u64) {
    let (mut slots, mut slowest) = (0, u64::MAX);
    for node in sample(state) {
        quote.looked_at += 1;
        let others = state.is_private_market() || node.owner != task.requester;
        if !others || !capable(needs, node) || !machine_room(needs, node) {
            continue;
        }
        quote.eligible += 1;
        slots += u64::from(node.slots());
        if node.mfuel_s() > 0 {
            slowest = slowest.min(node.mfuel_s());
        }
        let free = super::filter::reasons(state, task, needs, node, &[], now);
        quote.free += usize::from(free.count() == 0);
    }
    // As many of the nodes that were not looked at are taken to fit.
    let scale = state.nodes.len().div_ceil(quote.looked_at.max(1)) as u64;
    (slots * scale, if slowest == u64::MAX { 0 } else { slowest })
}

/// It starts at once where a node is free and nobody waits before it, and else when those before it are done, were they to
/// take all the time that they may and all slots that fit.
fn estimate(task: &Task, (slots, slowest): (u64, u64), now: Timestamp, quote: &mut Quote) {
    let run_ms = run_ms(task, slowest);
    let before = quote.ahead as u64 / slots.max(1);
    let waits_ms = match (quote.free, before) {
        (0, before) => (before + 1).saturating_mul(run_ms),
        (_, before) => before.saturating_mul(run_ms),
    };
    let after = |ms: u64| now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX / 2));
    quote.starts_at = Some(after(waits_ms));
    let turns = match task.pace {
        Pace::AtOnce => 1,
        Pace::OneByOne => u64::from(task.replicas_wanted),
    };
    let runs_ms = run_ms.saturating_mul(turns);
    quote.finishes_by = Some(after(waits_ms.saturating_add(runs_ms)));
}

/// How long a run may take, in ms.
fn run_ms(task: &Task, slowest_mfuel_s: u64) -> u64 {
    let limit = super::reserved_ms(task);
    let expected = task
        .definition
        .qos
        .expected_fuel
        .filter(|_| slowest_mfuel_s > 0);
    expected.map_or(limit, |fuel| {
        (fuel.0 / (slowest_mfuel_s * 1_000)).min(limit)
    })
}

/// What a quorum of accepted replicas costs, with all shares.
fn expected_fee(state: &State, created: &TaskCreated) -> Amount {
    let definition = &created.definition;
    let Some((_, policy)) = state.policy() else {
        return Amount::ZERO;
    };
    let accepted = definition.sampling().initial();
    let compute = definition.economics.pricing.max_price().times(accepted);
    let compute = compute.unwrap_or(created.escrow);
    let content = if definition.contents().is_empty() {
        0
    } else {
        policy.content_share_ppm
    };
    let shares = compute
        .share(content)
        .0
        .saturating_add(compute.share(policy.platform_share_ppm).0);
    Amount(compute.0.saturating_add(shares))
}
