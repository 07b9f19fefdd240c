//! What a door sees: who may sign in, one session with its standing, its holds and its journal. Doors decide nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use safeconduct_lifecycle::{Access, AccessState, Command, ExactOutcome, SessionEvent, StreamId, Withdrawal};
use safeconduct_model::{
    AccessRequestId, Action, Asked, GrantId, Origin, Outcome, Permit, PrincipalName, Resource, ResourceName, Scope, SessionId, SignInId,
    SqlAction, Timestamp, Ttl,
};
use safeconduct_protocol::postgres::scram::{ITERATIONS, Verifier};
use safeconduct_sql::Facts;
use tokio::sync::{oneshot, watch};
use zeroize::Zeroizing;

use crate::{
    authorize::{Charge, Holds, Judged, Refusal, StatementAsk, Verdict, refusal},
    identity::Caller,
    node::App,
    ports::{Journal, Record, RecordingError, ValueChange, What},
    problem::{Problem, ProblemKind},
    requests::{Submission, Submitted},
    world::World,
};

/// How long a held statement's approval may wait to be taken up: its session waits for it.
pub(crate) const CLAIMED_WITHIN: Ttl = Ttl::MINUTE;

/// Kind of stored values: door secrets' verifiers.
pub(crate) const DOOR_SECRETS: &str = "door-secret";

/// A session as the application keeps it.
pub(crate) struct Door {
    pub id: SessionId,
    pub principal: PrincipalName,
    pub resource: Arc<Resource>,
    pub database: String,
    pub source: String,
    pub opened_at: Timestamp,
    /// The asking of a grant the session was opened under.
    opened_with: Asked,
    pub standing: watch::Sender<Standing>,
    /// Live windows of the holder on the resource.
    pub grants: ArcSwap<Vec<Arc<Access>>>,
    /// Grants of claimed actions: theirs is done, a commit after them is theirs too.
    pub claimed: Mutex<BTreeSet<GrantId>>,
    holds: Mutex<Holds>,
    judged: ArcSwap<Judged>,
    journal: tokio::sync::Mutex<JournalState>,
}

struct JournalState {
    journal: Option<Box<dyn Journal>>,
    records: u64,
    statements: u64,
    /// Something could not be written: nothing more may be forwarded, and the numbers have a gap where it is missing.
    failed: bool,
}

/// What a session may still do.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Counts changes.
    pub generation: u64,
    /// Set when the session must be cut at once.
    pub end: Option<SessionEnd>,
    /// When the last live grant ends, as things stand.
    pub ends_at: Option<Timestamp>,
}

/// Why a session must be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    pub reason: String,
    pub sqlstate: &'static str,
}

/// Somebody at the door who has not proved anything yet.
pub struct DoorLookup {
    found: Option<(PrincipalName, ResourceName, String, Vec<SignInId>)>,
    verifiers: Vec<String>,
}

/// One answer for everything: no grant, unknown resource, wrong name, disabled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorRefused {
    #[error("no grant for this name and resource")]
    NoGrant,
    /// It could not be recorded.
    #[error("the gateway can't record this session")]
    Unavailable,
}

/// A secret with which a client signs in at the door.
#[derive(Debug)]
pub struct DoorSecret {
    pub user: PrincipalName,
    pub password: Zeroizing<String>,
    /// `RESOURCE` or `RESOURCE/DATABASE`.
    pub dbname: String,
    pub host: String,
    pub port: u16,
    pub ca_pem: String,
    /// When the last live grant ends, as things stand.
    pub valid_until: Option<Timestamp>,
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

impl DoorLookup {
    /// SCRAM verifiers that share one salt; a decoy if there is nothing to find.
    #[must_use]
    pub fn verifiers(&self) -> &[String] {
        &self.verifiers
    }
}

impl Door {
    /// Learns what its holder may still do.
    pub fn refresh(&self, world: &World, now: Timestamp, reason: impl FnOnce() -> String) {
        let grants: Vec<Arc<Access>> = windows(world, &self.principal, &self.resource.name, &self.database, now);
        let ends_at = grants.iter().filter_map(|a| a.deadline()).max();
        let changed_resource = world.resource(&self.resource.name).is_none_or(|r| **r != *self.resource);
        let none_left = grants.is_empty();
        self.grants.store(Arc::new(grants));
        self.judged.store(Arc::new(Judged::default()));
        self.standing.send_modify(|standing| {
            standing.generation += 1;
            standing.ends_at = ends_at;
            if standing.end.is_none() && changed_resource {
                standing.end = Some(ended("the resource was changed".to_owned()));
            }
            if standing.end.is_none() && none_left {
                standing.end = Some(ended(reason()));
            }
        });
    }

