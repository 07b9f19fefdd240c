//! Audit paths: proofs that an entry is in a tree and that one tree extends another.
//!
//! Computes them from the hashes that tiles hold and verifies them against a root. Refuses a proof that is longer or shorter
//! than the one proof there is for its sizes, and a consistency proof from the empty tree, which would prove nothing.
use crate::tree::{Frontier, TILE_HEIGHT, TreeHash, empty_root, node_hash};

/// Reads the hashes that tiles hold (see [`crate::StoredHash`]); implemented by stores.
pub trait HashReader {
    type Error;

    /// Returns `count` consecutive hashes of a tile level, beginning with number `first` of that level. The range never crosses
    /// a tile, so `count` is at most 256 and `first / 256 == (first + count - 1) / 256`. All of them belong to the tree that
    /// was asked about; fewer than `count` means that the store has lost some.
    ///
    /// # Errors
    /// Whatever keeps the store from reading.
    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<TreeHash>, Self::Error>;
}

/// Hashes of one tile level each, level 0 first: a tree in memory.
impl HashReader for [Vec<TreeHash>] {
    type Error = std::convert::Infallible;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<TreeHash>, Self::Error> {
        let Some(stored) = self.get(usize::from(level)) else { return Ok(Vec::new()) };
        Ok(stored.iter().skip(usize::try_from(first).unwrap_or(usize::MAX)).take(count).copied().collect())
    }
}

/// Why a proof could not be computed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError<E> {
    #[error("entry {index} is not in a tree of {size} entries")]
    NotInTree { index: u64, size: u64 },
    #[error("a tree of {old} entries does not grow into one of {new}")]
    WrongSizes { old: u64, new: u64 },
    #[error("the store lacks hashes: level {level}, {count} from {first}")]
    Missing { level: u8, first: u64, count: usize },
    #[error("the store could not be read")]
    Store(#[source] E),
}

/// The root of the first `size` entries.
///
/// # Errors
/// If hashes are missing or unreadable.
pub fn root<R: HashReader + ?Sized>(reader: &R, size: u64) -> Result<TreeHash, ComputeError<R::Error>> {
    if size == 0 { Ok(empty_root()) } else { subtree(reader, 0, size) }
}

/// The right edge of the first `size` entries, from which the tree can grow on.
///
/// # Errors
/// If hashes are missing or unreadable.
pub fn frontier<R: HashReader + ?Sized>(reader: &R, size: u64) -> Result<Frontier, ComputeError<R::Error>> {
    let mut edge = Vec::with_capacity(size.count_ones() as usize);
    let mut start = 0;
    for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
        edge.push(node(reader, level, start >> level)?);
        start += 1 << level;
    }
    let count = edge.len();
    Frontier::restore(size, edge).map_err(|_| ComputeError::Missing { level: 0, first: 0, count })
}

/// Proves that entry `index` is in the tree of the first `size` entries: the siblings from the leaf up.
///
/// # Errors
/// [`ComputeError::NotInTree`] if `index` is not below `size`; otherwise if hashes are missing or unreadable.
pub fn inclusion_proof<R: HashReader + ?Sized>(reader: &R, index: u64, size: u64) -> Result<Vec<TreeHash>, ComputeError<R::Error>> {
    if index >= size {
        return Err(ComputeError::NotInTree { index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(subtree(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(subtree(reader, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of the first `new` entries extends that of the first `old`. Empty if the sizes are equal.
///
/// # Errors
/// [`ComputeError::WrongSizes`] if `old` is 0 or above `new`; otherwise if hashes are missing or unreadable.
pub fn consistency_proof<R: HashReader + ?Sized>(reader: &R, old: u64, new: u64) -> Result<Vec<TreeHash>, ComputeError<R::Error>> {
    if old == 0 || old > new {
        return Err(ComputeError::WrongSizes { old, new });
    }
    let (mut start, mut end) = (0, new);
    let mut proof = Vec::new();
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtree(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(subtree(reader, start, middle)?);
            start = middle;
        }
    }
    // The verifier knows the old root; any other old subtree it must be told.
    if start != 0 {
        proof.push(subtree(reader, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("the sizes or the index cannot belong together")]
    WrongSizes,
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    #[error("the proof leads to another root")]
    WrongRoot,
}

/// Checks that `leaf` is entry `index` of the tree with `size` entries and `root` (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// [`ProofError`] says what does not fit.
pub fn verify_inclusion(leaf: &TreeHash, index: u64, size: u64, proof: &[TreeHash], root: &TreeHash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::WrongSizes);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::WrongLength);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Checks that the tree of `new_size` entries extends that of `old_size` (RFC 9162, section 2.1.4.2).
///
/// # Errors
/// [`ProofError`] says what does not fit. From an empty tree there is no proof: [`ProofError::WrongSizes`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &TreeHash,
    new_size: u64,
    new_root: &TreeHash,
    proof: &[TreeHash],
) -> Result<(), ProofError> {
    if old_size == 0 || old_size > new_size {
        return Err(ProofError::WrongSizes);
    }
    if old_size == new_size {
        if !proof.is_empty() {
            return Err(ProofError::WrongLength);
        }
        return if old_root == new_root { Ok(()) } else { Err(ProofError::WrongRoot) };
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut rest = proof.iter();
    let seed = if old_size.is_power_of_two() { *old_root } else { *rest.next().ok_or(ProofError::WrongLength)? };
    let (mut old_hash, mut new_hash) = (seed, seed);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::WrongLength);
    }
    if old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// MTH(D[start:end]) for a range that the tree's own splitting leads to; not empty.
fn subtree<R: HashReader + ?Sized>(reader: &R, start: u64, end: u64) -> Result<TreeHash, ComputeError<R::Error>> {
    let count = end - start;
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        return node(reader, level, start >> level);
    }
    let middle = start + split(count);
    Ok(node_hash(&subtree(reader, start, middle)?, &subtree(reader, middle, end)?))
}

/// The root of the complete subtree number `index` at `level` of the tree.
fn node<R: HashReader + ?Sized>(reader: &R, level: u32, index: u64) -> Result<TreeHash, ComputeError<R::Error>> {
    let within = level % TILE_HEIGHT;
    let (tile_level, first, count) = ((level / TILE_HEIGHT) as u8, index << within, 1usize << within);
    let hashes = reader.hashes(tile_level, first, count).map_err(ComputeError::Store)?;
    if hashes.len() != count {
        return Err(ComputeError::Missing { level: tile_level, first, count });
    }
    fold(hashes).ok_or(ComputeError::Missing { level: tile_level, first, count })
}

/// The root over a power of two of hashes.
fn fold(mut hashes: Vec<TreeHash>) -> Option<TreeHash> {
    while hashes.len() > 1 {
        hashes = hashes.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    hashes.first().copied()
}
