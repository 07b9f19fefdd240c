//! What the door is built from.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use safeconduct_protocol::postgres::frame;

use crate::Secrets;

/// Address, identity and bounds of a PostgreSQL door.
#[derive(Clone)]
pub struct DoorConfig {
    pub listen: SocketAddr,
    /// The door's certificate. Direct TLS also needs the ALPN name `postgresql` in it: see [`ALPN`].
    pub tls: Arc<rustls::ServerConfig>,
    /// Hash of that certificate for SCRAM-SHA-256-PLUS (RFC 5929 `tls-server-end-point`); empty if there is none.
    pub tls_server_end_point: Vec<u8>,
    /// Reads upstream passwords.
    pub secrets: Secrets,
    pub limits: Limits,
}

/// The application protocol that clients of direct TLS must name.
pub const ALPN: &[u8] = b"postgresql";

/// Bounds that keep one client from taking what others need.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections that have not signed in; one more ends the oldest of them.
    pub unauthenticated: usize,
    /// The same per address.
    pub unauthenticated_per_address: usize,
    /// From the first byte to the end of sign-in.
    pub handshake: Duration,
    /// From name look-up to the server's first ReadyForQuery.
    pub upstream_connect: Duration,
    /// For a CancelRequest to reach a server.
    pub cancel: Duration,
    /// For the last words to a client whose session ends.
    pub farewell: Duration,
    /// Bytes kept per session and direction before the other side is no longer read.
    pub buffer_bytes: usize,
    /// Largest messages taken.
    pub frames: frame::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            unauthenticated: 1024,
            unauthenticated_per_address: 256,
            handshake: Duration::from_secs(10),
            upstream_connect: Duration::from_secs(10),
            cancel: Duration::from_secs(5),
            farewell: Duration::from_millis(100),
            buffer_bytes: 256 * 1024,
            frames: frame::Limits::default(),
        }
    }
}
