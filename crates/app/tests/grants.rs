//! Grants and sessions over time: what ends, ends everywhere, and nothing else does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_app::{
    NewAccessRequest, Verdict,
    ports::{AccessRow, Append, Row, Store},
};
use safeconduct_lifecycle::{AccessEvent, AccessState, Event, Start, StreamId};
use safeconduct_model::{AccessRequestId, Change, Decision, Digest, Obligations, Operation, Outcome};
use safeconduct_testkit::{START, envelope, parsed, ttl, words};

const READ: &[Operation] = &[Operation::Read];

#[tokio::test]
async fn f01_expiry_ends_a_session_at_the_deadline_and_not_before() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    assert_eq!(permitted(&session, "select 1 from orders"), grant);
    house.advance(599).await;
    assert_eq!(ended(&session), None);
    permitted(&session, "select 1 from orders");
    house.advance(1).await;
    assert_eq!(ended(&session).unwrap(), format!("grant {grant} expired"));
    assert_eq!(refused(&session, "select 1").sqlstate, "57P01");
    session.close("cut").await;
    assert_eq!(house.kinds(StreamId::Access(grant.access_request())).await.last().unwrap(), "grant_ended");
}

#[tokio::test]
async fn f01_the_deadline_counts_even_if_no_tick_came() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    house.clock.advance(std::time::Duration::from_secs(600));
    assert!(!matches!(authorize(&session, "select 1 from orders"), Verdict::Permit(_)));
    assert!(!matches!(authorize(&session, "commit"), Verdict::Permit(_)));
    assert!(house.try_open("alice").await.is_err());
}

#[tokio::test]
async fn f02_session_opened_last_second_ends_at_deadline() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    house.advance(599).await;
    let session = house.open("alice").await;
    permitted(&session, "select 1 from orders");
    house.advance(1).await;
    assert!(ended(&session).is_some());
}

#[tokio::test]
async fn f03_deny_after_approve_revokes() {
    let house = House::new().await;
    let grant = house.grant("alice", &[Operation::Write], 600).await;
    let session = house.open("alice").await;
    house.app.deny(&house.caller("dora"), &grant.access_request(), words("no"), None).await.unwrap();
    assert_eq!(ended(&session).unwrap(), format!("grant {grant} was revoked by dora: no"));
}

#[tokio::test]
async fn f03_disabling_the_holder_revokes_everything_and_its_secrets() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    let ready = house.ready("alice", "update orders set total = 1 where id = 1").await;
    let pending = house.exact("alice", "delete from orders where id = 2").await.unwrap().access.envelope.access_request;
    let session = house.open("alice").await;
    house.changed(Change::Disable { name: parsed("alice") }).await;
    assert_eq!(ended(&session).unwrap(), "`alice` is disabled");
    assert!(matches!(house.state(&grant.access_request()).await, AccessState::Revoked { .. }));
    assert!(matches!(house.state(&ready).await, AccessState::Revoked { .. }));
    assert!(matches!(house.state(&pending).await, AccessState::Withdrawn { .. }));
    assert!(house.window("alice", READ, 600).await.is_err());
    // Enabled again nothing comes back.
    house.changed(Change::Enable { name: parsed("alice") }).await;
    assert!(house.try_open("alice").await.is_err());
}

#[tokio::test]
async fn f03_f07_a_resource_that_leaves_the_bundle_takes_its_grants_with_it() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    let pending = house.window("alice", &[Operation::Write], 600).await.unwrap().access.envelope.access_request;
    let session = house.open("alice").await;
    house.apply(bundle_without_resource()).await;
    assert!(ended(&session).is_some());
    assert!(matches!(house.state(&grant.access_request()).await, AccessState::Revoked { .. }));
    assert!(matches!(house.state(&pending).await, AccessState::Refused { .. }));
}

#[tokio::test]
async fn f03_an_administrator_revokes_and_nobody_without_a_right_does() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    for nobody in ["mallory", "erin", "deployer", "carol"] {
        assert!(house.app.revoke(&house.caller(nobody), &grant, words("ha")).await.is_err(), "{nobody}");
    }
    assert_eq!(ended(&session), None);
    house.app.revoke(&house.caller("ann"), &grant, words("enough")).await.unwrap();
    assert!(ended(&session).unwrap().contains("revoked by ann: enough"));
}

