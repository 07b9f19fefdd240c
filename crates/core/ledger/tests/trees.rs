//! The tree against a plain recursive reading of RFC 6962.
//!
//! Decides nothing; the oracle below is the RFC's text, slow and without cleverness.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
use proptest::prelude::*;
use safeconduct_ledger::{
    Frontier, TreeHash, consistency_proof, empty_root, frontier, inclusion_proof, leaf_hash, node_hash, root, verify_consistency,
    verify_inclusion,
};
use std::cell::RefCell;
use std::collections::HashMap;

/// RFC 6962, section 2.1, read aloud: ranges of leaves instead of lists, answers remembered because they are asked for often.
struct Oracle<'l> {
    leaves: &'l [TreeHash],
    known: RefCell<HashMap<(usize, usize), TreeHash>>,
}

impl<'l> Oracle<'l> {
    fn new(leaves: &'l [TreeHash]) -> Self {
        Self { leaves, known: RefCell::default() }
    }

    /// MTH(D[start:end]) of section 2.1.
    fn mth(&self, start: usize, end: usize) -> TreeHash {
        if let Some(known) = self.known.borrow().get(&(start, end)) {
            return *known;
        }
        let hash = match end - start {
            0 => empty_root(),
            1 => self.leaves[start],
            n => node_hash(&self.mth(start, start + k(n)), &self.mth(start + k(n), end)),
        };
        self.known.borrow_mut().insert((start, end), hash);
        hash
    }

    /// PATH(m, D[start:end]) of section 2.1.1.
    fn path(&self, m: usize, start: usize, end: usize) -> Vec<TreeHash> {
        if end - start <= 1 {
            return Vec::new();
        }
        let k = k(end - start);
        let middle = start + k;
        let (mut proof, other) = if m < k {
            (self.path(m, start, middle), self.mth(middle, end))
        } else {
            (self.path(m - k, middle, end), self.mth(start, middle))
        };
        proof.push(other);
        proof
    }

    /// SUBPROOF(m, D[start:end], whole) of section 2.1.2.
    fn subproof(&self, m: usize, start: usize, end: usize, whole: bool) -> Vec<TreeHash> {
        if m == end - start {
            return if whole { Vec::new() } else { vec![self.mth(start, end)] };
        }
        let k = k(end - start);
        let middle = start + k;
        let (mut proof, other) = if m <= k {
            (self.subproof(m, start, middle, whole), self.mth(middle, end))
        } else {
            (self.subproof(m - k, middle, end, false), self.mth(start, middle))
        };
        proof.push(other);
        proof
    }
}

/// The largest power of two smaller than `n`.
fn k(n: usize) -> usize {
    n.next_power_of_two() / 2
}

fn mth(leaves: &[TreeHash]) -> TreeHash {
    Oracle::new(leaves).mth(0, leaves.len())
}

/// A tree in memory: leaf hashes, and what a store would keep.
struct Grown {
    leaves: Vec<TreeHash>,
    stored: Vec<Vec<TreeHash>>,
    tree: Frontier,
}

fn grow(size: u64) -> Grown {
    let mut grown = Grown { leaves: Vec::new(), stored: vec![Vec::new(); 3], tree: Frontier::new() };
    for n in 0..size {
        let leaf = leaf_hash(&n.to_be_bytes());
        grown.leaves.push(leaf);
        let stored = &mut grown.stored;
        grown.tree.append_with(leaf, |hash| {
            assert_eq!(stored[usize::from(hash.level)].len() as u64, hash.index, "hashes come in order");
            stored[usize::from(hash.level)].push(hash.hash);
        });
    }
    grown
}

const SIZES: u64 = 300;

/// Every place in trees up to 130; every fifth, another one for each size, and the last few in larger ones.
fn chosen(place: u64, size: u64) -> bool {
    size <= 130 || place % 5 == size % 5 || place + 3 > size
}

#[test]
fn roots_of_all_sizes() {
    let grown = grow(SIZES);
    let stored = grown.stored.as_slice();
    let mut tree = Frontier::new();
    for size in 0..=SIZES {
        let expected = mth(&grown.leaves[..size as usize]);
        assert_eq!((tree.root(), root(stored, size).unwrap()), (expected, expected), "size {size}");
        assert_eq!(frontier(stored, size).unwrap(), tree);
        if let Some(leaf) = grown.leaves.get(size as usize) {
            tree.append(*leaf);
        }
    }
    assert_eq!(tree, grown.tree);
}

