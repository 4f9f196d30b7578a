//! Tiles, roots and proofs at every size, against `ct-merkle`.

use std::sync::Arc;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use super::entry;
use crate::{
    merkle::{Frontier, Hash, leaf_hash},
    testing::MemoryTiles,
    tlog::{
        ReadError, Tile, TileBuilder, TilePath, TileReader, TileStore as _, decode_bundle,
        verify_consistency, verify_inclusion,
    },
};

/// A tree built in both ways, with everything published.
struct Both {
    ours: TileBuilder,
    theirs: MemoryBackedTree<Sha256, Vec<u8>>,
    /// The appender's form of the same tree, and its root at every size.
    frontier: Frontier,
    roots: Vec<Hash>,
    tiles: Arc<MemoryTiles>,
    full: Vec<Tile>,
    reader: TileReader,
}

impl Both {
    fn new() -> Self {
        let tiles = Arc::<MemoryTiles>::default();
        Self {
            ours: TileBuilder::default(),
            theirs: MemoryBackedTree::new(),
            frontier: Frontier::default(),
            roots: vec![Frontier::default().root()],
            reader: TileReader::new(Arc::clone(&tiles) as _),
            tiles,
            full: Vec::new(),
        }
    }

    fn push(&mut self) {
        let entry = entry("tree", self.ours.size());
        self.ours.push(&entry, &mut self.full);
        self.frontier.push(leaf_hash(&entry));
        self.theirs.push(entry);
        self.roots.push(self.frontier.root());
    }

    async fn publish(&mut self) {
        for tile in self.full.drain(..).chain(self.ours.partials()) {
            self.tiles.put_tile(tile.path, tile.bytes).await.unwrap();
        }
    }

