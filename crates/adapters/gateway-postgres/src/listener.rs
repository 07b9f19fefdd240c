//! The door's socket: takes connections within bounds and lets nobody wait for somebody silent.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use safeconduct_app::{App, Turned};
use safeconduct_protocol::postgres::messages::Report;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    cancel::CancelKeys,
    config::DoorConfig,
    greeting::{Greeting, greet, say_farewell},
    opening,
    remains::Enders,
    sign_in,
    signal::raised,
    waiting::{Place, Waiting},
};

/// A bound PostgreSQL door.
pub struct Gateway {
    listener: TcpListener,
    shared: Arc<Shared>,
}

/// What all connections of a door share.
pub(crate) struct Shared {
    pub app: App,
    pub config: DoorConfig,
    pub cancels: CancelKeys,
    pub enders: Enders,
    waiting: Waiting,
    connections: AtomicUsize,
}

impl Gateway {
    /// Binds the address; nothing is accepted before [`Gateway::run`].
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(app: App, config: DoorConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let waiting = Waiting::new(config.limits.unauthenticated, config.limits.unauthenticated_per_address);
        let enders = Enders::new(Arc::clone(&config.secrets), config.limits.upstream_connect);
        let shared = Shared { app, config, cancels: CancelKeys::default(), enders, waiting, connections: AtomicUsize::new(0) };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` becomes true or its sender is gone; then every session is told so and ends. Takes no connection any more
    /// once the application drains.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let for_each = shutdown.clone();
        let mut draining = self.shared.app.draining();
        loop {
            tokio::select! {
                () = raised(&mut draining) => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, peer)) => self.take(&mut tasks, tcp, peer, for_each.clone()),
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a connection");
                        // Out of descriptors: those that are open must end first.
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                },
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                () = raised(&mut shutdown) => break,
            }
        }
        drop(self.listener);
        // Sessions watch the same signal and close within their farewell.
        while tasks.join_next().await.is_some() {}
    }

    fn take(&self, tasks: &mut JoinSet<()>, tcp: TcpStream, peer: SocketAddr, shutdown: watch::Receiver<bool>) {
        let Some(counted) = Counted::one_more(&self.shared) else {
            tracing::warn!(%peer, "too many connections");
            self.shared.app.meters().turned_away(Turned::Full);
            return;
        };
        let place = self.shared.waiting.enter(peer.ip());
        let number = place.number();
        let task = tasks.spawn(async move {
            serve(&counted.0, tcp, peer, place, shutdown).await;
            drop(counted);
        });
        self.shared.waiting.attach(number, task);
    }
}

/// A connection that is counted until it is dropped.
struct Counted(Arc<Shared>);

impl Counted {
    fn one_more(shared: &Arc<Shared>) -> Option<Self> {
        let most = shared.config.limits.connections;
        let counted = shared.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < most).then_some(count + 1));
        counted.is_ok().then(|| Self(Arc::clone(shared)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve(shared: &Arc<Shared>, tcp: TcpStream, peer: SocketAddr, place: Place, mut shutdown: watch::Receiver<bool>) {
    let began = Instant::now();
    let deadline = began + shared.config.limits.handshake;
    let greeted = tokio::select! {
        greeted = timeout_at(deadline, greet(tcp, Arc::clone(&shared.config.tls))) => greeted,
        () = raised(&mut shutdown) => return,
    };
    let (mut stream, open) = match greeted {
        Ok(Ok(Greeting::Open(stream, open))) => (stream, open),
        Ok(Ok(Greeting::Cancel { process, key })) => {
            // Answered by closing, whether there is such a session or not.
            let _ = timeout_at(deadline, shared.cancels.cancel(process, &key)).await;
            return;
        }
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no session was opened"),
        Err(_) => return tracing::debug!(%peer, "nobody opened a session in time"),
    };
    let wishes = match opening::read(&open) {
        Ok(wishes) => wishes,
        Err(report) => return say_farewell(&mut stream, &report).await,
    };
    let lookup = shared.app.door_lookup(&wishes.user, &wishes.database);
    let proving = async {
        opening::negotiate(&mut stream, &open).await?;
        sign_in::prove(&mut stream, lookup.verifiers(), &shared.config.tls_server_end_point).await
    };
    let proved = tokio::select! {
        proved = timeout_at(deadline, proving) => proved,
        () = raised(&mut shutdown) => return,
    };
    match proved {
        Ok(Ok(proved)) if place.admit() => {
            shared.app.meters().sign_in.took(began.elapsed());
            Box::pin(opening::open(shared, stream, wishes, lookup, proved, peer, shutdown)).await;
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "sign-in refused");
            shared.app.meters().turned_away(Turned::SignIn);
            say_farewell(&mut stream, &sign_in::refusal()).await;
        }
        Err(_) => say_farewell(&mut stream, &Report::new("08P01", "sign-in took too long")).await,
    }
}
