//! `make bench-pg`: what the door costs, measured beside the server itself and beside pgbouncer, interleaved in one run.
//!
//! A measurement, not a test: it asserts nothing about time. It prints Markdown; `docs/performance.md` holds a run with machine and versions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that can't go on says so and stops")]

mod authorize;
mod bulk;
mod client;
mod connecting;
mod ending;
mod figures;
mod history;
mod idle;
mod node;
mod signatures;
mod stage;
mod statements;

use std::path::PathBuf;

use clap::Parser;

use crate::stage::Stage;

/// Measures the PostgreSQL door beside the server itself and beside pgbouncer
#[derive(Debug, Parser)]
pub struct Args {
    /// What to measure: statements, bulk, connecting, ending, idle, authorize, signatures, all of it if nothing is named; or history
    pub parts: Vec<String>,
    /// The binary to measure
    #[arg(long, default_value = "target/release/safeconduct")]
    pub program: PathBuf,
    /// Rounds in which every target has its turn
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of each turn with statements
    #[arg(long, default_value_t = 5)]
    pub seconds: u32,
    /// Scale of pgbench's tables
    #[arg(long, default_value_t = 10)]
    pub scale: u32,
    /// Mebibytes of each bulk transfer
    #[arg(long, default_value_t = 1024)]
    pub mebibytes: u64,
    /// A command to run beside the gateway with a long past, which finds it by SAFECONDUCT_AT and SAFECONDUCT_PASSWORD
    #[arg(long)]
    pub then: Option<String>,
}

impl Args {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn main() {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody else chose a provider");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{}", figures::machine());
        if args.wants("authorize") {
            authorize::measure().await;
        }
        if args.wants("signatures") {
            signatures::measure().await;
        }
        if args.parts.iter().any(|part| part == "history") {
            history::measure(&args).await;
        }
        if ["statements", "bulk", "connecting", "ending", "idle"].iter().all(|part| !args.wants(part)) {
            return;
        }
        let mut stage = Stage::set(&args).await;
        if args.wants("statements") {
            statements::measure(&stage, &args);
        }
        if args.wants("bulk") {
            bulk::measure(&stage, &args).await;
        }
        if args.wants("connecting") {
            connecting::measure(&stage, &args).await;
        }
        if args.wants("ending") {
            ending::measure(&stage).await;
        }
        if args.wants("idle") {
            idle::measure(&mut stage).await;
        }
    });
}