    /// Ends the session by somebody's act.
    pub fn end(&self, reason: String) {
        self.standing.send_modify(|standing| {
            standing.generation += 1;
            standing.end.get_or_insert_with(|| ended(reason));
        });
    }

    /// Answers kept for this second.
    pub fn judged(&self, world: &World, second: i64) -> Arc<Judged> {
        let judged = self.judged.load_full();
        if judged.is_of(world.generation, second) {
            return judged;
        }
        let fresh = Arc::new(Judged::of(world.generation, second));
        self.judged.store(Arc::clone(&fresh));
        fresh
    }

    /// What counts as asked for a statement held in this session: the words of the grant it works under.
    pub fn asked(&self, now: Timestamp) -> Asked {
        let grants = self.grants.load();
        let asked = grants.iter().max_by_key(|a| a.deadline()).map_or_else(|| self.opened_with.clone(), |a| a.envelope.asked.clone());
        let age = now.micros().saturating_sub(self.opened_at.micros()).max(0) / 1_000_000;
        Asked {
            reason: asked.reason,
            ticket: asked.ticket,
            source: self.source.clone(),
            sign_in: "door".to_owned(),
            sign_in_age_seconds: u64::try_from(age).unwrap_or(0),
        }
    }

    /// How long a statement may be held.
    pub fn hold_time(&self, in_transaction: bool) -> Ttl {
        let longest = self.resource.postgres().map(|p| if in_transaction { p.hold_in_transaction } else { p.hold });
        longest.unwrap_or(Ttl::MAX)
    }
}

fn ended(reason: String) -> SessionEnd {
    SessionEnd { reason, sqlstate: "57P01" }
}

/// Live windows that reach this database.
fn windows(world: &World, principal: &PrincipalName, resource: &ResourceName, database: &str, now: Timestamp) -> Vec<Arc<Access>> {
    world
        .live_grants(principal, resource, now)
        .into_iter()
        .filter(|a| match &a.envelope.scope {
            Scope::Window { narrow, .. } => narrow.databases.is_empty() || narrow.databases.contains(database),
            Scope::Exact { .. } => false,
        })
        .collect()
}

impl App {
    /// Looks up who may sign in as `user` with `database` = `RESOURCE` or `RESOURCE/DATABASE`. Never says why not.
    #[must_use]
    pub fn door_lookup(&self, user: &str, database: &str) -> DoorLookup {
        // The salt must not tell a decoy from the real thing: both follow from user and resource, whatever the database.
        let resource = database.split_once('/').map_or(database, |(resource, _)| resource);
        let decoy = || Verifier::decoy(&self.node.door_salt_key, &format!("{user}\0{resource}"), ITERATIONS).encode();
        match self.find_at_door(user, database) {
            Some((principal, resource, database, secrets)) => {
                let (sign_ins, verifiers) = secrets.into_iter().unzip();
                DoorLookup { found: Some((principal, resource, database, sign_ins)), verifiers }
            }
            None => DoorLookup { found: None, verifiers: vec![decoy()] },
        }
    }

    #[expect(clippy::type_complexity, reason = "taken apart at once by its one caller")]
    fn find_at_door(&self, user: &str, database: &str) -> Option<(PrincipalName, ResourceName, String, Vec<(SignInId, String)>)> {
        let (resource, database) = database.split_once('/').map_or((database, None), |(r, d)| (r, Some(d)));
        let (principal, resource): (PrincipalName, ResourceName) = (user.parse().ok()?, resource.parse().ok()?);
        let world = self.world();
        let database = allowed_database(world.resource(&resource)?, database)?;
        if windows(&world, &principal, &resource, &database, self.now()).is_empty() {
            return None;
        }
        let secrets = self.node.door_secrets.lock().get(&(principal.clone(), resource.clone())).cloned().filter(|s| !s.is_empty())?;
        Some((principal, resource, database, secrets))
    }

