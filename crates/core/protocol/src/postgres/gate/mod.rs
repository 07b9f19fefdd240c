//! The gate: one session's state machine. It sees every message of both sides and says what passes.
//!
//! - Nothing the server would run passes without a permit. Simple queries are decided whole; bound statements at Bind, with their parameters.
//! - A refusal is made by the server itself: the refused message is replaced by one that can only fail there, and the error that comes back
//!   by ours. So transactions fail, pipelines skip and savepoints recover exactly as they would for any error.
//! - Only permits are given while answers are outstanding. Before a refusal or a hold the gate waits until the server is quiet, so neither
//!   is ever guessed about.
//! - Parse runs nothing: text that is understood passes undecided and is decided at each Bind. Describe and Close pass.
//! - A COPY FROM STDIN that needs approval is answered by the gate itself, its data kept, and both approved together.
//! - Replication and COPY BOTH never pass; function calls of the old fast path only where everything does.
//!
//! Doubt about where the server stands closes the session. It reads no clock and keeps no bytes but those of one held message and its copy data.

mod ask;
mod call;
mod claims;
mod client;
mod decide;
mod guard;
mod names;
mod reading;
mod refer;
mod server;
mod settings;
mod spool;
mod statements;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use safeconduct_model::SessionId;

pub use ask::{
    Activity, Ask, Charge, CloseReason, Ended, Intent, Judge, NotExact, Output, Record, Reference, Resolution, Settlement, Verdict,
};
use claims::Claims;
use guard::Guard;
use names::Names;
use reading::Reading;
pub use server::own_name;
use settings::Settings;
use spool::{Spool, Spooled};
use statements::{Expect, Portal, Prepared, Progress};

use super::{
    frame::{Limits, Side, Splitter},
    messages::{Report, Severity, TransactionStatus},
};

/// What a gate is told at the start.
#[derive(Clone, Debug)]
pub struct Config {
    pub session: SessionId,
    pub database: String,
    /// Settings as they are at the start, by lower-case name: only what differs from these is part of an action.
    pub settings: BTreeMap<String, String>,
    /// Settings the client asked for at sign-in, by lower-case name: part of its actions like those it sets later.
    pub wished: BTreeMap<String, String>,
    pub limits: Limits,
    /// For a session with a login role of its own, which began read only: whether it is to be. See [`Gate::want_read_only`].
    pub read_only: Option<bool>,
    /// Most prepared statements, and most portals, known at once.
    pub max_names: usize,
    /// Most bytes of text in prepared statements.
    pub max_text_bytes: usize,
    /// Most bytes of copy data that are kept until they are approved.
    pub max_copy_bytes: usize,
    /// Most messages whose answers are outstanding.
    pub max_outstanding: usize,
}

impl Config {
    /// The usual bounds.
    #[must_use]
    pub fn new(session: SessionId, database: &str) -> Self {
        Self {
            session,
            database: database.to_owned(),
            settings: BTreeMap::new(),
            wished: BTreeMap::new(),
            limits: Limits::default(),
            read_only: None,
            max_names: 10_000,
            max_text_bytes: 16 << 20,
            max_copy_bytes: 4 << 20,
            max_outstanding: 4_096,
        }
    }
}

/// One session's gate, from the first ReadyForQuery on.
#[derive(Debug)]
pub struct Gate {
    config: Config,
    database: Arc<str>,
    client: Splitter,
    server: Splitter,
    /// As of the last ReadyForQuery.
    status: TransactionStatus,
    /// Messages forwarded and not yet answered, in order.
    outstanding: VecDeque<Expect>,
    outstanding_bytes: usize,
    prepared: Names<Prepared>,
    portals: Names<Portal>,
    prepared_bytes: usize,
    /// Numbers messages, for knowing which came first.
    order: u64,
    /// Numbers statements.
    statements: u64,
    /// Statements that have an intent and no outcome.
    open: BTreeMap<u64, Progress>,
    settled_through: u64,
    charges: Vec<Charge>,
    claims: Claims,
    /// The server discards what comes until Sync.
    skipping: bool,
    /// Something ran since the last Sync, which may have opened a transaction.
    segment_ran: bool,
    /// An error was answered since the last ReadyForQuery.
    failed_since_ready: bool,
    draining: bool,
    copy: Copy,
    /// For a copy-data message that is passing in pieces: whether it goes to the server.
    copy_piece: bool,
    spool: Option<Spool>,
    /// Data of the held copy that is being decided.
    spooled: Option<Spooled>,
    holding: Option<Holding>,
    has_temporary: bool,
    settings: Settings,
    guard: Option<Guard>,
    reading: Reading,
    /// Rows sent for the statement that is being answered.
    rows: u64,
    /// What is told to the client at the next message boundary.
    notes: Vec<Bytes>,
    closed: bool,
}

/// Whether the server takes copy data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    No,
    /// A statement that may begin or has ended a copy was forwarded; until its answer nothing else is.
    Waiting,
    In,
}

/// A message that waits for people.
#[derive(Debug)]
struct Holding {
    tag: u8,
    raw: Bytes,
    resolution: Option<Resolution>,
    spooled: Option<Spooled>,
}

