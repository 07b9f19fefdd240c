//! Drivers as they come, through the door: nothing about them is changed. `tests/drivers/setup.sh` installs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};

use safeconduct_model::Operation;
use support::{Said, World};

async fn check(program: &str, arguments: &[&str], modules: Option<&str>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap();
    let drivers = std::env::var_os("SAFECONDUCT_DRIVERS").map_or_else(|| root.join("target/drivers"), PathBuf::from);
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let secret = world.secret("oscar").await;
    let place = |text: &str| text.replace("DRIVERS", &drivers.display().to_string()).replace("CHECKS", &root.join("tests/drivers").display().to_string());
    let mut command = world.client(&secret, &place(program));
    command.args(arguments.iter().map(|argument| place(argument)));
    if let Some(modules) = modules {
        command.env("NODE_PATH", place(modules));
    }
    let said: Said = command.spawn().expect("run tests/drivers/setup.sh first").wait_with_output().await.unwrap().into();
    assert!(said.ok, "{}\n{}", said.out, said.err);
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");
    assert_eq!(world.rows("SELECT count(*) FROM pg_roles WHERE rolname = 'mallory'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tests/drivers/setup.sh"]
async fn psycopg_works_unchanged() {
    check("DRIVERS/python/bin/python", &["CHECKS/psycopg/check.py"], None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tests/drivers/setup.sh"]
async fn asyncpg_works_unchanged() {
    check("DRIVERS/python/bin/python", &["CHECKS/asyncpg/check.py"], None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tests/drivers/setup.sh"]
async fn node_pg_works_unchanged() {
    check("node", &["CHECKS/node/check.js"], Some("DRIVERS/node/node_modules")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tests/drivers/setup.sh"]
async fn jdbc_works_unchanged() {
    check("java", &["-cp", "/usr/share/java/postgresql.jar:DRIVERS/jdbc", "Check"], None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_in_every_mode() {
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let secret = world.secret("oscar").await;
    let script = world.folder.path().join("script.sql");
    std::fs::write(
        &script,
        "\\set id random(1, 100)\nBEGIN;\nUPDATE orders SET note = note WHERE id = :id;\nSELECT note FROM orders WHERE id = :id;\nEND;\n",
    )
    .unwrap();
    for mode in ["simple", "extended", "prepared"] {
        let mut pgbench = world.client(&secret, "pgbench");
        pgbench.args(["-n", "-M", mode, "-c", "4", "-t", "25", "-f"]).arg(&script);
        let said: Said = pgbench.spawn().unwrap().wait_with_output().await.unwrap().into();
        assert!(said.ok && said.out.contains("100/100"), "{mode}: {said:?}");
    }
}
