//! The hash tree: RFC 6962 hashing and the right edge from which a tree grows.
//!
//! Decides what a leaf, a node and a root hash to. Holds only the right edge of the tree, so appending costs memory in the
//! logarithm of the size. Refuses to be restored from a right edge that does not fit the size.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt;

/// Levels of the tree that one tile spans; a full tile holds `2^8 = 256` hashes.
pub const TILE_HEIGHT: u32 = 8;

/// A SHA-256 hash of a leaf, a node or a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeHash([u8; 32]);

impl TreeHash {
    pub const SIZE: usize = 32;

    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// `None` unless `bytes` is exactly 32 bytes long.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes).ok().map(Self)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Standard base64 with padding, as checkpoints and proofs write it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// `None` unless `text` is the one canonical base64 form of 32 bytes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        if text.len() != 44 {
            return None;
        }
        Self::from_slice(&STANDARD.decode(text).ok()?)
    }
}

/// As base64 text.
impl serde::Serialize for TreeHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

/// `SHA-256(0x00 || leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> TreeHash {
    TreeHash(Sha256::new().chain_update([0x00]).chain_update(leaf).finalize().into())
}

/// `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &TreeHash, right: &TreeHash) -> TreeHash {
    TreeHash(Sha256::new().chain_update([0x01]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of a tree without leaves: `SHA-256("")`.
#[must_use]
pub fn empty_root() -> TreeHash {
    TreeHash(Sha256::digest([]).into())
}

/// A hash that a tile holds: the roots of complete subtrees of `256^level` leaves. Level 0 holds the leaf hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredHash {
    /// Tile level: the tree level divided by eight.
    pub level: u8,
    /// Position within the level, counted from the left over the whole tree.
    pub index: u64,
    pub hash: TreeHash,
}

/// The right edge of a tree: the roots of the complete subtrees that make it up, largest first.
///
/// Two frontiers are equal exactly when the trees have the same size and the same root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    // INVARIANT: one hash for each bit set in `size`, from the highest bit to the lowest.
    right_edge: Vec<TreeHash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Restores what [`Frontier::right_edge`] returned at `size`.
    ///
    /// # Errors
    /// [`WrongEdge`] if the number of hashes is not the number of bits set in `size`.
    pub fn restore(size: u64, right_edge: Vec<TreeHash>) -> Result<Self, WrongEdge> {
        let expected = size.count_ones() as usize;
        if right_edge.len() == expected {
            Ok(Self { size, right_edge })
        } else {
            Err(WrongEdge { size, expected, found: right_edge.len() })
        }
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn right_edge(&self) -> &[TreeHash] {
        &self.right_edge
    }

    /// Appends one leaf.
    pub fn append(&mut self, leaf: TreeHash) {
        self.append_with(leaf, |_| {});
    }

    /// Appends one leaf and hands over every hash that a tile must hold from now on: the leaf hash itself, and the root of
    /// each subtree of `256^level` leaves that it completes. A store keeps these; [`crate::HashReader`] reads them back.
    pub fn append_with(&mut self, leaf: TreeHash, mut stored: impl FnMut(StoredHash)) {
        stored(StoredHash { level: 0, index: self.size, hash: leaf });
        let mut hash = leaf;
        let mut tree_level = 0;
        let mut position = self.size;
        while position & 1 == 1
            && let Some(left) = self.right_edge.pop()
        {
            hash = node_hash(&left, &hash);
            tree_level += 1;
            position >>= 1;
            if tree_level % TILE_HEIGHT == 0 {
                // A u64 has 64 levels, so the tile level is at most 8.
                stored(StoredHash { level: (tree_level / TILE_HEIGHT) as u8, index: position, hash });
            }
        }
        self.right_edge.push(hash);
        self.size += 1;
    }

    /// The root of the tree as it is.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        let mut edge = self.right_edge.iter().rev();
        let Some(last) = edge.next() else { return empty_root() };
        edge.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of size {size} has {expected} hashes on its right edge, found {found}")]
pub struct WrongEdge {
    pub size: u64,
    pub expected: usize,
    pub found: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_tree_has_the_hash_of_nothing() {
        assert_eq!(Frontier::new().root().to_base64(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn restored_frontier_grows_like_the_original() {
        for size in 0..70u64 {
            let mut original = Frontier::new();
            (0..size).for_each(|n| original.append(leaf(n)));
            let mut restored = Frontier::restore(size, original.right_edge().to_vec()).unwrap();
            for n in size..size + 20 {
                assert_eq!(original.root(), restored.root());
                original.append(leaf(n));
                restored.append(leaf(n));
            }
            assert_eq!(original, restored);
        }
    }

    #[test]
    fn a_right_edge_that_does_not_fit_is_refused() {
        assert_eq!(Frontier::restore(3, vec![leaf(0)]), Err(WrongEdge { size: 3, expected: 2, found: 1 }));
        assert!(Frontier::restore(0, vec![leaf(0)]).is_err());
    }

    #[test]
    fn stored_hashes_are_leaves_and_roots_of_full_tiles() {
        let mut frontier = Frontier::new();
        let mut stored = Vec::new();
        (0..256).for_each(|n| frontier.append_with(leaf(n), |hash| stored.push(hash)));
        assert_eq!(stored.len(), 257);
        assert_eq!(stored[256], StoredHash { level: 1, index: 0, hash: frontier.root() });
        assert_eq!(stored[7], StoredHash { level: 0, index: 7, hash: leaf(7) });
    }

    #[test]
    fn base64_is_strict() {
        let text = leaf(1).to_base64();
        assert_eq!(TreeHash::from_base64(&text), Some(leaf(1)));
        assert_eq!(TreeHash::from_base64(text.trim_end_matches('=')), None);
        assert_eq!(TreeHash::from_base64(&format!("{text}\n")), None);
    }

    fn leaf(n: u64) -> TreeHash {
        leaf_hash(&n.to_be_bytes())
    }
}
