//! Traces as a real collector takes them: one way from asking to the last statement, also across a restart, and nothing that is anybody's business.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use support::node::{Node, Place, free};

/// The collector: writes what it gets, one field a line, into a file.
struct Collector {
    child: Child,
    log: PathBuf,
}

impl Collector {
    fn start(place: &Place, http: u16) -> Self {
        let log = place.path("collector.log");
        let out = fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut agent = Command::new(agent());
        agent.args(["start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]);
        agent.arg("--otlp-http-endpoint").arg(format!("127.0.0.1:{http}")).arg("--otlp-grpc-endpoint").arg(free().to_string());
        let child = agent.env("NO_COLOR", "1").stdout(out.try_clone().unwrap()).stderr(out).stdin(Stdio::null()).spawn().unwrap();
        Self { child, log }
    }

    /// Spans as the collector understood them, once the whole of this access request has come.
    fn spans(&self, id: &str) -> Vec<BTreeMap<String, String>> {
        let began = std::time::Instant::now();
        loop {
            let text = fs::read_to_string(&self.log).unwrap();
            let spans = parse(&text);
            if spans.iter().any(|span| span["Name"] == "grant" && is_of(span, id)) {
                return spans;
            }
            assert!(began.elapsed().as_secs() < 60, "{id} is not in\n{text}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> PathBuf {
    let python = std::env::var_os("SAFECONDUCT_TEST_PYTHON")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_safeconduct")).ancestors().nth(2).unwrap().join("drivers/python/bin/python"));
    let library = python.ancestors().nth(2).unwrap().join("lib");
    let versions = fs::read_dir(&library).unwrap_or_else(|e| panic!("{}: {e}; scripts/test.sh installs it", library.display()));
    versions
        .map(|v| v.unwrap().path().join("site-packages/rotel/rotel-agent"))
        .find(|path| path.exists())
        .expect("rotel: scripts/test.sh installs it")
}

fn is_of(span: &BTreeMap<String, String>, id: &str) -> bool {
    span.get("safeconduct.access_request").is_some_and(|of| of.contains(id))
}

fn parse(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut spans: Vec<BTreeMap<String, String>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Span #") {
            spans.push(BTreeMap::new());
        } else if let (Some(span), Some((key, value))) = (spans.last_mut(), line.split_once(':')) {
            span.entry(key.trim().trim_start_matches("-> ").to_owned()).or_insert_with(|| value.trim().to_owned());
        }
    }
    spans.retain(|span| span.contains_key("Name"));
    spans
}

fn start(place: &mut Place, http: u16) -> Node {
    place.more_settings = format!("[telemetry]\notlp = \"http://127.0.0.1:{http}\"\nstatements = 10\n");
    place.start()
}

#[test]
fn the_way_from_asking_to_the_last_byte_is_one_trace_across_a_restart() {
    let mut place = Place::new();
    let http = free().port();
    // The collector comes later: what happened before is sent all the same.
    let mut gateway = start(&mut place, http);
    place.people(&gateway);
    let read = ["request", "orders-db", "--operation", "read", "--for", "1h", "--reason", "a-marked-reason", "--json"];
    let asked = place.run("alice", &read).ok().json();
    let (id, grant) = (asked["id"].as_str().unwrap().to_owned(), asked["grant"].as_str().unwrap().to_owned());
    let mut psql = place.psql("alice");
    psql.send("select 'a-marked-text', note from orders;");
    psql.line();
    psql.send("drop table orders;");
    psql.send("select 1/0;");
    psql.end();
    gateway.said("session_closed");
    gateway.stop();

    let collector = Collector::start(&place, http);
    let mut gateway = start(&mut place, http);
    place.run("alice", &["release", &grant]).ok();
    let spans = collector.spans(&id);
    gateway.stop();
    let root = spans.iter().find(|span| span["Name"] == "access request" && is_of(span, &id)).unwrap();
    let mine: Vec<_> = spans.iter().filter(|span| span["Trace ID"] == root["Trace ID"]).collect();
    let named = |name: &str| mine.iter().filter(|span| span["Name"] == name).collect::<Vec<_>>();
    for name in ["decision", "access request", "grant", "ending", "session"] {
        assert_eq!(named(name).len(), 1, "{name}: {mine:#?}");
    }
    assert_eq!(named("statement").len(), 2, "what was refused is no span: {mine:#?}");
    let session = named("session")[0];
    assert_eq!(session["Parent ID"], root["ID"]);
    assert!(named("statement").iter().all(|statement| statement["Parent ID"] == session["ID"]));
    assert!(named("statement").iter().any(|statement| statement.get("db.response.status_code").is_some_and(|code| code.contains("22012"))));

    let text = fs::read_to_string(&collector.log).unwrap();
    for private in ["alice", "a-marked-text", "a-marked-reason", "1/0", place.server.password.as_str()] {
        assert!(!text.contains(private), "{private} is in\n{text}");
    }
}
