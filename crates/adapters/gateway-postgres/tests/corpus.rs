//! PostgreSQL's own regression tests sent by somebody who may only read, each statement by itself, to a server where the gateway's login may do
//! everything. Judged by what the server holds and says afterwards, not by how we understand texts.
//!
//! `make test` sends a part, `make attack` every statement (`SAFECONDUCT_ATTACK=all`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use postgres_protocol::message::frontend;
use safeconduct_gateway_postgres::Limits;
use safeconduct_model::Operation;
use support::{
    World,
    raw::{Raw, errors, status, tags},
    state::{State, begins_with, corpus, executed, reads, superuser},
};

/// Longest that anything may take that must not hang: it guards, it measures nothing.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// Sessions at once.
const AT_ONCE: usize = 3;
/// One statement in so many, unless all are sent.
const SAMPLE: usize = 32;
/// Tests that are run for real first, so that the names in the others' statements mean something; all of them if all are sent.
const SETUP: [&str; 12] = [
    "test_setup",
    "create_function_c",
    "create_misc",
    "create_table",
    "create_type",
    "create_schema",
    "create_view",
    "rules",
    "sequence",
    "inherit",
    "triggers",
    "foreign_key",
];
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f30_nothing_but_reads_runs_of_a_whole_corpus() {
    let all = std::env::var("SAFECONDUCT_ATTACK").is_ok_and(|what| what == "all");
    let corpus = corpus();
    let world = Arc::new(patient().await);
    let _ = world.rows("ALTER ROLE app SUPERUSER; ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()");
    set_up(&world, &corpus, all);
    drop(world.server.take_log());
    // She may ask for nothing else: whatever no grant covers is refused at once.
    world.apply("permit (principal == Person::\"ann\", action == Action::\"read\", resource == Resource::\"orders-db\");").await;
    world.window("ann", &[Operation::Read], 3600).await;

    let before = State::of(&world);
    let (sent, ran, wrong, log) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(String::new()));
    let next = AtomicUsize::new(0);
    let tests: Vec<_> = corpus.iter().collect();
    let work = || async {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((test, statements)) = tests.get(place) else { return };
            // Every other test runs where the server itself refuses to write, so that it says what it takes for a write.
            let read_only = (test.len() + place) % 2 == 1;
            let mut raw = reader(&world, read_only).await;
            let sample = statements.iter().enumerate().filter(|(place, _)| all || (place + test.len()) % SAMPLE == 0);
            for statement in sample.map(|(_, statement)| statement).filter(|statement| !draws_a_number(statement)) {
                let heard = raw.query(statement).await;
                sent.fetch_add(1, Ordering::Relaxed);
                let codes = errors(&heard);
                if codes.is_empty() {
                    ran.fetch_add(1, Ordering::Relaxed);
                }
                if codes.iter().any(|code| code == "25006") || tags(&heard).contains('G') {
                    wrong.lock().push(format!("{test}: {statement}\n   {codes:?}"));
                }
                match status(&heard) {
                    'I' => {}
                    '?' => raw = reader(&world, read_only).await,
                    _ => drop(raw.query("ROLLBACK").await),
                }
            }
            log.lock().push_str(&world.server.take_log());
        }
    };
    let workers: Vec<_> = (0..AT_ONCE).map(|_| work()).collect();
    futures_util::future::join_all(workers).await;
    world.quiet().await;
    log.lock().push_str(&world.server.take_log());

    let by_word = begins_with(&executed(&log.lock()));
    println!(
        "sent {}, answered without an error {}; the server executed {by_word:?}",
        sent.load(Ordering::Relaxed),
        ran.load(Ordering::Relaxed)
    );
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(by_word.keys().all(|word| reads(word)), "{by_word:?}");
    before.must_be(&State::of(&world));
    let (enough_sent, enough_ran) = if all { (40_000, 8_000) } else { (1_000, 150) };
    assert!(sent.into_inner() > enough_sent && ran.into_inner() > enough_ran, "the corpus or the server is not what this test expects");
}

