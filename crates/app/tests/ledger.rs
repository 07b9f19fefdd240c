//! The ledger as the application keeps it: checkpoints grow, entries are proved, and a store that lost some is not signed for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use safeconduct_app::{
    StartError,
    ports::{Store, TreeHead},
};
use safeconduct_ledger::{Checkpoint, Frontier, SignerKey, TreeHash, leaf_hash, verify_inclusion};
use safeconduct_model::Operation;

async fn checkpoint(house: &House) -> Checkpoint {
    let note = house.app.checkpoint().await.unwrap().unwrap();
    Checkpoint::open(note.as_bytes(), &[key().verifier().clone()]).unwrap().checkpoint
}

#[tokio::test]
async fn an_entry_is_proved_in_the_newest_checkpoint() {
    let house = House::new().await;
    let carol = house.caller("carol");
    assert_eq!(house.app.prove(&carol, 0).await.unwrap_err().code, "LEDGER-001");
    house.app.publish_checkpoint().await.unwrap();
    let first = checkpoint(&house).await;
    let grant = house.grant("alice", &[Operation::Read], 600).await;
    let uncovered = house.events().await - 1;
    assert_eq!(house.app.prove(&carol, uncovered).await.unwrap_err().code, "LEDGER-001");
    house.app.publish_checkpoint().await.unwrap();
    let second = checkpoint(&house).await;
    assert_eq!(second.size, house.events().await);
    for index in 0..second.size {
        let proof = house.app.prove(&carol, index).await.unwrap();
        let hashes: Vec<_> = proof.hashes.iter().map(|hash| TreeHash::from_slice(hash).unwrap()).collect();
        verify_inclusion(&leaf_hash(&proof.leaf), index, second.size, &hashes, &second.root).unwrap();
    }
    let proof = house.store.consistency_proof(first.size, second.size).await.unwrap().unwrap();
    let proof: Vec<_> = proof.iter().map(|hash| TreeHash::from_slice(hash).unwrap()).collect();
    second.check_extends(&first, &proof).unwrap();
    // One's own entries, and nobody else's.
    let index = house.store.load(safeconduct_lifecycle::StreamId::Access(grant.access_request())).await.unwrap()[0].index;
    house.app.prove(&house.caller("alice"), index).await.unwrap();
    assert_eq!(house.app.prove(&house.caller("mallory"), index).await.unwrap_err().code, "REQ-008");
    assert_eq!(house.app.prove(&house.caller("alice"), 0).await.unwrap_err().code, "REQ-008");
    assert!(house.app.ledger_tail(&house.caller("alice"), None, 10).await.is_err());
}

#[tokio::test]
async fn f53_a_smaller_tree_than_before_is_never_signed() {
    let house = House::new().await;
    house.app.publish_checkpoint().await.unwrap();
    let before = house.app.checkpoint().await.unwrap();
    let head = house.store.tree_head().await.unwrap();
    house.store.pretend_head(Some(TreeHead { size: head.size - 1, ..head }));
    assert_eq!(house.app.publish_checkpoint().await.unwrap_err().code, "LEDGER-002");
    assert_eq!(house.app.checkpoint().await.unwrap(), before);
}

#[tokio::test]
async fn f53_a_gateway_does_not_start_on_a_store_that_was_cut_or_changed() {
    let house = House::new().await;
    house.app.publish_checkpoint().await.unwrap();
    let head = house.store.tree_head().await.unwrap();
    house.grant("alice", &[Operation::Read], 600).await;
    let now = house.store.tree_head().await.unwrap();
    assert!(house.try_start().await.is_ok(), "a longer tree extends it");
    for pretended in [
        TreeHead { size: head.size - 1, ..head },
        TreeHead { root: now.root, ..head },
        TreeHead { root: head.root, ..now },
        TreeHead { size: now.size + 100, ..now },
        TreeHead { size: 0, root: *Frontier::new().root().as_bytes() },
    ] {
        house.store.pretend_head(Some(pretended));
        let events = house.events().await;
        let refused = house.try_start().await.map(drop).unwrap_err();
        assert!(matches!(refused, StartError::Ledger(_)), "{pretended:?}: {refused}");
        assert_eq!(house.events().await, events, "nothing is added to it");
    }
    house.store.pretend_head(None);
    assert!(house.try_start().await.is_ok());
}

#[tokio::test]
async fn f53_a_checkpoint_of_another_key_or_log_is_not_believed() {
    let house = House::new().await;
    let head = house.store.tree_head().await.unwrap();
    let root = TreeHash::from_bytes(head.root);
    for (name, seed) in [("gateway.test/ledger", 8), ("another.test/ledger", 9), ("another.test/ledger", 8)] {
        let stranger = SignerKey::from_seed(name, &[seed; 32]).unwrap();
        let note = Checkpoint { origin: name.to_owned(), size: head.size, root }.sign(&stranger).unwrap().to_string();
        house.store.put_checkpoint(head.size, note).await.unwrap();
        let refused = house.try_start().await.map(drop).unwrap_err();
        assert!(matches!(refused, StartError::Checkpoint(_)), "{refused}");
    }
    house.store.put_checkpoint(head.size, "nonsense".to_owned()).await.unwrap();
    assert!(house.try_start().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_busy_ledger_is_signed_a_few_times_a_second_and_then_wholly() {
    let house = House::new().await;
    let ticking = house.app.ticking();
    let mut signed = std::collections::BTreeSet::new();
    for _ in 0..40 {
        house.window("alice", &[Operation::Read], 600).await.unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
        signed.extend(house.app.checkpoint().await.unwrap());
    }
    assert!((2..=6).contains(&signed.len()), "{} checkpoints in a second", signed.len());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(checkpoint(&house).await.size, house.events().await, "everything is covered within a second");
    ticking.send_replace(true);
}
