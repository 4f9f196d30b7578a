//! The register of generations: which there are, how far each is, and the transactions that create, move, swap and
//! drop them. Knows no events.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    ProjectionError,
    store::Tx,
    table::{Dialect, Table, Value},
};

/// What a generation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationState {
    /// On its way to the head.
    Building,
    /// Readers see it.
    Live,
    /// Swapped out; dropped after a while.
    Retired,
}

impl GenerationState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Live => "live",
            Self::Retired => "retired",
        }
    }

    fn read(name: &str) -> Result<Self, ProjectionError> {
        [Self::Building, Self::Live, Self::Retired]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| ProjectionError::refused(format!("a generation in the state `{name}`")))
    }
}

impl fmt::Display for GenerationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One row of `projections`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) version: u32,
    pub(super) layout: String,
    /// Names of its tables.
    pub(super) tables: Vec<String>,
    pub(super) state: GenerationState,
    pub(super) position: u64,
    pub(super) anchor: String,
    pub(super) fence: i64,
    pub(super) failed: Option<(u64, String)>,
    pub(super) updated: i64,
}

const COLUMNS: &str = "generation, version, layout, tables, state, position, anchor, fence, failed_at, error, updated";

/// How long a swap waits in PostgreSQL for queries on the SQL views that it replaces. Queries that come later wait
/// behind it, and the folding of the live generation does too.
const SWAP_LOCK_TIMEOUT: &str = "200ms";

/// Milliseconds since 1970 by the system's clock: for people, and for the grace of retired tables.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn signed(n: u64) -> Value {
    // Positions and generations are counted up from 0; none gets near 2^63.
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

/// All generations of a projection, the oldest first.
pub(super) async fn load(tx: &mut Tx, name: &str) -> Result<Vec<Generation>, ProjectionError> {
    let sql = format!("SELECT {COLUMNS} FROM projections WHERE name = $1 ORDER BY generation");
    let rows = tx.fetch(&sql, &[name.into()]).await?;
    rows.into_iter().map(read).collect()
}

/// The newest version in use beyond `version`: another server's code made it, and knows better.
pub(super) fn newer(all: &[Generation], version: u32) -> Option<u32> {
    let in_use = all.iter().filter(|g| g.state != GenerationState::Retired);
    in_use.map(|g| g.version).filter(|v| *v > version).max()
}

fn read(row: Vec<Value>) -> Result<Generation, ProjectionError> {
    let damaged = || ProjectionError::refused("a row of `projections` is damaged");
    let int = |i: usize| match row.get(i) {
        Some(Value::Int(n)) => Ok(*n),
        Some(Value::Text(_) | Value::Null) | None => Err(damaged()),
    };
    let text = |i: usize| match row.get(i) {
        Some(Value::Text(text)) => Ok(text.as_str()),
        Some(Value::Int(_) | Value::Null) | None => Err(damaged()),
    };
    let unsigned = |i: usize| u64::try_from(int(i)?).map_err(|_| damaged());
    let failed = match (row.get(8), row.get(9)) {
        (Some(Value::Int(_)), Some(Value::Text(error))) => Some((unsigned(8)?, error.clone())),
        _ => None,
    };
    Ok(Generation {
        number: unsigned(0)?,
        version: u32::try_from(int(1)?).map_err(|_| damaged())?,
        layout: text(2)?.to_owned(),
        tables: text(3)?.split_whitespace().map(str::to_owned).collect(),
        state: GenerationState::read(text(4)?)?,
        position: unsigned(5)?,
        anchor: text(6)?.to_owned(),
        fence: int(7)?,
        failed,
        updated: int(10)?,
    })
}

/// Makes changes to the register wait for one another, and numbers them. First in its transaction.
pub(super) async fn serialise(tx: &mut Tx) -> Result<u64, ProjectionError> {
    tx.execute("UPDATE projection_changes SET count = count + 1", &[])
        .await?;
    let rows = tx
        .fetch("SELECT count FROM projection_changes", &[])
        .await?;
    match rows.first().and_then(|row| row.first()) {
        Some(Value::Int(n)) => Ok(n.unsigned_abs()),
        Some(Value::Null | Value::Text(_)) | None => {
            Err(ProjectionError::refused("`projection_changes` has no row"))
        }
    }
}

