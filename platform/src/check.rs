//! Contract checks: does a result satisfy the requester's JSON Schema, and its metrics their bounds?

mod pattern;
mod vocabulary;
mod work;

use jsonschema::{PatternOptions, Validator};
pub(crate) use pattern::Patterns;
use serde_json::Value;

use crate::{
    amount::parse_micro,
    definition::{Bound, Method, TaskDefinition},
    event::CheckResult,
    json::Json,
    report::MetricValue,
};

/// Compiled size of one pattern: compiling happens in the single writer, and must be quick.
const COMPILED_BYTES_MAX: usize = 32 * 1024;

/// What is wrong with a schema, and where in it.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// A JSON pointer into the schema.
    pub(crate) at: String,
    pub(crate) detail: String,
}

/// Holds a check's schema to what may be submitted: it can be held against a result, and quickly whatever that is.
///
/// Its patterns come on top of those of the task's other schemas.
///
/// # Errors
/// What is wrong with the schema, where, and what to write instead.
pub(crate) fn submit(schema: &Json, patterns: &mut Patterns) -> Result<(), Misfit> {
    let schema = &schema.value();
    vocabulary::check(schema, "")?;
    // Before they are compiled with the rest, which takes as long as patterns may.
    let taken = patterns.take(&vocabulary::patterns(schema));
    taken.map_err(|detail| Misfit {
        at: String::new(),
        detail,
    })?;
    build(schema).map(drop)
}

/// Makes what holds results against a schema. Patterns run in linear time.
fn build(schema: &Value) -> Result<Validator, Misfit> {
    jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex().size_limit(COMPILED_BYTES_MAX))
        .build(schema)
        .map_err(|e| Misfit {
            at: e.instance_path().to_string(),
            detail: format!("it is no JSON Schema: {e}"),
        })
}

/// One contract check of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Check<'a> {
    Schema(&'a Json),
    Bound(&'a Bound),
}

/// A task's contract checks, in the order in which their outcomes are recorded.
pub(crate) fn of(definition: &TaskDefinition) -> impl Iterator<Item = Check<'_>> {
    let checks = definition
        .verification
        .iter()
        .filter_map(|method| match method {
            Method::Check { schema, bounds, .. } => Some((schema, bounds)),
            Method::Sampling(_) | Method::Attestation { .. } => None,
        });
    checks.flat_map(|(schema, bounds)| {
        let schema = schema.iter().map(Check::Schema);
        schema.chain(bounds.iter().map(Check::Bound))
    })
}

/// Runs every contract check of a task on one result.
pub(crate) fn run(
    definition: &TaskDefinition,
    result: &Value,
    metrics: &[MetricValue],
) -> Vec<CheckResult> {
    let outcome = |check| match check {
        Check::Schema(schema) => check_schema(&schema.value(), result),
        Check::Bound(bound) => check_bound(bound, metrics),
    };
    of(definition).map(outcome).collect()
}

pub(crate) fn check_schema(schema: &Value, result: &Value) -> CheckResult {
    let built = vocabulary::check(schema, "").and_then(|()| build(schema));
    let detail = match built {
        Ok(_) if !work::fits(schema, result) => format!(
            "holding the result against the schema takes more than {} steps",
            work::STEPS_MAX
        ),
        Ok(validator) if validator.is_valid(result) => {
            return CheckResult {
                check: "schema".into(),
                passed: true,
                detail: "satisfied".into(),
            };
        }
        // The validator tells all that is wrong with each alternative, with the schema and where it was, which is more than was counted.
        Ok(_) if vocabulary::has_alternatives(schema) => "not satisfied".into(),
        // The instance itself stays out of the log.
        Ok(validator) => match validator.validate(result) {
            Ok(()) => "not satisfied".into(),
            Err(e) => format!("not satisfied at `{}`", e.instance_path()),
        },
        Err(misfit) => misfit.detail,
    };
    CheckResult {
        check: "schema".into(),
        passed: false,
        detail: detail.chars().take(200).collect(),
    }
}

pub(crate) fn check_bound(bound: &Bound, metrics: &[MetricValue]) -> CheckResult {
    let check = format!("metric {}", bound.metric);
    let Some(metric) = metrics.iter().find(|m| m.name == bound.metric) else {
        return CheckResult {
            check,
            passed: false,
            detail: "not reported".into(),
        };
    };
    let limit = |text: &Option<String>| text.as_deref().map(parse_micro).transpose();
    match (limit(&bound.at_least), limit(&bound.at_most)) {
        (Ok(least), Ok(most)) => {
            let passed =
                least.is_none_or(|l| metric.value >= l) && most.is_none_or(|m| metric.value <= m);
            CheckResult {
                check,
                passed,
                detail: format!("{} micro-units", metric.value),
            }
        }
        (Err(e), _) | (_, Err(e)) => CheckResult {
            check,
            passed: false,
            detail: e.to_string(),
        },
    }
}
