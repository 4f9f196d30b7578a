//! The verdict over the revealed replicas of a task.

use std::collections::BTreeMap;

use aevir_events::{Context, Timestamp};

use super::{
    agree::{self, Agreement, counted_word},
    inspect, lease, model,
    result::called_off,
    review::{self, Shown},
    settle::{self, Opened},
};
use crate::{
    amount::Amount,
    closed::Keys,
    digest::Digest,
    event::{
        AssignmentRevealed, CheckResult, Event, Refusal, RefusalReason, TaskExtended, TaskVerified,
        Verdict,
    },
    ids::{AccountId, AssignmentId, NodeId},
    policy::Policy,
    report::Report,
    state::{Assignment, Sample, Stage, State, Task},
};

/// A revealed replica.
pub(super) struct Replica<'a> {
    pub(super) report: &'a Report,
    checks: &'a [CheckResult],
    published: Option<&'a serde_json::Value>,
}

/// What a closed round has come to.
pub(super) struct Judged {
    /// There is a verdict. Otherwise the task goes on, and what is closed of it stays so.
    pub(super) is_over: bool,
    events: Vec<Event>,
}

impl Judged {
    fn goes_on(events: Vec<Event>) -> Self {
        Self {
            is_over: false,
            events,
        }
    }

    fn over(events: Vec<Event>) -> Self {
        Self {
            is_over: true,
            events,
        }
    }

    pub(super) fn events(self) -> Vec<Event> {
        self.events
    }
}

/// Judges a closed round. `last` is the reveal that completes it, if one does; replicas that have not revealed
/// count as wrong.
pub(super) fn judge(
    state: &State,
    task: &Task,
    last: Option<&AssignmentRevealed>,
    context: &Context,
    keys: &Keys<'_>,
) -> Judged {
    let opened: Vec<AssignmentRevealed> = shown(task).filter_map(|a| keys.open(a)).collect();
    let replicas = replicas(task, opened.iter().chain(last));
    if !task.is_sampled() {
        return alone(state, task, &replicas, last.is_none(), context);
    }
    if let (Sample::Alone { .. }, true) = (task.sample, replicas.is_empty()) {
        // Nothing else was sealed: it goes on as if nothing had been.
        return Judged::goes_on(lease::unrevealed(state, task, context.time));
    }
    let policy = state.policy_of(task);
    let (agreed_on, accepted) = match agreement(state, task, &policy, &replicas, keys) {
        // The rounds so far are complete, and whoever compares gets no replica of a further one.
        Agreement::Open(pairs) => {
            return Judged::goes_on(inspect::compare(state, task, &pairs, context));
        }
        Agreement::Reached { key, results } => (Some(key), results),
        Agreement::None => (None, Vec::new()),
    };
    if let (None, Some(extended)) = (agreed_on, extended(task)) {
        return Judged::goes_on(vec![extended]);
    }
    let accepted = accepted.as_slice();
    let refused = refused(task, &policy, accepted, &replicas);
    let verified = verified(task, accepted, refused, &replicas, context);
    let mut events: Vec<Event> = opened.iter().cloned().map(Event::from).collect();
    if let Some(inspections) = inspections(state, task, &verified, &replicas, context) {
        // No further replica is drawn, so that nobody can copy what verifiers are to see.
        events.extend(inspections);
        return Judged::over(events);
    }
    let verified = inspect::told(task, verified, &equal(accepted, &replicas));
    let first = verified.accepted.first().and_then(|id| replicas.get(id));
    let told = inspect::ended(state, task, first.map(|r| r.report));
    // What was closed by leaders with another secret nobody can open: nobody is blamed for it.
    let is_lost = |a: &&Assignment| !replicas.contains_key(&a.id);
    let lost: Vec<&Assignment> = shown(task).filter(is_lost).collect();
    events.extend(lost.iter().map(|a| called_off(task, a)));
    events.extend(settled(state, task, verified, &replicas, &lost, context));
    events.extend(told);
    let fee = events.iter().find_map(|e| match e {
        Event::TaskSettled(e) => Some(e.fee),
        _ => None,
    });
    let (fee, now) = (fee.unwrap_or_default(), context.time);
    // A result that nobody may be blamed by is refuted by nobody.
    let word = counted_word(task);
    let may_blame = task.may_blame(&policy);
    let shows = match agreed_on.filter(|_| may_blame) {
        Some(_) => shows(task, accepted, &replicas),
        None if word.is_some_and(|word| differs(&replicas, word)) => Shown::Nothing,
        None if may_blame && contradicts(task, &replicas) => Shown::Nothing,
        None => Shown::TooLittle,
    };
    let decided = review::decided(state, task, (shows, fee), &events, now);
    events.extend(decided);
    Judged::over(events)
}

