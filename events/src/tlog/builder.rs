//! The right edge of the tiled tree: takes entries, gives tiles.
//!
//! Pure: the same entries give the same tiles, whoever wrote them and in however many steps.

use super::{
    bundle::{self, decode_bundle},
    path::{TILE_WIDTH, TilePath},
};
use crate::merkle::{Frontier, HASH_BYTES, Hash, leaf_hash};

/// A tile and its content: concatenated hashes, or a bundle of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    pub path: TilePath,
    pub bytes: Vec<u8>,
}

/// The incomplete tiles of a tree, which is all it takes to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TileBuilder {
    size: u64,
    /// The hashes of the last, partial tile on each level: fewer than 256.
    levels: Vec<Vec<Hash>>,
    /// The last, partial bundle.
    bundle: Vec<u8>,
}

impl TileBuilder {
    /// Goes on from partial tiles: `levels` from the leaves up, each with the hashes that a tree of `size` has there.
    ///
    /// # Errors
    /// Says which tile does not fit the others.
    pub(super) fn resume(
        size: u64,
        levels: Vec<Vec<Hash>>,
        bundle: Vec<u8>,
    ) -> Result<Self, String> {
        let mut left = size;
        for (level, hashes) in levels.iter().enumerate() {
            let expected = (left % u64::from(TILE_WIDTH)) as usize;
            if hashes.len() != expected {
                let found = hashes.len();
                return Err(format!("level {level} has {found} hashes, not {expected}"));
            }
            left /= u64::from(TILE_WIDTH);
        }
        if left != 0 {
            return Err(format!("a level above {} is missing", levels.len()));
        }
        let leaves = levels.first().map_or(&[][..], Vec::as_slice);
        let entries = decode_bundle(&bundle, leaves.len()).map_err(|e| e.to_string())?;
        let wrong = entries
            .iter()
            .zip(leaves)
            .position(|(entry, leaf)| leaf_hash(entry) != *leaf);
        if let Some(wrong) = wrong {
            return Err(format!(
                "entry {wrong} of the last bundle is not what the tile of hashes has"
            ));
        }
        Ok(Self {
            size,
            levels,
            bundle,
        })
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds one entry, and to `full` the tiles that it completes.
    pub fn push(&mut self, entry: &[u8], full: &mut Vec<Tile>) {
        bundle::push_entry(&mut self.bundle, entry);
        let width = u64::from(TILE_WIDTH);
        if self.size % width == width - 1 {
            let path = TilePath::entries(self.size / width, TILE_WIDTH);
            let bytes = std::mem::take(&mut self.bundle);
            full.extend(path.map(|path| Tile { path, bytes }));
        }
        let mut hash = leaf_hash(entry);
        let mut place = self.size;
        for level in 0.. {
            let at = usize::from(level);
            if self.levels.len() == at {
                self.levels.push(Vec::new());
            }
            self.levels[at].push(hash);
            if place % width != width - 1 {
                break;
            }
            let hashes = std::mem::take(&mut self.levels[at]);
            place /= width;
            let path = TilePath::hashes(level, place, TILE_WIDTH);
            let bytes = concat(&hashes);
            full.extend(path.map(|path| Tile { path, bytes }));
            hash = over(&hashes).root();
        }
        self.size += 1;
    }

    /// The tiles and the bundle that are not full.
    pub fn partials(&self) -> Vec<Tile> {
        let width = u64::from(TILE_WIDTH);
        let mut tiles = Vec::new();
        let mut items = self.size;
        for (level, hashes) in (0u8..).zip(&self.levels) {
            // An empty one has no path: a width of zero is none.
            let count = (items % width) as u16;
            let path = TilePath::hashes(level, items / width, count);
            let bytes = concat(hashes);
            tiles.extend(path.map(|path| Tile { path, bytes }));
            items /= width;
        }
        let path = TilePath::entries(self.size / width, (self.size % width) as u16);
        let bytes = self.bundle.clone();
        tiles.extend(path.map(|path| Tile { path, bytes }));
        tiles
    }

    /// The appender's form of the same tree.
    pub fn frontier(&self) -> Frontier {
        let peaks: Vec<u8> = self
            .levels
            .iter()
            .rev()
            .flat_map(|hashes| over(hashes).to_bytes())
            .collect();
        // The peaks of a level are the digits of its count, and the counts are the digits of the size.
        Frontier::from_bytes(self.size, &peaks).unwrap_or_default()
    }

    /// The RFC 6962 root.
    pub fn root(&self) -> Hash {
        self.frontier().root()
    }
}

/// The tree over hashes of subtrees of one size.
fn over(hashes: &[Hash]) -> Frontier {
    let mut tree = Frontier::default();
    hashes.iter().for_each(|hash| tree.push(*hash));
    tree
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile that must have `width` of them.
pub(super) fn split(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    (bytes.len() == usize::from(width) * HASH_BYTES).then(|| {
        bytes
            .chunks_exact(HASH_BYTES)
            .filter_map(Hash::from_slice)
            .collect()
    })
}
