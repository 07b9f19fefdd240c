//! One session in the hands of a door: its questions, its holds, its journal and its end.

use std::sync::Arc;

use safeconduct_lifecycle::{AccessState, Chunk, Command, ExactOutcome, SessionEvent, StreamId, Withdrawal};
use safeconduct_model::{
    AccessRequestId, Action, GrantId, Origin, Outcome, Permit, PrincipalName, Resource, Scope, SessionId, SqlAction, Timestamp,
};
use safeconduct_sql::Facts;
use tokio::sync::{oneshot, watch};

use crate::{
    authorize::{Charge, Refusal, StatementAsk, Verdict, refusal},
    door::{CLAIMED_WITHIN, Door, Standing},
    node::App,
    ports::{BoxFuture, Journal, Record, RecordingError, What},
    problem::{Problem, ProblemKind},
    requests::{Submission, Submitted},
};

/// When records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// With the next ones, or when [`DoorSession::write_kept`] is called: what says how a read ended, and can be lost with the process.
    Later,
    /// Before this returns: they survive the end of the process.
    Now,
    /// Before this returns, and on disk.
    Synced,
}

/// Most records kept for the next write.
const KEPT_RECORDS: usize = 64;

pub(crate) struct JournalState {
    journal: Option<Box<dyn Journal>>,
    /// Not written yet.
    kept: Vec<Record>,
    records: u64,
    statements: u64,
    /// Something could not be written: nothing more may be forwarded, and the numbers have a gap where it is missing.
    failed: bool,
}

impl JournalState {
    /// A journal that holds its first record.
    pub fn begun(journal: Box<dyn Journal>) -> Self {
        Self { journal: Some(journal), kept: Vec::new(), records: 1, statements: 0, failed: false }
    }
}

/// What is left to be awaited of a write: the flush that was asked for, and a chunk whose digest belongs in the ledger.
type Written = (Option<BoxFuture<'static, Result<(), RecordingError>>>, Option<Chunk>);

impl JournalState {
    /// Writes what is kept with one write.
    fn write(&mut self, sync: bool) -> Result<Written, RecordingError> {
        let Some(journal) = self.journal.as_mut() else { return Err(RecordingError::Missing) };
        if let Err(error) = journal.append(&self.kept) {
            self.failed = true;
            return Err(error);
        }
        self.kept.clear();
        Ok((sync.then(|| journal.sync()), journal.take_sealed()))
    }
}

/// A statement that waits for people.
#[derive(Debug)]
pub struct Hold {
    pub request: AccessRequestId,
    /// Several lines: id, what is asked, who may approve, link.
    pub notice: String,
    pub until: Timestamp,
    pub outcome: oneshot::Receiver<HoldOutcome>,
}

/// How waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldOutcome {
    Approved,
    Ended(Refusal),
}

/// One session, in the hands of a door. Dropping it without [`DoorSession::close`] closes it as lost.
pub struct DoorSession {
    app: App,
    door: Arc<Door>,
    closed: bool,
}

impl DoorSession {
    pub(crate) const fn new(app: App, door: Arc<Door>) -> Self {
        Self { app, door, closed: false }
    }

    pub(crate) const fn app(&self) -> &App {
        &self.app
    }

