//! How a task's results are verified.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Limits;
use crate::{amount::Amount, digest::Digest};

/// One way of verifying the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Method {
    /// Contract checks on the agreed result.
    Check {
        /// A JSON Schema (2020-12) that the inline result must satisfy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Value>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bounds: Vec<Bound>,
        /// A module that judges the agreed result, run by drawn verifiers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        module: Option<Box<VerifierModule>>,
    },
    /// Several nodes run the task; `quorum` of them must agree.
    Sampling(Sampling),
    /// Third parties, who have no part in the task, run it again before its verdict; `verifiers.quorum` of them must agree with the
    /// result.
    Attestation { verifiers: Verifiers },
}

/// A module that drawn verifiers run, for the world `check` or `comparator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifierModule {
    /// SHA-256 of a registered module that fits the world.
    pub module: Digest,
    /// Handed to the module as JSON text; at most 16 KiB.
    #[serde(default)]
    pub params: Value,
    /// Bounds of one run of it.
    #[serde(default)]
    pub limits: Limits,
    pub verifiers: Verifiers,
}

/// How many verifiers look at a result, and what they earn. They are drawn by the epoch's secret among the nodes of owners who have no part
/// in the task, and commit and reveal their words as nodes do with results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verifiers {
    /// The most that may ever be drawn and paid; 2 to 9.
    pub count: u32,
    /// How many must agree; more than half of `count`. So many are drawn first, and more only on disagreement.
    pub quorum: u32,
    /// What each verifier earns that is accepted.
    pub fee: Amount,
}

/// Bounds of one reported metric, as decimals with at most six decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub metric: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<String>,
}

/// How many replicas run, and how their results are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// The most replicas that may ever be paid for; 1 to 9.
    pub replicas: u32,
    /// How many must agree; more than half of `replicas`.
    pub quorum: u32,
    /// How many the first round has, drawn one after the other where `max_latency_ms` and `deadline` leave time for it; `quorum` when
    /// absent. The rest run only on disagreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<u32>,
    #[serde(default)]
    pub comparator: Comparator,
    /// One result of a trusted node may do: the first round has one replica, and whether there are more is decided once it is sealed, by
    /// the node's stake and record and by a draw (`docs/economics.md`, Adaptive samples). The escrow is the same. Left out: all replicas
    /// of the first round always run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub adaptive: bool,
    /// A quorum may decide that has no stake behind it. It blames nobody: who is outvoted by it is not paid, and loses nothing else.
    /// Left out, in an open market nodes that pledged stake for their results must be among those that agree, and the task waits for such
    /// nodes (`docs/economics.md`, Staked quorums).
    #[serde(default, skip_serializing_if = "is_false")]
    pub unstaked: bool,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Method {
    /// The verifiers that it asks for.
    pub fn verifiers(&self) -> Option<Verifiers> {
        match self {
            Self::Check { module, .. } => module.as_ref().map(|check| check.verifiers),
            Self::Sampling(_) => None,
            Self::Attestation { verifiers } => Some(*verifiers),
        }
    }
}

impl Verifiers {
    /// Their words are compared like results of a sample.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            replicas: self.count,
            quorum: self.quorum,
            initial: None,
            comparator: Comparator::Bitwise,
            adaptive: false,
            unstaked: false,
        }
    }
}

impl Sampling {
    /// A task without a sampling method: one node's word.
    pub const NONE: Self = Self {
        replicas: 1,
        quorum: 1,
        initial: None,
        comparator: Comparator::Bitwise,
        adaptive: false,
        unstaked: false,
    };

    /// How many replicas the first round has.
    pub fn initial(&self) -> u32 {
        self.initial.unwrap_or(self.quorum)
    }
}

/// When two replicas' results agree.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Comparator {
    /// Same digests of the outputs and of the result, same metrics. Replicas of a task that uses the GPU are
    /// placed on one hardware class, within which results are reproducible.
    #[default]
    Bitwise,
    /// Where too few are equal bit by bit, drawn verifiers compare two at a time with a module of the world `comparator`: a result is agreed
    /// on with which so many others agree as the quorum lacks. Replicas may be of any hardware class.
    Module(Box<VerifierModule>),
}

impl Comparator {
    /// The module that compares, where one does.
    pub fn module(&self) -> Option<&VerifierModule> {
        match self {
            Self::Bitwise => None,
            Self::Module(module) => Some(module),
        }
    }
}
