//! A disk that takes no more: real write errors (a file size limit), and recovery once there is space again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use safeconduct_app::ports::{Append, Store, StoreError};
use safeconduct_lifecycle::{SessionEvent, StreamId};
use safeconduct_model::SessionId;
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_testkit::{START, TestEntropy};

const CHILD: &str = "SAFECONDUCT_STORE_CHILD";
const NAME: &str = "f48_a_store_without_space_refuses_and_recovers";

/// Runs in a process whose files may have half a mebibyte, and lifts that limit in between.
async fn child(path: &Path) {
    let store = Arc::new(SqliteStore::open(path, Arc::new(TestEntropy::seeded(9))).unwrap());
    let append = |n: u64| {
        let store = Arc::clone(&store);
        let event = SessionEvent::ActionRefused { why: "x".repeat(50_000), at: START };
        let append = Append { stream: StreamId::Session(SessionId::from_bits(n)), expected: 0, events: vec![event.into()], row: None };
        async move { store.append(vec![append], START).await }
    };
    let mut done = 0;
    let error = loop {
        match append(done).await {
            Ok(index) => assert_eq!(index, done),
            Err(error) => break error,
        }
        done += 1;
        assert!(done < 100, "the limit is not felt");
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(store.tree_head().await.unwrap().size, done);
    assert_eq!(store.events_from(0, 1000).await.unwrap().len() as u64, done, "reading goes on");
    assert!(append(done).await.is_err());

    let lifted = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), "--fsize=unlimited"]).status().unwrap();
    assert!(lifted.success());
    for n in done..done + 20 {
        assert_eq!(append(n).await.unwrap(), n);
    }
    assert_eq!(store.events_from(0, 1000).await.unwrap().len() as u64, done + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_a_store_without_space_refuses_and_recovers() {
    if let Some(path) = env::var_os(CHILD) {
        return child(Path::new(&path)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 1024; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, &path)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let store = SqliteStore::open(&path, Arc::new(TestEntropy::seeded(9))).unwrap();
    let events = store.events_from(0, 1000).await.unwrap();
    assert_eq!(store.tree_head().await.unwrap().size, events.len() as u64);
    assert!(events.len() > 20);
}
