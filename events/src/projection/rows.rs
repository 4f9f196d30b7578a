//! The rows that a batch of events works on: loaded once, changed in memory, written together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ProjectionError,
    store::Tx,
    table::{Table, Value},
};

/// A row of a view.
#[derive(Debug, Clone)]
pub struct Row {
    table: &'static Table,
    values: Vec<Value>,
    changed: bool,
}

impl Row {
    /// A text column.
    pub fn text(&self, column: &str) -> Result<&str, ProjectionError> {
        match self.get(column)? {
            Value::Text(text) => Ok(text),
            Value::Int(_) | Value::Null => Err(self.other(column, "text")),
        }
    }

    /// An integer column.
    pub fn int(&self, column: &str) -> Result<i64, ProjectionError> {
        match self.get(column)? {
            Value::Int(n) => Ok(*n),
            Value::Text(_) | Value::Null => Err(self.other(column, "integer")),
        }
    }

    pub fn get(&self, column: &str) -> Result<&Value, ProjectionError> {
        Ok(&self.values[self.table.column(column)?])
    }

    pub fn set(
        &mut self,
        column: &str,
        value: impl Into<Value>,
    ) -> Result<&mut Self, ProjectionError> {
        let place = self.table.column(column)?;
        self.values[place] = value.into();
        self.changed = true;
        Ok(self)
    }

    /// Adds to an integer column.
    ///
    /// # Errors
    /// When the sum passes 64 bits.
    pub fn add(&mut self, column: &str, delta: i64) -> Result<&mut Self, ProjectionError> {
        let sum = self.int(column)?.checked_add(delta).ok_or_else(|| {
            ProjectionError::refused(format!("`{}.{column}` passes 64 bits", self.table.name))
        })?;
        self.set(column, sum)
    }

    fn other(&self, column: &str, wanted: &str) -> ProjectionError {
        ProjectionError::refused(format!("`{}.{column}` holds no {wanted}", self.table.name))
    }
}

enum Slot {
    /// Not in the table.
    Absent,
    /// New in this batch.
    Inserted(Row),
    Loaded(Row),
}

