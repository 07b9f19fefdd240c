//! Very many at once: grants that end in the same moment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use safeconduct_app::ports::{AccessRow, Append, Row, Store as _};
use safeconduct_lifecycle::{AccessEvent, Event, Start, StreamId};
use safeconduct_model::{AccessRequestId, Decision, Digest, Envelope, Obligations, Outcome, Timestamp};
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_system::{SystemClock, SystemEntropy};
use safeconduct_testkit::{PostgresServer, envelope, parsed};

use crate::{
    api::state,
    clock::Wall,
    node::{Node, RESOURCE, TABLES},
};

/// How many, unless `GRANTS` says so. In the application alone 15,000 end together in every test run; a binary that is not optimized takes
/// a minute to load as many.
const USUAL: u64 = 3_000;
const HOLDERS: [&str; 5] = ["alice", "erin", "frank", "rita", "wendy"];

/// Writes grants of an hour into the store of a node that does not run: all of them end within one minute.
async fn granted(node: &Node, many: u64) {
    let store = SqliteStore::open(node.data.join("safeconduct.db"), Arc::new(SystemEntropy)).unwrap();
    let now = safeconduct_app::ports::Clock::now(&SystemClock);
    let ids: Vec<u64> = (1..=many).collect();
    for part in ids.chunks(1_000) {
        let appends = part.iter().map(|n| grant(*n, now, now.plus_seconds(3600 + i64::try_from(n % 60).unwrap()))).collect();
        store.append(appends, now).await.unwrap();
    }
}

fn grant(n: u64, at: Timestamp, until: Timestamp) -> Append {
    let id = AccessRequestId::from_bits(n);
    let holder = HOLDERS[usize::try_from(n).unwrap() % HOLDERS.len()];
    let decision =
        Decision { outcome: Outcome::Allow, reasons: Vec::new(), obligations: Obligations::default(), policy: Digest::of_bytes(b"policy") };
    let envelope = Envelope { asked_at: at, ..envelope(id.clone(), parsed(holder), parsed(RESOURCE)) };
    let row = AccessRow {
        id: id.clone(),
        requester: parsed(holder),
        resource: parsed(RESOURCE),
        state: "active".to_owned(),
        exact: false,
        asked_at: at,
        open: true,
    };
    let events = [
        AccessEvent::Submitted { envelope, decision: decision.clone() },
        AccessEvent::Granted { at, grant: id.grant(), decision, start: Start::Now },
        AccessEvent::Activated { at, until },
    ];
    Append { stream: StreamId::Access(id), expected: 0, events: events.map(Event::from).into(), row: Some(Row::Access(row)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn f08_very_many_grants_that_end_together_leave_the_node_answering() {
    let many = std::env::var("GRANTS").map_or(USUAL, |many| many.parse().unwrap());
    let server = PostgresServer::start_with(TABLES);
    let mut node = Node::furnished(&server, &[server.port]).await;
    granted(&node, many).await;
    let wall = Wall::cached_of(&mut node);
    let took = node.start();
    let (oscar, carol) = (node.api("oscar"), node.api("carol"));
    let live = async || carol.get("/status").await.unwrap()["live_grants"].as_u64().unwrap();
    assert_eq!(live().await, many);
    // Somebody asks, gets and gives back before they end, and while they do.
    let pair = async || {
        let asking = Instant::now();
        let asked = oscar.window(&["read"], "while many end").await.unwrap();
        assert_eq!(state(&asked), "active");
        let release = format!("/grants/{}/release", asked["grant"].as_str().unwrap());
        match oscar.post(&release, serde_json::json!({})).await {
            Ok(_) => {}
            // The clock was moved in between.
            Err(failed) => assert!(["REQ-009", "GRANT-003"].contains(&failed.code()), "{failed:?}"),
        }
        asking.elapsed()
    };
    let mut before = Duration::MAX;
    for _ in 0..5 {
        before = before.min(pair().await);
    }
    let (mut answered, mut slowest, began) = (0, Duration::ZERO, Instant::now());
    // Past all of them, and not past what sign-ins may be idle.
    wall.set("+90m");
    // Until none is open: expired, and then ended.
    while carol.get("/grants?all=true&limit=1").await.unwrap() != serde_json::json!([]) {
        slowest = slowest.max(pair().await);
        answered += 1;
    }
    eprintln!(
        "{many} open: started in {took:?}, a pair of writes in {before:?}; all ended in {:?}, {answered} pairs meanwhile, the slowest {slowest:?}",
        began.elapsed()
    );
    assert!(answered > 1, "nobody was answered while they ended");
    for n in [1, many / 2, many] {
        let view = carol.show(AccessRequestId::from_bits(n).as_str()).await.unwrap();
        assert_eq!(state(&view), "expired");
    }
}