/// Creates the tables of a new generation, which is `number`: the change's, so that no number comes twice.
pub(super) async fn create(
    tx: &mut Tx,
    dialect: Dialect,
    name: &str,
    (version, layout): (u32, &str),
    tables: &'static [Table],
    number: u64,
) -> Result<(), ProjectionError> {
    for table in tables {
        for statement in table.ddl(dialect, number) {
            tx.execute(&statement, &[]).await?;
        }
    }
    let names: Vec<_> = tables.iter().map(|t| t.name).collect();
    tx.execute(
        "INSERT INTO projections (name, generation, version, layout, tables, state, position, anchor, fence, updated)
         VALUES ($1, $2, $3, $4, $5, 'building', 0, '', 0, $6)",
        &[
            name.into(),
            signed(number),
            version.into(),
            layout.into(),
            names.join(" ").into(),
            now().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Takes over the folding of a generation; whoever folded it before can't any more. Answers it as it is now.
pub(super) async fn claim(
    tx: &mut Tx,
    name: &str,
    number: u64,
) -> Result<Option<Generation>, ProjectionError> {
    let sql = "UPDATE projections SET fence = fence + 1 WHERE name = $1 AND generation = $2";
    tx.execute(sql, &[name.into(), signed(number)]).await?;
    let sql = format!("SELECT {COLUMNS} FROM projections WHERE name = $1 AND generation = $2");
    let rows = tx.fetch(&sql, &[name.into(), signed(number)]).await?;
    rows.into_iter().next().map(read).transpose()
}

/// Moves the position on, if the generation still is where this folder left it. Locks its row until the
/// transaction's end.
pub(super) async fn advance(
    tx: &mut Tx,
    name: &str,
    from: &Generation,
    (position, anchor): (u64, &str),
) -> Result<bool, ProjectionError> {
    let moved = tx
        .execute(
            "UPDATE projections SET position = $1, anchor = $2, updated = $3, failed_at = NULL, error = NULL
             WHERE name = $4 AND generation = $5 AND position = $6 AND fence = $7 AND state <> 'retired'",
            &[
                signed(position),
                anchor.into(),
                now().into(),
                name.into(),
                signed(from.number),
                signed(from.position),
                from.fence.into(),
            ],
        )
        .await?;
    Ok(moved == 1)
}

/// Notes why the event at the generation's position can't be applied.
pub(super) async fn fail(
    tx: &mut Tx,
    name: &str,
    of: &Generation,
    (position, error): (u64, &str),
) -> Result<(), ProjectionError> {
    tx.execute(
        "UPDATE projections SET failed_at = $1, error = $2, updated = $3
         WHERE name = $4 AND generation = $5 AND position = $6 AND fence = $7",
        &[
            signed(position),
            error.into(),
            now().into(),
            name.into(),
            signed(of.number),
            signed(of.position),
            of.fence.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Makes a building generation the live one, unless it was moved by another folder, is behind the live one, or is
/// older than what a newer server keeps. Answers whether it did.
pub(super) async fn swap(
    tx: &mut Tx,
    name: &str,
    new: &Generation,
) -> Result<bool, ProjectionError> {
    tx.wait_at_most(SWAP_LOCK_TIMEOUT).await?;
    serialise(tx).await?;
    // Locks the rows of both generations: neither moves until the transaction's end.
    let lock = "UPDATE projections SET fence = fence WHERE name = $1";
    tx.execute(lock, &[name.into()]).await?;
    let all = load(tx, name).await?;
    let ours = |g: &&Generation| g.number == new.number && g.fence == new.fence;
    let level = all
        .iter()
        .find(ours)
        .is_some_and(|g| g.state == GenerationState::Building && g.position == new.position);
    let live = all.iter().find(|g| g.state == GenerationState::Live);
    let behind = live.is_some_and(|live| live.position > new.position);
    if !level || behind || newer(&all, new.version).is_some() {
        return Ok(false);
    }
    if let Some(live) = live {
        retire(tx, name, live).await?;
    }
    let sql =
        "UPDATE projections SET state = 'live', updated = $1 WHERE name = $2 AND generation = $3";
    tx.execute(sql, &[now().into(), name.into(), signed(new.number)])
        .await?;
    for table in &new.tables {
        let number = new.number;
        tx.execute(&format!("DROP VIEW IF EXISTS {table}"), &[])
            .await?;
        let view = format!("CREATE VIEW {table} AS SELECT * FROM {table}_g{number}");
        tx.execute(&view, &[]).await?;
    }
    Ok(true)
}

/// Takes a generation out of use, with the SQL views that show it.
pub(super) async fn retire(
    tx: &mut Tx,
    name: &str,
    of: &Generation,
) -> Result<(), ProjectionError> {
    let sql = "UPDATE projections SET state = 'retired', updated = $1 WHERE name = $2 AND generation = $3";
    tx.execute(sql, &[now().into(), name.into(), signed(of.number)])
        .await?;
    if of.state == GenerationState::Live {
        for table in &of.tables {
            tx.execute(&format!("DROP VIEW IF EXISTS {table}"), &[])
                .await?;
        }
    }
    Ok(())
}

/// Drops the tables of a generation and forgets it.
pub(super) async fn drop_tables(
    tx: &mut Tx,
    name: &str,
    of: &Generation,
) -> Result<(), ProjectionError> {
    for table in &of.tables {
        let number = of.number;
        tx.execute(&format!("DROP TABLE IF EXISTS {table}_g{number}"), &[])
            .await?;
    }
    let sql = "DELETE FROM projections WHERE name = $1 AND generation = $2";
    tx.execute(sql, &[name.into(), signed(of.number)]).await?;
    Ok(())
}
