//! What a simulation is of: its size, its seed, the market's policy and what tasks ask for.

use aevir_platform::{
    amount::{Amount, Count},
    definition::{Limits, Method, Sampling, VerifierModule, Verifiers},
    digest::Digest,
    json::Json,
    policy::Policy,
    report::BlobRef,
};
use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::strategy::Strategy;

/// Tasks for each node and day.
pub(crate) const TASKS_PER_NODE_DAY: u64 = 200;
/// What a replica earns, in micro-AEV.
pub(crate) const PRICE: Amount = Amount(1_000_000);
/// What an honest run costs its maker, and a cheat saves: this part of the price.
pub(crate) const COST_PPM: i64 = 800_000;
/// What an owner with a stake puts up for its node, in micro-AEV: enough for twenty results that are open at a time.
pub(crate) const STAKE: Amount = Amount(60_000_000);
/// Who submits.
pub(crate) const REQUESTERS: usize = 20;
/// What a run takes on a node of speed 1, in ms, from and to.
pub(crate) const WORK_MS: (i64, i64) = (60_000, 180_000);
/// What a lie takes, in ms.
pub(crate) const LIE_MS: i64 = 2_000;
/// Nodes' speeds, in thousandths, from and to.
pub(crate) const SPEED_PER_MILLE: (i64, i64) = (800, 1_250);
/// Between a node and the platform, one way, in ms, from and to.
pub(crate) const LATENCY_MS: (i64, i64) = (20, 200);
/// How long a node that fell silent stays away, in ms.
pub(crate) const ABSENCE_MS: i64 = 600_000;
/// From giving a name up to the next one, in ms.
pub(crate) const RENAMING_MS: i64 = 60_000;
/// One in so many tasks has a bound on its latency, in ms.
pub(crate) const HASTY_ONE_IN: u64 = 8;
pub(crate) const HASTY_MS: u32 = 2_700_000;
/// What a verifier earns for looking at a result, in micro-AEV: where tasks ask for a check by verifiers.
pub(crate) const CHECK_FEE: Amount = Amount(200_000);
/// How many may look at a result, and how many must agree.
pub(crate) const VERIFIERS: (u32, u32) = (3, 2);
/// A check takes one of so many parts of the run that it looks at.
pub(crate) const CHECK_ONE_IN: i64 = 5;
/// The result of one in so many tasks does not pass its check, though it is right.
pub(crate) const FAILS_ONE_IN: u128 = 10;
/// Longest run that a task allows, in s: slow nodes keep it, too.
pub(crate) const RUNTIME_S: u32 = 900;
/// At the end, for what is under way to end and to mature, in ms, beside the dispute window.
pub(crate) const GRACE_MS: i64 = 4 * 3_600_000;
/// The part of the time at the beginning that counts as bootstrap: one of so many.
pub(crate) const BOOTSTRAP_ONE_IN: usize = 4;

/// One simulation.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) nodes: usize,
    pub(crate) hours: usize,
    pub(crate) seed: u64,
    pub(crate) strategy: Strategy,
    pub(crate) policy: Policy,
    pub(crate) sampling: Sampling,
}

impl Terms {
    /// How long tasks come in, in ms.
    pub(crate) fn span_ms(&self) -> i64 {
        i64::try_from(self.hours).unwrap_or(i64::MAX / HOUR_MS) * HOUR_MS
    }

    /// How many tasks come in.
    pub(crate) fn tasks(&self) -> usize {
        let per_day = self.nodes as u64 * TASKS_PER_NODE_DAY;
        usize::try_from(per_day * self.hours as u64 / 24).unwrap_or(usize::MAX)
    }

    /// How many nodes follow the strategy.
    pub(crate) fn others(&self) -> usize {
        self.nodes * self.strategy.share_ppm() as usize / 1_000_000
    }
}

pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The market's default policy with some fields changed: `/stake/strikes_free=0`.
///
/// # Errors
/// When a pointer names no field, or a value does not fit it.
pub(crate) fn policy(changes: &[String]) -> Result<Policy> {
    let mut policy = serde_json::to_value(Policy::default())?;
    for change in changes {
        let (pointer, value) = change
            .split_once('=')
            .with_context(|| format!("`{change}`: write `/stake/strikes_free=0`"))?;
        let field = policy
            .pointer_mut(pointer)
            .with_context(|| format!("a policy has no field `{pointer}`"))?;
        // Amounts are strings in JSON, other numbers are not: as the field has it.
        *field = match field {
            Value::String(_) => Value::from(value),
            _ => serde_json::from_str(value).with_context(|| format!("`{value}` is no JSON"))?,
        };
    }
    serde_json::from_value(policy).context("the policy does not fit its schema")
}

/// What the tasks ask for, as it stands in a definition: `{"quorum":2,"replicas":3}`.
///
/// # Errors
/// When it is no sampling.
pub(crate) fn sampling(text: &str) -> Result<Sampling> {
    serde_json::from_str(text).with_context(|| format!("`{text}` is no sampling method"))
}

/// What nodes run to judge a result.
pub(crate) fn check_module() -> BlobRef {
    let module = b"check module";
    BlobRef {
        digest: Digest::of(module),
        size: Count(module.len() as u64),
    }
}

/// It stands in the definitions.
pub(crate) fn verification(terms: &Terms) -> Vec<Method> {
    let mut methods = vec![Method::Sampling(terms.sampling.clone())];
    if terms.strategy.is_about_verifiers() {
        let (count, quorum) = VERIFIERS;
        let check = VerifierModule {
            module: check_module().digest,
            params: Json::default(),
            limits: Limits::default(),
            verifiers: Verifiers {
                count,
                quorum,
                fee: CHECK_FEE,
            },
        };
        methods.push(Method::Check {
            schema: None,
            bounds: Vec::new(),
            module: Some(Box::new(check)),
        });
    }
    methods
}
