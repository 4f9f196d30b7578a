//! How much work it is to hold a result against a schema: counted before it is done, for it is done where everything is decided.
//!
//! A schema without references and without `unevaluated...` is a tree: each of its parts looks at each part of a result once, and once more
//! for each `anyOf`, `oneOf`, `if`, `not` or `contains` around it, which are tried before what is wrong with them is told.

use serde_json::{Map, Value};

/// Steps of one check: a keyword that looks at a value is one; some ten milliseconds in all.
pub(super) const STEPS_MAX: u64 = 200_000;
/// Steps that a pattern takes for each byte of a string.
const PATTERN_STEPS: u64 = 4;

/// Whether a result can be held against the schema in [`STEPS_MAX`] steps.
pub(super) fn fits(schema: &Value, result: &Value) -> bool {
    let mut work = Work { left: STEPS_MAX };
    work.hold(schema, result, 1).is_some()
}

struct Work {
    left: u64,
}

impl Work {
    fn spend(&mut self, steps: u64) -> Option<()> {
        self.left = self.left.checked_sub(steps)?;
        Some(())
    }

    /// A schema and a value, which are held against each other so many times.
    fn hold(&mut self, schema: &Value, value: &Value, times: u64) -> Option<()> {
        self.spend(times)?;
        let keywords = schema.as_object().into_iter().flatten();
        for (keyword, of) in keywords {
            self.spend(times)?;
            self.keyword(keyword, of, value, times)?;
        }
        Some(())
    }

    fn keyword(&mut self, keyword: &str, of: &Value, value: &Value, times: u64) -> Option<()> {
        let tried = times.saturating_add(1);
        match (keyword, of, value) {
            ("allOf", Value::Array(schemas), _) => self.hold_each(schemas, value, times),
            // Whether one holds, and whether another one does.
            ("anyOf" | "oneOf", Value::Array(schemas), _) => {
                self.hold_each(schemas, value, tried.saturating_add(1))
            }
            ("not" | "if", _, _) => self.hold(of, value, tried),
            ("then" | "else", _, _) => self.hold(of, value, times),
            ("dependentSchemas", Value::Object(schemas), _) => {
                self.hold_each(schemas.values(), value, times)
            }
            ("properties", Value::Object(schemas), Value::Object(fields)) => {
                self.properties(schemas, fields, times)
            }
            ("patternProperties", Value::Object(schemas), Value::Object(fields)) => {
                for schema in schemas.values() {
                    self.names(fields, times)?;
                    self.hold_all(schema, fields.values(), times)?;
                }
                Some(())
            }
            // It looks at the patterns beside it once more.
            ("additionalProperties", schema, Value::Object(fields)) => {
                self.names(fields, times)?;
                self.hold_all(schema, fields.values(), times)
            }
            ("propertyNames", schema, Value::Object(fields)) => {
                let names = fields.keys().map(|name| Value::from(name.as_str()));
                names
                    .into_iter()
                    .try_for_each(|name| self.hold(schema, &name, tried))
            }
            ("items" | "additionalItems", schema, Value::Array(items)) => {
                self.hold_all(schema, items, times)
            }
            ("contains", schema, Value::Array(items)) => self.hold_all(schema, items, tried),
            ("prefixItems", Value::Array(schemas), Value::Array(items)) => {
                let pairs = schemas.iter().zip(items);
                pairs
                    .into_iter()
                    .try_for_each(|(schema, item)| self.hold(schema, item, times))
            }
            ("pattern", _, Value::String(text)) => self.text(text, times),
            ("uniqueItems", _, Value::Array(_)) => self.parts(value, tried),
            ("enum" | "const" | "required" | "dependentRequired" | "type", _, _) => {
                self.parts(of, times)
            }
            _ => Some(()),
        }
    }

    fn properties(
        &mut self,
        schemas: &Map<String, Value>,
        fields: &Map<String, Value>,
        times: u64,
    ) -> Option<()> {
        for (name, schema) in schemas {
            self.spend(times)?;
            if let Some(value) = fields.get(name) {
                self.hold(schema, value, times)?;
            }
        }
        Some(())
    }

