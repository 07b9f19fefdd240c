//! The six rules of the door, as somebody would try to get round them: raw messages over real TLS to a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_model::Operation;
use support::{
    World,
    raw::{Raw, connector, errors, name, status, tags},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NOTE: &str = "SELECT note FROM orders WHERE id = 7";

async fn alice() -> (World, Raw) {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let raw = Raw::session(&world, &world.secret("alice").await).await;
    (world, raw)
}

fn parse(name: &str, text: &str, out: &mut BytesMut) {
    frontend::parse(name, text, [], out).unwrap();
}

fn bind(portal: &str, statement: &str, values: &[&str], out: &mut BytesMut) {
    let bound = frontend::bind(
        portal,
        statement,
        [],
        values,
        |value, out| {
            out.extend_from_slice(value.as_bytes());
            Ok(postgres_protocol::IsNull::No)
        },
        [],
        out,
    );
    assert!(bound.is_ok());
}

fn run(portal: &str, out: &mut BytesMut) {
    frontend::execute(portal, 0, out).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_1_everybody_who_may_not_come_in_hears_the_same() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let mut answers = Vec::new();
    for (user, database, password) in [
        ("alice", "orders-db", "wrong"),
        ("mallory", "orders-db", &secret.password),
        ("bob", "orders-db", &secret.password),
        ("alice", "no-such-db", &secret.password),
        ("alice", "safeconduct", &secret.password),
        ("alice", "orders-db/postgres", &secret.password),
        ("Alice", "orders-db", &secret.password),
        ("alice", "../orders-db", &secret.password),
    ] {
        let mut raw = Raw::encrypted(&world).await;
        let heard = raw.sign_in(user, password, &[("database", database)]).await;
        assert_eq!(tags(&heard), "RRE", "{user} {database}");
        assert_eq!(errors(&heard), ["28000"]);
        answers.push(heard.last().unwrap().clone());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert!(!world.server.log().contains("safeconduct se-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_1_nothing_is_asked_for_in_plain_text() {
    let world = World::start().await;
    let mut startup = BytesMut::new();
    frontend::startup_message([("user", "alice"), ("database", "orders-db")], &mut startup).unwrap();
    let mut tcp = TcpStream::connect(world.door).await.unwrap();
    tcp.write_all(&startup).await.unwrap();
    let mut heard = Vec::new();
    tcp.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.first(), Some(&b'E'));
    assert!(String::from_utf8_lossy(&heard).contains("C28000\0"));

    // Slipped in behind the request for TLS: never read as if it had been encrypted.
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    request.extend_from_slice(&startup);
    let mut tcp = TcpStream::connect(world.door).await.unwrap();
    tcp.write_all(&request).await.unwrap();
    let mut heard = Vec::new();
    let _ = tcp.read_to_end(&mut heard).await;
    assert_eq!(heard.first(), Some(&b'S'));
    assert!(heard.get(1).is_none_or(|byte| *byte == 0x15), "only a TLS alert may follow: {heard:?}");

    // GSSAPI is declined, TLS may follow.
    let mut tcp = TcpStream::connect(world.door).await.unwrap();
    tcp.write_all(&[0, 0, 0, 8, 4, 210, 22, 48]).await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'N');
    tcp.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'S');
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_1_direct_tls_is_for_those_who_say_they_speak_postgresql() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let direct = |alpn| {
        let world = &world;
        async move { connector(world, alpn).connect(name(), TcpStream::connect(world.door).await.unwrap()).await }
    };
    let mut raw = Raw::over(direct(true).await.unwrap());
    let heard = raw.sign_in("alice", &secret.password, &[("database", "orders-db")]).await;
    assert_eq!(status(&heard), 'I', "{heard:?}");
    let mut raw = Raw::over(direct(false).await.unwrap());
    assert!(raw.sign_in("alice", &secret.password, &[("database", "orders-db")]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_2_settings_that_change_meaning_are_refused_at_sign_in_and_later() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    for (parameter, value) in [
        ("options", "-c standard_conforming_strings=off"),
        ("options", "--search-path=evil"),
        ("options", "-c default_transaction_read_only=off"),
        ("options", "-c role=postgres"),
        ("options", "-W 10"),
        ("search_path", "evil"),
        ("session_replication_role", "replica"),
        ("replication", "database"),
        ("replication", "true"),
        ("backslash_quote", "on"),
        ("no such", "x"),
    ] {
        let mut raw = Raw::encrypted(&world).await;
        let heard = raw.sign_in("alice", &secret.password, &[("database", "orders-db"), (parameter, value)]).await;
        assert!(tags(&heard).ends_with('E'), "{parameter}={value}: {heard:?}");
    }
    let mut raw = Raw::encrypted(&world).await;
    let harmless =
        [("database", "orders-db"), ("DateStyle", "German"), ("options", "-c statement_timeout=60s"), ("client_encoding", "LATIN1")];
    let heard = raw.sign_in("alice", &secret.password, &harmless).await;
    assert_eq!(status(&heard), 'I', "{heard:?}");
    let shown = raw.query("SELECT current_setting('datestyle'), current_setting('client_encoding'), current_setting('search_path')").await;
    let row = String::from_utf8_lossy(&shown[1].body).into_owned();
    assert!(row.contains("German, DMY") && row.contains("UTF8") && row.contains("\"public\", pg_temp"), "{row}");
    // The server's people find the session by its name, whatever its client calls itself.
    for set in [
        "SET application_name = 'it''s mine'",
        "RESET application_name",
        "SET LOCAL application_name TO 'x'",
        "SELECT 1; SET application_name = 'mine'; SET datestyle TO iso; /* ; */ SET application_name = 'yours'",
    ] {
        assert!(errors(&raw.query(set).await).is_empty(), "{set}");
        let name = raw.query("SHOW application_name").await;
        assert!(String::from_utf8_lossy(&name[1].body).contains("safeconduct se-"), "{set}: {name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_rule_2_temporary_objects_hide_nothing_and_nothing_is_held_behind_them() {
    let world = World::start().await;
    world.apply("permit (principal == Person::\"alice\", action == Action::\"temp\", resource == Resource::\"orders-db\");").await;
    world.window("alice", &[Operation::Read, Operation::Temp], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    assert_eq!(errors(&raw.query("CREATE TEMP TABLE orders AS SELECT 7 AS id, 'mine' AS note").await), Vec::<String>::new());
    // The permanent table is what the name means, for reading as for what anybody approves.
    let heard = raw.query(NOTE).await;
    assert!(heard.iter().any(|message| message.tag == 'D' && message.body.ends_with(b"order 7")), "{heard:?}");
    let heard = raw.query("UPDATE orders SET note = 'x' WHERE id = 7").await;
    assert_eq!(errors(&heard), ["42501"], "{heard:?}");
    assert!(heard[0].fields()[&'D'].contains("temporary objects") || heard[0].fields()[&'M'].contains("held"), "{heard:?}");
    assert_eq!(world.rows(NOTE), "order 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_4_an_approved_action_that_a_savepoint_undid_is_not_called_committed() {
    let (world, mut raw) = alice().await;
    assert_eq!(status(&raw.query("BEGIN; SAVEPOINT s").await), 'T');
    raw.say(|out| frontend::query("UPDATE orders SET note = 'undone' WHERE id = 7", out).unwrap()).await;
    let undone = world.held().await;
    world.approve(&undone).await;
    assert_eq!(status(&raw.until_ready().await), 'T');
    assert_eq!(status(&raw.query("ROLLBACK TO s").await), 'T');
    raw.say(|out| frontend::query("UPDATE orders SET note = 'kept' WHERE id = 8", out).unwrap()).await;
    let kept = world.held().await;
    world.approve(&kept).await;
    assert_eq!(status(&raw.until_ready().await), 'T');
    assert_eq!(status(&raw.query("COMMIT").await), 'I');
    for (view, how) in [(undone, "RolledBack"), (kept, "Committed")] {
        let settled = world.until_state(&view.access.envelope.access_request, "settled").await;
        assert!(format!("{:?}", settled.access.state).contains(how), "{how}: {:?}", settled.access.state);
    }
    assert_eq!(world.rows("SELECT string_agg(note, ',' ORDER BY id) FROM orders WHERE id IN (7, 8)"), "order 7,kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_a_refused_parse_does_not_lend_its_name_to_the_old_statement() {
    let (world, mut raw) = alice().await;
    // `s` is a read; then `s` is parsed anew as something that fails at the server, and bound in the same breath.
    raw.say(|out| {
        parse("s", "SELECT 1", out);
        frontend::sync(out);
    })
    .await;
    assert_eq!(tags(&raw.until_ready().await), "1Z");
    raw.say(|out| {
        parse("s", "UPDATE orders SET note = 'stolen' WHERE id = 7", out);
        bind("", "s", &[], out);
        run("", out);
        frontend::sync(out);
    })
    .await;
    let heard = raw.until_ready().await;
    assert!(heard.iter().any(|message| message.tag == 'E'), "{heard:?}");
    // The other way round: a write hides under a name that was closed only in appearance.
    raw.say(|out| {
        frontend::close(b'S', "nothing", out).unwrap();
        parse("w", "UPDATE orders SET note = 'stolen' WHERE id = 7", out);
        parse("w", "SELECT 2", out);
        bind("", "w", &[], out);
        run("", out);
        frontend::sync(out);
    })
    .await;
    let first = raw.until_ready().await;
    assert_eq!(world.rows(NOTE), "order 7", "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_execute_runs_nothing_that_changes_what_later_texts_mean() {
    let (_world, mut raw) = alice().await;
    // SQL's PREPARE takes none of these, the protocol's Parse takes them all, and EXECUTE runs them.
    let hidden = [
        ("d", "DEALLOCATE p"),
        ("e", "PREPARE p AS UPDATE orders SET note = 'stolen' WHERE id = 7"),
        ("s", "SET search_path TO evil"),
        ("x", "SET xmloption TO document"),
        ("b", "BEGIN"),
    ];
    raw.say(|out| {
        parse("p", "SELECT 1", out);
        hidden.iter().for_each(|(name, text)| parse(name, text, out));
        frontend::sync(out);
    })
    .await;
    assert_eq!(tags(&raw.until_ready().await), "111111Z");
    for (name, text) in hidden {
        let heard = raw.query(&format!("EXECUTE {name}")).await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["42501".to_owned()], 'I'), "{text}: {heard:?}");
    }
    assert_eq!(tags(&raw.query("EXECUTE p").await), "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_parse_once_bind_many_each_bind_is_decided_anew() {
    let (world, mut raw) = alice().await;
    raw.say(|out| {
        parse("r", "SELECT note FROM orders WHERE id = $1::int", out);
        for id in ["7", "8", "9"] {
            bind("", "r", &[id], out);
            run("", out);
        }
        frontend::sync(out);
    })
    .await;
    assert_eq!(tags(&raw.until_ready().await), "12DC2DC2DCZ");
    let grants = world.app.access_requests(&world.caller("alice"), safeconduct_app::List::Mine, query()).await.unwrap();
    let grant = grants[0].access.grant();
    world.app.revoke(&world.caller("ann"), &grant, safeconduct_testkit::words("enough")).await.unwrap();
    raw.say(|out| {
        bind("", "r", &["7"], out);
        run("", out);
        frontend::sync(out);
    })
    .await;
    let heard = raw.until_ready().await;
    assert!(!tags(&heard).contains('D'), "{heard:?}");
    assert_eq!(errors(&heard), ["57P01"]);
}

fn query() -> safeconduct_app::ports::AccessQuery {
    safeconduct_app::ports::AccessQuery { limit: 10, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_function_calls_never_pass() {
    let (world, mut raw) = alice().await;
    // Function 2026 is pg_backend_pid.
    raw.send(b"F\0\0\0\x0e\0\0\x07\xea\0\0\0\0\0\x01").await;
    let heard = raw.until_ready().await;
    assert!(heard.iter().any(|message| message.tag == 'E'), "{heard:?}");
    assert!(!tags(&heard).contains('V'));
    assert!(!world.server.log().contains("fastpath"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_a_text_of_many_statements_passes_whole_or_not_at_all() {
    let (world, mut raw) = alice().await;
    raw.say(|out| frontend::query("SELECT 1; UPDATE orders SET note = 'x' WHERE id = 7; SELECT 2", out).unwrap()).await;
    let held = world.held().await;
    assert!(!world.server.log().contains("SELECT 1; UPDATE"));
    let id = held.access.envelope.access_request.clone();
    world.app.deny(&world.caller("bob"), &id, safeconduct_testkit::words("no"), None).await.unwrap();
    let heard = raw.until_ready().await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["42501".to_owned()], 'I'));
    assert!(!tags(&heard).contains('D'));
    assert_eq!(world.rows(NOTE), "order 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn f35_what_the_parser_does_not_know_is_not_forwarded() {
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    for text in ["SELEC 'marker-1'", "SELECT E'\\'; DELETE FROM orders; --marker-2", "SELECT 'marker-3", "marker-4 \\gexec"] {
        let heard = raw.query(text).await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["42501".to_owned()], 'I'), "{text}: {heard:?}");
    }
    // Not UTF-8: the server would refuse it; so does the door, before it.
    raw.send(b"Q\0\0\0\x10SELECT '\xff\xfe'\0").await;
    let heard = raw.until_ready().await;
    assert!(heard.iter().any(|message| message.tag == 'E'), "{heard:?}");
    assert!(!world.server.log().contains("marker-"));
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_4_a_refusal_is_an_error_of_the_server() {
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let secret = world.secret("oscar").await;
    let mut raw = Raw::session(&world, &secret).await;
    assert_eq!(status(&raw.query("BEGIN").await), 'T');
    assert_eq!(status(&raw.query("UPDATE orders SET note = 'a' WHERE id = 7").await), 'T');
    assert_eq!(status(&raw.query("SAVEPOINT s").await), 'T');
    let refused = raw.query("CREATE ROLE mallory").await;
    assert_eq!((errors(&refused), status(&refused)), (vec!["42501".to_owned()], 'E'));
    assert_eq!(errors(&raw.query("SELECT 1").await), ["25P02"]);
    assert_eq!(status(&raw.query("ROLLBACK TO s").await), 'T');
    assert_eq!(status(&raw.query("COMMIT").await), 'I');
    assert_eq!(world.rows(NOTE), "a");

    // In a pipeline everything up to Sync is skipped.
    raw.say(|out| {
        parse("", "UPDATE orders SET note = 'b' WHERE id = 7", out);
        bind("", "", &[], out);
        run("", out);
        parse("", "CREATE ROLE mallory", out);
        bind("", "", &[], out);
        run("", out);
        parse("", "UPDATE orders SET note = 'c' WHERE id = 7", out);
        bind("", "", &[], out);
        run("", out);
        frontend::sync(out);
    })
    .await;
    let heard = raw.until_ready().await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["42501".to_owned()], 'I'), "{heard:?}");
    assert_eq!(world.rows(NOTE), "a");

    let one_transaction = "UPDATE orders SET note = 'd';\nCREATE ROLE mallory;\nUPDATE orders SET note = 'e';\n";
    let said = world.psql(&secret, &["-1", "-v", "ON_ERROR_STOP=1", "-f", "-"], one_transaction).await;
    assert!(!said.ok && said.err.contains("CREATE ROLE") | said.err.contains("admin"), "{said:?}");
    let said = world.psql(&secret, &["-1", "-f", "-"], one_transaction).await;
    assert!(said.err.contains("aborted"), "{said:?}");
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE note IN ('d', 'e')"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_4_no_commit_passes_after_a_grant_it_used_has_ended() {
    let world = World::start().await;
    let write = world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    world.window("oscar", &[Operation::Read], 600).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    assert_eq!(status(&raw.query("BEGIN").await), 'T');
    assert_eq!(status(&raw.query("UPDATE orders SET note = 'late' WHERE id = 7").await), 'T');
    world.app.revoke(&world.caller("ann"), &write, safeconduct_testkit::words("enough")).await.unwrap();
    let heard = raw.query("COMMIT").await;
    assert_eq!(errors(&heard), ["57P01"], "{heard:?}");
    world.quiet().await;
    assert_eq!(world.rows(NOTE), "order 7");
    // The read grant is untouched.
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    assert_eq!(status(&raw.query("SELECT 1").await), 'I');
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_5_cancel_leaving_and_terminate_take_a_held_statement_back() {
    let (world, mut raw) = alice().await;
    let update = "UPDATE orders SET note = 'x' WHERE id = 7";
    raw.say(|out| frontend::query(update, out).unwrap()).await;
    let id = world.held().await.access.envelope.access_request.clone();
    // Somebody else's key does nothing.
    Raw::cancel(world.door, raw.process, &[0, 0, 0, 0]).await;
    Raw::cancel(world.door, raw.process.wrapping_add(1), &raw.key).await;
    assert_eq!(world.held().await.access.envelope.access_request, id);
    Raw::cancel(world.door, raw.process, &raw.key).await;
    let heard = raw.until_ready().await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["57014".to_owned()], 'I'));
    world.until_state(&id, "withdrawn").await;

    raw.say(|out| frontend::query(update, out).unwrap()).await;
    let id = world.held().await.access.envelope.access_request.clone();
    raw.say(frontend::terminate).await;
    world.until_state(&id, "withdrawn").await;
    world.quiet().await;

    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    raw.say(|out| frontend::query(update, out).unwrap()).await;
    let id = world.held().await.access.envelope.access_request.clone();
    drop(raw);
    world.until_state(&id, "withdrawn").await;
    world.quiet().await;
    assert_eq!(world.rows(NOTE), "order 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_5_a_hold_in_a_transaction_is_short_and_its_end_fails_the_transaction() {
    let (world, mut raw) = alice().await;
    assert_eq!(status(&raw.query("BEGIN").await), 'T');
    raw.say(|out| frontend::query("UPDATE orders SET note = 'x' WHERE id = 7", out).unwrap()).await;
    let held = world.held().await;
    world.clock.advance(std::time::Duration::from_secs(61));
    world.app.tick().await.unwrap();
    let heard = raw.until_ready().await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["42501".to_owned()], 'E'), "{heard:?}");
    world.until_state(&held.access.envelope.access_request, "lapsed").await;
    assert_eq!(status(&raw.query("ROLLBACK").await), 'I');
    assert_eq!(world.rows(NOTE), "order 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_5_an_approval_is_for_that_session_alone() {
    let (world, mut raw) = alice().await;
    let update = "UPDATE orders SET note = 'x' WHERE id = 7";
    raw.say(|out| frontend::query(update, out).unwrap()).await;
    let held = world.held().await;
    let mut other = Raw::session(&world, &world.secret("alice").await).await;
    other.say(|out| frontend::query(update, out).unwrap()).await;
    drop(raw);
    let id = held.access.envelope.access_request.clone();
    world.until_state(&id, "withdrawn").await;
    let late = world.app.approve(&world.caller("bob"), &id, held.access.digest, None, None).await;
    assert!(late.is_err());
    // The other session's is another access request.
    let others = world.held().await;
    assert_ne!(others.access.envelope.access_request, id);
    world.approve(&others).await;
    let heard = other.until_ready().await;
    assert_eq!(tags(&heard), "CZ", "{heard:?}");
    assert_eq!(world.rows(NOTE), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_5_a_bound_statement_is_shown_with_its_parameters_and_runs_with_them() {
    let (world, mut raw) = alice().await;
    raw.say(|out| {
        parse("u", "UPDATE orders SET note = $1 WHERE id = $2::int", out);
        bind("", "u", &["bound", "7"], out);
        run("", out);
        frontend::sync(out);
    })
    .await;
    let held = world.held().await;
    let shown = format!("{:?}", held.access.envelope.scope);
    assert!(shown.contains("bound") && shown.contains("\"7\""), "{shown}");
    world.approve(&held).await;
    let heard = raw.until_ready().await;
    assert_eq!((tags(&heard).as_str(), errors(&heard)), ("12CZ", vec![]), "{heard:?}");
    world.until_state(&held.access.envelope.access_request, "settled").await;
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE note = 'bound'"), "1");
    // Bound again it is another action, whatever its name.
    raw.say(|out| {
        bind("", "u", &["bound", "8"], out);
        run("", out);
        frontend::sync(out);
    })
    .await;
    let again = world.held().await;
    world.app.deny(&world.caller("bob"), &again.access.envelope.access_request, safeconduct_testkit::words("no"), None).await.unwrap();
    assert_eq!(errors(&raw.until_ready().await), ["42501"]);
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE note = 'bound'"), "1");
}
