//! Tiles, proofs and publishing, against an independent tree and under faults.
#![allow(clippy::unwrap_used)]

mod publisher;
mod receipts;
mod refusals;
mod tree;

use std::sync::Arc;

use ulid::Ulid;

use super::{
    Checkpoint, CheckpointTable, LogKey, PublishError, Publisher, PublisherConfig, TileBuilder,
    TileSource as _,
};
use crate::{
    Batch, Entry, Log, NewEvent, PostgresLog, SqliteLog, Timestamp, testing::MemoryTiles,
    toy::Store,
};

/// The leader of every test that has only one.
const LEADER: Ulid = Ulid(1);

fn key(seed: u8) -> Arc<LogKey> {
    Arc::new(LogKey::generate("example.com/log", [seed; 32]).unwrap())
}

/// Entry `position` of the log that is told apart by `history`.
fn entry(history: &str, position: u64) -> Vec<u8> {
    let filler = "x".repeat((position % 37) as usize);
    format!("entry {position} of {history} {filler}").into_bytes()
}

/// A log, the place where it is published, and its key.
struct World {
    store: Store,
    tiles: Arc<MemoryTiles>,
    key: Arc<LogKey>,
    history: &'static str,
}

impl World {
    fn new(store: Store) -> Self {
        Self {
            store,
            tiles: Arc::default(),
            key: key(1),
            history: "main",
        }
    }

    fn sqlite() -> Self {
        Self::new(Store::sqlite())
    }

    /// As another process would open it.
    async fn open(&self) -> (Arc<dyn Log>, Arc<dyn CheckpointTable>) {
        let name = self.store.name();
        if name.starts_with("postgres:") {
            let log = Arc::new(PostgresLog::open(&name).await.unwrap());
            (log.clone(), log)
        } else {
            let log = Arc::new(SqliteLog::open(&name).await.unwrap());
            (log.clone(), log)
        }
    }

    async fn config(&self) -> PublisherConfig {
        let (log, checkpoints) = self.open().await;
        PublisherConfig {
            log,
            checkpoints,
            store: Arc::clone(&self.tiles) as _,
            key: Arc::clone(&self.key),
            clock: Arc::new(|| Timestamp(1_700_000_000_000)),
        }
    }

    /// Checks what is there and publishes the log to its head.
    async fn publish(&self) -> Result<Checkpoint, PublishError> {
        Publisher::open(self.config().await)
            .await?
            .publish(LEADER)
            .await
    }

    /// Appends entries as [`LEADER`] until there are `size`.
    async fn grow(&self, size: u64) {
        let (log, _) = self.open().await;
        let head = log.claim(LEADER).await.unwrap();
        let mut frontier = head.frontier.clone();
        let base = head.size();
        let events = (base..size)
            .map(|position| {
                let entry = Entry(entry(self.history, position));
                let leaf = entry.leaf();
                frontier.push(leaf);
                NewEvent {
                    position,
                    stream_id: base,
                    stream: format!("stream/{base}"),
                    revision: position - base,
                    id: Ulid::from_parts(position, 1),
                    type_id: 0,
                    label: "thing.happened",
                    schema: 1,
                    time: Timestamp(position as i64),
                    entry,
                    leaf,
                }
            })
            .collect();
        let batch = Batch {
            epoch: head.epoch,
            base,
            events,
            commands: vec![],
            root: frontier.root(),
            frontier,
        };
        log.append(Arc::new(batch)).await.unwrap();
    }

    /// Checks that what is shown is a whole published log of `size` entries of this world's history.
    async fn is_published(&self, size: u64) {
        let note = self.tiles.checkpoint().await.unwrap().unwrap();
        let shown = Checkpoint::open(&note, self.key.verifier()).unwrap();
        let (expected, full) = built(self.history, size);
        assert_eq!((shown.size, shown.root), (size, expected.root()));
        let tiles = self.tiles.tiles();
        for tile in full.into_iter().chain(expected.partials()) {
            assert_eq!(tiles.get(&tile.path), Some(&tile.bytes), "{}", tile.path);
        }
    }
}

/// The tree of a history, with its full tiles.
fn built(history: &str, size: u64) -> (TileBuilder, Vec<super::Tile>) {
    let mut builder = TileBuilder::default();
    let mut full = Vec::new();
    for position in 0..size {
        builder.push(&entry(history, position), &mut full);
    }
    (builder, full)
}
