//! A client that says exactly what it is told to say, over real TLS and SCRAM.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::frontend,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use safeconduct_app::DoorSecret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::World;

pub struct Raw {
    pub stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    pub process: u32,
    pub key: Vec<u8>,
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub tag: char,
    pub body: Bytes,
}

impl Heard {
    /// Takes a whole message off the front.
    pub fn take(buffer: &mut BytesMut) -> Option<Self> {
        let length = buffer.get(1..5).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()) as usize)?;
        if buffer.len() <= length {
            return None;
        }
        let mut message = buffer.split_to(length + 1).freeze();
        let tag = char::from(message.get_u8());
        message.advance(4);
        Some(Self { tag, body: message })
    }

    /// Fields of an error or notice.
    pub fn fields(&self) -> BTreeMap<char, String> {
        let mut fields = BTreeMap::new();
        for field in self.body.split(|byte| *byte == 0) {
            if let Some((name, text)) = field.split_first() {
                fields.insert(char::from(*name), String::from_utf8_lossy(text).into_owned());
            }
        }
        fields
    }

    pub fn sqlstate(&self) -> String {
        self.fields().remove(&'C').unwrap_or_default()
    }
}

pub fn connector(world: &World, alpn: bool) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(world.ca_file()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    if alpn {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    TlsConnector::from(Arc::new(config))
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

impl Raw {
    /// Encrypted, nothing said yet.
    pub async fn encrypted(world: &World) -> Self {
        let mut tcp = TcpStream::connect(world.door).await.unwrap();
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        tcp.write_all(&request).await.unwrap();
        assert_eq!(tcp.read_u8().await.unwrap(), b'S');
        Self::over(connector(world, false).connect(name(), tcp).await.unwrap())
    }

    pub fn over(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, buffer: BytesMut::new(), process: 0, key: Vec::new() }
    }

    /// Signs in; what came up to ReadyForQuery, or to the error that refused it.
    pub async fn sign_in(&mut self, user: &str, password: &str, parameters: &[(&str, &str)]) -> Vec<Heard> {
        let mut out = BytesMut::new();
        frontend::startup_message([("user", user)].into_iter().chain(parameters.iter().copied()), &mut out).unwrap();
        self.send(&out).await;
        let mut heard = Vec::new();
        // This client never binds, whatever is offered.
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let Some(message) = self.next().await else { return heard };
            heard.push(message.clone());
            let mut body = message.body;
            let mut out = BytesMut::new();
            match message.tag {
                'R' => match body.get_u32() {
                    10 => frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out).unwrap(),
                    11 => {
                        scram.update(&body).unwrap();
                        frontend::sasl_response(scram.message(), &mut out).unwrap();
                    }
                    12 => scram.finish(&body).unwrap(),
                    _ => {}
                },
                'K' => (self.process, self.key) = (body.get_u32(), body.to_vec()),
                'Z' | 'E' => return heard,
                _ => {}
            }
            self.send(&out).await;
        }
    }

    /// A session that is ready.
    pub async fn session(world: &World, secret: &DoorSecret) -> Self {
        let mut raw = Self::encrypted(world).await;
        let heard = raw.sign_in(secret.user.as_str(), &secret.password, &[("database", &secret.dbname)]).await;
        assert_eq!(heard.last().map(|message| message.tag), Some('Z'), "{heard:?}");
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    pub async fn say(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        write(&mut out);
        self.send(&out).await;
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(message) = Heard::take(&mut self.buffer) {
                return Some(message);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Everything up to ReadyForQuery or the end.
    pub async fn until_ready(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some(message) = self.next().await {
            let ready = message.tag == 'Z';
            heard.push(message);
            if ready {
                break;
            }
        }
        heard
    }

    pub async fn query(&mut self, text: &str) -> Vec<Heard> {
        self.say(|out| frontend::query(text, out).unwrap()).await;
        self.until_ready().await
    }

    /// Cancels what this session does, the way libpq 15 does: in plain text.
    pub async fn cancel(door: std::net::SocketAddr, process: u32, key: &[u8]) {
        let mut out = Vec::new();
        out.extend(u32::try_from(12 + key.len()).unwrap().to_be_bytes());
        out.extend(80_877_102_u32.to_be_bytes());
        out.extend(process.to_be_bytes());
        out.extend(key);
        let mut tcp = TcpStream::connect(door).await.unwrap();
        tcp.write_all(&out).await.unwrap();
        assert_eq!(tcp.read(&mut [0]).await.unwrap_or(0), 0);
    }
}

/// The tags of what was heard, ParameterStatus and notices left out.
pub fn tags(heard: &[Heard]) -> String {
    heard.iter().map(|message| message.tag).filter(|tag| !matches!(tag, 'S' | 'N')).collect()
}

/// The error codes of what was heard.
pub fn errors(heard: &[Heard]) -> Vec<String> {
    heard.iter().filter(|message| message.tag == 'E').map(Heard::sqlstate).collect()
}

/// Whether the transaction stands idle, open or failed.
pub fn status(heard: &[Heard]) -> char {
    heard.last().filter(|message| message.tag == 'Z').and_then(|message| message.body.first()).map_or('?', |byte| char::from(*byte))
}
