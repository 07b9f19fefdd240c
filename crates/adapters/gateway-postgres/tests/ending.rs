//! Sessions end when their right does: on time, by somebody's act, idle or in the middle of a statement.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_model::Operation;
use safeconduct_testkit::words;
use support::{
    World,
    raw::{Raw, errors, status, tags},
};
use tokio::io::AsyncWriteExt;

const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";

/// Waits until the server says so.
async fn until(world: &World, sql: &str, wanted: &str) {
    while world.rows(sql) != wanted {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_expiry_ends_idle_and_running_sessions() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 60).await;
    let secret = world.secret("alice").await;
    let (mut idle, mut running) = (Raw::session(&world, &secret).await, Raw::session(&world, &secret).await);
    running.say(|out| frontend::query("SELECT pg_sleep(600)", out).unwrap()).await;
    until(&world, SLEEPING, "1").await;
    world.clock.advance(Duration::from_secs(60));
    world.app.tick().await.unwrap();
    for raw in [&mut idle, &mut running] {
        let heard = raw.until_ready().await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["57P01".to_owned()], '?'), "{heard:?}");
    }
    until(&world, SLEEPING, "0").await;
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
        until(&world, SLEEPING, "1").await;
        world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    };
    let (said, ()) = tokio::join!(client, revoking);
    assert!(!said.ok && said.err.contains("FATAL:  terminating connection"), "{said:?}");
    until(&world, SLEEPING, "0").await;
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
    until(&world, SLEEPING, "1").await;
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
