//! Approval integrity: one grant and one run, by other people, for exactly what was shown.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::*;
use safeconduct_app::{AskedFor, ExplainQuestion, List, NewAccessRequest, ports::AccessQuery};
use safeconduct_lifecycle::{AccessState, StreamId};
use safeconduct_model::{Change, Digest, Narrowing, Operation};
use safeconduct_testkit::{parsed, ttl, words};

const WRITE: &[Operation] = &[Operation::Write];
const UPDATE: &str = "update orders set total = 1 where id = 1";

#[tokio::test]
async fn f17_many_approvals_at_once_give_one_grant() {
    let house = Arc::new(House::new().await);
    let view = house.window("alice", WRITE, 600).await.unwrap();
    let id = view.access.envelope.access_request.clone();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (house, view) = (Arc::clone(&house), view.clone());
            tokio::spawn(async move { house.approve(if n % 2 == 0 { "bob" } else { "dora" }, &view).await.is_ok() })
        })
        .collect();
    let mut granted = 0;
    for task in tasks {
        granted += usize::from(task.await.unwrap());
    }
    assert_eq!(granted, 1);
    let kinds = house.kinds(StreamId::Access(id)).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "grant_given").count(), 1);
}

#[tokio::test]
async fn f17_many_executions_at_once_run_once() {
    let house = Arc::new(House::new().await);
    let id = house.ready("alice", UPDATE).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (house, id) = (Arc::clone(&house), id.clone());
            tokio::spawn(async move { house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.is_ok() })
        })
        .collect();
    let mut ran = 0;
    for task in tasks {
        ran += usize::from(task.await.unwrap());
    }
    assert_eq!((ran, house.executor.runs.lock().len()), (1, 1));
    assert!(house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.is_err(), "never again");
}

#[tokio::test]
async fn f18_an_approval_used_twice_late_by_another_or_after_withdrawal_does_nothing() {
    let house = House::new().await;
    let twice = house.window("alice", WRITE, 600).await.unwrap();
    house.approve("bob", &twice).await.unwrap();
    assert_eq!(house.approve("bob", &twice).await.unwrap_err().code, "REQ-006");
    let late = house.window("alice", WRITE, 601).await.unwrap();
    let withdrawn = house.window("alice", WRITE, 602).await.unwrap();
    assert_eq!(house.approve("mallory", &late).await.unwrap_err().code, "REQ-008", "nobody learns that it exists");
    assert_eq!(house.app.cancel(&house.caller("bob"), &late.access.envelope.access_request).await.unwrap_err().code, "GRANT-002");
    house.app.cancel(&house.caller("alice"), &withdrawn.access.envelope.access_request).await.unwrap();
    assert!(house.approve("bob", &withdrawn).await.is_err());
    house.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(house.approve("bob", &late).await.unwrap_err().code, "REQ-009", "late even if no tick has said so");
    house.app.tick().await.unwrap();
    assert_eq!(house.state(&late.access.envelope.access_request).await.name(), "lapsed");
    assert_eq!(house.app.status().await.live_grants, 0);
}

#[tokio::test]
async fn f20_only_the_digest_that_was_shown_counts() {
    let house = House::new().await;
    let shown = house.exact("alice", UPDATE).await.unwrap();
    let other = house.exact("alice", "update orders set total = 9 where id = 1").await.unwrap();
    let id = &shown.access.envelope.access_request;
    let bob = house.caller("bob");
    for wrong in [other.access.digest, Digest::of_bytes(b"x")] {
        assert_eq!(house.app.approve(&bob, id, wrong, None, None).await.unwrap_err().code, "REQ-007");
    }
    house.approve("bob", &shown).await.unwrap();
    house.app.execute(&house.caller("alice"), id, &mut Results::default()).await.unwrap();
    assert_eq!(*house.executor.runs.lock(), [UPDATE], "what is stored is what runs");
}

