//! What every store must do as a ledger: entries, tree, tiles and proofs that anybody can check.

use std::sync::Arc;

use safeconduct_app::ports::{LedgerEntry, Store};
use safeconduct_ledger::{Entry, Frontier, TreeHash, leaf_hash, tile, verify_body, verify_consistency, verify_inclusion};

use super::store::{opened, to_session};
use crate::START;

/// Appends one event to each of `count` sessions, a hundred in an append.
async fn fill(store: &Arc<dyn Store>, count: u64) {
    let numbers: Vec<u64> = (1..=count).collect();
    for numbers in numbers.chunks(100) {
        store.append(numbers.iter().map(|n| to_session(*n, 0, vec![opened()])).collect(), START).await.unwrap();
    }
}

async fn all_entries(store: &Arc<dyn Store>) -> Vec<LedgerEntry> {
    store.entries(0, u32::MAX).await.unwrap()
}

fn naive_root(leaves: &[LedgerEntry]) -> TreeHash {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|entry| frontier.append(leaf_hash(&entry.leaf)));
    frontier.root()
}

fn hashes(proof: Vec<[u8; 32]>) -> Vec<TreeHash> {
    proof.into_iter().map(TreeHash::from_bytes).collect()
}

pub(super) async fn the_tree_holds_every_entry(store: Arc<dyn Store>) {
    for count in 1..=5 {
        store.append(vec![to_session(count, 0, vec![opened()])], START).await.unwrap();
        let (head, entries) = (store.tree_head().await.unwrap(), all_entries(&store).await);
        assert_eq!((head.size, head.root), (count, *naive_root(&entries).as_bytes()));
    }
    for (place, entry) in all_entries(&store).await.iter().enumerate() {
        let parsed = Entry::parse(&entry.leaf).unwrap();
        assert_eq!((parsed.index, parsed.version, parsed.kind.as_str()), (place as u64, 1, "session_opened"));
        assert_eq!(entry.index, place as u64);
    }
    let part: Vec<u64> = store.entries(2, 2).await.unwrap().iter().map(|entry| entry.index).collect();
    assert_eq!(part, [2, 3]);
}

pub(super) async fn tiles_are_those_of_the_tree(store: Arc<dyn Store>) {
    fill(&store, 600).await;
    let entries = all_entries(&store).await;
    for path in tile::tiles_for(600) {
        let bytes = store.tile(&path.to_string()).await.unwrap().unwrap_or_else(|| panic!("{path}"));
        match path.kind() {
            tile::TileKind::Entries => {
                let leaves = tile::decode_bundle(&bytes, path.width()).unwrap();
                assert!(leaves.iter().zip(&entries[path.first() as usize..]).all(|(leaf, entry)| *leaf == entry.leaf), "{path}");
            }
            tile::TileKind::Hashes { level: 0 } => {
                let hashes = tile::decode_hashes(&bytes, path.width()).unwrap();
                assert!(
                    hashes.iter().zip(&entries[path.first() as usize..]).all(|(hash, entry)| *hash == leaf_hash(&entry.leaf)),
                    "{path}"
                );
            }
            tile::TileKind::Hashes { .. } => {
                let roots: Vec<_> = entries.chunks_exact(256).map(naive_root).collect();
                assert_eq!(tile::decode_hashes(&bytes, path.width()).unwrap(), roots);
            }
        }
    }
    // Narrower tiles of earlier sizes can still be had; wider ones can't, nor other files.
    assert_eq!(store.tile("tile/0/002.p/5").await.unwrap().unwrap().len(), 5 * 32);
    assert_eq!(store.tile("tile/1/000.p/1").await.unwrap().unwrap().len(), 32);
    for none in [
        "tile/0/002",
        "tile/0/002.p/89",
        "tile/0/003.p/1",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/entries/002",
        "tile/2/000.p/1",
        "",
        "tile/0/2",
        "../entries",
    ] {
        assert_eq!(store.tile(none).await.unwrap(), None, "{none}");
    }
}

