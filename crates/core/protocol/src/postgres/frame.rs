//! Frames: where one message ends and the next begins, and which may be large.
//!
//! Messages that carry decisions are handed over whole and are capped by tag. Bulk messages (rows, copy data, notices) are handed over in
//! pieces as they come, so that a row of a gigabyte passes with the memory of one read. Tags nobody knows end the connection.

use bytes::{Bytes, BytesMut};

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Frontend messages.
    Client,
    /// Backend messages.
    Server,
}

/// Largest bodies taken, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Query and Parse: the text and, for Parse, its parameter types.
    pub text_bytes: usize,
    /// Bind: all parameters together.
    pub bind_bytes: usize,
    /// Every other client message that is read whole.
    pub small_bytes: usize,
    /// Server messages that are read whole.
    pub server_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_bytes: 1 << 20, bind_bytes: 64 << 20, small_bytes: 10 << 10, server_bytes: 16 << 20 }
    }
}

impl Limits {
    /// For the time before a client has proved who it is: nothing above 10 KiB.
    #[must_use]
    pub const fn before_sign_in() -> Self {
        Self { text_bytes: 10 << 10, bind_bytes: 10 << 10, small_bytes: 10 << 10, server_bytes: 64 << 10 }
    }
}

/// What comes next in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A whole frame of this many bytes, header included.
    Whole { tag: u8, len: usize },
    /// This many bytes of a bulk frame; `opens` if they begin with its header, `closes` if they reach its end.
    Part { tag: u8, len: usize, opens: bool, closes: bool },
}

/// Finds the frames of one direction.
#[derive(Clone, Debug)]
pub struct Splitter {
    side: Side,
    limits: Limits,
    /// Tag and bytes still to come of a bulk frame.
    open: Option<(u8, usize)>,
}

impl Splitter {
    /// Starts at the beginning of a frame.
    #[must_use]
    pub const fn new(side: Side, limits: Limits) -> Self {
        Self { side, limits, open: None }
    }

    /// True unless part of a bulk frame was handed over and its rest was not.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.open.is_none()
    }

    /// The next piece at the start of `buffer`, which the caller consumes in full. `None` if more bytes are needed.
    pub(crate) fn next(&mut self, buffer: &[u8]) -> Result<Option<Piece>, FrameError> {
        if let Some((tag, rest)) = self.open {
            if buffer.is_empty() {
                return Ok(None);
            }
            let len = rest.min(buffer.len());
            self.open = (len < rest).then_some((tag, rest - len));
            return Ok(Some(Piece::Part { tag, len, opens: false, closes: self.open.is_none() }));
        }
        let Some(&tag) = buffer.first() else { return Ok(None) };
        let class = classify(self.side, tag, &self.limits).ok_or(FrameError::UnknownTag { tag })?;
        let Some(length) = buffer.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes) else { return Ok(None) };
        // PostgreSQL's own limit is one byte below a gibibyte.
        if !(4..0x4000_0000).contains(&length) {
            return Err(FrameError::BadLength { tag, length });
        }
        let total = length as usize + 1;
        match class {
            Class::Whole { cap } if total - 5 > cap => Err(FrameError::TooLarge { tag, bytes: total - 5, cap }),
            Class::Whole { .. } => Ok((buffer.len() >= total).then_some(Piece::Whole { tag, len: total })),
            Class::Bulk => {
                let len = total.min(buffer.len());
                self.open = (len < total).then_some((tag, total - len));
                Ok(Some(Piece::Part { tag, len, opens: true, closes: self.open.is_none() }))
            }
        }
    }
}

/// One message, or part of a bulk one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole message.
    Frame(Frame),
    /// Bytes of a bulk message, header included where `opens`.
    Chunk { tag: u8, raw: Bytes, opens: bool, closes: bool },
}

/// A whole message without copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    /// What follows the length.
    pub body: Bytes,
    /// Header and body as received.
    pub raw: Bytes,
}

/// Takes frames from a buffer that a socket fills: for sign-in, on both sides. The gate has its own.
#[derive(Clone, Debug)]
pub struct Decoder(Splitter);

impl Decoder {
    /// Starts at the beginning of a frame.
    #[must_use]
    pub const fn new(side: Side, limits: Limits) -> Self {
        Self(Splitter::new(side, limits))
    }

    /// The next message, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]: the connection can only be closed.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Decoded>, FrameError> {
        Ok(self.0.next(buffer)?.map(|piece| match piece {
            Piece::Whole { tag, len } => {
                let raw = buffer.split_to(len).freeze();
                Decoded::Frame(Frame { tag, body: raw.slice(5..), raw })
            }
            Piece::Part { tag, len, opens, closes } => Decoded::Chunk { tag, raw: buffer.split_to(len).freeze(), opens, closes },
        }))
    }
}

