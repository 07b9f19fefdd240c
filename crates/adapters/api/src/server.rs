//! The listener: TLS on every connection, bounded in number, with limits on how long a silent or slow client may take.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::extract::{Closing, Source};

/// Connections at one time, half-open ones included.
const MOST_CONNECTIONS: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(15);
/// How long open calls may go on after the order to stop. Those that only wait end at once.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait when the system has no descriptor for one more connection.
const BREATHE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `shutdown` resolves; then lets open calls finish for a moment and ends.
///
/// A silent or stalled client costs one connection for a bounded time and delays nobody.
///
/// # Errors
/// Only if the listener itself is broken.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let over = move |stream| {
        let acceptor = acceptor.clone();
        async move { handshake(&acceptor, stream).await }
    };
    serve_over(listener, over, router, shutdown).await
}

/// The same without TLS: for what carries no credentials and stays on the machine.
///
/// # Errors
/// Only if the listener itself is broken.
pub async fn serve_plain(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
    serve_over(listener, |stream| std::future::ready(Some(stream)), router, shutdown).await
}

async fn serve_over<S, F>(
    listener: TcpListener,
    over: impl Fn(TcpStream) -> F,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Option<S>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let server = builder();
    let (close, closing) = watch::channel(false);
    tokio::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    sleep(BREATHE).await;
                    continue;
                }
            },
        };
        // Full: this one is closed at once rather than kept waiting.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (opening, router, server, watcher) = (over(stream), router.clone(), server.clone(), graceful.watcher());
        let closing = closing.clone();
        tokio::spawn(async move {
            if let Some(stream) = opening.await {
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let mut request: Request = request.map(Body::new);
                    request.extensions_mut().insert(Source(peer.ip()));
                    request.extensions_mut().insert(Closing(closing.clone()));
                    router.clone().oneshot(request)
                });
                let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%peer, %error, "connection ended");
                }
            }
            drop(place);
        });
    }
    drop(listener);
    close.send_replace(true);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = sleep(GRACE) => tracing::info!("calls still open were cut"),
    }
    Ok(())
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    // Small answers should not wait for more; a system that can't do this is merely slower.
    let _ = stream.set_nodelay(true);
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "handshake");
            None
        }
        Err(_) => None,
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_headers(64);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(64)
        .max_header_list_size(32 * 1024);
    server
}

/// Where a server listens, as a URL.
#[must_use]
pub fn url(address: SocketAddr) -> String {
    format!("https://{address}")
}
