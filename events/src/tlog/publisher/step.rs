//! One publication: look, check, write, sign, record, show.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use ulid::Ulid;

use super::{PublishError, Publisher};
use crate::{
    log::{LogHead, StoredEntry},
    merkle::{Frontier, Hash, leaf_hash},
    tlog::{
        builder::{Tile, TileBuilder},
        checkpoint::Checkpoint,
        path::TilePath,
        table::CheckpointRow,
    },
};

/// Looks at the log's head for one at the store's checkpoint, which costs a request to a bucket: with a look a second,
/// a checkpoint that another publisher put back is repaired within 10 seconds.
const LOOKS_PER_STORE_LOOK: u32 = 10;
/// Entries read at once.
const PAGE: usize = 1_024;
/// Bytes of checked entries that are held until they are written; beyond, they are read a second time.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Tiles written at once: disks sync and buckets answer in parallel.
const WRITES_AT_ONCE: usize = 16;
/// Finished tiles that wait to be written: about 4 MiB of entries.
const WAITING_TILES: usize = 128;
/// How often a publication starts over because another replica was quicker.
const ROUNDS_MAX: usize = 8;

/// What is there before a publication.
struct Survey {
    /// What the store shows, with the tree's right edge; of the empty tree where it shows nothing.
    stored: Option<Checkpoint>,
    edge: TileBuilder,
    /// The newest signed one.
    recorded: Option<Checkpoint>,
    head: LogHead,
}

impl Publisher {
    /// Checks that what is published is a beginning of the log.
    pub(super) async fn check(&mut self) -> Result<(), PublishError> {
        let survey = self.survey().await?;
        self.verify(&survey).await?;
        self.edge = survey.stored.map(|stored| (stored, survey.edge));
        Ok(())
    }

    /// The head's leader.
    pub(super) async fn leader(&self) -> Result<Option<Ulid>, PublishError> {
        Ok(self.config.log.head().await?.leader)
    }

    /// Whether the log's head is the one that `latest` shows and, now and then, whether the store shows it too.
    pub(super) async fn is_level(&mut self, latest: &Checkpoint) -> Result<bool, PublishError> {
        let head = self.config.log.head().await?;
        if (head.size(), head.root) != (latest.size, latest.root) {
            return Ok(false);
        }
        self.looks = (self.looks + 1) % LOOKS_PER_STORE_LOOK;
        if self.looks != 0 {
            return Ok(true);
        }
        let stored = self.config.store.checkpoint().await?;
        Ok(stored.as_deref() == Some(latest.note().as_bytes()))
    }

    /// Publishes the log up to its head as `leader`, and answers the newest checkpoint that the store shows.
    ///
    /// # Errors
    /// [`PublishError`]. Whatever was written by then is completed by the next call, of this or another publisher.
    pub async fn publish(&mut self, leader: Ulid) -> Result<Checkpoint, PublishError> {
        for _ in 0..ROUNDS_MAX {
            let survey = self.survey().await?;
            let held = self.verify(&survey).await?;
            if survey.head.leader != Some(leader) {
                return Err(PublishError::Deposed);
            }
            if let Some(stored) = &survey.stored
                && stored.size == survey.head.size()
            {
                return Ok(stored.clone());
            }
            let (edge, filled) = self.write_tiles(&survey, held).await?;
            let Some(checkpoint) = self.sign(&survey, leader).await? else {
                continue;
            };
            let shown = self.show(checkpoint.clone()).await?;
            self.edge = Some((checkpoint, edge));
            self.tidy(&filled).await;
            return Ok(shown);
        }
        Err(PublishError::Overtaken)
    }

