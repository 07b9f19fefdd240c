//! New connections: TLS, SCRAM, one `SELECT 1`, end; one after another and four at once. And how long a request takes to become a right.

use std::time::{Duration, Instant};

use crate::{
    Args,
    client::{Client, connector},
    figures::{head, latencies, median, row, spread},
    stage::{STATIC, Stage, Target},
};

pub async fn measure(stage: &Stage, args: &Args) {
    head(
        "New connections per second (pgbouncer reuses server connections)",
        &[
            "at once",
            "direct",
            "pgbouncer",
            "safeconduct",
            "÷ direct (range)",
            "pgbouncer ÷ direct",
            "a role for each session",
            "÷ direct (range)",
        ],
    );
    for at_once in [1, 4] {
        let targets: Vec<&Target> = stage.targets.iter().chain([&stage.minted]).collect();
        let mut rates = vec![Vec::new(); targets.len()];
        for round in 0..=args.rounds {
            for (place, target) in targets.iter().enumerate() {
                let rate = turn(target, at_once, Duration::from_secs(if round == 0 { 1 } else { 3 })).await;
                if round > 0 {
                    rates[place].push(rate);
                }
            }
        }
        let rate = |place: usize| format!("{:.0}", median(&rates[place]));
        let ratio = |place: usize| spread(&rates[place], &rates[0]);
        row(&[at_once.to_string(), rate(0), rate(1), rate(2), ratio(2), ratio(1), rate(3), ratio(3)]);
    }

    head("From asking to a usable, durable grant (policy allows at once), over HTTPS: ms", &["requests", "p50", "p90", "p99", "max"]);
    let mut took = Vec::new();
    for _ in 0..300 {
        let began = Instant::now();
        let grant = stage.node.window("erin", STATIC, &["read"], "5m").await;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        stage.node.post("erin", &format!("/grants/{grant}/release"), &serde_json::json!({})).await;
    }
    row(&std::iter::once("300".to_owned()).chain(latencies(took)).collect::<Vec<_>>());
}

async fn turn(target: &Target, at_once: usize, time: Duration) -> f64 {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (target, connector) = (target.clone(), connector(target));
        tasks.spawn(async move {
            let mut made = 0_u32;
            while began.elapsed() < time {
                let mut client = Client::connect(&target, &connector).await;
                client.run("SELECT 1").await;
                client.end().await;
                made += 1;
            }
            made
        });
    }
    let mut made = 0;
    while let Some(more) = tasks.join_next().await {
        made += more.unwrap();
    }
    f64::from(made) / began.elapsed().as_secs_f64()
}
