//! The gateway as an identity provider meets it: public testers of SCIM servers against the built binary, over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use support::node::{Node, Place};

const TOKEN: &str = "scim-token-of-the-tests-0123456789abcdef";

/// A tester from the drivers' directory.
fn tester(name: &str) -> Command {
    let python = std::env::var_os("SAFECONDUCT_TEST_PYTHON")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_safeconduct")).ancestors().nth(2).unwrap().join("drivers/python/bin/python"));
    let program = python.with_file_name(name);
    assert!(program.exists(), "{}: scripts/test.sh installs it", program.display());
    let mut tester = Command::new(program);
    tester.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("PYTHONUTF8", "1").env("COLUMNS", "200");
    tester
}

fn serve(place: &mut Place) -> Node {
    place.more_settings = "[scim]\nprovider = \"corp\"\ntoken = \"env:SCIM_TOKEN\"\ngroups = { \"Database admins\" = \"dba\" }\n\
         new_groups = \"corp-\"\n"
        .to_owned();
    place.start_with(&[("SCIM_TOKEN", TOKEN)])
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn scim2_tester_finds_no_error() {
    let mut place = Place::new();
    let node = serve(&mut place);
    let mut tester = tester("scim2");
    tester.env("SSL_CERT_FILE", place.path("keys/ca.pem"));
    tester.args(["--url", &format!("{}/scim/v2", node.api), "--header", &format!("Authorization: Bearer {TOKEN}"), "test"]);
    let page = said(&tester.output().unwrap());
    let (good, bad): (Vec<_>, Vec<_>) = page
        .lines()
        .filter(|line| ["SUCCESS", "ERROR", "CRITICAL", "SKIPPED"].iter().any(|word| line.starts_with(word)))
        .partition(|line| line.starts_with("SUCCESS"));
    assert!(good.len() > 60 && bad.is_empty(), "{} good, {bad:?}\n{page}", good.len());
}

#[test]
fn scim_sanity_finds_no_error() {
    let mut place = Place::new();
    let node = serve(&mut place);
    let mut tester = tester("scim-sanity");
    let authority = place.path("keys/ca.pem");
    tester.args(["probe", &format!("{}/scim/v2", node.api), "--token", TOKEN, "--ca-bundle", authority.to_str().unwrap()]);
    tester.args(["--i-accept-side-effects"]);
    let page = said(&tester.output().unwrap());
    let failed: Vec<&str> = page.lines().filter(|line| line.contains("[FAIL]") || line.contains("[ERROR]")).map(str::trim).collect();
    assert!(failed.is_empty() && page.contains("28 passed") && !page.contains(" failed"), "{page}");
}

#[test]
fn a_weak_token_or_none_keeps_the_gateway_from_starting() {
    for (token, why) in [(None, "SCIM_TOKEN"), (Some("short"), "fewer than 32 bytes")] {
        let mut place = Place::new();
        place.more_settings = "[scim]\nprovider = \"corp\"\ntoken = \"env:SCIM_TOKEN\"\n".to_owned();
        let settings = place.settings();
        let mut serve = support::command(&place.path("operator"), &["serve", "--config", settings.to_str().unwrap()]);
        serve.envs(token.map(|token| ("SCIM_TOKEN", token)));
        let page = said(&serve.output().unwrap());
        assert!(page.contains(why) && !page.contains("is ready"), "{page}");
    }
}
