//! What is there after closing and opening, and what happens when power or people meddle with the file.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use safeconduct_app::ports::{Append, Store, StoreError, ValueChange};
use safeconduct_ledger::{Checkpoint, NotExtended, TreeHash};
use safeconduct_lifecycle::StreamId;
use safeconduct_model::SessionId;
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_testkit::{START, person_created, session_opened};
use support::{check, open, to_session};

#[tokio::test]
async fn a_store_goes_on_where_it_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut expected = 0;
    for (n, count) in [(1, 255), (2, 1), (3, 1), (4, 300), (5, 0)] {
        let store = open(&path).unwrap();
        assert_eq!(store.append(vec![to_session(n, 0, count)], START.plus_seconds(-3600)).await.unwrap(), expected);
        store.raise_high_water(START).await.unwrap();
        expected += count as u64;
        check(&store).await;
    }
    let store = open(&path).unwrap();
    assert_eq!(store.high_water().await.unwrap(), Some(START));
    assert_eq!(check(&store).await.len(), 557);
}

#[tokio::test]
async fn only_the_owner_may_read_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/here/store.db");
    let store = open(&path).unwrap();
    store.append(vec![to_session(1, 0, 1)], START).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in ["store.db", "store.db-wal", "store.db-shm", "store.db.lock"] {
        assert_eq!(mode(&path.with_file_name(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_store_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Unavailable(_))));
    drop(first);
    open(&path).unwrap();
}

/// Changes the file behind the store's back.
fn meddle(path: &Path, sql: &str) -> rusqlite::Result<()> {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql)
}

#[tokio::test]
async fn files_of_others_and_of_newer_programs_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(open(&path).unwrap());
    meddle(&path, "UPDATE schema_version SET version = 99").unwrap();
    assert!(matches!(open(&path), Err(StoreError::Unavailable(cause)) if cause.to_string().contains("format 99")));
    let other = directory.path().join("other.db");
    meddle(&other, "CREATE TABLE theirs (a)").unwrap();
    assert!(matches!(open(&other), Err(StoreError::Unavailable(_))));
    let text = directory.path().join("text.db");
    std::fs::write(&text, "not a database, but long enough to be taken for one ".repeat(99)).unwrap();
    assert!(matches!(open(&text), Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn f53_the_ledger_can_not_be_changed_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    open(&path).unwrap().append(vec![to_session(1, 0, 300)], START).await.unwrap();
    for sql in [
        "UPDATE entries SET at = at + 1 WHERE idx = 3",
        "DELETE FROM entries WHERE idx = 299",
        "INSERT INTO entries SELECT 301, 'x', 1, at, leaf, leaf_hash FROM entries WHERE idx = 0",
        "UPDATE bodies SET body = '{}' WHERE idx = 3",
        "UPDATE tiles SET hashes = zeroblob(8192)",
        "DELETE FROM tiles",
    ] {
        assert!(meddle(&path, sql).is_err(), "{sql}");
    }
    assert_eq!(check(&open(&path).unwrap()).await.len(), 300);
}

#[tokio::test]
async fn f53_a_changed_event_is_never_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let stream = StreamId::Session(SessionId::from_bits(1));
    for (drop_trigger, sql) in [
        ("bodies_are_never_changed", "UPDATE bodies SET body = replace(body, 'alice', 'mallory') WHERE idx = 2"),
        ("bodies_are_never_changed", "UPDATE bodies SET key = zeroblob(32) WHERE idx = 2"),
        ("entries_are_never_changed", "UPDATE entries SET at = at + 1 WHERE idx = 2"),
        ("entries_are_never_changed", "UPDATE entries SET stream = 'se-000000000009' WHERE idx = 2"),
        ("entries_are_never_changed", "UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE idx = 1) WHERE idx = 2"),
    ] {
        let _ = std::fs::remove_file(&path);
        let store = open(&path).unwrap();
        store.append(vec![to_session(1, 0, 3)], START).await.unwrap();
        meddle(&path, &format!("DROP TRIGGER {drop_trigger}; {sql}")).unwrap();
        let read = store.events_from(0, 10).await;
        assert!(matches!(&read, Err(StoreError::Corrupt { place }) if place == "ledger entry 2"), "{sql}: {read:?}");
        if !sql.contains("stream") {
            assert!(matches!(store.load(stream.clone()).await, Err(StoreError::Corrupt { .. })), "{sql}");
        }
        if sql.contains("leaf") {
            drop(store);
            assert!(matches!(open(&path), Err(StoreError::Corrupt { place }) if place == "ledger entry 2"));
        }
    }
}

