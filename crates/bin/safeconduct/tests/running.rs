//! A gateway that runs: what its log says and never says, how it stops, and how it takes up a changed bundle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use support::node::{PASSWORD, Place, never_says};

const READ: [&str; 8] = ["request", "orders-db", "--operation", "read", "--for", "10m", "--reason", "a test"];

#[test]
fn f47_no_secret_and_no_statement_is_in_the_log_and_each_line_says_what_it_is_about() {
    let place = Place::new();
    let mut gateway = place.start_with(&[("SAFECONDUCT_LOG", "debug"), ("SAFECONDUCT_LOG_FORMAT", "json")]);
    place.people(&gateway);
    let grant = place.run("alice", &[READ.as_slice(), &["--json"]].concat()).ok().json()["grant"].as_str().unwrap().to_owned();
    let mut psql = place.psql("alice");
    psql.send("select 'a-marked-text', note from orders;");
    assert_eq!(psql.line(), "a-marked-text|one");
    // Held, approved, run.
    psql.send("update orders set note = 'a-marked-change' where id = 1;");
    gateway.said("access_request_submitted");
    let held = loop {
        let waiting = place.run("dora", &["requests", "--to-approve", "--json"]).ok().json();
        if let Some(request) = waiting.as_array().unwrap().first() {
            break (request["id"].as_str().unwrap().to_owned(), request["digest"].as_str().unwrap().to_owned());
        }
    };
    place.run("dora", &["approve", &held.0, "--digest", &held.1, "--yes"]).ok();
    assert_eq!(psql.line(), "UPDATE 1");
    // One exact action, and somebody who guesses.
    place.run("alice", &["run", "orders-db", "--reason", "a test", "--", "select 'a-marked-action'"]);
    let mut guess = Command::new("psql");
    guess.args(["-X", "-c", "select 1"]).env("PGPASSWORD", "a-marked-guess").env("PGSSLMODE", "require");
    let (host, port) = gateway.door.rsplit_once(':').unwrap();
    guess.env("PGHOST", host).env("PGPORT", port).env("PGUSER", "alice").env("PGDATABASE", "orders-db");
    assert!(!guess.stderr(Stdio::null()).status().unwrap().success());
    gateway.said("sign-in refused");
    let secret = psql.secret.clone();
    psql.end();
    gateway.said("session_closed");
    let token = fs::read_to_string(place.path("alice/token")).unwrap();
    gateway.stop();

    let log = gateway.log();
    // What the operator asked to be printed is no part of the log.
    let lines: Vec<serde_json::Value> =
        log.lines().filter(|line| line.starts_with('{')).map(|l| serde_json::from_str(l).unwrap()).collect();
    let log: String = log.lines().filter(|line| line.starts_with('{')).fold(String::new(), |all, line| all + line + "\n");
    never_says(&log, "a password", PASSWORD);
    never_says(&log, "the door's password", &secret);
    never_says(&log, "a token", token.trim());
    never_says(&log, "the server's password", &place.server.password);
    never_says(&log, "a one-time code", gateway.said("one-time code for ann").rsplit(' ').next().unwrap());
    for marked in ["a-marked-text", "a-marked-change", "a-marked-action", "a-marked-guess"] {
        never_says(&log, "a text", marked);
    }
    let about = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("no `{message}`")).clone();
    let opened = about("session_opened");
    assert!(opened["session"].as_str().is_some_and(|id| id.starts_with("se-")), "{opened}");
    assert_eq!((&opened["resource"], &opened["principal"]), (&"orders-db".into(), &"alice".into()), "{opened}");
    assert!(lines.iter().any(|line| line["grant"] == grant.as_str() && line["access_request"].is_string()));
    let submitted =
        lines.iter().find(|line| line["message"] == "access_request_submitted" && line["access_request"] == held.0.as_str()).unwrap();
    assert_eq!(submitted["session"], opened["session"], "a held statement leads to its session");
}