    pub(crate) const fn door(&self) -> &Arc<Door> {
        &self.door
    }

    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.door.id
    }

    #[must_use]
    pub fn principal(&self) -> &PrincipalName {
        &self.door.principal
    }

    #[must_use]
    pub fn resource(&self) -> &Arc<Resource> {
        &self.door.resource
    }

    #[must_use]
    pub fn database(&self) -> &str {
        &self.door.database
    }

    /// Changes whenever grants change; when `end` is set the session must be cut at once.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.door.standing.subscribe()
    }

    /// Facts by text. Blocks for the length of a parse.
    #[must_use]
    pub fn facts(&self, text: &str) -> Arc<Facts> {
        let world = self.app.world();
        let mut kept = self.door.classes.lock();
        let classes = match kept.as_ref() {
            Some((hash, classes)) if *hash == world.bundle.hash => Arc::clone(classes),
            _ => {
                let classes = self.app.classes_for(&world, &self.door.resource.name);
                *kept = Some((world.bundle.hash, Arc::clone(&classes)));
                classes
            }
        };
        drop(kept);
        self.app.node.facts.facts(text, &classes)
    }

    /// The one decision about a statement.
    #[must_use]
    pub fn authorize(&self, ask: &StatementAsk<'_>) -> Verdict {
        let meters = &self.app.node.meters;
        let began = meters.is_timed().then(std::time::Instant::now);
        let verdict = self.app.authorize(&self.door, ask);
        if let Some(began) = began {
            meters.authorize.took(began.elapsed());
        }
        meters.verdict(&verdict);
        verdict
    }

    /// True while the grant is live, or its claimed action is this session's.
    #[must_use]
    pub fn still_live(&self, grant: &GrantId) -> bool {
        let now = self.app.now();
        self.door.claimed.lock().contains(grant) || self.door.grants.load().iter().any(|a| a.grant() == *grant && a.is_live(now))
    }

    /// True while every right a transaction used is still held.
    #[must_use]
    pub fn still_covered<'a>(&self, charges: impl IntoIterator<Item = Charge<'a>>) -> bool {
        self.app.still_covered(&self.door, charges)
    }

    /// Asks for exactly this action. Durable when it returns.
    ///
    /// # Errors
    /// [`Refusal`] if policy denies it, nobody could approve it, it can't be shown as it is, or it can't be stored.
    pub async fn place_hold(&self, action: SqlAction, in_transaction: bool) -> Result<Hold, Refusal> {
        self.still_open()?;
        let facts = self.facts(&action.text);
        let (send, outcome) = oneshot::channel();
        let now = self.app.now();
        let time = self.door.hold_time(in_transaction);
        let submission = Submission {
            requester: self.door.principal.clone(),
            resource: self.door.resource.name.clone(),
            scope: Scope::Exact { action: Action::Sql(action), needs: facts.operations.clone() },
            duration: CLAIMED_WITHIN,
            starts_at: None,
            pending: time,
            asked: self.door.asked(now),
            origin: Origin::Held { session: self.door.id.clone(), in_transaction },
            facts: Some(facts),
            hold: Some(send),
        };
        let Submitted { access, eligible, .. } = self.app.submit(submission).await.map_err(|p| as_refusal(&p))?;
        let id = access.envelope.access_request.clone();
        self.door.holds.lock().insert(id.clone());
        let quorum = match &access.decision.outcome {
            Outcome::NeedApproval { quorum } => quorum.to_string(),
            Outcome::Allow | Outcome::Deny => "nobody".to_owned(),
        };
        let who: Vec<String> = eligible.iter().map(ToString::to_string).collect();
        let notice = format!(
            "held as access request {id}: it needs {}\n{}approval by {quorum} ({}), until {}\n{}/access-requests/{id}  or: safeconduct show {id}",
            access.envelope.scope.operations(),
            if access.decision.obligations.level.is_recorded() { "" } else { "signed " },
            who.join(", "),
            access.envelope.pending_until,
            self.app.node.settings.public_url,
        );
        Ok(Hold { request: id, notice, until: access.envelope.pending_until, outcome })
    }

    /// Takes up a held action that was approved: once, for this session. Recorded before it returns.
    ///
    /// # Errors
    /// [`Refusal`] if it is not this session's, was taken up already, is too late, or policy no longer allows it.
    pub async fn claim(&self, request: &AccessRequestId) -> Result<Permit, Refusal> {
        self.still_open()?;
        if !self.door.holds.lock().remove(request) {
            return Err(refusal("this access request is not held here", "it belongs to another session".to_owned(), None));
        }
        let access = match self.app.claim(request, &self.door.principal, None).await {
            Ok(access) => access,
            Err(problem) => {
                // The end of the session takes it back.
                self.door.holds.lock().insert(request.clone());
                return Err(as_refusal(&problem));
            }
        };
        if let Err(cut) = self.still_open() {
            self.app.settle(request, ExactOutcome::RefusedNotRun { why: cut.message.clone() }).await;
            return Err(cut);
        }
        self.door.claimed.lock().insert(access.grant());
        Ok(self.app.mint_claimed(&self.door.id, &access))
    }

    /// A session that must be cut takes nothing up any more.
    fn still_open(&self) -> Result<(), Refusal> {
        self.door.over(self.app.now()).map_or(Ok(()), Err)
    }

    /// Reports how a claimed action ended.
    pub async fn settle(&self, request: &AccessRequestId, outcome: ExactOutcome) {
        self.app.settle(request, outcome).await;
    }

    /// Takes a held action back.
    pub async fn withdraw(&self, request: &AccessRequestId, why: Withdrawal) {
        self.door.holds.lock().remove(request);
        self.app.withdraw_hold(request, why).await;
    }

    /// Appends to the session's journal, with one write if any is due; numbers and times are filled in.
    ///
    /// # Errors
    /// Then nothing may be forwarded and the session must be closed.
    pub async fn record(&self, what: Vec<What>, write: Write) -> Result<(), RecordingError> {
        let now = self.app.now();
        let mut state = self.door.journal.lock().await;
        if state.failed {
            return Err(RecordingError::Unwritable("an earlier record of this session could not be written".into()));
        }
        for what in what {
            state.records += 1;
            if matches!(what, What::Intent { .. }) {
                state.statements += 1;
            }
            let n = state.records;
            state.kept.push(Record { n, at: now, what });
        }
        if write == Write::Later && state.kept.len() < KEPT_RECORDS {
            return Ok(());
        }
        let (flush, sealed) = state.write(write == Write::Synced).inspect_err(|_| self.app.node.meters.not_recorded())?;
        drop(state);
        if let Some(flush) = flush {
            let began = std::time::Instant::now();
            let flushed = flush.await;
            self.app.node.meters.sync.took(began.elapsed());
            if let Err(error) = flushed {
                self.app.node.meters.not_recorded();
                self.door.journal.lock().await.failed = true;
                return Err(error);
            }
        }
        if let Some(chunk) = sealed {
            self.app.add_session_events(&self.door.id, vec![SessionEvent::ChunkSealed { chunk, at: now }]).await;
        }
        Ok(())
    }

    /// How long ago the right ended that the session lived by: its last deadline, or the act. `None` while it may go on.
    #[must_use]
    pub fn since_end(&self) -> Option<std::time::Duration> {
        let over_at = self.door.standing.borrow().over_at?;
        let micros = self.app.now().micros().saturating_sub(over_at.micros());
        Some(std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    /// Writes what was recorded for later. Harmless to repeat.
    ///
    /// # Errors
    /// As [`DoorSession::record`].
    pub async fn write_kept(&self) -> Result<(), RecordingError> {
        self.record(Vec::new(), Write::Now).await
    }

    /// Closes the session and seals its recording.
    pub async fn close(mut self, why: &str) {
        self.closed = true;
        self.app.clone().close_door(Arc::clone(&self.door), why.to_owned()).await;
    }
}

impl Drop for DoorSession {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let (app, door) = (self.app.clone(), Arc::clone(&self.door));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(app.close_door(door, "connection lost".to_owned()));
        }
    }
}

