//! How many results a task's verdict rests on.

use serde::{Deserialize, Serialize};

use super::{Assignment, Pace, Phase, Task};
use crate::{
    amount::Amount,
    event::{Refusal, RefusalReason},
    ids::AssignmentId,
    policy::{Market, Policy},
};

/// How many results a task's verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sample", rename_all = "kebab-case")]
pub enum Sample {
    /// An adaptive one begins with one replica; whether there are more is decided once that is sealed.
    Undecided,
    /// Its one result is not repeated.
    Alone { assignment: AssignmentId },
    /// All replicas of the first round, and more on disagreement.
    Repeated {
        /// The result that could have stood alone, if a draw had not had it repeated.
        trusted: Option<AssignmentId>,
    },
}

impl Task {
    /// How many more the first round may need: of an adaptive sample all of it, as long as it is not decided.
    pub fn missing_at_most(&self) -> u32 {
        match (self.sample, &self.phase) {
            (Sample::Undecided, Phase::Queued | Phase::Running) => {
                let all = self.definition.sampling().initial();
                all.saturating_sub(self.filled())
            }
            (Sample::Undecided | Sample::Alone { .. } | Sample::Repeated { .. }, _) => {
                self.missing()
            }
        }
    }

    /// The sample's public name: `undecided`, `alone` or `repeated`.
    pub fn sample_name(&self) -> &'static str {
        match self.sample {
            Sample::Undecided => "undecided",
            Sample::Alone { .. } => "alone",
            Sample::Repeated { .. } => "repeated",
        }
    }

    /// How many must agree: one that stands alone need not.
    pub fn quorum(&self) -> u32 {
        match self.sample {
            Sample::Alone { .. } => 1,
            Sample::Undecided | Sample::Repeated { .. } => self.definition.sampling().quorum,
        }
    }

    /// The result that could have stood alone, and was repeated.
    pub fn trusted(&self) -> Option<AssignmentId> {
        match self.sample {
            Sample::Repeated { trusted } => trusted,
            Sample::Undecided | Sample::Alone { .. } => None,
        }
    }

    /// Only a quorum with stake behind it decides. Not where replicas earn nothing, for then nobody pledges anything.
    pub fn asks_for_stake(&self, policy: &Policy) -> bool {
        let sampling = self.definition.sampling();
        let is_paid = self.definition.economics.pricing.max_price() > Amount::ZERO;
        refutes_by_stake(policy) && sampling.replicas > 1 && !sampling.unstaked && is_paid
    }

    /// The next replica goes to a node that pledges stake for it: each further one after a disagreement; before that, as long as no
    /// replica has stake behind it, the last one of the first round, or the first one of those that are placed at once.
    pub(crate) fn next_is_staked(&self, policy: &Policy) -> bool {
        if !self.asks_for_stake(policy) {
            return false;
        }
        let mut live = self.assignments.values().filter(|a| a.is_replica());
        let is_last = self.pace == Pace::AtOnce || self.missing_at_most() <= 1;
        self.round > 1 || is_last && !live.any(Assignment::is_backed)
    }

    /// Whether an agreement of these results decides.
    pub(crate) fn may_decide(&self, agreed: &[AssignmentId], policy: &Policy) -> bool {
        !self.asks_for_stake(policy) || self.is_backed(agreed)
    }

    /// Whether an agreement of these results shows that others are wrong, and costs their nodes what a refused result costs.
    pub(crate) fn may_blame(&self, agreed: &[AssignmentId], policy: &Policy) -> bool {
        !self.is_sampled() || !refutes_by_stake(policy) || self.is_backed(agreed)
    }

    /// The results that a verdict refuses and blames their nodes for: not those that differ from a quorum which may blame nobody.
    pub(crate) fn blamed(
        &self,
        accepted: &[AssignmentId],
        refused: &[Refusal],
        policy: &Policy,
    ) -> Vec<AssignmentId> {
        let differing = accepted.is_empty() || self.may_blame(accepted, policy);
        let blamed = refused.iter().filter(|refusal| match refusal.reason {
            RefusalReason::Mismatch => differing,
            RefusalReason::NotRevealed => true,
        });
        blamed.map(|refusal| refusal.assignment).collect()
    }

    fn is_backed(&self, results: &[AssignmentId]) -> bool {
        let mut results = results.iter().filter_map(|id| self.assignments.get(id));
        results.any(Assignment::is_backed)
    }

    /// All replicas of the first round are wanted.
    pub(crate) fn repeat(&mut self, trusted: Option<AssignmentId>) {
        self.sample = Sample::Repeated { trusted };
        self.replicas_wanted = self.definition.sampling().initial();
    }
}

/// In a market of strangers who pledge nothing nobody is shown to be wrong: names cost nothing.
fn refutes_by_stake(policy: &Policy) -> bool {
    policy.market == Market::Open && policy.verification.staked_quorum
}
