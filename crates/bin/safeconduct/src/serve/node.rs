//! Joins the parts of a node: the only place where adapters meet the application.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use safeconduct_app::{App, DoorAddress, Ports, Problem, ProblemKind, Settings, ports::Store};
use safeconduct_gateway_postgres::{
    DoorConfig, Gateway, Limits, PostgresExecutor, PostgresMinting, PostgresStatistics, SecretUnavailable, Secrets,
};
use safeconduct_model::MintingKey;
use safeconduct_policy::BundleFiles;
use safeconduct_recordings::LocalRecorder;
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_system::{SystemClock, SystemEntropy};
use safeconduct_telemetry::Telemetry;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{
    backup, bundle,
    config::{Config, private_directory},
    keys::Keys,
    roster,
};
use crate::failure::{Exit, Failure};

/// How often a watched bundle is looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A node that serves.
pub struct Running {
    pub app: App,
    pub config: Config,
    pub keys: Keys,
    pub door: SocketAddr,
    stop: watch::Sender<bool>,
    ticking: watch::Sender<bool>,
    look: Arc<Notify>,
    /// Traces are sent until the last session has ended.
    tracing_until: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Opens everything, then binds, then serves.
    pub async fn start(mut config: Config) -> Result<Self, Failure> {
        let entropy = Arc::new(SystemEntropy);
        let keys = Keys::open(&config, &*entropy)?;
        private_directory(&config.data).map_err(|e| Failure::local(&format!("making {}", config.data.display()), &e))?;
        let bundle_files = config.bundle.as_deref().map(bundle::read).transpose()?;
        let unusable = |what: &str, why: String| Failure::new("SERVE-003", Exit::Error, format!("the {what} can't be opened")).why(why);
        let store =
            SqliteStore::open(config.store_file(), entropy.clone()).map_err(|e| unusable("store", safeconduct_ledger::explain(&e)))?;
        let recorder = LocalRecorder::open(config.recordings()).map_err(|e| unusable("recordings", safeconduct_ledger::explain(&e)))?;
        let bind = |what: &str, at: SocketAddr, e: std::io::Error| Failure::local(&format!("listening on {at} for {what}"), &e);
        let api_listener = TcpListener::bind(config.api_listen).await.map_err(|e| bind("the API", config.api_listen, e))?;
        let api = api_listener.local_addr().map_err(|e| bind("the API", config.api_listen, e))?;
        // Port 0 is chosen by the system: the address people are told must be the real one.
        if config.api_listen.port() == 0 {
            config.public_url = config.public_url.replacen(":0", &format!(":{}", api.port()), 1);
        }
        let scim = match &config.scim {
            Some(scim) => {
                let token =
                    safeconduct_app::read_secret(&scim.token).map_err(|e| unusable("SCIM server", safeconduct_ledger::explain(&e)))?;
                let guard = safeconduct_scim::Guard::new(scim.provisioner.clone(), &token);
                Some(guard.map_err(|e| unusable("SCIM server", e.to_string()))?)
            }
            None => None,
        };
        let figures_listener = match config.metrics_listen {
            Some(at) => Some(TcpListener::bind(at).await.map_err(|e| bind("the figures", at, e))?),
            None => None,
        };
        let door_port = config.postgres_listen.port();
        let settings = Settings {
            gateway: config.gateway.clone(),
            public_url: config.public_url.clone(),
            door: DoorAddress { host: config.postgres_host.clone(), port: door_port, ca_pem: keys.ca_pem.clone() },
            pending: config.pending,
            pending_per_principal: config.pending_per_principal,
            sign_in: config.sign_in,
            sign_in_idle: config.sign_in_idle,
            token_days: config.token_days,
            bundle_watched: config.bundle.is_some(),
            signing_page: safeconduct_web::signing_page().map(safeconduct_model::Digest::of_bytes),
            roster: roster::read(&config)?,
        };
        let ports = Ports {
            store: Arc::new(store) as Arc<dyn Store>,
            recorder: Arc::new(recorder),
            clock: Arc::new(SystemClock),
            entropy,
            signer: Arc::clone(&keys.signer),
        };
        let started = match backup::mark(&config) {
            Some(why) => App::start_restored(ports, settings, MintingKey::make(), why).await,
            None => App::start(ports, settings, MintingKey::make()).await,
        };
        let providers = safeconduct_identity::OpenIdConnect::new(config.identity.clone(), &config.public_url)
            .map_err(|why| unusable("identity provider", why))?;
        let app =
            started.map_err(|e| Failure::new("SERVE-004", Exit::Error, "the gateway can't start").why(safeconduct_ledger::explain(&e)))?;
        if let Some(epoch) = app.roster_epoch() {
            roster::pin(&config, epoch)?;
        }
        backup::unmark(&config).map_err(|e| Failure::local("removing the mark of a restored store", &e))?;
        if let Some(files) = &bundle_files {
            app.operator_policy(files).await.map_err(|p| failed(&p))?;
        }
        let secrets: Secrets = Arc::new(|reference| safeconduct_app::read_secret(reference).map_err(|e| SecretUnavailable(e.to_string())));
        app.set_executor(Arc::new(PostgresExecutor::new(Arc::clone(&secrets), Limits::default())));
        app.set_identity_providers(Arc::new(providers));
        app.set_minting(Arc::new(PostgresMinting::new(Arc::clone(&secrets), Limits::default())));
        app.set_statistics(Arc::new(PostgresStatistics::new(Arc::clone(&secrets))));
        let door_config = DoorConfig {
            listen: config.postgres_listen,
            tls: Arc::clone(&keys.postgres),
            tls_server_end_point: keys.end_point.clone(),
            secrets,
            limits: Limits::default(),
        };
        let gateway = Gateway::bind(app.clone(), door_config).await.map_err(|e| bind("PostgreSQL clients", config.postgres_listen, e))?;
        let door = gateway.local_addr().map_err(|e| bind("PostgreSQL clients", config.postgres_listen, e))?;

        let (stop, stopped) = watch::channel(false);
        let look = Arc::new(Notify::new());
        let tracing_until = watch::Sender::new(false);
        let ticking = app.ticking();
        let mut tasks = vec![tokio::spawn(gateway.run(stopped.clone()))];
        let mut router = safeconduct_api::router(app.clone(), &safeconduct_api::ApiConfig::default());
        if let Some(guard) = scim {
            router = router.merge(safeconduct_scim::router(app.clone(), guard, &config.public_url));
        }
        let router = safeconduct_web::in_front_of(router);
        let (https, mut until) = (Arc::clone(&keys.https), stopped.clone());
        tasks.push(tokio::spawn(async move {
            let shutdown = async move {
                // A sender that is gone is the order to stop, too.
                let _ = until.wait_for(|stop| *stop).await;
            };
            if let Err(error) = safeconduct_api::serve(api_listener, https, router, shutdown).await {
                tracing::error!(%error, "the API has stopped");
            }
        }));
        if let Some(listener) = figures_listener {
            config.metrics_listen = listener.local_addr().ok();
            let (router, mut until) = (safeconduct_api::figures_router(app.clone()), stopped.clone());
            tasks.push(tokio::spawn(async move {
                let shutdown = async move {
                    let _ = until.wait_for(|stop| *stop).await;
                };
                if let Err(error) = safeconduct_api::serve_plain(listener, router, shutdown).await {
                    tracing::error!(%error, "the figures can't be read any more");
                }
            }));
        }
        if let Some(otlp) = config.otlp.clone() {
            let telemetry = Telemetry { otlp, gateway: config.gateway.clone(), statements: config.traced_statements };
            tasks.push(tokio::spawn(safeconduct_telemetry::follow(app.clone(), telemetry, tracing_until.subscribe())));
        }
        tasks.push(tokio::spawn(safeconduct_doorbells::ring_forever(app.clone(), config.doorbells.clone(), stopped.clone())));
        if let Some(folder) = config.bundle.clone() {
            tasks.push(tokio::spawn(watch_bundle(app.clone(), folder, bundle_files, Arc::clone(&look), stopped)));
        }
        Ok(Self { app, config, keys, door, stop, ticking, look, tracing_until, tasks })
    }

