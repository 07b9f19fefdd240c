//! Figures: medians, percentiles, ratios, and how they are printed.

use std::{fs, process::Command};

/// The value at `share` (0 to 1) of sorted values; 0 if there are none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let place = (last as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

pub fn median(values: &[f64]) -> f64 {
    percentile(&sorted(values.to_vec()), 0.5)
}

/// What each round's value is in relation to the same round's value of another: the median, the least and the most.
pub fn spread(of: &[f64], to: &[f64]) -> String {
    let ratios = sorted(of.iter().zip(to).map(|(of, to)| of / to).collect());
    format!("{:.2} ({:.2}–{:.2})", percentile(&ratios, 0.5), percentile(&ratios, 0.0), percentile(&ratios, 1.0))
}

/// A row of a table.
pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// The head of a table.
pub fn head(title: &str, columns: &[&str]) {
    println!("\n### {title}\n\n| {} |", columns.join(" | "));
    println!("|{}", columns.iter().enumerate().map(|(place, _)| if place == 0 { " --- |" } else { " ---: |" }).collect::<String>());
}

/// A histogram of latencies, in milliseconds, as one line each.
pub fn latencies(values: Vec<f64>) -> Vec<String> {
    let values = sorted(values);
    [0.5, 0.9, 0.99, 1.0].iter().map(|share| format!("{:.1}", percentile(&values, *share))).collect()
}

/// Processor time a process used so far, in seconds; its finished children are not counted.
pub fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Resident memory of a process in mebibytes.
pub fn resident_mebibytes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// What this was measured on.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
            .unwrap_or_default()
    };
    let pgbouncer = said("pgbouncer", &["--version"]);
    let (kernel, pgbench) = (said("uname", &["-sr"]), said("pgbench", &["--version"]));
    format!("{model}, {cores} cores; {kernel}; {pgbench}; {pgbouncer}")
}