#[tokio::test]
async fn f21_without_policy_everything_is_denied() {
    let house = House::empty().await;
    house.app.operator_people(vec![person("alice", &["engineers"]), person("bob", &["dba"])]).await.unwrap();
    assert_eq!(house.window("alice", &[Operation::Read], 60).await.unwrap_err().code, "RES-001");
    house.app.operator_policy(&bundle("")).await.unwrap();
    assert_eq!(house.window("alice", &[Operation::Read], 60).await.unwrap_err().code, "RES-001");
    assert!(house.app.resources(&house.caller("alice")).await.unwrap().is_empty());
}

#[tokio::test]
async fn f22_a_store_that_fails_approves_nothing() {
    let house = House::new().await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    let before = house.events().await;
    house.store.set_full(true);
    assert_eq!(house.approve("bob", &view).await.unwrap_err().code, "STORE-001");
    assert_eq!(house.window("alice", &[Operation::Read], 60).await.unwrap_err().code, "STORE-001");
    assert_eq!(house.state(&view.access.envelope.access_request).await, AccessState::Pending);
    assert_eq!(house.app.status().await.live_grants, 0);
    assert!(house.try_open("alice").await.is_err());
    house.store.set_full(false);
    assert_eq!(house.events().await, before);
    house.approve("bob", &view).await.unwrap();
    assert_eq!(house.app.status().await.live_grants, 1);
}

#[tokio::test]
async fn f22_a_caller_who_goes_away_leaves_store_and_gateway_in_agreement() {
    let house = Arc::new(House::new().await);
    let grant = house.grant("alice", &[Operation::Read], 600).await;
    let session = house.open("alice").await;
    house.store.set_slow(true);
    let revoking = tokio::spawn({
        let (house, grant) = (Arc::clone(&house), grant.clone());
        async move { drop(house.app.revoke(&house.caller("ann"), &grant, words("stop")).await) }
    });
    settle_down().await;
    revoking.abort();
    settle_down().await;
    house.store.let_one_through();
    settle_down().await;
    house.store.set_slow(false);
    assert!(ended(&session).is_some(), "the revocation was stored, so it is felt");
    assert_eq!(house.state(&grant.access_request()).await.name(), "revoked");
    house.app.tick().await.unwrap();
    house.grant("alice", &[Operation::Read], 600).await;
}

#[tokio::test]
async fn f23_nobody_approves_their_own_on_any_path() {
    let house = House::new().await;
    // A DBA who asks, an administrator who asks, a held statement, an extension, a change that makes one an approver.
    let own = house.window("bob", WRITE, 600).await.unwrap();
    assert_eq!(house.approve("bob", &own).await.unwrap_err().code, "APPROVE-001");
    assert!(!own.may_approve && !own.eligible.contains(&parsed("bob")));
    let change = house.change("ann", Change::AddMember { group: parsed("dba"), name: parsed("ann") }).await.unwrap();
    assert_eq!(house.approve("ann", &change).await.unwrap_err().code, "APPROVE-001");
    let exact = house.exact("bob", UPDATE).await.unwrap();
    assert_eq!(house.approve("bob", &exact).await.unwrap_err().code, "APPROVE-001");
    let grant = house.approve("dora", &own).await.unwrap().access.grant();
    let longer = house.app.extend(&house.caller("bob"), &grant, ttl(60), words("longer")).await.unwrap();
    assert_eq!(house.approve("bob", &longer).await.unwrap_err().code, "APPROVE-001");
    // An administrator has no say about data, a workload and an auditor about nothing.
    for nobody in ["ann", "deployer", "carol", "erin", "alice"] {
        assert!(house.approve(nobody, &exact).await.is_err(), "{nobody}");
    }
    assert_eq!(house.state(&exact.access.envelope.access_request).await, AccessState::Pending);
}