#[tokio::test]
async fn an_erased_body_leaves_the_tree_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = open(&path).unwrap();
    store.append(vec![to_session(1, 0, 3)], START).await.unwrap();
    let head = store.tree_head().await.unwrap();
    assert!(store.erase_body(1).await.unwrap());
    let events = store.load(StreamId::Session(SessionId::from_bits(1))).await.unwrap();
    assert_eq!(events.iter().map(|stored| stored.event.is_some()).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(store.entries(0, 3).await.unwrap().iter().map(|entry| entry.body.is_some()).collect::<Vec<_>>(), [true, false, true]);
    drop(store);
    assert_eq!(open(&path).unwrap().tree_head().await.unwrap(), head);
}

#[tokio::test]
async fn f48_a_body_without_bounds_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("store.db")).unwrap();
    let event = safeconduct_lifecycle::SessionEvent::ActionRefused { why: "x".repeat(5 << 20), at: START };
    let append = Append { stream: StreamId::Session(SessionId::from_bits(1)), expected: 0, events: vec![event.into()], row: None };
    assert!(matches!(store.append(vec![append], START).await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.tree_head().await.unwrap().size, 0);
}

#[tokio::test]
async fn without_random_bytes_nothing_is_appended() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("store.db"), Arc::new(safeconduct_testkit::DryEntropy)).unwrap();
    assert!(store.append(vec![to_session(1, 0, 1)], START).await.is_err());
    assert_eq!(store.tree_head().await.unwrap().size, 0);
}

#[tokio::test]
async fn f47_removed_values_leave_no_trace_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = open(&path).unwrap();
    let put = |value: Option<&[u8]>| ValueChange { kind: "verifier".to_owned(), key: "alice".to_owned(), value: value.map(<[u8]>::to_vec) };
    store.put_values(vec![put(Some(b"find-me-in-the-file"))]).await.unwrap();
    store.put_values(vec![put(None)]).await.unwrap();
    store
        .append(
            vec![Append { stream: StreamId::Directory, expected: 0, events: vec![person_created("alice", START).into()], row: None }],
            START,
        )
        .await
        .unwrap();
    drop(store);
    // Closing merges the log into the file.
    assert!(!path.with_file_name("store.db-wal").exists());
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(19).any(|window| window == b"find-me-in-the-file"));
}

#[tokio::test]
async fn an_erased_body_leaves_no_trace_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let in_file = |text: &str| std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes());
    let event = || session_opened("find-me-in-the-file", "orders-db", START).into();
    let append = Append { stream: StreamId::Session(SessionId::from_bits(1)), expected: 0, events: vec![event()], row: None };
    open(&path).unwrap().append(vec![append], START).await.unwrap();
    assert!(in_file("find-me-in-the-file"));
    assert!(open(&path).unwrap().erase_body(0).await.unwrap());
    assert!(!in_file("find-me-in-the-file"));
    let store = open(&path).unwrap();
    assert!(store.entries(0, 1).await.unwrap()[0].body.is_none(), "erased for good");
    assert_eq!(check(&store).await.len(), 1);
}

#[tokio::test]
async fn f53_a_file_that_was_cut_or_rewritten_does_not_extend_its_checkpoint() {
    let checkpoint = async |store: &SqliteStore| {
        let head = store.tree_head().await.unwrap();
        Checkpoint { origin: "test".to_owned(), size: head.size, root: TreeHash::from_bytes(head.root) }
    };
    for rewritten in [None, Some(2_u64)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let store = open(&path).unwrap();
        store.append(vec![to_session(1, 0, 20)], START).await.unwrap();
        let signed = checkpoint(&store).await;
        drop(store);
        meddle(&path, "DROP TRIGGER entries_are_never_removed; DELETE FROM bodies WHERE idx >= 15; DELETE FROM entries WHERE idx >= 15")
            .unwrap();
        let store = open(&path).unwrap();
        if let Some(session) = rewritten {
            // Longer again than what was signed, with another history.
            store.append(vec![to_session(session, 0, 20)], START).await.unwrap();
        }
        let now = checkpoint(&store).await;
        let proof = store.consistency_proof(signed.size, now.size).await.unwrap().unwrap_or_default();
        let proof: Vec<_> = proof.into_iter().map(TreeHash::from_bytes).collect();
        let refused = now.check_extends(&signed, &proof).unwrap_err();
        assert_eq!(matches!(refused, NotExtended::Smaller { older: 20, newer: 15 }), rewritten.is_none(), "{refused}");
    }
}
