//! Sessions end when their right does: on time, by somebody's act, idle or in the middle of a statement.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_model::{GrantId, Operation};
use safeconduct_testkit::words;
use support::{
    World,
    raw::{Raw, errors, status, tags},
};
use tokio::io::AsyncWriteExt;

const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";

#[tokio::test(flavor = "multi_thread")]
async fn f01_expiry_ends_idle_and_running_sessions() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 60).await;
    let secret = world.secret("alice").await;
    let (mut idle, mut running) = (Raw::session(&world, &secret).await, Raw::session(&world, &secret).await);
    running.say(|out| frontend::query("SELECT pg_sleep(600)", out).unwrap()).await;
    world.until_rows(SLEEPING, "1").await;
    world.clock.advance(Duration::from_secs(60));
    world.app.tick().await.unwrap();
    for raw in [&mut idle, &mut running] {
        let heard = raw.until_ready().await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["57P01".to_owned()], '?'), "{heard:?}");
    }
    world.until_rows(SLEEPING, "0").await;
    world.quiet().await;
    let mut late = Raw::encrypted(&world).await;
    let heard = late.sign_in("alice", &secret.password, &[("database", "orders-db")]).await;
    assert_eq!(errors(&heard), ["28000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_session_opened_a_second_before_the_deadline_ends_at_the_deadline() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 60).await;
    let secret = world.secret("alice").await;
    world.clock.advance(Duration::from_secs(59));
    world.app.tick().await.unwrap();
    let mut raw = Raw::session(&world, &secret).await;
    assert_eq!(status(&raw.query("SELECT 1").await), 'I');
    world.clock.advance(Duration::from_secs(1));
    // Felt by the next statement, before any tick.
    let mut heard = raw.query("SELECT 2").await;
    assert!(!tags(&heard).contains('D'), "{heard:?}");
    world.app.tick().await.unwrap();
    heard.extend(raw.until_ready().await);
    assert_eq!(errors(&heard).last().map(String::as_str), Some("57P01"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_cuts_psql_in_the_middle_of_a_statement() {
    let world = World::start().await;
    let grant = world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let client = world.psql(&secret, &[], "SELECT pg_sleep(600);\n");
    let revoking = async {
        world.until_rows(SLEEPING, "1").await;
        world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    };
    let (said, ()) = tokio::join!(client, revoking);
    assert!(!said.ok && said.err.contains("FATAL:  terminating connection"), "{said:?}");
    world.until_rows(SLEEPING, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_cuts_a_copy_and_a_hold() {
    let world = World::start().await;
    let grant = world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    raw.say(|out| frontend::query("COPY orders FROM STDIN", out).unwrap()).await;
    assert_eq!(raw.next().await.unwrap().tag, 'G');
    raw.say(|out| frontend::CopyData::new(&b"1001\tcopied\n"[..]).unwrap().write(out)).await;
    world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    assert_eq!(errors(&raw.until_ready().await), ["57P01"]);
    world.quiet().await;
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");

    let grant = world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    raw.say(|out| frontend::query("UPDATE orders SET note = 'x'", out).unwrap()).await;
    let held = world.held().await;
    world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    assert_eq!(errors(&raw.until_ready().await), ["57P01"]);
    world.until_state(&held.access.envelope.access_request, "withdrawn").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_in_psql_withdraws() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let mut psql = world.client(&secret, "psql");
    psql.args(["-X", "-A", "-t", "-v", "VERBOSITY=verbose"]);
    let mut child = psql.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"UPDATE orders SET note = 'x' WHERE id = 7;\n").await.unwrap();
    let held = world.held().await;
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().unwrap();
    assert!(interrupted.success());
    world.until_state(&held.access.envelope.access_request, "withdrawn").await;
    let said: support::Said = child.wait_with_output().await.unwrap().into();
    assert!(said.err.contains("57014"), "{said:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 7"), "order 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_the_server() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    raw.say(|out| frontend::query("SELECT pg_sleep(600)", out).unwrap()).await;
    world.until_rows(SLEEPING, "1").await;
    Raw::cancel(world.door, raw.process, &raw.key).await;
    let heard = raw.until_ready().await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["57014".to_owned()], 'I'));
    assert_eq!(status(&raw.query("SELECT 1").await), 'I');
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_recorded_is_not_forwarded() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    world.recorder.set_broken(true);
    let heard = raw.query("SELECT 'marker-unrecorded'").await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["57P01".to_owned()], '?'), "{heard:?}");
    assert!(!world.server.log().contains("marker-unrecorded"));
    world.recorder.set_broken(false);
    let mut out = BytesMut::new();
    frontend::terminate(&mut out);
    raw.send(&out).await;
}

const OURS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'safeconduct%'";
const LOCKS: &str = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'orders'";

/// Cuts the session by revocation and waits until nothing of it is left at the server.
async fn nothing_is_left(world: &World, mut raw: Raw, grant: &GrantId) {
    world.app.revoke(&world.caller("ann"), grant, words("incident")).await.unwrap();
    while raw.next().await.is_some() {}
    world.until_rows(OURS, "0").await;
    assert_eq!(world.rows(LOCKS), "0");
    world.quiet().await;
    assert_eq!(world.rows("SELECT count(*), count(*) FILTER (WHERE note LIKE 'order %') FROM orders"), "100|100");
}

async fn oscar(world: &World) -> (Raw, GrantId) {
    let grant = world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    (Raw::session(world, &world.secret("oscar").await).await, grant)
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_after_revocation_nothing_is_left_at_the_server_idle_in_a_transaction() {
    let world = World::start().await;
    let (mut raw, grant) = oscar(&world).await;
    raw.query("BEGIN").await;
    assert_eq!(status(&raw.query("UPDATE orders SET note = 'x'").await), 'T');
    assert_ne!(world.rows(LOCKS), "0");
    nothing_is_left(&world, raw, &grant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_after_revocation_nothing_is_left_at_the_server_in_the_middle_of_a_statement() {
    let world = World::start().await;
    let (mut raw, grant) = oscar(&world).await;
    raw.query("BEGIN").await;
    raw.query("UPDATE orders SET note = 'x'").await;
    raw.say(|out| frontend::query("SELECT pg_sleep(600)", out).unwrap()).await;
    world.until_rows(SLEEPING, "1").await;
    nothing_is_left(&world, raw, &grant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_after_revocation_nothing_is_left_at_the_server_in_the_middle_of_a_copy() {
    let world = World::start().await;
    let (mut raw, grant) = oscar(&world).await;
    raw.say(|out| frontend::query("COPY orders FROM STDIN", out).unwrap()).await;
    assert_eq!(raw.next().await.unwrap().tag, 'G');
    raw.say(|out| frontend::CopyData::new(&b"1001\tcopied\n1002\thalf a l"[..]).unwrap().write(out)).await;
    assert_ne!(world.rows(LOCKS), "0");
    nothing_is_left(&world, raw, &grant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_after_revocation_what_waits_behind_a_statement_at_the_server_does_not_run() {
    let world = World::start().await;
    let (mut raw, grant) = oscar(&world).await;
    // Each is a transaction of its own: a cancel ends one of them, and the next begins.
    raw.say(|out| {
        for _ in 0..5 {
            frontend::parse("", "SELECT pg_sleep(600)", [], out).unwrap();
            frontend::bind("", "", [], std::iter::empty::<()>(), |(), _| unreachable!(), [], out).ok().unwrap();
            frontend::execute("", 0, out).unwrap();
            frontend::sync(out);
        }
    })
    .await;
    world.until_rows(SLEEPING, "1").await;
    nothing_is_left(&world, raw, &grant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_other_sessions_of_the_same_login_are_left_alone() {
    let world = World::start().await;
    let (mut raw, grant) = oscar(&world).await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut other = Raw::session(&world, &world.secret("alice").await).await;
    raw.say(|out| frontend::query("SELECT pg_sleep(600)", out).unwrap()).await;
    world.until_rows(SLEEPING, "1").await;
    world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    while raw.next().await.is_some() {}
    world.until_rows(OURS, "1").await;
    assert_eq!(status(&other.query("SELECT 1").await), 'I');
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_after_revocation_nothing_is_left_at_the_server_of_what_swallows_the_cancel() {
    let world = World::start().await;
    let (mut raw, grant) = oscar(&world).await;
    world.rows(
        "CREATE FUNCTION stubborn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
         END $$; CREATE TRIGGER stubborn BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION stubborn()",
    );
    raw.say(|out| frontend::query("UPDATE orders SET note = 'x'", out).unwrap()).await;
    world.until_rows("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1").await;
    nothing_is_left(&world, raw, &grant).await;
}
