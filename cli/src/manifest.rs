//! Task definitions with names in place of ids: `@name` stands for a module, a content or a task.
//!
//! Ids differ from platform to platform, so the examples' manifests name what they mean: `"module": "@mlp-train"`,
//! `"id": "@digits"`, `"task": "@training"`.

use std::collections::BTreeSet;

use aevir_wire::Content;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// A module's digest.
    Module,
    /// A content's id.
    Content,
    /// A task's id.
    Task,
}

/// Every `@name` of a definition: what kind it is, and where it stands (a JSON pointer).
pub(crate) fn names(definition: &Value) -> Vec<(Named, String, String)> {
    let mut found = Vec::new();
    let mut look = |kind: Named, pointer: String| {
        let name = definition.pointer(&pointer).and_then(Value::as_str);
        if let Some(name) = name.and_then(|text| text.strip_prefix('@')) {
            found.push((kind, name.to_owned(), pointer));
        }
    };
    look(Named::Module, "/module".into());
    look(Named::Content, "/model/base".into());
    for index in 0..length(definition, "data") {
        look(Named::Content, format!("/data/{index}/from/content/id"));
    }
    for index in 0..length(definition, "depends_on") {
        look(Named::Task, format!("/depends_on/{index}/task"));
    }
    found
}

fn length(definition: &Value, field: &str) -> usize {
    definition[field].as_array().map_or(0, Vec::len)
}

/// Puts ids in the place of names.
///
/// # Errors
/// When `id` knows none for a name.
pub(crate) fn resolve(
    definition: &mut Value,
    id: impl Fn(Named, &str) -> Option<String>,
) -> Result<()> {
    for (kind, name, pointer) in names(definition) {
        let found = id(kind, &name).with_context(|| match kind {
            Named::Module => {
                format!("there is no module named `{name}`: push it with `aevir module push FILE --name {name}`")
            }
            Named::Content => {
                format!("there is no content named `{name}`: add it with `aevir content add FILE --name {name} ...`")
            }
            Named::Task => format!("`@{name}` stands for a task: say which with `--set {pointer}=ID`"),
        })?;
        if let Some(place) = definition.pointer_mut(&pointer) {
            *place = found.into();
        }
    }
    Ok(())
}

/// The content that a name stands for, among all of that name in the order of their registration: the newest of one's
/// own, or else the newest of the only account that offers one. Anybody may take any name for their own contents.
///
/// # Errors
/// When several other accounts offer one.
pub(crate) fn content_named(name: &str, offered: &[Content], own: &str) -> Result<Option<String>> {
    if let Some(mine) = offered.iter().rfind(|c| c.owner == own) {
        return Ok(Some(mine.id.clone()));
    }
    let owners: BTreeSet<_> = offered.iter().map(|c| c.owner.as_str()).collect();
    if owners.len() > 1 {
        let list = offered
            .iter()
            .map(|c| format!("{} (version {}, of account {})", c.id, c.version, c.owner));
        let list: Vec<_> = list.collect();
        bail!(
            "several accounts offer a content named `{name}`; name the id of the one that you mean: {}",
            list.join(", ")
        );
    }
    Ok(offered.last().map(|c| c.id.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn names_become_ids_where_ids_belong() {
        let mut definition = json!({
            "module": "@train",
            "params": {"note": "@train"},
            "data": [{"name": "a", "from": {"content": {"id": "@digits"}}}, {"name": "b", "from": {"inline": "@x"}}],
            "depends_on": [{"task": "@first"}, {"task": "01J"}],
        });
        resolve(&mut definition, |kind, name| {
            Some(format!("{kind:?}-{name}"))
        })
        .unwrap();
        let expected = json!({
            "module": "Module-train",
            "params": {"note": "@train"},
            "data": [
                {"name": "a", "from": {"content": {"id": "Content-digits"}}},
                {"name": "b", "from": {"inline": "@x"}},
            ],
            "depends_on": [{"task": "Task-first"}, {"task": "01J"}],
        });
        assert_eq!(definition, expected);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_what_to_do() {
        let mut definition = json!({"module": "@train"});
        let error = resolve(&mut definition, |_, _| None).unwrap_err();
        assert!(error.to_string().contains("aevir module push"), "{error}");
    }

    fn content(id: &str, owner: &str) -> Content {
        Content {
            id: id.into(),
            owner: owner.into(),
            kind: "dataset".into(),
            name: "digits".into(),
            version: "1".into(),
            files: Vec::new(),
            licence: "CC0-1.0".into(),
            weight: 1,
            price: "0".into(),
            access: None,
            contributors: Vec::new(),
            lineage: None,
            registered_at: String::new(),
        }
    }

    #[test]
    fn nobody_can_shadow_anothers_content() {
        let named = |offered: &[Content]| content_named("digits", offered, "alice");
        let (old, new) = (content("1", "alice"), content("2", "alice"));
        let (bob, eve) = (content("3", "bob"), content("4", "eve"));
        let all = [old, new, bob.clone(), eve.clone()];
        assert_eq!(named(&all).unwrap().as_deref(), Some("2"));
        let of_bob = [bob.clone()];
        assert_eq!(named(&of_bob).unwrap().as_deref(), Some("3"));
        assert_eq!(named(&[]).unwrap(), None);
        let error = named(&[bob, eve]).unwrap_err().to_string();
        assert!(
            error.contains('3') && error.contains('4') && error.contains("id"),
            "{error}"
        );
    }
}
