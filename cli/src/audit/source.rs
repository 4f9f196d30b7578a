//! Where the audited entries come from: an exported file, a live platform, or a log's database. Each gives chunks in
//! the log's order, and says what is broken in what it reads.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use aevir_events::{CHUNK_ENTRIES, CloudEventLine, Entry, Found, LogError, LogRows, Row, RowPage};
use aevir_wire::NdjsonStream;
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde_json::value::RawValue;
use tokio::runtime::Handle;

/// Longest line of an export: an entry, its attributes, and the log's origin.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// A Zstandard frame begins with these bytes (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a source gives no more.
#[derive(Debug)]
pub(crate) enum Broken {
    /// What it holds is no log, from the next position on.
    Damaged(String),
    /// It can't be read; nothing is known of what it holds.
    Unreadable(anyhow::Error),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(reason) => f.write_str(reason),
            Self::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Broken {}

/// Chunks of entries, in the log's order.
pub(crate) type Chunks = Box<dyn Iterator<Item = Result<Vec<Found>, Broken>> + Send>;

/// Rows of a database whose columns the fold still compares with their entries, in order.
pub(crate) type RowQueue = Arc<Mutex<VecDeque<Row>>>;

/// How the lines of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    CloudEvents,
    /// Entries as they are stored, such as `/v1/events` gives.
    Entries,
}

/// An exported log.
pub(crate) struct FileLines {
    lines: Box<dyn BufRead + Send>,
    form: Option<Form>,
    /// The origin that all lines must name.
    origin: Option<String>,
    broken: Option<Broken>,
    ended: bool,
}

impl FileLines {
    /// Opens a file, plain or Zstandard. `origin` is the pinned log's.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn open(file: &Path, origin: Option<String>, bar: &ProgressBar) -> Result<Self> {
        let named = || format!("`{}` can't be read", file.display());
        let opened = File::open(file).with_context(named)?;
        bar.set_length(opened.metadata().with_context(named)?.len());
        let mut bytes = BufReader::new(bar.wrap_read(opened));
        let zipped = bytes
            .fill_buf()
            .with_context(named)?
            .starts_with(&ZSTD_MAGIC);
        let lines: Box<dyn BufRead + Send> = if zipped {
            let unzipped = zstd::Decoder::with_buffer(bytes).with_context(named)?;
            Box::new(BufReader::new(unzipped))
        } else {
            Box::new(bytes)
        };
        Ok(Self {
            lines,
            form: None,
            origin,
            broken: None,
            ended: false,
        })
    }

    /// The next line without its line feed; `None` at the end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let mut line = Vec::new();
        let mut limited = (&mut self.lines).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.last() == Some(&b'\n') => {
                line.pop();
                Ok(Some(line))
            }
            Ok(_) => Err(Broken::Damaged(
                "the file ends within this line, or the line is longer than any entry".into(),
            )),
            // Also how a frame that was cut off, or whose checksum is wrong, shows.
            Err(error) => Err(Broken::Damaged(format!(
                "the file can't be read from here on: {error}"
            ))),
        }
    }

    fn entry(&mut self, line: Vec<u8>) -> Result<Entry, Broken> {
        let form = *self.form.get_or_insert_with(|| form_of(&line));
        if form == Form::Entries {
            return Ok(Entry(line));
        }
        let CloudEventLine { entry, source } =
            CloudEventLine::read(&line).map_err(|e| Broken::Damaged(e.to_string()))?;
        let origin = self.origin.get_or_insert_with(|| source.clone());
        if *origin == source {
            return Ok(entry);
        }
        Err(Broken::Damaged(format!(
            "the line is of the log `{source}`, not of `{origin}`"
        )))
    }

    fn chunk(&mut self) -> (Vec<Found>, Option<Broken>) {
        let mut found = Vec::with_capacity(CHUNK_ENTRIES);
        while found.len() < CHUNK_ENTRIES {
            let entry = match self.line() {
                Ok(None) => break,
                Ok(Some(line)) => self.entry(line),
                Err(broken) => Err(broken),
            };
            match entry {
                Ok(entry) => found.push(entry.into()),
                Err(broken) => return (found, Some(broken)),
            }
        }
        (found, None)
    }
}

