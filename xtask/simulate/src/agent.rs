//! Nodes and their runs, as their owners see them.

use aevir_events::Timestamp;
use aevir_platform::{
    amount::Count,
    digest::Digest,
    hexbytes::Hex,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    report::{BlobRef, Report, SignedCommitment, Usage, class_of_run},
    state::{State, Task},
};
use anyhow::{Context as _, Result};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::{
    strategy::{Answer, Conduct},
    terms::{CHECK_FEE, CHECK_ONE_IN, COST_PPM, FAILS_ONE_IN, PRICE, WORK_MS},
};

/// A party with one machine, under whatever names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seat {
    /// It follows the simulation's strategy; it is honest otherwise.
    pub(crate) follows: bool,
    /// How fast its machine is, in thousandths.
    pub(crate) speed: i64,
    /// Names that it had.
    pub(crate) names: u32,
    /// What its computing cost it, in micro-AEV.
    pub(crate) cost: i64,
    /// When it sealed a wrong result for the first time, and when it got its last lease.
    pub(crate) first_wrong: Option<Timestamp>,
    pub(crate) last_lease: Option<Timestamp>,
    /// What it brought into the market, in micro-AEV.
    pub(crate) brought: i64,
}

/// A node under one name, with its owner's account.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) seat: usize,
    pub(crate) account: AccountId,
    pub(crate) node: NodeId,
    pub(crate) key: SigningKey,
    pub(crate) joined: Timestamp,
    pub(crate) lies: u32,
    /// Takes part no more under this name.
    pub(crate) is_given_up: bool,
    /// Answers nothing until then.
    pub(crate) silent_until: Timestamp,
}

/// One lease from its node's side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) agent: usize,
    pub(crate) task: TaskId,
    /// The task that asked for it first, where that is a review, or the task whose result it looks at.
    pub(crate) origin: TaskId,
    /// It looks at another's result.
    pub(crate) verifies: bool,
    pub(crate) leased_at: Timestamp,
    pub(crate) began_at: Timestamp,
    /// What it takes to compute it, in ms.
    pub(crate) work_ms: i64,
    pub(crate) conduct: Conduct,
    pub(crate) answer: Answer,
    /// It holds a slot.
    pub(crate) is_open: bool,
}

impl Run {
    /// What its maker has spent on it so far, in micro-AEV.
    pub(crate) fn cost(&self, now: Timestamp) -> i64 {
        if !self.conduct.computes() || self.began_at == Timestamp::default() {
            return 0;
        }
        let spent_ms = (now.0 - self.began_at.0).clamp(0, self.work_ms);
        let earns = if self.verifies { CHECK_FEE } else { PRICE };
        earns.0 * COST_PPM / 1_000_000 * spent_ms / self.work_ms.max(1)
    }
}

/// What a task computes, by the task that asked for it first: a review computes the same as what it looks at, and verifiers judge that.
pub(crate) fn origin(task: &Task) -> TaskId {
    let reviewed = task.review_of.as_ref().map(|of| of.task);
    let inspected = task.inspects.as_ref().map(|of| of.task);
    reviewed.or(inspected).unwrap_or(task.id)
}

/// What a task, or a look at its result, takes on a node of speed 1, in ms: the same on each try.
pub(crate) fn work_ms(task: TaskId, verifies: bool) -> i64 {
    let (least, most) = WORK_MS;
    let within = i64::try_from(task.0.random() % 1_000_003).unwrap_or(0);
    let work_ms = least + within * (most - least) / 1_000_003;
    work_ms / if verifies { CHECK_ONE_IN } else { 1 }
}

/// Whether the right result of a task passes its check.
pub(crate) fn passes(task: TaskId) -> bool {
    !(task.0.random() / 1_000_003).is_multiple_of(FAILS_ONE_IN)
}

/// What a run reports, and its inline result.
///
/// # Errors
/// When the assignment is none of the state's.
pub(crate) fn report(state: &State, id: AssignmentId, answer: Answer) -> Result<(Report, Value)> {
    let found = state.assignment(id);
    let (task, assignment) = found.with_context(|| format!("there is no assignment {id}"))?;
    let right = origin(task).0.random() as u64 % 1_000_003;
    let (result, fuel) = match (answer, task.inspects.is_some()) {
        (Answer::Right, false) => (json!({"n": right}), 1_000_000 + right),
        (Answer::Wrong(lie), false) => {
            let not = lie % 1_000_003;
            (json!({"n": right, "not": not}), 1_000_000 + right)
        }
        (Answer::Right, true) => (json!(passes(origin(task))), 1_000_000 + right),
        // Who has not looked does not know what looking burns.
        (Answer::Wrong(lie), true) => (json!(true), lie % 1_000_000),
    };
    let bytes = serde_json_canonicalizer::to_vec(&result)?;
    let report = Report {
        task: task.id,
        assignment: id,
        node: assignment.node,
        outputs: Vec::new(),
        result: BlobRef {
            digest: Digest::of(&bytes),
            size: Count(bytes.len() as u64),
        },
        metrics: Vec::new(),
        usage: Usage {
            fuel: Count(fuel),
            ..Usage::default()
        },
        trace_root: None,
        class: class_of_run(&assignment.hardware, task.definition.runtime),
        resumed_from: assignment.resume.map(|blob| blob.digest),
        salt: Hex(Digest::of(&id.0.to_bytes()).0),
    };
    Ok((report, result))
}

/// Seals a report.
pub(crate) fn seal(key: &SigningKey, report: &Report) -> SignedCommitment {
    SignedCommitment::sign(key, report.commitment())
}
