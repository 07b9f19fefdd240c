//! The listener against clients that connect and say nothing, or nonsense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use support::World;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::TlsConnector;

/// A served gateway: where, how to stop it, its task, and who trusts it.
struct Served {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    client: TlsConnector,
}

async fn serve(world: &World) -> Served {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(safeconduct_api::serve(listener, Arc::new(server), world.router.clone(), async {
        stopped.await.ok();
    }));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Served { address, stop, serving, client: TlsConnector::from(Arc::new(client)) }
}

impl Served {
    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.client.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }
}

#[tokio::test]
async fn calls_that_only_wait_are_answered_to_their_end_when_the_server_stops() {
    let world = World::new().await;
    let token = world.sign_in("alice").await;
    let id = world.pending(&token).await["id"].as_str().unwrap().to_owned();
    let served = serve(&world).await;
    let mut events = served.connect().await;
    let call = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    events.write_all(call("/api/v1/events").as_bytes()).await.unwrap();
    let mut head = [0; 12];
    events.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut waiting = served.connect().await;
    waiting.write_all(call(&format!("/api/v1/access-requests/{id}/wait?timeout=60")).as_bytes()).await.unwrap();

    served.stop.send(()).unwrap();
    let (mut streamed, mut answered) = (String::new(), String::new());
    events.read_to_string(&mut streamed).await.unwrap();
    assert!(streamed.ends_with("0\r\n\r\n"), "the stream ends, it is not cut: {streamed}");
    // A call that the server had not read yet is not answered at all; it was never begun.
    if waiting.read_to_string(&mut answered).await.is_ok() && !answered.is_empty() {
        assert!(answered.starts_with("HTTP/1.1 200") && answered.contains("pending"), "{answered}");
    }
    served.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn f41_silent_and_stalled_clients_delay_nobody() {
    let world = World::new().await;
    let served = serve(&world).await;
    let address = served.address;

    let mut silent = Vec::new();
    for n in 0..500 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        match n % 3 {
            0 => {}
            // The beginning of a handshake that never goes on, and something that is none.
            1 => stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap(),
            _ => stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap(),
        }
        silent.push(stream);
    }

    let mut tls = served.connect().await;
    tls.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("alive"));

    drop(silent);
    served.stop.send(()).unwrap();
    served.serving.await.unwrap().unwrap();
}