/// A line of an export names the version of CloudEvents that it follows.
fn form_of(line: &[u8]) -> Form {
    let fields: Result<std::collections::BTreeMap<&str, &RawValue>, _> =
        serde_json::from_slice(line);
    match fields {
        Ok(fields) if !fields.contains_key("specversion") => Form::Entries,
        Ok(_) | Err(_) => Form::CloudEvents,
    }
}

impl Iterator for FileLines {
    type Item = Result<Vec<Found>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let (found, broken) = match self.broken.take() {
            Some(broken) => (Vec::new(), Some(broken)),
            None => self.chunk(),
        };
        if found.is_empty() {
            self.ended = true;
            return broken.map(Err);
        }
        self.broken = broken;
        Some(Ok(found))
    }
}

/// The entries of a live platform.
pub(crate) struct Live {
    pub(crate) entries: NdjsonStream,
    pub(crate) runtime: Handle,
}

impl Iterator for Live {
    type Item = Result<Vec<Found>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = async {
            let mut found = Vec::with_capacity(CHUNK_ENTRIES);
            while found.len() < CHUNK_ENTRIES {
                match self.entries.next_line().await {
                    None => break,
                    Some(Ok(line)) => found.push(Entry(line).into()),
                    Some(Err(error)) => return Err(Broken::Unreadable(error.into())),
                }
            }
            Ok(found)
        };
        match self.runtime.block_on(read) {
            Ok(found) if found.is_empty() => None,
            Ok(found) => Some(Ok(found)),
            Err(broken) => Some(Err(broken)),
        }
    }
}

/// The rows of a database, up to the size that its head says, and one beyond it, which must not be there.
pub(crate) struct Database {
    pub(crate) log: LogRows,
    pub(crate) size: u64,
    pub(crate) next: u64,
    pub(crate) queue: RowQueue,
    pub(crate) runtime: Handle,
    pub(crate) ended: bool,
}

impl Database {
    /// What an entry behind the head means: damage, unless the log has grown meanwhile.
    fn beyond(&self, position: u64) -> Option<Broken> {
        match self.runtime.block_on(self.log.head()) {
            Ok(head) if head.size() > position => None,
            Ok(_) => Some(Broken::Damaged(format!(
                "the table has an entry at position {position}, and its head says that there are {}",
                self.size
            ))),
            Err(error) => Some(unread(error)),
        }
    }
}

impl Iterator for Database {
    type Item = Result<Vec<Found>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let RowPage { rows, broken } = match self
            .runtime
            .block_on(self.log.rows(self.next, CHUNK_ENTRIES as u32))
        {
            Ok(page) => page,
            Err(error) => {
                self.ended = true;
                return Some(Err(unread(error)));
            }
        };
        let inside = rows
            .iter()
            .take_while(|row| row.position < self.size)
            .count();
        if inside == 0 {
            self.ended = true;
            return match (rows.first(), broken) {
                (Some(beyond), _) => self.beyond(beyond.position).map(Err),
                (None, Some(_)) if self.next >= self.size => self.beyond(self.next).map(Err),
                (None, broken) => broken.map(|error| Err(unread(error))),
            };
        }
        let rows: Vec<Row> = rows.into_iter().take(inside).collect();
        self.next = rows.last().map_or(self.next, |row| row.position + 1);
        let found = rows.iter().map(|row| Found {
            entry: row.entry.clone(),
            claimed: Some((row.position, row.leaf)),
        });
        let found = found.collect();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.extend(rows);
        Some(Ok(found))
    }
}

fn unread(error: LogError) -> Broken {
    match error {
        LogError::Corrupt { .. } => Broken::Damaged(error.to_string()),
        LogError::Fenced
        | LogError::Unknown(_)
        | LogError::Unavailable(_)
        | LogError::Migration(_) => Broken::Unreadable(error.into()),
    }
}
