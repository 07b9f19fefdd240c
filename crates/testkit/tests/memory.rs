//! The in-memory ports pass the suites that real ones pass.

use safeconduct_testkit::{MemoryStore, conformance};

#[tokio::test]
async fn the_store_in_memory_conforms() {
    conformance::store_conformance(async || conformance::Fresh::store(MemoryStore::new(), ())).await;
}