    /// Opens a session for a client that has proved the secret with index `proved`. Recorded before it opens.
    ///
    /// # Errors
    /// [`DoorRefused::NoGrant`] for everything a client may not learn; [`DoorRefused::Unavailable`] if nothing can be recorded.
    pub async fn door_open(&self, lookup: DoorLookup, proved: usize, peer: SocketAddr) -> Result<DoorSession, DoorRefused> {
        let (principal, resource, database, sign_ins) = lookup.found.ok_or(DoorRefused::NoGrant)?;
        let sign_in = sign_ins.get(proved).ok_or(DoorRefused::NoGrant)?;
        let (guard, mut work) = self.begin().await;
        // Signed out meanwhile?
        let still = self
            .node
            .door_secrets
            .lock()
            .get(&(principal.clone(), resource.clone()))
            .is_some_and(|s| s.iter().any(|(id, _)| id == sign_in));
        let grants = windows(&work.world, &principal, &resource, &database, work.now);
        let found = work.world.resource(&resource).cloned().filter(|_| still && !grants.is_empty()).ok_or(DoorRefused::NoGrant)?;
        let opened_with = grants.first().map(|a| a.envelope.asked.clone()).ok_or(DoorRefused::NoGrant)?;
        let id = SessionId::from_bits(self.bits().map_err(|_| DoorRefused::Unavailable)?);
        let mut journal = self.node.ports.recorder.open(&id).map_err(|_| DoorRefused::Unavailable)?;
        let source = peer.to_string();
        let opened = Record {
            n: 1,
            at: work.now,
            what: What::Opened {
                principal: principal.clone(),
                resource: resource.clone(),
                database: database.clone(),
                source: source.clone(),
            },
        };
        journal.append(&[opened]).map_err(|_| DoorRefused::Unavailable)?;
        let now = work.now;
        work.push(
            StreamId::Session(id.clone()),
            SessionEvent::Opened {
                principal: principal.clone(),
                resource: resource.clone(),
                database: database.clone(),
                source: source.clone(),
                grants: grants.iter().map(|a| a.grant()).collect(),
                at: now,
            },
        );
        let door = Arc::new(Door {
            id: id.clone(),
            principal,
            resource: found,
            database,
            source,
            opened_at: now,
            opened_with,
            standing: watch::Sender::new(Standing::default()),
            grants: ArcSwap::default(),
            claimed: Mutex::default(),
            holds: Mutex::default(),
            judged: ArcSwap::default(),
            journal: tokio::sync::Mutex::new(JournalState { journal: Some(journal), records: 1, statements: 0, failed: false }),
        });
        // While the guard is held: a revocation that follows can't be overwritten by what was true before it.
        door.refresh(&work.world, now, || "no grant is left".to_owned());
        // In the map before the commit: a revocation that follows finds it.
        self.node.doors.lock().insert(id.clone(), Arc::clone(&door));
        if self.commit(guard, work).await.is_err() {
            self.node.doors.lock().remove(&id);
            return Err(DoorRefused::Unavailable);
        }
        Ok(DoorSession { app: self.clone(), door, closed: false })
    }