    /// Root, right edge, and proofs at the present size, for the given entries and earlier sizes.
    async fn check(&self, indexes: &[u64], earlier: &[u64]) {
        let size = self.ours.size();
        let root = Hash::from_slice(self.theirs.root().as_bytes()).unwrap();
        assert_eq!(self.ours.root(), root, "{size}");
        assert_eq!(self.ours.frontier(), self.frontier, "{size}");
        assert_eq!(self.reader.root(size, size).await.unwrap(), root, "{size}");
        assert_eq!(
            self.reader.right_edge(size).await.unwrap(),
            self.ours,
            "{size}"
        );
        for &index in indexes {
            let proof = self
                .reader
                .inclusion_proof(index, size, size)
                .await
                .unwrap();
            let expected = self.theirs.prove_inclusion(index as usize);
            assert_eq!(bytes(&proof), expected.as_bytes(), "{index} of {size}");
            let leaf = leaf_hash(&entry("tree", index));
            verify_inclusion(index, size, leaf, &proof, root).unwrap();
            let other = if index == 0 { 1 } else { index - 1 };
            assert!(verify_inclusion(other, size, leaf, &proof, root).is_err());
            assert!(verify_inclusion(index, size, root, &proof, root).is_err() || size == 1);
            let longer = [proof.as_slice(), &[leaf]].concat();
            assert!(verify_inclusion(index, size, leaf, &longer, root).is_err());
            let read = self.reader.entry(index, size).await.unwrap();
            assert_eq!(read, entry("tree", index));
        }
        for &from in earlier {
            let proof = self
                .reader
                .consistency_proof(from, size, size)
                .await
                .unwrap();
            if from > 0 {
                let expected = self.theirs.prove_consistency((size - from) as usize);
                assert_eq!(bytes(&proof), expected.as_bytes(), "{from} to {size}");
            }
            let old = self.roots[from as usize];
            verify_consistency((from, old), (size, root), &proof).unwrap();
            assert!(verify_consistency((from, leaf_hash(b"")), (size, root), &proof).is_err());
            assert!(verify_consistency((size + 1, old), (size, root), &proof).is_err());
            if from > 0 && from < size {
                assert!(verify_consistency((from, old), (size, old), &proof).is_err());
            }
        }
    }
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Those that are below `size`, or equal to it where `inclusive`.
fn sample(size: u64, inclusive: bool) -> Vec<u64> {
    let mut places = match size {
        0..=40 => (0..=size).collect(),
        _ => vec![0, 1, 2, size / 3, size / 2, size - 2, size - 1, size],
    };
    places.extend([
        63, 64, 255, 256, 257, 511, 512, 1_023, 65_535, 65_536, 65_537,
    ]);
    places.retain(|place| *place < size || inclusive && *place == size);
    places.sort_unstable();
    places.dedup();
    places
}

#[tokio::test]
async fn every_size_to_1100_agrees_with_an_independent_tree() {
    let mut both = Both::new();
    for size in 0..=1_100 {
        both.publish().await;
        both.check(&sample(size, false), &sample(size, true)).await;
        both.push();
    }
}

#[tokio::test]
async fn sizes_around_65536_agree_with_an_independent_tree() {
    let mut both = Both::new();
    while both.ours.size() < 65_538 {
        both.push();
        if both.ours.size() >= 65_534 {
            both.publish().await;
            let size = both.ours.size();
            both.check(&sample(size, false), &sample(size, true)).await;
        }
    }
    // The third level has begun.
    let third = TilePath::hashes(2, 0, 1).unwrap();
    assert!(both.tiles.tiles().contains_key(&third));
    assert_eq!(both.full, []);
}

#[tokio::test]
async fn proofs_for_earlier_sizes_come_from_later_tiles() {
    let mut both = Both::new();
    while both.ours.size() < 700 {
        both.push();
    }
    both.publish().await;
    for size in 1..700 {
        let root = both.roots[size as usize];
        assert_eq!(both.reader.root(size, 700).await.unwrap(), root);
        let proof = both
            .reader
            .inclusion_proof(size / 2, size, 700)
            .await
            .unwrap();
        let leaf = leaf_hash(&entry("tree", size / 2));
        verify_inclusion(size / 2, size, leaf, &proof, root).unwrap();
    }
    let beyond = both.reader.inclusion_proof(700, 701, 700).await;
    assert!(matches!(beyond, Err(ReadError::Beyond { .. })));
    let beyond = both.reader.inclusion_proof(5, 5, 700).await;
    assert!(matches!(beyond, Err(ReadError::Beyond { .. })));
    assert!(both.reader.consistency_proof(7, 6, 700).await.is_err());
    assert!(both.reader.entry(700, 700).await.is_err());
}

#[tokio::test]
async fn a_reader_notices_tiles_that_are_missing_or_of_the_wrong_size() {
    let mut both = Both::new();
    while both.ours.size() < 600 {
        both.push();
    }
    both.publish().await;
    let fresh = || TileReader::new(Arc::clone(&both.tiles) as _);
    let first = TilePath::hashes(0, 0, 256).unwrap();
    let whole = both.tiles.tiles()[&first].clone();
    both.tiles.tamper(first, Some(whole[1..].to_vec()));
    let damaged = fresh().inclusion_proof(1, 600, 600).await;
    assert!(
        matches!(damaged, Err(ReadError::Damaged { .. })),
        "{damaged:?}"
    );
    both.tiles.tamper(first, None);
    let missing = fresh().inclusion_proof(1, 600, 600).await;
    assert!(
        matches!(missing, Err(ReadError::Missing { .. })),
        "{missing:?}"
    );
    both.tiles.tamper(first, Some(whole));
    let bundle = TilePath::entries(0, 256).unwrap();
    let mut bytes = both.tiles.tiles()[&bundle].clone();
    bytes[10] ^= 1;
    both.tiles.tamper(bundle, Some(bytes));
    let damaged = fresh().entry(0, 600).await;
    assert!(
        matches!(damaged, Err(ReadError::Damaged { .. })),
        "{damaged:?}"
    );
    assert_eq!(fresh().entry(1, 600).await.unwrap(), entry("tree", 1));
}

#[test]
fn tiles_hold_what_the_format_says() {
    let mut both = Both::new();
    while both.ours.size() < 257 {
        both.push();
    }
    let [bundle, leaves] = both.full.as_slice() else {
        panic!("one full bundle and one full tile: {:?}", both.full);
    };
    assert_eq!(bundle.path.to_string(), "tile/entries/000");
    let entries = decode_bundle(&bundle.bytes, 256).unwrap();
    assert_eq!(entries[255], entry("tree", 255));
    assert_eq!(leaves.path.to_string(), "tile/0/000");
    assert_eq!(leaves.bytes[..32], leaf_hash(entries[0]).0);
    assert_eq!(leaves.bytes.len(), 256 * 32);
    let partials = both.ours.partials();
    let names: Vec<String> = partials.iter().map(|tile| tile.path.to_string()).collect();
    assert_eq!(
        names,
        ["tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/001.p/1"]
    );
    assert_eq!(partials[1].bytes, both.roots[256].0);
}
