//! The in-memory ports pass the suites that real ones pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use safeconduct_testkit::{MemoryRecorder, MemoryStore, conformance};

#[tokio::test]
async fn the_store_in_memory_conforms() {
    conformance::store_conformance(async || conformance::Fresh::store(MemoryStore::new(), ())).await;
}

#[tokio::test]
async fn the_recorder_in_memory_conforms() {
    let make = async || {
        let recorder = MemoryRecorder::new();
        conformance::Fresh::recorder(recorder.clone(), recorder)
    };
    let restart = async |fresh: conformance::Fresh<_>| {
        let recorder = *fresh.guard.downcast::<MemoryRecorder>().unwrap();
        conformance::Fresh::recorder(recorder.clone(), recorder)
    };
    conformance::recorder_conformance(make, restart).await;
}
