//! The way to a server: verified TLS or, where a resource file names the danger, none; and cancelling what runs there.

use std::{
    collections::HashMap,
    error::Error,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::Mutex;
use postgres_protocol::message::frontend;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use safeconduct_model::{Postgres, UpstreamTls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{readahead::ReadAhead, socket, stream::UpstreamStream, upstream::UpstreamError, wire::malformed};

/// How often a cancel is tried if the server can't be reached.
const CANCEL_ATTEMPTS: u32 = 3;
/// Most files of trusted certificates whose settings are kept.
const MOST_KEPT: usize = 1000;

/// The one provider of all connections to servers: making one is work.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// How a server's identity is checked.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    pub(crate) fn of(postgres: &Postgres, resource: &str) -> Result<Option<Self>, UpstreamError> {
        let UpstreamTls::VerifyFull { ca_file, server_name } = &postgres.tls else { return Ok(None) };
        let untrusted = |source| UpstreamError::Untrusted { resource: resource.to_owned(), source };
        let name = server_name.clone().unwrap_or_else(|| postgres.host.clone());
        let name = ServerName::try_from(name).map_err(|error| untrusted(error.into()))?;
        Ok(Some(Self { config: trusting(Path::new(ca_file)).map_err(untrusted)?, name }))
    }
}

/// The settings that trust what this file holds now. They are kept: they remember how each server likes to begin, which saves a round trip
/// and a key of every handshake but the first.
fn trusting(ca_file: &Path) -> Result<Arc<ClientConfig>, Box<dyn Error + Send + Sync>> {
    type Kept = HashMap<PathBuf, (Vec<u8>, Arc<ClientConfig>)>;
    static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
    let pem = std::fs::read(ca_file)?;
    if let Some((before, config)) = KEPT.lock().get_or_insert_default().get(ca_file)
        && *before == pem
    {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let mut kept = KEPT.lock();
    let kept = kept.get_or_insert_default();
    // Files that no resource names any more are forgotten with the rest, once in a while.
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert(ca_file.to_owned(), (pem, Arc::clone(&config)));
    Ok(config)
}

/// Asks for TLS where the resource file wants it; a server that has none is not spoken to.
pub(crate) async fn encrypt(mut tcp: TcpStream, tls: Option<&Tls>) -> io::Result<UpstreamStream> {
    socket::prepare(&tcp)?;
    let Some(tls) = tls else { return Ok(UpstreamStream::Plain(ReadAhead::new(tcp))) };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    tcp.write_all(&request).await?;
    // Exactly one byte: what a liar in between adds in plain text is read as TLS and fails there.
    if tcp.read_u8().await? != b'S' {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "server offers no TLS"));
    }
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.config));
    Ok(UpstreamStream::Tls(Box::new(connector.connect(tls.name.clone(), ReadAhead::new(tcp)).await?)))
}

/// Where and how to cancel what a connection runs.
#[derive(Clone)]
pub(crate) struct CancelTarget {
    pub address: SocketAddr,
    pub tls: Option<Tls>,
    pub process: i32,
    pub secret: i32,
}

impl CancelTarget {
    /// Asks the server to cancel, over TLS where the session is. Returns once the server took it, or after `limit`.
    pub(crate) async fn send(&self, limit: Duration) {
        for attempt in 1..=CANCEL_ATTEMPTS {
            match timeout(limit, self.try_send()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!(attempt, %error, "could not cancel upstream"),
                Err(_) => tracing::warn!(attempt, "server does not take a cancel"),
            }
        }
    }

    async fn try_send(&self) -> io::Result<()> {
        let mut stream = encrypt(TcpStream::connect(self.address).await?, self.tls.as_ref()).await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.process, self.secret, &mut request);
        stream.write_all(&request).await?;
        stream.flush().await?;
        // The server closes once it has passed the signal on; some close without TLS's goodbye.
        match stream.read_u8().await {
            Ok(_) => Err(malformed("server answered a cancel")),
            Err(_) => Ok(()),
        }
    }
}
