//! The few messages the gateway says itself: reports, sign-in, and what takes the place of a refused message.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Malformed, TransactionStatus, utf8};
use crate::postgres::Reader;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Notice,
    Warning,
    Error,
    Fatal,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// What the gateway tells a client in PostgreSQL's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Five characters, such as `42501`.
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Report {
    /// A report of one sentence.
    #[must_use]
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.to_owned(), message: message.into(), detail: None, hint: None }
    }

    /// The same with a detail.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// As NoticeResponse (notices and warnings) or ErrorResponse.
    #[must_use]
    pub fn encode(&self, severity: Severity) -> Bytes {
        let tag = if matches!(severity, Severity::Notice | Severity::Warning) { b'N' } else { b'E' };
        frame(tag, |body| {
            let fields = [
                (b'S', Some(severity.name())),
                (b'V', Some(severity.name())),
                (b'C', Some(self.sqlstate.as_str())),
                (b'M', Some(self.message.as_str())),
                (b'D', self.detail.as_deref()),
                (b'H', self.hint.as_deref()),
            ];
            for (field, value) in fields {
                if let Some(value) = value {
                    body.put_u8(field);
                    put_cstr(body, value);
                }
            }
            body.put_u8(0);
        })
    }
}

/// AuthenticationSASL: the mechanisms offered.
#[must_use]
pub fn authentication_sasl(mechanisms: &[&str]) -> Bytes {
    frame(b'R', |body| {
        body.put_u32(10);
        mechanisms.iter().for_each(|mechanism| put_cstr(body, mechanism));
        body.put_u8(0);
    })
}

/// AuthenticationSASLContinue.
#[must_use]
pub fn authentication_sasl_continue(data: &str) -> Bytes {
    frame(b'R', |body| {
        body.put_u32(11);
        body.put_slice(data.as_bytes());
    })
}

/// AuthenticationSASLFinal.
#[must_use]
pub fn authentication_sasl_final(data: &str) -> Bytes {
    frame(b'R', |body| {
        body.put_u32(12);
        body.put_slice(data.as_bytes());
    })
}

/// AuthenticationOk.
#[must_use]
pub fn authentication_ok() -> Bytes {
    frame(b'R', |body| body.put_u32(0))
}

/// ParameterStatus.
#[must_use]
pub fn parameter_status(name: &str, value: &str) -> Bytes {
    frame(b'S', |body| {
        put_cstr(body, name);
        put_cstr(body, value);
    })
}

/// BackendKeyData. Clients of protocol 3.0 expect a key of four bytes.
#[must_use]
pub fn backend_key_data(process_id: u32, key: &[u8]) -> Bytes {
    frame(b'K', |body| {
        body.put_u32(process_id);
        body.put_slice(key);
    })
}

/// ReadyForQuery.
#[must_use]
pub fn ready_for_query(status: TransactionStatus) -> Bytes {
    frame(b'Z', |body| body.put_u8(status.byte()))
}

/// NegotiateProtocolVersion: only 3.0 is spoken, none of these options is known.
#[must_use]
pub fn negotiate_protocol_version(unknown_options: &[String]) -> Bytes {
    frame(b'v', |body| {
        body.put_u32(crate::postgres::PROTOCOL_3_0);
        body.put_u32(u32::try_from(unknown_options.len()).unwrap_or(u32::MAX));
        unknown_options.iter().for_each(|option| put_cstr(body, option));
    })
}

/// Query, as the gateway sends it upstream.
#[must_use]
pub fn query(text: &str) -> Bytes {
    frame(b'Q', |body| put_cstr(body, text))
}

/// Parse, as the gateway sends it upstream.
#[must_use]
pub fn parse(name: &str, text: &str) -> Bytes {
    frame(b'P', |body| {
        put_cstr(body, name);
        put_cstr(body, text);
        body.put_u16(0);
    })
}

