//! Administration: changes go through the same door as everything else, and who could act alone is said aloud.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_app::OneTime;
use safeconduct_lifecycle::{AccessState, Event, ExactOutcome, PolicyEvent, StreamId};
use safeconduct_model::{Change, Digest, Operation};
use safeconduct_testkit::{parsed, words};

fn zed() -> Change {
    Change::CreatePerson { name: parsed("zed"), display_name: "Zed".to_owned() }
}

#[tokio::test]
async fn with_two_administrators_nobody_changes_anything_alone() {
    let house = House::new().await;
    let hash_before = house.app.status().await.policy;
    let view = house.app.upload_policy(&house.caller("ann"), bundle(""), words("mine")).await.unwrap();
    assert_eq!(view.access.state, AccessState::Pending);
    assert!(house.approve("ann", &view).await.is_err());
    assert!(house.approve("bob", &view).await.is_err(), "a DBA is no administrator");
    assert_eq!(house.app.status().await.policy, hash_before);
    assert!(house.app.status().await.standing_privilege.is_empty());
    house.approve("abe", &view).await.unwrap();
    assert_ne!(house.app.status().await.policy, hash_before);
    let kinds = house.kinds(StreamId::Access(view.access.envelope.access_request)).await;
    assert!(kinds.ends_with(&["action_claimed".to_owned(), "action_settled".to_owned()]), "{kinds:?}");
}

#[tokio::test]
async fn f23_an_administrator_cannot_make_an_accomplice_for_what_was_asked_before() {
    let house = House::new().await;
    let view = house.change("ann", zed()).await.unwrap();
    house.clock.advance(std::time::Duration::from_secs(1));
    house.changed(Change::AddMember { group: parsed("administrators"), name: parsed("mallory") }).await;
    let tried = house.approve("mallory", &view).await;
    assert!(tried.is_err() || matches!(tried.unwrap().access.state, AccessState::Pending));
    assert!(house.app.principals(&house.caller("carol")).unwrap().iter().all(|p| p.name.as_str() != "zed"));
}

#[tokio::test]
async fn one_administrator_alone_may_and_the_standing_privilege_is_shown_and_recorded() {
    let house = House::with(&[("ann", &["administrators"]), ("alice", &["engineers"]), ("bob", &["dba"])]).await;
    assert_eq!(house.app.status().await.standing_privilege.len(), 1);
    let view = house.app.upload_policy(&house.caller("ann"), bundle(&format!("{POLICY}\n//\n")), words("mine")).await.unwrap();
    assert!(matches!(view.access.state, AccessState::Settled { .. }));
    let stored = house.app.ledger_tail(&house.caller("ann"), Some(0), 1000).await.unwrap();
    let last = stored.iter().rev().find_map(|s| match &s.event {
        Some(Event::Policy(PolicyEvent::BundleApplied { standing_privilege, .. })) => Some(standing_privilege.clone()),
        _ => None,
    });
    assert!(last.unwrap().is_some());
}

#[tokio::test]
async fn a_change_that_no_longer_makes_sense_is_settled_as_not_run() {
    let house = House::new().await;
    let (one, two) = (house.change("ann", zed()).await.unwrap(), house.change("abe", zed()).await.unwrap());
    house.approve("abe", &one).await.unwrap();
    let done = house.approve("ann", &two).await.unwrap();
    assert!(matches!(done.access.state, AccessState::Settled { outcome: ExactOutcome::RefusedNotRun { .. }, .. }));
    assert_eq!(house.change("ann", zed()).await.unwrap_err().code, "ADMIN-001");
    assert_eq!(house.change("ann", Change::ConfirmClock).await.unwrap_err().code, "ADMIN-001");
    let unknown = Change::ApplyPolicy { hash: Digest::of_bytes(b"never uploaded") };
    assert_eq!(house.change("ann", unknown).await.unwrap_err().code, "POLICY-002");
}

#[tokio::test]
async fn nobody_but_administrators_uploads_or_changes() {
    let house = House::new().await;
    for name in ["alice", "bob", "carol", "mallory", "deployer"] {
        assert!(house.app.upload_policy(&house.caller(name), bundle(""), words("x")).await.is_err(), "{name}");
        assert!(house.change(name, zed()).await.is_err(), "{name}");
    }
    let people = vec![person("eve", &["administrators"])];
    assert_eq!(house.app.operator_people(people).await.unwrap_err().code, "ADMIN-003");
}

#[tokio::test]
async fn what_waits_is_applied_when_nobody_is_left_to_approve_it() {
    let house = House::new().await;
    let waiting = house.change("ann", zed()).await.unwrap().access.envelope.access_request;
    let leaving = house.change("abe", Change::RemoveMember { group: parsed("administrators"), name: parsed("abe") }).await.unwrap();
    house.approve("ann", &leaving).await.unwrap();
    assert_eq!(house.state(&waiting).await.name(), "settled", "one administrator is left: nothing waits half granted");
    assert!(house.app.principals(&house.caller("carol")).unwrap().iter().any(|p| p.name.as_str() == "zed"));
}

#[tokio::test]
async fn f22_a_change_that_cannot_be_stored_did_not_happen() {
    let house = House::new().await;
    let view = house.change("ann", Change::Disable { name: parsed("alice") }).await.unwrap();
    house.grant("alice", &[Operation::Read], 600).await;
    let session = house.open("alice").await;
    house.store.set_full(true);
    assert!(house.approve("abe", &view).await.is_err());
    house.store.set_full(false);
    assert_eq!(ended(&session), None);
    let _ = permitted(&session, "select 1 from orders");
    house.window("alice", &[Operation::Read], 60).await.unwrap();
}

#[tokio::test]
async fn a_one_time_secret_is_handed_out_once_to_who_asked_and_not_kept_for_later() {
    let house = House::new().await;
    let id = house.changed(zed()).await;
    for other in ["abe", "carol", "mallory"] {
        assert!(house.app.one_time(&house.caller(other), &id).await.is_err(), "{other}");
    }
    assert!(matches!(house.app.one_time(&house.caller("ann"), &id).await.unwrap(), OneTime::Code { .. }));
    assert_eq!(house.app.one_time(&house.caller("ann"), &id).await.unwrap_err().code, "ADMIN-002");
    // One that nobody fetched is no way in once another was handed out, or a day later.
    let kept = house.changed(Change::ResetSecret { name: parsed("zed"), scopes: None }).await;
    house.clock.advance(std::time::Duration::from_secs(60));
    let newer = house.changed(Change::ResetSecret { name: parsed("zed"), scopes: None }).await;
    assert_eq!(house.app.one_time(&house.caller("ann"), &kept).await.unwrap_err().code, "ADMIN-002");
    house.advance(24 * 3600).await;
    assert_eq!(house.app.one_time(&house.caller("ann"), &newer).await.unwrap_err().code, "ADMIN-002");
}
