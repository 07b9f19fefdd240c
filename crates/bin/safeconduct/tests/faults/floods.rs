//! Very many at once: grants that end in the same moment.

use std::{sync::Arc, time::Instant};

use safeconduct_app::ports::{AccessRow, Append, Row, Store as _};
use safeconduct_lifecycle::{AccessEvent, Event, Start, StreamId};
use safeconduct_model::{AccessRequestId, Decision, Digest, Envelope, Obligations, Outcome, Timestamp};
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_system::{SystemClock, SystemEntropy};
use safeconduct_testkit::{PostgresServer, envelope, parsed};

use crate::{
    api::state,
    node::{Node, RESOURCE, TABLES},
};

const GRANTS: u64 = 15_000;
const HOLDERS: [&str; 5] = ["alice", "erin", "frank", "rita", "wendy"];

/// Writes grants into the store of a node that does not run; all of them end `after` seconds from now, within three seconds.
async fn granted(node: &Node, after: i64) {
    let store = SqliteStore::open(node.data.join("safeconduct.db"), Arc::new(SystemEntropy)).unwrap();
    let now = safeconduct_app::ports::Clock::now(&SystemClock);
    let ids: Vec<u64> = (1..=GRANTS).collect();
    for part in ids.chunks(1_000) {
        let appends = part.iter().map(|n| grant(*n, now, now.plus_seconds(after + i64::try_from(n % 3).unwrap()))).collect();
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
async fn f08_15000_grants_that_end_together_leave_the_node_answering() {
    let server = PostgresServer::start_with(TABLES);
    let mut node = Node::furnished(&server, &[server.port]).await;
    granted(&node, 15).await;
    let took = node.start();
    let (alice, carol) = (node.api("alice"), node.api("carol"));
    let live = async || carol.get("/status").await.unwrap()["live_grants"].as_u64().unwrap();
    let before = live().await;
    // Somebody asks, gets and gives back while they end.
    let (mut answered, mut slowest) = (0, std::time::Duration::ZERO);
    let began = Instant::now();
    while live().await > 0 || answered < 5 {
        let asking = Instant::now();
        let asked = alice.window(&["read"], "while many end").await.unwrap();
        assert_eq!(state(&asked), "active");
        alice.post(&format!("/grants/{}/release", asked["grant"].as_str().unwrap()), serde_json::json!({})).await.unwrap();
        slowest = slowest.max(asking.elapsed());
        answered += 1;
    }
    eprintln!(
        "start {took:?}, {before} live at first, all ended after {:?}; {answered} pairs of writes meanwhile, the slowest {slowest:?}",
        began.elapsed()
    );
    for n in [1, GRANTS / 2, GRANTS] {
        let view = carol.show(AccessRequestId::from_bits(n).as_str()).await.unwrap();
        assert_eq!((state(&view), view["ended"].as_bool()), ("expired", Some(true)), "{view}");
    }
}
