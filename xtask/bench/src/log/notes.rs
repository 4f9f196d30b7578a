//! The machine that appends are measured with: each command writes one small event, and `decide` has no work.
//!
//! What remains is the log's own cost: the queue, the envelope, canonical bytes, the tree, the commit, two folds.

use std::{collections::BTreeMap, sync::Arc};

use aevir_events::{
    Context, Corrupt, Event, Handle, Machine, Recorded, Request, UnknownEvent, parse_data,
};
use anyhow::Result;
use serde::{Deserialize, Serialize, Serializer};

use crate::callers::Caller;

/// Bytes of text in a note, which make about 200 bytes of `data`.
const TEXT_BYTES: usize = 170;

/// The machine.
#[derive(Debug)]
pub(crate) struct Notes;

/// How many notes each book has.
pub(crate) type Books = BTreeMap<u32, u64>;

/// A note to be written.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Write {
    pub(crate) book: u32,
    pub(crate) text: Arc<str>,
}

/// A note that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noted {
    book: u32,
    text: Arc<str>,
}

/// Nothing is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Never {}

impl Event for Noted {
    fn label(&self) -> &'static str {
        "note.written"
    }

    fn schema(&self) -> u16 {
        1
    }

    fn stream(&self) -> String {
        format!("book/{}", self.book)
    }

    fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn from_data(label: &str, schema: u16, data: &str) -> Result<Self, UnknownEvent> {
        match (label, schema) {
            ("note.written", 1) => parse_data(label, data),
            _ => Err(UnknownEvent(format!("`{label}` version {schema}"))),
        }
    }
}

impl Machine for Notes {
    type State = Books;
    type Command = Write;
    type Event = Noted;
    type Rejection = Never;

    fn decide(_: &Books, write: &Write, _: &Context) -> Result<Vec<Noted>, Never> {
        Ok(vec![Noted {
            book: write.book,
            text: Arc::clone(&write.text),
        }])
    }

    fn evolve(books: &mut Books, recorded: &Recorded<Noted>) -> Result<(), Corrupt> {
        *books.entry(recorded.event.book).or_default() += 1;
        Ok(())
    }
}

/// One who writes note after note into a book of its own.
pub(crate) struct Writer {
    handle: Handle<Notes>,
    book: u32,
    text: Arc<str>,
}

impl Writer {
    /// So many writers.
    pub(crate) fn many(handle: &Handle<Notes>, count: usize) -> Vec<Self> {
        let text: Arc<str> = "n".repeat(TEXT_BYTES).into();
        (0..count as u32)
            .map(|book| Self {
                handle: handle.clone(),
                book,
                text: Arc::clone(&text),
            })
            .collect()
    }
}

impl Caller for Writer {
    async fn call(&mut self) -> Result<()> {
        let request = Request {
            actor: "account/bench".to_owned(),
            key: None,
            command: Write {
                book: self.book,
                text: Arc::clone(&self.text),
            },
        };
        self.handle.submit(request).await?;
        Ok(())
    }
}

/// The `data` of such a note, for peers.
pub(crate) fn payload(book: u32) -> String {
    format!(r#"{{"book":{book},"text":"{}"}}"#, "n".repeat(TEXT_BYTES))
}
