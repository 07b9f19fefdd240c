//! The tree against a plain recursive reading of RFC 6962.
//!
//! Decides nothing; the oracle below is the RFC's text, slow and without cleverness.
use proptest::prelude::*;
use safeconduct_ledger::{
    Frontier, TreeHash, consistency_proof, empty_root, frontier, inclusion_proof, leaf_hash, node_hash, root, verify_consistency,
    verify_inclusion,
};

/// MTH(D[n]) of RFC 6962, section 2.1.
fn mth(leaves: &[TreeHash]) -> TreeHash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH(m, D[n]) of section 2.1.1.
fn path(m: usize, leaves: &[TreeHash]) -> Vec<TreeHash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    proof.push(other);
    proof
}

/// SUBPROOF(m, D[n], b) of section 2.1.2.
fn subproof(m: usize, leaves: &[TreeHash], whole: bool) -> Vec<TreeHash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if m <= k { (subproof(m, left, whole), mth(right)) } else { (subproof(m - k, right, false), mth(left)) };
    proof.push(other);
    proof
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
    for size in 1..=SIZES {
        let leaves = &grown.leaves[..size as usize];
        let root = mth(leaves);
        // The oracle is quadratic: compare its proofs at some sizes, verify at all.
        let compare = size % 37 == 0 || size < 70 || (254..260).contains(&size);
        for index in 0..size {
            let proof = inclusion_proof(stored, index, size).unwrap();
            if compare {
                assert_eq!(proof, path(index as usize, leaves), "{index} in {size}");
            }
            verify_inclusion(&leaves[index as usize], index, size, &proof, &root).unwrap();
        }
        assert!(inclusion_proof(stored, size, size).is_err());
    }
}

#[test]
fn consistency_of_every_pair_of_sizes() {
    let grown = grow(SIZES);
    let stored = grown.stored.as_slice();
    let roots: Vec<_> = (0..=SIZES).map(|size| root(stored, size).unwrap()).collect();
    for new in 1..=SIZES {
        let compare = new % 41 == 0 || new < 70 || (254..260).contains(&new);
        for old in 1..=new {
            let proof = consistency_proof(stored, old, new).unwrap();
            if compare {
                assert_eq!(proof, subproof(old as usize, &grown.leaves[..new as usize], true), "{old} to {new}");
            }
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
