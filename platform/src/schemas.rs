//! The JSON Schema of every event type and version ever written, as checked in under `schemas/events`.
//!
//! [`crate::event::schemas`] generates those of today's types; earlier versions live on as files only, because their
//! types are gone. What is written here never changes: `schemas/released.json` holds the digests, and a test compares.

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};

static FOLDER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../schemas/events");

/// The schema of the `data` of one event type's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventSchema {
    /// Such as `task.created`.
    pub label: &'static str,
    /// From 1.
    pub version: u16,
    /// JSON Schema, draft 2020-12.
    pub text: &'static str,
}

/// Every schema, by label and version.
pub fn all() -> &'static [EventSchema] {
    static ALL: LazyLock<Vec<EventSchema>> = LazyLock::new(|| {
        let mut all: Vec<EventSchema> = FOLDER.files().filter_map(read).collect();
        all.sort_unstable();
        all
    });
    &ALL
}

/// The schema of a version of an event type.
pub fn find(label: &str, version: u16) -> Option<&'static EventSchema> {
    let found =
        all().binary_search_by(|schema| (schema.label, schema.version).cmp(&(label, version)));
    found.ok().and_then(|index| all().get(index))
}

/// Reads the label and the version out of a file's name, `<label>.v<version>.json`.
fn read(file: &'static include_dir::File<'static>) -> Option<EventSchema> {
    let name = file.path().file_name()?.to_str()?;
    let (label, version) = name.strip_suffix(".json")?.rsplit_once(".v")?;
    Some(EventSchema {
        label,
        version: version.parse().ok()?,
        text: file.contents_utf8()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aevir_events::Event as _;

    use super::*;

    #[test]
    fn every_file_is_found_by_its_name() {
        assert_eq!(all().len(), FOLDER.files().count());
        for schema in all() {
            assert_eq!(find(schema.label, schema.version), Some(schema));
        }
        assert_eq!(find("task.created", 0), None);
        assert_eq!(find("task.undone", 1), None);
    }

    #[test]
    fn every_type_has_all_its_versions_from_the_first_one() {
        for (label, current, _) in crate::event::schemas() {
            for version in 1..=current {
                assert!(find(label, version).is_some(), "{label} v{version}");
            }
            assert_eq!(
                find(label, current + 1),
                None,
                "{label} is written in an earlier version than it has"
            );
        }
        let event = crate::event::Event::from(crate::event::TaskMatured {
            task: crate::ids::TaskId(ulid::Ulid::nil()),
        });
        assert!(find(event.label(), event.schema()).is_some());
    }
}
