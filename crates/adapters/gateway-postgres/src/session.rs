//! One session: bytes between a client and its server, each past the gate, until one of them, time or people end it.
//!
//! One task per session. Neither side is read while the other does not take what came before, so memory is bounded; the session's
//! standing, cancels and held statements are watched all the while, whatever the sockets do.

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use safeconduct_app::{DoorSession, SessionEnd, Standing};
use safeconduct_protocol::postgres::{
    gate::{Config, Gate},
    messages::{self, Report},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep, timeout},
};

use tracing::Instrument as _;

use crate::{
    cancel::{Cancel, CancelKey},
    holding::{Held, Waited},
    listener::Shared,
    minting,
    relay::Relay,
    settings::Wishes,
    signal::raised,
    socket::Departure,
    stream::{ClientStream, UpstreamStream},
    upstream::Upstream,
};

/// Bytes asked for with one read, and taken together if they are there.
const READ_BYTES: usize = 32 * 1024;
const TOGETHER_BYTES: usize = 64 * 1024;
/// Larger pieces are passed on as they are, smaller ones put together.
const PIECE_BYTES: usize = 4 * 1024;
/// How long what says how a read ended may stay unwritten.
const KEEP: Duration = Duration::from_millis(250);

/// One read in so many is timed, the first of each session among them.
const TIMED: u64 = 4;

/// What a session begins with.
pub(crate) struct Ends {
    pub upstream: Upstream,
    /// How transactions begin where the session has a login role of its own.
    pub read_only: Option<bool>,
    /// Already said to the client, not yet sent.
    pub to_client: BytesMut,
    /// What the client is told last before its first statement.
    pub ready: BytesMut,
    pub key: CancelKey,
    pub cancels: mpsc::Receiver<Cancel>,
}

/// What a session waits for.
enum Event {
    Standing,
    Shutdown,
    Cancel(Cancel),
    Waited(Waited),
    Client(io::Result<usize>),
    Server(io::Result<usize>),
    ClientTook(io::Result<()>),
    ServerTook(io::Result<()>),
    WriteKept,
}

/// Resolves when the session must end.
pub(crate) async fn ended(standing: &mut watch::Receiver<Standing>) -> SessionEnd {
    loop {
        if let Some(end) = &standing.borrow_and_update().end {
            return end.clone();
        }
        if standing.changed().await.is_err() {
            return gone();
        }
    }
}

fn gone() -> SessionEnd {
    SessionEnd { reason: "the gateway let go of the session".to_owned(), sqlstate: "57P01" }
}

