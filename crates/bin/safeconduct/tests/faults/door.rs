//! A PostgreSQL client at the door: says exactly what it is told to say, over TLS and SCRAM.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path, sync::Arc};

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::{
    IsNull,
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::frontend,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{node::Node, progress::Progress};

pub struct Session {
    pub stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    progress: Option<Arc<Progress>>,
}

/// A message of the server.
#[derive(Clone, Debug)]
pub struct Heard {
    pub tag: char,
    pub body: Bytes,
}

impl Heard {
    /// Fields of an error or notice.
    pub fn fields(&self) -> BTreeMap<char, String> {
        let named = self.body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
        named.map(|(name, text)| (char::from(*name), String::from_utf8_lossy(text).into_owned())).collect()
    }
}

/// Why a statement has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    Gone,
    Refused { sqlstate: String, message: String },
}

impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Session {
    /// Opens a session with the secret that `connect` gave.
    pub async fn open(node: &Node, secret: &Value, progress: Option<&Arc<Progress>>) -> Result<Self, Lost> {
        let mut session = Self::encrypted(node.door, &node.ca_file()).await?;
        session.progress = progress.cloned();
        let field = |name: &str| secret[name].as_str().unwrap();
        session.sign_in(field("user"), field("password"), field("dbname")).await?;
        Ok(session)
    }

    /// Encrypted, nothing said yet.
    pub async fn encrypted(door: SocketAddr, ca_file: &Path) -> io::Result<Self> {
        let mut tcp = TcpStream::connect(door).await?;
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        tcp.write_all(&request).await?;
        if tcp.read_u8().await? != b'S' {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let stream = connector(ca_file).connect(ServerName::try_from("localhost").unwrap(), tcp).await?;
        Ok(Self { stream, buffer: BytesMut::new(), progress: None })
    }

    async fn sign_in(&mut self, user: &str, password: &str, database: &str) -> Result<(), Lost> {
        self.say(|out| frontend::startup_message([("user", user), ("database", database)], out).unwrap()).await?;
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let Heard { tag, mut body } = self.next().await?;
            let mut out = BytesMut::new();
            match tag {
                'R' => match body.get_u32() {
                    10 => frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out)?,
                    11 => {
                        scram.update(&body)?;
                        frontend::sasl_response(scram.message(), &mut out)?;
                    }
                    12 => scram.finish(&body)?,
                    _ => {}
                },
                'Z' => return Ok(()),
                'E' => return Err(refusal(&Heard { tag, body })),
                _ => {}
            }
            self.send(&out).await?;
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tick();
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    pub async fn say(&mut self, write: impl FnOnce(&mut BytesMut)) -> io::Result<()> {
        let mut out = BytesMut::new();
        write(&mut out);
        self.send(&out).await
    }

    /// The next message.
    pub async fn next(&mut self) -> io::Result<Heard> {
        loop {
            let length = self.buffer.get(1..5).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()) as usize);
            if let Some(length) = length.filter(|length| self.buffer.len() > *length) {
                let mut message = self.buffer.split_to(length + 1).freeze();
                let tag = char::from(message.get_u8());
                message.advance(4);
                self.tick();
                return Ok(Heard { tag, body: message });
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Everything up to ReadyForQuery; the first error if there was one, also if the connection ends with it.
    pub async fn until_ready(&mut self) -> Result<Vec<Heard>, Lost> {
        let (mut heard, mut error) = (Vec::new(), None);
        loop {
            match self.next().await {
                Err(gone) => return Err(error.unwrap_or_else(|| gone.into())),
                Ok(message) if message.tag == 'Z' => return error.map_or(Ok(heard), Err),
                Ok(message) => {
                    if message.tag == 'E' && error.is_none() {
                        error = Some(refusal(&message));
                    }
                    heard.push(message);
                }
            }
        }
    }

    /// Runs a simple query.
    pub async fn query(&mut self, text: &str) -> Result<Vec<Heard>, Lost> {
        self.say(|out| frontend::query(text, out).unwrap()).await?;
        self.until_ready().await
    }

    /// Prepares a statement.
    pub async fn prepare(&mut self, name: &str, text: &str) -> Result<(), Lost> {
        let write = |out: &mut BytesMut| {
            frontend::parse(name, text, [], out).unwrap();
            frontend::sync(out);
        };
        self.say(write).await?;
        self.until_ready().await.map(drop)
    }

    /// Runs a prepared statement with one parameter in text form.
    pub async fn execute(&mut self, name: &str, value: &str) -> Result<Vec<Heard>, Lost> {
        let write = |out: &mut BytesMut| {
            let bind = |value: &str, out: &mut BytesMut| {
                out.extend_from_slice(value.as_bytes());
                Ok(IsNull::No)
            };
            frontend::bind("", name, [0], [value], bind, [0], out).map_err(|_| "bind").unwrap();
            frontend::execute("", 0, out).unwrap();
            frontend::sync(out);
        };
        self.say(write).await?;
        self.until_ready().await
    }

    fn tick(&self) {
        if let Some(progress) = &self.progress {
            progress.tick();
        }
    }
}

fn refusal(error: &Heard) -> Lost {
    let mut fields = error.fields();
    Lost::Refused { sqlstate: fields.remove(&'C').unwrap_or_default(), message: fields.remove(&'M').unwrap_or_default() }
}

pub fn connector(ca_file: &Path) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).unwrap()).unwrap();
    TlsConnector::from(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}
