//! Which keywords the schema of a check may have: those whose work can be counted before it is done ([`super::work`]), and notes.
//!
//! The validator knows more: references, what earlier drafts had, and what is tried again at each level. A keyword that this file does not name
//! is refused, so that nothing is done that was not counted, and no misspelt one checks nothing.

use serde_json::Value;

use super::Misfit;
use crate::json::pointer_token;

/// The draft that schemas are read as.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The largest number up to which every whole one is exact in a JSON number.
const WHOLE_MAX: u64 = 1 << 53;

/// What a keyword of draft 2020-12 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    AllOf,
    /// `anyOf` and `oneOf`.
    Alternatives,
    /// `not` and `if`: tried, and nothing told of it.
    Trial,
    /// `then` and `else`.
    Consequence,
    DependentSchemas,
    Properties,
    PatternProperties,
    AdditionalProperties,
    PropertyNames,
    Items,
    PrefixItems,
    Contains,
    Pattern,
    UniqueItems,
    /// Compares with what stands in the schema: `enum`, `const`, `type`, and names.
    Comparison,
    MultipleOf,
    /// The length of a string, in characters.
    Length,
    /// A number of something that is known without looking at it, and bounds of numbers.
    Bound,
    /// Says something to people and tools, and checks nothing.
    Note,
}

