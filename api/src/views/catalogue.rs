//! The projection `catalogue`: modules and contents.

use aevir_events::{
    Recorded,
    projection::{Column, Keys, Projection, ProjectionError, Rows, Table, Value},
};
use aevir_platform::event::{ContentRegistered, Event, ModuleRegistered};
use async_trait::async_trait;

use super::{id, json, ms, name};

/// The projection.
#[derive(Debug)]
pub(super) struct Catalogue;

type Done = Result<(), ProjectionError>;

const MODULES: &str = "modules";
const NAMES: &str = "module_names";
const CONTENTS: &str = "contents";

const TABLES: &[Table] = &[
    Table {
        name: MODULES,
        about: "Registered modules: the bytes are one module, whoever pushed them.",
        columns: &[
            Column::text("digest", "SHA-256 of the component."),
            Column::int("size", "Bytes."),
            Column::text("world", "`task`, `check` or `comparator`."),
            Column::text("imports", "JSON array."),
            Column::int("registered_at", "ms."),
        ],
        key: 1,
        indexes: &[],
    },
    Table {
        name: NAMES,
        about: "Who pushed a module, and under which name.",
        columns: &[
            Column::text("account", "`accounts.id`."),
            Column::text("digest", "`modules.digest`."),
            Column::text("name", "For people."),
        ],
        key: 2,
        indexes: &[],
    },
    Table {
        name: CONTENTS,
        about: "Registered datasets and models.",
        columns: &[
            Column::text("id", "ULID."),
            Column::text("owner", "`accounts.id`."),
            Column::text("kind", "`dataset` or `model`."),
            Column::text("name", ""),
            Column::text("version", ""),
            Column::text("licence", ""),
            Column::int("weight", "Part of a content share."),
            Column::text("files", "JSON array."),
            Column::text(
                "lineage",
                "JSON object: where a model that a task made comes from.",
            )
            .or_null(),
            Column::int("registered_at", "ms."),
        ],
        key: 1,
        indexes: &[&["name", "version"], &["owner", "id"]],
    },
];

#[async_trait]
impl Projection<Event> for Catalogue {
    fn name(&self) -> &'static str {
        super::CATALOGUE
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn wants(&self, recorded: &Recorded<Event>, keys: &mut Keys) {
        if let Event::ModuleRegistered(e) = &recorded.event {
            keys.add(MODULES, [id(e.blob.digest)]);
        }
    }

    async fn apply(&self, recorded: &Recorded<Event>, rows: &mut Rows<'_>) -> Done {
        if let Event::ModuleRegistered(e) = &recorded.event {
            module(rows, e, ms(recorded.time)).await
        } else if let Event::ContentRegistered(e) = &recorded.event {
            content(rows, e, ms(recorded.time))
        } else {
            Ok(())
        }
    }
}

async fn module(rows: &mut Rows<'_>, e: &ModuleRegistered, at: Value) -> Done {
    if rows.find(MODULES, [id(e.blob.digest)]).await?.is_none() {
        let size = i64::try_from(e.blob.size.0)
            .map_err(|_| ProjectionError::refused("the module's size passes 63 bits"))?;
        rows.insert(
            MODULES,
            [
                ("digest", id(e.blob.digest)),
                ("size", size.into()),
                ("world", name(&e.world)),
                ("imports", json(&e.imports)?),
                ("registered_at", at),
            ],
        )?;
    }
    rows.insert(
        NAMES,
        [
            ("account", id(e.owner)),
            ("digest", id(e.blob.digest)),
            ("name", e.name.as_str().into()),
        ],
    )
}

fn content(rows: &mut Rows<'_>, e: &ContentRegistered, at: Value) -> Done {
    rows.insert(
        CONTENTS,
        [
            ("id", id(e.content)),
            ("owner", id(e.owner)),
            ("kind", name(&e.kind)),
            ("name", e.name.as_str().into()),
            ("version", e.version.as_str().into()),
            ("licence", e.licence.as_str().into()),
            ("weight", e.weight.into()),
            ("files", json(&e.files)?),
            (
                "lineage",
                e.lineage
                    .as_ref()
                    .map(json)
                    .transpose()?
                    .unwrap_or(Value::Null),
            ),
            ("registered_at", at),
        ],
    )
}
