//! `serve`: a node with its door and its API. Everything is parsed and opened before anything is bound; nothing half starts.

pub mod bundle;
pub mod config;
mod keys;
mod node;

use std::path::PathBuf;

use safeconduct_app::{OneTime, Person};
use tokio::signal::unix::{SignalKind, signal};

pub use self::node::{Running, failed};
use crate::failure::{Exit, Failure};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read settings from this file; without it, from `SAFECONDUCT_…` variables and defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Apply the policy bundle in this directory, at start and whenever it changes (a standing privilege of who can write there)
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Make this person the first administrator if nobody exists yet, and print a one-time code to choose a password with
    #[arg(long, value_name = "NAME")]
    pub first_administrator: Option<String>,
}

/// Runs a node until it is told to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    log_to_stderr();
    let text = match &args.config {
        Some(path) => Some((
            path.display().to_string(),
            std::fs::read_to_string(path).map_err(|e| Failure::local(&format!("reading {}", path.display()), &e))?,
        )),
        None => None,
    };
    let source = text.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    let mut config = config::Config::parse(source, |name| std::env::var(name).ok()).map_err(|problems| {
        Failure::new("SERVE-001", Exit::Usage, format!("the settings have {} mistakes", problems.len())).why(problems.join("\n"))
    })?;
    if args.bundle.is_some() {
        config.bundle = args.bundle;
    }
    let running = Running::start(config).await?;
    if let Some(name) = &args.first_administrator {
        first_administrator(&running, name).await?;
    }
    eprintln!("safeconduct is ready");
    eprintln!("  API              {}", running.config.public_url);
    eprintln!("  PostgreSQL door  {}:{}", running.config.postgres_host, running.door.port());
    eprintln!("  authority        {}", running.keys.ca_file.display());
    for standing in running.app.status().await.standing_privilege {
        eprintln!("  standing privilege: {standing}");
    }
    stop_signal().await;
    eprintln!("stopping");
    running.stop().await;
    Ok(())
}

async fn first_administrator(running: &Running, name: &str) -> Result<(), Failure> {
    let usage = |error: safeconduct_model::InvalidId| Failure::usage(error.to_string());
    let administrators = safeconduct_lifecycle::ADMINISTRATORS.parse().map_err(usage)?;
    let person = Person {
        name: name.parse().map_err(usage)?,
        display_name: name.to_owned(),
        groups: vec![administrators],
        password: None,
        workload: false,
    };
    match running.app.operator_people(vec![person]).await {
        Ok(handed_out) => {
            for one_time in handed_out.into_iter().flatten() {
                if let OneTime::Code { name, code, expires_at } = one_time {
                    eprintln!("one-time code for {name}, until {expires_at}: {}", code.as_str());
                    eprintln!(
                        "  sign in: safeconduct sign-in {name} --server {} --ca {} --code-file -",
                        running.config.public_url,
                        running.keys.ca_file.display()
                    );
                }
            }
            Ok(())
        }
        // Said at every start, so that a service file may keep the flag.
        Err(problem) if problem.code == "ADMIN-003" => {
            eprintln!("there are people already: --first-administrator does nothing");
            Ok(())
        }
        Err(problem) => Err(failed(&problem)),
    }
}

/// Resolves at the first signal that asks to stop.
pub async fn stop_signal() {
    let mut signals: Vec<_> =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].into_iter().filter_map(|kind| signal(kind).ok()).collect();
    let waits: Vec<_> = signals.iter_mut().map(|signal| Box::pin(signal.recv())).collect();
    if waits.is_empty() {
        std::future::pending::<()>().await;
    }
    futures_util::future::select_all(waits).await;
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SAFECONDUCT_LOG").unwrap_or_else(|_| "warn,safeconduct=info".into());
    // A second subscriber is an error only if there is one already; then logging works.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
