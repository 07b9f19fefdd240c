//! `serve`: a node with its door and its API. Everything is parsed and opened before anything is bound; nothing half starts.

pub mod backup;
pub mod bundle;
pub mod config;
mod keys;
mod node;
mod notify;
pub mod roster;

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use safeconduct_app::{OneTime, Person};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_appender::non_blocking::WorkerGuard;

use self::config::LogFormat;
pub use self::node::{Running, failed};
use crate::failure::Failure;

/// Files that may have to be open at once: both listeners full, each session with its server and its recording.
const FILES_WANTED: u64 = 20_000;

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
    let mut config = config::Config::read(args.config.as_deref())?;
    if args.bundle.is_some() {
        config.bundle = args.bundle;
    }
    // Kept until the end: what is still to be written then is written.
    let _log = log_to_stderr(config.log_format);
    // Before anybody is told that it serves: from then on nothing it is told may end it unprepared.
    let mut signals = Signals::listen()?;
    if let Some(most) = safeconduct_system::open_as_many_files_as_permitted().filter(|most| *most < FILES_WANTED) {
        tracing::warn!(most, "few files may be open at once: raise the limit (`ulimit -n`, `LimitNOFILE=`) to at least {FILES_WANTED}");
    }
    let running = Running::start(config).await?;
    if let Some(name) = &args.first_administrator {
        first_administrator(&running, name).await?;
    }
    eprintln!("safeconduct is ready");
    eprintln!("  API              {}", running.config.public_url);
    eprintln!("  PostgreSQL door  {}:{}", running.config.postgres_host, running.door.port());
    if let Some(at) = running.config.metrics_listen {
        eprintln!("  figures          http://{at}/metrics");
    }
    eprintln!("  authority        {}", running.keys.ca_file.display());
    for standing in running.app.status().await.standing_privilege {
        eprintln!("  standing privilege: {standing}");
    }
    notify::ready();
    let alive = tokio::spawn(notify::keep_alive(running.app.clone()));
    signals.until_stop(&running).await;
    notify::stopping();
    drain(&running, &mut signals).await;
    alive.abort();
    eprintln!("stopping");
    running.stop().await;
    Ok(())
}

/// What a node can be told.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::local("listening for signals", &error));
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hang_up: listen(SignalKind::hangup())? })
    }

    /// Resolves when told to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The same; a hang-up looks at the watched bundle again.
    async fn until_stop(&mut self, running: &Running) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => {
                    notify::reloading();
                    roster::reload(&running.config, &running.app).await;
                    running.look_at_bundle();
                    notify::ready();
                }
            }
        }
    }
}

/// Lets sessions finish what they are doing, for as long as the settings say or until told to stop again.
async fn drain(running: &Running, signals: &mut Signals) {
    running.app.drain().await;
    let (open, within) = (running.app.open_work(), running.config.drain);
    if open > 0 {
        eprintln!("draining: {open} sessions finish what they are doing, within {within}; stop again to cut them");
    }
    tokio::select! {
        () = running.app.is_empty() => {}
        () = tokio::time::sleep(Duration::from_secs(within.seconds())) => {}
        () = signals.stop() => {}
    }
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
                    // After the `#`, it is sent to nobody.
                    eprintln!("  open once: {}/sign-in#name={name}&code={}", running.config.public_url, code.as_str());
                    eprintln!(
                        "  or: safeconduct sign-in {name} --server {} --ca {} --code-file -",
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

/// Whoever reads the log may stall: lines are then left out, nothing else waits. Dropping the guard writes what is left.
pub fn log_to_stderr(format: LogFormat) -> WorkerGuard {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SAFECONDUCT_LOG").unwrap_or_else(|_| "warn,safeconduct=info".into());
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // A second subscriber is an error only if there is one already; then logging works.
    let _ = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    guard
}
