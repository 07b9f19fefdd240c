//! What the figures say after something happened, and that Prometheus' own tool takes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use common::*;
use safeconduct_app::Verdict;
use safeconduct_model::Operation;
use safeconduct_testkit::words;

/// The value of one line of the figures.
fn value(figures: &str, name: &str) -> f64 {
    let line = figures.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no `{name}` in\n{figures}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_happens_is_counted_timed_and_named_without_anybody() {
    let house = House::new().await;
    let grant = house.grant("alice", &[Operation::Read], 600).await;
    house.grant("alice", &[Operation::Write], 600).await;
    let session = house.open("alice").await;
    permitted(&session, "select 1 from orders");
    assert!(!matches!(authorize(&session, "drop table orders"), Verdict::Permit(_)));
    let figures = house.app.figures().await;
    for (name, expected) in [
        ("safeconduct_sessions_live", 1.0),
        ("safeconduct_grants_live{resource=\"orders-db\"}", 2.0),
        ("safeconduct_grant_seconds_count", 1.0),
        ("safeconduct_decision_seconds_count{group=\"dba\"}", 1.0),
        ("safeconduct_authorize_seconds_count", 1.0),
        ("safeconduct_verdicts_total{verdict=\"permit\"}", 1.0),
        ("safeconduct_events_total{kind=\"session_opened\"}", 1.0),
        ("safeconduct_ready", 1.0),
        ("safeconduct_clock_in_doubt", 0.0),
        ("safeconduct_store_errors_total", 0.0),
    ] {
        assert_eq!(value(&figures, name), expected, "{name}\n{figures}");
    }
    assert!(value(&figures, "safeconduct_store_append_seconds_count") > 0.0);
    for name in ["alice", "bob", "dora", "select 1", grant.as_str(), session.id().as_str()] {
        assert!(!figures.contains(name), "`{name}` in\n{figures}");
    }

    house.app.revoke(&house.caller("dora"), &grant, words("enough")).await.unwrap();
    house.advance(600).await;
    assert!(session.since_end().is_some(), "its last grant is over");
    assert!(!matches!(authorize(&session, "select 1 from orders"), Verdict::Permit(_)));
    let figures = house.app.figures().await;
    assert_eq!(value(&figures, "safeconduct_refusals_total{reason=\"session_over\"}"), 1.0);
    assert_eq!(value(&figures, "safeconduct_grants_live{resource=\"orders-db\"}"), 0.0);
}

#[tokio::test]
async fn f48_a_store_that_refuses_and_entries_without_a_checkpoint_are_seen() {
    let house = House::new().await;
    let figures = house.app.figures().await;
    assert!(value(&figures, "safeconduct_ledger_uncovered_entries") > 0.0);
    house.app.publish_checkpoint().await.unwrap();
    house.advance(5).await;
    let figures = house.app.figures().await;
    assert_eq!(value(&figures, "safeconduct_ledger_uncovered_entries"), 0.0);
    assert_eq!(value(&figures, "safeconduct_ledger_checkpoint_lag_seconds"), 5.0);

    house.store.set_full(true);
    assert!(house.window("alice", &[Operation::Read], 60).await.is_err());
    assert!(value(&house.app.figures().await, "safeconduct_store_errors_total") > 0.0);
}

#[tokio::test]
async fn prometheus_own_tool_takes_the_figures() {
    let house = House::new().await;
    house.grant("alice", &[Operation::Read], 600).await;
    let session = house.open("alice").await;
    permitted(&session, "select 1 from orders");
    house.app.meters().upstream_failed("orders-db");
    let figures = house.app.figures().await;
    let mut promtool = Command::new("promtool");
    let mut child = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("promtool: package prometheus");
    child.stdin.take().unwrap().write_all(figures.as_bytes()).unwrap();
    let checked = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{figures}");
}
