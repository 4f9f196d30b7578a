//! Proofs out of tiles, with a bounded cache of tiles and the hashes above them.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::try_join_all;
use hashlink::LruCache;
use tlog_tiles::{HashReader, prove_record, prove_tree, split_stored_hash_index, tree_hash};

use super::{
    builder::{self, TileBuilder},
    bundle::{self, decode_bundle},
    path::{TILE_HEIGHT, TILE_WIDTH, TilePath},
    proof::theirs,
    store::{TileSource, TileStoreError},
};
use crate::merkle::{Hash, leaf_hash, node_hash};

/// Tiles in the cache, 16 KiB each with the hashes within them: 16 MiB, which hold all that proofs about the newest
/// quarter of a million entries need.
const CACHED_TILES: usize = 1_024;

/// Why the published log could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("{what} is not within the published log of {published} entries")]
    Beyond { what: String, published: u64 },
    #[error("`{path}` is missing in the published log")]
    Missing { path: TilePath },
    #[error("{what} in the published log: {reason}")]
    Damaged { what: String, reason: String },
    #[error(transparent)]
    Store(#[from] TileStoreError),
}

/// Which tile of hashes: level and index.
type Place = (u8, u64);

/// A tile with the hashes of all complete subtrees within it, the leaves first.
#[derive(Debug)]
struct Subtrees(Vec<Vec<Hash>>);

impl Subtrees {
    fn over(hashes: Vec<Hash>) -> Self {
        let mut rows = vec![hashes];
        for height in 0..usize::from(TILE_HEIGHT) - 1 {
            let pairs = rows[height].chunks_exact(2);
            rows.push(pairs.map(|pair| node_hash(&pair[0], &pair[1])).collect());
        }
        Self(rows)
    }

    fn get(&self, height: u8, index: u64) -> Option<Hash> {
        let row = self.0.get(usize::from(height))?;
        row.get(usize::try_from(index).ok()?).copied()
    }
}

/// Reads a published log.
///
/// It trusts what it reads: whoever uses a proof verifies it against a checkpoint.
pub struct TileReader {
    source: Arc<dyn TileSource>,
    /// The widest form seen of each tile; narrower trees need a part of it only.
    cache: Mutex<LruCache<Place, Arc<Subtrees>>>,
}

impl std::fmt::Debug for TileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TileReader").finish_non_exhaustive()
    }
}

impl TileReader {
    pub fn new(source: Arc<dyn TileSource>) -> Self {
        Self {
            source,
            cache: Mutex::new(LruCache::new(CACHED_TILES)),
        }
    }

