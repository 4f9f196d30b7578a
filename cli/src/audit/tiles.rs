//! The published log beside the entries: hash tiles and entry bundles, each compared as soon as the fold has filled it.

use std::path::PathBuf;

use aevir_events::{
    merkle::HASH_BYTES,
    tlog::{TILE_WIDTH, Tile, TileBuilder, TileKind, TilePath, decode_bundle},
};
use aevir_wire::Client;
use anyhow::{Context, Result};
use tokio::runtime::Handle;

use super::report::Finding;

/// Where the published log is read from.
#[derive(Debug)]
pub(super) enum Published {
    Folder(PathBuf),
    Server(Client, Handle),
}

impl Published {
    /// A file of the published log, such as `checkpoint` or `tile/0/000`.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => match std::fs::read(folder.join(path)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => {
                    Err(error).with_context(|| format!("`{path}` can't be read of the tiles"))
                }
            },
            Self::Server(client, runtime) => {
                let bytes = runtime.block_on(client.published(path))?;
                Ok(bytes.map(|bytes| bytes.to_vec()))
            }
        }
    }
}

/// Tiles compared so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TileCounts {
    pub(super) hashes: u64,
    pub(super) bundles: u64,
}

/// Compares the tiles of the tree of `size` entries with what the entries make.
#[derive(Debug)]
pub(super) struct Tiles {
    published: Published,
    size: u64,
    builder: TileBuilder,
    counts: TileCounts,
}

impl Tiles {
    pub(super) fn new(published: Published, size: u64) -> Self {
        Self {
            published,
            size,
            builder: TileBuilder::default(),
            counts: TileCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> TileCounts {
        self.counts
    }

    /// Takes the next entry; compares what it fills, and at the tree's end its right edge.
    ///
    /// # Errors
    /// When the published log can't be read. What differs in it is `Some`.
    pub(super) fn push(&mut self, entry: &[u8]) -> Result<Option<Finding>> {
        if self.builder.size() >= self.size {
            return Ok(None);
        }
        let mut tiles = Vec::new();
        self.builder.push(entry, &mut tiles);
        if self.builder.size() == self.size {
            tiles.extend(self.builder.partials());
        }
        let mut first: Option<Finding> = None;
        for tile in &tiles {
            let found = self.compare(tile)?;
            first = match (first, found) {
                (Some(a), Some(b)) if b.position < a.position => Some(b),
                (a, b) => a.or(b),
            };
        }
        Ok(first)
    }

    /// The tile, or, where a partial one is gone because the log has grown meanwhile, the full one.
    fn widest(&self, path: TilePath) -> Result<Option<(TilePath, Vec<u8>)>> {
        for path in [path, path.full()] {
            if let Some(bytes) = self.published.read(&path.to_string())? {
                return Ok(Some((path, bytes)));
            }
        }
        Ok(None)
    }

    fn compare(&mut self, tile: &Tile) -> Result<Option<Finding>> {
        let path = tile.path;
        let first = path.index.saturating_mul(TILE_WIDTH.into());
        let (what, span) = match path.kind {
            TileKind::Hashes { level } => {
                self.counts.hashes += 1;
                // How many entries one hash of this level stands for.
                ("hash", u64::from(TILE_WIDTH).saturating_pow(level.into()))
            }
            TileKind::Entries => {
                self.counts.bundles += 1;
                ("entry", 1)
            }
        };
        let at = |place: usize, text: String| {
            let position = first.saturating_add(place as u64).saturating_mul(span);
            Ok(Some(Finding::at(position, text)))
        };
        let Some((there, published)) = self.widest(path)? else {
            return at(0, format!("the published `{path}` is missing"));
        };
        // A partial tile is the beginning of the full one.
        if published.starts_with(&tile.bytes) && (there != path || published == tile.bytes) {
            return Ok(None);
        }
        let place = match path.kind {
            TileKind::Hashes { .. } => {
                differing(published.chunks(HASH_BYTES), tile.bytes.chunks(HASH_BYTES))
            }
            TileKind::Entries => {
                match (
                    decode_bundle(&published, there.width().into()),
                    decode_bundle(&tile.bytes, path.width().into()),
                ) {
                    (Ok(published), Ok(made)) => differing(published.into_iter(), made.into_iter()),
                    (Err(error), _) | (_, Err(error)) => {
                        return at(0, format!("the published bundle `{path}`: {error}"));
                    }
                }
            }
        };
        let text = format!("the published `{path}` has another {what} here than the log makes");
        at(place, text)
    }
}

/// The first place where two sequences differ.
fn differing<'a>(
    one: impl Iterator<Item = &'a [u8]>,
    other: impl Iterator<Item = &'a [u8]>,
) -> usize {
    one.zip(other).take_while(|(a, b)| a == b).count()
}
