//! Exact actions: the stored text, once, on a connection of the gateway's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use safeconduct_app::{
    AskedFor,
    ports::{BoxFuture, ResultPart, ResultSink, SinkClosed},
};
use safeconduct_lifecycle::{ExactOutcome, TransactionEnd};
use safeconduct_model::AccessRequestId;
use safeconduct_testkit::ttl;
use support::World;

#[derive(Default)]
struct Kept {
    parts: Vec<ResultPart>,
    closed: bool,
}

impl ResultSink for Kept {
    fn push(&mut self, part: ResultPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move {
            if self.closed {
                return Err(SinkClosed);
            }
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

async fn run(world: &World, text: &str) -> (ExactOutcome, Vec<ResultPart>) {
    let id = approved(world, text).await;
    let mut kept = Kept::default();
    let outcome = world.app.execute(&world.caller("alice"), &id, &mut kept).await.unwrap();
    assert!(world.app.execute(&world.caller("alice"), &id, &mut Kept::default()).await.is_err(), "it ran twice");
    (outcome, kept.parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_action_runs_once_and_says_how_it_ended() {
    let world = World::start().await;
    let (outcome, parts) = run(&world, "UPDATE orders SET note = 'exact' WHERE id < 3 RETURNING id, NULL AS n").await;
    let wanted = ExactOutcome::Executed { command: "UPDATE 2".into(), rows: Some(2), transaction: TransactionEnd::Committed };
    assert_eq!(outcome, wanted);
    assert_eq!(parts[0], ResultPart::Columns { names: vec!["id".into(), "n".into()] });
    assert_eq!(parts[1], ResultPart::Row { values: vec![Some("1".into()), None] });
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE note = 'exact'"), "2");

    let (outcome, _) = run(&world, "UPDATE orders SET note = 'half' WHERE id = 5; INSERT INTO orders VALUES (1, 'again')").await;
    assert!(matches!(outcome, ExactOutcome::Failed { ref sqlstate, .. } if sqlstate == "23505"), "{outcome:?}");
    let (outcome, _) = run(&world, "BEGIN; UPDATE orders SET note = 'half' WHERE id = 5").await;
    assert!(matches!(outcome, ExactOutcome::Executed { transaction: TransactionEnd::RolledBack, .. }), "{outcome:?}");
    let (outcome, _) = run(&world, "BEGIN; UPDATE orders SET note = 'half' WHERE id = 5; ROLLBACK").await;
    assert!(matches!(outcome, ExactOutcome::Executed { transaction: TransactionEnd::RolledBack, .. }), "{outcome:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 5"), "order 5");
}

#[tokio::test(flavor = "multi_thread")]
async fn copying_out_gives_rows_and_copying_in_has_nothing_to_give() {
    let world = World::start().await;
    let (outcome, parts) = run(&world, "COPY (UPDATE orders SET note = 'c' WHERE id = 1 RETURNING id, note) TO STDOUT").await;
    assert!(matches!(outcome, ExactOutcome::Executed { rows: Some(1), .. }), "{outcome:?}");
    assert!(parts.contains(&ResultPart::Row { values: vec![Some("1\tc\n".into())] }), "{parts:?}");
    let (outcome, _) = run(&world, "COPY orders FROM STDIN").await;
    assert!(matches!(outcome, ExactOutcome::Failed { .. } | ExactOutcome::RefusedNotRun { .. }), "{outcome:?}");
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_the_server_ends_has_failed() {
    let world = World::start().await;
    let id = approved(&world, "UPDATE orders SET note = 'slow' || pg_sleep(600)::text WHERE id = 1").await;
    let mut kept = Kept::default();
    let caller = world.caller("alice");
    let running = world.app.execute(&caller, &id, &mut kept);
    let stopping = async {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE%pg_sleep%' AND state = 'active'";
        while world.rows(active) != "1" {
            tokio::task::yield_now().await;
        }
        let end =
            world.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'UPDATE%pg_sleep%' AND state = 'active'");
        assert_eq!(end, "t");
    };
    let (outcome, ()) = tokio::join!(running, stopping);
    assert!(matches!(outcome, Ok(ExactOutcome::Failed { ref sqlstate, .. }) if sqlstate == "57P01"), "{outcome:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 1"), "order 1");
}