/// What the revealed results come to. Where they are closed, an audit has it from the log that some are to be compared, until the verdict
/// shows whether those were.
fn agreement(
    state: &State,
    task: &Task,
    policy: &Policy,
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
    keys: &Keys<'_>,
) -> Agreement {
    let told = keys.compared(task.id).filter(|_| state.is_closed(task));
    if let Some(pairs) = told {
        return Agreement::Open(pairs.to_vec());
    }
    let reports = replicas.iter().map(|(id, r)| (*id, r.report)).collect();
    agree::agreement(task, policy, &reports, |pair| task.compared(pair))
}

/// Of the accepted results those that are equal to the first one.
fn equal(
    accepted: &[AssignmentId],
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
) -> Vec<AssignmentId> {
    let key = |id: &AssignmentId| replicas.get(id).map(|r| r.report.agreement_key());
    let first = accepted.first().and_then(key);
    let equal = accepted.iter().filter(|id| key(id) == first);
    equal.copied().collect()
}

/// One more replica, where a sample that disagrees has one left. A round that time closed, because nobody took a replica, would wait in
/// vain for it.
pub(crate) fn extended(task: &Task) -> Option<Event> {
    let is_complete = task.filled() >= task.replicas_wanted;
    let is_left = task.replicas_wanted < task.definition.sampling().replicas;
    let (round, replicas) = (task.round + 1, task.replicas_wanted + 1);
    let extended = TaskExtended {
        task: task.id,
        round,
        replicas,
    };
    (is_complete && is_left).then(|| extended.into())
}

/// What the fresh results of a review show that agree.
fn shows(
    task: &Task,
    fresh: &[AssignmentId],
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
) -> Shown {
    let report = fresh.first().and_then(|id| Some(replicas.get(id)?.report));
    let of = task.review_of.as_ref().zip(report);
    let mut runs = fresh.iter().filter_map(|id| task.assignments.get(id));
    if of.is_some_and(|(of, report)| of.is_said_by(report)) {
        Shown::TheSame
    } else {
        Shown::Another {
            has_remade: runs.any(|run| run.has_remade),
        }
    }
}

/// As many fresh results of a review as could have decided are there, and none of them is the reviewed one.
fn contradicts(task: &Task, replicas: &BTreeMap<AssignmentId, Replica<'_>>) -> bool {
    let are_enough = replicas.len() >= task.quorum() as usize;
    let of = task.review_of.as_ref().filter(|_| are_enough);
    of.is_some_and(|of| !replicas.values().any(|r| of.is_said_by(r.report)))
}

/// What the maker of a dispute owes that shows nothing, whom.
fn held_up(
    state: &State,
    task: &Task,
    verified: &TaskVerified,
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
    now: Timestamp,
) -> Vec<(AccountId, Amount)> {
    let is_refuted = task.may_blame(&state.policy_of(task)) && contradicts(task, replicas);
    if verified.verdict != Verdict::Inconclusive || is_refuted {
        return Vec::new();
    }
    review::held_up(state, task, now)
}

/// Replicas that are closed until the verdict.
fn shown(task: &Task) -> impl Iterator<Item = &Assignment> {
    let all = task.assignments.values();
    all.filter(|a| matches!(a.stage, Stage::Shown(_)))
}