    /// Makes a secret for the door, bound to the caller, this sign-in and the resource. Needs a live grant.
    ///
    /// # Errors
    /// `GRANT-001` without a live grant, `RES-001` for a resource the caller may not know.
    pub async fn connect(&self, caller: &Caller, resource: &ResourceName, database: Option<&str>) -> Result<DoorSecret, Problem> {
        let (guard, work) = self.begin().await;
        let found = work.world.resource(resource).cloned();
        let grants = work.world.live_grants(&caller.name, resource, work.now);
        let Some(found) = found.filter(|r| r.postgres().is_some()) else { return Err(Problem::no_resource(resource.as_str())) };
        if grants.is_empty() && !self.may_know(&work.world, caller, &found, work.now) {
            return Err(Problem::no_resource(resource.as_str()));
        }
        let name = allowed_database(&found, database)
            .ok_or_else(|| Problem::invalid("this database is not offered").next("`resources` lists what may be asked for"))?;
        if windows(&work.world, &caller.name, resource, &name, work.now).is_empty() {
            return Err(Problem::new("GRANT-001", ProblemKind::Denied, format!("you have no live grant on `{resource}`"))
                .next(format!("ask for one: safeconduct request {resource} --operation read --for 15m --reason \"…\"")));
        }
        let mut bytes = Zeroizing::new([0_u8; 32]);
        self.node.ports.entropy.fill(&mut *bytes)?;
        let password = Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*bytes));
        let salt = shared_salt(&self.node.door_salt_key, &caller.name, resource);
        let verifier = Verifier::derive(&password, &salt, ITERATIONS).map_err(|_| Problem::invalid("no secret could be made"))?.encode();
        let key = door_key(&caller.name, resource, &caller.sign_in);
        let change = ValueChange { kind: DOOR_SECRETS.to_owned(), key, value: Some(verifier.clone().into_bytes()) };
        self.node.ports.store.put_values(vec![change]).await?;
        {
            let mut secrets = self.node.door_secrets.lock();
            let of_holder = secrets.entry((caller.name.clone(), resource.clone())).or_default();
            of_holder.retain(|(sign_in, _)| *sign_in != caller.sign_in);
            of_holder.push((caller.sign_in.clone(), verifier));
        }
        drop(guard);
        Ok(DoorSecret {
            user: caller.name.clone(),
            password,
            dbname: database.map_or_else(|| resource.to_string(), |d| format!("{resource}/{d}")),
            host: self.node.settings.door.host.clone(),
            port: self.node.settings.door.port,
            ca_pem: self.node.settings.door.ca_pem.clone(),
            valid_until: grants.iter().filter_map(|a| a.deadline()).max(),
        })
    }

    /// Secrets work until no live grant remains: then they are gone, not only useless.
    pub(crate) fn forget_unused_door_secrets(
        &self,
        world: &World,
        holders: &BTreeSet<(PrincipalName, ResourceName)>,
        now: Timestamp,
    ) -> Vec<ValueChange> {
        let mut gone = Vec::new();
        let mut secrets = self.node.door_secrets.lock();
        for holder in holders {
            if world.live_grants(&holder.0, &holder.1, now).is_empty() {
                for (sign_in, _) in secrets.remove(holder).unwrap_or_default() {
                    gone.push(ValueChange { kind: DOOR_SECRETS.to_owned(), key: door_key(&holder.0, &holder.1, &sign_in), value: None });
                }
            }
        }
        gone
    }
}

/// Key of a stored door secret.
pub(crate) fn door_key(principal: &PrincipalName, resource: &ResourceName, sign_in: &SignInId) -> String {
    format!("{principal}/{resource}/{sign_in}")
}

/// All secrets of one holder for one resource share a salt: SCRAM names the salt before the client shows which secret it has.
fn shared_salt(key: &[u8; 32], principal: &PrincipalName, resource: &ResourceName) -> Vec<u8> {
    let text = Verifier::decoy(key, &format!("{principal}\0{resource}"), ITERATIONS).encode();
    let salt = text.split(['$', ':']).nth(2).and_then(|salt| STANDARD.decode(salt).ok());
    salt.unwrap_or_else(|| key.iter().take(16).copied().collect())
}

fn allowed_database(resource: &Resource, asked: Option<&str>) -> Option<String> {
    let postgres = resource.postgres()?;
    let name = asked.unwrap_or(&postgres.database);
    (name == postgres.database || postgres.databases.contains(name)).then(|| name.to_owned())
}

/// One session, in the hands of a door. Dropping it without [`DoorSession::close`] closes it as lost.
pub struct DoorSession {
    app: App,
    door: Arc<Door>,
    closed: bool,
}

