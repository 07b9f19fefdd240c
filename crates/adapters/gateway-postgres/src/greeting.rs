//! The first bytes of a connection: encryption, cancelling, or the wish to open a session. Nothing secret is asked for in plain text.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use safeconduct_protocol::postgres::{
    messages::{Report, Severity},
    startup::{self, OpenSession, Startup, StartupError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use crate::{config::ALPN, readahead::ReadAhead, socket, stream::ClientStream};

/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Packets a client may send before it opens a session: one for each way to encrypt, and one more.
const PACKETS: usize = 3;

/// What a client turned out to want.
pub(crate) enum Greeting {
    /// A session, over TLS.
    Open(Box<ClientStream>, OpenSession),
    /// To cancel what another connection runs.
    Cancel { process: u32, key: Bytes },
}

/// Why a connection ended before sign-in. For the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoGreeting {
    #[error("connection was lost")]
    Lost(#[from] io::Error),
    #[error("client wanted no encryption")]
    Plaintext,
    #[error("client of direct TLS did not say that it speaks PostgreSQL")]
    NoAlpn,
    #[error("no startup packet")]
    Startup(#[from] StartupError),
    #[error("client asks for encryption again and again")]
    Endless,
}

/// Speaks with a new connection until it is encrypted and says what it wants.
pub(crate) async fn greet(mut tcp: TcpStream, tls: Arc<rustls::ServerConfig>) -> Result<Greeting, NoGreeting> {
    socket::prepare(&tcp)?;
    let mut first = [0];
    if tcp.peek(&mut first).await? == 1 && first == [TLS_HANDSHAKE] {
        let stream = TlsAcceptor::from(tls).accept(ReadAhead::new(tcp)).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(NoGreeting::NoAlpn);
        }
        return encrypted(Box::new(stream)).await;
    }
    for _ in 0..PACKETS {
        match packet(&mut tcp).await? {
            Startup::Ssl => {
                tcp.write_all(b"S").await?;
                // Nothing was read ahead: bytes slipped in before the handshake are read as TLS and fail there.
                return encrypted(Box::new(TlsAcceptor::from(tls).accept(ReadAhead::new(tcp)).await?)).await;
            }
            Startup::GssEnc => tcp.write_all(b"N").await?,
            // libpq before 17 sends these in plain text; the key is all that counts.
            Startup::Cancel { process_id, key } => return Ok(Greeting::Cancel { process: process_id, key }),
            Startup::Open(_) => {
                let report = Report::new("28000", "this server takes encrypted connections only").hint("connect with sslmode=verify-full");
                say_farewell(&mut tcp, &report).await;
                return Err(NoGreeting::Plaintext);
            }
        }
    }
    Err(NoGreeting::Endless)
}

async fn encrypted(mut stream: Box<ClientStream>) -> Result<Greeting, NoGreeting> {
    match packet(&mut stream).await? {
        Startup::Open(open) => Ok(Greeting::Open(stream, open)),
        Startup::Cancel { process_id, key } => Ok(Greeting::Cancel { process: process_id, key }),
        Startup::Ssl | Startup::GssEnc => Err(NoGreeting::Endless),
    }
}

/// Reads exactly one startup packet: not a byte more, the rest may belong to TLS.
async fn packet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Startup, NoGreeting> {
    let mut buffer = BytesMut::zeroed(4);
    stream.read_exact(&mut buffer).await?;
    let length = buffer.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize);
    if (8..=startup::MAX_STARTUP_BYTES).contains(&length) {
        buffer.resize(length, 0);
        if let Some(rest) = buffer.get_mut(4..) {
            stream.read_exact(rest).await?;
        }
    }
    match startup::decode(&mut buffer) {
        Ok(Some(startup)) => Ok(startup),
        Ok(None) => Err(StartupError::Malformed.into()),
        Err(error) => {
            let sqlstate = if matches!(error, StartupError::UnsupportedVersion { .. }) { "0A000" } else { "08P01" };
            say_farewell(stream, &Report::new(sqlstate, error.to_string())).await;
            Err(error.into())
        }
    }
}

/// Sends a FATAL error and closes. Who does not take it misses it.
pub(crate) async fn say_farewell<S: AsyncWrite + Unpin>(stream: &mut S, report: &Report) {
    let _ = stream.write_all(&report.encode(Severity::Fatal)).await;
    let _ = stream.shutdown().await;
}
