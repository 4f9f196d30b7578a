//! A place to publish a log at, in memory, that fails on demand.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::tlog::{TilePath, TileSource, TileStore, TileStoreError};

/// Tiles and checkpoints in memory.
#[derive(Debug, Default)]
pub struct MemoryTiles(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    tiles: BTreeMap<TilePath, Vec<u8>>,
    /// All that were ever shown.
    checkpoints: Vec<String>,
    /// Writes that still succeed; all do where there is no number.
    writes_left: Option<usize>,
}

impl MemoryTiles {
    /// Lets so many more writes succeed and then none, as if the process had been killed there.
    pub fn crash_after(&self, writes: usize) {
        self.locked().writes_left = Some(writes);
    }

    /// Lets writes succeed again. Answers whether one had failed.
    pub fn heal(&self) -> bool {
        self.locked().writes_left.take() == Some(0)
    }

    /// Every checkpoint that was ever shown, in order.
    pub fn history(&self) -> Vec<String> {
        self.locked().checkpoints.clone()
    }

    /// Every tile.
    pub fn tiles(&self) -> BTreeMap<TilePath, Vec<u8>> {
        self.locked().tiles.clone()
    }

    /// Changes a tile behind everybody's back; `None` removes it.
    pub fn tamper(&self, path: TilePath, bytes: Option<Vec<u8>>) {
        let mut content = self.locked();
        match bytes {
            Some(bytes) => content.tiles.insert(path, bytes),
            None => content.tiles.remove(&path),
        };
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn for_writing(&self) -> Result<std::sync::MutexGuard<'_, Content>, TileStoreError> {
        let mut content = self.locked();
        match &mut content.writes_left {
            None => {}
            Some(0) => return Err(TileStoreError::failed("memory", "injected fault")),
            Some(left) => *left -= 1,
        }
        Ok(content)
    }
}

#[async_trait]
impl TileSource for MemoryTiles {
    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, TileStoreError> {
        let content = self.locked();
        Ok(content
            .checkpoints
            .last()
            .map(|note| note.clone().into_bytes()))
    }

    async fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, TileStoreError> {
        Ok(self.locked().tiles.get(&path).cloned())
    }
}

#[async_trait]
impl TileStore for MemoryTiles {
    async fn put_tile(&self, path: TilePath, bytes: Vec<u8>) -> Result<(), TileStoreError> {
        let mut content = self.for_writing()?;
        let there = content.tiles.entry(path).or_insert_with(|| bytes.clone());
        if *there == bytes {
            Ok(())
        } else {
            Err(TileStoreError::Conflict {
                path: path.to_string(),
            })
        }
    }

    async fn put_checkpoint(&self, note: &str) -> Result<(), TileStoreError> {
        self.for_writing()?.checkpoints.push(note.to_owned());
        Ok(())
    }

    async fn remove_partials(&self, of: TilePath) -> Result<(), TileStoreError> {
        let mut content = self.for_writing()?;
        content
            .tiles
            .retain(|path, _| path.is_full() || path.full() != of.full());
        Ok(())
    }
}