/// Bytes that are no messages. Ends that connection only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("unknown message type 0x{tag:02x}")]
    UnknownTag { tag: u8 },
    #[error("message type 0x{tag:02x} with impossible length {length}")]
    BadLength { tag: u8, length: u32 },
    #[error("message type 0x{tag:02x} of {bytes} bytes is above the limit of {cap}")]
    TooLarge { tag: u8, bytes: usize, cap: usize },
}

enum Class {
    Whole { cap: usize },
    Bulk,
}

/// How a tag is handled; `None` for tags that do not exist on that side.
const fn classify(side: Side, tag: u8, limits: &Limits) -> Option<Class> {
    match (side, tag) {
        (Side::Client, b'Q' | b'P') => Some(Class::Whole { cap: limits.text_bytes }),
        (Side::Client, b'B' | b'F') => Some(Class::Whole { cap: limits.bind_bytes }),
        (Side::Client, b'D' | b'E' | b'C' | b'S' | b'H' | b'X' | b'c' | b'f' | b'p') => Some(Class::Whole { cap: limits.small_bytes }),
        (Side::Client, b'd') => Some(Class::Bulk),
        (
            Side::Server,
            b'1' | b'2' | b'3' | b'C' | b'E' | b'G' | b'H' | b'I' | b'K' | b'R' | b'S' | b'T' | b'W' | b'Z' | b'c' | b'n' | b's' | b't'
            | b'v',
        ) => Some(Class::Whole { cap: limits.server_bytes }),
        (Side::Server, b'A' | b'D' | b'N' | b'V' | b'd') => Some(Class::Bulk),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn whole_frames_come_out_however_the_bytes_arrive() {
        let bytes = [frame(b'Q', b"select 1\0"), frame(b'S', b""), frame(b'X', b"")].concat();
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::new(Side::Client, Limits::default());
            let mut buffer = BytesMut::from(bytes.get(..cut).unwrap());
            let mut tags = Vec::new();
            while let Some(Decoded::Frame(frame)) = decoder.next(&mut buffer).unwrap() {
                tags.push(frame.tag);
            }
            buffer.extend_from_slice(bytes.get(cut..).unwrap());
            while let Some(Decoded::Frame(frame)) = decoder.next(&mut buffer).unwrap() {
                tags.push(frame.tag);
            }
            assert_eq!(tags, b"QSX");
        }
    }

    #[test]
    fn f42_a_huge_row_passes_in_pieces() {
        let mut splitter = Splitter::new(Side::Server, Limits::default());
        let mut head = vec![b'D'];
        head.extend(0x3fff_ffff_u32.to_be_bytes());
        assert_eq!(splitter.next(&head).unwrap(), Some(Piece::Part { tag: b'D', len: 5, opens: true, closes: false }));
        assert!(!splitter.at_boundary());
        let piece = vec![0; 1 << 16];
        let mut left = 0x3fff_fffb_usize;
        while left > 0 {
            let Some(Piece::Part { len, closes, opens: false, .. }) = splitter.next(&piece).unwrap() else { panic!() };
            left -= len;
            assert_eq!(closes, left == 0);
        }
        assert!(splitter.at_boundary());
    }

    #[test]
    fn f41_impossible_lengths_unknown_tags_and_oversize_are_refused_before_the_body_comes() {
        let next = |side, bytes: &[u8]| Splitter::new(side, Limits::default()).next(bytes);
        assert!(matches!(next(Side::Client, &[b'Q', 0, 0, 0, 3]), Err(FrameError::BadLength { .. })));
        assert!(matches!(next(Side::Client, &[b'Q', 0xff, 0xff, 0xff, 0xff]), Err(FrameError::BadLength { .. })));
        assert!(matches!(next(Side::Client, &[b'Q', 0, 0x20, 0, 0]), Err(FrameError::TooLarge { .. })));
        assert!(matches!(next(Side::Client, b"Z"), Err(FrameError::UnknownTag { tag: b'Z' })));
        assert!(matches!(next(Side::Server, b"Q"), Err(FrameError::UnknownTag { tag: b'Q' })));
        let before = Splitter::new(Side::Client, Limits::before_sign_in()).next(&[b'p', 0, 0, 0x40, 0]);
        assert!(matches!(before, Err(FrameError::TooLarge { .. })));
    }
}
