//! What the door asks of the sockets themselves: that a peer which vanished without a word is noticed, and one that left while its bytes
//! still wait.

use std::{io, net, os::fd::AsFd as _, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{io::Interest, net::TcpStream};

/// A silent connection is probed after this long.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// And then so often, this many times.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 6;

/// Prepares a socket: small messages go at once, and a silent peer that is gone is noticed within two minutes.
///
/// No bound on unacknowledged bytes: it would also end connections to a peer that is there and does not read, as a server that waits for a lock.
pub(crate) fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_TIMES);
    socket.set_tcp_keepalive(&keepalive)
}

/// Notices that a peer closed its side although what it sent before was not read.
///
/// A second handle on the same socket, so that nothing is read and the session's own handle misses no wake-up.
pub(crate) enum Departure {
    Unwatched(net::TcpStream),
    Watched(TcpStream),
    /// The system did not let us look: the peer's leaving is noticed once its bytes are read.
    Unknown,
}

impl Departure {
    /// Gets ready to watch this socket. Nothing is watched before [`Departure::happened`].
    pub(crate) fn of(tcp: &TcpStream) -> Self {
        tcp.as_fd().try_clone_to_owned().map_or(Self::Unknown, |handle| Self::Unwatched(handle.into()))
    }

    /// Resolves once the peer has closed its side. Cancel safe.
    pub(crate) async fn happened(&mut self) {
        if let Self::Unwatched(_) = self {
            *self = match std::mem::replace(self, Self::Unknown) {
                Self::Unwatched(handle) => TcpStream::from_std(handle).map_or(Self::Unknown, Self::Watched),
                other => other,
            };
        }
        if let Self::Watched(tcp) = self {
            while let Ok(ready) = tcp.ready(Interest::READABLE).await {
                if ready.is_read_closed() {
                    return;
                }
                // Bytes wait, which is known: the next change is what counts.
                let _ = tcp.try_io(Interest::READABLE, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn f41_leaving_is_noticed_behind_unread_bytes_which_stay_unread() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"unread").await.unwrap();
        let mut departure = Departure::of(&server);
        // Bytes alone are no leaving.
        tokio::select! {
            biased;
            () = departure.happened() => panic!("nobody left"),
            () = async { client.writable().await.unwrap(); tokio::task::yield_now().await } => {}
        }
        drop(client);
        departure.happened().await;
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"unread");
    }

    #[tokio::test]
    async fn f41_a_silent_peer_is_probed() {
        let (client, _server) = pair().await;
        prepare(&client).unwrap();
        let socket = SockRef::from(&client);
        assert!(socket.keepalive().unwrap() && client.nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_EVERY);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_TIMES);
    }
}