    /// Looks at the watched bundle now.
    pub fn look_at_bundle(&self) {
        if self.config.bundle.is_none() {
            tracing::warn!("no bundle is watched: there is nothing to load again");
        }
        self.look.notify_one();
    }

    /// Stops in order: sessions are told, recordings sealed, the last checkpoint signed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.app.shutdown().await;
        self.ticking.send_replace(true);
        self.tracing_until.send_replace(true);
        for task in self.tasks {
            if tokio::time::timeout(Duration::from_secs(5), task).await.is_err() {
                tracing::warn!("a part did not stop in time");
            }
        }
    }
}

/// Applies the bundle in a directory whenever it changes and is right; a wrong one changes nothing, and log, status and figures say so.
async fn watch_bundle(
    app: App,
    folder: std::path::PathBuf,
    applied: Option<BundleFiles>,
    look: Arc<Notify>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut last = applied.ok_or_else(String::new);
    loop {
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            () = look.notified() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        let read = tokio::task::spawn_blocking({
            let folder = folder.clone();
            move || bundle::read(&folder).map_err(|failure| failure.message)
        });
        let found = read.await.unwrap_or_else(|error| Err(error.to_string()));
        if found == last {
            continue;
        }
        let outcome = match &found {
            Ok(files) => app.operator_policy(files).await.map_err(|problem| match problem.why {
                Some(why) => format!("{} [{}]: {why}", problem.message, problem.code),
                None => format!("{} [{}]", problem.message, problem.code),
            }),
            Err(unreadable) => Err(unreadable.clone()),
        };
        match &outcome {
            Ok(()) => tracing::info!(folder = %folder.display(), "the changed bundle applies"),
            Err(why) => tracing::error!(folder = %folder.display(), why, "the changed bundle is not applied; the one before applies"),
        }
        app.watched_bundle(outcome);
        last = found;
    }
}

/// A problem of the application as the command line shows it.
pub fn failed(problem: &Problem) -> Failure {
    let exit = match problem.kind {
        ProblemKind::Denied | ProblemKind::NotFound => Exit::Denied,
        ProblemKind::NotSignedIn => Exit::NotSignedIn,
        ProblemKind::Expired => Exit::Expired,
        ProblemKind::Invalid => Exit::Usage,
        ProblemKind::Conflict | ProblemKind::TooMany | ProblemKind::Unavailable => Exit::Error,
    };
    let mut failure = Failure::new(problem.code, exit, problem.message.clone());
    if let Some(why) = &problem.why {
        failure = failure.why(why.clone());
    }
    if let Some(next) = &problem.next {
        failure = failure.next(next.clone());
    }
    failure
}
