//! Drivers as they come, through the door: nothing about them is changed, and what they print is what they print without it.
//!
//! `make test` gets the drivers (`scripts/drivers.sh`); without them these tests fail and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};

use safeconduct_model::Operation;
use support::{Said, World};
use tokio::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

/// What `scripts/drivers.sh` says, else where it puts things.
fn installed(variable: &str, otherwise: &str) -> String {
    let place = std::env::var(variable).unwrap_or_else(|_| root().join("target/drivers").join(otherwise).display().to_string());
    assert!(Path::new(&place).exists(), "{place} is missing: run `make test`, which installs the drivers");
    place
}

fn python() -> String {
    installed("SAFECONDUCT_TEST_PYTHON", "python/bin/python")
}

fn program(name: &str) -> String {
    root().join("tests/drivers").join(name).display().to_string()
}

/// The command line of a program with this argument.
fn command_line(name: &str, argument: &str) -> Vec<String> {
    let mut line = match name.rsplit_once('.') {
        Some((_, "py")) => vec![python(), program(name)],
        Some((_, "java")) => {
            let driver = installed("SAFECONDUCT_TEST_JDBC", "/usr/share/java/postgresql.jar");
            vec!["java".to_owned(), "-cp".to_owned(), driver, program(name)]
        }
        _ => vec!["node".to_owned(), program(name)],
    };
    line.push(argument.to_owned());
    line
}

async fn run(mut command: Command, line: &[String]) -> Said {
    command.args(&line[1..]);
    if line[0] == "node" {
        command.env("NODE_PATH", installed("SAFECONDUCT_TEST_NODE_MODULES", "node/node_modules"));
    }
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", line[0])).wait_with_output().await.unwrap().into()
}

/// Runs it against the server itself and through the door.
async fn unchanged(name: &str, argument: &str, operations: &[Operation]) {
    let world = World::start().await;
    world.window("oscar", operations, 900).await;
    let line = command_line(name, argument);
    let mut direct = Command::new(&line[0]);
    direct.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    direct.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let server = &world.server;
    direct.env("PGHOST", "localhost").env("PGPORT", server.port.to_string()).env("PGUSER", &server.user);
    direct.env("PGPASSWORD", &server.password).env("PGDATABASE", &server.database).env("PGSSLROOTCERT", &server.ca_file);
    let direct = run(direct, &line).await;
    assert!(direct.ok, "without the door: {}\n{}", direct.out, direct.err);
    let said = run(world.client(&world.secret("oscar").await, &line[0]), &line).await;
    assert!(said.ok, "{}\n{}", said.out, said.err);
    assert_eq!((said.out.lines().last(), &said.out), (Some("done"), &direct.out));
}

async fn refused(name: &str) {
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let line = command_line(name, "");
    let said = run(world.client(&world.secret("oscar").await, &line[0]), &line).await;
    assert!(said.ok && said.out.ends_with("done"), "{}\n{}", said.out, said.err);
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");
    assert_eq!(world.rows("SELECT count(*) FROM pg_roles WHERE rolname = 'mallory'"), "0");
}

/// Runs it while somebody approves whatever is held, so often.
async fn approved(world: &World, name: &str, times: usize) {
    world.window("alice", &[Operation::Read], 900).await;
    let line = command_line(name, "");
    let secret = world.secret("alice").await;
    let approving = async {
        for _ in 0..times {
            let held = world.held().await;
            world.approve(&held).await;
            world.until_state(&held.access.envelope.access_request, "settled").await;
        }
        std::future::pending::<()>().await;
    };
    let said = tokio::select! {
        said = run(world.client(&secret, &line[0]), &line) => said,
        () = approving => unreachable!(),
    };
    assert!(said.ok && said.out.ends_with("done"), "{name}: {}\n{}", said.out, said.err);
}

async fn copies(name: &str) {
    let world = World::start().await;
    approved(&world, name, 2).await;
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE id > 1000"), "3");
}

/// The same driver where each session has a login role of its own, which may only read.
async fn writes(name: &str) {
    let world = World::minted("").await;
    approved(&world, name, 2).await;
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE id > 1000"), "1");
    world.until_roles("").await;
}

const READS: &[Operation] = &[Operation::Read];
const WRITES: &[Operation] = &[Operation::Read, Operation::Write];

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_works_unchanged() {
    unchanged("psycopg_driver.py", "reads", READS).await;
    unchanged("psycopg_driver.py", "writes", WRITES).await;
    refused("psycopg_refusals.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asyncpg_works_unchanged() {
    unchanged("asyncpg_driver.py", "reads", READS).await;
    unchanged("asyncpg_driver.py", "writes", WRITES).await;
    refused("asyncpg_refusals.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_pg_works_unchanged() {
    unchanged("node_driver.cjs", "reads", READS).await;
    unchanged("node_driver.cjs", "writes", WRITES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_works_unchanged() {
    unchanged("JdbcDriver.java", "reads", READS).await;
    unchanged("JdbcDriver.java", "writes", WRITES).await;
    refused("JdbcRefusals.java").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_drivers_copy_rows_that_somebody_approves() {
    tokio::join!(copies("psycopg_held_copy.py"), copies("asyncpg_held_copy.py"), copies("JdbcHeldCopy.java"));
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_write_what_somebody_approves_under_a_role_that_may_only_read() {
    tokio::join!(
        writes("psycopg_held_writes.py"),
        writes("asyncpg_held_writes.py"),
        writes("node_held_writes.cjs"),
        writes("JdbcHeldWrites.java")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_in_every_mode() {
    let world = World::start().await;
    world.window("oscar", WRITES, 900).await;
    let secret = world.secret("oscar").await;
    let script = world.folder.path().join("script.sql");
    let statements =
        "\\set id random(1, 100)\nBEGIN;\nUPDATE orders SET note = note WHERE id = :id;\nSELECT note FROM orders WHERE id = :id;\nEND;\n";
    std::fs::write(&script, statements).unwrap();
    for mode in ["simple", "extended", "prepared"] {
        let mut pgbench = world.client(&secret, "pgbench");
        pgbench.args(["-n", "-M", mode, "-c", "4", "-t", "25", "-f"]).arg(&script);
        let said: Said = pgbench.spawn().unwrap().wait_with_output().await.unwrap().into();
        assert!(said.ok && said.out.contains("100/100"), "{mode}: {said:?}");
    }
}
