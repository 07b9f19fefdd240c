//! The SQLite store passes the suite that every store passes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;

use safeconduct_store_sqlite::SqliteStore;
use safeconduct_testkit::{TestEntropy, conformance};

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_store_conforms() {
    conformance::store_conformance(async || {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("store.db"), Arc::new(TestEntropy::seeded(1))).unwrap();
        conformance::Fresh::store(store, directory)
    })
    .await;
}
