//! The ledger as the application keeps it: checkpoints grow, entries are proved, and a store that lost some is not signed for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_app::ports::{Store, TreeHead};
use safeconduct_ledger::{Checkpoint, TreeHash, leaf_hash, verify_inclusion};
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
    let house = house.crash().await;
    house.store.pretend_head(Some(TreeHead { size: head.size - 1, ..head }));
    assert_eq!(house.app.publish_checkpoint().await.unwrap_err().code, "LEDGER-002", "after a restart too");
    assert_eq!(house.app.checkpoint().await.unwrap(), before);
}
