//! Reads whole messages during sign-in and for exact actions. Messages above a bound are refused or skipped, never kept.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// One message: its type and its body.
#[derive(Debug)]
pub(crate) struct Message {
    pub tag: u8,
    pub body: Body,
}

/// A body, unless it was larger than the reader keeps.
#[derive(Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    Skipped,
}

impl Message {
    /// The body; an error if it was too large to be kept.
    pub(crate) fn whole(self) -> io::Result<Bytes> {
        match self.body {
            Body::Whole(bytes) => Ok(bytes),
            Body::Skipped => Err(malformed("message is too large")),
        }
    }
}

/// An error for bytes that are no message.
pub(crate) fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads messages off a stream through one buffer.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: BytesMut,
    /// Tag and bytes still to come of a message that is not kept.
    skipping: Option<(u8, usize)>,
}

impl Reader {
    /// Goes on with what another reader left.
    pub(crate) const fn from_rest(buffer: BytesMut) -> Self {
        Self { buffer, skipping: None }
    }

    /// Reads the next message. Bodies above `keep_bytes` are read to their end and dropped.
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// When the stream ends or what comes is no message.
    pub(crate) async fn next<S: AsyncRead + Unpin>(&mut self, stream: &mut S, keep_bytes: usize) -> io::Result<Message> {
        loop {
            if let Some(message) = self.take(keep_bytes)? {
                return Ok(message);
            }
            self.buffer.reserve(8 * 1024);
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes the next message out of the buffer if all of it is there.
    fn take(&mut self, keep_bytes: usize) -> io::Result<Option<Message>> {
        if self.skipping.is_none() {
            let Some((&tag, rest)) = self.buffer.split_first() else { return Ok(None) };
            let Some(length) = rest.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) else { return Ok(None) };
            let length = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
            let length = length.ok_or_else(|| malformed("message has an impossible length"))?;
            if length <= keep_bytes {
                if rest.len() < 4 + length {
                    return Ok(None);
                }
                self.buffer.advance(5);
                return Ok(Some(Message { tag, body: Body::Whole(self.buffer.split_to(length).freeze()) }));
            }
            self.buffer.advance(5);
            self.skipping = Some((tag, length));
        }
        if let Some((tag, left)) = self.skipping {
            let here = left.min(self.buffer.len());
            self.buffer.advance(here);
            self.skipping = (here < left).then_some((tag, left - here));
            if self.skipping.is_none() {
                return Ok(Some(Message { tag, body: Body::Skipped }));
            }
        }
        Ok(None)
    }

    /// What was read and not yet taken.
    pub(crate) fn into_rest(self) -> BytesMut {
        // A session begins with nothing, not with an empty buffer's room.
        if self.buffer.is_empty() { BytesMut::new() } else { self.buffer }
    }
}

/// Takes a zero-terminated text off the front.
pub(crate) fn take_text(bytes: &mut Bytes) -> io::Result<String> {
    let end = bytes.iter().position(|b| *b == 0).ok_or_else(|| malformed("text without an end"))?;
    let text = bytes.split_to(end);
    bytes.advance(1);
    String::from_utf8(text.to_vec()).map_err(|_| malformed("text is not UTF-8"))
}

/// The fields of an ErrorResponse or NoticeResponse that are acted on or shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
}

impl Report {
    /// Reads the fields; what is missing stays empty.
    pub(crate) fn parse(mut body: Bytes) -> io::Result<Self> {
        let mut report = Self::default();
        while body.has_remaining() {
            let field = body.get_u8();
            if field == 0 {
                break;
            }
            let end = body.iter().position(|b| *b == 0).ok_or_else(|| malformed("text without an end"))?;
            let text = String::from_utf8_lossy(&body.split_to(end)).into_owned();
            body.advance(1);
            match field {
                b'V' => report.severity = text,
                b'S' if report.severity.is_empty() => report.severity = text,
                b'C' => report.sqlstate = text,
                b'M' => report.message = text,
                _ => {}
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_split_at_every_byte_is_one_message() {
        let bytes = b"C\0\0\0\x0bSELECT Z\0\0\0\x05I";
        for cut in 0..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let mut stream = tokio::io::AsyncReadExt::chain(first, second);
            let mut reader = Reader::default();
            assert_eq!(reader.next(&mut stream, 100).await.unwrap().whole().unwrap(), "SELECT ");
            assert_eq!(reader.next(&mut stream, 100).await.unwrap().tag, b'Z');
            assert!(reader.next(&mut stream, 100).await.is_err());
        }
    }

    #[tokio::test]
    async fn f42_a_message_above_the_bound_is_not_kept() {
        let mut bytes = vec![b'D'];
        bytes.extend((1_000_004_u32).to_be_bytes());
        bytes.extend(vec![b'x'; 1_000_000]);
        bytes.extend(b"Z\0\0\0\x05I");
        let mut stream = bytes.as_slice();
        let mut reader = Reader::default();
        assert!(matches!(reader.next(&mut stream, 1_000).await.unwrap().body, Body::Skipped));
        assert!(reader.buffer.capacity() < 64 * 1024);
        assert_eq!(reader.next(&mut stream, 1_000).await.unwrap().tag, b'Z');
    }

    #[tokio::test]
    async fn f41_an_impossible_length_ends_the_reading() {
        for length in [0_u32, 3, 0xffff_ffff, 0x8000_0000] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            bytes.extend([0; 32]);
            assert!(Reader::default().next(&mut bytes.as_slice(), 1_000).await.is_err(), "{length:#x}");
        }
    }

    #[test]
    fn a_report_is_read_whatever_its_order() {
        let report = Report::parse(Bytes::from_static(b"SFEHLER\0VERROR\0C42501\0Mno\0R\0x\0\0")).unwrap_or_default();
        assert_eq!((report.severity.as_str(), report.sqlstate.as_str(), report.message.as_str()), ("ERROR", "42501", "no"));
        assert!(Report::parse(Bytes::from_static(b"Sopen")).is_err());
    }
}
