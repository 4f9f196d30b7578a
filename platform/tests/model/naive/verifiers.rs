//! Verifiers in the model: what they may cost, out of which escrow that comes, and on which track their words count.

use std::collections::BTreeMap;

use aevir_platform::{
    definition::{Method, TaskDefinition},
    event::{InspectionOrigin, TaskVerified, Track},
    policy::Policy,
};

use super::{Naive, Task, share};

/// The most that the verifiers of each method may cost, by its place in the definition.
pub(super) fn costs(definition: &TaskDefinition, policy: &Policy) -> BTreeMap<u32, i64> {
    let attempt = policy.attempt_fee.0;
    let cost = |(at, method): (usize, &Method)| {
        let verifiers = match method {
            Method::Check { module, .. } => module.as_ref()?.verifiers,
            Method::Attestation { verifiers } => *verifiers,
            Method::Sampling(_) => return None,
        };
        let most = i64::from(verifiers.count);
        let fees = most * verifiers.fee.0;
        let paid = fees + share(fees, policy.platform_share_ppm);
        let attempts = attempt * i64::from(definition.retry.max_attempts);
        Some((at as u32, paid.max(most * attempt) + attempts))
    };
    let methods = definition.verification.iter().enumerate();
    methods.filter_map(cost).collect()
}

impl Task {
    /// What its escrow holds until it ends: all but what its verifiers' tasks got.
    pub(super) fn held(&self) -> i64 {
        self.escrow - self.passed_on.values().sum::<i64>()
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
        asked.any(|at| {
            let method = &self.definition.verification[*at as usize];
            matches!(method, Method::Attestation { .. })
        })
    }

    /// Others agree on something else than what a verdict refuses: nodes of its own sample, or the third parties that it asked.
    pub(super) fn is_refuted_by(&self, e: &TaskVerified) -> bool {
        use aevir_platform::event::RefusalReason::Mismatch;
        let by_verifiers = e.accepted.is_empty() && e.refused.iter().any(|r| r.reason == Mismatch);
        assert!(!by_verifiers || self.is_attested(), "by whom, then?");
        by_verifiers || !e.accepted.is_empty()
    }
}

impl Naive {
    /// A task is created that verifiers of another one work on: by its policy, and with a part of its escrow.
    pub(super) fn third_look(&mut self, origin: InspectionOrigin) -> (Policy, i64) {
        let InspectionOrigin { task, method, .. } = origin;
        let of = self.tasks.get_mut(&task).unwrap();
        assert!(!of.ended, "it waits for what they say");
        let escrow = costs(&of.definition, &of.policy)[&method];
        let twice = of.passed_on.insert(method, escrow);
        assert!(
            twice.is_none() && of.held() >= 0,
            "one look for each method"
        );
        (of.policy.clone(), escrow)
    }
}
