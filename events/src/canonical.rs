//! Canonical JSON (RFC 8785, JCS) that never loses a digit.
//!
//! JCS numbers are doubles. A 64-bit integer above 2^53 would be rounded without a word, so it's an error here
//! where bytes are stored, and a decimal string where a hash is taken of in-memory data.

mod writer;

use serde::Serialize;
use serde_json::Value;

pub(crate) use self::writer::JcsError;
use self::writer::{UnsafeIntegers, to_vec};
use crate::merkle::Hash;

/// 2^53 - 1: the largest integer n for which both n and n + 1 are exact doubles.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// SHA-256 of the canonical JSON of any serialisable value. Integers beyond ±(2^53 - 1) count as decimal
/// strings, so that values that differ in one unit differ in their hash.
///
/// # Errors
/// When the value has no JSON form, such as a map whose keys aren't strings.
pub fn canonical_hash<T: Serialize + ?Sized>(value: &T) -> Result<Hash, serde_json::Error> {
    match to_vec(value, UnsafeIntegers::Quote) {
        Ok(bytes) => Ok(Hash::of(&bytes)),
        Err(JcsError::Json(error)) => Err(error),
        Err(error @ JcsError::UnsafeInteger(_)) => Err(serde::ser::Error::custom(error)),
    }
}

/// The canonical JSON of any serialisable value, for storage.
///
/// # Errors
/// When the value has no JSON form, or has an integer beyond ±(2^53 - 1).
pub(crate) fn canonical_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, JcsError> {
    to_vec(value, UnsafeIntegers::Refuse)
}

/// The first number in `value` that canonical JSON would write as an integer which it can't hold exactly. A double
/// such as `1e17` is one too: it's written with all its digits, and would be read back as an integer.
pub fn unsafe_integer(value: &Value) -> Option<String> {
    match value {
        Value::Number(_) if is_unsafe(value) => Some(value.to_string()),
        Value::Array(items) => items.iter().find_map(unsafe_integer),
        Value::Object(fields) => fields.values().find_map(unsafe_integer),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// From here on canonical JSON writes doubles with an exponent, so that they're read back as doubles.
const EXPONENT_FROM: f64 = 1e21;

fn is_unsafe(value: &Value) -> bool {
    let magnitude = value
        .as_u64()
        .or_else(|| value.as_i64().map(i64::unsigned_abs));
    match magnitude {
        Some(magnitude) => magnitude > MAX_SAFE_INTEGER,
        // Doubles from 2^53 on have no fraction.
        None => value.as_f64().is_some_and(is_unsafe_double),
    }
}

fn is_unsafe_double(x: f64) -> bool {
    x.abs() > MAX_SAFE_INTEGER as f64 && x.abs() < EXPONENT_FROM
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use proptest::prelude::*;
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

    #[test]
    fn finds_doubles_that_would_be_read_back_as_rounded_integers() {
        for x in [1e17, -1e20, 9_007_199_254_740_994.0] {
            // How a double is spelt in the message is serde_json's business.
            assert_eq!(unsafe_integer(&json!([x])), Some(json!(x).to_string()));
        }
        assert_eq!(unsafe_integer(&json!([1e21, 1e-7, 4.5e15, -0.0])), None);
    }

    proptest! {
        /// What is written is read back as what it was, to the last bit of every double.
        #[test]
        fn canonical_bytes_are_a_fixed_point(x in proptest::num::f64::NORMAL) {
            let value = json!(x);
            prop_assume!(unsafe_integer(&value).is_none());
            let bytes = serde_json_canonicalizer::to_vec(&value).unwrap();
            let read: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(unsafe_integer(&read), None);
            prop_assert_eq!(serde_json_canonicalizer::to_vec(&read).unwrap(), bytes);
        }
    }
}
