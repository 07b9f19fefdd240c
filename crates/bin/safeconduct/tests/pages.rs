//! Help and error pages as people see them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use support::{command, root, run, snapshot};

/// Every verb, and the verbs below some.
const VERBS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["demo"],
    &["sign-in"],
    &["sign-out"],
    &["whoami"],
    &["resources"],
    &["request"],
    &["run"],
    &["requests"],
    &["show"],
    &["approve"],
    &["deny"],
    &["cancel"],
    &["grants"],
    &["release"],
    &["revoke"],
    &["extend"],
    &["connect"],
    &["sessions"],
    &["kill"],
    &["replay"],
    &["ledger"],
    &["ledger", "verify"],
    &["ledger", "export"],
    &["ledger", "tail"],
    &["ledger", "checkpoint"],
    &["ledger", "prove"],
    &["policy"],
    &["policy", "check"],
    &["policy", "test"],
    &["policy", "explain"],
    &["policy", "plan"],
    &["policy", "apply"],
    &["policy", "facts"],
    &["user"],
    &["user", "create"],
    &["group"],
    &["group", "add"],
    &["workload"],
    &["token"],
    &["key"],
    &["key", "enrol"],
    &["receipt"],
    &["clock"],
    &["status"],
    &["doctor"],
    &["backup"],
    &["restore"],
    &["completions"],
    &["version"],
];

#[test]
fn help_of_every_verb() {
    let home = tempfile::tempdir().unwrap();
    for verb in VERBS {
        let mut arguments = verb.to_vec();
        arguments.push("--help");
        let ran = run(home.path(), &arguments).ok();
        assert!(ran.err.is_empty(), "{}", ran.err);
        // The node's own settings belong to its own tests.
        if !matches!(*verb, ["serve"] | ["demo"]) {
            snapshot(&format!("help-{}", if verb.is_empty() { "safeconduct".to_owned() } else { verb.join("-") }), &ran.out);
        }
    }
}

#[test]
fn every_verb_takes_json() {
    let home = tempfile::tempdir().unwrap();
    for verb in VERBS {
        let mut arguments = verb.to_vec();
        arguments.push("--help");
        assert!(run(home.path(), &arguments).out.contains("--json"), "{verb:?}");
    }
}

#[test]
fn error_pages_and_their_exit_statuses() {
    let home = tempfile::tempdir().unwrap();
    let ca = home.path().join("authority.pem");
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, certificate.cert.pem()).unwrap();
    let ca = ca.to_str().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("https://{closed}");

    let cases: &[(&str, i32, &[&str])] = &[
        ("not-signed-in", 5, &["whoami"]),
        ("no-server", 2, &["sign-in", "alice"]),
        ("never-trust-on-first-sight", 2, &["sign-in", "alice", "--server", "https://gateway.example"]),
        ("no-plain-http", 2, &["sign-in", "alice", "--server", "http://gateway.example", "--ca", ca]),
        ("no-password", 2, &["sign-in", "alice", "--server", "https://gateway.example", "--ca", ca]),
        ("no-such-verb", 2, &["aprove", "rq-1"]),
        ("yes-needs-a-digest", 2, &["approve", "rq-000000000000", "--yes"]),
        ("no-such-bundle", 2, &["policy", "check", "no/such/dir"]),
    ];
    for (name, status, arguments) in cases {
        let ran = run(home.path(), arguments);
        assert_eq!(ran.status, *status, "{}", ran.page());
        assert!(ran.out.is_empty());
        snapshot(&format!("error-{name}"), &ran.err);
    }
    let unreachable =
        command(home.path(), &["whoami", "--server", &nowhere, "--ca", ca]).env("SAFECONDUCT_TOKEN", "sct_secret").output().unwrap();
    let unreachable = support::Ran::of(unreachable);
    assert_eq!(unreachable.status, 6, "{}", unreachable.page());
    assert!(!unreachable.page().contains("sct_secret"));
    snapshot("error-unreachable", &unreachable.err.replace(&nowhere, "https://NOWHERE"));
    let json = run(home.path(), &["whoami", "--json"]);
    assert_eq!(json.json()["error"]["code"], "CLI-003");
    assert_eq!(json.status, 5);
}

#[test]
fn f46_colours_only_for_terminals() {
    let home = tempfile::tempdir().unwrap();
    assert!(!run(home.path(), &["whoami"]).page().contains('\u{1b}'));
}

#[test]
fn completions_for_every_shell() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(home.path(), &["completions", shell]).ok().out.contains("safeconduct"), "{shell}");
    }
    assert!(run(home.path(), &["version"]).ok().out.starts_with("safeconduct "));
    assert!(run(home.path(), &["version", "--json"]).ok().json()["version"].is_string());
}

#[test]
fn policies_are_checked_tested_and_compared_offline() {
    let home = tempfile::tempdir().unwrap();
    let bundle = root().join("demo/bundle");
    let bundle = bundle.to_str().unwrap();
    assert!(run(home.path(), &["policy", "check", bundle]).ok().out.contains("no mistakes"));
    assert_eq!(run(home.path(), &["policy", "test", bundle, "--json"]).ok().json()["failed"], 0);
    let same = run(home.path(), &["policy", "plan", bundle, "--against", bundle, "--json"]).ok();
    assert_eq!(same.json()["changes"], false);

    let broken = home.path().join("broken");
    std::fs::create_dir_all(broken.join("policies")).unwrap();
    std::fs::create_dir_all(broken.join("resources")).unwrap();
    std::fs::write(broken.join("policies/a.cedar"), "@id(\"a\")\npermit (principal, action == Action::\"raed\", resource);\n").unwrap();
    std::fs::write(broken.join("resources/x.toml"), "kind = \"postgres\"\n").unwrap();
    let ran = run(home.path(), &["policy", "check", broken.to_str().unwrap()]);
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("policies/a.cedar:2:"), "{}", ran.out);
    assert!(ran.err.contains("CLI-010"), "{}", ran.err);
    let ran = run(home.path(), &["policy", "check", broken.to_str().unwrap(), "--json"]);
    assert_eq!(ran.status, 1);
    assert!(ran.json()["problems"].as_array().unwrap().len() >= 2);
}

#[test]
fn facts_are_shown_for_each_line() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("statements.sql");
    std::fs::write(&file, "select * from orders\n\nupdate orders set a = 1\nselect '\u{202e}' from x where\n").unwrap();
    let file = file.to_str().unwrap();
    let ran = run(home.path(), &["policy", "facts", "--kind", "postgres", file]).ok();
    snapshot("facts", &ran.out);
    let lines: Vec<serde_json::Value> =
        run(home.path(), &["policy", "facts", file, "--json"]).ok().out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["operations"], serde_json::json!(["read"]));
    assert_eq!(lines[1]["operations"].as_array().unwrap().last().unwrap(), "write");
    assert_eq!(lines[1]["objects"][0]["name"], "orders");
    assert!(lines[2]["unparsable"].is_string());
}