#[tokio::test]
async fn f04_grants_add_up_and_ending_one_changes_nothing() {
    let house = House::new().await;
    let first = house.grant("alice", READ, 600).await;
    let second = house.grant("alice", READ, 900).await;
    let session = house.open("alice").await;
    assert_eq!(permitted(&session, "select 1 from orders"), second, "the latest-ending is named");
    house.app.release(&house.caller("alice"), &second).await.unwrap();
    assert_eq!(ended(&session), None);
    assert_eq!(permitted(&session, "select 1 from orders"), first);
    // A new one starts in the second in which the old one ends.
    house.advance(599).await;
    let third = house.grant("alice", READ, 600).await;
    house.advance(1).await;
    assert_eq!(ended(&session), None);
    assert_eq!(permitted(&session, "select 1 from orders"), third);
    house.app.release(&house.caller("alice"), &third).await.unwrap();
    assert!(ended(&session).is_some());
}

#[tokio::test]
async fn f08_15000_expiries_in_one_minute_leave_the_gateway_answering() {
    const GRANTS: u64 = 15_000;
    let house = House::new().await;
    let started_at = house.app.now();
    let decision =
        Decision { outcome: Outcome::Allow, reasons: Vec::new(), obligations: Obligations::default(), policy: Digest::of_bytes(b"before") };
    let appends = (0..GRANTS).map(|n| {
        let id = AccessRequestId::from_bits(n + 1);
        let envelope = safeconduct_model::Envelope { asked_at: started_at, ..envelope(id.clone(), parsed("alice"), parsed("orders-db")) };
        let row = AccessRow {
            id: id.clone(),
            requester: parsed("alice"),
            resource: parsed("orders-db"),
            state: "active".to_owned(),
            exact: false,
            asked_at: started_at,
            open: true,
        };
        let events: Vec<Event> = [
            AccessEvent::Submitted { envelope, decision: decision.clone() },
            AccessEvent::Granted { at: started_at, grant: id.grant(), decision: decision.clone(), start: Start::Now },
            AccessEvent::Activated { at: started_at, until: started_at.plus_seconds(60) },
        ]
        .map(Event::from)
        .into();
        Append { stream: StreamId::Access(id), expected: 0, events, row: Some(Row::Access(row)) }
    });
    let store = many::ManyStore::over(std::sync::Arc::clone(&house.store), appends.collect());
    let app = house.start_on(std::sync::Arc::new(store)).await;
    assert_eq!(app.status().await.live_grants, 15_000);
    house.clock.advance(std::time::Duration::from_secs(60));
    let (doing, done) = tokio::sync::oneshot::channel::<()>();
    let expiring = tokio::spawn({
        let app = app.clone();
        async move {
            let ticked = app.tick().await;
            drop(done);
            ticked
        }
    });
    let reading = tokio::spawn({
        let (app, alice) = (app.clone(), house.caller("alice"));
        async move {
            let mut answers = 0;
            while !doing.is_closed() {
                answers += app.resources(&alice).await.unwrap().len();
                // Behind whatever else is ready; `yield_now` would wait for many turns.
                tokio::spawn(std::future::ready(())).await.unwrap();
            }
            answers
        }
    });
    expiring.await.unwrap().unwrap();
    let answers = reading.await.unwrap();
    assert!(answers > 30, "reads are answered between the units: {answers}");
    assert_eq!(app.status().await.live_grants, 0);
    assert_eq!(app.access(&house.caller("carol"), &AccessRequestId::from_bits(GRANTS)).await.unwrap().access.state.name(), "expired");
}

mod many {
    //! A store with very many streams that are never asked to be proved.
    use std::{collections::HashMap, sync::Arc};

    use parking_lot::Mutex;
    use safeconduct_app::ports::*;
    use safeconduct_lifecycle::{Event, StreamId};
    use safeconduct_model::Timestamp;

    use super::common::FaultyStore;

