//! COPY FROM STDIN under an approval: asked for with its data, and what was approved is what is copied.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_app::AccessView;
use safeconduct_model::{Action, CopyData, Operation, Scope, SqlAction, Words};
use support::{
    Said, World,
    raw::{Raw, errors, status, tags},
};
use tokio::io::AsyncWriteExt as _;

fn sql(view: &AccessView) -> &SqlAction {
    let Scope::Exact { action: Action::Sql(sql), .. } = &view.access.envelope.scope else { panic!("{view:?}") };
    sql
}

async fn deny(world: &World, view: &AccessView) {
    world.app.deny(&world.caller("bob"), &view.access.envelope.access_request, Words::new("not these").unwrap(), None).await.unwrap();
}

fn count(world: &World) -> String {
    world.rows("SELECT count(*) FROM orders")
}

fn data(bytes: &[u8], out: &mut BytesMut) {
    frontend::CopyData::new(bytes).unwrap().write(out);
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_a_copy_is_asked_for_with_its_data_and_exactly_that_is_copied() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let file = world.folder.path().join("new.tsv");
    std::fs::write(&file, "1001\tfirst\n1002\tsecond\n").unwrap();
    let script = format!("\\copy orders from '{}'\nSELECT 'still here';\n", file.display());
    let client = world.psql(&secret, &[], &script);
    let people = async {
        let held = world.held().await;
        assert_eq!(sql(&held).copy_data, Some(CopyData::of(b"1001\tfirst\n1002\tsecond\n")));
        assert_eq!(count(&world), "100");
        // What the file says by now is nobody's business.
        std::fs::write(&file, "1001\tforged\n1002\tsecond\n").unwrap();
        world.approve(&held).await;
        let settled = world.until_state(&held.access.envelope.access_request, "settled").await;
        assert!(format!("{:?}", settled.access.state).contains("Committed"), "{:?}", settled.access.state);
    };
    let (said, ()) = tokio::join!(client, people);
    assert!(said.ok && said.out.contains("COPY 2") && said.out.ends_with("still here"), "{said:?}");
    assert!(said.err.contains("NOTICE:  held as access request rq-"), "{said:?}");
    assert_eq!(world.rows("SELECT string_agg(note, ',' ORDER BY id) FROM orders WHERE id > 1000"), "first,second");

    // The same in the text of a script, with another format, inside a transaction.
    let script = "BEGIN;\nCOPY orders (note, id) FROM STDIN WITH (FORMAT csv, HEADER);\nnote,id\n\"a,b\",1003\n\\.\nCOMMIT;\n";
    let (said, ()) = tokio::join!(world.psql(&secret, &[], script), async {
        let held = world.held().await;
        // Some versions of psql send the end mark too.
        let shown = sql(&held).copy_data.clone().unwrap();
        assert!(shown.first_lines.starts_with(&["note,id".to_owned(), "\"a,b\",1003".to_owned()]), "{shown:?}");
        world.approve(&held).await;
    });
    assert!(said.ok && said.out.contains("COPY 1") && said.out.ends_with("COMMIT"), "{said:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 1003"), "a,b");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_a_denied_copy_changes_nothing_and_fails_its_transaction() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let script = "COPY orders FROM STDIN;\n1001\tx\n\\.\nSELECT 'after';\n";
    let (said, ()) = tokio::join!(world.psql(&secret, &["-1", "-v", "ON_ERROR_STOP=1"], script), async {
        deny(&world, &world.held().await).await;
    });
    assert!(!said.ok && said.err.contains("not these") && !said.out.contains("after"), "{said:?}");
    let (said, ()) = tokio::join!(world.psql(&secret, &[], script), async { deny(&world, &world.held().await).await });
    assert!(said.err.contains("not these") && said.out == "after", "{said:?}");
    assert_eq!(count(&world), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_errors_of_the_server_reach_the_client_whenever_they_come() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    for (script, code) in [("COPY nowhere FROM STDIN;\n1\n\\.\n", "42P01"), ("COPY orders FROM STDIN;\n1001\tx\nword\ty\n\\.\n", "22P02")] {
        let script = format!("{script}SELECT 'after';\n");
        let (said, ()) = tokio::join!(world.psql(&secret, &["-v", "VERBOSITY=sqlstate"], &script), async {
            let held = world.held().await;
            world.approve(&held).await;
            let settled = world.until_state(&held.access.envelope.access_request, "settled").await;
            assert!(format!("{:?}", settled.access.state).contains(code), "{:?}", settled.access.state);
        });
        assert!(said.err.contains(code) && said.out == "after", "{said:?}");
    }
    assert_eq!(count(&world), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_a_large_copy_passes_whole_and_one_above_the_bound_not_at_all() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let rows = |count: usize| (0..count).map(|n| format!("{}\t{}\n", 1_001 + n, "x".repeat(1_000))).collect::<String>();
    let large = rows(4_000);
    let file = world.folder.path().join("large.tsv");
    std::fs::write(&file, &large).unwrap();
    let script = format!("\\copy orders from '{}'\n", file.display());
    let (said, ()) = tokio::join!(world.psql(&secret, &[], &script), async {
        let held = world.held().await;
        let shown = sql(&held).copy_data.clone().unwrap();
        assert_eq!((shown.size_bytes, shown.lines, shown.first_lines.len()), (large.len() as u64, 4_000, CopyData::SHOWN_LINES));
        world.approve(&held).await;
    });
    assert!(said.ok && said.out == "COPY 4000", "{said:?}");
    assert_eq!(world.rows("SELECT count(*), sum(length(note)) FROM orders WHERE id > 1000"), "4000|4000000");

    std::fs::write(&file, rows(12_000)).unwrap();
    let said = world.psql(&secret, &["-v", "VERBOSITY=verbose"], &format!("{script}SELECT 'after';\n")).await;
    assert!(said.err.contains("54000") && said.err.contains("at most 4194304 bytes") && said.out == "after", "{said:?}");
    assert_eq!(count(&world), "4100");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_ctrl_c_in_psql_ends_a_copy_before_and_while_it_is_held() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    // More than a pipe holds: once all of it is written, psql has begun to copy.
    let program = world.folder.path().join("interrupt.sh");
    std::fs::write(&program, "#!/bin/sh\nyes '1001\tx' | head -n 40000\nkill -INT \"$1\"\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!("\\copy orders from program '{} $PPID'\nSELECT 'after';\n", program.display());
    let said = world.psql(&secret, &["-v", "VERBOSITY=verbose"], &script).await;
    assert!(said.err.contains("57014"), "{said:?}");
    assert!(
        world.app.access_requests(&world.caller("bob"), safeconduct_app::List::ToApprove, Default::default()).await.unwrap().is_empty()
    );

    let mut psql = world.client(&secret, "psql");
    let mut child = psql.args(["-X", "-A", "-t", "-v", "VERBOSITY=verbose"]).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"COPY orders FROM STDIN;\n1001\tx\n\\.\n").await.unwrap();
    let held = world.held().await;
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().unwrap().success());
    world.until_state(&held.access.envelope.access_request, "withdrawn").await;
    let said: Said = child.wait_with_output().await.unwrap().into();
    assert!(said.err.contains("57014"), "{said:?}");
    assert_eq!(count(&world), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_a_cancel_while_data_comes_in_fails_the_statement_and_the_session_goes_on() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    raw.query("BEGIN").await;
    raw.say(|out| frontend::query("COPY orders FROM STDIN", out).unwrap()).await;
    assert_eq!(raw.next().await.unwrap().tag, 'G');
    raw.say(|out| data(b"1001\tx\n", out)).await;
    Raw::cancel(world.door, raw.process, &raw.key).await;
    let heard = raw.until_ready().await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["57014".to_owned()], 'E'));
    raw.say(|out| {
        data(b"1002\tx\n", out);
        frontend::copy_done(out);
    })
    .await;
    assert_eq!(status(&raw.query("ROLLBACK").await), 'I');

    // The client goes while its copy is held.
    raw.say(|out| {
        frontend::query("COPY orders FROM STDIN", out).unwrap();
        data(b"1001\tx\n", out);
        frontend::copy_done(out);
    })
    .await;
    let held = world.held().await;
    drop(raw);
    world.until_state(&held.access.envelope.access_request, "withdrawn").await;
    world.quiet().await;
    assert_eq!(count(&world), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_a_copy_in_company_or_in_the_extended_protocol_is_refused_with_a_way_out() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    let heard = raw.query("COPY orders FROM STDIN; SELECT 1").await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["42501".to_owned()], 'I'));
    raw.say(|out| {
        frontend::parse("", "COPY orders FROM STDIN", [], out).unwrap();
        frontend::bind("", "", [], std::iter::empty::<()>(), |(), _| unreachable!(), [], out).ok().unwrap();
        frontend::execute("", 0, out).unwrap();
        frontend::sync(out);
    })
    .await;
    let heard = raw.until_ready().await;
    assert_eq!(tags(&heard), "1EZ");
    let error = heard.iter().find(|message| message.tag == 'E').unwrap();
    assert!(error.sqlstate() == "42501" && error.fields()[&'H'].contains("as a simple query of its own"), "{:?}", error.fields());
    assert_eq!(count(&world), "100");
}
