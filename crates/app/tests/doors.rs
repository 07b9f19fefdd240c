//! The door: sessions, holds and recordings, asked as an attacker would.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_app::{
    AskedFor, Charge, HoldOutcome, NewAccessRequest, StatementAsk, Verdict, Write,
    ports::{Recorder, What},
};
use safeconduct_lifecycle::{AccessState, ExactOutcome, StreamId, Withdrawal};
use safeconduct_model::{AccessRequestId, Change, Narrowing, Operation, SqlAction};
use safeconduct_testkit::{parsed, words};

const READ: &[Operation] = &[Operation::Read];
const UPDATE: &str = "update orders set total = 1 where id = 1";

fn sql(text: &str) -> SqlAction {
    SqlAction { database: "orders".to_owned(), ..safeconduct_testkit::sql(text) }
}

async fn approve(house: &House, id: &AccessRequestId) {
    let view = house.see(id).await;
    house.approve("bob", &view).await.unwrap();
}

fn intent() -> What {
    What::Intent {
        statement: 1,
        text: "select 1".to_owned(),
        names: Vec::new(),
        parameters: Vec::new(),
        operations: "read".to_owned(),
        grant: parsed("gr-000000000000"),
        claimed: None,
    }
}

#[tokio::test]
async fn a_held_statement_passes_once_and_for_its_session_alone() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let (session, other) = (house.open("alice").await, house.open("alice").await);
    assert!(matches!(authorize(&session, UPDATE), Verdict::Hold));
    let hold = session.place_hold(sql(UPDATE), false).await.unwrap();
    assert!(session.claim(&hold.request).await.is_err(), "not approved yet");
    approve(&house, &hold.request).await;
    assert_eq!(hold.outcome.await.unwrap(), HoldOutcome::Approved);
    assert!(other.claim(&hold.request).await.is_err(), "another session's");
    assert_eq!(house.app.execute(&house.caller("alice"), &hold.request, &mut Results::default()).await.unwrap_err().code, "RUN-002");
    let permit = session.claim(&hold.request).await.unwrap();
    assert_eq!((permit.claimed(), permit.session(), permit.sync_first()), (Some(&hold.request), session.id(), true));
    assert!(session.claim(&hold.request).await.is_err(), "twice");
    assert!(matches!(authorize(&session, UPDATE), Verdict::Hold), "the same text again is a new action");
    session.settle(&hold.request, ExactOutcome::Unknown { why: "test".to_owned() }).await;
    assert_eq!(house.state(&hold.request).await.name(), "settled");
}

#[tokio::test]
async fn a_hold_that_is_denied_lapses_or_is_withdrawn_lets_nothing_through() {
    let house = House::new().await;
    house.grant("alice", READ, 1800).await;
    let session = house.open("alice").await;
    let denied = session.place_hold(sql(UPDATE), false).await.unwrap();
    house.app.deny(&house.caller("bob"), &denied.request, words("no"), None).await.unwrap();
    assert!(matches!(denied.outcome.await.unwrap(), HoldOutcome::Ended(refusal) if refusal.message.contains("denied by bob")));
    assert!(session.claim(&denied.request).await.is_err());
    let lapsed = session.place_hold(sql(UPDATE), true).await.unwrap();
    house.advance(60).await;
    assert!(matches!(lapsed.outcome.await.unwrap(), HoldOutcome::Ended(_)));
    assert!(session.claim(&lapsed.request).await.is_err());
    // Withdrawn after it was approved: the approval is void.
    let late = session.place_hold(sql(UPDATE), false).await.unwrap();
    approve(&house, &late.request).await;
    session.withdraw(&late.request, Withdrawal::HoldTimedOut).await;
    assert_eq!(house.state(&late.request).await.name(), "revoked");
    assert!(session.claim(&late.request).await.is_err());
    // Withdrawn, then approved.
    let gone = session.place_hold(sql(UPDATE), false).await.unwrap();
    let view = house.see(&gone.request).await;
    session.withdraw(&gone.request, Withdrawal::Interrupted).await;
    assert!(house.approve("bob", &view).await.is_err());
}