impl Keyword {
    /// The keyword of this name; or what to write instead.
    pub(super) fn of(name: &str) -> Result<Self, &'static str> {
        Ok(match name {
            "allOf" => Self::AllOf,
            "anyOf" | "oneOf" => Self::Alternatives,
            "not" | "if" => Self::Trial,
            "then" | "else" => Self::Consequence,
            "dependentSchemas" => Self::DependentSchemas,
            "properties" => Self::Properties,
            "patternProperties" => Self::PatternProperties,
            "additionalProperties" => Self::AdditionalProperties,
            "propertyNames" => Self::PropertyNames,
            "items" => Self::Items,
            "prefixItems" => Self::PrefixItems,
            "contains" => Self::Contains,
            "pattern" => Self::Pattern,
            "uniqueItems" => Self::UniqueItems,
            "enum" | "const" | "type" | "required" | "dependentRequired" => Self::Comparison,
            "multipleOf" => Self::MultipleOf,
            "minLength" | "maxLength" => Self::Length,
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "minItems"
            | "maxItems" | "minContains" | "maxContains" | "minProperties" | "maxProperties" => {
                Self::Bound
            }
            "$schema" | "$comment" | "title" | "description" | "default" | "examples"
            | "deprecated" | "readOnly" | "writeOnly" | "format" => Self::Note,
            _ if name.starts_with("x-") => Self::Note,
            "$ref" | "$dynamicRef" | "$recursiveRef" | "$defs" | "definitions" | "$id" | "id"
            | "$anchor" | "$dynamicAnchor" | "$recursiveAnchor" => {
                return Err("write the schema without references");
            }
            "unevaluatedProperties" => {
                return Err("name all properties beside `additionalProperties`");
            }
            "unevaluatedItems" => return Err("name all items beside `items`"),
            "additionalItems" => return Err("write `prefixItems` and `items`"),
            "dependencies" => return Err("write `dependentRequired` or `dependentSchemas`"),
            _ => {
                return Err(
                    "it is none that a check's schema may have: leave it out; a note of your own begins with `x-`",
                );
            }
        })
    }

    /// The schemas that stand in what the keyword has, each with where in that. What has another form than it may is the validator's to refuse.
    fn schemas(self, of: &Value) -> Vec<(String, &Value)> {
        match (self, of) {
            (Self::AllOf | Self::Alternatives | Self::PrefixItems, Value::Array(schemas)) => {
                let schemas = schemas.iter().enumerate();
                schemas
                    .map(|(i, schema)| (format!("/{i}"), schema))
                    .collect()
            }
            (
                Self::DependentSchemas | Self::Properties | Self::PatternProperties,
                Value::Object(schemas),
            ) => {
                let schemas = schemas.iter();
                schemas
                    .map(|(name, schema)| (format!("/{}", pointer_token(name)), schema))
                    .collect()
            }
            (
                Self::Trial
                | Self::Consequence
                | Self::AdditionalProperties
                | Self::PropertyNames
                | Self::Items
                | Self::Contains,
                schema,
            ) => vec![(String::new(), schema)],
            _ => Vec::new(),
        }
    }

    /// The patterns that it has.
    fn patterns(self, of: &Value) -> Vec<&str> {
        match (self, of) {
            (Self::Pattern, Value::String(pattern)) => vec![pattern],
            (Self::PatternProperties, Value::Object(schemas)) => {
                schemas.keys().map(String::as_str).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Holds a schema, which stands `at` some place of the whole, to the keywords that it may have.
///
/// # Errors
/// The first that it may not have, and what to write instead.
pub(super) fn check(schema: &Value, at: &str) -> Result<(), Misfit> {
    for (name, of) in schema.as_object().into_iter().flatten() {
        let at = format!("{at}/{}", pointer_token(name));
        let refuse = |detail: String| {
            let at = at.clone();
            Err(Misfit { at, detail })
        };
        let keyword = match Keyword::of(name) {
            Ok(keyword) => keyword,
            Err(instead) => return refuse(format!("`{name}` is refused: {instead}")),
        };
        if name == "$schema" && of.as_str().map(|of| of.trim_end_matches('#')) != Some(DRAFT) {
            return refuse(format!(
                "`$schema` is refused: schemas are read as `{DRAFT}`"
            ));
        }
        let is_whole = of.as_u64().is_some_and(|of| of <= WHOLE_MAX);
        if keyword == Keyword::MultipleOf && !is_whole {
            return refuse("`multipleOf` is a whole number up to 2^53, for fractions are not exact: scale what it is held against".into());
        }
        for (inner, schema) in keyword.schemas(of) {
            check(schema, &format!("{at}{inner}"))?;
        }
    }
    Ok(())
}

/// Whether some part of a schema asks for one of several.
pub(super) fn has_alternatives(schema: &Value) -> bool {
    let mut keywords = schema.as_object().into_iter().flatten();
    keywords.any(|(name, of)| match Keyword::of(name) {
        Ok(Keyword::Alternatives) => true,
        Ok(keyword) => {
            let mut schemas = keyword.schemas(of).into_iter();
            schemas.any(|(_, schema)| has_alternatives(schema))
        }
        Err(_) => false,
    })
}

/// All patterns of a schema.
pub(super) fn patterns(schema: &Value) -> Vec<&str> {
    let keywords = schema.as_object().into_iter().flatten();
    let known = keywords.filter_map(|(name, of)| Some((Keyword::of(name).ok()?, of)));
    known
        .flat_map(|(keyword, of)| {
            let mut found = keyword.patterns(of);
            let schemas = keyword.schemas(of).into_iter();
            found.extend(schemas.flat_map(|(_, schema)| patterns(schema)));
            found
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_keyword_is_one_where_a_schema_stands() {
        let named = json!({"properties": {"$ref": {"enum": [{"dependencies": {}}]}, "id": {"const": {"$id": 1}}}});
        check(&named, "").unwrap();
        let noted = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema#", "title": "t", "x-unit": "m",
            "default": {"$ref": "#"}, "examples": [{"unevaluatedItems": 1}], "format": "uuid",
        });
        check(&noted, "").unwrap();
    }

    #[test]
    fn what_is_not_counted_is_refused_wherever_it_stands() {
        let refused = |schema: Value, said: &str| {
            for around in [
                schema.clone(),
                json!({"allOf": [schema]}),
                json!({"not": {"if": schema}}),
                json!({"patternProperties": {"x": {"contains": schema}}}),
                json!({"dependentSchemas": {"x": {"prefixItems": [true, schema]}}}),
                json!({"properties": {"x": {"else": {"items": {"oneOf": [schema]}}}}}),
                json!({"additionalProperties": {"propertyNames": schema}}),
            ] {
                let misfit = check(&around, "").unwrap_err();
                let (at, detail) = (misfit.at, misfit.detail);
                assert!(detail.contains(said), "{around}: {detail}");
                assert!(around.pointer(&at).is_some(), "{around}: {at}");
            }
        };
        refused(
            json!({"$ref": "#"}),
            "`$ref` is refused: write the schema without references",
        );
        refused(json!({"$id": "x"}), "without references");
        refused(json!({"$defs": {}}), "without references");
        refused(
            json!({"dependencies": {"x": {}}}),
            "write `dependentRequired`",
        );
        refused(
            json!({"unevaluatedProperties": false}),
            "`additionalProperties`",
        );
        refused(json!({"minimun": 1}), "`minimun` is refused");
        refused(
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            "schemas are read as",
        );
        refused(json!({"multipleOf": 0.1}), "a whole number");
        refused(json!({"multipleOf": 1e300}), "a whole number");
    }

    #[test]
    fn patterns_are_found_where_they_are_patterns() {
        let schema = json!({
            "pattern": "a", "patternProperties": {"b": {"items": {"pattern": "c"}}},
            "properties": {"pattern": {"pattern": "d"}}, "const": {"pattern": "e"},
        });
        let mut found = patterns(&schema);
        found.sort_unstable();
        assert_eq!(found, ["a", "b", "c", "d"]);
    }
}
