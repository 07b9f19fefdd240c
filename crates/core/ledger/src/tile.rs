//! Tiles (C2SP `tlog-tiles`): the files in which a log is published.
//!
//! Decides which files a log of a given size has, what they are called and what bytes are in them. Refuses paths in any but
//! their one spelling, and tiles and bundles that are not exactly as wide as their path says.
use crate::audit_path::{ComputeError, HashReader};
use crate::entry::MAX_LEAF_BYTES;
use crate::tree::{TILE_HEIGHT, TreeHash};
use std::fmt;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Bytes of the largest bundle.
pub const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_LEAF_BYTES);

const WIDTH: u64 = TILE_WIDTH as u64;
/// Levels 0 to 7 suffice for every size below 2^64.
const LEVELS: u8 = (u64::BITS / TILE_HEIGHT) as u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Leaf hashes at level 0, roots of full tiles of the level below at the others.
    Hashes { level: u8 },
    /// The leaves themselves.
    Entries,
}

/// One file of the layout: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    // INVARIANT: 1 to 256.
    width: u16,
}

impl TilePath {
    /// Tile `index` of `level` in a tree of `size` entries, as wide as that tree makes it; `None` if it is empty there.
    #[must_use]
    pub fn hashes(level: u8, index: u64, size: u64) -> Option<Self> {
        Self::within(TileKind::Hashes { level }, index, hashes_at(level, size))
    }

    /// Bundle `index` in a log of `size` entries; `None` if it is empty there.
    #[must_use]
    pub fn entries(index: u64, size: u64) -> Option<Self> {
        Self::within(TileKind::Entries, index, size)
    }

    fn within(kind: TileKind, index: u64, count: u64) -> Option<Self> {
        let width = count.checked_sub(index.checked_mul(WIDTH)?)?.min(WIDTH) as u16;
        (width > 0).then_some(Self { kind, index, width })
    }

    #[must_use]
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// The tile's place in its level.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds: 1 to 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The number of its first hash within the level, or of its first entry within the log.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.index * WIDTH
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile when it will be full.
    #[must_use]
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// Reads a path in its one spelling.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match level {
            "entries" => TileKind::Entries,
            digits => TileKind::Hashes { level: digits.parse().ok().filter(|level| *level < LEVELS)? },
        };
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?),
            None => (rest, TILE_WIDTH),
        };
        let mut index = 0u64;
        for group in groups.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            index = index.checked_mul(1000)?.checked_add(digits.parse::<u16>().ok()?.into())?;
        }
        // A tile's hashes must have numbers that fit.
        index.checked_add(1)?.checked_mul(WIDTH)?;
        // Whatever is spelled otherwise than we spell it (signs, zeros, missing or extra `x`) is no path.
        let parsed = Self { kind, index, width };
        (parsed.to_string() == path).then_some(parsed)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        f.write_str(&index_path(self.index))?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// The path of the bodies of bundle `index`: `bodies/<N>`.
#[must_use]
pub fn bodies_path(index: u64) -> String {
    format!("bodies/{}", index_path(index))
}

/// How many hashes tile level `level` holds for a tree of `size` entries.
#[must_use]
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0)
}

/// All files that a log of `size` entries must have, `checkpoint` aside: per level from the left, then the bundles.
pub fn tiles_for(size: u64) -> impl Iterator<Item = TilePath> {
    tiles_grown(0, size)
}

/// The files that a log of `old` entries must get or replace to become one of `new`: every tile and bundle that grew.
pub fn tiles_grown(old: u64, new: u64) -> impl Iterator<Item = TilePath> {
    let levels = (0..LEVELS).map(move |level| (TileKind::Hashes { level }, hashes_at(level, old), hashes_at(level, new)));
    levels.chain([(TileKind::Entries, old, new)]).flat_map(|(kind, old, new)| {
        let indexes = if new > old { old / WIDTH..new.div_ceil(WIDTH) } else { 0..0 };
        indexes.filter_map(move |index| TilePath::within(kind, index, new))
    })
}

/// The bytes of a tile of hashes.
#[must_use]
pub fn encode_hashes(hashes: &[TreeHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The hashes in a tile.
///
/// # Errors
/// [`TileError::WrongLength`] unless there are exactly `width` of them.
pub fn decode_hashes(tile: &[u8], width: u16) -> Result<Vec<TreeHash>, TileError> {
    let expected = usize::from(width) * TreeHash::SIZE;
    if tile.len() != expected {
        return Err(TileError::WrongLength { expected, found: tile.len() });
    }
    Ok(tile.chunks_exact(TreeHash::SIZE).filter_map(TreeHash::from_slice).collect())
}

/// The bytes of a tile of hashes, read from a store. Entry bundles come from the store's leaves and [`encode_bundle`].
///
/// # Errors
/// If hashes are missing or unreadable, or the path is that of a bundle.
pub fn read_hash_tile<R: HashReader + ?Sized>(reader: &R, path: &TilePath) -> Result<Vec<u8>, ComputeError<R::Error>> {
    let (first, count) = (path.first(), usize::from(path.width));
    let TileKind::Hashes { level } = path.kind else { return Err(ComputeError::Missing { level: 0, first, count }) };
    let hashes = reader.hashes(level, first, count).map_err(ComputeError::Store)?;
    if hashes.len() == count { Ok(encode_hashes(&hashes)) } else { Err(ComputeError::Missing { level, first, count }) }
}

/// The bytes of an entry bundle.
///
/// # Errors
/// [`TileError::EntryTooLarge`] if a leaf does not fit its 16-bit length.
pub fn encode_bundle<L: AsRef<[u8]>>(leaves: &[L]) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::with_capacity(leaves.iter().map(|leaf| 2 + leaf.as_ref().len()).sum());
    for leaf in leaves.iter().map(AsRef::as_ref) {
        let length = u16::try_from(leaf.len()).map_err(|_| TileError::EntryTooLarge(leaf.len()))?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(leaf);
    }
    Ok(bundle)
}

/// The leaves in a bundle.
///
/// # Errors
/// [`TileError`] unless there are exactly `width` of them and nothing else.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let leaves = BundleReader::new(bundle).collect::<Result<Vec<_>, _>>()?;
    if leaves.len() == usize::from(width) { Ok(leaves) } else { Err(TileError::WrongCount { expected: width.into(), found: leaves.len() }) }
}