#[tokio::test]
async fn f23_who_becomes_an_approver_after_the_asking_does_not_count() {
    let house = House::new().await;
    let view = house.window("alice", WRITE, 600).await.unwrap();
    house.clock.advance(std::time::Duration::from_secs(1));
    house.changed(Change::AddMember { group: parsed("dba"), name: parsed("erin") }).await;
    let after = house.approve("erin", &view).await;
    assert!(after.is_err() || after.unwrap().access.state == AccessState::Pending);
    assert_eq!(house.state(&view.access.envelope.access_request).await, AccessState::Pending);
}

#[tokio::test]
async fn f24_an_approver_who_lost_the_right_before_the_quorum_does_not_count() {
    let house = House::new().await;
    let view = house.exact("alice", "alter table orders add column note text").await.unwrap();
    let id = view.access.envelope.access_request.clone();
    house.approve("bob", &view).await.unwrap();
    house.changed(Change::RemoveMember { group: parsed("dba"), name: parsed("bob") }).await;
    let now = house.see(&id).await;
    let after = house.approve("erin", &now).await.unwrap();
    assert_eq!(after.access.state, AccessState::Pending, "an engineer alone is no DBA and no two people");
    let last = house.approve("dora", &after).await.unwrap();
    assert!(matches!(last.access.state, AccessState::Ready { .. }));
}

#[tokio::test]
async fn f24_a_disabled_approver_approves_nothing_and_what_they_gave_is_judged_again() {
    let house = House::new().await;
    let grant = house.grant("alice", WRITE, 600).await;
    let view = house.window("erin", WRITE, 600).await.unwrap();
    house.changed(Change::Disable { name: parsed("bob") }).await;
    assert!(house.approve("bob", &view).await.is_err());
    assert_eq!(house.state(&grant.access_request()).await.name(), "revoked");
}

#[tokio::test]
async fn f28_repeats_are_merged_and_the_pending_are_capped() {
    let house = House::new().await;
    let first = house.window("alice", WRITE, 600).await.unwrap();
    let again = house.window("alice", WRITE, 600).await.unwrap();
    assert!(again.merged && again.access.envelope.access_request == first.access.envelope.access_request);
    for seconds in 601..605 {
        house.window("alice", WRITE, seconds).await.unwrap();
    }
    assert_eq!(house.window("alice", WRITE, 605).await.unwrap_err().code, "REQ-005");
    house.window("erin", WRITE, 600).await.unwrap();
    let bob = house.caller("bob");
    let waiting = house.app.access_requests(&bob, List::ToApprove, AccessQuery { limit: 50, ..AccessQuery::default() });
    assert_eq!(waiting.await.unwrap().len(), 6);
}

#[tokio::test]
async fn f29_what_nobody_could_approve_is_refused_with_the_reason() {
    let house = House::with(&[("alice", &["engineers"]), ("bob", &["dba", "engineers"]), ("ann", &["administrators"])]).await;
    let refused = house.exact("alice", "alter table orders add column note text").await;
    assert_eq!(refused.unwrap_err().code, "REQ-004", "bob in two groups is one person");
    let own = house.window("bob", WRITE, 600).await;
    assert_eq!(own.unwrap_err().code, "REQ-004", "the only DBA can't approve himself");
}

#[tokio::test]
async fn f50_a_bundle_that_asks_for_more_voids_the_approvals_and_one_that_does_not_keeps_them() {
    let house = House::new().await;
    let view = house.exact("alice", "alter table orders add column note text").await.unwrap();
    let id = view.access.envelope.access_request.clone();
    let old = house.approve("bob", &view).await.unwrap();
    house.apply(bundle(&format!("{POLICY}\n// a note\n"))).await;
    assert_eq!(house.see(&id).await.access.approvals.len(), 1, "same answer: kept");
    house.apply(bundle(&POLICY.replace("context.approvals >= 2", "context.approvals >= 3"))).await;
    let now = house.see(&id).await;
    assert!(now.access.approvals.is_empty());
    assert_eq!(house.approve("dora", &old).await.unwrap_err().code, "REQ-007", "the old digest is worth nothing");
    house.approve("dora", &now).await.unwrap();
    house.approve("erin", &now).await.unwrap();
    assert_eq!(house.state(&id).await, AccessState::Pending);
    house.approve("bob", &now).await.unwrap();
    assert_eq!(house.state(&id).await.name(), "ready");
}