    fn hold_each<'a>(
        &mut self,
        schemas: impl IntoIterator<Item = &'a Value>,
        value: &Value,
        times: u64,
    ) -> Option<()> {
        let mut schemas = schemas.into_iter();
        schemas.try_for_each(|schema| self.hold(schema, value, times))
    }

    fn hold_all<'a>(
        &mut self,
        schema: &Value,
        values: impl IntoIterator<Item = &'a Value>,
        times: u64,
    ) -> Option<()> {
        let mut values = values.into_iter();
        values.try_for_each(|value| self.hold(schema, value, times))
    }

    /// Patterns on all names.
    fn names(&mut self, fields: &Map<String, Value>, times: u64) -> Option<()> {
        let mut names = fields.keys();
        names.try_for_each(|name| self.text(name, times))
    }

    /// A pattern on a string.
    fn text(&mut self, text: &str, times: u64) -> Option<()> {
        let bytes = (text.len() as u64).saturating_mul(PATTERN_STEPS);
        self.spend(bytes.saturating_mul(times))
    }

    /// Something that looks at all that is in a value.
    fn parts(&mut self, value: &Value, times: u64) -> Option<()> {
        self.spend(times)?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.parts(item, times)),
            Value::Object(fields) => {
                let mut values = fields.values();
                values.try_for_each(|value| self.parts(value, times))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(schema: &Value, result: &Value) -> u64 {
        let mut work = Work { left: STEPS_MAX };
        assert!(work.hold(schema, result, 1).is_some());
        STEPS_MAX - work.left
    }

    #[test]
    fn what_is_tried_counts_once_more_for_each_trial_around_it() {
        let mut schema = json!({"minimum": 1});
        let flat = steps(&schema, &json!(1));
        let mut last = flat;
        for depth in 1..20u64 {
            schema = json!({"anyOf": [schema]});
            let now = steps(&schema, &json!(1));
            assert!(
                now > last && now < flat * depth * (2 * depth + 4),
                "{depth}: {now}"
            );
            last = now;
        }
    }

    #[test]
    fn results_of_the_usual_sort_fit() {
        let numbers: Vec<u32> = (0..16_000).collect();
        let schema = json!({"items": {"type": "integer", "minimum": 0, "maximum": 99_999}});
        // The example of docs/economics.md.
        assert_eq!(steps(&schema, &json!(numbers)), 80_002);
        let digest = "a".repeat(64);
        let digests: Vec<&str> = std::iter::repeat_n(digest.as_str(), 480).collect();
        let schema = json!({"items": {"type": "string", "pattern": "^[0-9a-f]{64}$"}});
        assert!(fits(&schema, &json!(digests)));
    }

    /// All that looks at much of a result, again and again, in 8 KiB.
    #[test]
    fn what_multiplies_does_not_fit() {
        let numbers = json!((0..16_000).collect::<Vec<u32>>());
        let text = json!("a".repeat(32_000));
        let fields: Map<String, Value> = (0..3_000).map(|i| (i.to_string(), json!(1))).collect();
        let many = |schema: Value| std::iter::repeat_n(schema, 300).collect::<Vec<Value>>();
        let patterns: Map<String, Value> = (0..300).map(|i| (i.to_string(), json!(true))).collect();
        let cases = [
            (
                json!({"allOf": many(json!({"items": {"minimum": 1}}))}),
                &numbers,
            ),
            (
                json!({"items": {"anyOf": many(json!({"minimum": 1}))}}),
                &numbers,
            ),
            (json!({"items": {"enum": many(json!("x"))}}), &numbers),
            (
                json!({"allOf": many(json!({"uniqueItems": true}))}),
                &numbers,
            ),
            (
                json!({"allOf": many(json!({"contains": {"const": 1}}))}),
                &numbers,
            ),
            (json!({"allOf": many(json!({"pattern": "x"}))}), &text),
            (json!({"patternProperties": patterns}), &json!(fields)),
            (
                json!({"allOf": many(json!({"propertyNames": {"pattern": "x"}}))}),
                &json!(fields),
            ),
            (
                json!({"allOf": many(json!({"additionalProperties": {"type": "string"}}))}),
                &json!(fields),
            ),
        ];
        for (schema, result) in &cases {
            assert!(!fits(schema, result), "{}", &schema.to_string()[..60]);
        }
    }
}
