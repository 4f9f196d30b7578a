//! The tamper suite: a true log, one dishonest change each, and `aevir audit` must name the first bad position and why.
#![allow(clippy::unwrap_used)]

mod books;
mod database;
mod exports;
mod published;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use aevir_events::{
    Batch, CloudEventWriter, Entry, Hash, Log as _, SqliteLog,
    merkle::Frontier,
    tlog::{LogKey, TileBuilder, VerifierKey},
};
use aevir_platform::testing::History;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use signed_note::{Note, StandardSigner};
use tempfile::TempDir;

use super::{AuditArgs, engine, report::Audit, subject::Subject};
use crate::args::{Global, LogStyle, Output};

const ORIGIN: &str = "example.com/audited";
/// Enough for full tiles, a partial one, and verdicts of many tasks.
const EVENTS: usize = 1_500;

/// The same history for all tests: deciding it takes a while.
static HISTORY: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let batch = History::new(7).batch(EVENTS, 0);
    batch.events.into_iter().map(|row| row.entry).collect()
});

/// The rows of the same history, as an executor appends them.
fn batch(epoch: u64) -> Batch {
    History::new(7).batch(EVENTS, epoch)
}

/// A log in a folder of its own, in every form that an audit reads.
struct World {
    folder: TempDir,
    key: LogKey,
    entries: Vec<Entry>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: LogKey::generate(ORIGIN, [9; 32]).unwrap(),
            entries: HISTORY.clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The position of the first entry of a type.
    fn first(&self, label: &str) -> usize {
        let of_type = |entry: &Entry| entry.envelope().unwrap().label == label;
        self.entries.iter().position(of_type).unwrap()
    }

    /// Changes an entry's envelope and writes it in canonical form again.
    fn change(&mut self, position: usize, change: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_slice(&self.entries[position].0).unwrap();
        change(&mut value);
        self.entries[position] = Entry(serde_json_canonicalizer::to_vec(&value).unwrap());
    }

    /// Gives all entries dense positions and revisions again, as somebody would who hides a change.
    fn renumber(&mut self) {
        let mut revisions = std::collections::BTreeMap::<String, u64>::new();
        for position in 0..self.entries.len() {
            self.change(position, |entry| {
                entry["position"] = position.to_string().into();
                let stream = entry["stream"].as_str().unwrap().to_owned();
                let revision = revisions.entry(stream).or_default();
                entry["revision"] = revision.to_string().into();
                *revision += 1;
            });
        }
    }

    fn root(&self, size: usize) -> Hash {
        let mut frontier = Frontier::default();
        for entry in &self.entries[..size] {
            frontier.push(entry.leaf());
        }
        frontier.root()
    }

    /// A signed checkpoint of the first `size` entries as they are now.
    fn sign(&self, key: &LogKey, size: usize) -> String {
        let root = BASE64_STANDARD.encode(self.root(size).0);
        let text = format!("{ORIGIN}\n{size}\n{root}\n");
        let signer = StandardSigner::new(key.expose()).unwrap();
        let mut note = Note::new(text.as_bytes(), &[]).unwrap();
        note.add_sigs(&[&signer]).unwrap();
        String::from_utf8(note.to_bytes()).unwrap()
    }

    /// The export of the entries as they are now.
    fn export(&self) -> PathBuf {
        let writer = CloudEventWriter::new(ORIGIN);
        let mut text = Vec::new();
        for entry in &self.entries {
            writer.write(entry, &mut text).unwrap();
            text.push(b'\n');
        }
        let file = self.path("log.ndjson");
        fs::write(&file, text).unwrap();
        file
    }

    /// Keeps the signed checkpoint of the true log, of its first `size` entries.
    fn keep(&self, size: usize) -> PathBuf {
        let file = self.path(&format!("kept.{size}"));
        fs::write(&file, self.sign(&self.key, size)).unwrap();
        file
    }

    /// Publishes tiles and checkpoint of the entries as they are now.
    fn publish(&self) -> PathBuf {
        let folder = self.path("published");
        let mut builder = TileBuilder::default();
        let mut tiles = Vec::new();
        for entry in &self.entries {
            builder.push(&entry.0, &mut tiles);
        }
        tiles.extend(builder.partials());
        for tile in tiles {
            let file = folder.join(tile.path.to_string());
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, tile.bytes).unwrap();
        }
        let note = self.sign(&self.key, self.entries.len());
        fs::write(folder.join("checkpoint"), note).unwrap();
        folder
    }

    /// A database with the true log.
    async fn database(&self) -> PathBuf {
        let file = self.path("log.sqlite");
        let log = SqliteLog::open(&file).await.unwrap();
        let head = log.claim(ulid::Ulid::nil()).await.unwrap();
        log.append(Arc::new(batch(head.epoch))).await.unwrap();
        log.pool().close().await;
        file
    }

    fn vkey(&self) -> Option<VerifierKey> {
        Some(self.key.verifier().clone())
    }

    /// The export, with nothing else to hold it against.
    async fn audit_export(&self) -> Audit {
        let file = Some(self.export());
        examine(AuditArgs {
            file,
            ..AuditArgs::default()
        })
        .await
        .unwrap()
    }
}

/// What `aevir audit` with these arguments reports.
async fn examine(args: AuditArgs) -> anyhow::Result<Audit> {
    let global = Global {
        server: "http://127.0.0.1:9".into(),
        key: None,
        output: Output::Json,
        log: LogStyle::Text,
    };
    let subject = Subject::of(&args, &global).await?;
    Ok(engine::examine(subject).await?.audit)
}

/// The audit must fail at this position, for a reason with these words.
fn assert_bad(audit: &Audit, position: impl Into<Option<usize>>, words: &str) {
    assert!(!audit.clean);
    let finding = audit.first_bad.as_ref().unwrap();
    let expected = position.into().map(|position| position as u64);
    assert_eq!(finding.position, expected, "{finding}");
    assert!(finding.reason.contains(words), "{finding}");
}

fn assert_clean(audit: &Audit) {
    assert_eq!(audit.first_bad, None);
    assert!(audit.clean);
}

/// How often the report says that something was checked.
fn checked(audit: &Audit, what: &str) -> u64 {
    let found = audit.checked.iter().find(|check| check.what.contains(what));
    found.unwrap().count
}

/// Rewrites a file of a test.
fn rewrite(file: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, change(bytes)).unwrap();
}
