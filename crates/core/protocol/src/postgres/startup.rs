//! The first bytes of a connection: what a client wants before it says who it is.
//!
//! Nothing is answered here. At most 10 KiB are read; whatever is no startup packet of protocol 3 is an error that ends the connection.

use bytes::{Bytes, BytesMut};

use super::{Malformed, Reader};

/// Largest packet taken before sign-in.
pub const MAX_STARTUP_BYTES: usize = 10_000;

/// What a client may begin with. Direct TLS (first byte 0x16) is the adapter's to detect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// Asks for TLS: answered with one byte.
    Ssl,
    /// Asks for GSSAPI encryption: answered with one byte.
    GssEnc,
    /// Asks that a running statement be cancelled. Keys may have any length since protocol 3.2.
    Cancel { process_id: u32, key: Bytes },
    /// Opens a session.
    Open(OpenSession),
}

/// A startup message of protocol 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Minor version asked for. Only 0 is spoken.
    pub minor: u16,
    /// Names and values in order, protocol options (`_pq_.…`) left out.
    pub parameters: Vec<(String, String)>,
    /// Protocol options nobody here knows.
    pub protocol_options: Vec<String>,
}

impl OpenSession {
    /// The value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// True if a NegotiateProtocolVersion message must be sent before authentication.
    #[must_use]
    pub const fn needs_negotiation(&self) -> bool {
        self.minor > 0 || !self.protocol_options.is_empty()
    }

    /// True if the session would be a replication stream. Such sessions are always refused.
    #[must_use]
    pub fn is_replication(&self) -> bool {
        // PostgreSQL reads a boolean or the word `database`; whatever is not plainly false counts.
        self.parameter("replication")
            .is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "no" | "0" | "f" | "n"))
    }
}

/// Why the first bytes are no startup packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    #[error("startup packet with impossible length {0}")]
    BadLength(u32),
    #[error("unsupported protocol version {major}.{minor}")]
    UnsupportedVersion { major: u16, minor: u16 },
    #[error("malformed startup packet")]
    Malformed,
    #[error("startup parameter given twice")]
    Repeated,
}

impl From<Malformed> for StartupError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

const CANCEL: u16 = 5678;
const SSL: u16 = 5679;
const GSSENC: u16 = 5680;

/// Takes a startup packet from the start of the buffer; `None` if more bytes are needed.
///
/// # Errors
/// [`StartupError`]: the connection can only be closed.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Startup>, StartupError> {
    let Some(length) = buffer.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes) else { return Ok(None) };
    let total = length as usize;
    if !(8..=MAX_STARTUP_BYTES).contains(&total) {
        return Err(StartupError::BadLength(length));
    }
    if buffer.len() < total {
        return Ok(None);
    }
    let packet = buffer.split_to(total).freeze();
    let mut reader = Reader::new(&packet);
    reader.u32()?;
    let (major, minor) = (reader.u16()?, reader.u16()?);
    match (major, minor) {
        (1234, SSL) => reader.end().map(|()| Some(Startup::Ssl)).map_err(Into::into),
        (1234, GSSENC) => reader.end().map(|()| Some(Startup::GssEnc)).map_err(Into::into),
        (1234, CANCEL) => {
            let process_id = reader.u32()?;
            let key = reader.rest();
            if !(4..=256).contains(&key.len()) {
                return Err(StartupError::Malformed);
            }
            Ok(Some(Startup::Cancel { process_id, key: Bytes::copy_from_slice(key) }))
        }
        (3, minor) => open(reader, minor).map(|open| Some(Startup::Open(open))),
        (major, minor) => Err(StartupError::UnsupportedVersion { major, minor }),
    }
}

