//! A whole company comes at once: what a change costs does not grow with the number of people.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on stops; figures are for whoever measures"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use safeconduct_store_sqlite::SqliteStore;
use safeconduct_testkit::TestEntropy;
use serde_json::{Value, json};
use support::{World, provisioner};

/// `SAFECONDUCT_SCIM_PEOPLE` people; a thousand for every day. A source looks for each before it makes them, as they do.
#[tokio::test]
async fn a_company_is_imported_without_getting_slower() {
    let people: usize = std::env::var("SAFECONDUCT_SCIM_PEOPLE").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db"), Arc::new(TestEntropy::seeded(3))).unwrap();
    let world = World::on(Arc::new(store), provisioner()).await;
    let alice = world.sign_in("alice").await;
    // Something is open that changes to people could matter to.
    for n in 0..15 {
        let what = json!({ "kind": "sql", "text": format!("update orders set note = 'x' where id = {n}") });
        let body = json!({ "resource": "orders-db", "what": what, "reason": format!("order {n}"), "duration": "15m" });
        let asked = world.call_with("POST", "/api/v1/access-requests", Some(&alice), Some(body), &[]).await;
        assert_eq!(asked.is(201)["state"], "pending");
    }
    let began = Instant::now();
    let quarter = (people / 4).max(1);
    let mut quarters = Vec::new();
    for n in 0..people {
        let at = Instant::now();
        let found = world.call("GET", &format!("/Users?filter=userName%20eq%20%22p{n}@example.com%22"), None).await.is(200);
        assert_eq!(found["totalResults"], 0);
        world.create(&format!("p{n}@example.com")).await;
        if n % quarter == 0 {
            quarters.push(Duration::ZERO);
        }
        *quarters.last_mut().unwrap() += at.elapsed();
    }
    let made = began.elapsed();
    for from in (0..people).step_by(100) {
        let members: Vec<Value> = (from..people.min(from + 100)).map(|n| json!({ "value": format!("p{n}") })).collect();
        let add = json!([{ "op": "add", "path": "members", "value": members }]);
        world.patch("/Groups/engineers?excludedAttributes=members", add).await.is(200);
    }
    let joined = began.elapsed() - made;
    let group = world.call("GET", "/Groups/engineers", None).await.is(200);
    assert_eq!(group["members"].as_array().unwrap().len(), people);
    let asks = Instant::now();
    world.ask(&alice, "orders-db", &["write"]).await;
    let asked = asks.elapsed();
    let off = Instant::now();
    world.patch("/Users/p0", json!([{ "op": "replace", "path": "active", "value": false }])).await.is(200);
    eprintln!(
        "{people} people: made in {made:?}, by quarters {quarters:?}; joined a group, 100 at a time, in {joined:?}; \
         an asking then takes {asked:?}, disabling somebody {:?}",
        off.elapsed()
    );
    // Noise of a busy machine is no growth: quadratic would be seven times.
    let (first, last) = (quarters[0], quarters[3]);
    assert!(last < first * 4 + Duration::from_secs(1), "{quarters:?}");
}