/// Every known way round a reading of SQL, in both protocols.
#[tokio::test(flavor = "multi_thread")]
async fn f30_f31_f32_f35_no_evasion_gets_past_a_read_grant() {
    let world = patient().await;
    let _ = world.rows(
        "ALTER ROLE app SUPERUSER; ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf(); CREATE SEQUENCE s; CREATE SEQUENCE orders_id_seq; \
         CREATE EXTENSION dblink; CREATE SCHEMA evil; CREATE FUNCTION close_month() RETURNS int LANGUAGE sql AS 'DELETE FROM orders RETURNING 1'",
    );
    world.apply("permit (principal == Person::\"ann\", action == Action::\"read\", resource == Resource::\"orders-db\");").await;
    world.window("ann", &[Operation::Read], 3600).await;
    let before = State::of(&world);
    let (mut stopped, mut passed) = (0, 0);
    let mut raw = reader(&world, false).await;
    for (needs, text) in evasions() {
        let reads = needs.split('+').all(|operation| matches!(operation, "connect" | "read"));
        for extended in [false, true] {
            let answer = async { if extended { extended_query(&mut raw, &text).await } else { raw.query(&text).await } };
            let heard = tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer: {text}"));
            let refused = errors(&heard).iter().any(|code| code == "42501");
            // To prepare a statement runs nothing: the server may refuse it before the door does, but nothing is bound.
            let stopped_short = !tags(&heard).contains(['2', 'C', 'D', 'I', 'G', 'H']) && errors(&heard).len() == 1;
            if reads {
                passed += 1;
                // What a name stands for that nobody made is unknown.
                let named = ["EXECUTE", "FETCH", "MOVE"].iter().any(|word| text.to_uppercase().contains(word));
                assert!(!refused || named, "{needs}: {text}\n{heard:?}");
                if status(&heard) != 'I' {
                    drop(raw.query("ROLLBACK").await);
                }
                assert_eq!(errors(&raw.query("DISCARD ALL").await), Vec::<String>::new(), "after {text}");
            } else {
                stopped += 1;
                assert!(stopped_short && (refused || extended), "{needs}: {text}\n{heard:?}");
            }
        }
    }
    drop(raw);
    world.quiet().await;
    before.must_be(&State::of(&world));
    assert!(stopped > 300 && passed > 30, "{stopped} {passed}");
}

/// What a text needs, and the text.
fn evasions() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/corpus/evasions");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let texts: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let cases = texts.iter().flat_map(|text| text.trim_end().split("\n\n"));
    let case = |block: &str| {
        let (head, text) = block.split_once('\n').unwrap();
        let (needs, _) = head.strip_prefix("-- ").unwrap().split_once(": ").unwrap();
        (needs.to_owned(), text.to_owned())
    };
    cases.map(case).collect()
}

async fn extended_query(raw: &mut Raw, text: &str) -> Vec<support::raw::Heard> {
    raw.say(|out| {
        frontend::parse("", text, [], out).unwrap();
        let bound = frontend::bind("", "", [], std::iter::empty::<()>(), |(), _| Ok(postgres_protocol::IsNull::Yes), [], out);
        assert!(bound.is_ok());
        frontend::execute("", 0, out).unwrap();
        frontend::sync(out);
    })
    .await;
    raw.until_ready().await
}

/// A gateway that gives a busy machine time: hundreds of sessions are opened.
async fn patient() -> World {
    World::start_with(Limits { handshake: PATIENCE, upstream_connect: PATIENCE, ..Limits::default() }).await
}

async fn reader(world: &World, read_only: bool) -> Raw {
    let secret = world.secret("ann").await;
    let mut raw = Raw::encrypted(world).await;
    let options = format!("-c statement_timeout=2s{}", if read_only { " -c default_transaction_read_only=on" } else { "" });
    let heard = raw.sign_in(secret.user.as_str(), &secret.password, &[("database", &secret.dbname), ("options", &options)]).await;
    assert_eq!(heard.last().map(|message| message.tag), Some('Z'), "{heard:?}");
    raw
}

/// Reads that draw the transaction's number, which writes nothing but is how we see writes; `my_locks` is a view that does.
fn draws_a_number(statement: &str) -> bool {
    let text = statement.to_lowercase();
    ["txid_current", "pg_current_xact_id", "my_locks"].iter().any(|word| text.contains(word))
}

/// Runs tests for real, straight at the server.
fn set_up(world: &World, corpus: &[(String, Vec<String>)], all: bool) {
    let file = world.folder.path().join("setup.sql");
    let mut text = String::from("SET statement_timeout = '5s';\n");
    for (test, statements) in corpus {
        if !all && !SETUP.contains(&test.as_str()) {
            continue;
        }
        text.push_str("\\connect -\n");
        for statement in statements.iter().filter(|statement| !reaches_beyond(statement)) {
            text.push_str(statement);
            text.push_str(if statement.to_lowercase().contains("from stdin") { ";\n\\.\n" } else { ";\n" });
        }
    }
    std::fs::write(&file, text).unwrap();
    let mut psql = superuser(world, "psql");
    // Much of it fails, as it should.
    assert!(psql.args(["-X", "-q", "-o", "/dev/null", "-d", "app", "-f"]).arg(&file).output().unwrap().status.success());
}

/// Statements that work on the machine's files or on more than the one database.
fn reaches_beyond(statement: &str) -> bool {
    let text = statement.to_lowercase();
    let words =
        ["tablespace", "database", "subscription", "alter system", "program", "vacuum", "reindex", "load '", "lo_import", "lo_export"];
    words.iter().any(|word| text.contains(word)) || (text.contains("copy") && (text.contains("to '") || text.contains("from '")))
}
