//! Ends: a grant is revoked, its time is up, or its holder is disabled, with a hundred live sessions, half of them in the middle of a statement.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    client::{Client, connector},
    figures::{head, latencies, row},
    stage::{STATIC, Stage, Target},
};

const SESSIONS: usize = 100;
/// Who is disabled: each once.
pub const LEAVERS: [&str; 5] = ["lea", "leo", "lil", "lou", "luc"];
/// The backends that serve sessions of the door.
const DOOR: &str = "application_name LIKE 'safeconduct se-%'";

pub async fn measure(stage: &Stage) {
    head(
        &format!("End of a right with {SESSIONS} live sessions, half of them in `pg_sleep`: ms"),
        &["what, until", "p50", "p90", "p99", "max"],
    );
    let (mut direct, mut revoke, mut expire, mut disable) = <(Ends, Ends, Ends, Ends)>::default();
    for round in 0..5 {
        direct.add(terminated(stage).await);
        revoke.add(revoked(stage).await);
        if round < 3 {
            expire.add(expired(stage).await);
        }
        if let Some(who) = LEAVERS.get(round) {
            disable.add(disabled(stage, who).await);
        }
    }
    let direct = ("direct: `pg_terminate_backend` for all of them", direct);
    for (name, ends) in [direct, ("revoked", revoke), ("expired", expire), ("its holder disabled", disable)] {
        for (until, took) in [("client's socket closed", ends.sockets), ("last of the backends gone", ends.backends)] {
            row(&std::iter::once(format!("{name}, {until}")).chain(latencies(took)).collect::<Vec<_>>());
        }
    }
}

/// What was seen, in milliseconds.
#[derive(Default)]
struct Ends {
    sockets: Vec<f64>,
    backends: Vec<f64>,
}

impl Ends {
    fn add(&mut self, (sockets, gone): (Vec<f64>, f64)) {
        self.sockets.extend(sockets);
        self.backends.push(gone);
    }
}

/// The way through the door for somebody.
async fn way_of(stage: &Stage, who: &str) -> Target {
    let door = stage.node.connect(who, STATIC).await;
    Target { user: door.user, password: door.password, database: door.database, ..stage.targets[2].clone() }
}

/// Sessions, half of them busy; each says when it was closed.
async fn sessions(stage: &Stage, target: &Target) -> mpsc::UnboundedReceiver<Instant> {
    let (closed, receiver) = mpsc::unbounded_channel();
    let connector = connector(target);
    for number in 0..SESSIONS {
        let mut client = Client::connect(target, &connector).await;
        if number % 2 == 0 {
            client.begin("SELECT pg_sleep(600)").await;
        } else {
            client.run("SELECT 1").await;
        }
        let closed = closed.clone();
        tokio::spawn(async move {
            client.closed().await;
            let _ = closed.send(Instant::now());
        });
    }
    // Until the server runs all of them.
    while count(stage, "AND state = 'active' AND query LIKE '%pg_sleep(600)%'").await < SESSIONS / 2 {}
    receiver
}

/// What the server itself takes: one statement ends all of them.
async fn terminated(stage: &Stage) -> (Vec<f64>, f64) {
    let direct = &stage.targets[0];
    let receiver = sessions(stage, direct).await;
    let watch = Watch::start(stage).await;
    let mut ender = Client::connect(direct, &connector(direct)).await;
    let spared = format!("pid NOT IN ({}, {})", ender.process, watch.client.process);
    let began = Instant::now();
    ender.run(&format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app' AND {spared}")).await;
    (took(receiver, began).await, watch.gone(began, &format!("usesysid = 'app'::regrole AND {spared}")).await)
}

async fn count(stage: &Stage, which: &str) -> usize {
    let text = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND pid <> pg_backend_pid() {which}");
    let (user, password, database) = (stage.server.user.clone(), stage.server.password.clone(), stage.server.database.clone());
    let out = stage.server.psql(&user, &password, &database, &text).unwrap();
    out.trim().parse().unwrap()
}

async fn revoked(stage: &Stage) -> (Vec<f64>, f64) {
    let grant = stage.node.window("erin", STATIC, &["read"], "1h").await;
    let receiver = sessions(stage, &way_of(stage, "erin").await).await;
    let watch = Watch::start(stage).await;
    let began = Instant::now();
    stage.node.post("bob", &format!("/grants/{grant}/revoke"), &json!({"reason": "measuring"})).await;
    (took(receiver, began).await, watch.gone(began, DOOR).await)
}

/// Somebody leaves, and is disabled by an administrator.
async fn disabled(stage: &Stage, who: &str) -> (Vec<f64>, f64) {
    stage.node.window(who, STATIC, &["read"], "1h").await;
    let receiver = sessions(stage, &way_of(stage, who).await).await;
    let watch = Watch::start(stage).await;
    let change = json!({"change": {"change": "disable", "name": who}, "reason": "measuring"});
    let began = Instant::now();
    stage.node.post("ann", "/changes", &change).await;
    (took(receiver, began).await, watch.gone(began, DOOR).await)
}

async fn expired(stage: &Stage) -> (Vec<f64>, f64) {
    // Long enough to open all the sessions.
    let what = json!({"kind": "window", "operations": ["read"]});
    let ask = json!({"resource": STATIC, "what": what, "reason": "measuring", "duration": "20s"});
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let began = Instant::now();
    let view = stage.node.post("erin", "/access-requests", &ask).await;
    let receiver = sessions(stage, &way_of(stage, "erin").await).await;
    let watch = Watch::start(stage).await;
    // The deadline is in the answer; clocks of one machine agree.
    let deadline = view["until"].as_str().or_else(|| view["grant"]["until"].as_str()).map(parse_time);
    let deadline = deadline.map_or(began + Duration::from_secs(20), |at| began + at.saturating_sub(wall));
    (took(receiver, deadline).await, watch.gone(deadline, DOOR).await)
}

/// Seconds since 1970 of `2026-11-25T12:00:00.123Z`, by the machine's own `date`.
fn parse_time(text: &str) -> Duration {
    let output = std::process::Command::new("date").args(["-u", "-d", text, "+%s.%N"]).output().unwrap();
    Duration::from_secs_f64(String::from_utf8_lossy(&output.stdout).trim().parse().unwrap())
}

async fn took(mut receiver: mpsc::UnboundedReceiver<Instant>, began: Instant) -> Vec<f64> {
    let mut took = Vec::new();
    while took.len() < SESSIONS {
        let closed = receiver.recv().await.unwrap();
        took.push(closed.saturating_duration_since(began).as_secs_f64() * 1000.0);
    }
    took
}

/// A session at the server that watches the backends go.
struct Watch {
    client: Client,
}

impl Watch {
    async fn start(stage: &Stage) -> Self {
        Self { client: Client::connect(&stage.targets[0], &connector(&stage.targets[0])).await }
    }

    /// When the last of these backends was gone, seen from `began`.
    async fn gone(mut self, began: Instant, which: &str) -> f64 {
        // The server itself waits: one round trip for the whole of it.
        let wait = format!(
            "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_get_activity(NULL) WHERE {which}) LOOP \
             PERFORM pg_sleep(0.001); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
        );
        self.client.run(&wait).await;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        self.client.end().await;
        took
    }
}
