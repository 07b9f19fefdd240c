//! Messages: the bodies that decide something, read strictly; and the few messages the gateway says itself.
//!
//! Reading never changes anything. A body that ends early or late is malformed, not repaired.

mod build;

pub use build::*;

use super::{Malformed, Reader};

/// A message from a client, borrowed from its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontendMessage<'a> {
    Query {
        text: &'a [u8],
    },
    Parse {
        name: &'a [u8],
        text: &'a [u8],
        type_oids: Vec<u32>,
    },
    Bind(Bind<'a>),
    Describe {
        target: Target,
        name: &'a [u8],
    },
    Execute {
        portal: &'a [u8],
        max_rows: u32,
    },
    Close {
        target: Target,
        name: &'a [u8],
    },
    FunctionCall(FunctionCall<'a>),
    Sync,
    Flush,
    Terminate,
    CopyDone,
    CopyFail {
        why: &'a [u8],
    },
    /// Password and SASL messages: only before sign-in.
    Password {
        body: &'a [u8],
    },
}

/// What Describe and Close name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

/// A Bind message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    pub parameters: Values<'a>,
}

/// Per value: binary or text, and the bytes; `None` for NULL.
pub type Values<'a> = Vec<(bool, Option<&'a [u8]>)>;

/// A call of the old fast path: a function by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    pub function_oid: u32,
    pub arguments: Values<'a>,
}

impl<'a> FrontendMessage<'a> {
    /// Reads a body. Bulk tags (`d`) are not read here.
    ///
    /// # Errors
    /// [`Malformed`] for anything that is not exactly such a message.
    pub fn parse(tag: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let message = match tag {
            b'Q' => Self::Query { text: reader.cstr()? },
            b'P' => {
                let (name, text) = (reader.cstr()?, reader.cstr()?);
                let count = reader.u16()?;
                let type_oids = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
                Self::Parse { name, text, type_oids }
            }
            b'B' => Self::Bind(bind(&mut reader)?),
            b'D' | b'C' => {
                let target = match reader.u8()? {
                    b'S' => Target::Statement,
                    b'P' => Target::Portal,
                    _ => return Err(Malformed),
                };
                let name = reader.cstr()?;
                if tag == b'D' { Self::Describe { target, name } } else { Self::Close { target, name } }
            }
            b'E' => Self::Execute { portal: reader.cstr()?, max_rows: reader.u32()? },
            b'F' => {
                let (function_oid, arguments) = (reader.u32()?, values(&mut reader)?);
                format(reader.u16()?)?;
                Self::FunctionCall(FunctionCall { function_oid, arguments })
            }
            b'S' => Self::Sync,
            b'H' => Self::Flush,
            b'X' => Self::Terminate,
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail { why: reader.cstr()? },
            b'p' => return Ok(Self::Password { body }),
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(message)
    }
}

fn bind<'a>(reader: &mut Reader<'a>) -> Result<Bind<'a>, Malformed> {
    let (portal, statement) = (reader.cstr()?, reader.cstr()?);
    let parameters = values(reader)?;
    let count = reader.u16()?;
    for _ in 0..count {
        format(reader.u16()?)?;
    }
    Ok(Bind { portal, statement, parameters })
}

/// Formats and values: per value binary or text, and its bytes.
fn values<'a>(reader: &mut Reader<'a>) -> Result<Values<'a>, Malformed> {
    let count = reader.u16()?;
    let formats = (0..count).map(|_| format(reader.u16()?)).collect::<Result<Vec<bool>, _>>()?;
    let count = reader.u16()?;
    if formats.len() > 1 && formats.len() != usize::from(count) {
        return Err(Malformed);
    }
    let mut values = Vec::with_capacity(usize::from(count));
    for place in 0..usize::from(count) {
        let value = match reader.i32()? {
            -1 => None,
            length => Some(reader.take(usize::try_from(length).map_err(|_| Malformed)?)?),
        };
        let binary = if formats.len() == 1 { formats.first() } else { formats.get(place) };
        values.push((binary.copied().unwrap_or(false), value));
    }
    Ok(values)
}

const fn format(code: u16) -> Result<bool, Malformed> {
    match code {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

/// A message from a server that is read whole, borrowed from its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendMessage<'a> {
    ReadyForQuery(TransactionStatus),
    ParseComplete,
    BindComplete,
    CloseComplete,
    CommandComplete {
        tag: &'a str,
    },
    ErrorResponse(ServerError),
    EmptyQueryResponse,
    PortalSuspended,
    NoData,
    RowDescription,
    /// Types of a statement's parameters.
    ParameterDescription {
        type_oids: Vec<u32>,
    },
    CopyInResponse {
        binary: bool,
    },
    CopyOutResponse,
    CopyBothResponse,
    CopyDone,
    ParameterStatus {
        name: &'a str,
        value: &'a str,
    },
    BackendKeyData {
        process_id: u32,
        key: &'a [u8],
    },
    /// Kind of authentication asked for, and what follows it.
    Authentication {
        kind: u32,
        rest: &'a [u8],
    },
    NegotiateProtocolVersion,
}

/// Where the server stands, as ReadyForQuery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

impl TransactionStatus {
    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// An error or notice of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// Not translated: `ERROR`, `FATAL`, `PANIC`.
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
}

impl ServerError {
    /// True if the connection ends with it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.severity != "ERROR"
    }

    /// Reads the fields of an ErrorResponse or NoticeResponse body.
    ///
    /// # Errors
    /// [`Malformed`] if the fields do not end as they should.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (mut error, mut translated) = (Self::default(), String::new());
        loop {
            let field = reader.u8()?;
            if field == 0 {
                break;
            }
            let value = String::from_utf8_lossy(reader.cstr()?);
            match field {
                b'V' => error.severity = value.into_owned(),
                b'S' => translated = value.into_owned(),
                b'C' => error.sqlstate = value.into_owned(),
                b'M' => error.message = value.into_owned(),
                _ => {}
            }
        }
        reader.end()?;
        if error.severity.is_empty() {
            error.severity = translated;
        }
        Ok(error)
    }
}

