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

#[tokio::test]
async fn f41_silent_and_stalled_clients_delay_nobody() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let world = World::new().await;
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

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut tls = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    tls.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("alive"));

    drop(silent);
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
