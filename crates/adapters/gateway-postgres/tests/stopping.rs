//! An exact action that runs is stopped where it runs, and its outcome is what the server says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use safeconduct_app::{
    AskedFor,
    ports::{BoxFuture, ResultPart, ResultSink, SinkClosed},
};
use safeconduct_lifecycle::ExactOutcome;
use safeconduct_model::{AccessRequestId, Change};
use safeconduct_testkit::{parsed, ttl, words};
use support::World;

#[derive(Default)]
struct Kept {
    parts: Vec<ResultPart>,
}

impl ResultSink for Kept {
    fn push(&mut self, part: ResultPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move {
            self.parts.push(part);
            Ok(())
        })
    }
}

async fn approved(world: &World, text: &str) -> AccessRequestId {
    let what = AskedFor::ExactSql { database: None, text: text.to_owned() };
    let view = world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await.unwrap();
    world.approve(&view).await;
    view.access.envelope.access_request
}

const RUNNING: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE orders%pg_sleep%' AND state = 'active'";
const SLOW: &str = "UPDATE orders SET note = 'slow' || pg_sleep(600)::text WHERE id = 1";

/// What the ledger holds of an access request, as the people who decide about it see it.
async fn state(world: &World, id: &AccessRequestId) -> String {
    format!("{:?}", world.app.access(&world.caller("alice"), id).await.unwrap().access)
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_revoking_a_running_action_stops_it_at_the_server_and_says_how_it_ended() {
    let world = World::start().await;
    let id = approved(&world, SLOW).await;
    let (caller, mut kept) = (world.caller("alice"), Kept::default());
    let running = world.app.execute(&caller, &id, &mut kept);
    let revoking = async {
        world.until_rows(RUNNING, "1").await;
        world.app.revoke(&world.caller("ann"), &id.grant(), words("incident")).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(running, revoking);
    // The server said so: it did not happen.
    assert!(matches!(outcome, Ok(ExactOutcome::Failed { ref sqlstate, .. }) if sqlstate == "57014"), "{outcome:?}");
    assert_eq!(world.rows(RUNNING), "0");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 1"), "order 1");
    world.until_state(&id, "settled").await;
    let settled = state(&world, &id).await;
    assert!(settled.contains("57014"), "{settled}");
    let again = world.app.execute(&caller, &id, &mut Kept::default()).await;
    assert!(again.is_err(), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_stopping_between_statements_of_a_committed_transaction_never_claims_that_nothing_happened() {
    let world = World::start().await;
    let text = "UPDATE orders SET note = 'kept' WHERE id = 2; COMMIT; SELECT pg_sleep(600)";
    let id = approved(&world, text).await;
    let (caller, mut kept) = (world.caller("alice"), Kept::default());
    let running = world.app.execute(&caller, &id, &mut kept);
    let revoking = async {
        world
            .until_rows(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%COMMIT; SELECT pg_sleep%' AND wait_event = 'PgSleep'",
                "1",
            )
            .await;
        world.app.revoke(&world.caller("bob"), &id.grant(), words("incident")).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(running, revoking);
    assert!(matches!(outcome, Ok(ExactOutcome::Failed { ref sqlstate, .. }) if sqlstate == "57014"), "{outcome:?}");
    // What was committed before stays, and what was reported says which statements were completed.
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 2"), "kept");
    let completed =
        |command: &str| kept.parts.iter().any(|part| matches!(part, ResultPart::Complete { command: found, .. } if found == command));
    assert!(completed("UPDATE 1") && completed("COMMIT"), "{:?}", kept.parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn f57_disabling_the_requester_stops_what_runs_and_a_new_policy_does_not() {
    let world = World::start().await;
    let id = approved(&world, SLOW).await;
    let (caller, mut kept) = (world.caller("alice"), Kept::default());
    let running = world.app.execute(&caller, &id, &mut kept);
    let disabling = async {
        world.until_rows(RUNNING, "1").await;
        // A policy that denies lets nothing begin any more; what was claimed under the old one is let end.
        world.apply("forbid (principal, action, resource == Resource::\"orders-db\");").await;
        assert_eq!(world.rows(RUNNING), "1");
        let what = AskedFor::ExactSql { database: None, text: "UPDATE orders SET note = 'x'".to_owned() };
        assert!(world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await.is_err());
        world.app.change(&world.caller("ann"), Change::Disable { name: parsed("alice") }, words("left")).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(running, disabling);
    assert!(matches!(outcome, Ok(ExactOutcome::Failed { ref sqlstate, .. }) if sqlstate == "57014"), "{outcome:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 1"), "order 1");
}