/// Parse, Bind, Execute, Close and Sync of a text without parameters, all under one name.
#[must_use]
pub fn run_once(name: &str, text: &str) -> Bytes {
    let mut all = BytesMut::from(parse(name, text).as_ref());
    all.extend_from_slice(&frame(b'B', |body| {
        put_cstr(body, name);
        put_cstr(body, name);
        // No formats, no parameters, no formats of columns.
        body.put_slice(&[0; 6]);
    }));
    all.extend_from_slice(&frame(b'E', |body| {
        put_cstr(body, name);
        body.put_u32(0);
    }));
    all.extend_from_slice(&frame(b'C', |body| {
        body.put_u8(b'S');
        put_cstr(body, name);
    }));
    all.extend_from_slice(&frame(b'S', |_| ()));
    all.freeze()
}

/// Flush.
#[must_use]
pub fn flush() -> Bytes {
    frame(b'H', |_| ())
}

/// CopyInResponse that leaves open how many columns there are, which only the server knows.
#[must_use]
pub fn copy_in_response(binary: bool) -> Bytes {
    frame(b'G', |body| {
        body.put_u8(u8::from(binary));
        body.put_u16(0);
    })
}

/// What precedes so many bytes of copy data. More than four gibibytes are never announced.
#[must_use]
pub fn copy_data_header(bytes: usize) -> Bytes {
    let mut header = BytesMut::with_capacity(5);
    header.put_u8(b'd');
    header.put_u32(u32::try_from(bytes + 4).unwrap_or(u32::MAX));
    header.freeze()
}

/// CopyDone, as the gateway sends it upstream.
#[must_use]
pub fn copy_done() -> Bytes {
    frame(b'c', |_| ())
}

/// CopyFail, as the gateway sends it upstream.
#[must_use]
pub fn copy_fail(why: &str) -> Bytes {
    frame(b'f', |body| put_cstr(body, why))
}

/// Terminate.
#[must_use]
pub fn terminate() -> Bytes {
    frame(b'X', |_| ())
}

/// StartupMessage of protocol 3.0, as the gateway sends it upstream.
#[must_use]
pub fn startup(parameters: &[(&str, &str)]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(0);
    bytes.put_u32(crate::postgres::PROTOCOL_3_0);
    for (name, value) in parameters {
        put_cstr(&mut bytes, name);
        put_cstr(&mut bytes, value);
    }
    bytes.put_u8(0);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    bytes.freeze()
}

/// CancelRequest, as the gateway sends it upstream.
#[must_use]
pub fn cancel_request(process_id: u32, key: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(12 + key.len()).unwrap_or(u32::MAX));
    bytes.put_u32((1234 << 16) | 5678);
    bytes.put_u32(process_id);
    bytes.put_slice(key);
    bytes.freeze()
}

/// SSLRequest, as the gateway sends it upstream.
#[must_use]
pub fn ssl_request() -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(8);
    bytes.put_u32((1234 << 16) | 5679);
    bytes.freeze()
}

/// SASLInitialResponse, as the gateway sends it upstream.
#[must_use]
pub fn sasl_initial_response(mechanism: &str, data: &[u8]) -> Bytes {
    frame(b'p', |body| {
        put_cstr(body, mechanism);
        body.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
        body.put_slice(data);
    })
}

/// SASLResponse, as the gateway sends it upstream.
#[must_use]
pub fn sasl_response(data: &[u8]) -> Bytes {
    frame(b'p', |body| body.put_slice(data))
}

/// Reads a client's SASLInitialResponse body: mechanism and data.
///
/// # Errors
/// [`Malformed`] for anything else.
pub fn parse_sasl_initial_response(body: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let mechanism = utf8(reader.cstr()?)?;
    let length = usize::try_from(reader.i32()?).map_err(|_| Malformed)?;
    let data = reader.take(length)?;
    reader.end()?;
    Ok((mechanism, data))
}

/// One frame with the body that `fill` writes.
pub(crate) fn frame(tag: u8, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut bytes = BytesMut::with_capacity(64);
    bytes.put_u8(tag);
    bytes.put_u32(0);
    fill(&mut bytes);
    let length = u32::try_from(bytes.len() - 1).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(1..5) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    bytes.freeze()
}

/// A zero byte ends the string on the wire, so one inside ends it early.
fn put_cstr(body: &mut BytesMut, text: &str) {
    body.put_slice(text.split('\0').next().unwrap_or_default().as_bytes());
    body.put_u8(0);
}