#[tokio::test]
async fn f50_a_function_that_is_classified_otherwise_is_understood_otherwise_at_once() {
    let house = House::new().await;
    let with = |class: &str| {
        let functions = format!("\n[postgres.functions]\n\"public.reprice(integer)\" = \"{class}\"\n");
        bundle_with(&format!("{RESOURCE}{functions}"), POLICY)
    };
    const CALL: &str = "select public.reprice(1)";
    house.apply(with("read")).await;
    let ready = house.ready("alice", CALL).await;
    assert_eq!(house.see(&ready).await.facts.unwrap().operations.to_string(), "read");
    house.apply(with("write")).await;
    assert_eq!(house.state(&ready).await.name(), "revoked", "it was allowed as a read");
    let again = house.exact("alice", CALL).await.unwrap();
    assert_eq!(again.access.state, AccessState::Pending);
    assert_eq!(again.access.envelope.scope.operations().to_string(), "read+write");
    // Back and forth: no answer of an earlier bundle is left behind.
    for class in ["read", "write", "read", "write"] {
        house.apply(with(class)).await;
        let view = house.app.preview(&house.caller("alice"), exact(CALL)).await.unwrap();
        assert_eq!(view.facts.unwrap().operations.contains(Operation::Write), class == "write");
    }
}

#[tokio::test]
async fn f46_nothing_is_asked_that_looks_like_something_else() {
    let house = House::new().await;
    let alice = house.caller("alice");
    let narrow = Narrowing { tables: ["public.\u{43e}rders".to_owned()].into(), ..Narrowing::default() };
    let narrowed = AskedFor::Window { operations: WRITE.iter().copied().collect(), narrow };
    for ask in [
        exact("update \u{43e}rders set a = 1"),
        exact("delete from orders \u{2212}\u{2212} where id = 1"),
        NewAccessRequest { what: narrowed, ..window(WRITE, 60) },
        NewAccessRequest { reason: words("ord\u{435}r 4711"), ..window(WRITE, 60) },
    ] {
        let refused = house.app.ask(&alice, ask.clone()).await.unwrap_err();
        assert!(refused.why.as_ref().is_some_and(|why| why.contains("looks like another")), "{refused:?}");
    }
    house.app.ask(&alice, exact("update orders set note = 'it’s – größer, Москва' where id = 1")).await.unwrap();
}

