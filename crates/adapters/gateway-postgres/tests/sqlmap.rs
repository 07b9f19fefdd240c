//! sqlmap against a web page that builds SQL by concatenation and reads through the door: it finds the hole, reads what the page may read, and
//! does nothing else, although the gateway's login at the server is a superuser.
//!
//! `make test` installs sqlmap and the page's driver (`scripts/drivers.sh`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{path::Path, process::Stdio};

use safeconduct_app::ports::What;
use safeconduct_model::Operation;
use support::{
    Said, World,
    state::{State, begins_with, executed, reads},
};
use tokio::io::AsyncBufReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn f30_f31_sqlmap_behind_a_read_grant_reads_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap();
    let python =
        std::env::var("SAFECONDUCT_TEST_PYTHON").unwrap_or_else(|_| root.join("target/drivers/python/bin/python").display().to_string());
    let world = World::start().await;
    let _ = world.rows("ALTER ROLE app SUPERUSER; ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()");
    // Whatever no grant covers is refused at once.
    world.apply("permit (principal == Person::\"ann\", action == Action::\"read\", resource == Resource::\"orders-db\");").await;
    world.window("ann", &[Operation::Read], 3600).await;
    let before = State::of(&world);
    drop(world.server.take_log());

    let mut page = world.client(&world.secret("ann").await, &python);
    page.arg(root.join("tests/attack/app.py")).stderr(Stdio::inherit());
    let mut page = page.spawn().unwrap_or_else(|error| panic!("{python}: {error}; run `make test`, which installs the drivers"));
    let mut port = String::new();
    tokio::io::BufReader::new(page.stdout.take().unwrap()).read_line(&mut port).await.unwrap();

    let secret = world.folder.path().join("secret");
    std::fs::write(&secret, "the machine's own").unwrap();
    // A shell by way of the database takes sqlmap minutes of guessing by time; COPY … PROGRAM is among the evasions, which go through too.
    let ways: [&[&str]; 3] = [
        &["--technique", "EUS", "--current-user", "--is-dba", "--passwords", "--dump", "-T", "orders", "--stop", "3"],
        &["--technique", "S", "--sql-query", "DELETE FROM orders"],
        &["--technique", "EUS", "--file-read", secret.to_str().unwrap()],
    ];
    let mut said = String::new();
    for way in ways {
        let mut sqlmap = tokio::process::Command::new("sqlmap");
        sqlmap.args(["-u", &format!("http://127.0.0.1:{}/order?id=7", port.trim()), "-p", "id", "--batch", "--disable-coloring"]);
        sqlmap.args(["--dbms", "PostgreSQL", "--time-sec", "1", "--timeout", "20", "--retries", "0"]).args(way);
        sqlmap.env("HOME", world.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let ran: Said = sqlmap.spawn().expect("the package `sqlmap`").wait_with_output().await.unwrap().into();
        said.push_str(&ran.out);
    }
    drop(page.stdin.take());
    page.wait().await.unwrap();
    world.quiet().await;

    // It is the real thing: it found the hole and read through it.
    assert!(said.contains("is vulnerable") || said.contains("injection point"), "{said}");
    assert!(said.contains("order 1"), "{said}");
    let log = world.server.take_log();
    let by_word = begins_with(&executed(&log));
    assert!(by_word.keys().all(|word| reads(word)) && by_word["select"] > 20, "{by_word:?}");
    before.must_be(&State::of(&world));
    assert!(!said.contains("the machine's own"), "{said}");
    assert!(!log.contains("PROGRAM") || !log.contains("LOG:  statement: COPY"), "{log}");
    // What it tried on top is on record as refused.
    let query = safeconduct_app::ports::SessionQuery { limit: 50, ..Default::default() };
    let sessions = world.app.sessions(&world.caller("ann"), query).await.unwrap();
    let refused =
        sessions.iter().flat_map(|session| world.records(&session.id)).filter(|record| matches!(record.what, What::Refused { .. }));
    assert!(refused.count() > 3, "{said}");
}
