//! How much work it is to hold a result against a schema: counted before it is done, for it is done where everything is decided.
//!
//! A schema of the keywords that it may have ([`super::vocabulary`]) is a tree: each of its parts looks at each part of a result once, and again
//! for each `anyOf`, `oneOf`, `if`, `not` or `contains` around it, which are tried before what is wrong with them is told.

use serde_json::{Map, Value};

use super::vocabulary::Keyword;

/// Steps of one check: a keyword that looks at a value is one; some ten milliseconds in all.
pub(super) const STEPS_MAX: u64 = 200_000;
/// Steps that a pattern takes for each byte of a string.
const PATTERN_STEPS: u64 = 4;
/// Values that are compared with one in a step.
const COMPARED_A_STEP: u64 = 8;
/// Bytes of a string that are counted, or hashed, in a step.
const BYTES_A_STEP: u64 = 32;
/// Steps of a division of a number that is written out for it: 300 digits at most.
const DIVISION_STEPS: u64 = 32;

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
        for (name, of) in keywords {
            self.spend(times)?;
            self.keyword(Keyword::of(name).ok()?, of, value, times)?;
        }
        Some(())
    }

    fn keyword(&mut self, keyword: Keyword, of: &Value, value: &Value, times: u64) -> Option<()> {
        let tried = times.saturating_add(1);
        match (keyword, of, value) {
            (Keyword::AllOf, Value::Array(schemas), _) => self.hold_each(schemas, value, times),
            // Whether one holds, and whether another one does.
            (Keyword::Alternatives, Value::Array(schemas), _) => {
                self.hold_each(schemas, value, tried.saturating_add(1))
            }
            (Keyword::Trial, _, _) => self.hold(of, value, tried),
            (Keyword::Consequence, _, _) => self.hold(of, value, times),
            (Keyword::DependentSchemas, Value::Object(schemas), _) => {
                self.hold_each(schemas.values(), value, times)
            }
            (Keyword::Properties, Value::Object(schemas), Value::Object(fields)) => {
                self.properties(schemas, fields, times)
            }
            (Keyword::PatternProperties, Value::Object(schemas), Value::Object(fields)) => {
                for schema in schemas.values() {
                    self.names(fields, times)?;
                    self.hold_all(schema, fields.values(), times)?;
                }
                Some(())
            }
            // It looks at the patterns beside it once more.
            (Keyword::AdditionalProperties, schema, Value::Object(fields)) => {
                self.names(fields, times)?;
                self.hold_all(schema, fields.values(), times)
            }
            (Keyword::PropertyNames, schema, Value::Object(fields)) => {
                let mut names = fields.keys().map(|name| Value::from(name.as_str()));
                names.try_for_each(|name| self.hold(schema, &name, tried))
            }
            (Keyword::Items, schema, Value::Array(items)) => self.hold_all(schema, items, times),
            (Keyword::Contains, schema, Value::Array(items)) => self.hold_all(schema, items, tried),
            (Keyword::PrefixItems, Value::Array(schemas), Value::Array(items)) => {
                let mut pairs = schemas.iter().zip(items);
                pairs.try_for_each(|(schema, item)| self.hold(schema, item, times))
            }
            (Keyword::Pattern, _, Value::String(text)) => self.text(text, times),
            (Keyword::UniqueItems, Value::Bool(true), Value::Array(items)) => {
                self.spend_times(unique(items, parts(value)), tried)
            }
            (Keyword::Comparison, _, _) => self.spend_times(1 + parts(of) / COMPARED_A_STEP, times),
            (Keyword::Length, _, Value::String(text)) => {
                self.spend_times(text.len() as u64 / BYTES_A_STEP, times)
            }
            (Keyword::MultipleOf, _, Value::Number(number)) if number.is_f64() => {
                self.spend_times(DIVISION_STEPS, times)
            }
            // What it is not about takes the step that it took to see that.
            _ => Some(()),
        }
    }

    /// As many steps, each so many times.
    fn spend_times(&mut self, steps: u64, times: u64) -> Option<()> {
        self.spend(steps.saturating_mul(times))
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
        self.spend_times(bytes, times)
    }
}

/// Steps of finding equals among items with so many parts. They are found by hashes, which arrays and objects can be made to share, so that
/// each is compared with each.
fn unique(items: &[Value], parts: u64) -> u64 {
    match items.iter().any(|item| item.is_array() || item.is_object()) {
        true => parts.saturating_mul(items.len() as u64),
        false => parts,
    }
}

/// Steps of looking at all that is in a value.
fn parts(value: &Value) -> u64 {
    let inner = |values: &mut dyn Iterator<Item = &Value>| values.map(parts).sum::<u64>();
    match value {
        Value::Array(items) => 1 + inner(&mut items.iter()),
        Value::Object(fields) => 1 + inner(&mut fields.values()),
        Value::String(text) => 1 + text.len() as u64 / BYTES_A_STEP,
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
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
        let digits: Vec<u32> = (0..16_000).map(|i| i % 10).collect();
        let schema = json!({"items": {"type": "integer", "enum": (0..10).collect::<Vec<u32>>()}});
        assert!(fits(&schema, &json!(digits)));
        let digest = "a".repeat(64);
        let digests: Vec<&str> = std::iter::repeat_n(digest.as_str(), 480).collect();
        let schema = json!({"items": {"type": "string", "pattern": "^[0-9a-f]{64}$"}});
        assert!(fits(&schema, &json!(digests)));
    }

    #[test]
    fn equal_items_are_found_at_once_where_they_are_simple() {
        let schema = json!({"uniqueItems": true});
        assert_eq!(steps(&schema, &json!([1, 2, 3])), 2 + 2 * 4);
        assert_eq!(steps(&schema, &json!([[], [[]], [[], []]])), 2 + 2 * 3 * 7);
        let nothing = json!({"uniqueItems": false});
        assert_eq!(steps(&nothing, &json!([[], [[]], [[], []]])), 2);
    }

    /// All that looks at much of a result, again and again, in 8 KiB.
    #[test]
    fn what_multiplies_does_not_fit() {
        let numbers = json!((0..16_000).collect::<Vec<u32>>());
        let text = json!("a".repeat(32_000));
        let fields: Map<String, Value> = (0..3_000).map(|i| (i.to_string(), json!(1))).collect();
        let nested = json!(vec![json!([[[]]]); 500]);
        let fractions = json!(vec![json!(0.5); 6_000]);
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
            (json!({"uniqueItems": true}), &nested),
            (json!({"items": {"multipleOf": 1}}), &fractions),
            (json!({"dependencies": {}}), &text),
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
