//! What a session does between reads: asks the gate, records, then lets bytes go. Nothing goes before its record.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::BytesMut;
use safeconduct_app::{
    DoorSession, SessionEnd, Write,
    ports::{RecordingError, What},
};
use safeconduct_lifecycle::Withdrawal;
use safeconduct_protocol::postgres::{
    gate::{Activity, Ask, CloseReason, Gate, Output, Resolution},
    messages::{Report, Severity},
};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    cancel::Cancel,
    config::Limits,
    holding::{Held, Waited, cancelled},
    journal::{Batch, Journal},
    judge::{self, Asks},
    listener::Shared,
    minting,
    pipes::{Outgoing, Pace},
    remains::Remains,
    transport::CancelTarget,
};

/// How long a client waits for the outcome of a claimed action to be stored. It is stored in any case.
const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// The gate of one session with its buffers, and what is under way.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    session: Arc<DoorSession>,
    gate: Gate,
    journal: Journal,
    pub held: Option<Held>,
    pub client_in: BytesMut,
    pub server_in: BytesMut,
    pub client_out: Outgoing,
    pub server_out: Outgoing,
    client_pace: Pace,
    server_pace: Pace,
    upstream: CancelTarget,
    /// Something recorded is not written yet.
    pub keeps: bool,
    /// The server had work of this session's when the gate was last asked.
    busy: bool,
    /// Outcomes and withdrawals that are being stored, cancels that are being sent.
    under_way: JoinSet<()>,
    closed: Option<Closed>,
}

/// The buffers of both sides, and when there is room in them.
pub(crate) struct Pipes<'a> {
    pub client_in: &'a mut BytesMut,
    pub server_in: &'a mut BytesMut,
    pub client_out: &'a mut Outgoing,
    pub server_out: &'a mut Outgoing,
    pub client_pace: &'a mut Pace,
    pub server_pace: &'a mut Pace,
    limits: &'a Limits,
}

impl Pipes<'_> {
    /// True if bytes from the client can be taken: a message that is coming in may come whole, what waits behind it is bounded.
    pub(crate) fn wants_client(&self) -> bool {
        let largest = self.limits.frames.bind_bytes.max(self.limits.frames.text_bytes);
        let coming = match self.client_in.first_chunk::<5>() {
            // Copy data passes in pieces and never has to be there whole.
            None | Some([b'd', ..]) => 0,
            Some([_, a, b, c, d]) => (u32::from_be_bytes([*a, *b, *c, *d]) as usize).min(largest) + 1,
        };
        self.server_out.len() < self.limits.buffer_bytes && self.client_in.len() < coming.max(self.limits.buffer_bytes)
    }

    /// True if the client takes what the server said before.
    pub(crate) fn wants_server(&self) -> bool {
        self.client_out.len() < self.limits.buffer_bytes
    }
}

struct Closed {
    why: String,
    cancel: bool,
}

impl Relay {
    pub(crate) fn new(shared: Arc<Shared>, session: Arc<DoorSession>, gate: Gate, upstream: CancelTarget) -> Self {
        Self {
            shared,
            session,
            gate,
            journal: Journal::default(),
            held: None,
            client_in: BytesMut::new(),
            server_in: BytesMut::new(),
            client_out: Outgoing::default(),
            server_out: Outgoing::default(),
            client_pace: Pace::default(),
            server_pace: Pace::default(),
            upstream,
            keeps: false,
            busy: false,
            under_way: JoinSet::new(),
            closed: None,
        }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// True if nothing is under way: no statement, no transaction, nothing held.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.gate.activity() == Activity::Idle && !self.gate.in_transaction()
    }

