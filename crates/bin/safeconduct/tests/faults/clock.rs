//! Clocks that jump, are wrong at start, and machines that sleep: the real binary under libfaketime, which moves the wall clock alone.

use std::path::PathBuf;

use safeconduct_testkit::PostgresServer;
use serde_json::Value;

use crate::{
    api::{Api, id, state},
    door::{Lost, Session},
    node::{Node, RESOURCE, TABLES},
};

/// A wall clock for one process, moved by hand.
pub struct Wall(PathBuf);

impl Wall {
    /// Puts the node, which does not run yet, under it. It is looked at each time the node wants to know the time.
    pub fn of(node: &mut Node) -> Self {
        let wall = Self::cached_of(node);
        node.variables.push(("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()));
        wall
    }

    /// The same, looked at once a second: for nodes that do very much.
    pub fn cached_of(node: &mut Node) -> Self {
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|machine| format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1"));
        let library = library.into_iter().find(|path| std::path::Path::new(path).exists()).expect("install the package `faketime`");
        let wall = Self(node.folder.path().join("wall"));
        wall.set("+0");
        let file = wall.0.to_str().unwrap().to_owned();
        let variables = [("LD_PRELOAD", library), ("FAKETIME_TIMESTAMP_FILE", file), ("FAKETIME_CACHE_DURATION", "1".into())];
        node.variables.extend(variables.map(|(name, value)| (name.to_owned(), value)));
        node.variables.push(("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()));
        wall
    }

    /// Sets it: `+2h` is two hours ahead of the machine's own.
    pub fn set(&self, offset: &str) {
        // Renamed into its place: nobody reads half of it.
        let new = self.0.with_extension("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(&new, &self.0).unwrap();
    }
}

struct Scene {
    server: PostgresServer,
    node: Node,
    wall: Wall,
    alice: Api,
}

impl Scene {
    async fn set() -> Self {
        let server = PostgresServer::start_with(TABLES);
        let mut node = Node::furnished(&server, &[server.port]).await;
        let wall = Wall::of(&mut node);
        node.start();
        let alice = node.api("alice");
        Self { server, node, wall, alice }
    }

    async fn open(&self, secret: &Value) -> Result<Session, Lost> {
        Session::open(&self.node, secret, None).await
    }

    async fn until_state(&self, id: &str, wanted: &str) -> Value {
        loop {
            let view = self.node.api("ann").show(id).await.unwrap();
            if state(&view) == wanted {
                return view;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Starts again with the clock at another place.
    fn again_at(&mut self, offset: &str) {
        self.node.kill();
        self.wall.set(offset);
        self.node.start();
    }

    async fn readiness(&self) -> String {
        self.node.api("ann").get("/readyz").await.map_or_else(|failed| failed.code().to_owned(), |_| "ready".to_owned())
    }
}

/// Minutes from one RFC 3339 time to another on the same or the next day.
fn minutes_between(from: &Value, to: &Value) -> i64 {
    let at = |value: &Value| value.as_str().unwrap().parse::<safeconduct_model::Timestamp>().unwrap().micros();
    (at(to) - at(from)) / 60_000_000
}

fn refused(result: &Result<impl Sized, Lost>) -> &str {
    match result {
        Err(Lost::Refused { sqlstate, .. }) => sqlstate,
        Err(Lost::Gone) => "gone",
        Ok(_) => "passed",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_a_clock_that_jumps_while_it_runs_lengthens_nothing_and_revives_nothing() {
    let scene = Scene::set().await;
    let grant = scene.alice.window(&["read"], "a look").await.unwrap();
    let secret = scene.alice.connect(RESOURCE).await.unwrap();
    let mut session = scene.open(&secret).await.unwrap();
    session.query("SELECT 1 FROM orders").await.unwrap();

    // Back by an hour: nobody's time begins anew, and what is granted then is not longer by that hour.
    scene.wall.set("-1h");
    session.query("SELECT 2 FROM orders").await.unwrap();
    let other = scene.node.api("rita").window(&["read"], "a look").await.unwrap();
    assert_eq!(scene.alice.show(id(&grant)).await.unwrap()["deadline"], grant["deadline"]);
    let apart = minutes_between(&grant["deadline"], &other["deadline"]);
    assert!((0..30).contains(&apart), "granted a moment later, it ends {apart} minutes later");

    // Ahead by an hour: over by the wall clock's account.
    scene.wall.set("+1h");
    assert_eq!(refused(&session.query("SELECT 3 FROM orders").await), "57P01");
    let expired = scene.until_state(id(&grant), "expired").await;
    assert_eq!(expired["state"], "expired");

    // And right again: what was over stays over.
    scene.wall.set("+0");
    assert_eq!(state(&scene.alice.show(id(&grant)).await.unwrap()), "expired");
    assert_eq!(refused(&scene.open(&secret).await), "28000");
    assert_eq!(scene.alice.connect(RESOURCE).await.unwrap_err().code(), "GRANT-001");
    assert!(!scene.server.take_log().contains("SELECT 3 FROM orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_started_with_a_clock_behind_nothing_is_live_until_it_is_confirmed() {
    let mut scene = Scene::set().await;
    let grant = scene.alice.window(&["read"], "a look").await.unwrap();
    let secret = scene.alice.connect(RESOURCE).await.unwrap();
    for (offset, told) in [("-30s", "ready"), ("-1h", "CLOCK-001"), ("-10m", "CLOCK-001")] {
        scene.again_at(offset);
        assert_eq!(scene.readiness().await, told, "{offset}");
        let opened = scene.open(&secret).await;
        assert_eq!(refused(&opened), if told == "ready" { "passed" } else { "28000" }, "{offset}");
    }
    assert_eq!(scene.alice.window(&["read"], "again").await.unwrap_err().code(), "CLOCK-001");
    // Right again and started again: only a person's word ends it.
    scene.again_at("+0");
    assert_eq!(scene.readiness().await, "CLOCK-001");
    let confirmed = scene.node.command("ann", &["clock", "confirm", "--reason", "looked at it"]).output().await.unwrap();
    assert!(confirmed.status.success(), "{confirmed:?}");
    assert_eq!(scene.readiness().await, "ready");
    scene.open(&secret).await.unwrap().query("SELECT 1 FROM orders").await.unwrap();
    assert_eq!(scene.alice.show(id(&grant)).await.unwrap()["deadline"], grant["deadline"]);

    // Ahead at start: over, and over it stays.
    scene.again_at("+1h");
    assert_eq!(state(&scene.alice.show(id(&grant)).await.unwrap()), "expired");
    assert_eq!(refused(&scene.open(&secret).await), "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_what_was_sent_while_the_machine_slept_past_the_deadline_does_not_pass() {
    let scene = Scene::set().await;
    let grant = scene.alice.window(&["read"], "a look").await.unwrap();
    let secret = scene.alice.connect(RESOURCE).await.unwrap();
    let mut session = scene.open(&secret).await.unwrap();
    session.query("SELECT 1 FROM orders").await.unwrap();
    let pid = scene.node.pid().to_string();
    let signal = |name: &str| assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-STOP");
    // It lies in the socket when the process wakes up, an hour later.
    session.say(|out| postgres_protocol::message::frontend::query("SELECT 2 FROM orders", out).unwrap()).await.unwrap();
    scene.wall.set("+1h");
    signal("-CONT");
    assert_eq!(refused(&session.until_ready().await), "57P01");
    scene.until_state(id(&grant), "expired").await;
    assert!(!scene.server.take_log().contains("SELECT 2 FROM orders"));
}
