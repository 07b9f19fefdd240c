//! Bytes between a socket and the gate: read together what came together, sent together what is to go together.
//!
//! Polled by hand, once per wake-up and socket: this is the path of every statement.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

/// Room for a read: little from a side that sends little, which is what an idle session keeps, else plenty.
const LITTLE_BYTES: usize = 2 * 1024;
const READ_BYTES: usize = 32 * 1024;
/// What is taken together if it is there.
const TOGETHER_BYTES: usize = 64 * 1024;
/// A read of fewer bytes than this has nothing behind it that would be worth another.
const MUCH_BYTES: usize = LITTLE_BYTES;
/// Larger pieces are passed on as they are, smaller ones put together.
const PIECE_BYTES: usize = 4 * 1024;

/// How a side sends.
#[derive(Default)]
pub(crate) struct Pace {
    much: bool,
}

/// Reads what is there, up to a bound. 0 at the end of the stream.
pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
    from: &mut R,
    buffer: &mut BytesMut,
    pace: &mut Pace,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let first = ready!(poll_read(from, buffer, if pace.much { READ_BYTES } else { LITTLE_BYTES }, context))?;
    let mut all = first;
    let mut last = first;
    // A stream gives one record at a time: what else is there already comes along. The end of the stream is told by the next call.
    while last >= MUCH_BYTES && buffer.len() < TOGETHER_BYTES {
        match poll_read(from, buffer, READ_BYTES, context) {
            Poll::Ready(Ok(more)) => {
                last = more;
                all += more;
            }
            _ => break,
        }
    }
    pace.much = all >= MUCH_BYTES;
    Poll::Ready(Ok(all))
}

fn poll_read<R: AsyncRead + Unpin>(from: &mut R, buffer: &mut BytesMut, room: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    buffer.reserve(room);
    // The same as `read_buf`, which has no form to poll.
    let reading = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(from, buffer));
    reading.poll(context)
}

/// Bytes on their way out of the gateway.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Before the others: large pieces, as they came.
    pieces: VecDeque<Bytes>,
    piece_bytes: usize,
    bytes: BytesMut,
    /// Encrypted, but perhaps not yet sent.
    unflushed: bool,
    given_up: bool,
}

impl Outgoing {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if !self.given_up {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The same for bytes that need not be copied.
    pub(crate) fn pass(&mut self, bytes: Bytes) {
        if bytes.len() < PIECE_BYTES {
            return self.push(&bytes);
        }
        if !self.given_up {
            let before = self.bytes.split().freeze();
            for piece in [before, bytes].into_iter().filter(|piece| !piece.is_empty()) {
                self.piece_bytes += piece.len();
                self.pieces.push_back(piece);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.piece_bytes + self.bytes.len()
    }

    /// Takes no more: nobody is there.
    pub(crate) fn give_up(&mut self) {
        *self = Self { given_up: true, ..Self::default() };
    }

    /// Sends all of it; until that is done, what is left stays here.
    pub(crate) fn poll_send<W: AsyncWrite + Unpin>(&mut self, to: &mut W, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = if let Some(piece) = self.pieces.front_mut() {
                let sent = ready!(Pin::new(&mut *to).poll_write(context, piece))?;
                piece.advance(sent);
                self.piece_bytes -= sent;
                if piece.is_empty() {
                    self.pieces.pop_front();
                }
                sent
            } else if !self.bytes.is_empty() {
                let sent = ready!(Pin::new(&mut *to).poll_write(context, &self.bytes))?;
                self.bytes.advance(sent);
                sent
            } else {
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(context))?;
                    self.unflushed = false;
                }
                return Poll::Ready(Ok(()));
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
        }
    }

    /// Sends what is taken without waiting. Whoever waits for the rest polls [`Outgoing::poll_send`].
    pub(crate) fn send_now<W: AsyncWrite + Unpin>(&mut self, to: &mut W) -> io::Result<()> {
        match self.poll_send(to, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    /// Sends all of it and says that nothing follows.
    pub(crate) async fn send_all<W: AsyncWrite + Unpin>(&mut self, to: &mut W) -> io::Result<()> {
        poll_fn(|context| self.poll_send(to, context)).await?;
        to.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn f42_what_is_not_taken_stays_and_goes_on_in_order() {
        let (mut ours, mut theirs) = tokio::io::duplex(1000);
        let mut outgoing = Outgoing::default();
        let expected: Vec<u8> = (0..20_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        outgoing.push(expected.get(..100).unwrap());
        outgoing.pass(Bytes::copy_from_slice(expected.get(100..15_000).unwrap()));
        outgoing.pass(Bytes::copy_from_slice(expected.get(15_000..15_010).unwrap()));
        outgoing.push(expected.get(15_010..).unwrap());
        outgoing.send_now(&mut ours).unwrap();
        assert_eq!(outgoing.len(), 19_000);
        let mut got = Vec::new();
        let (sent, read) = tokio::join!(outgoing.send_all(&mut ours), theirs.read_to_end(&mut got));
        sent.unwrap();
        assert_eq!(read.unwrap(), 20_000);
        assert!(got == expected);
        assert_eq!(outgoing.len(), 0);
        drop(theirs);
        outgoing.push(b"late");
        assert!(outgoing.send_now(&mut ours).is_err());
        outgoing.give_up();
        outgoing.push(b"later");
        assert_eq!(outgoing.len(), 0);
    }

    #[tokio::test]
    async fn much_is_read_together_and_the_end_is_told() {
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        ours.write_all(&[7; 200_000]).await.unwrap();
        drop(ours);
        let (mut theirs, mut buffer, mut pace, mut all) = (theirs, BytesMut::new(), Pace::default(), 0);
        loop {
            let read = poll_fn(|context| poll_fill(&mut theirs, &mut buffer, &mut pace, context)).await.unwrap();
            assert!(buffer.len() <= TOGETHER_BYTES + READ_BYTES);
            all += read;
            buffer.clear();
            if read == 0 {
                break;
            }
        }
        assert_eq!(all, 200_000);
    }
}
