//! The second lock and approvals: rights that are there for one statement, and a session that is read only before and after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use bytes::BytesMut;
use postgres_protocol::{IsNull, message::frontend};
use safeconduct_app::{
    AskedFor,
    ports::{BoxFuture, ResultPart, ResultSink, SinkClosed},
};
use safeconduct_lifecycle::ExactOutcome;
use safeconduct_model::Operation;
use safeconduct_testkit::ttl;
use support::{
    World,
    raw::{Raw, errors, status, tags},
};

const MEMBERSHIPS: &str = "SELECT coalesce(string_agg(g.rolname, ',' ORDER BY 1), '') FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
     JOIN pg_roles r ON r.oid = m.member WHERE r.rolname LIKE 'safeconduct\\_se%'";

/// Approves what is held next.
async fn approve_next(world: &World) {
    let held = world.held().await;
    world.approve(&held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_statement_of_psql_has_its_rights_for_itself() {
    let world = World::minted("").await;
    world.window("alice", &[Operation::Read], 600).await;
    let secret = world.secret("alice").await;
    let script = "UPDATE orders SET note = current_user WHERE id = 1;\nSHOW default_transaction_read_only;\nSELECT pg_has_role(current_user, 'orders_write', 'usage');\n";
    let (said, ()) = tokio::join!(world.psql(&secret, &[], script), approve_next(&world));
    assert!(said.ok && said.out.ends_with("UPDATE 1\non\nf") || said.out.ends_with("on\nf"), "{said:?}");
    assert_eq!(world.rows("SELECT note LIKE 'safeconduct_se-%' FROM orders WHERE id = 1"), "t");
    world.until_roles("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_statement_of_a_driver_keeps_its_unnamed_statement() {
    let world = World::minted("").await;
    world.window("alice", &[Operation::Read], 600).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    let held = async {
        raw.say(|out| {
            extended(out, "UPDATE orders SET note = $1 WHERE id = 2");
        })
        .await;
        raw.until_ready().await
    };
    let (heard, ()) = tokio::join!(held, approve_next(&world));
    assert_eq!(tags(&heard).replace(['N', 'S'], ""), "12CZ", "{heard:?}");
    assert!(!heard.iter().any(|heard| heard.tag == 'S'), "the client heard of the gateway's own setting: {heard:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 2"), "held");
    let heard = raw.query("SHOW default_transaction_read_only").await;
    assert!(heard.iter().any(|heard| heard.tag == 'D' && heard.body.ends_with(b"on")), "{heard:?}");
    assert_eq!(world.rows(MEMBERSHIPS), "orders_read");
    // Denied, nothing is raised.
    let held = async { raw.query("DELETE FROM orders").await };
    let denying = async {
        let held = world.held().await;
        let id = &held.access.envelope.access_request;
        world.app.deny(&world.caller("bob"), id, safeconduct_testkit::words("no"), None).await.unwrap();
    };
    let (heard, ()) = tokio::join!(held, denying);
    assert_eq!(errors(&heard), ["42501"]);
    assert_eq!(world.rows(MEMBERSHIPS), "orders_read");
}

fn extended(out: &mut BytesMut, text: &str) {
    frontend::parse("", text, [], out).unwrap();
    let bound = frontend::bind(
        "",
        "",
        [0],
        ["held"],
        |value, out| {
            out.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        },
        [],
        out,
    );
    assert!(bound.is_ok());
    frontend::execute("", 0, out).unwrap();
    frontend::sync(out);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_that_began_read_only_nothing_is_held_that_could_never_run() {
    let world = World::minted("").await;
    world.window("alice", &[Operation::Read], 600).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    raw.query("BEGIN").await;
    raw.query("SELECT count(*) FROM orders").await;
    let heard = raw.query("UPDATE orders SET note = 'x'").await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["25006".to_owned()], 'E'), "{heard:?}");
    assert_eq!(status(&raw.query("ROLLBACK").await), 'I');
    // A text that begins and ends its own transaction is one action.
    let held = async { raw.query("BEGIN; UPDATE orders SET note = 'whole' WHERE id = 3; COMMIT").await };
    let (heard, ()) = tokio::join!(held, approve_next(&world));
    assert_eq!((errors(&heard), status(&heard)), (vec![], 'I'), "{heard:?}");
    // One that stays open keeps neither the rights nor more reading than it needs to end.
    let held = async { raw.query("BEGIN; UPDATE orders SET note = 'open' WHERE id = 4").await };
    let (heard, ()) = tokio::join!(held, approve_next(&world));
    assert_eq!((errors(&heard), status(&heard)), (vec![], 'T'), "{heard:?}");
    world.until_rows(MEMBERSHIPS, "orders_read").await;
    raw.query("SAVEPOINT s").await;
    assert_eq!(errors(&raw.query("SELECT 1 FROM orders").await), ["42501"]);
    raw.query("ROLLBACK TO s").await;
    assert_eq!(status(&raw.query("COMMIT").await), 'I');
    assert_eq!(world.rows("SELECT string_agg(note, ',' ORDER BY id) FROM orders WHERE id IN (3, 4)"), "whole,open");
    assert_eq!(errors(&raw.query("SELECT 1 FROM orders").await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_beside_an_approved_statement() {
    let world = World::minted("").await;
    world.window("alice", &[Operation::Read], 600).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    // In one go: the approved one bound, and before it runs another one.
    let held = async {
        raw.say(|out| {
            let mut first = BytesMut::new();
            extended(&mut first, "UPDATE orders SET note = $1 WHERE id = 5");
            // Without its Execute and Sync.
            first.truncate(first.len() - 5 - 10);
            out.extend_from_slice(&first);
            frontend::parse("b", "SELECT pg_has_role(current_user, 'orders_write', 'usage')", [], out).unwrap();
            let bound = frontend::bind("b", "b", [], [0; 0], |_: i32, _| Ok(IsNull::No), [], out);
            assert!(bound.is_ok());
            frontend::execute("b", 0, out).unwrap();
            frontend::sync(out);
        })
        .await;
        raw.until_ready().await
    };
    let (heard, ()) = tokio::join!(held, approve_next(&world));
    assert_eq!(errors(&heard), ["42501"], "{heard:?}");
    assert!(!heard.iter().any(|heard| heard.tag == 'D'), "{heard:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 5"), "order 5");
    assert_eq!(errors(&raw.query("SELECT 1 FROM orders").await), [""; 0]);
    world.until_rows(MEMBERSHIPS, "orders_read").await;
}

struct Dropped;

impl ResultSink for Dropped {
    fn push(&mut self, _: ResultPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_action_runs_under_a_role_with_what_it_needs() {
    let world = World::minted("").await;
    let what = AskedFor::ExactSql { database: None, text: "UPDATE orders SET note = current_user WHERE id = 9".to_owned() };
    let view = world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await.unwrap();
    world.approve(&view).await;
    let id = view.access.envelope.access_request.clone();
    let outcome = world.app.execute(&world.caller("alice"), &id, &mut Dropped).await.unwrap();
    assert!(
        matches!(outcome, ExactOutcome::Failed { ref sqlstate, .. } if sqlstate == "42501"),
        "it reads too, and was not given that: {outcome:?}"
    );
    let what = AskedFor::ExactSql { database: None, text: "INSERT INTO orders VALUES (500, current_user)".to_owned() };
    let view = world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await.unwrap();
    world.approve(&view).await;
    let id = view.access.envelope.access_request.clone();
    let outcome = world.app.execute(&world.caller("alice"), &id, &mut Dropped).await.unwrap();
    assert!(matches!(outcome, ExactOutcome::Executed { .. }), "{outcome:?}");
    assert_eq!(world.rows("SELECT note LIKE 'safeconduct_se-%' FROM orders WHERE id = 500"), "t");
    world.until_roles("").await;
    world.until_ended(&id.grant()).await;
    assert_eq!(world.sessions().await.len(), 2);
}
