//! A socket that is read in large pieces while much comes in, and without a buffer of its own while little does.
//!
//! TLS reads four kibibytes at a time, which for bulk data is a system call for each. Idle connections keep no memory here.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes asked for with one read while much comes in.
const AHEAD_BYTES: usize = 64 * 1024;

/// A socket with what was read ahead of its reader.
pub(crate) struct ReadAhead {
    tcp: TcpStream,
    /// Empty, or [`AHEAD_BYTES`] long.
    buffer: Vec<u8>,
    /// What of it is to be handed out.
    from: usize,
    to: usize,
    /// The last read filled all it was given.
    much: bool,
}

impl ReadAhead {
    /// Reads nothing ahead until there is much to read.
    pub(crate) const fn new(tcp: TcpStream) -> Self {
        Self { tcp, buffer: Vec::new(), from: 0, to: 0, much: false }
    }

    /// The socket itself.
    pub(crate) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Hands out what is there.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) {
        let waiting = self.buffer.get(self.from..self.to).unwrap_or_default();
        let now = waiting.get(..buffer.remaining()).unwrap_or(waiting);
        buffer.put_slice(now);
        self.from += now.len();
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.from == this.to && !this.much {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.tcp).poll_read(context, buffer))?;
            this.much = buffer.remaining() == 0 && buffer.filled().len() > before;
            return Poll::Ready(Ok(()));
        }
        if this.from == this.to {
            this.buffer.resize(AHEAD_BYTES, 0);
            let mut ahead = ReadBuf::new(&mut this.buffer);
            let read = Pin::new(&mut this.tcp).poll_read(context, &mut ahead);
            let length = ahead.filled().len();
            (this.from, this.to) = (0, length);
            // Nothing or little more for now: the buffer goes with what is in it.
            this.much = length > buffer.remaining();
            if length == 0 {
                this.buffer = Vec::new();
            }
            ready!(read)?;
        }
        this.hand_out(buffer);
        if this.from == this.to && !this.much {
            this.buffer = Vec::new();
            (this.from, this.to) = (0, 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn f42_everything_comes_in_order_and_no_buffer_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut client, mut ahead) = (client.unwrap(), ReadAhead::new(accepted.unwrap().0));
        let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 4]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        let (mut got, mut piece) = (Vec::new(), vec![0; 4096]);
        while got.len() < expected.len() {
            let length = ahead.read(&mut piece).await.unwrap();
            got.extend_from_slice(piece.get(..length).unwrap());
            assert!(ahead.buffer.len() <= AHEAD_BYTES);
        }
        assert!(got == expected);
        let mut client = writing.await.unwrap();
        client.write_all(b"little").await.unwrap();
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 6);
        assert!(ahead.buffer.is_empty() && !ahead.much);
        drop(client);
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 0);
    }
}
