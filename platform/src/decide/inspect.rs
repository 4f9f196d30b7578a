//! Verifiers look at a result before its verdict: a check module judges it, or third parties run the task again. They work on a task of
//! their own, which is drawn, leased, sealed, revealed and paid as any other, and whose end says what they found (formulas:
//! `docs/economics.md`, Verifiers).

use std::sync::Arc;

use aevir_events::{Context, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{
    agree::Pair,
    posting::{posted_for, transfer},
    review,
};
use crate::{
    amount::{Amount, Count},
    definition::{
        Economics, Method, Pricing, Privacy, Publish, Qos, Retry, Runtime, TaskDefinition,
        VerifierModule, Verifiers,
    },
    digest::Digest,
    event::{
        CheckResult, Compares, Event, InspectionOpened, InspectionOrigin, InspectionOutcome,
        PostingReason, Refusal, RefusalReason, TaskCreated, TaskInspected, TaskQueued,
        TaskVerified, Verdict,
    },
    hexbytes::Hex,
    ids::{AssignmentId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    report::{Artifact, Report},
    state::{State, Task},
};

/// The names under which a check opens the definition and the inline result. An output of such a name is not handed to it.
pub const CHECKED_DEFINITION: &str = "task.json";
/// See [`CHECKED_DEFINITION`].
pub const CHECKED_RESULT: &str = "result.json";
/// Stands before the name of an input of the checked task, so that no output can pass for one.
pub const CHECKED_INPUT: &str = "input/";

/// The most that the verifiers of one method can cost: each accepted, with the platform's share, or an attempt fee for each where that is
/// more; and an attempt fee for each attempt. `None` past 64 bits.
pub(crate) fn cost(of: &TaskDefinition, verifiers: Verifiers, policy: &Policy) -> Option<Amount> {
    let paid = fee(verifiers, verifiers.count, policy)?;
    let undecided = policy.attempt_fee.times(verifiers.count)?;
    let attempts = policy.attempt_fee.times(of.retry.max_attempts)?;
    paid.max(undecided).plus(attempts)
}

/// What so many accepted verifiers cost, with the platform's share. `None` past 64 bits.
fn fee(verifiers: Verifiers, accepted: u32, policy: &Policy) -> Option<Amount> {
    let fees = verifiers.fee.times(accepted)?;
    fees.plus(fees.share(policy.platform_share_ppm))
}

/// The most that all verifiers of a task can cost: of each method, and of each comparison that there can be. `None` past 64 bits.
pub(crate) fn worst_case(definition: &TaskDefinition, policy: &Policy) -> Option<Amount> {
    let costs = definition.inspections();
    let mut costs = costs.map(|(.., verifiers)| cost(definition, verifiers, policy));
    let looks = costs.try_fold(Amount::ZERO, |sum, cost| sum.plus(cost?))?;
    let Some((_, comparator)) = definition.comparison() else {
        return Some(looks);
    };
    let pairs = definition.comparisons(definition.sampling().replicas);
    looks.plus(cost(definition, comparator.verifiers, policy)?.times(pairs)?)
}

/// What they cost where the first ones agree, and no two results are equal that are compared. `None` past 64 bits.
pub(crate) fn expected(definition: &TaskDefinition, policy: &Policy) -> Option<Amount> {
    let fees = definition.inspections();
    let mut fees = fees.map(|(.., verifiers)| fee(verifiers, verifiers.quorum, policy));
    let looks = fees.try_fold(Amount::ZERO, |sum, fee| sum.plus(fee?))?;
    let Some((_, comparator)) = definition.comparison() else {
        return Some(looks);
    };
    let pairs = definition.comparisons(definition.sampling().initial());
    let verifiers = comparator.verifiers;
    looks.plus(fee(verifiers, verifiers.quorum, policy)?.times(pairs)?)
}

/// What a verdict waits for that would pass: a look at the agreed result by the verifiers of each method that asks for them.
pub(super) fn open(
    state: &State,
    task: &Task,
    (agreed, report): (AssignmentId, &Report),
    context: &Context,
) -> Vec<Event> {
    let policy = state.policy_of(task);
    let context = &apart(context);
    let mut ids = context.ids();
    let inspections = task.definition.inspections();
    let events = inspections.flat_map(|(at, method, verifiers)| {
        let inspection = TaskId(ids.ulid());
        // What passes 64 bits was refused at submission.
        let escrow = cost(&task.definition, verifiers, &policy).unwrap_or_default();
        let opened = InspectionOpened {
            task: task.id,
            inspection,
            method: at,
            assignment: agreed,
            against: None,
            escrow,
        };
        begin(task, method, &opened, Some(report), &policy, context.time)
    });
    events.collect()
}

/// What a verdict waits for where too few results are equal: a comparison of each two that nobody compared.
pub(crate) fn compare(state: &State, task: &Task, pairs: &[Pair], context: &Context) -> Vec<Event> {
    let policy = state.policy_of(task);
    let context = &apart(context);
    let mut ids = context.ids();
    let comparison = task.definition.comparison();
    let found = comparison.and_then(|(at, module)| {
        let method = task.definition.verification.get(at as usize)?;
        Some((at, method, module))
    });
    let pairs = pairs.iter().filter_map(|pair| Some((pair, found?)));
    let events = pairs.flat_map(|((one, two), (at, method, module))| {
        let opened = InspectionOpened {
            task: task.id,
            inspection: TaskId(ids.ulid()),
            method: at,
            assignment: *one,
            against: Some(*two),
            escrow: cost(&task.definition, module.verifiers, &policy).unwrap_or_default(),
        };
        begin(task, method, &opened, None, &policy, context.time)
    });
    events.collect()
}

/// For ids apart from those of what else the same decision creates.
fn apart(context: &Context) -> Context {
    Context {
        entropy: Digest::of(&[b"aevir.inspection/1\n", &context.entropy[..]].concat()).0,
        ..context.clone()
    }
}

fn begin(
    task: &Task,
    method: &Method,
    opened: &InspectionOpened,
    looked_at: Option<&Report>,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Event> {
    let nonce = nonce(task, opened);
    let terms = Terms {
        nonce,
        escrow: opened.escrow,
        deadline: now.plus_ms(policy.verification.inspection_ms.into()),
    };
    let found = match method {
        Method::Check {
            module: Some(check),
            ..
        } => looked_at.map(|report| (checking(task, check, terms), judged(task, report))),
        Method::Attestation { verifiers } => {
            Some((repeating(task, *verifiers, terms), task.inputs.clone()))
        }
        // What it opens is closed: the leaders tell it to those who have a lease, and nobody else.
        Method::Sampling(sampling) => {
            let module = sampling.comparator.module();
            module.map(|module| (comparing(task, module, terms), Vec::new()))
        }
        Method::Check { module: None, .. } => None,
    };
    let Some((definition, inputs)) = found else {
        return Vec::new();
    };
    let inspection = opened.inspection;
    // Structs with string keys always have a JSON form.
    let definition_digest = Digest::of_json("aevir.task/1", &definition).unwrap_or(Digest([0; 32]));
    let created = TaskCreated {
        task: inspection,
        requester: task.requester,
        seed: task.seed,
        nonce,
        definition: Arc::new(definition),
        definition_digest,
        policy_version: task.policy_version,
        escrow: opened.escrow,
        prices: Vec::new(),
        review: None,
        inspection: Some(InspectionOrigin {
            task: task.id,
            method: opened.method,
            compares: opened.against.map(|two| Compares {
                one: opened.assignment,
                two,
                bytes_max: Count(task.definition.compared_bytes_max()),
            }),
        }),
    };
    let mut events: Vec<Event> = vec![opened.clone().into(), created.into()];
    if opened.escrow > Amount::ZERO {
        let (from, to) = (
            LedgerAccount::Escrow(task.id),
            LedgerAccount::Escrow(inspection),
        );
        let postings = transfer(from, to, opened.escrow);
        events.push(posted_for(inspection, PostingReason::Escrow, postings));
    }
    let task = inspection;
    events.push(TaskQueued { task, inputs }.into());
    events
}

/// On which terms verifiers work.
#[derive(Debug, Clone, Copy)]
struct Terms {
    nonce: Hex<32>,
    escrow: Amount,
    deadline: Timestamp,
}

/// One run of a check or a comparator, on any node that can run it.
fn checking(task: &Task, check: &VerifierModule, terms: Terms) -> TaskDefinition {
    let of = task.definition.as_ref();
    TaskDefinition {
        kind: of.kind,
        module: check.module,
        params: check.params.clone(),
        seed: Some(task.seed),
        nonce: Some(terms.nonce),
        model: None,
        data: Vec::new(),
        depends_on: Vec::new(),
        qos: Qos {
            deadline: Some(terms.deadline),
            priority: of.qos.priority,
            ..Qos::default()
        },
        limits: check.limits.clone(),
        economics: Economics {
            budget: terms.escrow,
            pricing: Pricing::Fixed {
                price: check.verifiers.fee,
            },
            contents_max: None,
            late_refund_ppm: 0,
        },
        verification: vec![Method::Sampling(check.verifiers.sampling())],
        // The verifiers' word, so that everybody sees what they signed.
        privacy: Privacy {
            publish: Publish::Full,
        },
        retry: Retry {
            max_attempts: of.retry.max_attempts,
        },
        labels: Default::default(),
        runtime: Runtime::Reproducible,
    }
}

/// One run of a comparator, which brings nothing but its word.
fn comparing(task: &Task, module: &VerifierModule, terms: Terms) -> TaskDefinition {
    let mut definition = checking(task, module, terms);
    definition.limits.output_mib = 0;
    definition
}

/// The same run for the verifiers' fee.
fn repeating(task: &Task, verifiers: Verifiers, terms: Terms) -> TaskDefinition {
    let sampling = verifiers.sampling();
    let deadline = (terms.deadline, terms.escrow);
    let mut definition = review::again(task, sampling, terms.nonce, deadline);
    definition.economics.pricing = Pricing::Fixed {
        price: verifiers.fee,
    };
    definition.privacy = task.definition.privacy.clone();
    definition
}

/// What a check opens: the definition, the inline result, the outputs under their names, and the inputs.
fn judged(task: &Task, report: &Report) -> Vec<Artifact> {
    let named = |name: &str, of: &Artifact| Artifact {
        name: name.to_owned(),
        ..of.clone()
    };
    let definition = checked_definition(&task.definition);
    let result = Artifact {
        name: CHECKED_RESULT.into(),
        digest: report.result.digest,
        size: report.result.size,
    };
    let is_free =
        |output: &&Artifact| ![CHECKED_DEFINITION, CHECKED_RESULT].contains(&&*output.name);
    let outputs = report.outputs.iter().filter(is_free).cloned();
    let inputs = task.inputs.iter();
    let inputs = inputs.map(|input| named(&format!("{CHECKED_INPUT}{}", input.name), input));
    let files = [definition, result].into_iter();
    files.chain(outputs).chain(inputs).collect()
}

/// The bytes that a check opens as the definition, as the log records it: RFC 8785 (JCS).
pub fn checked_definition_bytes(definition: &TaskDefinition) -> Vec<u8> {
    // A definition that was accepted has a JSON form.
    serde_json_canonicalizer::to_vec(definition).unwrap_or_default()
}

fn checked_definition(definition: &TaskDefinition) -> Artifact {
    let bytes = checked_definition_bytes(definition);
    Artifact {
        name: CHECKED_DEFINITION.into(),
        digest: Digest::of(&bytes),
        size: Count(bytes.len() as u64),
    }
}

/// What goes into the draws of verifiers: nobody chooses it.
fn nonce(task: &Task, opened: &InspectionOpened) -> Hex<32> {
    let mut hash = Sha256::new();
    hash.update(b"aevir.inspection/1\n");
    hash.update(opened.method.to_be_bytes());
    hash.update(task.nonce.0);
    if let Some(against) = opened.against {
        // Each comparison has draws of its own.
        hash.update(opened.assignment.0.to_bytes());
        hash.update(against.0.to_bytes());
    }
    Hex(hash.finalize().into())
}

/// What the end of the verifiers' task says of the result that they looked at: they agree on a report, or on none.
pub(super) fn ended(state: &State, inspection: &Task, agreed: Option<&Report>) -> Option<Event> {
    let of = inspection.inspects.as_ref()?;
    let task = state.tasks.get(&of.task)?;
    let method = task.definition.verification.get(of.method as usize)?;
    let outcome = match (method, agreed) {
        (_, None) => InspectionOutcome::Undecided,
        (Method::Attestation { .. }, Some(report)) => {
            match Some(report.agreement_key()) == of.agreed {
                true => InspectionOutcome::Passed,
                false => InspectionOutcome::Failed,
            }
        }
        (Method::Check { .. } | Method::Sampling(_), Some(report)) => word(report),
    };
    let inspected = TaskInspected {
        task: of.task,
        inspection: inspection.id,
        outcome,
    };
    Some(inspected.into())
}

/// A check's result is `true` or `false`.
fn word(report: &Report) -> InspectionOutcome {
    let result = report.result.digest;
    if result == Digest::of(b"true") {
        InspectionOutcome::Passed
    } else if result == Digest::of(b"false") {
        InspectionOutcome::Failed
    } else {
        InspectionOutcome::Undecided
    }
}

/// The verdict with what the verifiers say: a result that third parties refute is nobody's, and what a check refuses, or nobody decides,
/// is paid for and unmet.
/// `equal` are those of the accepted ones that are equal to the first.
pub(super) fn told(
    task: &Task,
    mut verified: TaskVerified,
    equal: &[AssignmentId],
) -> TaskVerified {
    let mut is_refuted = false;
    for inspection in task.inspections.iter().filter(|i| i.against.is_none()) {
        let outcome = inspection.outcome.unwrap_or(InspectionOutcome::Undecided);
        let method = task.definition.verification.get(inspection.method as usize);
        let attested = matches!(method, Some(Method::Attestation { .. }));
        let check = match method {
            Some(Method::Check {
                module: Some(check),
                ..
            }) => format!("module {}", check.module),
            Some(Method::Check { .. } | Method::Sampling(_) | Method::Attestation { .. })
            | None => "attestation".into(),
        };
        let detail = match (outcome, attested) {
            (InspectionOutcome::Passed, _) => "the verifiers agree that it passes",
            (InspectionOutcome::Failed, true) => "the verifiers agree on another result",
            (InspectionOutcome::Failed, false) => "the verifiers agree that it does not pass",
            (InspectionOutcome::Undecided, _) => "the verifiers do not agree, or there were none",
        };
        let passed = outcome == InspectionOutcome::Passed;
        is_refuted |= attested && outcome == InspectionOutcome::Failed;
        let detail = format!("{detail} (task {})", inspection.by);
        if !passed {
            verified.verdict = Verdict::Unmet;
        }
        verified.checks.push(CheckResult {
            check,
            passed,
            detail,
        });
    }
    if is_refuted {
        refuted(&mut verified, equal);
    }
    verified
}

/// Whoever brought the result that third parties refute is refused, and nothing of it is anybody's. Who brought another one that was only
/// near it is not blamed, and neither is who differed from it: a quorum that is refuted shows nobody to be wrong.
fn refuted(verified: &mut TaskVerified, equal: &[AssignmentId]) {
    verified.verdict = Verdict::Inconclusive;
    for refusal in &mut verified.refused {
        if refusal.reason == RefusalReason::Mismatch {
            refusal.reason = RefusalReason::Apart;
        }
    }
    let accepted = std::mem::take(&mut verified.accepted).into_iter();
    verified.refused.extend(accepted.map(|assignment| Refusal {
        assignment,
        reason: if equal.contains(&assignment) {
            RefusalReason::Mismatch
        } else {
            RefusalReason::Apart
        },
    }));
    verified.refused.sort_unstable_by_key(|r| r.assignment);
    verified.outputs.clear();
    verified.result = None;
    verified.published = None;
}
