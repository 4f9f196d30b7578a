//! Those that appends are measured beside: a plain table with `bigserial`, and message-db.
//!
//! Both get what suits them best: prepared statements, connections that are open already, and a stream (in message-db
//! a category, by which it locks) of its own for every caller.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use aevir_events::testing::PrivatePostgres;
use anyhow::{Context, Result, bail};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Semaphore;

use super::notes::payload;
use crate::callers::Caller;

/// The package that brings message-db, and its version.
const MESSAGE_DB: &str = "@eventide/message-db";
const MESSAGE_DB_VERSION: &str = "1.3.1";

/// Who is measured beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Bigserial,
    MessageDb,
}

impl Kind {
    /// As figures name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bigserial => "INSERT ... bigserial",
            Self::MessageDb => "message-db",
        }
    }

    fn statement(self) -> &'static str {
        match self {
            Self::Bigserial => "INSERT INTO plain (data) VALUES ($1)",
            Self::MessageDb => {
                "SELECT message_store.write_message($1, $2, 'NoteWritten', $3::text::jsonb)"
            }
        }
    }
}

/// A peer with its tables made.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    options: PgConnectOptions,
}

impl Peer {
    /// Makes the peer's tables in a database of its own.
    pub(crate) async fn set_up(
        kind: Kind,
        database: &PrivatePostgres,
        tools: &Path,
    ) -> Result<Self> {
        let mut options = database.options();
        match kind {
            Kind::Bigserial => {
                let mut connection = PgConnection::connect_with(&options).await?;
                sqlx::query(
                    "CREATE TABLE plain (position bigserial PRIMARY KEY, data bytea NOT NULL)",
                )
                .execute(&mut connection)
                .await?;
            }
            Kind::MessageDb => {
                install_message_db(&options, &fetch_message_db(tools)?)?;
                options = options.options([("search_path", "message_store,public")]);
            }
        }
        Ok(Self { kind, options })
    }

    /// So many callers over so many connections.
    pub(crate) async fn callers(&self, count: usize, connections: usize) -> Result<Vec<Inserter>> {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(PgConnection::connect_with(&self.options).await?);
        }
        let lanes = Arc::new(Lanes {
            permits: Semaphore::new(connections),
            free: Mutex::new(open),
        });
        Ok((0..count as u32)
            .map(|number| Inserter {
                kind: self.kind,
                lanes: Arc::clone(&lanes),
                stream: format!("book{number}-1"),
                data: payload(number),
            })
            .collect())
    }
}

/// Connections that callers share.
struct Lanes {
    permits: Semaphore,
    free: Mutex<Vec<PgConnection>>,
}

/// One who inserts one event after the other.
pub(crate) struct Inserter {
    kind: Kind,
    lanes: Arc<Lanes>,
    stream: String,
    data: String,
}

impl Caller for Inserter {
    async fn call(&mut self) -> Result<()> {
        let _permit = self.lanes.permits.acquire().await?;
        let free = || {
            self.lanes
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut connection = free().pop().context("a permit without a connection")?;
        let insert = sqlx::query(self.kind.statement());
        match self.kind {
            Kind::Bigserial => insert.bind(self.data.as_bytes()),
            Kind::MessageDb => insert.bind(uuid()).bind(&self.stream).bind(&self.data),
        }
        .execute(&mut connection)
        .await?;
        free().push(connection);
        Ok(())
    }
}

/// A random UUID, version 4.
fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = u128::from_be_bytes(bytes);
    let text = format!("{digits:032x}");
    [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ]
    .join("-")
}

/// The folder with message-db's SQL, fetched by npm where it isn't there yet.
fn fetch_message_db(tools: &Path) -> Result<PathBuf> {
    let root = tools.join("message-db");
    let package = root.join("node_modules").join(MESSAGE_DB);
    if !package.join("database/install.sh").is_file() {
        std::fs::create_dir_all(&root)?;
        run(Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(&root)
            .arg(format!("{MESSAGE_DB}@{MESSAGE_DB_VERSION}")))
        .context("message-db comes from npm: install Node.js with npm")?;
    }
    Ok(package.join("database"))
}

/// Runs message-db's own install script against a database that exists.
fn install_message_db(options: &PgConnectOptions, scripts: &Path) -> Result<()> {
    let socket = options.get_socket().context("the server has no socket")?;
    run(Command::new("bash")
        .arg(scripts.join("install.sh"))
        .env("CREATE_DATABASE", "off")
        .env(
            "DATABASE_NAME",
            options.get_database().unwrap_or("postgres"),
        )
        .env("PGHOST", socket)
        .env("PGPORT", options.get_port().to_string())
        .env("PGUSER", options.get_username()))
    .context("message-db's install script needs bash and psql")
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{} failed: {}",
        command.get_program().to_string_lossy(),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_looks_like_one() {
        let text = uuid();
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&text[14..15], "4");
        assert_ne!(text, uuid());
    }
}