/// Runs the session to its end and closes it.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    session: DoorSession,
    client: ClientStream,
    client_rest: BytesMut,
    wishes: &Wishes,
    ends: Ends,
    mut shutdown: watch::Receiver<bool>,
) {
    let Ends { upstream, read_only, to_client, ready, key, mut cancels } = ends;
    let Upstream { stream, rest, parameters, cancel } = upstream;
    let mut gate = Config::new(session.id().clone(), session.database());
    gate.limits = shared.config.limits.frames;
    gate.read_only = read_only;
    gate.wished = wishes.settings.iter().cloned().collect();
    let mut server_rest = BytesMut::new();
    for (name, value) in &parameters {
        if wishes.has(name) {
            // What the client set is part of what its statements mean: the gate hears of it as of any later change.
            server_rest.extend_from_slice(&messages::parameter_status(name, value));
        } else {
            gate.settings.insert(name.to_ascii_lowercase(), value.clone());
        }
    }
    server_rest.extend_from_slice(&rest);
    let session = Arc::new(session);
    let mut standing = session.standing();
    // What changed before this was subscribed to is looked at first.
    standing.mark_changed();
    let mut relay = Relay::new(Arc::clone(shared), Arc::clone(&session), Gate::new(gate), cancel);
    relay.client_in = client_rest;
    relay.server_in = server_rest;
    relay.say(&to_client);
    relay.advance().await;
    relay.say(&ready);

    let mut departure = Departure::of(client.get_ref().0.tcp());
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut server_read, mut server_write) = tokio::io::split(stream);
    let (mut draining, mut reads) = (false, 0_u64);
    let mut kept = pin!(Kept::default());
    while !relay.is_closed() {
        if draining && relay.is_at_rest() {
            relay.cut(&Report::new("57P01", "the gateway is shutting down")).await;
            break;
        }
        if relay.keeps {
            kept.as_mut().arm();
        }
        let event = next(
            &mut relay,
            (&mut client_read, &mut client_write),
            (&mut server_read, &mut server_write),
            (&mut standing, &mut cancels, &mut shutdown, &mut departure),
            kept.as_mut(),
        )
        .await;
        match event {
            Event::Standing => {
                let end = standing.has_changed().map_or_else(|_| Some(gone()), |_| standing.borrow_and_update().end.clone());
                draining = standing.borrow().draining;
                relay.stand(end).await;
            }
            Event::Shutdown => relay.cut(&Report::new("57P01", "the gateway is shutting down")).await,
            Event::Cancel(cancel) => relay.cancel(cancel).await,
            Event::Waited(waited) => relay.waited(waited).await,
            Event::Client(Ok(0) | Err(_)) | Event::ClientTook(Err(_)) => relay.client_left().await,
            Event::Server(Ok(0) | Err(_)) => relay.cut(&Report::new("08006", "the server closed the connection")).await,
            Event::Client(Ok(_)) => {
                let began = reads.is_multiple_of(TIMED).then(Instant::now);
                reads += 1;
                relay.advance().await;
                if let Some(began) = began {
                    shared.app.meters().statement.took(began.elapsed());
                }
            }
            Event::Server(Ok(_)) => relay.advance().await,
            Event::ClientTook(Ok(())) => {}
            // It may have said why: that is still read.
            Event::ServerTook(taken) => taken.unwrap_or_else(|_| relay.server_out.give_up()),
            Event::WriteKept => relay.write_kept().await,
        }
        // What the other side takes at once goes without another round.
        relay.server_out.send_now(&mut server_write).unwrap_or_else(|_| relay.server_out.give_up());
        if relay.client_out.send_now(&mut client_write).is_err() && !relay.is_closed() {
            relay.client_left().await;
        }
    }
    drop(key);
    end(shared, relay, session, (client_read, client_write), (server_read, server_write)).await;
}

type Client<'a> = (&'a mut ReadHalf<ClientStream>, &'a mut WriteHalf<ClientStream>);
type Server<'a> = (&'a mut ReadHalf<UpstreamStream>, &'a mut WriteHalf<UpstreamStream>);
type Signals<'a> = (&'a mut watch::Receiver<Standing>, &'a mut mpsc::Receiver<Cancel>, &'a mut watch::Receiver<bool>, &'a mut Departure);

/// The next thing that happens. What ends the session goes first.
async fn next(
    relay: &mut Relay,
    client: Client<'_>,
    server: Server<'_>,
    (standing, cancels, shutdown, departure): Signals<'_>,
    mut kept: Pin<&mut Kept>,
) -> Event {
    let (read_client, read_server) = (relay.wants_client(), relay.wants_server());
    // Where reading goes on it tells by itself.
    let watch_client = relay.held.is_some() && !read_client;
    tokio::select! {
        biased;
        _ = standing.changed() => Event::Standing,
        () = raised(shutdown) => Event::Shutdown,
        Some(cancel) = cancels.recv() => Event::Cancel(cancel),
        waited = wait(&mut relay.held), if relay.held.is_some() => Event::Waited(waited),
        taken = relay.client_out.send(client.1), if relay.client_out.is_pending() => Event::ClientTook(taken),
        taken = relay.server_out.send(server.1), if relay.server_out.is_pending() => Event::ServerTook(taken),
        read = fill(server.0, &mut relay.server_in), if read_server => Event::Server(read),
        read = fill(client.0, &mut relay.client_in), if read_client => Event::Client(read),
        () = departure.happened(), if watch_client => Event::Client(Ok(0)),
        () = kept.as_mut().due(), if kept.is_armed() => Event::WriteKept,
    }
}

async fn wait(held: &mut Option<Held>) -> Waited {
    match held {
        Some(held) => held.wait().await,
        None => std::future::pending().await,
    }
}

