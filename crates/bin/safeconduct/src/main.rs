//! `safeconduct`: the node and its client in one binary. The only place where parts are joined.
//!
//! Reads the command line, does what it says, and turns how that ended into text and exit status.

mod cli;
mod client;
mod demo;
mod failure;
mod home;
mod output;
mod prompt;
mod serve;
mod table;
mod verbs;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, failure::Failure, home::Home, output::Output, verbs::Context};

fn main() -> ExitCode {
    let Cli { global, verb } = Cli::parse();
    let output = Output::new(global.json);
    let done = Home::find().and_then(|home| {
        // One library for everything that is encrypted; a second call changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers())
            // Room for reading policies, which otherwise ask for a stack of their own at every question. Only what is used takes memory.
            .thread_stack_size(16 * 1024 * 1024)
            .enable_all()
            .build()
            .map_err(|error| Failure::local("starting", &error))?;
        let done = runtime.block_on(verbs::run(verb, &Context { global, home, output }));
        // Whoever still waits for a key press or an answer is not waited for.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// One worker for two cores. Sessions wait for their sockets most of the time, and handing them from core to core costs more than a second
/// worker brings; what blocks has threads of its own. `TOKIO_WORKER_THREADS` chooses another number.
fn workers() -> usize {
    let chosen = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
    chosen.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)))
}
