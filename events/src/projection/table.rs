//! What a view's tables look like: declared once, from which come the DDL of both databases, the statements that
//! load and write rows, and the operators' documentation. Knows no database connection.

use std::fmt::Write as _;

use crate::{canonical::canonical_hash, projection::ProjectionError};

/// A table of a view.
#[derive(Debug)]
pub struct Table {
    /// Also the name of the SQL view that shows the live generation.
    pub name: &'static str,
    /// One sentence for operators.
    pub about: &'static str,
    pub columns: &'static [Column],
    /// The first so many columns are the primary key; at least 1.
    pub key: usize,
    /// Columns of further indexes.
    pub indexes: &'static [&'static [&'static str]],
}

/// A column.
#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
    /// One sentence for operators, with the unit.
    pub about: &'static str,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 64 bits, signed. Truth values are 0 and 1, times are milliseconds since the Unix epoch.
    Int,
    /// Compared byte by byte on both databases.
    Text,
}

impl Column {
    pub const fn int(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Int,
            nullable: false,
            about,
        }
    }

    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Text,
            nullable: false,
            about,
        }
    }

    pub const fn or_null(mut self) -> Self {
        self.nullable = true;
        self
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
}

impl Value {
    /// As JSON, for SQLite's `json_each`. Integers stay exact there.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Int(n) => (*n).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Int(n.into())
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Int(b.into())
    }
}

impl From<&str> for Value {
    /// PostgreSQL's texts can't hold NUL; it becomes the replacement character on both databases.
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        if text.contains('\0') {
            Self::Text(text.replace('\0', "\u{fffd}"))
        } else {
            Self::Text(text)
        }
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The database engine, as far as the text of statements depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Table {
    /// The place of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize, ProjectionError> {
        self.columns
            .iter()
            .position(|c| c.name == name)
            .ok_or_else(|| {
                ProjectionError::refused(format!("table `{}` has no column `{name}`", self.name))
            })
    }

    /// The name of one generation's table.
    pub(super) fn physical(&self, generation: u64) -> String {
        format!("{}_g{generation}", self.name)
    }

    /// The statements that create one generation's table.
    pub(super) fn ddl(&self, dialect: Dialect, generation: u64) -> Vec<String> {
        let name = self.physical(generation);
        let columns = self.columns.iter().map(|c| {
            let kind = match (dialect, c.kind) {
                (Dialect::Sqlite, Kind::Int) => "INTEGER",
                (Dialect::Sqlite, Kind::Text) => "TEXT",
                (Dialect::Postgres, Kind::Int) => "BIGINT",
                // The order of bytes, as SQLite has it: pages are cut by comparing keys.
                (Dialect::Postgres, Kind::Text) => "TEXT COLLATE \"C\"",
            };
            let null = if c.nullable { "" } else { " NOT NULL" };
            format!("{} {kind}{null}", c.name)
        });
        let columns: Vec<_> = columns.collect();
        let end = match dialect {
            Dialect::Sqlite => " STRICT, WITHOUT ROWID",
            Dialect::Postgres => "",
        };
        let create = format!(
            "CREATE TABLE {name} ({}, PRIMARY KEY ({})){end}",
            columns.join(", "),
            self.key_names().join(", ")
        );
        let indexes = self.indexes.iter().enumerate().map(|(i, columns)| {
            format!(
                "CREATE INDEX {name}_i{i} ON {name} ({})",
                columns.join(", ")
            )
        });
        std::iter::once(create).chain(indexes).collect()
    }

    /// Writes rows; with `upsert` over those that are there. One statement for any number of rows: PostgreSQL takes a
    /// column an array, SQLite the rows as one JSON text, for each statement handed to its thread costs more than the
    /// rows do.
    pub(super) fn write(&self, dialect: Dialect, generation: u64, upsert: bool) -> String {
        let names: Vec<_> = self.columns.iter().map(|c| c.name).collect();
        let from = match dialect {
            Dialect::Sqlite => json_rows(self.columns.len()),
            Dialect::Postgres => format!("SELECT * FROM unnest({})", arrays(self.columns)),
        };
        let mut sql = format!(
            "INSERT INTO {} ({}) {from}",
            self.physical(generation),
            names.join(", ")
        );
        if upsert {
            let rest = &names[self.key..];
            let sets: Vec<_> = rest.iter().map(|n| format!("{n} = excluded.{n}")).collect();
            // SQLite needs the WHERE to tell the clause from a join's.
            let place = if dialect == Dialect::Sqlite {
                " WHERE true"
            } else {
                ""
            };
            let action = if sets.is_empty() {
                "DO NOTHING".to_owned()
            } else {
                format!("DO UPDATE SET {}", sets.join(", "))
            };
            let _ = write!(
                sql,
                "{place} ON CONFLICT ({}) {action}",
                self.key_names().join(", ")
            );
        }
        sql
    }

    /// Reads the rows of any number of keys.
    pub(super) fn load(&self, dialect: Dialect, generation: u64) -> String {
        let names: Vec<_> = self.columns.iter().map(|c| c.name).collect();
        let keys = match dialect {
            Dialect::Sqlite => json_rows(self.key),
            Dialect::Postgres => {
                format!(
                    "SELECT * FROM unnest({})",
                    arrays(&self.columns[..self.key])
                )
            }
        };
        format!(
            "SELECT {} FROM {} WHERE ({}) IN ({keys})",
            names.join(", "),
            self.physical(generation),
            self.key_names().join(", ")
        )
    }

    fn key_names(&self) -> Vec<&'static str> {
        self.columns[..self.key].iter().map(|c| c.name).collect()
    }
}

/// Changes whenever a query that fits the one layout may not fit the other.
pub(super) fn layout(tables: &[Table]) -> Result<String, ProjectionError> {
    let ddl: Vec<_> = tables.iter().map(|t| t.ddl(Dialect::Postgres, 0)).collect();
    canonical_hash(&ddl)
        .map(|hash| hash.to_string())
        .map_err(|e| ProjectionError::refused(format!("the tables have no JSON form: {e}")))
}

fn json_rows(columns: usize) -> String {
    let columns: Vec<_> = (0..columns).map(|i| format!("value ->> {i}")).collect();
    format!("SELECT {} FROM json_each($1)", columns.join(", "))
}

fn arrays(columns: &[Column]) -> String {
    let arrays = columns.iter().enumerate().map(|(i, c)| {
        let kind = match c.kind {
            Kind::Int => "bigint",
            Kind::Text => "text",
        };
        format!("${}::{kind}[]", i + 1)
    });
    arrays.collect::<Vec<_>>().join(", ")
}
