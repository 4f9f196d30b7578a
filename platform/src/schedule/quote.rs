//! What a task would cost and when it would be done, before it is submitted.
//!
//! A quote costs nothing and is in no log, so that it must not tell what exactly a foreign node has or asks for: of those it goes by
//! sizes rounded to powers of two, as [`why`](super::why) tells them.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::{Context, Timestamp};

use super::{
    Refused,
    ahead::{Ahead, ahead},
    filter::{machine_lacks, machine_lacks_memory, may_pledge, reasons, whole_stake},
    first_pace,
    nearest::{Nearest, Remedy},
    needs::{Needs, Rounding, floor_power, reserve_mib},
    opening::{Opening, free_after, later},
    queue, reserved_ms,
    why::sample,
};
use crate::{
    amount::{Amount, Count},
    content::ContentPrice,
    decide::{expected_inspections, fee, prepare, uses_sum},
    definition::{Pricing, TaskDefinition, Used},
    digest::Digest,
    event::TaskCreated,
    ids::AccountId,
    ledger::LedgerAccount,
    rejection::Rejection,
    report::BlobRef,
    state::{Node, Pace, Phase, State, Task},
};

/// Fitting nodes whose runs are looked at, spread over all of them: some ms of work at most.
const OPENINGS_MAX: usize = 1_024;

/// What a task would cost and take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What it costs where the first replicas agree: each accepted one, with all shares.
    pub expected_fee: Amount,
    /// What is locked: the most that it can cost.
    pub escrow: Amount,
    /// Part of both: what the contents that it uses cost, each that costs something.
    pub prices: Vec<ContentPrice>,
    /// All of them together: what `economics.contents_max` has to be for it.
    pub contents: Amount,
    /// What its requester has.
    pub available: Amount,
    /// Nodes that could take it once they are idle, among those looked at: machine, terms, owner and standing fit, by rounded sizes.
    pub eligible: usize,
    /// Further nodes that may: what they have, or ask for, is between the same two powers of two as what the task needs, or offers.
    pub borderline: usize,
    /// Of them, those that could begin at once.
    pub free: usize,
    /// How many of the others each filter refuses first.
    pub refused: BTreeMap<Refused, usize>,
    /// Of the nodes that do not fit for certain, the one that lacks least: all that is in its way once it is idle, each with what would
    /// help.
    pub nearest: Option<Vec<Remedy>>,
    pub looked_at: usize,
    pub nodes: usize,
    /// Tasks that wait for the same nodes and are served before it: of its requester's own those that come first, of others' what their
    /// turns bring until then. Those beyond what is looked at by estimate.
    pub ahead: usize,
    /// `None` where no node fits for certain, or it waits for other tasks.
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
    let mut task = state.task_of_its_module(&prepared.created, context.time);
    task.queued_at = Some(context.time);
    task.inputs = prepared.inputs.unwrap_or_default();
    task.phase = Phase::Queued;
    task.pace = first_pace(&task, &state.policy_of(&task), context.time);
    let needs = Needs::of(&task, &state.policy_of(&task));
    let mut quote = Quote {
        expected_fee: Amount::ZERO,
        escrow: prepared.created.escrow,
        prices: prepared.created.prices.clone(),
        contents: uses_sum(&prepared.created.prices),
        available: state.ledger.balance(LedgerAccount::Available(requester)),
        eligible: 0,
        borderline: 0,
        free: 0,
        refused: BTreeMap::new(),
        nearest: None,
        looked_at: 0,
        nodes: state.nodes.len(),
        ahead: 0,
        starts_at: None,
        at_once: task.pace == Pace::AtOnce,
        finishes_by: None,
    };
    let found = count(state, &task, &needs, context.time, &mut quote);
    quote.expected_fee = expected_fee(state, &prepared.created, &found.asks);
    let turn = queue::turn(state, &task);
    let step = found.nodes.len().div_ceil(COMPETED_FOR_MAX).max(1);
    let competed_for: Vec<&Node> = found.nodes.iter().step_by(step).copied().collect();
    let ahead = ahead(state, &task, (&competed_for, quote.free > 0), turn);
    quote.ahead = ahead.tasks;
    // Replicas of one owner do not confirm one another, nor do those of two classes.
    let mut of_classes = found.owners.values();
    let suffice =
        needs.private || of_classes.any(|owners| owners.len() >= task.replicas_wanted as usize);
    if suffice && !waits {
        quote.starts_at = match (quote.free, quote.ahead) {
            (1.., 0) => Some(context.time),
            _ => starts_at(state, (&task, &needs), &found, &ahead, context.time),
        };
    }
    let runs_ms = turns(&task).saturating_mul(run_ms(&task, found.slowest));
    quote.finishes_by = quote.starts_at.map(|at| later(at, runs_ms));
    Ok(quote)
}

