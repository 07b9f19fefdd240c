//! Random scripts against the plain store in memory: both give the same answers, also across restarts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;

use proptest::prelude::*;
use safeconduct_app::ports::{Append, Store, StoreError};
use safeconduct_ledger::{Frontier, TreeHash, leaf_hash, verify_consistency, verify_inclusion};
use safeconduct_lifecycle::StreamId;
use safeconduct_model::SessionId;
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_testkit::{MemoryStore, START, TestEntropy, session_opened};

#[derive(Clone, Debug)]
enum Step {
    /// For each stream: its number, how far off the expected version is, and how many events.
    Append(Vec<(u64, u64, usize)>, i64),
    Raise(i64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let off = prop_oneof![9 => Just(0_u64), 1 => 1..3_u64];
    let appends = prop::collection::vec((1..6_u64, off, 0..40_usize), 1..4);
    let step = prop_oneof![
        12 => (appends, -50..50_i64).prop_map(|(appends, at)| Step::Append(appends, at)),
        1 => (-50..50_i64).prop_map(Step::Raise),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..30)
}

async fn follow(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let open = || SqliteStore::open(directory.path().join("store.db"), Arc::new(TestEntropy::seeded(3))).unwrap();
    let (mut store, model) = (Some(open()), MemoryStore::new());
    let mut roots: Vec<(u64, TreeHash)> = Vec::new();
    for step in steps {
        let tested = store.as_ref().unwrap();
        match step {
            Step::Append(streams, seconds) => {
                let mut appends: Vec<Append> = Vec::new();
                for (n, off, count) in streams {
                    let stream = StreamId::Session(SessionId::from_bits(n));
                    let before: usize = appends.iter().filter(|append| append.stream == stream).map(|append| append.events.len()).sum();
                    let expected = model.load(stream.clone()).await.unwrap().len() as u64 + before as u64 + off;
                    let events = vec![session_opened("alice", "orders-db", START.plus_seconds(seconds)).into(); count];
                    appends.push(Append { stream, expected, events, row: None });
                }
                let at = START.plus_seconds(seconds);
                match (tested.append(appends.clone(), at).await, model.append(appends, at).await) {
                    (Ok(index), Ok(expected)) => assert_eq!(index, expected),
                    (Err(StoreError::Conflict { stream }), Err(StoreError::Conflict { stream: expected })) => assert_eq!(stream, expected),
                    other => panic!("{other:?}"),
                }
            }
            Step::Raise(seconds) => {
                tested.raise_high_water(START.plus_seconds(seconds)).await.unwrap();
                model.raise_high_water(START.plus_seconds(seconds)).await.unwrap();
            }
            Step::Reopen => {
                drop(store.take());
                store = Some(open());
            }
        }
        let head = store.as_ref().unwrap().tree_head().await.unwrap();
        roots.push((head.size, TreeHash::from_bytes(head.root)));
    }
    let store = store.unwrap();
    let seen = |events: Vec<safeconduct_app::ports::Stored>| -> Vec<_> {
        events.into_iter().map(|stored| (stored.index, stored.stream, stored.version, stored.at, stored.event)).collect()
    };
    assert_eq!(seen(store.events_from(0, u32::MAX).await.unwrap()), seen(model.events_from(0, u32::MAX).await.unwrap()));
    assert_eq!(store.high_water().await.unwrap(), model.high_water().await.unwrap());

    let leaves: Vec<_> = store.entries(0, u32::MAX).await.unwrap().iter().map(|entry| leaf_hash(&entry.leaf)).collect();
    let size = leaves.len() as u64;
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.append(*leaf));
    let root = frontier.root();
    for (old, old_root) in roots.into_iter().filter(|(old, _)| *old > 0) {
        let proof: Vec<_> = store.consistency_proof(old, size).await.unwrap().unwrap().into_iter().map(TreeHash::from_bytes).collect();
        verify_consistency(old, &old_root, size, &root, &proof).unwrap();
        let proof: Vec<_> = store.inclusion_proof(old - 1, size).await.unwrap().unwrap().into_iter().map(TreeHash::from_bytes).collect();
        verify_inclusion(&leaves[old as usize - 1], old - 1, size, &proof, &root).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_like_the_model(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(follow(steps));
    }
}
