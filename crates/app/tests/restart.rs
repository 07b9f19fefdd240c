//! Starting again: after an orderly stop, after a crash, and with a store that fails at any append.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use safeconduct_app::{
    DoorSession, Write,
    ports::{Recorder, Store, What},
};
use safeconduct_lifecycle::{Event, SessionEvent, StreamId};
use safeconduct_model::{GrantId, Operation, SessionId, SqlAction};
use safeconduct_testkit::{ttl, words};

const READ: &[Operation] = &[Operation::Read];
const UPDATE: &str = "update orders set total = 1 where id = 1";

fn sql() -> SqlAction {
    SqlAction { database: "orders".to_owned(), ..safeconduct_testkit::sql(UPDATE) }
}

#[tokio::test]
async fn what_is_open_survives_and_what_was_held_does_not() {
    for down in [10, 20 * 60] {
        let house = House::new().await;
        let grant = house.grant("alice", READ, 1800).await;
        let session = house.open("alice").await;
        let id = session.id().clone();
        let (pending, approved) = (session.place_hold(sql(), false).await.unwrap(), session.place_hold(sql(), false).await.unwrap());
        house.approve("bob", &house.see(&approved.request).await).await.unwrap();
        let intent = What::Intent {
            statement: 1,
            text: UPDATE.to_owned(),
            names: Vec::new(),
            parameters: Vec::new(),
            operations: "write".to_owned(),
            grant: grant.clone(),
            claimed: None,
        };
        session.record(vec![intent], Write::Synced).await.unwrap();
        // The process dies: nobody closes anything.
        std::mem::forget(session);
        house.clock.advance(Duration::from_secs(down));
        let house = house.crash().await;
        assert_eq!(house.state(&grant.access_request()).await.name(), "active");
        let (pending, approved) = (house.state(&pending.request).await, house.state(&approved.request).await);
        assert_eq!((pending.name(), approved.name()), if down > 900 { ("lapsed", "expired") } else { ("withdrawn", "revoked") });
        assert_eq!(house.kinds(StreamId::Session(id)).await.last().unwrap(), "session_closed");
        assert!(house.kinds(StreamId::Node).await.contains(&"crash_found".to_owned()));
        house.open("alice").await.close("done").await;
        assert_eq!(house.app.status().await.live_sessions, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_is_recorded_and_ends_sessions() {
    let house = House::new().await;
    house.grant("alice", READ, 1800).await;
    let session = house.open("alice").await;
    let mut standing = session.standing();
    let serving = tokio::spawn(async move {
        standing.wait_for(|standing| standing.end.is_some()).await.unwrap();
        session.close("stopping").await;
    });
    house.app.shutdown().await;
    serving.await.unwrap();
    assert_eq!(house.kinds(StreamId::Node).await.last().unwrap(), "node_stopped");
    let house = house.crash().await;
    assert!(!house.kinds(StreamId::Node).await.contains(&"crash_found".to_owned()));
    assert!(house.app.checkpoint().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn f22_f48_a_store_that_fails_at_any_append_leaves_nothing_half_done() {
    for appends in 0..12 {
        let house = House::new().await;
        let pending = house.window("erin", &[Operation::Write], 600).await.unwrap();
        house.store.full_after(appends);
        let alice = house.caller("alice");
        let asked = house.window("alice", READ, 600).await;
        let opened = house.try_open("alice").await;
        let approved = house.approve("bob", &pending).await;
        let exact = house.exact("alice", UPDATE).await;
        if let Ok(exact) = &exact {
            let ready = house.approve("bob", exact).await;
            let id = &exact.access.envelope.access_request;
            let ran = tokio::time::timeout(Duration::from_secs(5), house.app.execute(&alice, id, &mut Results::default())).await;
            let ran_it = !house.executor.runs.lock().is_empty();
            assert!(!ran_it || ready.is_ok(), "nothing runs that was not approved");
            assert!(!matches!(ran, Ok(Ok(_))) || ran_it);
        }
        if asked.is_err() {
            assert!(opened.is_err());
        }
        assert_eq!(house.app.status().await.live_grants, usize::from(asked.is_ok()) + usize::from(approved.is_ok()));
        let grants = house.app.status().await.live_grants;
        house.store.full_after(u64::MAX);
        if let Ok(session) = opened {
            session.close("done").await;
        }
        let events = house.events().await;
        let house = house.crash().await;
        assert!(house.events().await >= events);
        assert_eq!(house.app.status().await.live_grants, grants, "the store has what the gateway said, {appends}");
    }
}

#[tokio::test]
async fn a_first_person_with_a_bad_password_leaves_the_house_empty() {
    let house = House::empty().await;
    let mut ann = person("ann", &["administrators"]);
    ann.password = Some("short".to_owned().into());
    assert_eq!(house.app.operator_people(vec![ann]).await.unwrap_err().code, "SIGN-004");
    house.app.operator_people(vec![person("ann", &["administrators"])]).await.unwrap();
}

#[tokio::test]
async fn the_ledger_says_everything_that_happened_in_order() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    house.app.extend(&house.caller("alice"), &grant, ttl(60), words("more")).await.unwrap();
    house.advance(660).await;
    let stored = house.app.ledger_tail(&house.caller("carol"), Some(0), 1000).await.unwrap();
    for (place, stored) in (0_u64..).zip(&stored) {
        assert_eq!(stored.index, place);
    }
    assert!(stored.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let kinds = house.kinds(StreamId::Access(grant.access_request())).await;
    assert_eq!(kinds, ["access_request_submitted", "grant_given", "grant_activated", "grant_extended", "grant_expired", "grant_ended"]);
}

fn intent(statement: u64, grant: &GrantId) -> What {
    What::Intent {
        statement,
        text: UPDATE.to_owned(),
        names: Vec::new(),
        parameters: Vec::new(),
        operations: "write".to_owned(),
        grant: grant.clone(),
        claimed: None,
    }
}

fn outcome(statement: u64) -> What {
    What::Outcome { statement, command: None, rows: None, sqlstate: None, message: None, duration_micros: 1 }
}

/// Alice's session with one statement that has ended and, unless `ended`, one that has not.
async fn recorded(house: &House, ended: bool) -> (DoorSession, SessionId) {
    let grant = house.grant("alice", READ, 1800).await;
    let session = house.open("alice").await;
    session.record(vec![intent(1, &grant), outcome(1)], Write::Now).await.unwrap();
    if !ended {
        session.record(vec![intent(2, &grant)], Write::Synced).await.unwrap();
    }
    let id = session.id().clone();
    (session, id)
}

/// Everything the ledger says about a session.
async fn said(house: &House, id: &SessionId) -> Vec<SessionEvent> {
    let stored = house.store.load(StreamId::Session(id.clone())).await.unwrap();
    stored.into_iter().filter_map(|s| if let Some(Event::Session(event)) = s.event { Some(event) } else { None }).collect()
}

#[tokio::test]
async fn f48_a_journal_left_open_by_a_crash_is_entered_once_with_what_is_not_known() {
    let house = House::new().await;
    let (session, id) = recorded(&house, false).await;
    std::mem::forget(session);
    let house = house.crash().await;
    let told = said(&house, &id).await;
    let [
        SessionEvent::Opened { .. },
        SessionEvent::ChunkSealed { chunk, .. },
        SessionEvent::RecordingLost { why, .. },
        SessionEvent::Closed { .. },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(chunk.recovered && chunk.records == 4, "{chunk:?}");
    assert_eq!(house.recorder.chunk_digest(&id, chunk.number).await.unwrap(), Some(chunk.digest));
    assert_eq!(why, "statements without a known outcome: 2");
    let house = house.crash().await;
    assert_eq!(said(&house, &id).await, told, "said once");
    assert!(house.recorder.recover().await.unwrap().is_empty());
}

#[tokio::test]
async fn f48_a_second_crash_before_the_ledger_has_it_loses_nothing() {
    let house = House::new().await;
    let (session, id) = recorded(&house, false).await;
    std::mem::forget(session);
    house.store.set_full(true);
    assert!(house.try_start().await.is_err());
    house.store.set_full(false);
    let house = house.crash().await;
    let kinds = house.kinds(StreamId::Session(id)).await;
    assert_eq!(kinds, ["session_opened", "chunk_sealed", "recording_lost", "session_closed"]);
}

#[tokio::test(start_paused = true)]
async fn f48_a_crash_between_the_close_and_its_entry_loses_nothing() {
    let house = House::new().await;
    let (session, id) = recorded(&house, true).await;
    house.store.set_full(true);
    let closing = tokio::spawn(async move { session.close("done").await });
    // Sealed, and the ledger can't take it.
    until(async || house.recorder.chunk_digest(&id, 1).await.unwrap().is_some()).await;
    closing.abort();
    assert!(closing.await.is_err());
    house.store.set_full(false);
    let house = house.crash().await;
    let told = said(&house, &id).await;
    let [SessionEvent::Opened { .. }, SessionEvent::ChunkSealed { chunk, .. }, SessionEvent::Closed { .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(!chunk.recovered, "it was closed in order");
    assert!(house.recorder.recover().await.unwrap().is_empty());
}

#[tokio::test]
async fn f48_a_recording_whose_session_was_never_recorded_is_reported_once() {
    let house = House::new().await;
    house.grant("alice", READ, 1800).await;
    let secret = house.app.connect(&house.caller("alice"), &safeconduct_testkit::parsed("orders-db"), None).await.unwrap();
    house.store.set_full(true);
    let lookup = house.app.door_lookup(secret.user.as_str(), &secret.dbname);
    assert!(house.app.door_open(lookup, 0, peer()).await.is_err());
    house.store.set_full(false);
    let mut house = house;
    for _ in 0..2 {
        house = house.crash().await;
        let kinds = house.kinds(StreamId::Node).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "recording_without_session").count(), 1, "{kinds:?}");
    }
}

#[tokio::test]
async fn an_erased_body_of_something_open_does_not_stop_the_gateway() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 1800).await;
    let stored = house.store.load(StreamId::Access(grant.access_request())).await.unwrap();
    let index = stored.iter().find(|s| s.event.as_ref().is_some_and(|event| event.kind() == "grant_given")).unwrap().index;
    assert!(house.store.erase_body(index).await.unwrap());
    let house = house.crash().await;
    // No right follows from what can't be read.
    assert_eq!(house.app.status().await.live_grants, 0);
    house.grant("alice", READ, 600).await;
}
