//! Retiring login roles: whatever they did and whatever the server is doing, nothing stays, and it is proved.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use postgres_protocol::message::frontend;
use safeconduct_app::ports::{Append, Login, Minting as _, MintingError, Role, Row, SessionRow, Store as _};
use safeconduct_gateway_postgres::{Limits, PostgresMinting};
use safeconduct_lifecycle::{Event, NodeEvent, SessionEvent, StreamId};
use safeconduct_model::{Operation, SessionId};
use safeconduct_testkit::words;
use support::{
    World,
    raw::{Raw, errors},
};
use tokio::io::AsyncWriteExt as _;
use zeroize::Zeroizing;

const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'safeconduct\\_se%' AND state = 'active'";

#[tokio::test(flavor = "multi_thread")]
async fn f10_a_role_that_owns_things_is_cut_first_then_cleared_then_dropped() {
    let world =
        World::minted("CREATE DATABASE second; CREATE ROLE keeper; GRANT keeper TO app; GRANT CREATE ON SCHEMA public TO keeper;").await;
    let grant = world.window("oscar", &[Operation::Read, Operation::Ddl, Operation::Temp], 600).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    assert_eq!(
        errors(&raw.query("CREATE TABLE mine (a int); CREATE TEMP TABLE passing (a int); CREATE VIEW v AS SELECT 1 AS a").await),
        [""; 0]
    );
    let role = world.roles();
    let _ = world.rows(&format!("ALTER DEFAULT PRIVILEGES FOR ROLE \"{role}\" IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC"));
    // In the middle of a statement.
    raw.say(|out| frontend::query("SELECT pg_sleep(600)", out).unwrap()).await;
    world.until_rows(SLEEPING, "1").await;
    world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    assert_eq!(errors(&raw.until_ready().await), ["57P01"]);
    world.until_rows(SLEEPING, "0").await;
    world.until_roles("").await;
    let proof = world.proof(&world.only_session().await.id).await;
    assert_eq!((proof.existed, proof.cleared.as_slice(), proof.probe.as_str()), (true, &["app".to_owned()][..], "28P01"));
    assert_eq!(world.rows("SELECT tableowner FROM pg_tables WHERE tablename = 'mine'"), "app");
    assert_eq!(world.rows("SELECT count(*) FROM pg_default_acl"), "0");
    world.until_ended(&grant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_while_what_a_role_owns_can_not_be_cleared_it_signs_in_nowhere() {
    let world = World::minted("").await;
    let grant = world.window("oscar", &[Operation::Read, Operation::Ddl], 600).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    assert_eq!(errors(&raw.query("CREATE TABLE mine (a int)").await), [""; 0]);
    let role = world.roles();
    // Somebody else holds on to it: it can be neither given away nor dropped.
    let server = &world.server;
    let mut holder = tokio::process::Command::new("psql");
    holder
        .args(["-X", "-q", "-d", &server.database, "-U", &server.superuser, "-p", &server.port.to_string()])
        .env("PGHOST", &server.socket_dir);
    holder.env("PGPASSWORD", &server.superuser_password).stdin(std::process::Stdio::piped()).kill_on_drop(true);
    let mut holder = holder.spawn().unwrap();
    holder.stdin.as_mut().unwrap().write_all(b"BEGIN; LOCK TABLE mine;\n").await.unwrap();
    world
        .until_rows("SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = 'mine'::regclass", "1")
        .await;
    world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    world.until_rows("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'REASSIGN%'", "t").await;
    assert_eq!(world.rows(&format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{role}'")), "f");
    assert_eq!(world.rows(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'")), "0");
    assert!(!world.access(&grant).await.ended);
    drop(holder.stdin.take());
    world.until_roles("").await;
    world.until_ended(&grant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_a_role_that_is_gone_is_not_believed_to_be_while_its_login_still_signs_in() {
    let world = World::minted("").await;
    let files = safeconduct_policy::Bundle::parse(&support::bundle(&world.server, "")).unwrap();
    let resource = Arc::clone(files.resource(&safeconduct_testkit::parsed("orders-db")).unwrap());
    let password = world.server.password.clone();
    let secret = password.clone();
    let minting = PostgresMinting::new(Arc::new(move |_| Ok(Zeroizing::new(secret.clone()))), Limits::default());
    let role = Role { name: "safeconduct_se-notthere".to_owned(), resource, database: "app".to_owned() };
    let login = |password: &str| Login { role: world.server.user.clone(), password: Zeroizing::new(password.to_owned()) };
    let refused = minting.retire(&role, Some(&login(&password))).await.unwrap_err();
    assert!(matches!(&refused, MintingError::NotProved(why) if why.contains("still signs in")), "{refused:?}");
    let proof = minting.retire(&role, Some(&login("another"))).await.unwrap();
    assert_eq!((proof.existed, proof.probe.as_str()), (false, "28P01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_f06_a_server_that_refuses_is_asked_again_until_it_is_proved_and_only_then_is_the_grant_ended() {
    let world = World::minted("").await;
    let grant = world.window("alice", &[Operation::Read], 600).await;
    let raw = Raw::session(&world, &world.secret("alice").await).await;
    assert_eq!(world.app.status().await.unretired_roles, 0);
    // The gateway's own account can do nothing more.
    let _ = world.rows("ALTER ROLE app NOCREATEROLE");
    world.app.revoke(&world.caller("ann"), &grant, words("incident")).await.unwrap();
    drop(raw);
    while world.app.status().await.unretired_roles != 1 {
        tokio::task::yield_now().await;
    }
    world.app.tick().await.unwrap();
    assert!(!world.access(&grant).await.ended, "the role is still there");
    // Seen as open by everybody who lists sessions.
    assert!(world.only_session().await.is_open());
    assert!(world.app.figures().await.contains("credentials_unretired 1"));
    let _ = world.rows("ALTER ROLE app CREATEROLE");
    world.until_roles("").await;
    world.until_ended(&grant).await;
    assert_eq!(world.app.status().await.unretired_roles, 0);
    assert_eq!(world.proof(&world.only_session().await.id).await.probe, "28P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_restart_finds_the_roles_of_sessions_that_died_with_it() {
    let mut world = World::minted("").await;
    let grant = world.window("alice", &[Operation::Read], 600).await;
    // Died between the role at the server and any word about it.
    let (id, at) = (SessionId::from_bits(77), world.app.now());
    let role = format!("safeconduct_{id}");
    let opened = SessionEvent::Opened {
        principal: "alice".parse().unwrap(),
        resource: "orders-db".parse().unwrap(),
        database: "app".into(),
        source: "127.0.0.1:1".into(),
        grants: vec![grant.clone()],
        at,
    };
    let intended = SessionEvent::CredentialIntended { role: role.clone(), bundle: world.app.status().await.policy, at };
    let row = SessionRow {
        id: id.clone(),
        principal: "alice".parse().unwrap(),
        resource: "orders-db".parse().unwrap(),
        opened_at: at,
        closed_at: None,
    };
    let events = vec![Event::Session(opened), Event::Session(intended)];
    let append = Append { stream: StreamId::Session(id.clone()), expected: 0, events, row: Some(Row::Session(row)) };
    world.store.append(vec![append], at).await.unwrap();
    let _ = world.rows(&format!("CREATE ROLE \"{role}\" LOGIN IN ROLE orders_read; ALTER ROLE app NOCREATEROLE"));
    world.restart().await;
    assert_eq!(world.app.status().await.unretired_roles, 1);
    let _ = world.rows("ALTER ROLE app CREATEROLE");
    world.until_roles("").await;
    let proof = world.proof(&id).await;
    assert!(proof.existed && proof.probe == "28P01", "{proof:?}");
    // And one that was never made: found to be missing, and the login refused all the same.
    assert!(!world.session_events(&id).await.is_empty());
    world.app.revoke(&world.caller("ann"), &grant, words("over")).await.unwrap();
    world.app.tick().await.unwrap();
    world.until_ended(&grant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_roles_that_nobody_accounts_for_are_reported_and_left_alone() {
    let world = World::minted("CREATE ROLE \"safeconduct_se-000000000000\" LOGIN; CREATE ROLE safeconduct_admin;").await;
    world.window("alice", &[Operation::Read], 600).await;
    let _raw = Raw::session(&world, &world.secret("alice").await).await;
    world.app.sweep_roles().await;
    let reported: Vec<Vec<String>> = world
        .store
        .load(StreamId::Node)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|stored| if let Some(Event::Node(NodeEvent::UnknownRoles { roles, .. })) = stored.event { Some(roles) } else { None })
        .collect();
    assert_eq!(reported, [["safeconduct_admin", "safeconduct_se-000000000000"]]);
    assert_eq!(world.app.status().await.unknown_roles, ["safeconduct_admin", "safeconduct_se-000000000000"]);
    assert_eq!(world.roles().lines().count(), 3);
    // Said once, until it changes.
    world.app.sweep_roles().await;
    let _ = world.rows("DROP ROLE safeconduct_admin");
    world.app.sweep_roles().await;
    assert_eq!(world.app.status().await.unknown_roles, ["safeconduct_se-000000000000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_resource_that_leaves_the_bundle_ends_its_grants_and_retires_its_roles_first() {
    let world = World::minted("").await;
    let grant = world.window("alice", &[Operation::Read], 600).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    let session = world.only_session().await.id;
    let mut files = support::bundle(&world.server, support::minted::CREDENTIALS);
    files.files.remove("resources/orders-db.toml");
    files.files.remove("policies/test.cedar");
    world.app.operator_policy(&files).await.unwrap();
    assert_eq!(errors(&raw.until_ready().await), ["57P01"]);
    world.until_roles("").await;
    assert_eq!(world.proof(&session).await.probe, "28P01");
    world.until_ended(&grant).await;
    assert_eq!(world.access(&grant).await.state.name(), "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_sent_before_goodbye_is_done_before_the_role_goes() {
    let world = World::minted("").await;
    world.window("oscar", &[Operation::Read, Operation::Write], 600).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    raw.say(|out| {
        frontend::query("UPDATE orders SET note = 'last' WHERE id = 1 AND pg_sleep(0.3) IS NOT NULL", out).unwrap();
        frontend::terminate(out);
    })
    .await;
    world.until_rows("SELECT note FROM orders WHERE id = 1", "last").await;
    world.until_roles("").await;
    assert_eq!(world.proof(&world.only_session().await.id).await.ended, 0);
}