/// Keys of rows that a batch will want, so that they are loaded together.
#[derive(Debug, Default)]
pub struct Keys(BTreeSet<(&'static str, Vec<Value>)>);

impl Keys {
    pub fn add<const N: usize>(&mut self, table: &'static str, key: [Value; N]) {
        self.0.insert((table, key.into()));
    }
}

/// The rows of one generation, inside of one transaction.
pub struct Rows<'a> {
    tx: &'a mut Tx,
    tables: &'static [Table],
    generation: u64,
    slots: BTreeMap<(&'static str, Vec<Value>), Slot>,
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("generation", &self.generation)
            .field("rows", &self.slots.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Rows<'a> {
    pub(super) fn new(tx: &'a mut Tx, tables: &'static [Table], generation: u64) -> Self {
        Self {
            tx,
            tables,
            generation,
            slots: BTreeMap::new(),
        }
    }

    /// Loads rows that will be wanted, each table's in one statement.
    pub(super) async fn prefetch(&mut self, keys: &Keys) -> Result<(), ProjectionError> {
        for table in self.tables {
            let of_table = keys.0.iter().filter(|(name, _)| *name == table.name);
            let of_table: Vec<&[Value]> = of_table.map(|(_, key)| key.as_slice()).collect();
            let found = self.tx.load(table, self.generation, &of_table).await?;
            for key in of_table {
                self.slots
                    .insert((table.name, key.to_owned()), Slot::Absent);
            }
            for values in found {
                self.keep(table, values);
            }
        }
        Ok(())
    }

    /// A row, where it is there.
    pub async fn find<const N: usize>(
        &mut self,
        table: &'static str,
        key: [Value; N],
    ) -> Result<Option<&mut Row>, ProjectionError> {
        let key = self.known(table, key.into()).await?;
        Ok(match self.slots.get_mut(&key) {
            Some(Slot::Inserted(row) | Slot::Loaded(row)) => Some(row),
            Some(Slot::Absent) | None => None,
        })
    }

    /// A row that must be there.
    pub async fn row<const N: usize>(
        &mut self,
        table: &'static str,
        key: [Value; N],
    ) -> Result<&mut Row, ProjectionError> {
        let name = format!("{key:?}");
        let row = self.find(table, key).await?;
        row.ok_or_else(|| ProjectionError::refused(format!("`{table}` has no row {name}")))
    }

    /// A row that is made, with zeros, empty texts and nulls, where it is not there.
    pub async fn entry<const N: usize>(
        &mut self,
        table: &'static str,
        key: [Value; N],
    ) -> Result<&mut Row, ProjectionError> {
        let known = self.known(table, key.into()).await?;
        let slot = self.slots.entry(known.clone()).or_insert(Slot::Absent);
        if let Slot::Absent = slot {
            let mut row = blank(find_table(self.tables, table)?);
            for (value, part) in row.values.iter_mut().zip(known.1) {
                *value = part;
            }
            *slot = Slot::Inserted(row);
        }
        match slot {
            Slot::Inserted(row) | Slot::Loaded(row) => Ok(row),
            Slot::Absent => Err(ProjectionError::refused("a row that was just made is gone")),
        }
    }

    /// A new row; columns that are not named are null.
    ///
    /// # Errors
    /// When a row with its key was seen in this batch; one that is in the table already is found at the end of it.
    pub fn insert<const N: usize>(
        &mut self,
        table: &'static str,
        columns: [(&'static str, Value); N],
    ) -> Result<(), ProjectionError> {
        let table = find_table(self.tables, table)?;
        let mut row = Row {
            table,
            values: vec![Value::Null; table.columns.len()],
            changed: true,
        };
        for (column, value) in columns {
            row.set(column, value)?;
        }
        let key = (table.name, row.values[..table.key].to_vec());
        match self.slots.get(&key) {
            Some(Slot::Inserted(_) | Slot::Loaded(_)) => {
                let key = key.1;
                let twice = format!("`{}` would have the row {key:?} twice", table.name);
                Err(ProjectionError::refused(twice))
            }
            Some(Slot::Absent) | None => {
                self.slots.insert(key, Slot::Inserted(row));
                Ok(())
            }
        }
    }

    /// Multiplies non-negative integer columns of all rows of a table by so many parts per million, each rounded down, and sets `sum` to
    /// what they come to: one statement, however many rows there are.
    ///
    /// # Errors
    /// When the table has no such column, or `ppm` is above a million, so that a product could pass 64 bits.
    pub async fn scale(
        &mut self,
        table: &'static str,
        columns: &[&'static str],
        sum: &'static str,
        ppm: u32,
    ) -> Result<(), ProjectionError> {
        const WHOLE: u32 = 1_000_000;
        let table = find_table(self.tables, table)?;
        table.column(sum)?;
        if ppm > WHOLE {
            return Err(ProjectionError::refused("rows are scaled down, not up"));
        }
        let mut parts = Vec::with_capacity(columns.len());
        for column in columns {
            table.column(column)?;
            // In two halves, so that no product passes 64 bits.
            parts.push(format!(
                "({column} / {WHOLE} * {ppm} + {column} % {WHOLE} * {ppm} / {WHOLE})"
            ));
        }
        let sets: Vec<String> = columns
            .iter()
            .zip(&parts)
            .map(|(column, part)| format!("{column} = {part}"))
            .chain([format!("{sum} = {}", parts.join(" + "))])
            .collect();
        let name = table.physical(self.generation);
        let sql = format!("UPDATE {name} SET {}", sets.join(", "));
        // What this batch has of any table is written first, and read again where it is wanted.
        self.flush().await?;
        self.slots.clear();
        self.tx.execute(&sql, &[]).await?;
        Ok(())
    }

    /// Writes what has changed.
    pub(super) async fn flush(&mut self) -> Result<(), ProjectionError> {
        for table in self.tables {
            let (mut inserted, mut changed) = (Vec::new(), Vec::new());
            for ((name, _), slot) in &self.slots {
                match slot {
                    Slot::Inserted(row) if *name == table.name => inserted.push(&row.values[..]),
                    Slot::Loaded(row) if *name == table.name && row.changed => {
                        changed.push(&row.values[..]);
                    }
                    Slot::Inserted(_) | Slot::Loaded(_) | Slot::Absent => {}
                }
            }
            self.tx
                .write(table, self.generation, false, &inserted)
                .await?;
            self.tx
                .write(table, self.generation, true, &changed)
                .await?;
        }
        Ok(())
    }

    /// Makes sure that it is known whether the row is there.
    async fn known(
        &mut self,
        table: &'static str,
        key: Vec<Value>,
    ) -> Result<(&'static str, Vec<Value>), ProjectionError> {
        let place = (table, key);
        if !self.slots.contains_key(&place) {
            let table = find_table(self.tables, table)?;
            let found = self.tx.load(table, self.generation, &[&place.1]).await?;
            self.slots.insert(place.clone(), Slot::Absent);
            for values in found {
                self.keep(table, values);
            }
        }
        Ok(place)
    }

    fn keep(&mut self, table: &'static Table, values: Vec<Value>) {
        let key = (table.name, values[..table.key].to_vec());
        let row = Row {
            table,
            values,
            changed: false,
        };
        self.slots.insert(key, Slot::Loaded(row));
    }
}

fn find_table(tables: &'static [Table], name: &str) -> Result<&'static Table, ProjectionError> {
    tables
        .iter()
        .find(|t| t.name == name)
        .ok_or_else(|| ProjectionError::refused(format!("the projection has no table `{name}`")))
}

fn blank(table: &'static Table) -> Row {
    use super::table::Kind;
    let values = table.columns.iter().map(|c| match (c.nullable, c.kind) {
        (true, _) => Value::Null,
        (false, Kind::Int) => Value::Int(0),
        (false, Kind::Text) => Value::from(""),
    });
    Row {
        table,
        values: values.collect(),
        changed: true,
    }
}