    /// Says something that precedes every answer of the gate.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.client_out.push(bytes);
    }

    /// What is held, and what moves meanwhile.
    pub(crate) fn pipes(&mut self) -> (Option<&mut Held>, Pipes<'_>) {
        let Self { shared, held, client_in, server_in, client_out, server_out, client_pace, server_pace, .. } = self;
        let limits = &shared.config.limits;
        (held.as_mut(), Pipes { client_in, server_in, client_out, server_out, client_pace, server_pace, limits })
    }

    /// Takes what was read past the gate, as far as it goes. What is rare has a place of its own: every session keeps room for the rest.
    pub(crate) async fn advance(&mut self) {
        let mut go_on = true;
        while go_on && !self.is_closed() {
            let mut out = Vec::new();
            self.busy = self.gate.activity() == Activity::Busy;
            self.gate.advance(&mut self.client_in, &mut self.server_in, &mut Asks(&self.session), &mut out);
            go_on = self.perform(out).await || self.lower().await;
        }
    }

    /// Does what the gate said: records first. True if the gate has something new to go on with.
    async fn perform(&mut self, outputs: Vec<Output>) -> bool {
        let mut batch = Batch::default();
        let mut rest = Vec::with_capacity(outputs.len());
        for output in outputs {
            match output {
                Output::Record(record) => self.journal.add(record, &mut batch),
                other => rest.push(other),
            }
        }
        let Batch { what, write, settled } = batch;
        let recorded = self.record(what, write).await;
        for (request, outcome) in settled {
            let session = Arc::clone(&self.session);
            Box::pin(self.store(async move { session.settle(&request, outcome).await })).await;
        }
        if !recorded {
            return false;
        }
        let mut resolved = false;
        for output in rest {
            match output {
                Output::ToServer(bytes) => self.server_out.pass(bytes),
                Output::ToClient(bytes) => self.client_out.pass(bytes),
                Output::Hold(ask) => resolved |= Box::pin(self.hold(*ask)).await,
                Output::Withdrawn => Box::pin(self.take_back(Withdrawal::SessionEnded, "the session ended")).await,
                Output::Close(reason) => self.close(&reason),
                Output::Record(_) => {}
            }
        }
        resolved
    }

    /// Writes to the session's recording. If that fails nothing is forwarded and the session ends: false.
    async fn record(&mut self, what: Vec<What>, write: Write) -> bool {
        if what.is_empty() {
            return true;
        }
        self.keeps = write == Write::Later;
        let recorded = self.session.record(what, write).await;
        self.take(recorded).await
    }

    /// Writes what was kept for later.
    pub(crate) async fn write_kept(&mut self) {
        self.keeps = false;
        let written = self.session.write_kept().await;
        self.take(written).await;
    }

    async fn take(&mut self, recorded: Result<(), RecordingError>) -> bool {
        let Err(error) = recorded else { return true };
        tracing::error!(session = %self.session.id(), error = &error as &dyn std::error::Error, "the session can't be recorded");
        if self.closed.is_none() {
            self.client_out.push(&Report::new("57P01", "the session can't be recorded and ends").encode(Severity::Fatal));
            self.closed = Some(Closed { why: "the session could not be recorded".to_owned(), cancel: true });
            Box::pin(self.abandon()).await;
        }
        false
    }

    /// The gate's open ends after the recording failed: outcomes of claimed actions and held statements are settled all the same.
    async fn abandon(&mut self) {
        let (mut out, mut batch) = (Vec::new(), Batch::default());
        self.gate.finish(&mut out);
        for output in out {
            match output {
                Output::Record(record) => self.journal.add(record, &mut batch),
                Output::Withdrawn => self.withdraw(Withdrawal::SessionEnded).await,
                _ => {}
            }
        }
        for (request, outcome) in batch.settled {
            let session = Arc::clone(&self.session);
            self.store(async move { session.settle(&request, outcome).await }).await;
        }
    }

    fn close(&mut self, reason: &CloseReason) {
        let cancel = !matches!(reason, CloseReason::ClientTerminated | CloseReason::ServerEnded { .. });
        self.closed.get_or_insert_with(|| Closed { why: reason.to_string(), cancel });
    }

    /// Stores something in any case, and waits for it a while.
    async fn store(&mut self, storing: impl Future<Output = ()> + Send + 'static) {
        let (done, stored) = tokio::sync::oneshot::channel();
        self.under_way.spawn(async move {
            storing.await;
            let _ = done.send(());
        });
        if timeout(SETTLE_WAIT, stored).await.is_err() {
            tracing::warn!(session = %self.session.id(), "the store is slow; the session goes on");
        }
        while self.under_way.try_join_next().is_some() {}
    }

    /// Asks people about a statement. True if it is settled already.
    async fn hold(&mut self, ask: Ask) -> bool {
        match Held::place(&self.shared.app, &self.session, &ask).await {
            Ok((held, notice)) => {
                let placed = held.placed(&ask);
                self.held = Some(held);
                if self.record(vec![placed], Write::Now).await {
                    self.tell(&notice).await;
                }
                false
            }
            Err(report) => {
                self.gate.resolve(Resolution::Refused(report));
                true
            }
        }
    }

    /// Something about a held statement was decided.
    pub(crate) async fn waited(&mut self, waited: Waited) {
        let Some(held) = self.held.take() else { return };
        let (mut resolution, mut how) = held.settle(&self.session, waited).await;
        if matches!(resolution, Resolution::Approved(_))
            && let Err(report) = minting::raise(&self.session, &held.request).await
        {
            how.clone_from(&report.message);
            resolution = Resolution::Refused(report);
        }
        let approved = matches!(resolution, Resolution::Approved(_));
        self.gate.resolve(resolution);
        if !self.record(vec![held.ended(&how)], Write::Now).await {
            return;
        }
        if approved {
            self.tell(&Report::new("00000", format!("access request {} was approved: the statement runs, once", held.request))).await;
        }
        self.advance().await;
    }

    /// Tells the client something between two messages.
    async fn tell(&mut self, notice: &Report) {
        let mut out = Vec::new();
        self.gate.notice(notice, Severity::Notice, &mut out);
        for output in out {
            if let Output::ToClient(bytes) = output {
                self.client_out.push(&bytes);
            }
        }
    }

    /// Takes a held statement back, if one is held, and records it.
    async fn take_back(&mut self, why: Withdrawal, how: &str) {
        let Some(ended) = self.held.as_ref().map(|held| held.ended(how)) else { return };
        self.record(vec![ended], Write::Now).await;
        self.withdraw(why).await;
    }

    async fn withdraw(&mut self, why: Withdrawal) {
        let Some(held) = self.held.take() else { return };
        let (session, request) = (Arc::clone(&self.session), held.request);
        self.store(async move { session.withdraw(&request, why).await }).await;
    }

    /// The client asked to cancel what it is doing.
    pub(crate) async fn cancel(&mut self, cancel: Cancel) {
        if self.held.is_some() {
            if self.record(vec![What::CancelRequested], Write::Now).await {
                self.take_back(Withdrawal::Interrupted, "cancelled by the client").await;
                self.gate.resolve(Resolution::Refused(cancelled()));
                self.advance().await;
            }
            // The client's cancel is answered once it had its effect.
            drop(cancel);
        } else if self.gate.activity() == Activity::Spooling {
            if self.record(vec![What::CancelRequested], Write::Now).await {
                self.gate.resolve(Resolution::Refused(cancelled()));
                self.advance().await;
            }
            drop(cancel);
        } else if self.gate.activity() == Activity::Busy && self.record(vec![What::CancelRequested], Write::Now).await {
            let (target, limit) = (self.upstream.clone(), self.shared.config.limits.cancel);
            self.under_way.spawn(async move {
                target.send(limit).await;
                drop(cancel);
            });
        }
    }

    /// Grants changed. With an end the session is cut; without, it is cut if its open transaction used what is gone.
    pub(crate) async fn stand(&mut self, end: Option<SessionEnd>) {
        if let Some(end) = end {
            self.cut(&Report::new(end.sqlstate, format!("terminating connection: {}", end.reason))).await;
        } else if !self.gate.charges().is_empty() && !judge::still_covered(&self.session, self.gate.charges()) {
            self.end_with(Gate::uncovered).await;
        } else {
            self.follow().await;
        }
    }

    /// Makes the session's role what grants give. Where that fails the session ends: it could have more.
    async fn follow(&mut self) {
        match minting::follow(&self.session, minting::Follow::Grants).await {
            Ok(Some(read_only)) => {
                self.gate.want_read_only(read_only);
                self.advance().await;
            }
            Ok(None) => {}
            Err(report) => self.cut(&report).await,
        }
    }

    /// Takes back the rights of a claimed action that is over. True if the gate can go on.
    async fn lower(&mut self) -> bool {
        if self.is_closed() || !self.gate.is_to_be_lowered() {
            return false;
        }
        match minting::follow(&self.session, minting::Follow::Lower).await {
            Ok(_) => {
                self.gate.lowered();
                true
            }
            Err(report) => {
                self.closed.get_or_insert_with(|| Closed { why: report.message.clone(), cancel: true });
                self.client_out.push(&report.encode(Severity::Fatal));
                self.abandon().await;
                false
            }
        }
    }

    /// Ends the session with an error.
    pub(crate) async fn cut(&mut self, report: &Report) {
        self.end_with(|gate, out| gate.cut(report, out)).await;
    }

    async fn end_with(&mut self, end: impl FnOnce(&mut Gate, &mut Vec<Output>)) {
        let mut out = Vec::new();
        self.busy = self.gate.activity() == Activity::Busy;
        end(&mut self.gate, &mut out);
        self.perform(out).await;
    }

    /// The client is gone.
    pub(crate) async fn client_left(&mut self) {
        let cancel = self.gate.activity() == Activity::Busy;
        self.busy = cancel;
        self.client_out.give_up();
        let mut out = Vec::new();
        self.gate.finish(&mut out);
        self.perform(out).await;
        self.closed.get_or_insert_with(|| Closed { why: "the client left".to_owned(), cancel });
    }

    /// What ends the server's work, if the session does not end by itself.
    pub(crate) fn cancel_at_end(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        if !self.closed.as_ref().is_some_and(|closed| closed.cancel) {
            return None;
        }
        let (busy, limits) = (self.busy, self.shared.config.limits);
        let remains = Remains {
            target: self.upstream.clone(),
            resource: Arc::clone(self.session.resource()),
            database: self.session.database().to_owned(),
            session: self.session.id().to_string(),
            cancel: limits.cancel,
        };
        let (enders, role_of_its_own) = (self.shared.enders.clone(), self.session.read_only().is_some());
        Some(async move {
            // A server without work of the session's is left by closing; retiring a role of its own ends its processes.
            if busy && role_of_its_own {
                remains.target.send(remains.cancel).await;
            } else if busy {
                enders.end(remains).await;
            }
        })
    }

    /// Waits for what is being stored; says why the session ended.
    pub(crate) async fn finish(mut self) -> String {
        while self.under_way.join_next().await.is_some() {}
        self.closed.map_or_else(|| "connection lost".to_owned(), |closed| closed.why)
    }
}
