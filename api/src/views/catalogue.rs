//! The projection `catalogue`: modules and contents.

use std::collections::BTreeSet;

use aevir_events::{
    Recorded,
    projection::{Column, Keys, Projection, ProjectionError, Rows, Table, Value},
};
use aevir_platform::{
    content::{Access, Contributor},
    event::{ContentRegistered, ContentTermsChanged, Event, ModuleRegistered},
    ids::AccountId,
};
use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::{id, json, ms, name};

/// The projection.
#[derive(Debug)]
pub(super) struct Catalogue;

type Done = Result<(), ProjectionError>;

const MODULES: &str = "modules";
const NAMES: &str = "module_names";
const CONTENTS: &str = "contents";
const READERS: &str = "content_readers";

const TABLES: &[Table] = &[
    Table {
        name: MODULES,
        about: "Registered modules: the bytes are one module, whoever pushed them.",
        columns: &[
            Column::text("digest", "SHA-256 of the component."),
            Column::int("size", "Bytes."),
            Column::text("world", "`task`, `check` or `comparator`."),
            Column::text("imports", "JSON array."),
            Column::int("compile_mib", "Memory that compiling it takes, MiB."),
            Column::int(
                "code_mib",
                "Storage that its compiled form takes, MiB; 0 where nobody measured it.",
            ),
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
            Column::int("price", "What each use costs from here on, micro-AEV."),
            Column::int("is_open", "1 where every account may use it."),
            Column::text(
                "access",
                "JSON: `\"everybody\"`, or the accounts that may use it beside owner and contributors.",
            ),
            Column::text(
                "contributors",
                "JSON array: who earns by it, with weights; its owner alone where it is empty.",
            ),
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
    Table {
        name: READERS,
        about: "Accounts for which a content is there though it isn't for everybody, and its contributors; or was.",
        columns: &[
            Column::text("account", "`accounts.id`."),
            Column::text("content", "`contents.id`."),
            Column::int("may_read", "0 since it was taken from the list."),
        ],
        key: 2,
        indexes: &[],
    },
];

#[async_trait]
impl Projection<Event> for Catalogue {
    fn name(&self) -> &'static str {
        super::CATALOGUE
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn wants(&self, recorded: &Recorded<Event>, keys: &mut Keys) {
        if let Event::ModuleRegistered(e) = &recorded.event {
            keys.add(MODULES, [id(e.blob.digest)]);
        } else if let Event::ContentTermsChanged(e) = &recorded.event {
            keys.add(CONTENTS, [id(e.content)]);
        }
    }

    async fn apply(&self, recorded: &Recorded<Event>, rows: &mut Rows<'_>) -> Done {
        if let Event::ModuleRegistered(e) = &recorded.event {
            module(rows, e, ms(recorded.time)).await
        } else if let Event::ContentRegistered(e) = &recorded.event {
            content(rows, e, ms(recorded.time)).await
        } else if let Event::ContentTermsChanged(e) = &recorded.event {
            terms(rows, e).await
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
                ("compile_mib", e.compile_mib.into()),
                ("code_mib", e.code_mib.into()),
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

async fn content(rows: &mut Rows<'_>, e: &ContentRegistered, at: Value) -> Done {
    let contributors = e.contributors.iter().map(|c| c.account);
    let readers: BTreeSet<AccountId> = listed(&e.access).into_iter().chain(contributors).collect();
    for account in readers {
        rows.entry(READERS, [id(account), id(e.content)])
            .await?
            .set("may_read", 1_i64)?;
    }
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
            ("price", e.price.0.into()),
            ("is_open", i64::from(e.access.is_open()).into()),
            ("access", json(&e.access)?),
            ("contributors", json(&e.contributors)?),
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

async fn terms(rows: &mut Rows<'_>, e: &ContentTermsChanged) -> Done {
    let row = rows.row(CONTENTS, [id(e.content)]).await?;
    let before: Access = read(row.text("access")?)?;
    let contributors: Vec<Contributor> = read(row.text("contributors")?)?;
    row.set("price", e.price.0)?
        .set("is_open", i64::from(e.access.is_open()))?
        .set("access", json(&e.access)?)?;
    let now = listed(&e.access);
    let earns = |account| contributors.iter().any(|c| c.account == account);
    for account in listed(&before).union(&now) {
        let may_read = now.contains(account) || earns(*account);
        rows.entry(READERS, [id(account), id(e.content)])
            .await?
            .set("may_read", i64::from(may_read))?;
    }
    Ok(())
}

fn listed(access: &Access) -> BTreeSet<AccountId> {
    match access {
        Access::Everybody => BTreeSet::new(),
        Access::Accounts(accounts) => accounts.clone(),
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, ProjectionError> {
    serde_json::from_str(text).map_err(|e| ProjectionError::refused(e.to_string()))
}