/// Nodes by which the tasks before it are told from those that do not compete, spread over all that fit.
const COMPETED_FOR_MAX: usize = 16;

/// The nodes that fit.
#[derive(Default)]
struct Found<'a> {
    nodes: Vec<&'a Node>,
    /// By GPU class, where its results are compared within one.
    owners: BTreeMap<Option<&'a str>, BTreeSet<AccountId>>,
    /// How many nodes there are for each that was looked at.
    share: usize,
    /// What each of them is paid, where the task pays what nodes ask for.
    asks: Vec<Amount>,
    /// The speed of the slowest of those that are measured; 0 where none is.
    slowest: u64,
}

/// Counts the nodes that fit, now or once they are idle.
fn count<'a>(
    state: &'a State,
    task: &Task,
    needs: &Needs,
    now: Timestamp,
    quote: &mut Quote,
) -> Found<'a> {
    let mut found = Found::default();
    let (surely, perhaps) = (needs.rounded(Rounding::Up), needs.rounded(Rounding::Down));
    let reserve_mib = reserve_mib(task, &state.policy_of(task).scheduling);
    let mut nearest = Nearest::of(needs, reserve_mib, true);
    for node in sample(state, now) {
        quote.looked_at += 1;
        let is_own = needs.private || node.owner == task.requester;
        let (most, least) = if is_own {
            (needs, needs)
        } else {
            (&surely, &perhaps)
        };
        let fit = fit_of(state, task, most, node, now);
        if !fit.in_its_way.is_empty() {
            nearest.consider(node, &fit.in_its_way);
            let first = fit.in_its_way.first().copied();
            let first = match first.filter(|reason| !is_of_size(*reason)) {
                Some(first) => Some(first),
                None => first_of(state, task, least, node, now),
            };
            match first {
                None => quote.borderline += 1,
                Some(first) => *quote.refused.entry(first).or_default() += 1,
            }
            continue;
        }
        let is_free = fit.is_free;
        quote.eligible += 1;
        quote.free += usize::from(is_free);
        let ask = node.terms.ask(needs.kind);
        // Rounded before it is grossed up for what a late result may lose of it: that part the requester chooses, and could find by it where
        // the sum passes a power of two.
        let ask = if is_own { ask } else { ceil_power(ask) };
        let dearest = task.definition.economics.pricing.max_price();
        let price = task.definition.asked_price(ask);
        found.asks.extend(price.map(|price| price.min(dearest)));
        let class = node.gpu_class().filter(|_| needs.class_owners > 0);
        found.owners.entry(class).or_default().insert(node.owner);
        let speed = match is_own {
            true => node.mfuel_s(),
            false => floor_power(node.mfuel_s()),
        };
        if speed > 0 {
            let slowest = Some(found.slowest).filter(|speed| *speed > 0);
            found.slowest = slowest.unwrap_or(u64::MAX).min(speed);
        }
        found.nodes.push(node);
    }
    quote.nearest = nearest.remedies();
    found.share = state.nodes.len().div_ceil(quote.looked_at.max(1));
    found
}

/// Whether rounding another way could undo a reason. One that it could not comes first with smaller needs, too.
fn is_of_size(reason: Refused) -> bool {
    !matches!(
        reason,
        Refused::Offline
            | Refused::Draining
            | Refused::Gone
            | Refused::Suspended
            | Refused::NoRuns
            | Refused::NoAsk
            | Refused::ModuleDenied
            | Refused::NotCompiled
            | Refused::RequesterDenied
            | Refused::Label
            | Refused::NoGpu
    )
}

/// The first reason why a node does not take a task once it is idle.
fn first_of(
    state: &State,
    task: &Task,
    needs: &Needs,
    node: &Node,
    now: Timestamp,
) -> Option<Refused> {
    let fit = fit_of(state, task, needs, node, now);
    fit.in_its_way.first().copied()
}

/// How a node fits a task.
struct Fit {
    /// It takes it now.
    is_free: bool,
    /// Why it does not take it once it is idle.
    in_its_way: Vec<Refused>,
}

fn fit_of(state: &State, task: &Task, needs: &Needs, node: &Node, now: Timestamp) -> Fit {
    let reasons: Vec<Refused> = reasons(state, task, needs, node, &[], now).collect();
    let durable = |reason: Refused| match reason {
        Refused::NoFreeSlot | Refused::BackingOff | Refused::Hours | Refused::Reserved => None,
        // What its runs take of it does not count. Without them it may still lack the memory for compiling.
        Refused::Memory | Refused::CompileMemory => machine_lacks_memory(needs, node),
        Refused::Storage | Refused::GpuMemory | Refused::CpuCores => {
            machine_lacks(needs, node, reason).then_some(reason)
        }
        Refused::Unstaked => {
            let may = may_pledge(needs, node, whole_stake(state, node));
            (!may).then_some(reason)
        }
        Refused::Offline
        | Refused::Draining
        | Refused::NoRuns
        | Refused::Gone
        | Refused::Suspended
        | Refused::Price
        | Refused::NoAsk
        | Refused::ModuleDenied
        | Refused::NotCompiled
        | Refused::RequesterDenied
        | Refused::NoGpu
        | Refused::GpuBuffer
        | Refused::GpuSpeed
        | Refused::GpuFeature
        | Refused::GpuClass
        | Refused::ClassTooSmall
        | Refused::Speed
        | Refused::Label
        | Refused::OwnNode
        | Refused::SameOwner
        | Refused::AlreadyTried => Some(reason),
    };
    Fit {
        is_free: reasons.is_empty(),
        in_its_way: reasons.into_iter().filter_map(durable).collect(),
    }
}

