//! Backups of a gateway that is in use, and what a restored one starts with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use support::node::{Node, Place};

const READ: [&str; 8] = ["request", "orders-db", "--operation", "read", "--for", "8h", "--reason", "a test"];
const WRITE: [&str; 8] = ["request", "orders-db", "--operation", "write", "--for", "1h", "--reason", "a test"];

fn backup(place: &Place, to: &str) -> serde_json::Value {
    let (folder, settings) = (place.path(to), place.path("safeconduct.toml"));
    place.run("operator", &["backup", folder.to_str().unwrap(), "--config", settings.to_str().unwrap(), "--json"]).ok().json()
}

fn restore(place: &Place, from: &str) -> support::Ran {
    let (folder, settings) = (place.path(from), place.path("safeconduct.toml"));
    place.run("operator", &["restore", folder.to_str().unwrap(), "--config", settings.to_str().unwrap()])
}

/// Ann sees every grant ended, and why; the ledger says so and verifies.
fn nothing_is_live(place: &Place, gateway: &Node, why: &str) {
    let refused = place.run("alice", &["grants"]);
    assert_eq!(refused.status, 5, "she was signed out: {}", refused.page());
    for name in ["ann", "alice"] {
        place.sign_in(gateway, name);
    }
    assert!(place.run("ann", &["grants", "--json"]).ok().json().as_array().unwrap().is_empty());
    let all = place.run("ann", &["requests", "--all", "--json"]).ok().json();
    let states: Vec<&str> = all.as_array().unwrap().iter().map(|asked| asked["state"].as_str().unwrap()).collect();
    assert!(states.contains(&"revoked") && states.contains(&"withdrawn") && !states.contains(&"active"), "{states:?}");
    let connect = place.run("alice", &["connect", "orders-db", "--json"]);
    assert_ne!(connect.status, 0, "{}", connect.page());
    let tail = place.run("ann", &["ledger", "tail", "--json"]).ok().out;
    assert!(tail.contains("store_restored") && tail.contains(why), "{tail}");
    place.run("ann", &["ledger", "verify"]).ok();
    gateway.until_figure("safeconduct_grants_live{resource=\"orders-db\"}", |live| live == 0.0);
}

#[test]
fn f03_what_a_backup_brings_back_is_ended_before_a_door_opens() {
    let place = Place::new();
    let mut gateway = place.start();
    place.people(&gateway);
    place.run("alice", &READ).ok();
    place.run("alice", &WRITE).ok();
    let mut psql = place.psql("alice");
    psql.send("select note from orders;");
    assert_eq!(psql.line(), "one");

    // Under load: statements and askings go on while it is copied.
    let done = AtomicBool::new(false);
    let manifest = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                place.run("dora", &["requests", "--json"]).ok();
                place.run("alice", &["request", "orders-db", "--operation", "read", "--for", "1m", "--reason", "load"]).ok();
                psql.send("select note from orders;");
                psql.line();
            }
        });
        let manifest = backup(&place, "backup");
        done.store(true, Ordering::Release);
        manifest
    });
    assert!(manifest["entries"].as_u64().unwrap() > 20 && manifest["checkpoint"].as_str().unwrap().starts_with("test/ledger\n"));
    psql.end();
    // Ended after the backup: it must not come back.
    let grant = place.run("alice", &["grants", "--json"]).ok().json()[0]["grant"].as_str().unwrap().to_owned();
    place.run("alice", &["release", &grant]).ok();
    let refused = restore(&place, "backup");
    assert!(refused.status == 1 && refused.err.contains("BACKUP-003"), "{}", refused.page());
    gateway.stop();

    fs::rename(place.path("data"), place.path("before")).unwrap();
    // Another byte in a recording or in the store is found.
    let store = place.path("backup/safeconduct.db");
    let whole = fs::read(&store).unwrap();
    fs::write(&store, [whole.as_slice(), b"x"].concat()).unwrap();
    assert!(restore(&place, "backup").err.contains("BACKUP-002"));
    fs::write(&store, &whole).unwrap();
    restore(&place, "backup").ok();

    // Killed at its first start, as early as it goes and later: the mark stays until all has ended.
    fs::remove_file(place.path("keys/newest-checkpoint")).unwrap();
    for _ in 0..3 {
        let settings = place.settings();
        let mut serve = support::command(&place.path("operator"), &["serve", "--config", settings.to_str().unwrap()]);
        let mut killed = serve.stderr(std::process::Stdio::null()).spawn().unwrap();
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(place.path("data/restored.json").exists());
    }
    let mut gateway = place.start();
    assert!(!place.path("data/restored.json").exists());
    nothing_is_live(&place, &gateway, "the backup made at");
    // What was published before and is in the backup is still in the log.
    let checkpoint = place.path("checkpoint");
    fs::write(&checkpoint, manifest["checkpoint"].as_str().unwrap()).unwrap();
    gateway.stop();
    let mut gateway = place.start();
    for name in ["ann", "alice"] {
        place.sign_in(&gateway, name);
    }
    place.run("ann", &["ledger", "verify", "--checkpoint", checkpoint.to_str().unwrap()]).ok();
    place.run("alice", &READ).ok();
    gateway.stop();
    // A start like any other leaves grants alone.
    let gateway = place.start();
    gateway.until_figure("safeconduct_grants_live{resource=\"orders-db\"}", |live| live == 1.0);
}

#[test]
fn f03_a_copy_put_back_by_hand_is_found_out_by_what_its_key_has_signed() {
    let place = Place::new();
    let mut gateway = place.start();
    place.people(&gateway);
    place.run("alice", &READ).ok();
    place.run("alice", &WRITE).ok();
    gateway.stop();
    assert!(Command::new("cp").arg("-a").args([place.path("data"), place.path("copy")]).status().unwrap().success());
    let mut gateway = place.start();
    let grant = place.run("alice", &["grants", "--json"]).ok().json()[0]["grant"].as_str().unwrap().to_owned();
    place.run("alice", &["release", &grant]).ok();
    gateway.stop();
    fs::remove_dir_all(place.path("data")).unwrap();
    fs::rename(place.path("copy"), place.path("data")).unwrap();
    let gateway = place.start();
    gateway.said("every grant in it ends");
    nothing_is_live(&place, &gateway, "does not extend what this key has signed");
}
