//! Small statements: pgbench's select-only script, simple and prepared, one client and eight. Every target has its turn in every round.

use std::fs;

use crate::{
    Args,
    figures::{head, median, percentile, processor_seconds, row, sorted, spread},
    stage::{Stage, Target},
};

#[derive(Default)]
struct Turns {
    rates: Vec<f64>,
    /// Milliseconds.
    latencies: Vec<f64>,
    /// Microseconds of the process in between per statement.
    processor: Vec<f64>,
}

pub fn measure(stage: &Stage, args: &Args) {
    head(
        "pgbench -S: statements per second",
        &[
            "protocol, clients",
            "direct",
            "pgbouncer",
            "safeconduct",
            "÷ pgbouncer (range)",
            "÷ direct",
            "p50 / p99 ms direct",
            "pgbouncer",
            "safeconduct",
            "CPU µs pgbouncer",
            "safeconduct",
        ],
    );
    for (mode, clients) in [("simple", 1), ("simple", 8), ("prepared", 1), ("prepared", 8)] {
        let mut turns: Vec<Turns> = stage.targets.iter().map(|_| Turns::default()).collect();
        for round in 0..=args.rounds {
            for (target, turns) in stage.targets.iter().zip(&mut turns) {
                let seconds = if round == 0 { 1 } else { args.seconds };
                let (rate, latencies, processor) = turn(target, mode, clients, seconds);
                // The first round warms up.
                if round > 0 {
                    turns.rates.push(rate);
                    turns.latencies.extend(latencies);
                    turns.processor.push(processor);
                }
            }
        }
        let [direct, bouncer, door] = turns.try_into().unwrap_or_else(|_| panic!("three targets"));
        let latency = |turns: &Turns| {
            let sorted = sorted(turns.latencies.clone());
            format!("{:.3} / {:.3}", percentile(&sorted, 0.5), percentile(&sorted, 0.99))
        };
        row(&[
            format!("{mode}, {clients}"),
            format!("{:.0}", median(&direct.rates)),
            format!("{:.0}", median(&bouncer.rates)),
            format!("{:.0}", median(&door.rates)),
            spread(&door.rates, &bouncer.rates),
            spread(&door.rates, &direct.rates),
            latency(&direct),
            latency(&bouncer),
            latency(&door),
            format!("{:.1}", median(&bouncer.processor)),
            format!("{:.1}", median(&door.processor)),
        ]);
    }
}

fn turn(target: &Target, mode: &str, clients: u32, seconds: u32) -> (f64, Vec<f64>, f64) {
    let folder = tempfile::tempdir().unwrap();
    let before = target.pid.map_or(0.0, processor_seconds);
    let mut command = target.command("pgbench");
    command.args(["-S", "-n", "-M", mode, "-c", &clients.to_string(), "-j", "1", "-T", &seconds.to_string(), "-l", "--log-prefix"]);
    let output = command.arg(folder.path().join("log")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}{}", target.name, String::from_utf8_lossy(&output.stderr));
    let processor = target.pid.map_or(0.0, processor_seconds) - before;
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    let mut latencies = Vec::new();
    for log in fs::read_dir(folder.path()).unwrap() {
        let text = fs::read_to_string(log.unwrap().path()).unwrap();
        latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()).map(|micros| micros / 1000.0));
    }
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let each = processor * 1e6 / latencies.len() as f64;
    (rate, latencies, each)
}
