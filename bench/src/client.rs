//! A client that reads and throws away: TLS, SCRAM, one simple query at a time, as little work of its own as possible.

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::frontend,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::stage::Target;

/// A session that is ready.
pub struct Client {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    /// The server's process for this session, as it says.
    pub process: u32,
}

/// How a target's certificate is checked.
pub fn connector(target: &Target) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&target.ca_file).unwrap()).unwrap();
    TlsConnector::from(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

impl Client {
    pub async fn connect(target: &Target, connector: &TlsConnector) -> Self {
        let mut tcp = TcpStream::connect(target.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        tcp.write_all(&out).await.unwrap();
        assert_eq!(tcp.read_u8().await.unwrap(), b'S');
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        let mut client = Self { stream, buffer: BytesMut::with_capacity(128 * 1024), process: 0 };
        let mut out = BytesMut::new();
        frontend::startup_message([("user", target.user.as_str()), ("database", target.database.as_str())], &mut out).unwrap();
        client.send(&out).await;
        let mut scram = ScramSha256::new(target.password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let (tag, mut body) = client.message().await.expect("an answer to the sign-in");
            let mut out = BytesMut::new();
            match (tag, body.len()) {
                (b'R', _) => match body.get_u32() {
                    10 => frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out).unwrap(),
                    11 => {
                        scram.update(&body).unwrap();
                        frontend::sasl_response(scram.message(), &mut out).unwrap();
                    }
                    12 => scram.finish(&body).unwrap(),
                    _ => {}
                },
                (b'K', _) => client.process = body.get_u32(),
                (b'E', _) => panic!("{}: {}", target.name, String::from_utf8_lossy(&body)),
                (b'Z', _) => return client,
                _ => {}
            }
            if !out.is_empty() {
                client.send(&out).await;
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn message(&mut self) -> Option<(u8, BytesMut)> {
        loop {
            if let Some(length) = self.buffer.get(1..5).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()) as usize)
                && self.buffer.len() > length
            {
                let mut message = self.buffer.split_to(length + 1);
                let tag = message.get_u8();
                message.advance(4);
                return Some((tag, message));
            }
            self.buffer.reserve(64 * 1024);
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Sends a query and does not wait.
    pub async fn begin(&mut self, text: &str) {
        let mut out = BytesMut::new();
        frontend::query(text, &mut out).unwrap();
        self.send(&out).await;
    }

    /// Runs a query and throws its answer away; how many bytes came.
    pub async fn run(&mut self, text: &str) -> u64 {
        self.begin(text).await;
        let (mut bytes, mut skip) = (0_u64, 0_usize);
        loop {
            // Only headers are looked at.
            while skip > 0 || self.buffer.len() >= 5 {
                let here = skip.min(self.buffer.len());
                self.buffer.advance(here);
                skip -= here;
                if skip > 0 || self.buffer.len() < 5 {
                    break;
                }
                let tag = self.buffer[0];
                let length = u32::from_be_bytes(self.buffer[1..5].try_into().unwrap()) as usize;
                assert_ne!(tag, b'E', "{text}: {}", String::from_utf8_lossy(&self.buffer));
                skip = length + 1;
                if tag == b'Z' && self.buffer.len() > length {
                    self.buffer.advance(length + 1);
                    return bytes;
                }
                if tag == b'Z' {
                    skip = 0;
                    break;
                }
            }
            self.buffer.reserve(64 * 1024);
            let more = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(more > 0, "the connection ended");
            bytes += more as u64;
        }
    }

    /// Reads until the other side closes.
    pub async fn closed(&mut self) {
        while self.message().await.is_some() {}
    }

    /// Ends the session and waits for the other side to close.
    pub async fn end(mut self) {
        self.send(b"X\0\0\0\x04").await;
        self.closed().await;
    }
}
