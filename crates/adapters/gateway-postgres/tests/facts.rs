//! Facts come from the text alone: nothing is asked of the database on behalf of what it may not run yet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use postgres_protocol::message::frontend;
use safeconduct_app::{
    AskedFor,
    ports::{Named, What},
};
use safeconduct_model::Operation;
use safeconduct_testkit::{ttl, words};
use support::{
    World,
    raw::{Raw, errors, tags},
};

const CONNECTED: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";

#[tokio::test(flavor = "multi_thread")]
async fn rule_6_nothing_runs_at_the_server_for_a_statement_that_is_held() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    assert_eq!(tags(&raw.query("SELECT 'first'").await), "TDCZ");
    let ran = |marker: &str| world.run_by_door().iter().any(|line| line.contains(marker));
    while !ran("SELECT 'first'") {
        tokio::task::yield_now().await;
    }
    let before = world.run_by_door();

    raw.say(|out| frontend::query("UPDATE orders SET note = 'marker' WHERE id IN (SELECT id FROM orders)", out).unwrap()).await;
    let held = world.held().await;
    let id = held.access.envelope.access_request.clone();
    // Everything people look at before they decide.
    let shown = world.app.access(&world.caller("bob"), &id).await.unwrap();
    assert!(format!("{shown:?}").contains("marker"));
    world.app.access(&world.caller("alice"), &id).await.unwrap();
    world.app.access_requests(&world.caller("dora"), safeconduct_app::List::ToApprove, query()).await.unwrap();
    // Nobody else connected for it, and the one session was told nothing.
    assert_eq!(world.rows(CONNECTED), "1");
    assert_eq!(world.run_by_door(), before);

    world.app.deny(&world.caller("bob"), &id, words("no"), None).await.unwrap();
    assert_eq!(errors(&raw.until_ready().await), ["42501"]);
    assert_eq!(tags(&raw.query("SELECT 'last'").await), "TDCZ");
    while !ran("SELECT 'last'") {
        tokio::task::yield_now().await;
    }
    let since: Vec<String> = world.run_by_door().split_off(before.len());
    assert_eq!(since.len(), 1, "{since:?}");
    assert!(!world.server.log().contains("marker"));
}

fn query() -> safeconduct_app::ports::AccessQuery {
    safeconduct_app::ports::AccessQuery { limit: 10, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_6_asking_showing_and_approving_an_exact_action_never_touch_the_database() {
    let world = World::start().await;
    let text = "UPDATE orders SET note = 'marker' WHERE id = nosuchfunction(7)".to_owned();
    let what = AskedFor::ExactSql { database: None, text };
    let view = world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await.unwrap();
    let id = view.access.envelope.access_request.clone();
    world.app.access(&world.caller("bob"), &id).await.unwrap();
    world.approve(&view).await;
    world.app.access(&world.caller("alice"), &id).await.unwrap();
    assert_eq!(world.rows(CONNECTED), "0");
    assert_eq!(world.run_by_door(), Vec::<String>::new());
    assert!(!world.server.log().contains("marker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_what_runs_behind_a_name_is_in_the_recording() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let script = "PREPARE p AS SELECT note FROM orders WHERE id = $1;\nEXECUTE p(7);\n\
        BEGIN;\nDECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id;\nFETCH 1 FROM c;\nCOMMIT;\n";
    let said = world.psql(&world.secret("alice").await, &[], script).await;
    assert!(said.ok && said.out.contains("order 7"), "{said:?}");
    world.quiet().await;
    let named: Vec<(String, Vec<Named>)> = world
        .only_recording()
        .await
        .into_iter()
        .filter_map(|what| match what {
            What::Intent { text, names, .. } if !names.is_empty() => Some((text, names)),
            _ => None,
        })
        .collect();
    let [(execute, behind_execute), (fetch, behind_fetch)] = named.as_slice() else { panic!("{named:?}") };
    assert!(execute.starts_with("EXECUTE p(7)") && fetch.starts_with("FETCH 1 FROM c"), "{named:?}");
    assert_eq!((behind_execute.len(), behind_execute[0].name.as_str()), (1, "p"));
    assert!(behind_execute[0].text.as_deref().unwrap().contains("SELECT note FROM orders WHERE id = $1"), "{named:?}");
    assert_eq!((behind_fetch.len(), behind_fetch[0].name.as_str()), (1, "c"));
    assert!(behind_fetch[0].text.as_deref().unwrap().contains("SELECT id FROM orders ORDER BY id"), "{named:?}");
}