fn open(mut reader: Reader<'_>, minor: u16) -> Result<OpenSession, StartupError> {
    let mut open = OpenSession { minor, parameters: Vec::new(), protocol_options: Vec::new() };
    loop {
        let name = text(reader.cstr()?)?;
        if name.is_empty() {
            reader.end()?;
            return Ok(open);
        }
        let value = text(reader.cstr()?)?;
        if name.starts_with("_pq_.") {
            open.protocol_options.push(name);
        } else if open.parameters.iter().any(|(found, _)| *found == name) {
            // Which of two wins differs between programs: nobody gets to rely on it.
            return Err(StartupError::Repeated);
        } else {
            open.parameters.push((name, value));
        }
    }
}

fn text(bytes: &[u8]) -> Result<String, StartupError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| StartupError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(major: u16, minor: u16, rest: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&u32::try_from(8 + rest.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&major.to_be_bytes());
        bytes.extend_from_slice(&minor.to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn every_kind_of_first_packet_is_told_apart() {
        assert_eq!(decode(&mut packet(1234, 5679, b"")), Ok(Some(Startup::Ssl)));
        assert_eq!(decode(&mut packet(1234, 5680, b"")), Ok(Some(Startup::GssEnc)));
        let cancel = decode(&mut packet(1234, 5678, &[0, 0, 0, 7, 1, 2, 3, 4]));
        assert_eq!(cancel, Ok(Some(Startup::Cancel { process_id: 7, key: Bytes::from_static(&[1, 2, 3, 4]) })));
        let long = [[0_u8, 0, 0, 7].as_slice(), &[9; 32]].concat();
        assert!(matches!(decode(&mut packet(1234, 5678, &long)), Ok(Some(Startup::Cancel { key, .. })) if key.len() == 32));
        let Ok(Some(Startup::Open(open))) = decode(&mut packet(3, 2, b"user\0alice\0database\0orders\0_pq_.x\0y\0\0")) else { panic!() };
        assert_eq!((open.parameter("user"), open.parameter("database")), (Some("alice"), Some("orders")));
        assert!(open.needs_negotiation() && open.protocol_options == ["_pq_.x"] && !open.is_replication());
    }

    #[test]
    fn f33_replication_is_seen_in_every_spelling() {
        for (value, wanted) in [("true", true), ("database", true), ("1", true), ("ON", true), ("x", true), ("off", false), ("0", false)] {
            let rest = format!("user\0a\0replication\0{value}\0\0");
            let Ok(Some(Startup::Open(open))) = decode(&mut packet(3, 0, rest.as_bytes())) else { panic!() };
            assert_eq!(open.is_replication(), wanted, "{value}");
        }
    }

    #[test]
    fn f41_malformed_first_packets_are_typed_errors() {
        assert_eq!(decode(&mut BytesMut::from(&[0, 0, 0, 7, 0, 0, 0, 0][..])), Err(StartupError::BadLength(7)));
        assert_eq!(decode(&mut BytesMut::from(&b"GET / HTTP/1.1"[..])), Err(StartupError::BadLength(0x4745_5420)));
        assert_eq!(decode(&mut packet(2, 0, b"")), Err(StartupError::UnsupportedVersion { major: 2, minor: 0 }));
        for bad in [&b""[..], b"user\0alice\0", b"user\0", b"user\0a\0\0x", b"user", b"user\0\xff\0\0", b"\0\0"] {
            assert_eq!(decode(&mut packet(3, 0, bad)), Err(StartupError::Malformed), "{bad:?}");
        }
        assert_eq!(decode(&mut packet(3, 0, b"user\0a\0user\0b\0\0")), Err(StartupError::Repeated));
        assert_eq!(decode(&mut packet(1234, 5679, b"x")), Err(StartupError::Malformed));
        assert_eq!(decode(&mut packet(1234, 5678, &[0, 0, 0, 7])), Err(StartupError::Malformed));
        let whole = packet(3, 0, b"user\0alice\0\0");
        for cut in 0..whole.len() {
            assert_eq!(decode(&mut BytesMut::from(whole.get(..cut).unwrap())), Ok(None));
        }
    }
}
