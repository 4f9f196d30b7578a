//! What JSON may stand in the log: numbers that canonical JSON holds exactly, nested no deeper than readers go. And how free JSON is kept.

use std::{borrow::Cow, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
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

/// A name as a JSON pointer has it (RFC 6901, section 3).
pub fn pointer_token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Levels of nesting: 0 for a number, 1 for `[]`.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// A JSON value of any form, as its canonical text (RFC 8785): read, `[{"":0}]` takes three hundred times its bytes, and what a requester
/// writes stays in memory for as long as its task is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// This value. What has no canonical form, which is refused wherever it comes from, is kept as it is, to be named there.
    pub fn of(value: &Value) -> Self {
        let canonical = serde_json_canonicalizer::to_string(value);
        Self(canonical.unwrap_or_else(|_| value.to_string()).into())
    }

    /// Its canonical text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What it says.
    pub fn value(&self) -> Value {
        // What was written as JSON is some.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl Default for Json {
    /// `null`.
    fn default() -> Self {
        Self("null".into())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Value = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&Value::deserialize(deserializer)?))
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        Value::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        Value::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Value::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn free_json_is_kept_as_its_canonical_text() {
        let value = json!({"b": [7.0, 1e2, -0.0], "a": {"": null}});
        let kept: Json = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(kept.text(), r#"{"a":{"":null},"b":[7,100,0]}"#);
        assert_eq!(serde_json::to_string(&kept).unwrap(), kept.text());
        assert_eq!(kept.value()["b"][0].as_u64(), Some(7));
        assert_eq!(Json::default().value(), Value::Null);
    }

    #[test]
    fn what_readers_would_stumble_over_is_named() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(readable(&nested(JSON_DEPTH_MAX)), Ok(()));
        assert!(readable(&nested(JSON_DEPTH_MAX + 1)).is_err_and(|e| e.contains("nested")));
        assert!(readable(&json!({"n": [1e17]})).is_err_and(|e| e.contains("2^53")));
    }
}
