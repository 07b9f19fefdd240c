//! What tests of durability have in common.
#![allow(dead_code, reason = "each uses a part")]

use std::{path::Path, sync::Arc};

use safeconduct_app::ports::{Append, Store, StoreError};
use safeconduct_ledger::{Entry, Frontier, leaf_hash};
use safeconduct_lifecycle::{Event, StreamId};
use safeconduct_model::SessionId;
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_testkit::{START, TestEntropy, session_opened};

pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, Arc::new(TestEntropy::seeded(7)))
}

pub fn opened() -> Event {
    session_opened("alice", "orders-db", START).into()
}

pub fn to_session(n: u64, expected: u64, count: usize) -> Append {
    Append { stream: StreamId::Session(SessionId::from_bits(n)), expected, events: vec![opened(); count], row: None }
}

/// Everything there is fits together: indexes, versions, tree and tiles.
pub async fn check(store: &SqliteStore) -> Vec<Entry> {
    let entries: Vec<_> = store.entries(0, u32::MAX).await.unwrap();
    let mut frontier = Frontier::new();
    let mut versions = std::collections::BTreeMap::<String, u64>::new();
    let mut parsed = Vec::new();
    for (index, kept) in entries.iter().enumerate() {
        let entry = Entry::parse(&kept.leaf).unwrap();
        let version = versions.entry(entry.stream.clone()).or_default();
        *version += 1;
        assert_eq!((entry.index, kept.index, entry.version), (index as u64, index as u64, *version));
        frontier.append(leaf_hash(&kept.leaf));
        parsed.push(entry);
    }
    let head = store.tree_head().await.unwrap();
    assert_eq!((head.size, head.root), (frontier.size(), *frontier.root().as_bytes()));
    for path in safeconduct_ledger::tile::tiles_for(head.size) {
        assert!(store.tile(&path.to_string()).await.unwrap().is_some(), "{path}");
    }
    assert_eq!(store.events_from(0, u32::MAX).await.unwrap().len(), entries.len());
    parsed
}