/// Reads the leaves of a bundle one by one, so that a fault has a place. Ends at the first fault.
#[derive(Clone, Debug)]
pub struct BundleReader<'b> {
    rest: &'b [u8],
}

impl<'b> BundleReader<'b> {
    #[must_use]
    pub fn new(bundle: &'b [u8]) -> Self {
        Self { rest: bundle }
    }
}

impl<'b> Iterator for BundleReader<'b> {
    type Item = Result<&'b [u8], TileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let cut = rest.split_first_chunk::<2>().and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let Some((leaf, rest)) = cut else { return Some(Err(TileError::CutOff)) };
        self.rest = rest;
        Some(Ok(leaf))
    }
}

/// Why bytes are not a tile or a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    #[error("has {found} bytes, must have {expected}")]
    WrongLength { expected: usize, found: usize },
    #[error("holds {found} entries, must hold {expected}")]
    WrongCount { expected: usize, found: usize },
    #[error("ends in the middle of an entry")]
    CutOff,
    #[error("an entry of {0} bytes does not fit a bundle")]
    EntryTooLarge(usize),
}

fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_spelled_as_the_specification_spells_them() {
        let deep = TilePath { kind: TileKind::Hashes { level: 0 }, index: 1_234_067, width: 256 };
        assert_eq!(deep.to_string(), "tile/0/x001/x234/067");
        assert_eq!(TilePath::parse("tile/0/x001/x234/067"), Some(deep));
        assert_eq!(TilePath::entries(273, 70_000).unwrap().to_string(), "tile/entries/273.p/112");
        assert_eq!(bodies_path(1_234_067), "bodies/x001/x234/067");
    }

    #[test]
    fn a_path_has_one_spelling() {
        let bad = "tile/0/0|tile/0/1000|tile/00/000|tile/0/+01|tile/8/000|tile/0/x000/001|tile/0/001/002|tile/0/x001|tile/0/000.p/0\
            |tile/0/000.p/256|tile/0/000.p/01|tile/0/000.p/|tile/0/|tile/0|tile/x/000|/tile/0/000|tile/0/000/|tile/0/../000|checkpoint|\
            tile/0/x999/x999/x999/x999/x999/x999/x999|tile/entries/x018/x446/x744/x073/x709/x551/615";
        for path in bad.split('|') {
            assert_eq!(TilePath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_size_has_the_tiles_of_the_specification() {
        let levels = |size: u64| {
            (0..LEVELS)
                .map(|level| tiles_for(size).filter(|t| t.kind == TileKind::Hashes { level }).collect::<Vec<_>>())
                .take_while(|tiles| !tiles.is_empty())
                .map(|tiles| (tiles.len(), tiles.last().unwrap().width))
                .collect::<Vec<_>>()
        };
        assert_eq!(levels(70_000), [(274, 112), (2, 17), (1, 1)]);
        assert_eq!(levels(256), [(1, 256), (1, 1)]);
        assert_eq!(levels(0), []);
        assert_eq!(tiles_for(300).filter(|t| t.kind == TileKind::Entries).map(|t| t.width).collect::<Vec<_>>(), [256, 44]);
        assert!(tiles_for(70_000).all(|tile| TilePath::parse(&tile.to_string()) == Some(tile)));
    }

    #[test]
    fn growth_writes_every_tile_that_changed_and_no_other() {
        for (old, new) in [(0, 1), (5, 5), (255, 256), (256, 257), (300, 700), (65_535, 65_537)] {
            let before: Vec<_> = tiles_for(old).collect();
            let expected: Vec<_> = tiles_for(new).filter(|tile| !before.contains(tile)).collect();
            assert_eq!(tiles_grown(old, new).collect::<Vec<_>>(), expected, "{old} to {new}");
        }
    }

    #[test]
    fn bundles_are_exact() {
        let bundle = encode_bundle(&[b"one".as_slice(), b"", b"two"]).unwrap();
        assert_eq!(bundle, b"\0\x03one\0\0\0\x03two");
        assert_eq!(decode_bundle(&bundle, 3).unwrap(), [b"one".as_slice(), b"", b"two"]);
        assert_eq!(decode_bundle(&bundle, 2), Err(TileError::WrongCount { expected: 2, found: 3 }));
        assert_eq!(decode_bundle(&bundle[..11], 3), Err(TileError::CutOff));
        assert_eq!(encode_bundle(&[vec![0; 65_536]]), Err(TileError::EntryTooLarge(65_536)));
    }

    #[test]
    fn tiles_are_exact() {
        let hashes = [TreeHash::from_bytes([1; 32]), TreeHash::from_bytes([2; 32])];
        let tile = encode_hashes(&hashes);
        assert_eq!(decode_hashes(&tile, 2).unwrap(), hashes);
        assert_eq!(decode_hashes(&tile, 1), Err(TileError::WrongLength { expected: 32, found: 64 }));
    }
}
