//! Exact actions: the stored text, once, on a connection of the gateway's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;

use safeconduct_app::{
    AccessView, AskedFor,
    ports::{BoxFuture, Executor as _, ResultPart, ResultSink, Run, SinkClosed},
};
use safeconduct_gateway_postgres::{Limits, PostgresExecutor};
use safeconduct_lifecycle::{ExactOutcome, TransactionEnd};
use safeconduct_model::{
    AccessRequestId, Action, Audit, GrantId, MintingKey, Operation, ResourceKind, Scope, SessionId, SqlAction, UpstreamTls,
};
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
async fn copying_out_gives_rows_and_copying_in_is_not_begun() {
    let world = World::start().await;
    let (outcome, parts) = run(&world, "COPY (UPDATE orders SET note = 'c' WHERE id = 1 RETURNING id, note) TO STDOUT").await;
    assert!(matches!(outcome, ExactOutcome::Executed { rows: Some(1), .. }), "{outcome:?}");
    assert!(parts.contains(&ResultPart::Row { values: vec![Some("1\tc\n".into())] }), "{parts:?}");
    // The data was only ever in somebody's session: it can't be asked for, and if it were, nothing is begun, not what stands before it either.
    for text in ["COPY orders FROM STDIN", "UPDATE orders SET note = 'marker-copy'; coPy orders (id, note) FROM STDIN WITH (FORMAT csv)"] {
        let what = AskedFor::ExactSql { database: None, text: text.to_owned() };
        let asked = world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await;
        assert_eq!(asked.unwrap_err().code, "REQ-001", "{text}");
        let action = SqlAction { database: world.server.database.clone(), ..safeconduct_testkit::sql(text) };
        let outcome = straight(&world, action).await;
        assert!(matches!(outcome, ExactOutcome::RefusedNotRun { ref why } if why.contains("connect")), "{outcome:?}");
    }
    assert!(!world.server.log().contains("COPY orders FROM STDIN") && !world.server.log().contains("marker-copy"));
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");
    // The word alone is no COPY.
    let (outcome, _) = run(&world, "UPDATE orders SET note = 'copy' WHERE id = 2").await;
    assert!(matches!(outcome, ExactOutcome::Executed { rows: Some(1), .. }), "{outcome:?}");
}

/// Hands an action to the executor itself, as if nothing before it had looked at it.
async fn straight(world: &World, action: SqlAction) -> ExactOutcome {
    let mut resource = safeconduct_testkit::postgres_resource("orders-db");
    let ResourceKind::Postgres(postgres) = &mut resource.kind else { panic!() };
    postgres.port = world.server.port;
    postgres.host.clone_from(&world.server.host);
    postgres.tls = UpstreamTls::VerifyFull { ca_file: world.server.ca_file.display().to_string(), server_name: Some("localhost".into()) };
    let (_keep, stop) = tokio::sync::watch::channel(false);
    let (session, grant, claimed) = (SessionId::from_bits(77), GrantId::from_bits(7), AccessRequestId::from_bits(7));
    let permit = MintingKey::make().mint(session, grant, Some(claimed), true, Audit::Journaled);
    let run =
        Run { permit, resource: Arc::new(resource), action, principal: "alice".parse().unwrap(), login: None, read_only: false, stop };
    let password = world.server.password.clone();
    let executor = PostgresExecutor::new(Arc::new(move |_| Ok(zeroize::Zeroizing::new(password.clone()))), Limits::default());
    executor.execute(run, &mut Kept::default()).await
}

/// The action of a held statement, and the resource it is for.
fn action(view: &AccessView) -> SqlAction {
    let Scope::Exact { action: Action::Sql(sql), .. } = &view.access.envelope.scope else { panic!("{view:?}") };
    sql.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn f35_a_text_is_shown_and_run_under_the_settings_it_was_meant_under() {
    let world = World::start().await;
    world.rows("ALTER TABLE orders ADD COLUMN due date");
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let update = "UPDATE orders SET due = '01/02/2026' WHERE id = 1";
    let mut psql = world.client(&secret, "psql");
    psql.env("PGOPTIONS", "-c lc_time=C -c statement_timeout=60s").args(["-X", "-c", "SET datestyle TO 'ISO, DMY'", "-c", update]);
    let child = psql.spawn().unwrap();
    let held = world.held().await;
    let shown = [("datestyle".to_owned(), "ISO, DMY".to_owned()), ("lc_time".to_owned(), "C".to_owned())];
    assert_eq!(action(&held).settings, shown.into());
    world.approve(&held).await;
    assert!(child.wait_with_output().await.unwrap().status.success());
    assert_eq!(world.rows("SELECT due FROM orders WHERE id = 1"), "2026-02-01");

    // The executor reads the same text under the settings that are stored with it, and under the server's own where none are.
    for (settings, due) in [(action(&held).settings, "2026-02-01"), (Default::default(), "2026-01-02")] {
        let outcome = straight(&world, SqlAction { text: update.replace("id = 1", "id = 2"), settings, ..action(&held) }).await;
        assert!(matches!(outcome, ExactOutcome::Executed { rows: Some(1), .. }), "{outcome:?}");
        assert_eq!(world.rows("SELECT due FROM orders WHERE id = 2"), due);
    }
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