impl<'a> BackendMessage<'a> {
    /// Reads a body. Bulk tags are not read here.
    ///
    /// # Errors
    /// [`Malformed`] for anything that is not exactly such a message.
    pub fn parse(tag: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let message = match tag {
            b'Z' => Self::ReadyForQuery(match reader.u8()? {
                b'I' => TransactionStatus::Idle,
                b'T' => TransactionStatus::InTransaction,
                b'E' => TransactionStatus::Failed,
                _ => return Err(Malformed),
            }),
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b'C' => Self::CommandComplete { tag: utf8(reader.cstr()?)? },
            b'E' => return ServerError::parse(body).map(Self::ErrorResponse),
            b'I' => Self::EmptyQueryResponse,
            b's' => Self::PortalSuspended,
            b'n' => Self::NoData,
            b'T' => return Ok(Self::RowDescription),
            b't' => {
                let count = reader.u16()?;
                Self::ParameterDescription { type_oids: (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()? }
            }
            // The formats of single columns follow.
            b'G' => return Ok(Self::CopyInResponse { binary: format(u16::from(reader.u8()?))? }),
            b'H' => return Ok(Self::CopyOutResponse),
            b'W' => return Ok(Self::CopyBothResponse),
            b'c' => Self::CopyDone,
            b'S' => Self::ParameterStatus { name: utf8(reader.cstr()?)?, value: utf8(reader.cstr()?)? },
            b'K' => return Ok(Self::BackendKeyData { process_id: reader.u32()?, key: reader.rest() }),
            b'R' => return Ok(Self::Authentication { kind: reader.u32()?, rest: reader.rest() }),
            b'v' => return Ok(Self::NegotiateProtocolVersion),
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(message)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Rows a command tag counts: the last number of `INSERT 0 5`, `SELECT 3`, `COPY 9`.
#[must_use]
pub fn rows_of_tag(tag: &str) -> Option<u64> {
    tag.rsplit_once(' ').and_then(|(_, count)| count.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_strictly() {
        assert_eq!(FrontendMessage::parse(b'Q', b"select 1\0"), Ok(FrontendMessage::Query { text: b"select 1" }));
        for (tag, body) in [
            (b'Q', &b"select 1"[..]),
            (b'Q', b"select 1\0select 2\0"),
            (b'P', b"a\0b\0\0\x01\0"),
            (b'D', b"Xa\0"),
            (b'E', b"a\0\0\0"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'B', b"\0\0\0\x01\0\x07\0\0\0\0"),
            (b'B', b"\0\0\0\x02\0\0\0\0\0\x01\0\0\0\0\0\0"),
            (b'S', b"x"),
            (b'!', b""),
        ] {
            assert_eq!(FrontendMessage::parse(tag, body), Err(Malformed), "{tag} {body:?}");
        }
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
        let bind = Bind { portal: b"p", statement: b"s", parameters: vec![(true, Some(b"x")), (true, None)] };
        assert_eq!(FrontendMessage::parse(b'B', body), Ok(FrontendMessage::Bind(bind)));
        for cut in 0..body.len() {
            assert_eq!(FrontendMessage::parse(b'B', body.get(..cut).unwrap()), Err(Malformed));
        }
    }

    #[test]
    fn what_is_built_reads_back() {
        let report = Report::new("42501", "no grant").detail("needs write").hint("ask");
        let bytes = report.encode(Severity::Error);
        let Ok(BackendMessage::ErrorResponse(error)) = BackendMessage::parse(b'E', bytes.get(5..).unwrap()) else { panic!() };
        assert_eq!((error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str()), ("ERROR", "42501", "no grant"));
        assert!(!error.is_fatal());
        assert_eq!(report.encode(Severity::Notice).first(), Some(&b'N'));
        let ready = ready_for_query(TransactionStatus::Failed);
        assert_eq!(BackendMessage::parse(b'Z', ready.get(5..).unwrap()), Ok(BackendMessage::ReadyForQuery(TransactionStatus::Failed)));
        let mut opened = bytes::BytesMut::from(&startup(&[("user", "a")])[..]);
        assert!(matches!(crate::postgres::startup::decode(&mut opened), Ok(Some(crate::postgres::startup::Startup::Open(_)))));
        let response = sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=x");
        assert_eq!(parse_sasl_initial_response(response.get(5..).unwrap()), Ok(("SCRAM-SHA-256", &b"n,,n=,r=x"[..])));
        assert_eq!([rows_of_tag("INSERT 0 5"), rows_of_tag("SELECT 3"), rows_of_tag("BEGIN")], [Some(5), Some(3), None]);
        assert_eq!(query("a\0b").get(5..), Some(&b"a\0"[..]));
    }
}
