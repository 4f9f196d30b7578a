//! Canonical JSON (RFC 8785, JCS) that never loses a digit.
//!
//! JCS numbers are doubles. A 64-bit integer above 2^53 would be rounded without a word, so it's an error here
//! where bytes are stored, and a decimal string where a hash is taken of in-memory data.

use serde::Serialize;
use serde_json::Value;

use crate::merkle::Hash;

/// 2^53 - 1: the largest integer n for which both n and n + 1 are exact doubles.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// SHA-256 of the canonical JSON of any serialisable value. Integers beyond ±(2^53 - 1) count as decimal
/// strings, so that values that differ in one unit differ in their hash.
///
/// # Errors
/// When the value has no JSON form, such as a map whose keys aren't strings.
pub fn canonical_hash<T: Serialize + ?Sized>(value: &T) -> Result<Hash, serde_json::Error> {
    let mut json = serde_json::to_value(value)?;
    replace_unsafe_integers(&mut json);
    Ok(Hash::of(&serde_json_canonicalizer::to_vec(&json)?))
}

/// The first integer in `value` that canonical JSON can't hold exactly.
pub(crate) fn unsafe_integer(value: &Value) -> Option<String> {
    match value {
        Value::Number(_) if is_unsafe(value) => Some(value.to_string()),
        Value::Array(items) => items.iter().find_map(unsafe_integer),
        Value::Object(fields) => fields.values().find_map(unsafe_integer),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn is_unsafe(value: &Value) -> bool {
    let magnitude = value
        .as_u64()
        .or_else(|| value.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|n| n > MAX_SAFE_INTEGER)
}

fn replace_unsafe_integers(value: &mut Value) {
    match value {
        Value::Number(_) if is_unsafe(value) => *value = Value::String(value.to_string()),
        Value::Array(items) => items.iter_mut().for_each(replace_unsafe_integers),
        Value::Object(fields) => fields.values_mut().for_each(replace_unsafe_integers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn one_unit_beyond_the_double_range_changes_the_hash() {
        assert_ne!(
            canonical_hash(&u64::MAX).unwrap(),
            canonical_hash(&(u64::MAX - 1)).unwrap()
        );
        assert_ne!(
            canonical_hash(&i64::MIN).unwrap(),
            canonical_hash(&(i64::MIN + 1)).unwrap()
        );
    }

    #[test]
    fn order_of_map_entries_does_not_change_the_hash() {
        let one: HashMap<String, u8> = (0..50).map(|n| (n.to_string(), n)).collect();
        let other: HashMap<String, u8> = (0..50).rev().map(|n| (n.to_string(), n)).collect();
        assert_eq!(
            canonical_hash(&one).unwrap(),
            canonical_hash(&other).unwrap()
        );
    }

    #[test]
    fn finds_integers_that_would_be_rounded() {
        let limit = MAX_SAFE_INTEGER;
        assert_eq!(
            unsafe_integer(&json!({"a": [1, 0.5, limit, -(limit as i64)]})),
            None
        );
        assert_eq!(
            unsafe_integer(&json!({"a": [{"b": limit + 1}]})),
            Some((limit + 1).to_string())
        );
        assert_eq!(
            unsafe_integer(&json!([i64::MIN])),
            Some(i64::MIN.to_string())
        );
    }
}