#[test]
fn f41_a_log_that_nobody_reads_holds_nobody_up() {
    let place = Place::new();
    let settings = place.settings();
    let mut serve = support::command(&place.path("operator"), &["serve", "--config", settings.to_str().unwrap()]);
    let mut gateway = Ended(serve.env("SAFECONDUCT_LOG", "debug").stderr(Stdio::piped()).spawn().unwrap());
    // Read up to this line, and never again.
    let mut log = BufReader::new(gateway.0.stderr.take().unwrap());
    let mut api = String::new();
    while !api.starts_with("  API ") {
        api.clear();
        assert!(log.read_line(&mut api).unwrap() > 0);
    }
    let port = api.trim().rsplit(':').next().unwrap();
    // Each of these is a line of the log: more than a pipe holds.
    for _ in 0..2_000 {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        stream.write_all(b"no handshake at all\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // Answered with an alert, or just closed: not kept waiting.
        let answered = stream.read_to_end(&mut Vec::new());
        assert!(answered.as_ref().is_ok() || answered.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "{answered:?}");
    }
}

/// Ends with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn told_to_stop_it_ends_who_does_nothing_and_lets_others_finish() {
    let place = Place::new();
    let mut gateway = place.start();
    place.people(&gateway);
    place.run("alice", &READ).ok();
    let (mut idle, mut busy) = (place.psql("alice"), place.psql("alice"));
    idle.send("select 1;");
    assert_eq!(idle.line(), "1");
    busy.send("begin; select 2;");
    assert_eq!((busy.line(), busy.line()), ("BEGIN".to_owned(), "2".to_owned()));
    gateway.signal("TERM");
    gateway.said("draining: ");
    gateway.until_figure("safeconduct_sessions_live", |live| live == 1.0);
    gateway.until_figure("safeconduct_ready", |ready| ready == 0.0);
    assert_eq!(place.run("ann", &["status", "--json"]).ok().json()["draining"], true);
    assert!(TcpStream::connect(gateway.door.replace("localhost", "127.0.0.1")).is_err(), "the door takes nobody any more");
    idle.send("select 1;");
    let (_, said) = idle.end();
    assert!(said.contains("the gateway is shutting down"), "{said}");
    busy.send("select 3;");
    assert_eq!(busy.line(), "3");
    busy.send("commit;");
    assert_eq!(busy.line(), "COMMIT");
    assert_eq!(gateway.end(), 0, "{}", gateway.log());
    let (_, said) = busy.end();
    assert!(said.is_empty() || said.contains("shutting down"), "{said}");
}

#[test]
fn told_twice_it_cuts_at_once() {
    let mut place = Place::new();
    place.more_settings = "[drain]\nwithin = \"12h\"\n".to_owned();
    let mut gateway = place.start();
    place.people(&gateway);
    place.run("alice", &READ).ok();
    let mut busy = place.psql("alice");
    busy.send("begin; select 2;");
    assert_eq!((busy.line(), busy.line()), ("BEGIN".to_owned(), "2".to_owned()));
    gateway.signal("TERM");
    gateway.said("draining: 1 ");
    gateway.signal("TERM");
    assert_eq!(gateway.end(), 0, "{}", gateway.log());
    busy.send("commit;");
    let (_, said) = busy.end();
    assert!(said.contains("57P01") || said.contains("stopping") || said.contains("shutting down"), "{said}");
}

#[test]
fn a_wrong_bundle_changes_nothing_and_is_seen_everywhere() {
    let place = Place::new();
    let mut gateway = place.start();
    place.people(&gateway);
    let policies = place.path("bundle/policies/all.cedar");
    let right = fs::read_to_string(&policies).unwrap();
    let hash = |place: &Place| place.run("ann", &["status", "--json"]).ok().json()["policy"].clone();
    let before = hash(&place);

    fs::write(&policies, format!("{right}\n@id(\"wrong\") permit (principal, action == Action::\"nonsense\", resource);")).unwrap();
    gateway.signal("HUP");
    gateway.until_figure("safeconduct_bundle_failed", |failed| failed == 1.0);
    assert!(gateway.said("is not applied").contains("POLICY-001"));
    assert_eq!(hash(&place), before);
    let status = place.run("ann", &["status"]).ok().out;
    assert!(status.contains("bundle not applied") && status.contains("nonsense"), "{status}");

    let mut better = fs::File::create(&policies).unwrap();
    write!(
        better,
        "{right}\n@id(\"more\") permit (principal in Group::\"dba\", action == Action::\"read\", resource == Resource::\"orders-db\");"
    )
    .unwrap();
    drop(better);
    gateway.signal("HUP");
    gateway.until_figure("safeconduct_bundle_failed", |failed| failed == 0.0);
    gateway.said("the changed bundle applies");
    assert_ne!(hash(&place), before);
    gateway.stop();
}

/// alice asks, dora signs, and who has nothing but the receipt and public keys sees whose key it was, and who says so.
fn receipt_is_of_the_roster(place: &Place, doras: &Path) {
    let write = ["request", "orders-db", "--operation", "write", "--for", "10m", "--reason", "a test", "--json"];
    let asked = place.run("alice", &write).ok().json();
    let (id, digest) = (asked["id"].as_str().unwrap(), asked["digest"].as_str().unwrap());
    place.run("dora", &["approve", id, "--digest", digest, "--key", doras.to_str().unwrap(), "--yes"]).ok();
    let (file, roots) = (place.path("receipt.json"), place.path("roots.pub"));
    let (file, roots) = (file.to_str().unwrap(), roots.to_str().unwrap());
    // The newest entries are under a checkpoint within a second.
    while place.run("ann", &["receipt", id, "--out", file]).err.contains("LEDGER-001") {}
    let said = place.run("ann", &["ledger", "verify", "--receipt", file]).ok().out;
    assert!(said.contains("approved by dora, signed with SHA256:") && said.contains(", of the roster of epoch 3 (entry "), "{said}");
    assert!(said.contains("its own signatures (3) were not checked against root keys"), "{said}");
    let said = place.run("ann", &["ledger", "verify", "--receipt", file, "--roots", roots]).ok().out;
    assert!(said.contains("signed by 3 of 3 root keys, 2 must") && said.contains("quorum: one of dba; met by signatures"), "{said}");
    let others = place.path("doras-key.pub");
    let refused = place.run("ann", &["ledger", "verify", "--receipt", file, "--roots", others.to_str().unwrap()]);
    assert!(refused.status != 0 && refused.err.contains("0 of the root keys signed it, 1 must"), "{}", refused.err);
}