impl DoorSession {
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
        self.app.facts_for(&self.app.world(), &self.door.resource.name, text)
    }

    /// The one decision about a statement.
    #[must_use]
    pub fn authorize(&self, ask: &StatementAsk<'_>) -> Verdict {
        self.app.authorize(&self.door, ask)
    }

    /// True while the grant is live, or its claimed action is this session's.
    #[must_use]
    pub fn still_live(&self, grant: &GrantId) -> bool {
        let now = self.app.now();
        self.door.claimed.lock().contains(grant) || self.door.grants.load().iter().any(|a| a.grant() == *grant && a.is_live(now))
    }

    /// True while every right a transaction used is still held.
    #[must_use]
    pub fn still_covered(&self, charges: &[Charge]) -> bool {
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
            "held as access request {id}: it needs {}\napproval by {quorum} ({}), until {}\n{}/access-requests/{id}  or: safeconduct show {id}",
            access.envelope.scope.operations(),
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
        match &self.door.standing.borrow().end {
            Some(end) => Err(Refusal { sqlstate: end.sqlstate, message: end.reason.clone(), detail: None, hint: None }),
            None => Ok(()),
        }
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

    /// Appends to the session's journal with one write; numbers and times are filled in. With `sync` it is on disk when this returns.
    ///
    /// # Errors
    /// Then nothing may be forwarded and the session must be closed.
    pub async fn record(&self, what: Vec<What>, sync: bool) -> Result<(), RecordingError> {
        let now = self.app.now();
        let mut state = self.door.journal.lock().await;
        if state.failed {
            return Err(RecordingError::Unwritable("an earlier record of this session could not be written".into()));
        }
        let mut records = Vec::with_capacity(what.len());
        for what in what {
            state.records += 1;
            if matches!(what, What::Intent { .. }) {
                state.statements += 1;
            }
            records.push(Record { n: state.records, at: now, what });
        }
        let Some(journal) = state.journal.as_mut() else { return Err(RecordingError::Missing) };
        if let Err(error) = journal.append(&records) {
            state.failed = true;
            return Err(error);
        }
        let (flush, sealed) = (sync.then(|| journal.sync()), journal.take_sealed());
        drop(state);
        if let Some(flush) = flush
            && let Err(error) = flush.await
        {
            self.door.journal.lock().await.failed = true;
            return Err(error);
        }
        if let Some(chunk) = sealed {
            self.app.add_session_events(&self.door.id, vec![SessionEvent::ChunkSealed { chunk, at: now }]).await;
        }
        Ok(())
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
        if let Some(mut journal) = state.journal.take() {
            let now = self.now();
            let closing = Record { n: state.records + 1, at: now, what: What::Closed { why: why.clone() } };
            let lost = |error: &RecordingError| SessionEvent::RecordingLost { why: error.to_string(), at: now };
            if state.failed {
                events.push(SessionEvent::RecordingLost { why: "some of its records could not be written".to_owned(), at: now });
            }
            if let Err(error) = journal.append(&[closing]) {
                events.push(lost(&error));
            }
            match journal.close() {
                Ok(chunks) => events.extend(chunks.into_iter().map(|chunk| SessionEvent::ChunkSealed { chunk, at: now })),
                Err(error) => events.push(lost(&error)),
            }
        }
        drop(state);
        self.node.doors.lock().remove(&door.id);
        events.push(SessionEvent::Closed { why, statements, at: self.now() });
        self.add_session_events(&door.id, events).await;
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

    /// Runs a unit of work until the store takes it. For what has happened already.
    pub(crate) async fn insist(&self, what: &str, change: impl Fn(&mut crate::world::Work)) {
        for attempt in 0_u32.. {
            let (guard, mut work) = self.begin().await;
            change(&mut work);
            match self.commit(guard, work).await {
                Ok(()) => return,
                Err(problem) => tracing::error!(%problem, attempt, "{what} could not be recorded yet"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(100 << attempt.min(6))).await;
        }
    }
}

fn as_refusal(problem: &Problem) -> Refusal {
    Refusal {
        sqlstate: if problem.kind == ProblemKind::Unavailable { "58000" } else { "42501" },
        message: format!("{} [{}]", problem.message, problem.code),
        detail: problem.why.clone(),
        hint: problem.next.clone(),
    }
}

/// Secrets of the door as stored values.
pub(crate) fn read_door_secrets(values: Vec<(String, Vec<u8>)>) -> BTreeMap<(PrincipalName, ResourceName), Vec<(SignInId, String)>> {
    let mut secrets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, value) in values {
        let mut parts = key.split('/');
        let parsed = (|| Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))();
        if let (Some((principal, resource, sign_in)), Ok(verifier)) = (parsed, String::from_utf8(value)) {
            secrets.entry((principal, resource)).or_default().push((sign_in, verifier));
        }
    }
    secrets
}