    pub struct ManyStore {
        small: Arc<FaultyStore>,
        streams: Mutex<HashMap<StreamId, Vec<Event>>>,
        rows: Mutex<Vec<AccessRow>>,
    }

    impl ManyStore {
        pub fn over(small: Arc<FaultyStore>, appends: Vec<Append>) -> Self {
            let rows = appends.iter().filter_map(|a| if let Some(Row::Access(row)) = &a.row { Some(row.clone()) } else { None }).collect();
            let streams = appends.into_iter().map(|a| (a.stream, a.events)).collect();
            Self { small, streams: Mutex::new(streams), rows: Mutex::new(rows) }
        }
    }

    impl Store for ManyStore {
        fn append(&self, appends: Vec<Append>, at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
            let mut streams = self.streams.lock();
            let (ours, others): (Vec<_>, Vec<_>) = appends.into_iter().partition(|a| streams.contains_key(&a.stream));
            for append in ours {
                let events = streams.entry(append.stream).or_default();
                assert_eq!(events.len() as u64, append.expected);
                events.extend(append.events);
            }
            drop(streams);
            if others.is_empty() { Box::pin(std::future::ready(Ok(0))) } else { self.small.append(others, at) }
        }
        fn load(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
            let found = self.streams.lock().get(&stream).cloned();
            match found {
                Some(events) => {
                    let stored = (1..).zip(events).map(|(version, event)| Stored {
                        index: 0,
                        stream: stream.clone(),
                        version,
                        at: super::START,
                        event: Some(event),
                    });
                    Box::pin(std::future::ready(Ok(stored.collect())))
                }
                None => self.small.load(stream),
            }
        }
        fn access_requests(&self, query: AccessQuery) -> BoxFuture<'_, Result<Vec<AccessRow>, StoreError>> {
            let rows = self.rows.lock();
            let after = query.before.map_or(0, |id| rows.iter().position(|row| row.id == id).map_or(rows.len(), |place| place + 1));
            Box::pin(std::future::ready(Ok(rows.iter().skip(after).take(query.limit as usize).cloned().collect())))
        }
        fn events_from(&self, index: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
            self.small.events_from(index, limit)
        }
        fn sessions(&self, query: SessionQuery) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
            self.small.sessions(query)
        }
        fn high_water(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
            self.small.high_water()
        }
        fn raise_high_water(&self, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
            self.small.raise_high_water(at)
        }
        fn cursor(&self, reader: &str) -> BoxFuture<'_, Result<u64, StoreError>> {
            self.small.cursor(reader)
        }
        fn set_cursor(&self, reader: &str, index: u64) -> BoxFuture<'_, Result<(), StoreError>> {
            self.small.set_cursor(reader, index)
        }
        fn value(&self, kind: &str, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
            self.small.value(kind, key)
        }
        fn values(&self, kind: &str) -> BoxFuture<'_, Result<Vec<(String, Vec<u8>)>, StoreError>> {
            self.small.values(kind)
        }
        fn put_values(&self, changes: Vec<ValueChange>) -> BoxFuture<'_, Result<(), StoreError>> {
            self.small.put_values(changes)
        }
        fn put_value_if_absent(&self, kind: &str, key: &str, value: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
            self.small.put_value_if_absent(kind, key, value)
        }
        fn tree_head(&self) -> BoxFuture<'_, Result<TreeHead, StoreError>> {
            self.small.tree_head()
        }
        fn put_checkpoint(&self, size: u64, note: String) -> BoxFuture<'_, Result<(), StoreError>> {
            self.small.put_checkpoint(size, note)
        }
        fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
            self.small.checkpoint()
        }
        fn tile(&self, path: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
            self.small.tile(path)
        }
        fn entries(&self, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
            self.small.entries(from, limit)
        }
        fn erase_body(&self, index: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
            self.small.erase_body(index)
        }
        fn inclusion_proof(&self, index: u64, size: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
            self.small.inclusion_proof(index, size)
        }
        fn consistency_proof(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
            self.small.consistency_proof(old, new)
        }
    }
}