#[test]
fn f54_with_root_keys_a_gateway_starts_and_reloads_only_what_enough_of_them_signed() {
    let place = Place::new();
    let mut gateway = place.start();
    place.people(&gateway);
    let key = |name: &str| {
        let file = place.path(name);
        assert!(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file).status().unwrap().success());
        (file.clone(), fs::read_to_string(file.with_extension("pub")).unwrap())
    };
    let (doras, roots) = (key("doras-key"), [key("root-1"), key("root-2"), key("root-3")]);
    let public = doras.0.with_extension("pub");
    place.run("ann", &["key", "enrol", "dora", public.to_str().unwrap(), "--reason", "a test"]).ok();
    fs::write(place.path("roots.pub"), roots.iter().map(|(_, line)| line.as_str()).collect::<String>()).unwrap();
    let roster = place.path("roster.json");
    let draft = |epoch: &str, by: usize| {
        let text = place.run("ann", &["key", "roster", "--epoch", epoch]).ok().out;
        fs::write(&roster, &text).unwrap();
        let signed = roots.iter().take(by).map(|(file, _)| {
            let mut sign = Command::new("ssh-keygen");
            sign.args(["-Y", "sign", "-n", "safeconduct-roster@v1", "-f"]).arg(file).stdin(fs::File::open(&roster).unwrap());
            String::from_utf8(sign.stderr(Stdio::null()).output().unwrap().stdout).unwrap()
        });
        fs::write(place.path("roster.json.sig"), signed.collect::<String>()).unwrap();
        text
    };
    let text = draft("2", 2);
    assert!(text.contains("\"dora\":{\"groups\":[\"dba\"]"), "{text}");
    gateway.stop();

    let (roots_file, roster_file) = (place.path("roots.pub"), roster.clone());
    let settings =
        [("SAFECONDUCT_SIGNATURES_ROOTS", roots_file.to_str().unwrap()), ("SAFECONDUCT_SIGNATURES_ROSTER", roster_file.to_str().unwrap())];
    let mut gateway = place.start_with(&settings);
    assert_eq!(fs::read_to_string(place.path("keys/roster-epoch")).unwrap().trim(), "2");
    let doctor = |holds: bool, says: &str| {
        let config = place.settings();
        let mut doctor = support::command(&place.path("operator"), &["doctor", "--config", config.to_str().unwrap()]);
        let said = String::from_utf8(doctor.envs(settings).output().unwrap().stdout).unwrap();
        let level = if holds { "ok  " } else { "FAIL" };
        assert!(said.lines().any(|line| line.starts_with(&format!("{level} gateway, roster: {says}"))), "{said}");
    };
    doctor(true, "epoch 2, people: 1, policies: 1; signed, as 2 of 3 root keys must");
    // Too few, then enough.
    draft("3", 1);
    doctor(false, "1 of the root keys signed it, 2 must");
    gateway.signal("HUP");
    assert!(gateway.said("the roster is not believed").contains("1 of the root keys signed it, 2 must"));
    let newest = draft("3", 3);
    gateway.signal("HUP");
    gateway.said("the roster is in force");
    receipt_is_of_the_roster(&place, &doras.0);
    gateway.stop();

    // One byte of what was signed, and the roster before it: neither starts.
    let refused = |why: &str| {
        let config = place.settings();
        let ran =
            support::command(&place.path("operator"), &["serve", "--config", config.to_str().unwrap()]).envs(settings).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(!ran.status.success() && said.contains(why), "{said}");
    };
    fs::write(&roster, newest.replace("\"dba\"", "\"dbb\"")).unwrap();
    refused("0 of the root keys signed it, 2 must");
    fs::write(&roster, text).unwrap();
    let resigned: String = roots[..2]
        .iter()
        .map(|(file, _)| {
            let mut sign = Command::new("ssh-keygen");
            sign.args(["-Y", "sign", "-n", "safeconduct-roster@v1", "-f"]).arg(file).stdin(fs::File::open(&roster).unwrap());
            String::from_utf8(sign.stderr(Stdio::null()).output().unwrap().stdout).unwrap()
        })
        .collect();
    fs::write(place.path("roster.json.sig"), resigned).unwrap();
    refused("its epoch is 2, and 3 was in force already");
    doctor(false, "its epoch is 2, and 3 was in force already");
}