#[tokio::test]
async fn a_session_that_is_gone_or_must_go_takes_nothing_up() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    let id = session.id().clone();
    let (pending, approved) = (
        session.place_hold(sql(UPDATE), false).await.unwrap(),
        session.place_hold(sql("delete from orders where id = 1"), false).await.unwrap(),
    );
    approve(&house, &approved.request).await;
    house.app.kill(&house.caller("ann"), &id, words("enough")).await.unwrap();
    assert!(session.claim(&approved.request).await.is_err());
    assert!(session.place_hold(sql(UPDATE), false).await.is_err());
    session.close("killed").await;
    assert_eq!(house.state(&pending.request).await.name(), "withdrawn");
    assert_eq!(house.state(&approved.request).await.name(), "revoked");
    assert!(matches!(house.state(&grant.access_request()).await, AccessState::Active { .. }), "the grant stays");
    assert_eq!(house.kinds(StreamId::Session(id)).await.last().unwrap(), "session_closed");
}

#[tokio::test]
async fn f03_a_held_statement_that_runs_is_cut_when_it_is_revoked() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    let hold = session.place_hold(sql(UPDATE), false).await.unwrap();
    approve(&house, &hold.request).await;
    let _ = session.claim(&hold.request).await.unwrap();
    house.app.revoke(&house.caller("ann"), &hold.request.grant(), words("stop")).await.unwrap();
    assert!(ended(&session).unwrap().contains("revoked by ann: stop"));
}

#[tokio::test]
async fn a_claimed_statement_whose_session_is_lost_has_an_unknown_outcome() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    let hold = session.place_hold(sql(UPDATE), false).await.unwrap();
    approve(&house, &hold.request).await;
    let _ = session.claim(&hold.request).await.unwrap();
    drop(session);
    until(async || house.state(&hold.request).await.name() != "claimed").await;
    let state = house.state(&hold.request).await;
    assert!(matches!(state, AccessState::Settled { outcome: ExactOutcome::Unknown { .. }, .. }), "{state:?}");
}

#[tokio::test]
async fn a_dropped_session_is_closed_and_its_holds_are_withdrawn() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    let id = session.id().clone();
    let hold = session.place_hold(sql(UPDATE), false).await.unwrap();
    drop(session);
    until(async || house.kinds(StreamId::Session(id.clone())).await.last().unwrap() == "session_closed").await;
    assert_eq!(house.state(&hold.request).await.name(), "withdrawn");
    assert_eq!(
        house.kinds(StreamId::Session(id)).await,
        ["session_opened", "recording_chunk_sealed", "session_closed"]
            .map(|kind| { if kind == "recording_chunk_sealed" { "chunk_sealed".to_owned() } else { kind.to_owned() } })
    );
}