async fn fill<R: AsyncRead + Unpin>(from: &mut R, buffer: &mut BytesMut) -> io::Result<usize> {
    buffer.reserve(READ_BYTES);
    let first = from.read_buf(buffer).await?;
    let mut all = first;
    // A stream gives one record at a time: what else is there already comes along. The end of the stream is told by the next call.
    while first > 0 && buffer.len() < TOGETHER_BYTES {
        buffer.reserve(READ_BYTES);
        match at_once(from.read_buf(buffer)) {
            Some(Ok(more)) if more > 0 => all += more,
            _ => break,
        }
    }
    Ok(all)
}

/// What a future says when it is asked once; it is dropped if it says nothing.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The time by which what is kept must be written. Once set it is left alone: a busy session sets it a few times a second.
#[derive(Default)]
struct Kept(Option<Pin<Box<Sleep>>>);

impl Kept {
    fn is_armed(&self) -> bool {
        self.0.is_some()
    }

    fn arm(mut self: Pin<&mut Self>) {
        self.0.get_or_insert_with(|| Box::pin(sleep(KEEP)));
    }

    async fn due(mut self: Pin<&mut Self>) {
        if let Some(sleep) = &mut self.0 {
            sleep.await;
        }
        self.0 = None;
    }
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

    fn is_pending(&self) -> bool {
        self.unflushed || !self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends what is taken without waiting.
    fn send_now<W: AsyncWrite + Unpin>(&mut self, to: &mut W) -> io::Result<()> {
        while self.is_pending() {
            match at_once(self.send(to)) {
                Some(sent) => sent?,
                None => break,
            }
        }
        Ok(())
    }

    /// Sends some of it. Cancel safe.
    async fn send<W: AsyncWrite + Unpin>(&mut self, to: &mut W) -> io::Result<()> {
        if self.is_empty() {
            to.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        let sent = match self.pieces.front_mut() {
            Some(piece) => {
                let sent = to.write(piece).await?;
                piece.advance(sent);
                self.piece_bytes -= sent;
                if piece.is_empty() {
                    self.pieces.pop_front();
                }
                sent
            }
            None => to.write_buf(&mut self.bytes).await?,
        };
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        Ok(())
    }

    async fn send_all<W: AsyncWrite + Unpin>(&mut self, to: &mut W) -> io::Result<()> {
        while self.is_pending() {
            self.send(to).await?;
        }
        to.shutdown().await
    }
}

/// Cancels what runs, says farewell within a bound, closes both connections and the session.
async fn end(
    shared: &Shared,
    mut relay: Relay,
    session: Arc<DoorSession>,
    client: (ReadHalf<ClientStream>, WriteHalf<ClientStream>),
    server: (ReadHalf<UpstreamStream>, WriteHalf<UpstreamStream>),
) {
    let farewell = shared.config.limits.farewell;
    let (over, began, app) = (session.since_end(), Instant::now(), shared.app.clone());
    let span = tracing::info_span!("ending", session = %session.id(), resource = %session.resource().name);
    let cancelling = relay.cancel_at_end().map(|ending| {
        let ending = async move {
            ending.await;
            if let Some(before) = over {
                app.meters().cut_backend.took(before + began.elapsed());
            }
        };
        tokio::spawn(ending.instrument(span))
    });
    if cancelling.is_some() {
        session.retire_role();
        // Nothing more goes to the server, not even what was decided already.
        drop(server);
        say(&mut relay.client_out, client, farewell).await;
    } else {
        let (server_read, mut server_write) = server;
        let tell_server = timeout(farewell, relay.server_out.send_all(&mut server_write));
        let (_, ()) = tokio::join!(tell_server, say(&mut relay.client_out, client, farewell));
        minting::let_finish(&session, server_read).await;
        drop(server_write);
    }
    if let Some(since) = session.since_end() {
        shared.app.meters().cut_client.took(since);
    }
    let why = relay.finish().await;
    match Arc::try_unwrap(session) {
        Ok(session) => session.close(&why).await,
        // Dropping the last of it closes it.
        Err(session) => drop(session),
    }
    if let Some(cancelling) = cancelling {
        let _ = cancelling.await;
    }
}

/// Last words: what is not taken in time is lost.
async fn say(bytes: &mut Outgoing, (mut read, mut write): (ReadHalf<ClientStream>, WriteHalf<ClientStream>), farewell: Duration) {
    let said = async {
        bytes.send_all(&mut write).await?;
        // A socket closed over unread bytes is reset, and the reset overtakes the last words.
        let mut rest = [0; 4096];
        while read.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(farewell, said).await;
}
