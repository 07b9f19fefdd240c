//! The figures of a gateway that serves, and the alerts made from them, by Prometheus' own tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use support::node::{Place, repository};

fn promtool(arguments: &[&str], file: &str) -> String {
    let path = repository(file);
    let ran = Command::new("promtool")
        .args(arguments)
        .arg(path.file_name().unwrap())
        .current_dir(path.parent().unwrap())
        .output()
        .expect("promtool: package prometheus");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// Names of metrics in a text, without what a histogram adds.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("safeconduct_"));
    let base = |word: &str| ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned();
    words.map(base).collect()
}

#[test]
fn alerts_are_valid_fire_for_what_they_are_for_and_have_a_place_in_the_guide() {
    promtool(&["check", "rules"], "deploy/prometheus/safeconduct.rules.yml");
    promtool(&["test", "rules"], "deploy/prometheus/safeconduct.rules.test.yml");
    let rules = std::fs::read_to_string(repository("deploy/prometheus/safeconduct.rules.yml")).unwrap();
    let guide = std::fs::read_to_string(repository("docs/guides/operating.md")).unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(
            guide.lines().any(|line| line.trim_start_matches('#').trim() == alert && line.starts_with('#')),
            "{alert} is not in the guide"
        );
        assert!(rules.contains(&format!("operating.md#{}\"", alert.to_lowercase())), "{alert} leads nowhere");
    }
}

#[test]
fn a_gateway_that_serves_shows_its_figures() {
    let place = Place::new();
    let mut gateway = place.start();
    place.people(&gateway);
    place.run("alice", &["request", "orders-db", "--operation", "read", "--for", "10m", "--reason", "a test"]).ok();
    let mut psql = place.psql("alice");
    psql.send("select note from orders;");
    assert_eq!(psql.line(), "one");
    let figures = gateway.figures();
    for (line, at_least) in [
        ("safeconduct_sessions_live", 1.0),
        ("safeconduct_grants_live{resource=\"orders-db\"}", 1.0),
        ("safeconduct_grant_seconds_count", 1.0),
        ("safeconduct_sign_in_seconds_count", 1.0),
        ("safeconduct_session_open_seconds_count", 1.0),
        ("safeconduct_statement_overhead_seconds_count", 1.0),
        ("safeconduct_ledger_entries", 10.0),
        ("safeconduct_ready", 1.0),
    ] {
        let found = figures.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("no {line} in\n{figures}"));
        assert!(found.trim().parse::<f64>().unwrap() >= at_least, "{line}{found}");
    }
    // Ended while it is connected: how long that took is a figure.
    let grant = place.run("alice", &["grants", "--json"]).ok().json()[0]["grant"].as_str().unwrap().to_owned();
    place.run("alice", &["release", &grant]).ok();
    gateway.until_figure("safeconduct_cut_seconds_count{gone=\"client\"}", |cut| cut >= 1.0);
    psql.end();

    let known = names(&gateway.figures());
    let rules = std::fs::read_to_string(repository("deploy/prometheus/safeconduct.rules.yml")).unwrap();
    // These have no line before the first of their kind.
    let later = ["safeconduct_upstream_connect_failures_total", "safeconduct_decision_seconds", "safeconduct_doorbell_rings_total"];
    for name in names(&rules) {
        assert!(known.contains(&name) || later.contains(&name.as_str()), "{name} is in the rules and nowhere else");
    }
    let mut check = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), gateway.figures().as_bytes()).unwrap();
    let said = check.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    gateway.stop();
}
