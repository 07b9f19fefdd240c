//! Ends: a grant is revoked, or its time is up, with a hundred live sessions, half of them in the middle of a statement.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    client::{Client, connector},
    figures::{head, latencies, row},
    stage::{STATIC, Stage, Target},
};

const SESSIONS: usize = 100;

pub async fn measure(stage: &Stage) {
    head(
        &format!("End of a right with {SESSIONS} live sessions, half of them in `pg_sleep`: ms"),
        &["what, until", "p50", "p90", "p99", "max"],
    );
    let (mut sockets, mut backends) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let (closed, gone) = revoked(stage).await;
        sockets.extend(closed);
        backends.push(gone);
    }
    let line = |name: &str, values: Vec<f64>| row(&std::iter::once(name.to_owned()).chain(latencies(values)).collect::<Vec<_>>());
    line("revoked, client's socket closed", sockets);
    line("revoked, last of the backends gone", backends);
    let (mut sockets, mut backends) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (closed, gone) = expired(stage).await;
        sockets.extend(closed);
        backends.push(gone);
    }
    line("expired, client's socket closed", sockets);
    line("expired, last of the backends gone", backends);
}

/// Sessions of erin's, half of them busy; each says when it was closed.
async fn sessions(stage: &Stage) -> (mpsc::UnboundedReceiver<Instant>, Target) {
    let door = stage.node.connect("erin", STATIC).await;
    let target = Target { user: door.user, password: door.password, database: door.database, ..stage.targets[2].clone() };
    let (closed, receiver) = mpsc::unbounded_channel();
    let connector = connector(&target);
    for number in 0..SESSIONS {
        let mut client = Client::connect(&target, &connector).await;
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
    (receiver, target)
}

async fn count(stage: &Stage, which: &str) -> usize {
    let text = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND pid <> pg_backend_pid() {which}");
    let (user, password, database) = (stage.server.user.clone(), stage.server.password.clone(), stage.server.database.clone());
    let out = stage.server.psql(&user, &password, &database, &text).unwrap();
    out.trim().parse().unwrap()
}

async fn revoked(stage: &Stage) -> (Vec<f64>, f64) {
    let grant = stage.node.window("erin", STATIC, &["read"], "1h").await;
    let (receiver, _) = sessions(stage).await;
    let watch = Watch::start(stage).await;
    let began = Instant::now();
    stage.node.post("bob", &format!("/grants/{grant}/revoke"), &json!({"reason": "measuring"})).await;
    (took(receiver, began).await, watch.gone(began).await)
}

async fn expired(stage: &Stage) -> (Vec<f64>, f64) {
    // Long enough to open all the sessions.
    let what = json!({"kind": "window", "operations": ["read"]});
    let ask = json!({"resource": STATIC, "what": what, "reason": "measuring", "duration": "20s"});
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let began = Instant::now();
    let view = stage.node.post("erin", "/access-requests", &ask).await;
    let (receiver, _) = sessions(stage).await;
    let watch = Watch::start(stage).await;
    // The deadline is in the answer; clocks of one machine agree.
    let deadline = view["until"].as_str().or_else(|| view["grant"]["until"].as_str()).map(parse_time);
    let deadline = deadline.map_or(began + Duration::from_secs(20), |at| began + at.saturating_sub(wall));
    (took(receiver, deadline).await, watch.gone(deadline).await)
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

    /// When the last of erin's backends was gone, seen from `began`.
    async fn gone(mut self, began: Instant) -> f64 {
        // The server itself waits: one round trip for the whole of it.
        let wait = "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_get_activity(NULL) a WHERE a.application_name LIKE 'safeconduct se-%') LOOP \
                    PERFORM pg_sleep(0.001); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$";
        self.client.run(wait).await;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        self.client.end().await;
        took
    }
}