/// A fresh result does not share the word that was counted.
fn differs(replicas: &BTreeMap<AssignmentId, Replica<'_>>, word: Digest) -> bool {
    replicas.values().any(|r| r.report.agreement_key() != word)
}

/// The verdict on a task without a sample: the first result that meets the requester's terms, or else the first one. Where
/// nothing was revealed in time, the task goes on.
fn alone(
    state: &State,
    task: &Task,
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
    is_over: bool,
    context: &Context,
) -> Judged {
    let order = |id: &AssignmentId| {
        let holds = replicas
            .get(id)
            .is_some_and(|r| holds(task, r.report, r.checks));
        let sealed = task.assignments.get(id).and_then(|a| a.commitment());
        (!holds, sealed.map(|c| c.at), *id)
    };
    let Some(winner) = replicas.keys().copied().min_by_key(order) else {
        return Judged::goes_on(lease::unrevealed(state, task, context.time));
    };
    let live = || {
        let live = task.assignments.values().filter(|a| a.is_replica());
        live.filter(|a| a.id != winner)
    };
    // Who sealed a result had its time to reveal it, if that is over.
    let kept = |a: &&Assignment| {
        is_over && matches!(a.stage, Stage::Committed(_)) && !replicas.contains_key(&a.id)
    };
    let refused = live().filter(kept).map(|a| Refusal {
        assignment: a.id,
        reason: RefusalReason::NotRevealed,
    });
    let others: Vec<&Assignment> = live().filter(|a| !kept(a)).collect();
    let verified = verified(task, &[winner], refused.collect(), replicas, context);
    let mut events: Vec<Event> = others.iter().map(|a| called_off(task, a)).collect();
    if let Some(inspections) = inspections(state, task, &verified, replicas, context) {
        events.extend(inspections);
        return Judged::over(events);
    }
    let verified = inspect::told(task, verified, &[winner]);
    events.extend(settled(state, task, verified, replicas, &others, context));
    Judged::over(events)
}

/// A result that would pass waits for the verifiers that the task asks for.
fn inspections(
    state: &State,
    task: &Task,
    verified: &TaskVerified,
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
    context: &Context,
) -> Option<Vec<Event>> {
    let is_called_for = verified.verdict == Verdict::Passed
        && !task.is_looked_at()
        && task.definition.inspections().next().is_some();
    let agreed = verified.accepted.first().filter(|_| is_called_for)?;
    let report = replicas.get(agreed)?.report;
    Some(inspect::open(state, task, (*agreed, report), context))
}

/// The verdict on a result that all verifiers have looked at.
pub(super) fn inspected(
    state: &State,
    task: &Task,
    context: &Context,
    keys: &Keys<'_>,
) -> Vec<Event> {
    judge(state, task, None, context, keys).events()
}

/// The verdict with all that follows from it. `others` are called off with it.
fn settled(
    state: &State,
    task: &Task,
    verified: TaskVerified,
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
    others: &[&Assignment],
    context: &Context,
) -> Vec<Event> {
    let mut events = vec![verified.clone().into()];
    let nodes: BTreeMap<AssignmentId, NodeId> =
        task.assignments.values().map(|a| (a.id, a.node)).collect();
    // Whose result is refuted did not work in good faith, as far as anybody can tell.
    let is_refused = |id: &AssignmentId| verified.refused.iter().any(|r| r.assignment == *id);
    let revealed: Vec<NodeId> = replicas
        .keys()
        .filter(|id| !is_refused(id))
        .filter_map(|id| nodes.get(id).copied())
        .collect();
    let overtaken = others.iter().filter(|a| a.started_at.is_some());
    let overtaken: Vec<NodeId> = overtaken.map(|a| a.node).collect();
    let accepted = verified.accepted.iter().filter_map(|id| replicas.get(id));
    let definition = &task.definition;
    let metered = definition
        .economics
        .pricing
        .metered(accepted.map(|r| r.report), definition.limits.fuel);
    let opened = Opened {
        revealed: &revealed,
        called_off: &overtaken,
        metered,
        held_up: held_up(state, task, &verified, replicas, context.time),
    };
    events.extend(settle::settle(
        state,
        task,
        &verified,
        &opened,
        context.time,
    ));
    if verified.verdict == Verdict::Passed {
        events.extend(model::register(state, task, &verified, &nodes, context));
    }
    events.extend(model::copies(state, task, &verified, replicas));
    events
}

