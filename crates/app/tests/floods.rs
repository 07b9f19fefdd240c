//! Floods: what strangers and refused askers do over and over is counted, and the ledger grows by a bounded amount.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_app::ports::Store;
use safeconduct_lifecycle::{Event, LeftOut, NodeEvent, StreamId};
use safeconduct_model::{Change, Operation};
use safeconduct_testkit::parsed;
use zeroize::Zeroizing;

/// No password is this long: it is refused without the work of a hash.
fn too_long() -> Zeroizing<String> {
    Zeroizing::new("x".repeat(2000))
}

async fn fails(house: &House, name: &str, source: &str, times: u32) {
    for _ in 0..times {
        assert_eq!(house.app.sign_in(name, too_long(), source).await.unwrap_err().code, "SIGN-001");
    }
}

async fn recorded(house: &House) -> usize {
    house.kinds(StreamId::SignIns).await.iter().filter(|kind| *kind == "sign_in_failed").count()
}

async fn left_out(house: &House) -> Vec<(LeftOut, u64)> {
    let stored = house.store.load(StreamId::Node).await.unwrap();
    let events = stored.into_iter().filter_map(|s| s.event);
    events
        .filter_map(|e| if let Event::Node(NodeEvent::RecordsLeftOut { what, count, .. }) = e { Some((what, count)) } else { None })
        .collect()
}

#[tokio::test]
async fn f28_failed_sign_ins_beyond_a_bound_are_counted_and_not_listed() {
    let house = House::new().await;
    fails(&house, "nobody", "192.0.2.1", 50).await;
    assert_eq!(recorded(&house).await, 30, "of one source");
    for n in 0..50 {
        fails(&house, "alice", &format!("192.0.2.{}", 100 + n), 1).await;
    }
    assert_eq!(recorded(&house).await, 60, "of one name");
    for n in 0..100 {
        fails(&house, "nobody", &format!("198.51.100.{n}"), 4).await;
    }
    assert_eq!(recorded(&house).await, 300, "of everybody");
    assert!(left_out(&house).await.is_empty());
    house.advance(60).await;
    assert_eq!(left_out(&house).await, [(LeftOut::FailedSignIns, 200)]);
    fails(&house, "nobody", "192.0.2.1", 1).await;
    assert_eq!(recorded(&house).await, 301, "a new minute");
    house.advance(120).await;
    assert_eq!(left_out(&house).await.len(), 1, "nothing more was left out");
}

#[tokio::test]
async fn f48_what_was_left_out_is_told_when_the_store_can_take_it() {
    let house = House::new().await;
    fails(&house, "nobody", "192.0.2.1", 35).await;
    house.store.set_full(true);
    house.clock.advance(std::time::Duration::from_secs(60));
    assert!(house.app.tick().await.is_err());
    house.store.set_full(false);
    house.app.tick().await.unwrap();
    assert_eq!(left_out(&house).await, [(LeftOut::FailedSignIns, 5)]);
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_tells_what_was_left_out() {
    let house = House::new().await;
    fails(&house, "nobody", "192.0.2.1", 31).await;
    house.app.shutdown().await;
    assert_eq!(left_out(&house).await, [(LeftOut::FailedSignIns, 1)]);
    assert_eq!(house.kinds(StreamId::Node).await.last().unwrap(), "node_stopped");
}

#[tokio::test]
async fn f28_sign_ins_that_would_wait_too_long_are_sent_away_at_once() {
    let house = House::new().await;
    let attempts: Vec<_> = (0..100)
        .map(|_| {
            let app = house.app.clone();
            tokio::spawn(async move { app.sign_in("alice", Zeroizing::new("a wrong password".to_owned()), "192.0.2.1").await })
        })
        .collect();
    let mut codes = std::collections::BTreeMap::new();
    for attempt in attempts {
        *codes.entry(attempt.await.unwrap().unwrap_err().code).or_insert(0) += 1;
    }
    assert_eq!(codes.keys().copied().collect::<Vec<_>>(), ["SIGN-001", "SIGN-005"], "{codes:?}");
    assert!(codes["SIGN-001"] >= 34, "those who had a place were answered: {codes:?}");
    assert_eq!(house.app.sign_in("alice", too_long(), "192.0.2.1").await.unwrap_err().code, "SIGN-001", "and it goes on");
}

#[tokio::test]
async fn f28_denied_asks_beyond_a_bound_are_counted_and_not_listed() {
    let house = House::new().await;
    let before = house.events().await;
    for _ in 0..75 {
        assert_eq!(house.window("alice", &[Operation::Ddl], 600).await.unwrap_err().code, "REQ-002", "the answer stays the same");
    }
    assert_eq!(house.events().await - before, 2 * 60, "asked and denied");
    assert_eq!(house.window("erin", &[Operation::Ddl], 600).await.unwrap_err().code, "REQ-002");
    assert_eq!(house.events().await - before, 2 * 61, "others are recorded as ever");
    house.grant("alice", &[Operation::Read], 60).await;
    house.advance(3600).await;
    assert_eq!(left_out(&house).await, [(LeftOut::DeniedAsks { principal: parsed("alice") }, 15)]);
    assert!(house.window("alice", &[Operation::Ddl], 600).await.is_err());
    house.advance(3600).await;
    assert_eq!(left_out(&house).await.len(), 1);
}

#[tokio::test]
async fn f28_a_principal_has_a_bounded_number_of_grants_that_nobody_approved() {
    let house = House::new().await;
    let mut last = None;
    for _ in 0..100 {
        last = Some(house.grant("alice", &[Operation::Read], 600).await);
    }
    let events = house.events().await;
    let refused = house.window("alice", &[Operation::Read], 600).await.unwrap_err();
    assert_eq!((refused.code, house.events().await), ("REQ-005", events));
    house.grant("erin", &[Operation::Read], 600).await;
    house.grant("alice", &[Operation::Write], 600).await;
    house.app.release(&house.caller("alice"), &last.unwrap()).await.unwrap();
    house.grant("alice", &[Operation::Read], 600).await;
    assert_eq!(house.window("alice", &[Operation::Read], 600).await.unwrap_err().code, "REQ-005");
    house.advance(600).await;
    house.grant("alice", &[Operation::Read], 600).await;
    // Changes that administrators make alone are over at once and never reach the bound.
    house.changed(Change::Disable { name: parsed("alice") }).await;
}