#[test]
fn inclusion_of_every_entry_in_every_size() {
    let grown = grow(SIZES);
    let stored = grown.stored.as_slice();
    let oracle = Oracle::new(&grown.leaves);
    for size in 1..=SIZES {
        let root = oracle.mth(0, size as usize);
        for index in (0..size).filter(|n| chosen(*n, size)) {
            let proof = inclusion_proof(stored, index, size).unwrap();
            assert_eq!(proof, oracle.path(index as usize, 0, size as usize), "{index} in {size}");
            verify_inclusion(&grown.leaves[index as usize], index, size, &proof, &root).unwrap();
        }
        assert!(inclusion_proof(stored, size, size).is_err());
    }
}

#[test]
fn consistency_of_every_pair_of_sizes() {
    let grown = grow(SIZES);
    let stored = grown.stored.as_slice();
    let roots: Vec<_> = (0..=SIZES).map(|size| root(stored, size).unwrap()).collect();
    let oracle = Oracle::new(&grown.leaves);
    for new in 1..=SIZES {
        for old in (1..=new).filter(|n| chosen(*n, new)) {
            let proof = consistency_proof(stored, old, new).unwrap();
            assert_eq!(proof, oracle.subproof(old as usize, 0, new as usize, true), "{old} to {new}");
            verify_consistency(old, &roots[old as usize], new, &roots[new as usize], &proof).unwrap();
        }
        assert!(consistency_proof(stored, 0, new).is_err() && consistency_proof(stored, new + 1, new).is_err());
    }
}

#[test]
fn a_tree_of_three_tile_levels() {
    let size = 65_536 + 256 + 3;
    let grown = grow(size);
    let stored = grown.stored.as_slice();
    assert_eq!(grown.stored.iter().map(Vec::len).collect::<Vec<_>>(), [65_795, 257, 1]);
    let expected = mth(&grown.leaves);
    assert_eq!((grown.tree.root(), root(stored, size).unwrap()), (expected, expected));
    assert_eq!(frontier(stored, size).unwrap(), grown.tree);
    for index in [0, 255, 256, 65_535, 65_536, 65_791, 65_792, size - 1] {
        let proof = inclusion_proof(stored, index, size).unwrap();
        verify_inclusion(&grown.leaves[index as usize], index, size, &proof, &expected).unwrap();
    }
    for old in [1, 255, 256, 257, 65_535, 65_536, 65_537, 65_792, size - 1] {
        let proof = consistency_proof(stored, old, size).unwrap();
        verify_consistency(old, &root(stored, old).unwrap(), size, &expected, &proof).unwrap();
    }
}

#[test]
fn a_store_that_lost_hashes_gives_no_proof() {
    let mut grown = grow(300);
    grown.stored[0].truncate(280);
    assert!(root(grown.stored.as_slice(), 300).is_err());
    assert!(inclusion_proof(grown.stored.as_slice(), 0, 300).is_err());
    assert!(inclusion_proof(grown.stored.as_slice(), 0, 280).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_edited_proof_never_holds(size in 1u64..=300, at in any::<prop::sample::Index>(), edit in any::<prop::sample::Index>(), bit in 0u8..8, byte in 0usize..32) {
        let grown = grow(size);
        let stored = grown.stored.as_slice();
        let (index, root) = (at.index(size as usize) as u64, grown.tree.root());
        let leaf = grown.leaves[index as usize];
        let proof = inclusion_proof(stored, index, size).unwrap();
        if !proof.is_empty() {
            let mut edited = proof.clone();
            let n = edit.index(proof.len());
            let mut bytes = *edited[n].as_bytes();
            bytes[byte] ^= 1 << bit;
            edited[n] = TreeHash::from_bytes(bytes);
            prop_assert!(verify_inclusion(&leaf, index, size, &edited, &root).is_err());
            prop_assert!(verify_inclusion(&leaf, index, size, &proof[1..], &root).is_err());
        }
        prop_assert!(verify_inclusion(&leaf, index, size, &[proof.as_slice(), &[leaf]].concat(), &root).is_err());
        if size > 1 {
            prop_assert!(verify_inclusion(&leaf, (index + 1) % size, size, &proof, &root).is_err());
        }
    }

    #[test]
    fn two_histories_are_never_consistent(new in 2u64..=300, at in any::<prop::sample::Index>(), edit in any::<prop::sample::Index>()) {
        let grown = grow(new);
        let old = at.index(new as usize - 1) as u64 + 1;
        let mut forked = grown.leaves.clone();
        forked[edit.index(old as usize)] = leaf_hash(b"another");
        let old_root = mth(&forked[..old as usize]);
        let proof = consistency_proof(grown.stored.as_slice(), old, new).unwrap();
        prop_assert!(verify_consistency(old, &old_root, new, &grown.tree.root(), &proof).is_err());
    }
}
