//! Starting: the world from what is open in the store, recovery of what a crash left behind, and the operator's first people.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use safeconduct_evidence::Roster;
use safeconduct_lifecycle::{AccessState, Actor, Command, Event, ExactOutcome, NodeEvent, PolicyEvent, SessionEvent, StreamId, Withdrawal};
use safeconduct_model::{Change, GroupName, MintingKey, Origin, PrincipalName, SecretRef};
use safeconduct_policy::BundleFiles;
use tokio::sync::{broadcast, watch};
use zeroize::Zeroizing;

use crate::{
    door_secrets::{DOOR_SECRETS, read_door_secrets},
    effective_clock::{EffectiveClock, TOLERATED_SECONDS},
    facts::FactsService,
    floods::Floods,
    identity::{CODES, SIGN_INS, SignIns},
    last_use::USES,
    ledger::{behind_its_key, check_checkpoint},
    meters::Meters,
    node::{App, Node, Ports, Settings},
    ports::{AccessQuery, Recovered, SessionQuery, Stored, ValueChange, What},
    problem::{Problem, ProblemKind},
    rosters::record_roster,
    signed::Trust,
    world::{Work, World},
};

/// Kind of stored values: keys of this node that are no secret from its store.
const NODE: &str = "node";
/// How often it is looked whether a session is left.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a stop waits for sessions that were cut.
const CUT_WITHIN: Duration = Duration::from_secs(2);
/// News a slow listener may fall behind by.
const NEWS_KEPT: usize = 4096;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store can't be read: {0}")]
    Store(#[from] Problem),
    #[error("the parser threads can't be started")]
    Parser(#[source] std::io::Error),
    #[error("the figures can't be kept")]
    Meters(#[source] prometheus::Error),
    /// Root keys are set, and what they should have signed is not there or not theirs.
    #[error("the roster is not believed")]
    Roster(#[source] safeconduct_evidence::InvalidRoster),
    #[error("the ledger's own key can't be read")]
    Key(#[source] safeconduct_ledger::KeyError),
    /// The checkpoint was changed, or belongs to another log.
    #[error("the newest checkpoint in the store was not signed with this gateway's key")]
    Checkpoint(#[source] safeconduct_ledger::CheckpointError),
    /// Entries that a checkpoint promised are gone or others.
    #[error("the store was cut or changed: its ledger does not extend its newest checkpoint")]
    Ledger(#[source] safeconduct_ledger::NotExtended),
}

/// A person or workload the operator makes at the machine.
#[derive(Debug)]
pub struct Person {
    pub name: PrincipalName,
    pub display_name: String,
    pub groups: Vec<GroupName>,
    /// People choose a password by a code if it is `None`; workloads get a token.
    pub password: Option<Zeroizing<String>>,
    pub workload: bool,
}

impl App {
    /// Starts on a store: reads what is open, recovers journals, ends what a crash left in the middle.
    ///
    /// # Errors
    /// [`StartError`] if the store can't be read or what must be recorded at start can't be.
    pub async fn start(ports: Ports, settings: Settings, key: MintingKey) -> Result<Self, StartError> {
        Self::start_on(ports, settings, key, None).await
    }

    /// The same on a store that was put back from a backup, for this reason. Every grant in it ends, what waits is void and everybody is
    /// signed out: what ended since the backup would be live again. A store that is behind what its key has signed is treated like this
    /// without being told. Doing it again is harmless.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_restored(ports: Ports, settings: Settings, key: MintingKey, why: String) -> Result<Self, StartError> {
        Self::start_on(ports, settings, key, Some(why)).await
    }

    async fn start_on(ports: Ports, settings: Settings, key: MintingKey, restored: Option<String>) -> Result<Self, StartError> {
        let store = Arc::clone(&ports.store);
        let covered = check_checkpoint(&ports).await?;
        let restored = match restored {
            Some(why) => Some(why),
            None => behind_its_key(&ports).await?,
        };
        if restored.is_some() {
            // Before the world is read: nobody is signed in, and no code is good, that the backup does not know to be used up.
            forget(&ports, &[SIGN_INS, USES, DOOR_SECRETS, CODES]).await?;
        }
        let high_water = store.high_water().await.map_err(Problem::from)?;
        let behind = high_water.map_or(0, |mark| (mark.micros() - ports.clock.now().micros()) / 1_000_000);
        let mut world = read_world(&ports).await?;
        let roster = match &settings.roster {
            Some(signed) => {
                let highest = highest_epoch(&ports).await?.max(signed.highest_epoch);
                Some(signed.prove(&settings.gateway, highest).map_err(StartError::Roster)?)
            }
            None => None,
        };
        world.trust = Arc::new(Trust { site: settings.site(), roster: None });
        let sign_ins = SignIns::read(&*store, &world).await?;
        // A secret lives no longer than its sign-in and the grants it was made for, whatever the store still holds.
        let mut door_secrets = read_door_secrets(store.values(DOOR_SECRETS).await.map_err(Problem::from)?);
        door_secrets.retain(|(holder, resource), secrets| {
            secrets.retain(|(sign_in, _)| sign_ins.holds(holder, sign_in));
            let kept =
                |a: &safeconduct_lifecycle::Access| a.envelope.resource == *resource && matches!(a.state, AccessState::Active { .. });
            !secrets.is_empty() && world.access.of(holder).any(|a| kept(a))
        });
        let door_salt_key = door_salt_key(&ports).await?;
        let clock = EffectiveClock::new(Arc::clone(&ports.clock), high_water);
        let app = Self {
            node: Arc::new(Node {
                started_at: clock.now(),
                clock,
                ports,
                settings,
                key,
                facts: FactsService::start().map_err(StartError::Parser)?,
                world: arc_swap::ArcSwap::from_pointee(world),
                bundle_asked_for: arc_swap::ArcSwapOption::empty(),
                writer: Arc::default(),
                meters: Meters::new().map_err(StartError::Meters)?,
                draining: watch::Sender::new(false),
                bundle_problem: parking_lot::Mutex::default(),
                news: broadcast::Sender::new(NEWS_KEPT),
                doors: parking_lot::Mutex::default(),
                holds: parking_lot::Mutex::default(),
                runs: parking_lot::Mutex::default(),
                executor: std::sync::OnceLock::new(),
                minting: std::sync::OnceLock::new(),
                estimates: crate::estimates::Estimates::default(),
                given: parking_lot::Mutex::default(),
                providers: std::sync::OnceLock::new(),
                arrivals: crate::providers::Arrivals::default(),
                challenges: crate::passkeys::Challenges::default(),
                unknown_roles: parking_lot::Mutex::default(),
                sign_ins,
                counting: crate::insights::turns(),
                floods: Floods::default(),
                door_secrets: parking_lot::Mutex::new(door_secrets.into_iter().collect()),
                door_salt_key,
                function_classes: parking_lot::Mutex::default(),
                checkpoint_size: covered.into(),
                room: tokio::sync::Mutex::default(),
                publisher: tokio::sync::Mutex::new(()),
                deadline_changed: tokio::sync::Notify::new(),
            }),
        };
        app.load_active_bundle().await?;
        app.recover(behind, restored, roster).await?;
        app.tick().await?;
        Ok(app)
    }

    async fn load_active_bundle(&self) -> Result<(), Problem> {
        let policy = self.node.ports.store.load(StreamId::Policy).await?;
        let active = policy.iter().rev().find_map(|stored| match &stored.event {
            Some(Event::Policy(PolicyEvent::BundleApplied { hash, .. })) => Some(*hash),
            _ => None,
        });
        if let Some(hash) = active {
            let bundle = self.load_bundle(&hash).await?;
            let mut world = (*self.world()).clone();
            world.bundle = bundle;
            self.node.world.store(Arc::new(world));
        }
        Ok(())
    }

    /// Ends what was in the middle when the node stopped, and says so in the ledger.
    async fn recover(&self, behind: i64, restored: Option<String>, roster: Option<Roster>) -> Result<(), Problem> {
        let recovered = self.node.ports.recorder.recover().await?;
        let stopped_in_order = self.stopped_in_order().await?;
        let (guard, mut work) = self.begin().await;
        let at = work.now;
        if let Some(last_seen) = stopped_in_order {
            work.push(StreamId::Node, NodeEvent::CrashFound { last_seen, at });
        }
        if behind > TOLERATED_SECONDS {
            work.push(StreamId::Node, NodeEvent::ClockBehind { seconds: behind.unsigned_abs(), at });
        }
        work.push(
            StreamId::Node,
            NodeEvent::Started {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                gateway: self.node.settings.gateway.clone(),
                signing_page: self.node.settings.signing_page,
                at,
            },
        );
        if let Some(why) = &restored {
            tracing::warn!(why, "the store was put back from a copy: every grant in it ends");
            work.push(StreamId::Node, NodeEvent::Restored { why: why.clone(), at });
        }
        for journal in &recovered {
            self.enter_recovered(&mut work, journal).await?;
        }
        let sessions: Vec<_> = work.world.sessions.values().filter(|s| s.closed.is_none()).cloned().collect();
        for session in sessions {
            let closed = SessionEvent::Closed { why: "the gateway stopped".to_owned(), statements: session.statements, at };
            work.push(StreamId::Session(session.id.clone()), closed);
        }
        let open: Vec<_> = work.world.access.values().cloned().collect();
        for access in open {
            let id = &access.envelope.access_request;
            if restored.is_some() && end_restored(&mut work, &access) {
                continue;
            }
            let by = Actor::Gateway { cause: "restart".to_owned() };
            let held = matches!(access.envelope.origin, Origin::Held { .. });
            match &access.state {
                AccessState::Pending if held => {
                    // What time ended while the gateway was down is ended by the tick that follows.
                    if let Err(refused) = work.run(id, Command::Withdraw { by, why: Withdrawal::Restarted }) {
                        tracing::info!(access_request = %id, %refused, "not withdrawn");
                    }
                }
                AccessState::Ready { .. } if held => {
                    let reason = "the session it was held in is gone".to_owned();
                    if let Err(refused) = work.run(id, Command::Revoke { by, reason }) {
                        tracing::warn!(access_request = %id, %refused, "not revoked");
                    }
                }
                AccessState::Claimed { .. } => {
                    let why = "the gateway stopped between taking it up and the answer".to_owned();
                    self.run(&mut work, id, Command::Settle { outcome: ExactOutcome::Unknown { why } })?;
                }
                _ => {}
            }
        }
        if let (Some(roster), Some(signed)) = (roster, &self.node.settings.roster) {
            self.keep_roster(signed).await?;
            record_roster(&mut work, &roster, &signed.text);
            work.world.trust = Arc::new(Trust { site: work.world.trust.site.clone(), roster: Some(roster) });
        }
        self.revoke_unproved(&mut work);
        self.commit(guard, work).await?;
        for journal in &recovered {
            // Reported again at the next start, and found to be in the ledger already.
            if let Err(error) = self.node.ports.recorder.settled(&journal.session).await {
                tracing::warn!(%error, session = %journal.session, "a recovered recording is not marked as settled");
            }
        }
        Ok(())
    }

    /// Makes what a recovered journal says part of this unit, unless the ledger has it.
    async fn enter_recovered(&self, work: &mut Work, journal: &Recovered) -> Result<(), Problem> {
        let at = work.now;
        if !work.world.sessions.contains_key(&journal.session)
            && let Some(session) = self.load_session(&journal.session).await?
        {
            work.recall_session(session);
        }
        let Some(session) = work.world.sessions.get(&journal.session).cloned() else {
            return self.enter_without_session(work, journal).await;
        };
        let stream = StreamId::Session(journal.session.clone());
        for chunk in journal.chunks.iter().filter(|chunk| !session.chunks.iter().any(|known| known.number == chunk.number)) {
            work.push(stream.clone(), SessionEvent::ChunkSealed { chunk: chunk.clone(), at });
        }
        if session.closed.is_some() {
            // Whoever recorded the close recorded the rest with it.
            return Ok(());
        }
        let open: Vec<String> = journal
            .open_intents
            .iter()
            .filter_map(|record| match &record.what {
                What::Intent { statement, .. } => Some(statement.to_string()),
                _ => None,
            })
            .collect();
        let unknown = (!open.is_empty()).then(|| format!("statements without a known outcome: {}", open.join(", ")));
        for why in journal.lost.clone().into_iter().chain(unknown) {
            work.push(stream.clone(), SessionEvent::RecordingLost { why, at });
        }
        Ok(())
    }

    /// A journal whose session was never recorded as open: the gateway died between the two, or the store lost it.
    async fn enter_without_session(&self, work: &mut Work, journal: &Recovered) -> Result<(), Problem> {
        let said = self.node.ports.store.load(StreamId::Node).await?.into_iter().any(|stored| {
            matches!(stored.event, Some(Event::Node(NodeEvent::RecordingWithoutSession { session, .. })) if session == journal.session)
        });
        if !said {
            let (session, chunks, lost) = (journal.session.clone(), journal.chunks.clone(), journal.lost.clone());
            tracing::warn!(%session, "a recovered recording belongs to no session");
            work.push(StreamId::Node, NodeEvent::RecordingWithoutSession { session, chunks, lost, at: work.now });
        }
        Ok(())
    }

    /// When the node was last seen, unless it stopped in order or never ran.
    async fn stopped_in_order(&self) -> Result<Option<safeconduct_model::Timestamp>, Problem> {
        let events = self.node.ports.store.load(StreamId::Node).await?;
        let last: Option<&Stored> = events.last();
        Ok(match last.map(|stored| &stored.event) {
            None | Some(Some(Event::Node(NodeEvent::Stopped { .. }))) => None,
            Some(_) => self.node.ports.store.high_water().await?,
        })
    }

    /// Takes no session any more; those that do nothing end at once, others when their transaction does.
    /// [`App::is_empty`] resolves when none is left.
    pub async fn drain(&self) {
        self.node.draining.send_replace(true);
        // A session that is opening has been told no, or is in the map when the writer is free.
        drop(self.begin().await);
        let doors: Vec<_> = self.node.doors.lock().values().cloned().collect();
        for door in doors {
            door.drain();
        }
    }

    /// True once the gateway is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.node.draining.borrow()
    }

    /// Tells doors when they take no more connections.
    #[must_use]
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.node.draining.subscribe()
    }

    /// Resolves when there is no session and no exact action runs.
    pub async fn is_empty(&self) {
        while !self.node.doors.lock().is_empty() || !self.node.runs.lock().is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until no closed session has a login role left.
    async fn roles_are_retired(&self) {
        while self.unretired_roles() > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How many sessions are open and exact actions run.
    #[must_use]
    pub fn open_work(&self) -> usize {
        self.node.doors.lock().len() + self.node.runs.lock().len()
    }

    /// Says how the bundle that is watched stands: `Err` has its mistakes, and the one before applies.
    pub fn watched_bundle(&self, stands: Result<(), String>) {
        self.node.meters.bundle_applies(stands.is_ok());
        *self.node.bundle_problem.lock() = stands.err();
    }

    /// Cuts every session, and records that the node stopped in order.
    pub async fn shutdown(&self) {
        let doors: Vec<_> = self.node.doors.lock().values().cloned().collect();
        for door in doors {
            door.end("the gateway is stopping".to_owned(), self.now());
        }
        for stop in self.node.runs.lock().values() {
            stop.send_replace(true);
        }
        // Nobody waits longer for a client that does not go.
        let _ = tokio::time::timeout(CUT_WITHIN, self.is_empty()).await;
        // What is not retired by then is retired after the next start.
        let _ = tokio::time::timeout(CUT_WITHIN, self.roles_are_retired()).await;
        if let Err(problem) = self.tell_left_out(true).await {
            tracing::error!(%problem, "what was left out could not be recorded");
        }
        let (guard, mut work) = self.begin().await;
        let at = work.now;
        work.push(StreamId::Node, NodeEvent::Stopped { at });
        self.write_uses(true).await;
        if let Err(problem) = self.commit(guard, work).await {
            tracing::error!(%problem, "the stop could not be recorded");
        }
        if let Err(problem) = self.publish_checkpoint().await {
            tracing::error!(%problem, "the last checkpoint could not be published");
        }
    }

    /// Ticks in the background; stops when the sender is dropped or says so.
    #[must_use]
    pub fn ticking(&self) -> watch::Sender<bool> {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(self.clone().tick_forever(stopped));
        stop
    }

    /// Activates a bundle at the machine: the first one, or one that `serve --bundle` watches. A standing privilege, and recorded as one.
    ///
    /// # Errors
    /// `POLICY-001` with every mistake; nothing changes then.
    pub async fn operator_policy(&self, files: &BundleFiles) -> Result<(), Problem> {
        let hash = self.keep_bundle(files).await?;
        if self.world().bundle.hash == hash {
            return Ok(());
        }
        let (guard, mut work) = self.begin().await;
        self.perform(&mut work, &Actor::Gateway { cause: "operator".to_owned() }, &Change::ApplyPolicy { hash }).await?;
        self.follow_up(&mut work).await?;
        self.commit(guard, work).await
    }

    /// Makes the first people and workloads, at the machine, while there is nobody. Returns what each signs in with, if it was made here.
    ///
    /// # Errors
    /// `ADMIN-003` once there is anybody: from then on administrators ask for changes.
    pub async fn operator_people(&self, people: Vec<Person>) -> Result<Vec<Option<crate::OneTime>>, Problem> {
        for password in people.iter().filter_map(|person| person.password.as_ref()) {
            // Before anybody is made: this can't be repeated once there is somebody.
            crate::passwords::check_strength(password)?;
        }
        let (guard, mut work) = self.begin().await;
        if work.world.directory.iter().next().is_some() {
            return Err(
                Problem::new("ADMIN-003", ProblemKind::Denied, "there are people already").next("an administrator asks for changes")
            );
        }
        let by = Actor::Gateway { cause: "operator".to_owned() };
        for person in &people {
            let (name, display_name) = (person.name.clone(), person.display_name.clone());
            let create = if person.workload {
                Change::CreateWorkload { name, display_name, scopes: None }
            } else {
                Change::CreatePerson { name, display_name }
            };
            self.perform(&mut work, &by, &create).await?;
            for group in &person.groups {
                self.perform(&mut work, &by, &Change::AddMember { group: group.clone(), name: person.name.clone() }).await?;
            }
        }
        self.follow_up(&mut work).await?;
        self.commit(guard, work).await?;
        let mut handed_out = Vec::new();
        for person in people {
            handed_out.push(match (person.workload, person.password) {
                (true, _) => Some(self.issue_token(&person.name, None).await?),
                (false, None) => Some(self.issue_code(&person.name).await?),
                (false, Some(password)) => {
                    self.set_password(&person.name, password).await?;
                    None
                }
            });
        }
        Ok(handed_out)
    }
}

/// Ends what a backup brought back. False for what was running: its outcome is settled as after any stop.
fn end_restored(work: &mut Work, access: &safeconduct_lifecycle::Access) -> bool {
    let by = Actor::Gateway { cause: "restore".to_owned() };
    let command = match &access.state {
        AccessState::Pending => Command::Withdraw { by, why: Withdrawal::Restored },
        AccessState::Scheduled { .. } | AccessState::Ready { .. } | AccessState::Active { .. } => {
            Command::Revoke { by, reason: "the store was put back from a backup".to_owned() }
        }
        _ => return false,
    };
    if let Err(refused) = work.run(&access.envelope.access_request, command) {
        // Its time was over anyway: the tick that follows says so.
        tracing::info!(access_request = %access.envelope.access_request, %refused, "not ended");
    }
    true
}

/// Removes all stored values of these kinds.
async fn forget(ports: &Ports, kinds: &[&str]) -> Result<(), Problem> {
    for kind in kinds {
        let values = ports.store.values(kind).await?;
        let gone = values.into_iter().map(|(key, _)| ValueChange { kind: (*kind).to_owned(), key, value: None }).collect();
        ports.store.put_values(gone).await?;
    }
    Ok(())
}

async fn read_world(ports: &Ports) -> Result<World, Problem> {
    let empty = crate::admin::parse_bundle(&BundleFiles { files: BTreeMap::new() })?;
    let mut world = World::new(empty);
    let mut streams = vec![StreamId::Directory, StreamId::Policy, StreamId::Node];
    let mut query = AccessQuery { open: Some(true), limit: 1000, ..AccessQuery::default() };
    loop {
        let rows = ports.store.access_requests(query.clone()).await?;
        let full = rows.len() == 1000;
        query.before = rows.last().map(|row| row.id.clone());
        streams.extend(rows.into_iter().map(|row| StreamId::Access(row.id)));
        if !full {
            break;
        }
    }
    let mut query = SessionQuery { live: Some(true), limit: 1000, ..SessionQuery::default() };
    loop {
        let rows = ports.store.sessions(query.clone()).await?;
        let full = rows.len() == 1000;
        query.before = rows.last().map(|row| row.id.clone());
        streams.extend(rows.into_iter().map(|row| StreamId::Session(row.id)));
        if !full {
            break;
        }
    }
    for stream in streams {
        for stored in ports.store.load(stream).await? {
            match &stored.event {
                Some(event) => world.apply(&stored.stream, event),
                None => {
                    tracing::warn!(index = stored.index, "the body of an event of something open was erased");
                    world.pass_over(&stored.stream);
                }
            }
        }
    }
    // As long as everybody's history, and nothing in it matters but its length.
    world.skip(StreamId::SignIns, ports.store.version(StreamId::SignIns).await?);
    Ok(world)
}

/// The highest epoch of a roster that the ledger knows to have been in force.
async fn highest_epoch(ports: &Ports) -> Result<u64, Problem> {
    let policy = ports.store.load(StreamId::Policy).await?;
    let epochs = policy.iter().filter_map(|stored| match &stored.event {
        Some(Event::Policy(PolicyEvent::RosterApplied { epoch, .. })) => Some(*epoch),
        _ => None,
    });
    Ok(epochs.max().unwrap_or_default())
}

async fn door_salt_key(ports: &Ports) -> Result<[u8; 32], Problem> {
    let mut key = [0_u8; 32];
    ports.entropy.fill(&mut key)?;
    ports.store.put_value_if_absent(NODE, "door-salt-key", key.to_vec()).await?;
    let stored = ports.store.value(NODE, "door-salt-key").await?;
    stored
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| Problem::new("STORE-001", ProblemKind::Unavailable, "the store does not keep what it is given"))
}

/// A secret that could not be read. The reference is named, never a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("environment variable `{0}` is not set")]
    NoVariable(String),
    #[error("secret file `{path}` can't be read")]
    Unreadable {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

/// Reads a secret by its reference. A line break at its end is dropped.
///
/// # Errors
/// [`SecretError`] names the reference.
pub fn read_secret(reference: &SecretRef) -> Result<Zeroizing<String>, SecretError> {
    let mut secret = match reference {
        SecretRef::Env(name) => Zeroizing::new(std::env::var(name).map_err(|_| SecretError::NoVariable(name.clone()))?),
        SecretRef::File(path) => {
            Zeroizing::new(std::fs::read_to_string(path).map_err(|source| SecretError::Unreadable { path: path.clone(), source })?)
        }
    };
    while secret.ends_with(['\n', '\r']) {
        secret.pop();
    }
    Ok(secret)
}