#[tokio::test]
async fn f14_a_clock_that_jumps_back_gives_no_longer_grant() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    house.clock.set_wall(START.plus_seconds(-3600));
    house.advance(599).await;
    assert_eq!(ended(&session), None);
    house.advance(1).await;
    assert!(ended(&session).is_some(), "600 s have passed, whatever the wall clock says");
}

#[tokio::test]
async fn f14_a_clock_that_jumps_ahead_ends_early_and_going_back_revives_nothing() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    house.clock.set_wall(START.plus_seconds(3600));
    house.app.tick().await.unwrap();
    assert!(ended(&session).is_some());
    let ahead = house.app.now();
    house.clock.set_wall(START);
    assert!(house.app.now() >= ahead);
    assert!(matches!(house.state(&grant.access_request()).await, AccessState::Expired { .. }));
    assert!(house.try_open("alice").await.is_err());
}

#[tokio::test]
async fn f14_suspend_does_not_stretch_a_grant() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    // Both clocks count the suspended time; no tick ran in it.
    house.clock.advance(std::time::Duration::from_secs(7200));
    assert!(!matches!(authorize(&session, "select 1 from orders"), Verdict::Permit(_)));
}

#[tokio::test]
async fn f14_started_with_the_clock_behind_no_grant_is_live_until_an_administrator_confirms() {
    let house = House::new().await;
    house.grant("alice", READ, 1800).await;
    let ready = house.ready("alice", "update orders set total = 1 where id = 1").await;
    house.advance(600).await;
    house.store.raise_high_water(house.app.now()).await.unwrap();
    house.clock.set_wall(START);
    let house = house.crash().await;
    assert!(house.app.status().await.frozen.is_some());
    assert_eq!(house.app.ready().await.unwrap_err().code, "CLOCK-001");
    assert!(house.try_open("alice").await.is_err());
    assert_eq!(house.window("alice", READ, 60).await.unwrap_err().code, "CLOCK-001");
    assert_eq!(house.app.execute(&house.caller("alice"), &ready, &mut Results::default()).await.unwrap_err().code, "CLOCK-001");
    assert_eq!(house.change("ann", Change::Disable { name: parsed("alice") }).await.unwrap_err().code, "CLOCK-001");
    // Still frozen after another start, with the clock right again.
    house.clock.set_wall(START.plus_seconds(900));
    let house = house.crash().await;
    assert!(house.app.status().await.frozen.is_some());
    house.changed(Change::ConfirmClock).await;
    assert_eq!(house.app.status().await.frozen, None);
    house.open("alice").await;
}

#[tokio::test]
async fn f15_a_right_removed_from_the_directory_ends_live_grants() {
    let house = House::new().await;
    let grant = house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    house.changed(Change::RemoveMember { group: parsed("engineers"), name: parsed("alice") }).await;
    assert!(ended(&session).is_some());
    assert!(matches!(house.state(&grant.access_request()).await, AccessState::Revoked { .. }));
    assert!(house.try_open("alice").await.is_err());
}

#[tokio::test]
async fn f55_freeze_is_a_policy_and_cuts_live_sessions() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let pending = house.window("erin", &[Operation::Write], 600).await.unwrap().access.envelope.access_request;
    let session = house.open("alice").await;
    permitted(&session, "select 1 from orders");
    house.apply(bundle(&format!("{POLICY}{FREEZE}"))).await;
    assert!(ended(&session).is_some());
    assert!(!matches!(authorize(&session, "select 1 from orders"), Verdict::Permit(_)));
    assert!(matches!(house.state(&pending).await, AccessState::Refused { .. }));
    assert!(house.window("alice", READ, 60).await.is_err());
}

#[tokio::test]
async fn f55_a_freeze_on_facts_alone_is_felt_at_the_next_statement() {
    let house = House::new().await;
    house.grant("alice", READ, 600).await;
    let session = house.open("alice").await;
    permitted(&session, "select 1 from orders");
    let frozen = r#"
@id("no-orders")
forbid (principal, action in Action::"access", resource is Resource)
when { context.now has facts && context.now.facts.objects.contains("orders") };
"#;
    house.apply(bundle(&format!("{POLICY}{frozen}"))).await;
    assert_eq!(ended(&session), None, "the grant stays");
    refused(&session, "select 1 from orders");
    permitted(&session, "select 1 from customers");
}