    /// The proof that entry `index` is in the tree of `size` entries. `published` is the size of a checkpoint whose
    /// tiles are there, at least `size`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn inclusion_proof(
        &self,
        index: u64,
        size: u64,
        published: u64,
    ) -> Result<Vec<Hash>, ReadError> {
        if index >= size {
            let what = format!("entry {index} of a tree of {size} entries");
            return Err(ReadError::Beyond { what, published });
        }
        within(size, published)?;
        let prove = |nodes: &Nodes<'_>| prove_record(size, index, nodes);
        Ok(ours(self.with_nodes(published, prove).await?))
    }

    /// The proof that the tree of `to` entries begins with that of `from` entries; empty for the empty tree.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn consistency_proof(
        &self,
        from: u64,
        to: u64,
        published: u64,
    ) -> Result<Vec<Hash>, ReadError> {
        if from > to {
            let what = format!("a tree of {from} entries within one of {to}");
            return Err(ReadError::Beyond { what, published });
        }
        within(to, published)?;
        if from == 0 {
            return Ok(Vec::new());
        }
        let prove = |nodes: &Nodes<'_>| prove_tree(to, from, nodes);
        Ok(ours(self.with_nodes(published, prove).await?))
    }

    /// The root of the first `size` entries, from the tiles.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn root(&self, size: u64, published: u64) -> Result<Hash, ReadError> {
        within(size, published)?;
        let root = self.with_nodes(published, |nodes| tree_hash(size, nodes));
        Ok(Hash(root.await?.0))
    }

    /// The bytes of an entry, checked against its leaf hash.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn entry(&self, index: u64, published: u64) -> Result<Vec<u8>, ReadError> {
        if index >= published {
            let what = format!("entry {index}");
            return Err(ReadError::Beyond { what, published });
        }
        let width = u64::from(TILE_WIDTH);
        let (path, bytes) = self.fetch(None, index / width, published).await?;
        let damaged = |reason: String| damaged(path, reason);
        let entries = decode_bundle(&bytes, path.width().into());
        let entries = entries.map_err(|e| damaged(e.to_string()))?;
        let place = (index % width) as usize;
        let entry = entries.get(place).copied().unwrap_or_default();
        let leaf = self.with_nodes(published, |nodes| {
            nodes.read_hashes(&[tlog_tiles::stored_hash_index(0, index)])
        });
        if leaf.await?.first().map(|leaf| leaf.0) != Some(leaf_hash(entry).0) {
            return Err(damaged(format!(
                "entry {place} is not what the tile of hashes has"
            )));
        }
        Ok(entry.to_vec())
    }

    /// The right edge of a tree of `size` entries as published.
    pub(super) async fn right_edge(&self, size: u64) -> Result<TileBuilder, ReadError> {
        let width = u64::from(TILE_WIDTH);
        let last = (size % width) as usize;
        let mut levels = Vec::new();
        let (mut level, mut items) = (0u8, size);
        while items > 0 {
            let mut edge = Vec::new();
            if items % width > 0 {
                let (path, bytes) = self.fetch(Some(level), items / width, size).await?;
                edge = hashes(path, &bytes)?;
                // Where another publisher has gone on, the tile may be full by now.
                edge.truncate((items % width) as usize);
            }
            levels.push(edge);
            items /= width;
            level += 1;
        }
        let mut bundle = Vec::new();
        if last > 0 {
            let (path, bytes) = self.fetch(None, size / width, size).await?;
            let entries = decode_bundle(&bytes, path.width().into());
            let entries = entries.map_err(|e| damaged(path, e.to_string()))?;
            for entry in entries.into_iter().take(last) {
                bundle::push_entry(&mut bundle, entry);
            }
        }
        TileBuilder::resume(size, levels, bundle).map_err(|reason| ReadError::Damaged {
            what: format!("the right edge at {size} entries is damaged"),
            reason,
        })
    }

    /// Computes on hashes of the tree, fetching what is not in the cache until all is there.
    async fn with_nodes<T>(
        &self,
        published: u64,
        compute: impl Fn(&Nodes<'_>) -> Result<T, tlog_tiles::Error>,
    ) -> Result<T, ReadError> {
        let mut fetched = HashMap::new();
        loop {
            let missing = match self.attempt(&fetched, &compute) {
                Ok(computed) => return Ok(computed),
                Err(missing) => missing,
            };
            if missing.is_empty() || missing.iter().any(|place| fetched.contains_key(place)) {
                let what = "a hash".to_owned();
                return Err(ReadError::Beyond { what, published });
            }
            let fetches = missing.iter().map(|(level, index)| async move {
                let (path, bytes) = self.fetch(Some(*level), *index, published).await?;
                Ok::<_, ReadError>(Arc::new(Subtrees::over(hashes(path, &bytes)?)))
            });
            for (place, tile) in missing.iter().zip(try_join_all(fetches).await?) {
                self.cache
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(*place, Arc::clone(&tile));
                fetched.insert(*place, tile);
            }
        }
    }

    /// One try with what is at hand; on failure, the tiles that were missed.
    fn attempt<T>(
        &self,
        fetched: &HashMap<Place, Arc<Subtrees>>,
        compute: impl Fn(&Nodes<'_>) -> Result<T, tlog_tiles::Error>,
    ) -> Result<T, Vec<Place>> {
        let nodes = Nodes {
            fetched,
            cache: &self.cache,
            missing: RefCell::default(),
        };
        compute(&nodes).map_err(|_| nodes.missing.into_inner())
    }

    /// A tile (or, without a level, a bundle) as wide as a tree of `published` entries has it. Where a partial one is
    /// gone, the full one has come, as the format allows.
    async fn fetch(
        &self,
        level: Option<u8>,
        index: u64,
        published: u64,
    ) -> Result<(TilePath, Vec<u8>), ReadError> {
        let shift = u32::from(level.unwrap_or(0)) * u32::from(TILE_HEIGHT);
        let items = published.checked_shr(shift).unwrap_or(0);
        let before = index.saturating_mul(TILE_WIDTH.into());
        let width = items.saturating_sub(before).min(TILE_WIDTH.into()) as u16;
        let path = match level {
            Some(level) => TilePath::hashes(level, index, width),
            None => TilePath::entries(index, width),
        };
        let path = path.ok_or_else(|| ReadError::Beyond {
            what: "a tile".to_owned(),
            published,
        })?;
        for path in [path, path.full()] {
            if let Some(bytes) = self.source.tile(path).await? {
                return Ok((path, bytes));
            }
        }
        Err(ReadError::Missing { path })
    }
}

fn within(size: u64, published: u64) -> Result<(), ReadError> {
    let what = || format!("a tree of {size} entries");
    (size <= published)
        .then_some(())
        .ok_or_else(|| ReadError::Beyond {
            what: what(),
            published,
        })
}

fn hashes(path: TilePath, bytes: &[u8]) -> Result<Vec<Hash>, ReadError> {
    builder::split(bytes, path.width())
        .ok_or_else(|| damaged(path, format!("it has {} bytes", bytes.len())))
}

fn damaged(path: TilePath, reason: String) -> ReadError {
    ReadError::Damaged {
        what: format!("`{path}` is damaged"),
        reason,
    }
}

fn ours(hashes: Vec<tlog_tiles::Hash>) -> Vec<Hash> {
    hashes.into_iter().map(|hash| Hash(hash.0)).collect()
}

/// The tree's hashes, as far as they are at hand.
struct Nodes<'a> {
    fetched: &'a HashMap<Place, Arc<Subtrees>>,
    cache: &'a Mutex<LruCache<Place, Arc<Subtrees>>>,
    missing: RefCell<Vec<Place>>,
}

impl HashReader for Nodes<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::with_capacity(indexes.len());
        for index in indexes {
            let (level, node) = split_stored_hash_index(*index);
            // The tile's level, and the height of the subtree within it.
            let (level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
            let per_tile = TILE_HEIGHT - height;
            let place = (level, node >> per_tile);
            let tile = match self.fetched.get(&place) {
                Some(tile) => Some(tile),
                None => cache.get(&place),
            };
            let within = node & ((1 << per_tile) - 1);
            match tile.and_then(|tile| tile.get(height, within)) {
                Some(hash) => found.push(theirs(hash)),
                None => {
                    let mut missing = self.missing.borrow_mut();
                    if !missing.contains(&place) {
                        missing.push(place);
                    }
                }
            }
        }
        if found.len() == indexes.len() {
            Ok(found)
        } else {
            Err(tlog_tiles::Error::IndexesNotInTree)
        }
    }
}