#[tokio::test]
async fn f48_without_a_recording_no_session_opens_and_nothing_is_forwarded() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    house.recorder.set_broken(true);
    assert!(house.try_open("alice").await.is_err());
    house.recorder.set_broken(false);
    let session = house.open("alice").await;
    let id = session.id().clone();
    session.record(vec![intent()], Write::Now).await.unwrap();
    house.recorder.set_broken(true);
    assert!(session.record(vec![intent()], Write::Synced).await.is_err());
    house.recorder.set_broken(false);
    assert!(session.record(vec![intent()], Write::Now).await.is_err(), "a session with a gap in its recording forwards nothing more");
    session.close("recording").await;
    let kinds = house.kinds(StreamId::Session(id.clone())).await;
    assert!(kinds.contains(&"recording_lost".to_owned()), "{kinds:?}");
    assert!(!house.recorder.read(&id, 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn f48_without_a_store_no_session_opens_and_no_statement_is_held() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    let approved = session.place_hold(sql(UPDATE), false).await.unwrap();
    approve(&house, &approved.request).await;
    house.store.set_full(true);
    assert!(house.try_open("alice").await.is_err());
    assert_eq!(session.place_hold(sql(UPDATE), false).await.unwrap_err().sqlstate, "58000");
    assert_eq!(session.claim(&approved.request).await.unwrap_err().sqlstate, "58000");
    house.store.set_full(false);
    let _ = session.claim(&approved.request).await.unwrap();
}

#[tokio::test]
async fn narrowing_holds_whatever_schema_a_name_may_mean() {
    let house = House::new().await;
    house.apply(bundle_with(&RESOURCE.replace("[\"public\"]", "[\"sales\", \"public\"]"), POLICY)).await;
    let narrow = Narrowing { schemas: ["sales".to_owned()].into(), ..Narrowing::default() };
    let what = AskedFor::Window { operations: READ.iter().copied().collect(), narrow };
    house.app.ask(&house.caller("alice"), NewAccessRequest { what, ..window(READ, 600) }).await.unwrap();
    let session = house.open("alice").await;
    let _ = permitted(&session, "select * from sales.orders");
    let _ = permitted(&session, "select * from pg_catalog.pg_class");
    for outside in [
        "select * from public.orders",
        "select * from orders",
        "select * from \"sales.orders\"",
        "select * from sales.orders, public.orders",
        "select * from pg_stat_activity",
        "select * from pg_catalog.pg_stats",
        "select * from pg_catalog.pg_largeobject",
        "with o as (select * from public.orders) select * from o",
        "select * from sales.orders where id in (select id from public.orders)",
        "not sql",
    ] {
        assert!(!matches!(authorize(&session, outside), Verdict::Permit(_)), "{outside}");
    }
}

#[tokio::test]
async fn a_transaction_is_covered_only_by_a_grant_that_reaches_as_far() {
    let house = House::new().await;
    let narrowed = |schema: &str| {
        let narrow = Narrowing { schemas: [schema.to_owned()].into(), ..Narrowing::default() };
        NewAccessRequest { what: AskedFor::Window { operations: READ.iter().copied().collect(), narrow }, ..window(READ, 600) }
    };
    let alice = house.caller("alice");
    let first = house.app.ask(&alice, narrowed("sales")).await.unwrap().access.grant();
    house.app.ask(&alice, narrowed("public")).await.unwrap();
    let session = house.open("alice").await;
    let (grant, operations) = (permitted(&session, "select * from sales.orders"), READ.iter().copied().collect());
    let charge = Charge { grant: &grant, operations: &operations };
    assert_eq!(*charge.grant, first);
    assert!(session.still_covered([charge]));
    house.app.release(&alice, &first).await.unwrap();
    assert!(!session.still_covered([charge]));
    house.grant("alice", READ, 300).await;
    assert!(session.still_covered([charge]));
}

#[tokio::test]
async fn a_permit_names_its_grant_and_how_it_must_be_recorded() {
    let house = House::new().await;
    let read = house.grant("alice", READ, 900).await;
    let write = house.grant("alice", &[Operation::Write], 600).await;
    let session = house.open("alice").await;
    let (reading, writing) = (permit(&session, "select 1 from orders"), permit(&session, UPDATE));
    assert_eq!((reading.grant(), reading.sync_first(), reading.claimed()), (&read, false, None));
    assert_eq!((writing.grant(), writing.sync_first()), (&write, true));
    let facts = session.facts("delete from orders; drop table orders");
    assert!(!matches!(session.authorize(&StatementAsk { facts: &facts, can_hold: true, in_transaction: false }), Verdict::Permit(_)));
    let facts = session.facts("alter table orders add note text");
    let cannot = session.authorize(&StatementAsk { facts: &facts, can_hold: false, in_transaction: true });
    assert!(matches!(cannot, Verdict::Refuse(refusal) if refusal.hint.is_some()));
}

#[tokio::test]
async fn door_secrets_go_with_the_last_grant_the_sign_in_and_the_person() {
    let house = House::new().await;
    let alice = house.caller("alice");
    let resource = parsed("orders-db");
    let open = |secret: safeconduct_app::DoorSecret| house.app.door_lookup(secret.user.as_str(), &secret.dbname);
    let grant = house.grant("alice", READ, 600).await;
    let proved = open(house.app.connect(&alice, &resource, None).await.unwrap());
    house.app.release(&alice, &grant).await.unwrap();
    assert!(house.app.door_open(proved, 0, peer()).await.is_err(), "proved, but over meanwhile");
    // A new grant does not bring the old secret back.
    house.grant("alice", READ, 600).await;
    let lookup = house.app.door_lookup("alice", "orders-db");
    assert!(house.app.door_open(lookup, 0, peer()).await.is_err());
    let proved = open(house.app.connect(&alice, &resource, None).await.unwrap());
    house.app.sign_out(&alice).await.unwrap();
    assert!(house.app.door_open(proved, 0, peer()).await.is_err());
    let proved = open(house.app.connect(&alice, &resource, None).await.unwrap());
    house.changed(Change::ResetSecret { name: parsed("alice"), scopes: None }).await;
    assert!(house.app.door_open(proved, 0, peer()).await.is_err());
}

#[tokio::test]
async fn f01_between_the_deadline_and_the_tick_nothing_passes_and_nothing_is_asked() {
    let house = House::new().await;
    house.grant("alice", READ, 60).await;
    let session = house.open("alice").await;
    house.clock.advance(std::time::Duration::from_secs(60));
    // Policy would allow the same read at once if it were asked for: the session's own right is over all the same.
    for text in ["select 1 from orders", UPDATE] {
        let Verdict::Refuse(refusal) = authorize(&session, text) else { panic!("{text} passed or was held after the deadline") };
        assert_eq!(refusal.sqlstate, "57P01");
        assert_eq!(session.place_hold(sql(text), false).await.unwrap_err().sqlstate, "57P01");
    }
}

#[tokio::test]
async fn f35_what_can_not_be_parsed_or_has_its_data_elsewhere_can_not_be_asked_for() {
    let house = House::new().await;
    for text in ["selekt * frum orders", "copy orders from stdin", "select 1; copy orders (id) from stdin csv"] {
        let new = NewAccessRequest {
            resource: parsed("orders-db"),
            what: AskedFor::ExactSql { database: None, text: text.to_owned() },
            reason: words("a typo"),
            ticket: None,
            duration: safeconduct_testkit::ttl(60),
            starts_at: None,
        };
        assert_eq!(house.app.ask(&house.caller("alice"), new).await.unwrap_err().code, "REQ-001", "{text}");
    }
}

#[tokio::test]
async fn a_second_secret_leaves_the_first_one_working_and_their_number_is_bounded() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let (alice, resource) = (house.caller("alice"), parsed("orders-db"));
    let mut made = Vec::new();
    for _ in 0..9 {
        house.app.connect(&alice, &resource, None).await.unwrap();
        made = house.app.door_lookup("alice", "orders-db").verifiers().to_vec();
    }
    assert_eq!(made.len(), 8, "the oldest of nine is gone");
    for proved in 0..made.len() {
        let lookup = house.app.door_lookup("alice", "orders-db");
        let session = house.app.door_open(lookup, proved, peer()).await.map_err(|e| e.to_string()).unwrap();
        session.close("done").await;
    }
}