    /// Reads what is stored before what is recorded before the head, so that each can only be larger than the last.
    async fn survey(&mut self) -> Result<Survey, PublishError> {
        let open = |note: &[u8]| {
            let opened = Checkpoint::open(note, self.config.key.verifier());
            opened.map_err(|source| PublishError::OtherKey { source })
        };
        let stored = self.config.store.checkpoint().await?;
        let stored = stored.as_deref().map(open).transpose()?;
        let recorded = self.config.checkpoints.latest_checkpoint().await?;
        let recorded = recorded.map(|row| open(row.note.as_bytes())).transpose()?;
        let head = self.config.log.head().await?;
        for signed in stored.iter().chain(&recorded) {
            if signed.size > head.size() {
                return Err(PublishError::Shrunken {
                    published: signed.size,
                    log: head.size(),
                });
            }
        }
        let edge = match &stored {
            None => TileBuilder::default(),
            Some(stored) => self.edge_of(stored).await?,
        };
        Ok(Survey {
            stored,
            edge,
            recorded,
            head,
        })
    }

    /// The right edge of the tree that the store shows: known from the last publication, or read from the tiles.
    async fn edge_of(&self, stored: &Checkpoint) -> Result<TileBuilder, PublishError> {
        if let Some((known, edge)) = &self.edge
            && (known.size, known.root) == (stored.size, stored.root)
        {
            return Ok(edge.clone());
        }
        let edge = self.reader.right_edge(stored.size).await?;
        let found = edge.root();
        if found == stored.root {
            Ok(edge)
        } else {
            Err(PublishError::Damaged(format!(
                "the tiles at {} entries have the root {found}, and the checkpoint {}",
                stored.size, stored.root
            )))
        }
    }

    /// Checks that the log's entries lead from the published tree over the recorded checkpoint to the head. Answers
    /// the entries where they are few.
    async fn verify(&self, survey: &Survey) -> Result<Option<Vec<StoredEntry>>, PublishError> {
        let mut tree = survey.edge.frontier();
        let mut held = Some(Vec::new());
        let mut bytes = 0;
        check_root(&tree, survey)?;
        while tree.size() < survey.head.size() {
            for stored in self.page(tree.size(), survey.head.size()).await? {
                tree.push(leaf_hash(stored.entry.as_ref()));
                check_root(&tree, survey)?;
                bytes += stored.entry.as_ref().len();
                if bytes > HELD_BYTES_MAX {
                    held = None;
                }
                if let Some(held) = &mut held {
                    held.push(stored);
                }
            }
        }
        Ok(held)
    }

    /// Entries from `next` on, without a gap.
    async fn page(&self, next: u64, size: u64) -> Result<Vec<StoredEntry>, PublishError> {
        let left = usize::try_from(size - next).unwrap_or(PAGE);
        let page = self.config.log.read(next, left.min(PAGE)).await?;
        let gap = (next..)
            .zip(&page)
            .find(|(expected, stored)| stored.position != *expected);
        let missing = gap
            .map(|(expected, _)| expected)
            .or(page.is_empty().then_some(next));
        match missing {
            None => Ok(page),
            Some(position) => Err(PublishError::Log {
                position,
                reason: "the entry is missing".to_owned(),
            }),
        }
    }

    /// Writes every tile that the head's tree has and the published one has not. Answers the new right edge, and the
    /// full tiles that may have had partial forms.
    async fn write_tiles(
        &self,
        survey: &Survey,
        held: Option<Vec<StoredEntry>>,
    ) -> Result<(TileBuilder, Vec<TilePath>), PublishError> {
        let size = survey.head.size();
        let mut edge = survey.edge.clone();
        let grown: Vec<TilePath> = edge
            .partials()
            .iter()
            .map(|tile| tile.path.full())
            .collect();
        let mut filled = Vec::new();
        let mut tiles = Vec::new();
        let mut held = held;
        while edge.size() < size {
            let page = match held.take() {
                Some(all) => all,
                None => self.page(edge.size(), size).await?,
            };
            for stored in page {
                let first = tiles.len();
                edge.push(stored.entry.as_ref(), &mut tiles);
                let new = tiles.iter().skip(first).map(|tile: &Tile| tile.path);
                filled.extend(new.filter(|path| grown.contains(path)));
                if tiles.len() >= WAITING_TILES {
                    self.put_tiles(std::mem::take(&mut tiles)).await?;
                }
            }
        }
        // Read a second time, the entries must be what was checked.
        if edge.root() != survey.head.root {
            return Err(forked(size, survey.head.root, edge.root()));
        }
        tiles.extend(edge.partials());
        self.put_tiles(tiles).await?;
        Ok((edge, filled))
    }

