//! How many results a task's verdict rests on.

use aevir_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Pace, Phase, Task};
use crate::{
    event::{Refusal, TaskVerified},
    ids::{AssignmentId, NodeId},
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

    /// How many of the results that decide must have stake behind them: as many as the policy says, and no more than a quorum has. None
    /// where replicas earn nothing, for then nobody pledges anything, or where the requester does without.
    pub fn staked_votes(&self, policy: &Policy) -> u32 {
        if policy.asks_for_stake() && self.definition.asks_for_stake() {
            policy.verification.staked_votes.min(self.quorum())
        } else {
            0
        }
    }

    /// Verifiers work on it, all of whom pledge for their word: not in a private market, or where the policy does without.
    pub(crate) fn is_pledged(&self, policy: &Policy) -> bool {
        let is_asked_for = policy.verification.verifiers_staked && policy.market != Market::Private;
        self.inspects.is_some() && is_asked_for
    }

    /// Whether the next replica goes to a node that pledges stake for it, after a plan gave so many to the task: each further one after a
    /// disagreement; before that those placed last, or of those placed at once the first, as many as are needed.
    pub(crate) fn next_is_staked(&self, policy: &Policy, given: usize) -> bool {
        if self.is_pledged(policy) {
            return true;
        }
        let needed = self.staked_votes(policy) as usize;
        if needed == 0 || self.round > 1 {
            return needed > 0;
        }
        let live = self.assignments.values().filter(|a| a.is_replica());
        let backed = live.filter(|a| a.is_backed()).count();
        match self.pace {
            Pace::AtOnce => backed + given < needed,
            Pace::OneByOne => backed + self.missing_at_most() as usize <= needed,
        }
    }

    /// Whether an agreement of these results decides, with a reviewed one where it counts among them.
    pub(crate) fn may_decide(
        &self,
        agreed: &[AssignmentId],
        reviewed: usize,
        policy: &Policy,
    ) -> bool {
        self.backed(agreed) + reviewed >= self.staked_votes(policy) as usize
    }

    /// Whether its verdict shows that results which differ are wrong, and costs their nodes what a refused result costs.
    pub(crate) fn may_blame(&self, policy: &Policy) -> bool {
        let of = &self.definition;
        policy.blames(self.is_sampled(), of.asks_for_stake(), of.is_narrowed())
    }

    /// Whether its verdict shows those whom it blames to be wrong: a quorum agrees that may blame them, or third parties do.
    pub(crate) fn is_refuted_by(&self, verified: &TaskVerified, policy: &Policy) -> bool {
        match verified.accepted.is_empty() {
            true => verified.has_mismatch(),
            false => self.may_blame(policy),
        }
    }

    /// The results that a verdict refuses and blames their nodes for: not those that differ from a quorum which may blame nobody.
    pub(crate) fn blamed(
        &self,
        accepted: &[AssignmentId],
        refused: &[Refusal],
        policy: &Policy,
    ) -> Vec<AssignmentId> {
        let differing = accepted.is_empty() || self.may_blame(policy);
        let blamed = refused
            .iter()
            .filter(|refusal| refusal.reason.is_blamed(differing));
        blamed.map(|refusal| refusal.assignment).collect()
    }

    fn backed(&self, results: &[AssignmentId]) -> usize {
        let results = results.iter().filter_map(|id| self.assignments.get(id));
        results.filter(|a| a.is_backed()).count()
    }

    /// The node of the result that stands alone, and when it was sealed.
    pub(crate) fn lone_word(&self) -> Option<(NodeId, Timestamp)> {
        let Sample::Alone { assignment } = self.sample else {
            return None;
        };
        let assignment = self.assignments.get(&assignment)?;
        Some((assignment.node, assignment.commitment()?.at))
    }

    /// The result that a draw had repeated, where it was accepted.
    pub(crate) fn drawn_and_stood(&self) -> Option<&super::Assignment> {
        let trusted = self.assignments.get(&self.trusted()?)?;
        let is_accepted = self.verdict.as_ref()?.accepted.contains(&trusted.id);
        is_accepted.then_some(trusted)
    }

    /// All replicas of the first round are wanted.
    pub(crate) fn repeat(&mut self, trusted: Option<AssignmentId>) {
        self.sample = Sample::Repeated { trusted };
        self.replicas_wanted = self.definition.sampling().initial();
    }
}
