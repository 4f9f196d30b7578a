//! The JSON Schema of task definitions, and the check of a definition against it.
//!
//! The schema is generated from the domain's types; `schemas/task.v1.json` is its checked-in copy.

use aevir_platform::{definition::TaskDefinition, json::pointer_token, rejection::Rejection};
use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;

use crate::convert::json_pointer;

/// The schema of task definitions, as published.
pub fn task_schema() -> Value {
    let mut schema = schemars::schema_for!(TaskDefinition).to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$id".into(), "urn:aevir:schema:task:v1".into());
        fields.insert("title".into(), "Aevir task definition, version 1".into());
    }
    schema
}

/// The compiled schema.
#[derive(Debug)]
pub(crate) struct TaskSchema(Validator);

/// A schema of ours that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("the schema of task definitions does not compile: {0}")]
pub struct SchemaError(String);

impl TaskSchema {
    /// # Errors
    /// When the generated schema is no JSON Schema, which a test would have found.
    pub(crate) fn new() -> Result<Self, SchemaError> {
        let built = jsonschema::draft202012::options()
            .with_pattern_options(PatternOptions::regex())
            .build(&task_schema());
        built.map(Self).map_err(|e| SchemaError(e.to_string()))
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// `definition-invalid` with the JSON pointer of the first mistake.
    pub(crate) fn read(&self, definition: &Value) -> Result<TaskDefinition, Rejection> {
        if let Err(error) = self.0.validate(definition) {
            let (pointer, detail) = explain(&error);
            return Err(Rejection::DefinitionInvalid { pointer, detail });
        }
        // What a schema can't say, such as that a deadline is a date.
        serde_path_to_error::deserialize(definition).map_err(|e| Rejection::DefinitionInvalid {
            pointer: json_pointer(e.path()),
            detail: e.into_inner().to_string(),
        })
    }
}

/// Where the mistake is and what it is. In a choice of shapes that means: within the shape that fits best.
fn explain(error: &ValidationError<'_>) -> (String, String) {
    let pointer = error.instance_path().as_str().to_owned();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let name = unexpected.first().map(String::as_str).unwrap_or_default();
            let escaped = pointer_token(name);
            (
                format!("{pointer}/{escaped}"),
                format!("`{name}` is unknown here: remove it or correct its name"),
            )
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let branches = context.iter().filter(|errors| !errors.is_empty());
            let best = branches.min_by_key(|errors| {
                let misfits = errors.iter().filter(|e| is_misfit(e, &pointer)).count();
                (misfits, errors.len())
            });
            let mistake = best.and_then(|errors| {
                let inner = errors.iter().find(|e| !is_misfit(e, &pointer));
                inner.or_else(|| errors.first())
            });
            mistake.map_or_else(|| (pointer.clone(), error.to_string()), explain)
        }
        // Every other keyword says what is wrong where it is wrong.
        _ => (pointer, error.to_string()),
    }
}

/// Whether the mistake says that another shape was meant: a wrong type or missing field of the value itself, or a
/// wrong tag in it.
fn is_misfit(error: &ValidationError<'_>, value: &str) -> bool {
    match error.kind() {
        ValidationErrorKind::Constant { .. } => true,
        ValidationErrorKind::Type { .. }
        | ValidationErrorKind::Enum { .. }
        | ValidationErrorKind::Required { .. } => error.instance_path().as_str() == value,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pointer_of(change: impl FnOnce(&mut Value)) -> String {
        let mut definition = json!({
            "type": "inference",
            "module": "00".repeat(32),
            "data": [{"name": "a", "from": {"inline": "x"}}],
            "qos": {"gpu": {"memory_mib": 64}},
            "economics": {"budget": "10", "pricing": {"mode": "fixed", "price": "1"}},
            "verification": [{"method": "sampling", "replicas": 3, "quorum": 2}],
            "privacy": {"publish": {"pointers": ["/a"]}},
        });
        TaskSchema::new().unwrap().read(&definition).unwrap();
        change(&mut definition);
        match TaskSchema::new().unwrap().read(&definition) {
            Err(Rejection::DefinitionInvalid { pointer, detail }) => {
                assert!(!detail.is_empty());
                pointer
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mistakes_are_named_where_they_are() {
        type Change = fn(&mut Value);
        let rows: [(&str, Change); 12] = [
            ("/surprise", |d| d["surprise"] = json!(1)),
            ("/qos/a~1b", |d| d["qos"]["a/b"] = json!(1)),
            ("/qos/gpu/memory", |d| d["qos"]["gpu"]["memory"] = json!(1)),
            ("/qos/gpu/memory_mib", |d| {
                d["qos"]["gpu"]["memory_mib"] = json!("64")
            }),
            ("/qos/deadline", |d| {
                d["qos"]["deadline"] = json!("tomorrow")
            }),
            ("/type", |d| d["type"] = json!("cooking")),
            ("/module", |d| d["module"] = json!("abc")),
            ("/economics/budget", |d| {
                d["economics"]["budget"] = json!(10)
            }),
            ("/data/0/from/blob", |d| {
                d["data"][0]["from"] = json!({"blob": "zz"})
            }),
            ("/verification/0/replica", |d| {
                d["verification"][0]["replica"] = json!(3)
            }),
            ("/privacy/publish/pointers", |d| {
                d["privacy"]["publish"]["pointers"] = json!("/a")
            }),
            ("/economics/pricing/tip", |d| {
                d["economics"]["pricing"]["tip"] = json!("1")
            }),
        ];
        for (pointer, change) in rows {
            assert_eq!(pointer_of(change), pointer);
        }
        assert_eq!(
            pointer_of(|d| drop(d.as_object_mut().unwrap().remove("module"))),
            ""
        );
    }
}