#[tokio::test]
async fn f52_who_may_not_ask_learns_of_no_resource_person_or_access_request() {
    let house = House::new().await;
    let mallory = house.caller("mallory");
    let nowhere = |ask: NewAccessRequest| NewAccessRequest { resource: parsed("no-such-db"), ..ask };
    let far = Some(house.app.now().plus_seconds(100 * 24 * 3600));
    let asks = [
        window(&[Operation::Read], 60),
        window(&[Operation::Unknown], 60),
        exact("select 1"),
        exact("select '\u{202e}'"),
        NewAccessRequest { starts_at: far, ..window(&[Operation::Read], 60) },
    ];
    for ask in asks {
        let here = house.app.ask(&mallory, ask.clone()).await.unwrap_err();
        let there = house.app.ask(&mallory, nowhere(ask.clone())).await.unwrap_err();
        assert_eq!((here.code, here.kind, here.why), (there.code, there.kind, there.why));
        assert_eq!(here.message.replace("orders-db", "X"), there.message.replace("no-such-db", "X"));
        assert_eq!(house.app.preview(&mallory, ask).await.unwrap_err().code, "RES-001");
    }
    for name in ["alice", "nobody-at-all"] {
        let change = Change::Disable { name: parsed(name) };
        assert_eq!(house.change("mallory", change).await.unwrap_err().code, "RES-001", "{name}");
        let change = Change::CreatePerson { name: parsed(name), display_name: "x".to_owned() };
        assert_eq!(house.change("mallory", change).await.unwrap_err().code, "RES-001", "{name}");
    }
    let hidden = house.window("alice", WRITE, 600).await.unwrap().access.envelope.access_request;
    let missing = parsed("rq-000000000000");
    let (a, b) = (house.app.access(&mallory, &hidden).await.unwrap_err(), house.app.access(&mallory, &missing).await.unwrap_err());
    assert_eq!(a, b);
    assert_eq!(house.app.connect(&mallory, &parsed("orders-db"), None).await.unwrap_err().code, "RES-001");
    assert_eq!(house.app.connect(&mallory, &parsed("orders-db"), Some("nope")).await.unwrap_err().code, "RES-001");
    assert!(house.app.resources(&mallory).await.unwrap().is_empty());
    assert!(house.app.principals(&mallory).is_err() && house.app.groups(&mallory).is_err());
    let question = ExplainQuestion {
        principal: parsed("mallory"),
        resource: parsed("orders-db"),
        operations: WRITE.iter().copied().collect(),
        exact: false,
        text: None,
        reason: String::new(),
        ticket: None,
        duration: ttl(60),
        at: None,
        attributes: std::collections::BTreeMap::new(),
        claims: std::collections::BTreeMap::new(),
    };
    assert_eq!(house.app.explain(&mallory, question).unwrap_err().code, "RES-001");
}

#[tokio::test]
async fn f52_the_door_gives_one_answer_before_and_after_a_grant() {
    let house = House::new().await;
    let salt = |database: &str| house.app.door_lookup("alice", database).verifiers()[0].split(['$', ':']).nth(2).unwrap().to_owned();
    let before = (salt("orders-db"), salt("orders-db/orders"));
    house.grant("alice", &[Operation::Read], 600).await;
    house.app.connect(&house.caller("alice"), &parsed("orders-db"), None).await.unwrap();
    assert_eq!(before, (salt("orders-db"), salt("orders-db/orders")));
    for (user, database) in [("nobody", "orders-db"), ("alice", "nowhere"), ("alice", "orders-db/nope"), ("", ""), ("ALICE", "orders-db")] {
        let lookup = house.app.door_lookup(user, database);
        assert_eq!(lookup.verifiers().len(), 1);
        assert!(house.app.door_open(lookup, 0, peer()).await.is_err());
    }
}

#[tokio::test]
async fn f24_who_joins_a_group_after_the_asking_does_not_approve_by_it() {
    let house = House::new().await;
    // Anybody's approval is enough, and who may give it are the DBAs.
    let policy = POLICY.replace(
        "context.approvals >= 1 && context.approved_by.contains(Group::\"dba\") };\n\n@id(\"ddl\")",
        "context.approvals >= 1 };\n\n@id(\"ddl\")",
    );
    assert_ne!(policy, POLICY);
    house.apply(bundle(&policy)).await;
    let view = house.window("alice", &[Operation::Write], 600).await.unwrap();
    house.advance(1).await;
    house.changed(Change::AddMember { group: parsed("dba"), name: parsed("carol") }).await;
    assert_eq!(house.approve("carol", &view).await.unwrap_err().code, "APPROVE-002");
    assert!(!house.see(&view.access.envelope.access_request).await.eligible.contains(&parsed("carol")));
    let later = house.window("erin", &[Operation::Write], 600).await.unwrap();
    assert!(matches!(house.approve("carol", &later).await.unwrap().access.state, AccessState::Active { .. }), "for what is asked after it");
    house.approve("bob", &view).await.unwrap();
}