pub(super) async fn proofs_verify(store: Arc<dyn Store>) {
    fill(&store, 300).await;
    let entries = all_entries(&store).await;
    let root = |size: u64| naive_root(&entries[..size as usize]);
    for (index, size) in [(0, 1), (0, 300), (299, 300), (255, 256), (256, 257), (13, 290)] {
        let proof = hashes(store.inclusion_proof(index, size).await.unwrap().unwrap());
        verify_inclusion(&leaf_hash(&entries[index as usize].leaf), index, size, &proof, &root(size)).unwrap();
    }
    for (old, new) in [(1, 300), (256, 300), (255, 257), (300, 300), (17, 256)] {
        let proof = hashes(store.consistency_proof(old, new).await.unwrap().unwrap());
        verify_consistency(old, &root(old), new, &root(new), &proof).unwrap();
    }
    for (index, size) in [(300, 300), (0, 301), (0, 0), (5, 3), (0, u64::MAX)] {
        assert_eq!(store.inclusion_proof(index, size).await.unwrap(), None, "{index} in {size}");
    }
    for (old, new) in [(0, 300), (300, 301), (5, 3), (1, u64::MAX)] {
        assert_eq!(store.consistency_proof(old, new).await.unwrap(), None, "{old} to {new}");
    }
}

pub(super) async fn bodies_fit_their_commitments(store: Arc<dyn Store>) {
    fill(&store, 3).await;
    let mut keys = Vec::new();
    for entry in all_entries(&store).await {
        let (key, body) = entry.body.unwrap();
        assert!(verify_body(&key, body.as_bytes(), &Entry::parse(&entry.leaf).unwrap().body));
        safeconduct_ledger::canonical::check_canonical(body.as_bytes()).unwrap();
        assert!(!keys.contains(&key), "every entry has a key of its own");
        keys.push(key);
    }
}

pub(super) async fn the_newest_checkpoint_counts(store: Arc<dyn Store>) {
    for (size, note) in [(3, "three"), (9, "nine"), (5, "five")] {
        store.put_checkpoint(size, note.to_owned()).await.unwrap();
    }
    assert_eq!(store.checkpoint().await.unwrap().as_deref(), Some("nine"));
}

pub(super) async fn an_erased_body_is_gone_and_the_tree_stays(store: Arc<dyn Store>) {
    fill(&store, 300).await;
    let (head, before) = (store.tree_head().await.unwrap(), all_entries(&store).await);
    for erased in [0, 7, 255, 299] {
        assert!(store.erase_body(erased).await.unwrap());
        assert!(!store.erase_body(erased).await.unwrap(), "it is gone already");
        let entry = store.entries(erased, 1).await.unwrap().remove(0);
        assert_eq!((entry.leaf.as_slice(), entry.body.is_none()), (before[erased as usize].leaf.as_slice(), true));
        let stored = store.events_from(erased, 1).await.unwrap().remove(0);
        assert!(stored.event.is_none());
        assert_eq!(store.load(stored.stream).await.unwrap().len(), 1, "its place in the stream stays");
        let proof = hashes(store.inclusion_proof(erased, head.size).await.unwrap().unwrap());
        verify_inclusion(&leaf_hash(&entry.leaf), erased, head.size, &proof, &TreeHash::from_bytes(head.root)).unwrap();
    }
    assert!(!store.erase_body(300).await.unwrap());
    assert!(!store.erase_body(u64::MAX).await.unwrap());
    assert_eq!(store.tree_head().await.unwrap(), head);
    assert!(store.entries(1, 6).await.unwrap().iter().all(|entry| entry.body.is_some()), "the others are as they were");
    store.append(vec![to_session(301, 0, vec![opened()])], START).await.unwrap();
    let proof = hashes(store.consistency_proof(head.size, head.size + 1).await.unwrap().unwrap());
    let grown = store.tree_head().await.unwrap();
    verify_consistency(head.size, &TreeHash::from_bytes(head.root), grown.size, &TreeHash::from_bytes(grown.root), &proof).unwrap();
}