impl App {
    async fn close_door(self, door: Arc<Door>, why: String) {
        // First of all: what runs at the server ends with it.
        self.retire_role_of(&door);
        let held: Vec<AccessRequestId> = std::mem::take(&mut *door.holds.lock()).into_iter().collect();
        for id in held {
            self.withdraw_hold(&id, Withdrawal::SessionEnded).await;
        }
        let claimed: Vec<GrantId> = door.claimed.lock().iter().cloned().collect();
        for id in claimed.iter().map(GrantId::access_request) {
            if self.world().access.get(&id).is_some_and(|a| matches!(a.state, AccessState::Claimed { .. })) {
                // Nobody else will ever say how it ended.
                self.settle(&id, ExactOutcome::Unknown { why: "the session ended before the answer".to_owned() }).await;
            }
        }
        let mut state = door.journal.lock().await;
        let statements = state.statements;
        let mut events = Vec::new();
        let mut sealed = false;
        if let Some(journal) = state.journal.take() {
            let now = self.now();
            let closing = Record { n: state.records + 1, at: now, what: What::Closed { why: why.clone() } };
            let lost = |why: String| SessionEvent::RecordingLost { why, at: now };
            if state.failed {
                events.push(lost("some of its records could not be written".to_owned()));
            }
            let mut last = std::mem::take(&mut state.kept);
            last.push(closing);
            let (appended, closed) = close_journal(journal, last).await;
            events.extend(appended.err().map(|error| lost(error.to_string())));
            sealed = closed.is_ok();
            match closed {
                Ok(chunks) => events.extend(chunks.into_iter().map(|chunk| SessionEvent::ChunkSealed { chunk, at: now })),
                Err(error) => events.push(lost(error.to_string())),
            }
        }
        drop(state);
        self.node.doors.lock().remove(&door.id);
        events.push(SessionEvent::Closed { why, statements, at: self.now() });
        self.add_session_events(&door.id, events).await;
        // The ledger has all of it now. What could not be sealed is left for the next start to recover.
        if sealed && let Err(error) = self.node.ports.recorder.settled(&door.id).await {
            tracing::warn!(%error, session = %door.id, "a closed recording is not marked as settled");
        }
        self.retire_ended().await;
    }