    async fn put_tiles(&self, tiles: Vec<Tile>) -> Result<(), PublishError> {
        let store = &self.config.store;
        let puts = tiles
            .into_iter()
            .map(|tile| store.put_tile(tile.path, tile.bytes));
        let puts = stream::iter(puts).buffer_unordered(WRITES_AT_ONCE);
        Ok(puts.try_collect::<()>().await?)
    }

    /// Signs the head and records it; `None` where somebody else was quicker. What is recorded for this size already
    /// is taken as it is.
    async fn sign(
        &self,
        survey: &Survey,
        leader: Ulid,
    ) -> Result<Option<Checkpoint>, PublishError> {
        let size = survey.head.size();
        if let Some(recorded) = &survey.recorded
            && recorded.size == size
        {
            return Ok(Some(recorded.clone()));
        }
        // The checks hold for what the store showed before: nothing else may have come meanwhile.
        let now = self.config.store.checkpoint().await?;
        if now.as_deref() != survey.stored.as_ref().map(|c| c.note().as_bytes()) {
            return Ok(None);
        }
        let signed = Checkpoint::sign(&self.config.key, size, survey.head.root);
        let signed = signed.map_err(|source| PublishError::OtherKey { source })?;
        let row = CheckpointRow {
            size,
            root: signed.root,
            note: signed.note().to_owned(),
            time: (self.config.clock)(),
        };
        let recorded = self.config.checkpoints.record_checkpoint(leader, &row);
        Ok(recorded.await?.then_some(signed))
    }

    /// Shows a recorded checkpoint, or a newer one that was recorded before or meanwhile: so that of two publishers
    /// the last one to write leaves the newest there. One that dies between the two leaves an older one, which the
    /// leader's [`Publisher::is_level`] finds.
    pub(in crate::tlog) async fn show(
        &self,
        mut checkpoint: Checkpoint,
    ) -> Result<Checkpoint, PublishError> {
        let mut shown = None;
        loop {
            let newest = self.config.checkpoints.latest_checkpoint().await?;
            match newest.filter(|row| row.size > checkpoint.size) {
                None if shown == Some(checkpoint.size) => return Ok(checkpoint),
                None => {}
                Some(row) => {
                    let opened = Checkpoint::open(row.note.as_bytes(), self.config.key.verifier());
                    checkpoint = opened.map_err(|source| PublishError::OtherKey { source })?;
                }
            }
            self.config.store.put_checkpoint(checkpoint.note()).await?;
            shown = Some(checkpoint.size);
        }
    }

    /// Removes partial tiles that have become full. What is left of them does no harm.
    async fn tidy(&self, filled: &[TilePath]) {
        for path in filled {
            if let Err(error) = self.config.store.remove_partials(*path).await {
                tracing::warn!(%path, error = &error as &dyn std::error::Error, "partial tiles are left over");
            }
        }
    }
}

/// Where the tree has the size of a signed checkpoint or of the head, it must have its root.
fn check_root(tree: &Frontier, survey: &Survey) -> Result<(), PublishError> {
    let recorded = survey.recorded.as_ref().map(|c| (c.size, c.root));
    let head = (survey.head.size(), survey.head.root);
    for (size, expected) in recorded.into_iter().chain([head]) {
        if tree.size() == size && tree.root() != expected {
            return Err(forked(size, expected, tree.root()));
        }
    }
    Ok(())
}

fn forked(size: u64, expected: Hash, found: Hash) -> PublishError {
    PublishError::Forked {
        size,
        expected,
        found,
    }
}
