//! A batch as one statement's columns: what of an append takes the processor and no database.

use sqlx::{Arguments as _, Encode, Postgres, Type, postgres::PgArguments};

use crate::log::{Batch, CommandRow, LogError, NewEvent, signed};

/// The compare-and-set and all inserts as one statement, which is its own transaction: one round trip, and the
/// server never waits for the client while it holds the head's row lock. Answers how many head rows matched.
pub(super) const APPEND: &str = "
WITH head AS (
    UPDATE log_head SET size = $3, root = $4, frontier = $5 WHERE epoch = $1 AND size = $2 RETURNING 1
), new_streams AS (
    INSERT INTO streams (id, name)
    SELECT u.* FROM head, unnest($6::bigint[], $7::text[]) AS u
), new_types AS (
    INSERT INTO event_types (id, name)
    SELECT u.* FROM head, unnest($8::bigint[], $9::text[]) AS u
), new_commands AS (
    INSERT INTO commands (id, payload, position, events)
    SELECT u.* FROM head, unnest($10::bytea[], $11::bytea[], $12::bigint[], $13::integer[]) AS u
), new_events AS (
    INSERT INTO events (position, stream, revision, id, type, schema, time, entry, leaf)
    SELECT u.* FROM head, unnest($14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[], $18::bigint[],
                                 $19::integer[], $20::bigint[], $21::bytea[], $22::bytea[]) AS u
)
SELECT count(*) FROM head";

/// The arguments of [`APPEND`], in its order.
pub(super) fn encode(batch: &Batch) -> Result<PgArguments, LogError> {
    let Batch {
        epoch,
        base,
        events,
        commands,
        frontier,
        root,
    } = batch;
    let mut columns = Columns(PgArguments::default());
    columns.add(signed(*epoch)?)?;
    columns.add(signed(*base)?)?;
    columns.add(signed(frontier.size())?)?;
    columns.add(root.as_ref())?;
    columns.add(frontier.to_bytes())?;
    columns.add_names(events, NewEvent::new_stream)?;
    columns.add_names(events, NewEvent::new_type)?;
    columns.add_commands(commands)?;
    columns.add_events(events)?;
    Ok(columns.0)
}

struct Columns(PgArguments);

impl Columns {
    fn add<'a, T: Encode<'a, Postgres> + Type<Postgres>>(
        &mut self,
        value: T,
    ) -> Result<(), LogError> {
        let added = self.0.add(value);
        added.map_err(|error| LogError::from(sqlx::Error::Encode(error)))
    }

    /// One value of each row.
    fn column<'a, R, T>(
        &mut self,
        rows: &'a [R],
        of: impl Fn(&'a R) -> Result<T, LogError>,
    ) -> Result<(), LogError>
    where
        Vec<T>: Encode<'a, Postgres> + Type<Postgres>,
    {
        self.add(rows.iter().map(of).collect::<Result<Vec<T>, _>>()?)
    }

    /// The names that these events are the first to use, under their positions.
    fn add_names(
        &mut self,
        events: &[NewEvent],
        name: fn(&NewEvent) -> Option<&str>,
    ) -> Result<(), LogError> {
        let named = || events.iter().filter_map(|e| Some((e.position, name(e)?)));
        let ids: Result<Vec<i64>, _> = named().map(|(id, _)| signed(id)).collect();
        self.add(ids?)?;
        self.add(named().map(|(_, name)| name).collect::<Vec<&str>>())
    }

    fn add_commands(&mut self, commands: &[CommandRow]) -> Result<(), LogError> {
        self.column(commands, |c| Ok(c.id.as_ref()))?;
        self.column(commands, |c| Ok(c.payload.as_ref()))?;
        self.column(commands, |c| signed(c.position))?;
        self.column(commands, |c| {
            i32::try_from(c.events).map_err(|e| LogError::from(sqlx::Error::Encode(e.into())))
        })
    }

    fn add_events(&mut self, events: &[NewEvent]) -> Result<(), LogError> {
        self.column(events, |e| signed(e.position))?;
        self.column(events, |e| signed(e.stream_id))?;
        self.column(events, |e| signed(e.revision))?;
        let ids: Vec<[u8; 16]> = events.iter().map(|e| e.id.to_bytes()).collect();
        self.add(ids.iter().map(<[u8; 16]>::as_slice).collect::<Vec<_>>())?;
        self.column(events, |e| signed(e.type_id))?;
        self.column(events, |e| Ok(i32::from(e.schema)))?;
        self.column(events, |e| Ok(e.time.0))?;
        self.column(events, |e| Ok(e.entry.as_ref()))?;
        self.column(events, |e| Ok(e.leaf.as_ref()))
    }
}
