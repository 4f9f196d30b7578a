//! Contract checks: does a result satisfy the requester's JSON Schema, and its metrics their bounds?

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::{
    amount::parse_micro,
    definition::{Bound, Method, TaskDefinition},
    event::CheckResult,
    report::MetricValue,
};

/// Compiled size of one pattern: compiling happens in the single writer, and must be quick.
const PATTERN_BYTES_MAX: usize = 32 * 1024;

/// References could make a schema validate for ever; a check's schema stands by itself.
const REFUSED_KEYWORDS: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Compiles a check's schema. Patterns run in linear time.
///
/// # Errors
/// What is wrong with the schema.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    if let Some(keyword) = find_keyword(schema) {
        return Err(format!(
            "`{keyword}` is refused: write the schema without references"
        ));
    }
    jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .build(schema)
        .map_err(|e| format!("it is no JSON Schema: {e}"))
}

fn find_keyword(schema: &Value) -> Option<&'static str> {
    match schema {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            REFUSED_KEYWORDS
                .into_iter()
                .find(|k| k == name)
                .or_else(|| find_keyword(value))
        }),
        Value::Array(items) => items.iter().find_map(find_keyword),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// One contract check of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Check<'a> {
    Schema(&'a Value),
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
        Check::Schema(schema) => check_schema(schema, result),
        Check::Bound(bound) => check_bound(bound, metrics),
    };
    of(definition).map(outcome).collect()
}

pub(crate) fn check_schema(schema: &Value, result: &Value) -> CheckResult {
    let detail = match compile(schema) {
        Ok(validator) => match validator.validate(result) {
            Ok(()) => {
                return CheckResult {
                    check: "schema".into(),
                    passed: true,
                    detail: "satisfied".into(),
                };
            }
            // The instance itself stays out of the log.
            Err(e) => format!("not satisfied at `{}`", e.instance_path()),
        },
        Err(e) => e,
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
