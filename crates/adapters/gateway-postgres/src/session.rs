//! One session: bytes between a client and its server, each past the gate, until one of them, time or people end it.
//!
//! One task per session. Neither side is read while the other does not take what came before, so memory is bounded; the session's
//! standing, cancels and held statements are watched all the while, whatever the sockets do.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use safeconduct_app::{DoorSession, SessionEnd, Standing};
use safeconduct_protocol::postgres::{
    gate::{Config, Gate},
    messages::{self, Report},
};
use tokio::{
    io::AsyncReadExt,
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep, timeout},
};

use tracing::Instrument as _;

use crate::{
    cancel::{Cancel, CancelKey},
    holding::Waited,
    listener::Shared,
    minting,
    pipes::{Outgoing, poll_fill},
    relay::Relay,
    settings::Wishes,
    signals::{Signal, Signals},
    socket::Departure,
    stream::{ClientStream, UpstreamStream},
    upstream::Upstream,
};

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
    Signal(Signal),
    Waited(Waited),
    Client(io::Result<usize>),
    Server(io::Result<usize>),
    /// The client takes nothing more.
    ClientRefused,
    ServerRefused,
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
    mut client: ClientStream,
    client_rest: BytesMut,
    wishes: &Wishes,
    ends: Ends,
    shutdown: watch::Receiver<bool>,
) {
    let Ends { upstream, read_only, to_client, ready, key, cancels } = ends;
    let Upstream { stream: mut server, rest, parameters, cancel } = upstream;
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
    standing.mark_changed();
    let mut signals = Signals::watch(session.standing(), shutdown, cancels);
    let mut relay = Relay::new(Arc::clone(shared), Arc::clone(&session), Gate::new(gate), cancel);
    relay.client_in = client_rest;
    relay.server_in = server_rest;
    relay.say(&to_client);
    relay.advance().await;
    relay.say(&ready);

    let mut departure = Departure::of(client.get_ref().0.tcp());
    let (mut draining, mut reads) = (false, 0_u64);
    let mut kept = Kept::default();
    while !relay.is_closed() {
        if draining && relay.is_at_rest() {
            Box::pin(relay.cut(&Report::new("57P01", "the gateway is shutting down"))).await;
            break;
        }
        if relay.keeps {
            kept.arm();
        }
        let event = next(&mut relay, &mut client, &mut server, &mut signals, &mut departure, &mut kept).await;
        // Statements are judged by grants as they are now, so the session follows them first: its signal may come a moment later.
        while !relay.is_closed() && standing.has_changed().unwrap_or(true) {
            let (end, stops) = {
                let standing = standing.borrow_and_update();
                (standing.end.clone(), standing.draining)
            };
            draining = stops;
            Box::pin(relay.stand(end.or_else(|| standing.has_changed().is_err().then(gone)))).await;
        }
        match event {
            // What follows is for a session that goes on.
            _ if relay.is_closed() => {}
            Event::Signal(Signal::Standing) => {}
            Event::Signal(Signal::Shutdown) => Box::pin(relay.cut(&Report::new("57P01", "the gateway is shutting down"))).await,
            Event::Signal(Signal::Cancel(cancel)) => Box::pin(relay.cancel(cancel)).await,
            Event::Waited(waited) => Box::pin(relay.waited(waited)).await,
            Event::Client(Ok(0) | Err(_)) | Event::ClientRefused => Box::pin(relay.client_left()).await,
            Event::Server(Ok(0) | Err(_)) => Box::pin(relay.cut(&Report::new("08006", "the server closed the connection"))).await,
            Event::Client(Ok(_)) => {
                let began = reads.is_multiple_of(TIMED).then(Instant::now);
                reads += 1;
                relay.advance().await;
                if let Some(began) = began {
                    shared.app.meters().statement.took(began.elapsed());
                }
            }
            Event::Server(Ok(_)) => relay.advance().await,
            // It may have said why: that is still read.
            Event::ServerRefused => relay.server_out.give_up(),
            Event::WriteKept => relay.write_kept().await,
        }
        // What the other side takes at once goes without another round.
        relay.server_out.send_now(&mut server).unwrap_or_else(|_| relay.server_out.give_up());
        if relay.client_out.send_now(&mut client).is_err() && !relay.is_closed() {
            Box::pin(relay.client_left()).await;
        }
    }
    drop(key);
    Box::pin(end(shared, relay, session, client, server)).await;
}

/// The next thing that happens. What ends the session goes first.
async fn next(
    relay: &mut Relay,
    client: &mut ClientStream,
    server: &mut UpstreamStream,
    signals: &mut Signals,
    departure: &mut Departure,
    kept: &mut Kept,
) -> Event {
    let (held, pipes) = relay.pipes();
    // Where reading goes on it tells by itself.
    let watch_client = held.is_some() && !pipes.wants_client();
    let moves = poll_fn(|context| {
        if let Poll::Ready(signal) = signals.poll_next(context) {
            return Poll::Ready(Event::Signal(signal));
        }
        if let Poll::Ready(Err(_)) = pipes.client_out.poll_send(client, context) {
            return Poll::Ready(Event::ClientRefused);
        }
        if let Poll::Ready(Err(_)) = pipes.server_out.poll_send(server, context) {
            return Poll::Ready(Event::ServerRefused);
        }
        if pipes.wants_server()
            && let Poll::Ready(read) = poll_fill(server, pipes.server_in, pipes.server_pace, context)
        {
            return Poll::Ready(Event::Server(read));
        }
        if pipes.wants_client()
            && let Poll::Ready(read) = poll_fill(client, pipes.client_in, pipes.client_pace, context)
        {
            return Poll::Ready(Event::Client(read));
        }
        kept.poll_due(context).map(|()| Event::WriteKept)
    });
    match held {
        None => moves.await,
        Some(held) => tokio::select! {
            biased;
            event = moves => event,
            waited = held.wait() => Event::Waited(waited),
            () = departure.happened(), if watch_client => Event::Client(Ok(0)),
        },
    }
}

/// The time by which what is kept must be written. Once set it is left alone: a busy session sets it a few times a second.
#[derive(Default)]
struct Kept(Option<Pin<Box<Sleep>>>);

impl Kept {
    fn arm(&mut self) {
        self.0.get_or_insert_with(|| Box::pin(sleep(KEEP)));
    }

    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.0 else { return Poll::Pending };
        let due = sleep.as_mut().poll(context);
        if due.is_ready() {
            self.0 = None;
        }
        due
    }
}

/// Cancels what runs, says farewell within a bound, closes both connections and the session.
async fn end(shared: &Shared, mut relay: Relay, session: Arc<DoorSession>, mut client: ClientStream, mut server: UpstreamStream) {
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
        say(&mut relay.client_out, &mut client, farewell).await;
    } else {
        let tell_server = timeout(farewell, relay.server_out.send_all(&mut server));
        let (_, ()) = tokio::join!(tell_server, say(&mut relay.client_out, &mut client, farewell));
        minting::let_finish(&session, server).await;
    }
    drop(client);
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
async fn say(bytes: &mut Outgoing, client: &mut ClientStream, farewell: Duration) {
    let said = async {
        bytes.send_all(client).await?;
        // A socket closed over unread bytes is reset, and the reset overtakes the last words.
        let mut rest = [0; 4096];
        while client.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(farewell, said).await;
}