    /// Adds events to a session, retrying while the store can't take them: what happened is never forgotten.
    pub(crate) async fn add_session_events(&self, id: &SessionId, events: Vec<SessionEvent>) {
        let stream = StreamId::Session(id.clone());
        self.insist("session events", |work| {
            if work.world.sessions.contains_key(id) {
                for event in &events {
                    work.push(stream.clone(), event.clone());
                }
            }
        })
        .await;
    }

    pub(crate) async fn withdraw_hold(&self, id: &AccessRequestId, why: Withdrawal) {
        self.node.holds.lock().remove(id);
        self.insist("withdrawal", |work| {
            let by = match why {
                Withdrawal::Interrupted | Withdrawal::Cancelled => work
                    .access(id)
                    .map(|a| safeconduct_lifecycle::Actor::Principal { name: a.envelope.requester.clone() })
                    .unwrap_or(safeconduct_lifecycle::Actor::Gateway { cause: "session".to_owned() }),
                _ => safeconduct_lifecycle::Actor::Gateway { cause: "session".to_owned() },
            };
            // Decided meanwhile: an approved one that nobody takes up is revoked, the rest needs nothing.
            if work.run(id, Command::Withdraw { by: by.clone(), why }).is_err() {
                let _ = work.run(id, Command::Revoke { by, reason: "the session it was held in is gone".to_owned() });
            }
        })
        .await;
    }
}

/// Writes the last records and seals the journal, where waiting for the disk holds nobody up.
async fn close_journal(
    mut journal: Box<dyn Journal>,
    last: Vec<Record>,
) -> (Result<(), RecordingError>, Result<Vec<Chunk>, RecordingError>) {
    let closed = tokio::task::spawn_blocking(move || {
        let appended = journal.append(&last);
        (appended, journal.close())
    });
    closed.await.unwrap_or_else(|cause| (Ok(()), Err(RecordingError::Unwritable(Box::new(cause)))))
}

fn as_refusal(problem: &Problem) -> Refusal {
    Refusal {
        sqlstate: if problem.kind == ProblemKind::Unavailable { "58000" } else { "42501" },
        message: format!("{} [{}]", problem.message, problem.code),
        detail: problem.why.clone(),
        hint: problem.next.clone(),
    }
}
