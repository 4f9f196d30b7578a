//! How a task's results are verified.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limits, TaskDefinition};
use crate::{amount::Amount, decide::RESULT_BYTES_MAX, digest::Digest, json::Json};

/// One way of verifying the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Method {
    /// Contract checks on the agreed result.
    Check {
        /// A JSON Schema (2020-12) that the inline result must satisfy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Json>,
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
    pub params: Json,
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
    /// The same by the module that the market's policy names for it, with these parameters. The log has it as `module`.
    Tolerance(Box<Tolerance>),
}

/// How far numbers at the same place of two results may be from each other: to be within one of the three suffices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Names of outputs that are arrays of numbers, little-endian; 1 to 16. Nothing else of the results is looked at.
    pub outputs: Vec<String>,
    /// What they are arrays of.
    #[serde(default)]
    pub numbers: Numbers,
    /// Bytes at the head of each that are equal, before the numbers begin.
    #[serde(default)]
    pub skip: u32,
    /// The difference that is always allowed; not negative.
    #[serde(default = "nothing")]
    pub absolute: serde_json::Number,
    /// The difference that is allowed as a part of the larger of the two numbers; not negative.
    #[serde(default = "nothing")]
    pub relative: serde_json::Number,
    /// How many steps from one representable number to the next may be between them (units in the last place).
    #[serde(default)]
    pub ulps: u32,
    /// Bounds of one comparison.
    #[serde(default)]
    pub limits: Limits,
    pub verifiers: Verifiers,
}

/// A type of numbers, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    #[default]
    F32,
    F64,
    I32,
    U32,
}

fn nothing() -> serde_json::Number {
    0.into()
}

impl Tolerance {
    /// What the module is told that compares by it.
    pub(crate) fn by(&self, module: Digest) -> VerifierModule {
        let params = Json::of(&serde_json::json!({
            "outputs": self.outputs,
            "numbers": self.numbers,
            "skip": self.skip,
            "absolute": self.absolute,
            "relative": self.relative,
            "ulps": self.ulps,
        }));
        VerifierModule {
            module,
            params,
            limits: self.limits.clone(),
            verifiers: self.verifiers,
        }
    }
}

impl Comparator {
    /// The module that compares, where one does.
    pub fn module(&self) -> Option<&VerifierModule> {
        match self {
            Self::Bitwise | Self::Tolerance(_) => None,
            Self::Module(module) => Some(module),
        }
    }

    /// Results that are not equal are not alike.
    pub fn is_bitwise(&self) -> bool {
        match self {
            Self::Bitwise => true,
            Self::Module(_) | Self::Tolerance(_) => false,
        }
    }
}

impl TaskDefinition {
    /// The module that compares its results, with the place of the method that says so.
    pub fn comparison(&self) -> Option<(u32, &VerifierModule)> {
        let mut methods = (0u32..).zip(&self.verification);
        methods.find_map(|(at, method)| match method {
            Method::Sampling(sampling) => Some((at, sampling.comparator.module()?)),
            Method::Check { .. } | Method::Attestation { .. } => None,
        })
    }

    /// The tolerance that it names in place of a module, with the place of the method that does.
    pub(crate) fn tolerance(&self) -> Option<(usize, &Tolerance)> {
        let mut methods = self.verification.iter().enumerate();
        methods.find_map(|(at, method)| match method {
            Method::Sampling(sampling) => match &sampling.comparator {
                Comparator::Tolerance(tolerance) => Some((at, tolerance.as_ref())),
                Comparator::Bitwise | Comparator::Module(_) => None,
            },
            Method::Check { .. } | Method::Attestation { .. } => None,
        })
    }

    /// The same with a module that compares by its tolerance.
    pub(crate) fn compared_by(&self, module: Digest) -> Self {
        let mut resolved = self.clone();
        for method in &mut resolved.verification {
            if let Method::Sampling(sampling) = method
                && let Comparator::Tolerance(tolerance) = &sampling.comparator
            {
                sampling.comparator = Comparator::Module(Box::new(tolerance.by(module)));
            }
        }
        resolved
    }

    /// The most bytes that two results of it have together.
    pub(crate) fn compared_bytes_max(&self) -> u64 {
        let outputs = u64::from(self.limits.output_mib) * 1024 * 1024;
        2 * (outputs + RESULT_BYTES_MAX as u64)
    }

    /// How many comparisons of two there can be of so many results, where a module compares.
    pub(crate) fn comparisons(&self, results: u32) -> u32 {
        let pairs = results.saturating_mul(results.saturating_sub(1)) / 2;
        self.comparison().map_or(0, |_| pairs)
    }

    /// Its requester chose by what nodes say of themselves who may run it: a quorum of such nodes may be all his. An ask is such a word, too:
    /// where hardly anybody has one for the task's type, those with one are whom he likes.
    pub fn is_narrowed(&self) -> bool {
        let qos = &self.qos;
        let by_labels =
            !(qos.labels.is_empty() && qos.labels_any.is_empty() && qos.labels_not.is_empty());
        by_labels || qos.min_mfuel_s.is_some() || self.economics.pricing.is_by_ask()
    }

    /// A quorum of its sample needs stake behind it, in a market that asks for any: not where replicas earn nothing, for then nobody pledges
    /// anything, or where the requester does without.
    pub fn asks_for_stake(&self) -> bool {
        let sampling = self.sampling();
        let is_paid = self.economics.pricing.max_price() > Amount::ZERO;
        sampling.replicas > 1 && !sampling.unstaked && is_paid
    }
}
