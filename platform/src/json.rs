//! What JSON may stand in the log: numbers that canonical JSON holds exactly, nested no deeper than readers go.

use serde_json::Value;

/// Levels of nesting in params, schemas and results. Readers of the log stop at 128 for a whole entry.
pub const JSON_DEPTH_MAX: usize = 64;

/// Whether the log's readers would read the value back as it is.
///
/// # Errors
/// What they could not read, in a sentence.
pub fn readable(value: &Value) -> Result<(), String> {
    if depth(value) > JSON_DEPTH_MAX {
        return Err(format!(
            "it is nested more than {JSON_DEPTH_MAX} levels deep"
        ));
    }
    match aevir_events::unsafe_integer(value) {
        None => Ok(()),
        Some(number) => Err(format!(
            "{number} is beyond ±(2^53 - 1): write it as a string"
        )),
    }
}

/// Levels of nesting: 0 for a number, 1 for `[]`.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_readers_would_stumble_over_is_named() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(readable(&nested(JSON_DEPTH_MAX)), Ok(()));
        assert!(readable(&nested(JSON_DEPTH_MAX + 1)).is_err_and(|e| e.contains("nested")));
        assert!(readable(&json!({"n": [1e17]})).is_err_and(|e| e.contains("2^53")));
    }
}
