//! How many results a task's verdict rests on.

use serde::{Deserialize, Serialize};

use super::{Phase, Task};
use crate::ids::AssignmentId;

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

    /// All replicas of the first round are wanted.
    pub(crate) fn repeat(&mut self, trusted: Option<AssignmentId>) {
        self.sample = Sample::Repeated { trusted };
        self.replicas_wanted = self.definition.sampling().initial();
    }
}
