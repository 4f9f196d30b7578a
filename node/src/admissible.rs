//! What the platform takes in a reveal, checked before the seal.
//!
//! A result that is refused at its reveal counts as one that was never revealed, and the node pays for it. A module's
//! fault must not cost its node that, so it is found while the run can still be told as failed. `cli/tests` compares
//! these constants with the platform's.

use aevir_wire::{Artifact, Fail, MetricValue, canonical};
use serde_json::{Number, Value};

use crate::report::{class, failure};

/// Bytes of the inline result's canonical JSON.
pub const RESULT_BYTES_MAX: usize = 32 * 1024;
/// Levels of nesting in the inline result.
pub const RESULT_DEPTH_MAX: usize = 64;
/// Outputs of a run, and metrics of one.
pub const ENTRIES_MAX: usize = 64;
/// Bytes of an output's or metric's name.
const NAME_BYTES_MAX: usize = 64;
/// 2^53 - 1: canonical JSON holds integers up to here exactly.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
/// From here on canonical JSON writes numbers with an exponent, and nobody takes them for exact.
const EXPONENT_FROM: f64 = 1e21;

/// An inline result that could be revealed, in canonical form.
pub(crate) fn canonical_result(value: &Value) -> Result<Vec<u8>, Fail> {
    result(value)?;
    let bytes = canonical(value).map_err(|e| {
        let text = format!("the result has no canonical form: {e}");
        failure(class::GUEST_ERROR, text)
    })?;
    result_size(&bytes)?;
    Ok(bytes)
}

/// Whether it could be, before it is written in canonical form.
fn result(value: &Value) -> Result<(), Fail> {
    if depth(value) > RESULT_DEPTH_MAX {
        let text = format!("the result is nested more than {RESULT_DEPTH_MAX} levels deep");
        return Err(failure(class::GUEST_ERROR, text));
    }
    match inexact_number(value) {
        None => Ok(()),
        Some(number) => Err(failure(
            class::GUEST_ERROR,
            format!("the result's {number} is beyond ±(2^53 - 1): write it as a string"),
        )),
    }
}

/// Whether the canonical form is small enough. It can be three times the text that the module wrote.
fn result_size(bytes: &[u8]) -> Result<(), Fail> {
    if bytes.len() <= RESULT_BYTES_MAX {
        return Ok(());
    }
    let text = format!(
        "the result has {} bytes of canonical JSON; at most {RESULT_BYTES_MAX}: write what is large to an output",
        bytes.len()
    );
    Err(failure(class::LIMIT, text))
}

/// Whether names and counts of a report are what the platform takes.
pub(crate) fn entries(outputs: &[Artifact], metrics: &[MetricValue]) -> Result<(), Fail> {
    names("outputs", outputs.iter().map(|o| o.name.as_str()))?;
    names("metrics", metrics.iter().map(|m| m.name.as_str()))
}

/// The names come sorted.
fn names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Fail> {
    let names: Vec<_> = names.collect();
    if names.len() > ENTRIES_MAX {
        let text = format!("the run has {} {what}; at most {ENTRIES_MAX}", names.len());
        return Err(failure(class::LIMIT, text));
    }
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        let text =
            format!("`{name}` among the {what} is not [A-Za-z0-9._-]{{1,64}}, or is `.` or `..`");
        return Err(failure(class::GUEST_ERROR, text));
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(failure(
            class::GUEST_ERROR,
            format!("`{}` stands twice among the {what}", pair[0]),
        )),
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && !matches!(name, "." | "..")
}

/// Levels of nesting: 0 for a number, 1 for `[]`.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The first number that canonical JSON would write as an integer which it can't hold exactly.
fn inexact_number(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => is_inexact(number).then_some(number),
        Value::Array(items) => items.iter().find_map(inexact_number),
        Value::Object(fields) => fields.values().find_map(inexact_number),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn is_inexact(number: &Number) -> bool {
    let integer = number
        .as_u64()
        .or_else(|| number.as_i64().map(i64::unsigned_abs));
    match (integer, number.as_f64().map(f64::abs)) {
        (Some(integer), _) => integer > SAFE_INTEGER_MAX,
        (None, Some(real)) => real > SAFE_INTEGER_MAX as f64 && real < EXPONENT_FROM,
        (None, None) => true,
    }
}
