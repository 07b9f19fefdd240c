//! What clients do beyond queries: copies, files in one transaction, large objects, notifications, resets. Each answer is the server's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_app::ports::What;
use safeconduct_model::Operation;
use support::{
    Said, World,
    raw::{Heard, Raw, errors, status, tags},
};

const WRITES: &[Operation] = &[Operation::Read, Operation::Write];

/// The same text by psql to the server itself and through the door, each on a server of its own.
async fn the_same(operations: &[Operation], setup: &str, arguments: &[&str], sql: &str) -> Said {
    let world = World::start().await;
    let _ = world.rows(setup);
    let server = &world.server;
    let direct = server_psql(server, arguments, sql).await;
    let world = World::start().await;
    world.unrestricted_for("oscar").await;
    let _ = world.rows(setup);
    world.window("oscar", operations, 900).await;
    let said = world.psql(&world.secret("oscar").await, arguments, sql).await;
    assert_eq!((&said.out, said.ok), (&direct.out, direct.ok), "{said:?}\n{direct:?}");
    assert_eq!(said.err, direct.err);
    said
}

async fn server_psql(server: &safeconduct_testkit::PostgresServer, arguments: &[&str], sql: &str) -> Said {
    let mut psql = tokio::process::Command::new("psql");
    psql.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).args(["-X", "-A", "-t"]).args(arguments);
    psql.env("PGHOST", &server.host).env("PGPORT", server.port.to_string()).env("PGUSER", &server.user);
    psql.env("PGPASSWORD", &server.password).env("PGDATABASE", &server.database);
    support::feed(psql, sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_copies_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.csv").display().to_string();
    let sql = format!(
        "\\copy (select id + 1000, note from orders where id <= 3) to '{file}' csv\n\\copy orders from '{file}' csv\n\
         select * from orders where id > 1000 order by id;\ncopy orders (id, note) from stdin;\n2000\tinline\n\\.\n\
         select count(*) from orders;\n"
    );
    let said = the_same(WRITES, "", &[], &sql).await;
    assert!(said.out.ends_with("COPY 1\n104"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_watches_until_an_error() {
    let setup = "create sequence watched; alter sequence watched owner to app";
    let said = the_same(WRITES, setup, &["-v", "ON_ERROR_STOP=1"], "select 6 / (4 - nextval('watched')) \\watch 0.01\n").await;
    assert!(said.out.contains("\n6") && said.err.contains("division by zero"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_runs_a_file_in_one_transaction() {
    let good = "insert into orders values (1001, 'a');\nsavepoint s;\ninsert into orders values (1002, 'b');\nrollback to s;\n";
    the_same(WRITES, "", &["-1", "-f", "-"], &format!("{good}select count(*) from orders;\n")).await;
    let said = the_same(WRITES, "", &["-1", "-f", "-"], &format!("{good}select 1 / 0;\nselect 1;\n")).await;
    assert!(said.err.contains("aborted"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_work_under_unrestricted_access() {
    let folder = tempfile::tempdir().unwrap();
    let (here, back) = (folder.path().join("in"), folder.path().join("out"));
    let content: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    std::fs::write(&here, &content).unwrap();
    let sql = format!(
        "\\lo_import '{}' 'a picture'\n\\set oid :LASTOID\nselect length(lo_get(:oid));\n\\lo_export :oid '{}'\n\
         begin;\nselect lo_open(:oid, 131072) as fd \\gset\nselect loread(:fd, 4);\nselect lowrite(:fd, 'x');\nselect lo_tell(:fd);\ncommit;\n\
         select lo_truncate(lo_open(:oid, 131072), 3) \\g\nselect lo_put(:oid, 0, 'abc');\nselect lo_get(:oid, 0, 3);\n\
         \\lo_unlink :oid\nselect count(*) from pg_largeobject_metadata;\n",
        here.display(),
        back.display()
    );
    // Numbers of objects are the server's to choose.
    let world = World::start().await;
    world.unrestricted_for("oscar").await;
    world.window("oscar", &[Operation::Unrestricted], 900).await;
    let said = world.psql(&world.secret("oscar").await, &[], &sql).await;
    assert!(said.out.contains("\n200000\n") && said.out.ends_with("\n0"), "{said:?}");
    assert_eq!(std::fs::read(&back).unwrap(), content);
    world.quiet().await;
    let calls = |what: &&What| matches!(what, What::Intent { text, .. } if text.starts_with("-- fast-path call of function"));
    assert!(world.only_recording().await.iter().filter(calls).count() > 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_large_objects_by_number_need_unrestricted_access() {
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write, Operation::Ddl, Operation::Temp], 900).await;
    let file = world.folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let said = world.psql(&world.secret("oscar").await, &[], &format!("\\lo_import '{}'\n", file.display())).await;
    assert!(said.err.contains("fast-path"), "{said:?}");
    assert_eq!(world.rows("select count(*) from pg_largeobject_metadata"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_reach_an_idle_session_and_a_busy_one() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    assert_eq!(status(&raw.query("LISTEN news").await), 'I');
    let _ = world.rows("NOTIFY news, 'while idle'");
    let heard = raw.next().await.unwrap();
    assert_eq!((heard.tag, heard.body.ends_with(b"news\0while idle\0")), ('A', true));
    // Also between two answers.
    assert_eq!(status(&raw.query("BEGIN").await), 'T');
    let _ = world.rows("NOTIFY news, 'later'");
    assert_eq!(status(&raw.query("SELECT 1").await), 'T');
    let mut heard = raw.query("COMMIT").await;
    if !heard.iter().any(|message| message.tag == 'A') {
        heard.extend(raw.next().await);
    }
    assert!(heard.iter().any(|message| message.tag == 'A' && message.body.ends_with(b"later\0")), "{heard:?}");
    // Telling others is an effect on them.
    let said = the_same(WRITES, "", &[], "listen x;\nnotify y;\nselect 1;\n").await;
    assert!(said.ok);
}

/// One column of one row.
fn value(heard: &[Heard]) -> Vec<u8> {
    let row = heard.iter().find(|message| message.tag == 'D').unwrap_or_else(|| panic!("{heard:?}"));
    row.body[6..].to_vec()
}

async fn text(raw: &mut Raw, sql: &str) -> String {
    String::from_utf8(value(&raw.query(sql).await)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_f35_a_reset_leaves_what_the_gateway_owns() {
    let world = World::start().await;
    // Defaults of database, role and server that somebody chose.
    for setting in ["search_path = evil", "standard_conforming_strings = off", "client_encoding = latin1", "application_name = own"] {
        let _ = world
            .rows(&format!("ALTER DATABASE app SET {setting}; ALTER ROLE app SET {setting}; ALTER ROLE app IN DATABASE app SET {setting}"));
    }
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    let owned = "SELECT concat_ws('|', current_setting('search_path'), current_setting('standard_conforming_strings'), \
                 current_setting('client_encoding'), current_setting('application_name'), current_setting('role'), session_user)";
    let before = text(&mut raw, owned).await;
    assert!(before.starts_with("\"public\", pg_temp|on|UTF8|safeconduct se-"), "{before}");
    for reset in [
        "RESET ALL",
        "DISCARD ALL",
        "RESET search_path",
        "SET search_path TO DEFAULT",
        "SET LOCAL search_path TO DEFAULT",
        "RESET standard_conforming_strings",
        "RESET client_encoding",
        "SET NAMES DEFAULT",
        "RESET application_name",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
    ] {
        assert_eq!(errors(&raw.query(reset).await), Vec::<String>::new(), "{reset}");
        assert_eq!(text(&mut raw, owned).await, before, "{reset}");
    }
    // And in the extended protocol.
    raw.say(|out| {
        frontend::parse("", "DISCARD ALL", [], out).unwrap();
        let bound = frontend::bind("", "", [], std::iter::empty::<()>(), |(), _| Ok(postgres_protocol::IsNull::Yes), [], out);
        assert!(bound.is_ok());
        frontend::execute("", 0, out).unwrap();
        frontend::sync(out);
    })
    .await;
    assert_eq!(tags(&raw.until_ready().await), "12CZ");
    assert_eq!(text(&mut raw, owned).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn f35_a_session_whose_texts_nobody_reads_goes_on_only_where_everything_passes() {
    let world = World::start().await;
    world.unrestricted_for("oscar").await;
    let everything = world.window("oscar", &[Operation::Unrestricted], 900).await;
    world.window("oscar", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    assert_eq!(status(&raw.query("SET client_encoding = 'LATIN1'").await), 'I');
    raw.say(|out| query(b"SELECT '\xe9'", out)).await;
    assert_eq!(value(&raw.until_ready().await), b"\xe9");
    assert_eq!(status(&raw.query("SET client_encoding = 'UTF8'; SET standard_conforming_strings = off").await), 'I');
    assert_eq!(text(&mut raw, "SELECT '\\'' || 'x'").await, "'x");
    // The server itself says what is wrong with a text.
    assert_eq!(errors(&raw.query("SELEC 1").await), ["42601"]);
    assert_eq!(status(&raw.query("BEGIN").await), 'T');
    assert_eq!(status(&raw.query("COPY (SELECT 1) TO STDOUT").await), 'T');
    assert_eq!(status(&raw.query("ROLLBACK").await), 'I');
    // With read alone nothing is readable any more, whatever it says.
    world.app.revoke(&world.caller("ann"), &everything, safeconduct_testkit::words("enough")).await.unwrap();
    let smuggled = "SELECT '\\''; UPDATE orders SET note = 'x'; --'";
    for sql in ["SELECT 1", "SET standard_conforming_strings = on", smuggled] {
        assert_eq!(errors(&raw.query(sql).await), ["42501"], "{sql}");
    }
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE note = 'x'"), "0");
}

fn query(text: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(b"Q");
    out.extend_from_slice(&u32::try_from(text.len() + 5).unwrap().to_be_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\0");
}
