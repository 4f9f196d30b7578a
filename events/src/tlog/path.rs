//! Names of tiles: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`, <https://c2sp.org/tlog-tiles>.
//!
//! Parsing is strict: a name has exactly one spelling, so a parsed path can't leave its folder.

use std::{fmt, str::FromStr};

/// Hashes in a full tile, and entries in a full bundle: tiles have height 8.
pub const TILE_WIDTH: u16 = 256;
/// Levels of the tree in one tile.
pub(super) const TILE_HEIGHT: u8 = 8;
/// The highest level of tiles that the format allows.
const LEVEL_MAX: u8 = 63;
/// `N` is written in groups of three digits, so that no folder has more than 3,000 names.
const GROUP: u64 = 1_000;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of the complete subtrees of `256^level` leaves.
    Hashes { level: u8 },
    /// Entries themselves.
    Entries,
}

/// The name of one tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    pub kind: TileKind,
    /// Which one on its level, from the left, from 0.
    pub index: u64,
    /// 1 to [`TILE_WIDTH`]; fewer than that in a partial tile.
    width: u16,
}

/// A name that is none, or not spelled in the one way that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no tile's name: tiles are called like `tile/0/x001/067` or `tile/entries/000.p/12`"
)]
pub struct BadTilePath;

impl TilePath {
    /// A tile of hashes; `None` for a level above 63 or a width outside 1..=256.
    pub fn hashes(level: u8, index: u64, width: u16) -> Option<Self> {
        Self::new(TileKind::Hashes { level }, index, width)
    }

    /// A bundle of entries; `None` for a width outside 1..=256.
    pub fn entries(index: u64, width: u16) -> Option<Self> {
        Self::new(TileKind::Entries, index, width)
    }

    fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let level_fits = match kind {
            TileKind::Hashes { level } => level <= LEVEL_MAX,
            TileKind::Entries => true,
        };
        (level_fits && (1..=TILE_WIDTH).contains(&width)).then_some(Self { kind, index, width })
    }

    /// How many hashes or entries it holds.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will never grow.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same place's full tile.
    pub fn full(&self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..*self
        }
    }

    /// Whether a tree of `size` leaves has this tile, with at least this width.
    pub fn is_within(&self, size: u64) -> bool {
        let level = match self.kind {
            TileKind::Hashes { level } => level,
            TileKind::Entries => 0,
        };
        let items = size
            .checked_shr(u32::from(level) * u32::from(TILE_HEIGHT))
            .unwrap_or(0);
        let first = self.index.checked_mul(u64::from(TILE_WIDTH));
        let end = first.and_then(|first| first.checked_add(u64::from(self.width)));
        end.is_some_and(|end| end <= items)
    }

    /// The path of its full form, below which partial ones have `.p/<W>`.
    fn stem(&self) -> String {
        let mut name = format!("{:03}", self.index % GROUP);
        let mut rest = self.index / GROUP;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % GROUP);
            rest /= GROUP;
        }
        match self.kind {
            TileKind::Hashes { level } => format!("tile/{level}/{name}"),
            TileKind::Entries => format!("tile/entries/{name}"),
        }
    }

    /// The folder of this place's partial tiles.
    pub fn partials(&self) -> String {
        format!("{}.p", self.stem())
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_full() {
            f.write_str(&self.stem())
        } else {
            write!(f, "{}/{}", self.partials(), self.width)
        }
    }
}

impl FromStr for TilePath {
    type Err = BadTilePath;

    /// Reads what [`fmt::Display`] writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, BadTilePath> {
        let read = || {
            let rest = text.strip_prefix("tile/")?;
            let (kind, rest) = rest.split_once('/')?;
            let kind = match kind {
                "entries" => TileKind::Entries,
                level => TileKind::Hashes {
                    level: level.parse().ok()?,
                },
            };
            let (name, width) = match rest.split_once(".p/") {
                None => (rest, TILE_WIDTH),
                Some((name, width)) => (name, width.parse().ok()?),
            };
            let mut index = 0u64;
            for group in name.split('/') {
                let digits = group.strip_prefix('x').unwrap_or(group);
                index = index.checked_mul(GROUP)?;
                index = index.checked_add(digits.parse::<u16>().ok()?.into())?;
            }
            Self::new(kind, index, width)
        };
        // Whatever was written otherwise (other digits, a sign, a full tile as a partial one) does not come back.
        read()
            .filter(|path| path.to_string() == text)
            .ok_or(BadTilePath)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_of_the_specification() {
        let full = TilePath::hashes(0, 1_234_067, 256).unwrap();
        assert_eq!(full.to_string(), "tile/0/x001/x234/067");
        let partial = TilePath::hashes(0, 1_234_067, 8).unwrap();
        assert_eq!(partial.to_string(), "tile/0/x001/x234/067.p/8");
        assert_eq!(partial.full(), full);
        assert_eq!(full.partials(), "tile/0/x001/x234/067.p");
        let entries = TilePath::entries(0, 256).unwrap();
        assert_eq!(entries.to_string(), "tile/entries/000");
        assert_eq!(
            TilePath::entries(1_000, 3).unwrap().to_string(),
            "tile/entries/x001/000.p/3"
        );
    }

    #[test]
    fn only_the_one_spelling_is_read() {
        for good in [
            "tile/0/000",
            "tile/63/x018/x446/x744/x073/x709/x551/615",
            "tile/entries/x123/x456/789",
            "tile/1/999.p/255",
            "tile/0/000.p/1",
        ] {
            assert_eq!(good.parse::<TilePath>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile/00/000",
            "tile/+1/000",
            "tile/-1/000",
            "tile/64/000",
            "tile/256/000",
            "tile/data/000",
            "tile/8/0/000",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/000/x001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x1/000",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/257",
            "tile/0/000.p/01",
            "tile/0/000.p/1/",
            "tile/0/000.p",
            "tile/0/../checkpoint",
            "tile/0/..",
            "tile/entries/../../log.key",
            "tile/0/000%2e",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/0/０００",
        ] {
            assert_eq!(bad.parse::<TilePath>(), Err(BadTilePath), "{bad}");
        }
    }

    #[test]
    fn a_tile_is_within_a_tree_that_has_all_of_it() {
        let path = |text: &str| text.parse::<TilePath>().unwrap();
        assert!(path("tile/0/000.p/5").is_within(5));
        assert!(!path("tile/0/000.p/5").is_within(4));
        assert!(path("tile/0/000").is_within(256));
        assert!(!path("tile/0/000").is_within(255));
        assert!(path("tile/1/000.p/1").is_within(256));
        assert!(!path("tile/1/000.p/1").is_within(255));
        assert!(path("tile/entries/001.p/1").is_within(257));
        assert!(!path("tile/63/000").is_within(u64::MAX));
    }

    proptest! {
        #[test]
        fn every_path_is_read_back(level in 0u8..=63, entries: bool, index: u64, width in 1u16..=256) {
            let path = if entries { TilePath::entries(index, width) } else { TilePath::hashes(level, index, width) };
            let path = path.unwrap();
            prop_assert_eq!(path.to_string().parse::<TilePath>(), Ok(path));
        }

        #[test]
        fn hostile_names_are_refused_quietly(text in "tile/[0-9x/.p+entris-]{0,40}") {
            if let Ok(path) = text.parse::<TilePath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