/// It starts when those before it are done and a node has room for it, were all that runs and all that waits before it to take all the time
/// that it may: each of these on the slot that is free first.
fn starts_at(
    state: &State,
    (task, needs): (&Task, &Needs),
    found: &Found<'_>,
    ahead: &Ahead,
    now: Timestamp,
) -> Option<Timestamp> {
    let step = found.nodes.len().div_ceil(OPENINGS_MAX).max(1);
    let nodes = found.nodes.iter().step_by(step);
    let openings = nodes.map(|node| Opening::of(state, task, needs, node, now));
    let openings: Vec<Opening> = openings.collect();
    // One's own nodes stand among others' nowhere but in a private market.
    let room = match needs.private {
        true => needs.room,
        false => needs.rounded(Rounding::Up).room,
    };
    let room_at = openings.iter().filter_map(|of| of.room_at(room)).min()?;
    // As many of the nodes that are not looked at are taken to fit, so that these have their part of what is ahead.
    let part = (step * found.share).max(1);
    let runs_ms = ahead.runs_ms.iter().skip(part - 1).step_by(part);
    let runs_ms: Vec<u64> = runs_ms.copied().collect();
    let further = (ahead.further / part) as u64;
    let sum = runs_ms.iter().copied().fold(0, u64::saturating_add);
    let mean = sum / (runs_ms.len() as u64).max(1);
    let slots = openings.iter().flat_map(Opening::slots);
    let free = free_after(slots, &runs_ms, mean.saturating_mul(further))?;
    Some(free.max(room_at))
}

/// Runs of the task that follow on one another.
fn turns(task: &Task) -> u64 {
    match task.pace {
        Pace::AtOnce => 1,
        // Of an adaptive sample all of them, for its one result may be repeated.
        Pace::OneByOne => task.definition.sampling().initial().into(),
    }
}

/// How long a run may take, in ms.
fn run_ms(task: &Task, slowest_mfuel_s: u64) -> u64 {
    let limit = reserved_ms(task);
    let expected = task
        .definition
        .qos
        .expected_fuel
        .filter(|_| slowest_mfuel_s > 0);
    expected.map_or(limit, |fuel| {
        (fuel.0 / (slowest_mfuel_s * 1_000)).min(limit)
    })
}

/// The least power of two that is not below it.
fn ceil_power(amount: Amount) -> Amount {
    let power = amount.0.unsigned_abs().checked_next_power_of_two();
    Amount(
        power
            .and_then(|n| i64::try_from(n).ok())
            .unwrap_or(i64::MAX),
    )
}

/// What a quorum of accepted replicas costs, with all shares: at the mean of what the nodes that fit ask for (others' asks
/// rounded up to powers of two), or by the fuel that a run
/// is expected to burn, where the price goes by either.
fn expected_fee(state: &State, created: &TaskCreated, asks: &[Amount]) -> Amount {
    let definition = &created.definition;
    let Some((_, policy)) = state.policy() else {
        return Amount::ZERO;
    };
    let accepted = definition.sampling().initial();
    let price = expected_price(definition, asks);
    let uses = uses_sum(&created.prices);
    let fee = fee(definition, policy, (price, accepted), uses);
    let all = fee.and_then(|fee| fee.plus(expected_inspections(definition, policy)?));
    all.unwrap_or(created.escrow)
}

fn expected_price(definition: &TaskDefinition, asks: &[Amount]) -> Amount {
    let pricing = &definition.economics.pricing;
    let expected = match pricing {
        Pricing::Fixed { price } => Some(*price),
        Pricing::Ask { .. } => {
            let sum: i128 = asks.iter().map(|ask| i128::from(ask.0)).sum();
            let mean = (sum + asks.len() as i128 - 1).checked_div(asks.len() as i128);
            mean.and_then(|mean| i64::try_from(mean).ok()).map(Amount)
        }
        Pricing::Metered(metered) => definition.qos.expected_fuel.map(|fuel| {
            metered.price(Used {
                fuel: fuel.0,
                ..Used::default()
            })
        }),
    };
    expected.unwrap_or(pricing.max_price())
}