#[tokio::test]
async fn a_grant_that_comes_to_an_open_session_is_recorded_as_taken_up() {
    let house = House::new().await;
    let first = house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    let other = house.open("alice").await;
    other.close("left").await;
    house.advance(60).await;
    let later = house.grant("alice", READ, 1800).await;
    house.advance(600).await;
    assert_eq!(permitted(&session, "select 1"), later);
    let of = StreamId::Session(session.id().clone());
    assert_eq!(house.kinds(of.clone()).await, ["session_opened", "grants_joined"]);
    // Made longer, it is the same grant.
    house.app.extend(&house.caller("alice"), &later, safeconduct_testkit::ttl(600), words("more")).await.unwrap();
    assert_eq!(house.kinds(of).await.len(), 2);
    let used = async |grant: &safeconduct_model::GrantId| {
        let used = house.app.sessions_of(&house.caller("alice"), &grant.access_request()).await.unwrap();
        assert!(used.complete);
        used.sessions.into_iter().map(|opened| opened.session.id).collect::<Vec<_>>()
    };
    assert_eq!(used(&later).await, [session.id().clone()], "the session that was over is not among them");
    assert_eq!(used(&first).await.len(), 2);
    let carol = house.caller("carol");
    let counted = house.app.insights(&carol, Some(house.app.now().plus_seconds(-610)), None).await.unwrap();
    assert_eq!(counted.grants().values().collect::<Vec<_>>(), [&(1, 1)], "counted though its session is older");
    // A crash forgets nothing of it.
    let id = session.id().clone();
    std::mem::forget(session);
    let house = house.crash().await;
    let used = house.app.sessions_of(&house.caller("alice"), &later.access_request()).await.unwrap();
    assert_eq!(used.sessions[0].session.id, id);
}
