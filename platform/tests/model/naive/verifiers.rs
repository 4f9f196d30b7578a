//! Verifiers in the model: what they may cost, out of which escrow that comes, on which track their words count, and whom results that
//! they compared may blame.

use std::collections::BTreeMap;

use aevir_platform::{
    definition::{Method, Runtime, TaskDefinition, Verifiers},
    event::{InspectionOrigin, TaskVerified, Track},
    ids::AssignmentId,
    policy::Policy,
};

use super::{Naive, Stage, Task, prices, replicas, share};

/// What a task asks verifiers about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// Its result, by the method of this place in the definition.
    Method(u32),
    /// Whether these two results agree.
    Pair(AssignmentId, AssignmentId),
}

/// The most that one question may cost.
fn cost(of: Verifiers, definition: &TaskDefinition, policy: &Policy) -> i64 {
    let attempt = policy.attempt_fee.0;
    let most = i64::from(of.count);
    let fees = most * of.fee.0;
    let paid = fees + share(fees, policy.platform_share_ppm);
    let attempts = attempt * i64::from(definition.retry.max_attempts);
    paid.max(most * attempt) + attempts
}

/// What one comparison may cost, of a task whose results verifiers compare.
fn comparison(definition: &TaskDefinition, policy: &Policy) -> Option<i64> {
    let mut methods = definition.verification.iter();
    let module = methods.find_map(|method| match method {
        Method::Sampling(sampling) => sampling.comparator.module(),
        Method::Check { .. } | Method::Attestation { .. } => None,
    });
    Some(cost(module?.verifiers, definition, policy))
}

/// The most that all verifiers of a task may cost: each of its replicas can have to be compared with each other one.
pub(super) fn worst(definition: &TaskDefinition, policy: &Policy) -> i64 {
    let (most, ..) = replicas(definition);
    let pairs = i64::from(most * (most - 1) / 2);
    let methods: i64 = costs(definition, policy).values().sum();
    methods + pairs * comparison(definition, policy).unwrap_or(0)
}

/// The most that the verifiers of each method may cost, by its place in the definition.
fn costs(definition: &TaskDefinition, policy: &Policy) -> BTreeMap<u32, i64> {
    let cost = |(at, method): (usize, &Method)| {
        let verifiers = match method {
            Method::Check { module, .. } => &module.as_ref()?.verifiers,
            Method::Attestation { verifiers } => verifiers,
            Method::Sampling(_) => return None,
        };
        Some((at as u32, cost(*verifiers, definition, policy)))
    };
    let methods = definition.verification.iter().enumerate();
    methods.filter_map(cost).collect()
}

impl Task {
    /// What its escrow holds until it ends: all but what its verifiers' tasks got.
    pub(super) fn held(&self) -> i64 {
        self.escrow - self.passed_on.values().sum::<i64>()
    }

    /// What a node of another task earns at most that its verifiers may take.
    pub(super) fn risk(&self) -> i64 {
        self.inspects.map_or(0, |(_, risk)| risk)
    }

    /// Where its results earn and lose points.
    pub(super) fn track(&self) -> Track {
        match self.inspects {
            Some(_) => Track::Verification,
            None => Track::Compute,
        }
    }

    /// Its agreed result may be shown to be wrong by third parties alone: it asked them to run the task again.
    fn is_attested(&self) -> bool {
        let mut asked = self.passed_on.keys();
        asked.any(|question| match question {
            Question::Method(at) => {
                let method = &self.definition.verification[*at as usize];
                matches!(method, Method::Attestation { .. })
            }
            Question::Pair(..) => false,
        })
    }

    /// Others agree on something else than what a verdict refuses: nodes of its own sample, or the third parties that it asked.
    pub(super) fn is_refuted_by(&self, e: &TaskVerified) -> bool {
        use aevir_platform::event::RefusalReason::Mismatch;
        let by_verifiers = e.accepted.is_empty() && e.refused.iter().any(|r| r.reason == Mismatch);
        assert!(!by_verifiers || self.is_attested(), "by whom, then?");
        by_verifiers || !e.accepted.is_empty()
    }

    /// Verifiers compare its results where they are not equal.
    pub(super) fn is_compared(&self) -> bool {
        comparison(&self.definition, &self.policy).is_some()
    }

    /// Two accepted results of its class are equal, and none of them can be as right as one that differs: bits are the same there.
    pub(super) fn class_refutes(&self, id: AssignmentId, accepted: &[AssignmentId]) -> bool {
        let seen = |id: &AssignmentId| self.runs[id].seen.clone().unwrap();
        let of = seen(&id);
        let alike = accepted
            .iter()
            .filter(|other| seen(other).class == of.class);
        let mut times: BTreeMap<_, usize> = BTreeMap::new();
        alike.for_each(|other| *times.entry(seen(other).key).or_default() += 1);
        let is_repeatable = self.definition.runtime == Runtime::Reproducible;
        is_repeatable && times.values().any(|n| *n > 1)
    }
}

impl Naive {
    /// What a node earns at most for a result that such verifiers may refute.
    pub(super) fn at_risk(&self, origin: &InspectionOrigin) -> i64 {
        let of = &self.tasks[&origin.task].definition;
        match of.verification[origin.method as usize] {
            Method::Attestation { .. } => prices::most(of),
            Method::Check { .. } | Method::Sampling(_) => 0,
        }
    }

    /// A task is created that verifiers of another one work on: by its policy, and with a part of its escrow.
    pub(super) fn third_look(&mut self, origin: InspectionOrigin) -> (Policy, i64) {
        let InspectionOrigin {
            task,
            method,
            compares,
        } = origin;
        let of = self.tasks.get_mut(&task).unwrap();
        assert!(!of.ended, "it waits for what they say");
        let (question, escrow) = match compares {
            None => {
                let costs = costs(&of.definition, &of.policy);
                (Question::Method(method), costs[&method])
            }
            Some(pair) => {
                let shown = |id: &AssignmentId| of.runs[id].stage == Stage::Shown;
                assert!(pair.one < pair.two && shown(&pair.one) && shown(&pair.two));
                let escrow = comparison(&of.definition, &of.policy).unwrap();
                (Question::Pair(pair.one, pair.two), escrow)
            }
        };
        let twice = of.passed_on.insert(question, escrow);
        assert!(
            twice.is_none() && of.held() >= 0,
            "one look for each question"
        );
        (of.policy.clone(), escrow)
    }
}