impl Gate {
    /// A gate for a session that is signed in on both sides and idle.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            database: config.database.as_str().into(),
            client: Splitter::new(Side::Client, config.limits),
            server: Splitter::new(Side::Server, config.limits),
            settings: Settings::new(config.settings.clone(), &config.wished),
            guard: config.read_only.map(Guard::new),
            config,
            status: TransactionStatus::Idle,
            outstanding: VecDeque::new(),
            outstanding_bytes: 0,
            prepared: Names::default(),
            portals: Names::default(),
            prepared_bytes: 0,
            order: 0,
            statements: 0,
            open: BTreeMap::new(),
            settled_through: 0,
            charges: Vec::new(),
            claims: Claims::default(),
            skipping: false,
            segment_ran: false,
            failed_since_ready: false,
            draining: false,
            copy: Copy::No,
            copy_piece: false,
            spool: None,
            spooled: None,
            holding: None,
            has_temporary: false,
            reading: Reading::default(),
            rows: 0,
            notes: Vec::new(),
            closed: false,
        }
    }

    /// Takes what both sides sent and appends what is to be done. Call it after every read and after [`Gate::resolve`].
    ///
    /// Bytes that can't be used yet stay in their buffer. An adapter bounds both buffers and stops reading a side whose buffer is full: from
    /// the client more than one message of [`Limits`] is never needed, from the server neither.
    pub fn advance(&mut self, client: &mut BytesMut, server: &mut BytesMut, judge: &mut dyn Judge, out: &mut Vec<Output>) {
        self.take_server(server, out);
        self.take_client(client, judge, out);
    }

    /// Says what was decided about the held action; [`Gate::advance`] then goes on. Copy data that is coming in can only be refused. Without
    /// either nothing happens.
    pub fn resolve(&mut self, resolution: Resolution) {
        if let Some(holding) = &mut self.holding
            && holding.resolution.is_none()
        {
            let approved = matches!(resolution, Resolution::Approved(_));
            holding.resolution = Some(resolution);
            if approved {
                self.raise();
            }
        } else if let Resolution::Refused(report) = resolution {
            self.cancel_spool(report);
        }
    }

    /// Tells the client something of the gateway's own: at once between two messages, else after the one that is passing.
    pub fn notice(&mut self, report: &Report, severity: Severity, out: &mut Vec<Output>) {
        if self.notes.len() < 16 {
            self.say(report.encode(severity), out);
        }
    }

    /// Hands a message of the gateway's own to the client, between two of the server's.
    fn say(&mut self, message: Bytes, out: &mut Vec<Output>) {
        if self.closed {
        } else if self.server.at_boundary() {
            out.push(Output::ToClient(message));
        } else {
            self.notes.push(message);
        }
    }

    /// Ends the session with an error to the client: a grant ended, someone killed it, the gateway stops.
    pub fn cut(&mut self, report: &Report, out: &mut Vec<Output>) {
        self.close(CloseReason::Cut(report.message.clone()), Some(report), out);
    }

    /// Records what is left open once a connection is gone. Harmless to repeat.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        self.closed = true;
        self.spool = None;
        if self.holding.take().is_some() {
            out.push(Output::Withdrawn);
        }
        let running = self.outstanding.iter().filter_map(Expect::runs).max();
        for (statement, progress) in std::mem::take(&mut self.open) {
            let ended = match progress {
                Progress { ran: false, .. } => Ended::NotRun,
                Progress { rows, suspended: true, .. } if running != Some(statement) => Ended::Stopped { rows },
                Progress { .. } => Ended::Unknown,
            };
            out.push(Output::Record(Record::Outcome { statement, ended }));
        }
        if self.settled_through < self.statements {
            // A server that loses its client rolls back; but a commit may have been under way.
            let how = if self.outstanding.is_empty() { Settlement::RolledBack } else { Settlement::Unknown };
            let through = self.statements;
            self.settled_through = through;
            out.push(Output::Record(Record::Settled { through, how }));
        }
        self.outstanding.clear();
    }

    /// What the session is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        match (&self.holding, &self.spool, self.outstanding.is_empty()) {
            (Some(_), ..) => Activity::Holding,
            (None, Some(_), _) => Activity::Spooling,
            (None, None, true) => Activity::Idle,
            (None, None, false) => Activity::Busy,
        }
    }

    /// True if a transaction is open, or may be.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.status != TransactionStatus::Idle || self.segment_ran || !self.outstanding.is_empty()
    }

    /// What the present transaction is charged with.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// True once [`Output::Close`] was given or [`Gate::finish`] called.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    fn close(&mut self, reason: CloseReason, report: Option<&Report>, out: &mut Vec<Output>) {
        if self.closed {
            return;
        }
        if let Some(report) = report
            && self.server.at_boundary()
        {
            out.push(Output::ToClient(report.encode(Severity::Fatal)));
        }
        self.finish(out);
        out.push(Output::Close(reason));
    }

    fn client_broke(&mut self, what: impl ToString, out: &mut Vec<Output>) {
        let report = Report::new("08P01", format!("protocol violation: {}", what.to_string()));
        self.close(CloseReason::ClientProtocol(what.to_string()), Some(&report), out);
    }

    fn server_broke(&mut self, what: impl ToString, out: &mut Vec<Output>) {
        let report = Report::new("08P01", "the server answered unexpectedly; the session was ended");
        self.close(CloseReason::ServerProtocol(what.to_string()), Some(&report), out);
    }

    fn ended(&mut self, statement: u64, ended: Ended, out: &mut Vec<Output>) {
        if self.open.remove(&statement).is_some() {
            out.push(Output::Record(Record::Outcome { statement, ended }));
        }
    }
}