fn replicas<'a>(
    task: &'a Task,
    opened: impl Iterator<Item = &'a AssignmentRevealed>,
) -> BTreeMap<AssignmentId, Replica<'a>> {
    let earlier = task.assignments.values().filter_map(|a| {
        let r = a.opened()?;
        let replica = Replica {
            report: &r.report,
            checks: &r.checks,
            published: r.published.as_ref(),
        };
        Some((a.id, replica))
    });
    let opened = opened.map(|r| {
        let replica = Replica {
            report: &r.report,
            checks: &r.checks,
            published: r.published.as_ref(),
        };
        (r.report.assignment, replica)
    });
    earlier.chain(opened).collect()
}

/// Whether a result meets the requester's own terms.
pub(super) fn holds(task: &Task, report: &Report, checks: &[CheckResult]) -> bool {
    checks.iter().all(|c| c.passed) && has_model_outputs(task, report)
}

fn verified(
    task: &Task,
    accepted: &[AssignmentId],
    refused: Vec<Refusal>,
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
    context: &Context,
) -> TaskVerified {
    let first = accepted.first().and_then(|id| replicas.get(id));
    let verdict = match first {
        None => Verdict::Inconclusive,
        Some(replica) if holds(task, replica.report, replica.checks) => Verdict::Passed,
        Some(_) => Verdict::Unmet,
    };
    let mut checks = first.map(|r| r.checks.to_vec()).unwrap_or_default();
    if let Some(replica) = first
        && !has_model_outputs(task, replica.report)
    {
        let detail = "the result lacks an output that the model needs".into();
        checks.push(CheckResult {
            check: "model outputs".into(),
            passed: false,
            detail,
        });
    }
    let latency_ms = task.queued_at.map_or(0, |queued| context.time.0 - queued.0);
    TaskVerified {
        task: task.id,
        verdict,
        accepted: accepted.to_vec(),
        refused,
        checks,
        outputs: first.map(|r| r.report.outputs.clone()).unwrap_or_default(),
        result: first.map(|r| r.report.result),
        published: first.and_then(|r| r.published.cloned()),
        late: task
            .definition
            .qos
            .max_latency_ms
            .is_some_and(|most| latency_ms > i64::from(most)),
    }
}

/// The sealed results of a sample that are not accepted, and why.
fn refused(
    task: &Task,
    policy: &Policy,
    accepted: &[AssignmentId],
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
) -> Vec<Refusal> {
    let reports = accepted.iter();
    let reports = reports.filter_map(|id| Some((*id, replicas.get(id)?.report)));
    let reports = reports.collect();
    let refused = task.assignments.values().filter_map(|a| match &a.stage {
        Stage::Committed(_) if !replicas.contains_key(&a.id) => Some(Refusal {
            assignment: a.id,
            reason: RefusalReason::NotRevealed,
        }),
        // Without an agreement nobody is known to be wrong.
        Stage::Committed(_) | Stage::Shown(_) | Stage::Revealed(_)
            if !accepted.is_empty() && !accepted.contains(&a.id) =>
        {
            let report = replicas.get(&a.id)?.report;
            Some(Refusal {
                assignment: a.id,
                reason: agree::refusal(task, policy, report, &reports),
            })
        }
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
        | Stage::Withdrawn => None,
    });
    refused.collect()
}

fn has_model_outputs(task: &Task, report: &Report) -> bool {
    let target = task
        .definition
        .model
        .as_ref()
        .and_then(|m| m.target.as_ref());
    let wanted = target.map(|t| t.outputs.as_slice()).unwrap_or_default();
    wanted
        .iter()
        .all(|name| report.outputs.iter().any(|o| o.name == *name))
}
