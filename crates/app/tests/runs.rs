//! Exact actions: one run, one outcome, never a guess.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::*;
use safeconduct_app::ports::ResultPart;
use safeconduct_lifecycle::{AccessState, ExactOutcome, StreamId};
use safeconduct_model::{AccessRequestId, Change};
use safeconduct_testkit::{parsed, words};

const UPDATE: &str = "update orders set total = 1 where id = 1";

async fn outcome(house: &House, id: &AccessRequestId) -> ExactOutcome {
    match house.state(id).await {
        AccessState::Settled { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

async fn begun(house: &Arc<House>) -> (AccessRequestId, tokio::task::JoinHandle<bool>) {
    let id = house.ready("alice", UPDATE).await;
    *house.executor.behaviour.lock() = Behaviour::Wait;
    let running = tokio::spawn({
        let (house, id) = (Arc::clone(house), id.clone());
        async move { house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.is_ok() }
    });
    settle_down().await;
    assert!(matches!(house.state(&id).await, AccessState::Claimed { .. }));
    (id, running)
}

#[tokio::test]
async fn a_run_streams_its_results_and_settles_what_happened() {
    let house = House::new().await;
    let id = house.ready("alice", UPDATE).await;
    let mut results = Results::default();
    let executed = house.app.execute(&house.caller("alice"), &id, &mut results).await.unwrap();
    assert!(matches!(executed, ExactOutcome::Executed { rows: Some(1), .. }));
    assert!(matches!(results.0[..], [ResultPart::Complete { .. }]));
    assert_eq!(outcome(&house, &id).await, executed);
    let failing = house.ready("alice", "update orders set total = 2 where id = 1").await;
    *house.executor.behaviour.lock() = Behaviour::Fail;
    house.app.execute(&house.caller("alice"), &failing, &mut Results::default()).await.unwrap();
    assert!(matches!(outcome(&house, &failing).await, ExactOutcome::Failed { .. }));
}

#[tokio::test]
async fn only_the_requester_runs_it_and_only_once_it_is_approved() {
    let house = House::new().await;
    let waiting = house.exact("alice", UPDATE).await.unwrap();
    let id = &waiting.access.envelope.access_request;
    let mut sink = Results::default();
    assert_eq!(house.app.execute(&house.caller("alice"), id, &mut sink).await.unwrap_err().code, "RUN-001");
    house.approve("bob", &waiting).await.unwrap();
    assert_eq!(house.app.execute(&house.caller("bob"), id, &mut sink).await.unwrap_err().code, "GRANT-002");
    assert_eq!(house.app.execute(&house.caller("mallory"), id, &mut sink).await.unwrap_err().code, "REQ-008");
    assert!(house.executor.runs.lock().is_empty());
}

#[tokio::test]
async fn an_executor_that_dies_leaves_the_outcome_unknown_and_nothing_runs_again() {
    let house = House::new().await;
    let id = house.ready("alice", UPDATE).await;
    *house.executor.behaviour.lock() = Behaviour::Panic;
    house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.unwrap();
    assert!(matches!(outcome(&house, &id).await, ExactOutcome::Unknown { .. }));
    assert!(house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.is_err());
    assert_eq!(house.executor.runs.lock().len(), 1);
}

#[tokio::test]
async fn a_restart_in_the_middle_leaves_the_outcome_unknown() {
    let house = Arc::new(House::new().await);
    let (id, running) = begun(&house).await;
    running.abort();
    settle_down().await;
    let house = Arc::into_inner(house).unwrap().crash().await;
    assert!(matches!(outcome(&house, &id).await, ExactOutcome::Unknown { .. }));
    assert!(house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.is_err());
    assert!(house.executor.runs.lock().is_empty());
}

#[tokio::test]
async fn who_asked_may_go_away_and_the_outcome_is_settled_all_the_same() {
    let house = Arc::new(House::new().await);
    let (id, running) = begun(&house).await;
    running.abort();
    settle_down().await;
    house.executor.go_on.notify_one();
    settle_down().await;
    assert!(matches!(outcome(&house, &id).await, ExactOutcome::Executed { .. }));
}

#[tokio::test]
async fn f03_revoking_denying_or_disabling_stops_what_runs() {
    for how in ["revoke", "deny", "disable"] {
        let house = Arc::new(House::new().await);
        let (id, running) = begun(&house).await;
        match how {
            "revoke" => drop(house.app.revoke(&house.caller("ann"), &id.grant(), words("stop")).await.unwrap()),
            "deny" => drop(house.app.deny(&house.caller("dora"), &id, words("stop"), None).await.unwrap()),
            _ => drop(house.changed(Change::Disable { name: parsed("alice") }).await),
        }
        running.await.unwrap();
        assert_eq!(
            outcome(&house, &id).await,
            ExactOutcome::Failed { sqlstate: "57014".to_owned(), message: "stopped".to_owned() },
            "{how}"
        );
        let kinds = house.kinds(StreamId::Access(id)).await;
        let end = ["action_claimed", "action_stop_requested", "action_settled", "grant_ended"];
        assert_eq!(kinds[kinds.len() - 4..], end, "{how}: who stopped it is on record");
    }
}

#[tokio::test]
async fn f48_what_cannot_be_claimed_is_not_run() {
    let house = House::new().await;
    let id = house.ready("alice", UPDATE).await;
    house.store.set_full(true);
    assert_eq!(house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.unwrap_err().code, "STORE-001");
    assert!(house.executor.runs.lock().is_empty());
    house.store.set_full(false);
    house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f48_an_outcome_is_recorded_when_the_store_is_back() {
    let house = Arc::new(House::new().await);
    let (id, running) = begun(&house).await;
    house.store.set_full(true);
    house.executor.go_on.notify_one();
    settle_down().await;
    assert!(matches!(house.state(&id).await, AccessState::Claimed { .. }));
    house.store.set_full(false);
    assert!(running.await.unwrap());
    assert!(matches!(outcome(&house, &id).await, ExactOutcome::Executed { .. }));
}

#[tokio::test]
async fn an_approved_action_that_nobody_runs_expires() {
    let house = House::new().await;
    let id = house.ready("alice", UPDATE).await;
    house.advance(900).await;
    assert_eq!(house.state(&id).await.name(), "expired");
    assert!(house.app.execute(&house.caller("alice"), &id, &mut Results::default()).await.is_err());
}