#[tokio::test]
async fn a_scheduled_grant_starts_at_its_time_and_ends_counted_from_there() {
    let house = House::new().await;
    let starts_at = house.app.now().plus_seconds(300);
    let ask = NewAccessRequest { starts_at: Some(starts_at), ..window(READ, 600) };
    let view = house.app.ask(&house.caller("alice"), ask).await.unwrap();
    let id = view.access.envelope.access_request;
    assert_eq!(view.access.state, AccessState::Scheduled { starts_at });
    assert!(house.try_open("alice").await.is_err());
    house.advance(300).await;
    assert!(matches!(house.state(&id).await, AccessState::Active { until, .. } if until == starts_at.plus_seconds(600)));
    // Policy is asked again at the start.
    let ask = NewAccessRequest { starts_at: Some(house.app.now().plus_seconds(300)), ..window(READ, 601) };
    let later = house.app.ask(&house.caller("alice"), ask).await.unwrap().access.envelope.access_request;
    house.changed(Change::RemoveMember { group: parsed("engineers"), name: parsed("alice") }).await;
    house.advance(300).await;
    assert!(matches!(house.state(&later).await, AccessState::Revoked { .. }));
}

#[tokio::test]
async fn a_start_beyond_the_gateways_absence_is_not_made_up_for() {
    let house = House::new().await;
    let starts_at = house.app.now().plus_seconds(300);
    let ask = NewAccessRequest { starts_at: Some(starts_at), ..window(READ, 600) };
    let id = house.app.ask(&house.caller("alice"), ask).await.unwrap().access.envelope.access_request;
    house.clock.advance(std::time::Duration::from_secs(1000));
    let house = house.crash().await;
    assert_eq!(house.state(&id).await.name(), "expired");
}

#[tokio::test]
async fn an_extension_moves_the_deadline_once_and_is_no_grant_itself() {
    let house = House::new().await;
    let grant = house.grant("alice", &[Operation::Write], 600).await;
    let session = house.open("alice").await;
    let asked = house.app.extend(&house.caller("alice"), &grant, ttl(300), words("longer")).await.unwrap();
    assert_eq!(asked.access.state, AccessState::Pending);
    assert!(house.app.extend(&house.caller("bob"), &grant, ttl(300), words("longer")).await.is_err());
    house.advance(500).await;
    let done = house.approve("dora", &asked).await.unwrap();
    assert!(matches!(done.access.state, AccessState::Applied { .. }));
    house.advance(399).await;
    permitted(&session, "update orders set total = 2");
    house.advance(1).await;
    assert!(ended(&session).is_some());
}

#[tokio::test]
async fn an_extension_of_what_is_over_gives_nothing() {
    let house = House::new().await;
    let grant = house.grant("alice", &[Operation::Write], 600).await;
    let asked = house.app.extend(&house.caller("alice"), &grant, ttl(300), words("longer")).await.unwrap();
    house.app.release(&house.caller("alice"), &grant).await.unwrap();
    let done = house.approve("dora", &asked).await.unwrap();
    assert!(matches!(done.access.state, AccessState::Revoked { .. }));
    assert_eq!(house.app.status().await.live_grants, 0);
}

#[tokio::test]
async fn an_extension_that_a_new_bundle_allows_is_applied_and_no_grant_itself() {
    let house = House::new().await;
    let grant = house.grant("alice", &[Operation::Write], 600).await;
    let asked = house.app.extend(&house.caller("alice"), &grant, ttl(300), words("longer")).await.unwrap();
    let open = r#"@id("free") permit (principal in Group::"engineers", action == Action::"write", resource == Resource::"orders-db");"#;
    house.apply(bundle(&format!("{POLICY}{open}"))).await;
    assert_eq!(house.state(&asked.access.envelope.access_request).await.name(), "applied");
    assert_eq!(house.app.status().await.live_grants, 1);
    assert!(matches!(house.state(&grant.access_request()).await, AccessState::Active { since, until } if until == since.plus_seconds(900)));
}
