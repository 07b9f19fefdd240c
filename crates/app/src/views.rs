//! Looking: what callers see, and what they may not even know of. Looking never decides anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use safeconduct_lifecycle::{Access, AccessState, Chunk, Session, StreamId, check_reviewer};
use safeconduct_model::{
    AccessRequestId, Digest, GroupName, Operation, OperationSet, Outcome, PersonAttribute, Principal, PrincipalKind, PrincipalName,
    Resource, ResourceName, SessionId, Timestamp, Ttl, Words,
};
use safeconduct_policy::{Approvals, AskedContext, BundleFiles, Evaluation, Explanation, NowContext, Plan, RecordedEvaluation};
use safeconduct_sql::Facts;
use tokio::sync::broadcast::error::RecvError;

use crate::{
    admin::{parse_bundle, standing_privilege},
    identity::Caller,
    judge::names,
    meters::Standing,
    node::App,
    ports::{AccessQuery, Record, SessionQuery, Stored, TreeHead},
    problem::{Problem, ProblemKind},
    publish::News,
    requests::{Came, askable},
    world::World,
};

/// Most items one list returns.
const MAX_LIST: u32 = 200;
/// Shortest time between two looks at the room on the disks.
const ROOM_TRIED_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// Recent access requests a plan is tried on.
const PLAN_OVER: u32 = 200;

/// An access request as a caller sees it.
#[derive(Clone, Debug)]
pub struct AccessView {
    pub access: Access,
    /// Derived by the gateway from the exact action.
    pub facts: Option<Arc<Facts>>,
    /// How many more people the nearest quorum needs.
    pub quorum_missing: Option<u32>,
    /// Who could approve it.
    pub eligible: Vec<PrincipalName>,
    /// True if this caller may approve it now.
    pub may_approve: bool,
    /// The caller may end the grant that came of it, which is live. Ending waits for nobody.
    pub may_revoke: bool,
    /// True if the server holds what is granted too: sessions there have a login role of their own.
    pub second_lock: bool,
    /// Everything that happened to it.
    pub history: Vec<Stored>,
    /// True if the same was asked already and this is that one.
    pub merged: bool,
}

/// Which access requests to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Mine,
    /// Waiting for this caller.
    ToApprove,
    /// Everything the caller may see.
    All,
}

/// What may be asked of a resource.
#[derive(Clone, Debug)]
pub struct ResourceView {
    pub name: ResourceName,
    pub kind: &'static str,
    pub description: String,
    pub sensitivity: &'static str,
    pub labels: BTreeMap<String, String>,
    /// Operation, whether only as one exact action, policy's answer, longest duration.
    pub operations: Vec<(Operation, bool, Outcome, Option<Ttl>)>,
}

/// A recording with the state of its proof.
#[derive(Clone, Debug)]
pub struct Replay {
    pub session: Session,
    pub records: Vec<Record>,
    /// Sealed chunks, each with whether what is on disk has the digest in the ledger.
    pub chunks: Vec<(Chunk, bool)>,
}

/// How the gateway is.
#[derive(Clone, Debug)]
pub struct Status {
    pub gateway: String,
    /// Who could do something alone, and why. Empty is the promise kept.
    pub standing_privilege: Vec<String>,
    pub frozen: Option<String>,
    /// Why the bundle that is watched does not apply; the one before does.
    pub bundle_problem: Option<String>,
    /// True while sessions end because the gateway is about to stop.
    pub draining: bool,
    pub policy: Digest,
    /// Of the document that people sign with in a browser.
    pub signing_page: Option<Digest>,
    pub live_grants: usize,
    pub live_sessions: usize,
    /// Login roles of closed sessions that are not proved to be retired; each is tried for ever.
    pub unretired_roles: usize,
    /// Roles at servers that are named like those of sessions and that no session accounts for.
    pub unknown_roles: Vec<String>,
    pub pending: usize,
    pub ledger: Option<TreeHead>,
    /// Entries covered by the newest checkpoint.
    pub checkpoint_size: u64,
}

/// A question to `policy explain`.
#[derive(Clone, Debug)]
pub struct ExplainQuestion {
    pub principal: PrincipalName,
    pub resource: ResourceName,
    pub operations: OperationSet,
    pub exact: bool,
    /// A statement to take facts from; its operations are added.
    pub text: Option<String>,
    pub reason: String,
    pub ticket: Option<String>,
    pub duration: Ttl,
    pub at: Option<Timestamp>,
    /// As if a provisioning source said this of the person, beside what it does say.
    pub attributes: BTreeMap<PersonAttribute, String>,
    /// As if this were kept of the sign-in, beside what is, where the caller asks about themselves.
    pub claims: BTreeMap<String, Words>,
}

impl App {
    pub(crate) fn may_administer(&self, world: &World, caller: &Caller, operation: Operation, now: Timestamp) -> bool {
        world.directory.find(&caller.name).is_some_and(|principal| world.may_administer(principal, operation, now))
    }

    /// True if the caller may know of this access request: its requester, who may or did approve it, auditors.
    pub(crate) fn sees(&self, world: &World, caller: &Caller, access: &Access, now: Timestamp) -> bool {
        if access.envelope.requester == caller.name || access.approvals.iter().any(|a| a.approver == caller.name) {
            return true;
        }
        if self.may_administer(world, caller, Operation::Audit, now) {
            return true;
        }
        let facts = self.facts_of(world, &access.envelope);
        world
            .reviewer(&caller.name, &access.envelope, facts.as_deref(), now)
            .is_some_and(|reviewer| check_reviewer(&access.envelope, &reviewer).is_ok())
    }

    /// True if the caller may hear of this.
    #[must_use]
    pub fn may_see(&self, caller: &Caller, news: &News) -> bool {
        let (world, now) = (self.world(), self.now());
        match (&news.access, &news.principal) {
            (Some(access), _) => self.sees(&world, caller, access, now),
            (None, Some(principal)) if *principal == caller.name => true,
            _ => self.may_administer(&world, caller, Operation::Audit, now),
        }
    }

    pub(crate) async fn view(&self, caller: &Caller, access: Access) -> Result<AccessView, Problem> {
        let history = self.node.ports.store.load(StreamId::Access(access.envelope.access_request.clone())).await?;
        Ok(self.view_with(caller, access, history))
    }

    fn view_with(&self, caller: &Caller, access: Access, history: Vec<Stored>) -> AccessView {
        let (world, now) = (self.world(), self.now());
        let facts = self.facts_of(&world, &access.envelope);
        let pending = matches!(access.state, AccessState::Pending);
        let eligible = if pending { world.eligible(&access.envelope, facts.as_deref(), now) } else { Vec::new() };
        let approved = access.approvals.iter().any(|a| a.approver == caller.name);
        let may_approve = !approved && eligible.iter().any(|r| r.name == caller.name);
        let quorum_missing = access.quorum().filter(|_| pending).map(|q| q.missing(&access.counted()));
        let postgres = world.resource(&access.envelope.resource).and_then(|resource| resource.postgres());
        let second_lock = postgres.is_some_and(|postgres| postgres.credentials.minted().is_some());
        let live = matches!(
            access.state,
            AccessState::Scheduled { .. } | AccessState::Ready { .. } | AccessState::Active { .. } | AccessState::Claimed { .. }
        );
        let may_revoke = live && self.may_revoke(&world, caller, &access, facts.as_deref(), now);
        let eligible = names(&eligible);
        AccessView { facts, quorum_missing, eligible, may_approve, may_revoke, second_lock, history, merged: false, access }
    }

    /// One access request.
    ///
    /// # Errors
    /// `REQ-008`, the same for what does not exist and what the caller may not see.
    pub async fn access(&self, caller: &Caller, id: &AccessRequestId) -> Result<AccessView, Problem> {
        let access = self.load_access(id).await?.ok_or_else(|| Problem::not_found("access request"))?;
        if !self.sees(&self.world(), caller, &access, self.now()) {
            return Err(Problem::not_found("access request"));
        }
        self.view(caller, access).await
    }

    /// Access requests, newest first. Histories are left out.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn access_requests(&self, caller: &Caller, list: List, mut query: AccessQuery) -> Result<Vec<AccessView>, Problem> {
        query.limit = query.limit.clamp(1, MAX_LIST);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        match list {
            List::Mine => query.requester = Some(caller.name.clone()),
            List::ToApprove => query.state = Some("pending".to_owned()),
            List::All => {}
        }
        let (world, now) = (self.world(), self.now());
        let mut views = Vec::new();
        loop {
            let rows = self.node.ports.store.access_requests(query.clone()).await?;
            let last = rows.last().map(|row| row.id.clone());
            let full = u32::try_from(rows.len()).unwrap_or(u32::MAX) == query.limit;
            for row in rows {
                let Some(access) = self.load_access(&row.id).await? else { continue };
                if !self.sees(&world, caller, &access, now) {
                    continue;
                }
                let view = self.view_with(caller, access, Vec::new());
                if list != List::ToApprove || view.may_approve {
                    views.push(view);
                }
                if views.len() == limit {
                    return Ok(views);
                }
            }
            match last {
                Some(last) if full => query.before = Some(last),
                _ => return Ok(views),
            }
        }
    }

    /// Resolves when the access request is decided, or when the time is up; then it is still pending in the answer.
    ///
    /// # Errors
    /// As [`App::access`].
    pub async fn wait(&self, caller: &Caller, id: &AccessRequestId, timeout: Duration) -> Result<AccessView, Problem> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut news = self.subscribe();
        loop {
            let view = self.access(caller, id).await?;
            if !matches!(view.access.state, AccessState::Pending) {
                return Ok(view);
            }
            loop {
                match tokio::time::timeout_at(deadline, news.recv()).await {
                    Err(_) => return Ok(view),
                    Ok(Ok(item)) if matches!(&item.stream, StreamId::Access(about) if about == id) => break,
                    Ok(Ok(_)) => {}
                    Ok(Err(RecvError::Lagged(_))) => break,
                    Ok(Err(RecvError::Closed)) => return Ok(view),
                }
            }
        }
    }

    /// Everything that becomes true from here on. Filter with [`App::may_see`].
    #[must_use]
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<Arc<News>> {
        self.node.news.subscribe()
    }

    /// What the caller may ask for.
    ///
    /// # Errors
    /// `SIGN-002` for a caller the directory no longer has.
    pub async fn resources(&self, caller: &Caller) -> Result<Vec<ResourceView>, Problem> {
        let (world, now) = (self.world(), self.now());
        let principal = world.directory.find(&caller.name).ok_or_else(Problem::not_signed_in)?;
        let (mut views, came) = (Vec::new(), Came::of(caller));
        for resource in world.bundle.resources.values() {
            let operations: Vec<_> = askable(resource)
                .into_iter()
                .filter_map(|(operation, exact)| {
                    let decision = self.outcome_for(&world, principal, resource, operation, exact, &came, now);
                    (decision.outcome != Outcome::Deny).then_some((operation, exact, decision.outcome, decision.obligations.max_duration))
                })
                .collect();
            if !operations.is_empty() {
                views.push(ResourceView {
                    name: resource.name.clone(),
                    kind: resource.kind.name(),
                    description: resource.description.clone(),
                    sensitivity: resource.sensitivity.name(),
                    labels: resource.labels.clone(),
                    operations,
                });
            }
        }
        Ok(views)
    }

    /// Sessions, newest first: one's own, or everybody's for auditors.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn sessions(&self, caller: &Caller, mut query: SessionQuery) -> Result<Vec<Session>, Problem> {
        query.limit = query.limit.clamp(1, MAX_LIST);
        if !self.may_administer(&self.world(), caller, Operation::Audit, self.now()) {
            query.principal = Some(caller.name.clone());
        }
        let mut sessions = Vec::new();
        for row in self.node.ports.store.sessions(query).await? {
            sessions.extend(self.load_session(&row.id).await?);
        }
        Ok(sessions)
    }

    pub(crate) async fn load_session(&self, id: &SessionId) -> Result<Option<Session>, Problem> {
        if let Some(session) = self.world().sessions.get(id) {
            return Ok(Some((**session).clone()));
        }
        let stored = self.node.ports.store.load(StreamId::Session(id.clone())).await?;
        let session = stored.iter().fold(None, |session, stored| match &stored.event {
            Some(safeconduct_lifecycle::Event::Session(event)) => safeconduct_lifecycle::evolve_session(session, id, event),
            _ => session,
        });
        // Erased events count: the next one follows them.
        let version = u64::try_from(stored.len()).unwrap_or(u64::MAX);
        Ok(session.map(|session| Session { version, ..session }))
    }

    pub(crate) async fn seen_session(&self, caller: &Caller, id: &SessionId) -> Result<Session, Problem> {
        let hidden = || Problem::not_found("session");
        let session = self.load_session(id).await?.ok_or_else(hidden)?;
        let allowed = session.principal == caller.name || self.may_administer(&self.world(), caller, Operation::Audit, self.now());
        if allowed { Ok(session) } else { Err(hidden()) }
    }

    /// Cuts a live session: one's own, or anybody's for administrators. The grant stays.
    ///
    /// # Errors
    /// `REQ-008` if there is none to see, `SESSION-001` if it is over, `GRANT-004` if the caller may not.
    pub async fn kill(&self, caller: &Caller, id: &SessionId, reason: Words) -> Result<(), Problem> {
        let session = self.seen_session(caller, id).await?;
        let may_end = session.principal == caller.name || self.may_administer(&self.world(), caller, Operation::EndAccess, self.now());
        if !may_end {
            return Err(
                Problem::new("GRANT-004", ProblemKind::Denied, "you may not end this session").next("its holder and administrators may")
            );
        }
        let door = self.node.doors.lock().get(id).cloned();
        let door = door.ok_or_else(|| Problem::new("SESSION-001", ProblemKind::Conflict, "this session is over"))?;
        door.end(format!("session {id} was ended by {}: {reason}", caller.name), self.now());
        Ok(())
    }

    /// When an open session ends as things stand: with the last of its grants. `None` if it is over.
    #[must_use]
    pub fn session_until(&self, id: &SessionId) -> Option<Timestamp> {
        let door = self.node.doors.lock().get(id).cloned()?;
        door.grants.load().iter().filter_map(|access| access.deadline()).max()
    }

    /// What was recorded of a session.
    ///
    /// # Errors
    /// `REQ-008` if there is none to see; `STORE-003` if it can't be read.
    pub async fn replay(&self, caller: &Caller, id: &SessionId, from: u64, limit: u32) -> Result<Replay, Problem> {
        let session = self.seen_session(caller, id).await?;
        let records = self.node.ports.recorder.read(id, from, limit.clamp(1, 10_000)).await?;
        let mut chunks = Vec::new();
        for chunk in &session.chunks {
            let on_disk = self.node.ports.recorder.chunk_digest(id, chunk.number).await?;
            chunks.push((chunk.clone(), on_disk == Some(chunk.digest)));
        }
        Ok(Replay { session, records, chunks })
    }

    /// How the gateway is.
    pub async fn status(&self) -> Status {
        let (world, now) = (self.world(), self.now());
        // Before anything is waited for: whoever holds this lock meanwhile would block every commit.
        let live_sessions = self.node.doors.lock().len();
        let unknown_roles = self.node.unknown_roles.lock().values().flatten().cloned().collect();
        let bundle_problem = self.node.bundle_problem.lock().clone();
        Status {
            gateway: self.node.settings.gateway.clone(),
            standing_privilege: standing_privilege(&world, self.node.settings.bundle_watched),
            frozen: world.frozen.clone(),
            bundle_problem,
            draining: self.is_draining(),
            policy: world.bundle.hash,
            signing_page: self.node.settings.signing_page,
            live_grants: world.access.values().filter(|a| a.is_live(now)).count(),
            live_sessions,
            unretired_roles: self.unretired_roles(),
            unknown_roles,
            pending: world.access.values().filter(|a| matches!(a.state, AccessState::Pending)).count(),
            ledger: self.node.ports.store.tree_head().await.ok(),
            checkpoint_size: self.node.checkpoint_size.load(std::sync::atomic::Ordering::Acquire),
        }
    }

    /// All figures in Prometheus' text format.
    pub async fn figures(&self) -> String {
        let (world, now) = (self.world(), self.now());
        let (sessions, holds, runs) = (self.node.doors.lock().len(), self.node.holds.lock().len(), self.node.runs.lock().len());
        let mut grants: BTreeMap<String, usize> = world.bundle.resources.keys().map(|name| (name.to_string(), 0)).collect();
        for access in world.access.values().filter(|a| world.frozen.is_none() && a.is_live(now)) {
            *grants.entry(access.envelope.resource.to_string()).or_default() += 1;
        }
        let entries = self.node.ports.store.tree_head().await.ok().map(|head| head.size);
        self.node.meters.credentials_unretired(self.unretired_roles());
        self.node.meters.text(&Standing {
            sessions,
            holds,
            runs,
            pending: world.access.values().filter(|a| matches!(a.state, AccessState::Pending)).count(),
            grants: grants.into_iter().collect(),
            frozen: world.frozen.is_some(),
            ready: self.ready().await.is_ok(),
            entries,
            covered: self.node.checkpoint_size.load(std::sync::atomic::Ordering::Acquire),
            boot: self.node.ports.clock.boot(),
        })
    }

    /// Whether the gateway can do its work. Its disks are tried at most once a second: strangers may ask this.
    ///
    /// # Errors
    /// `STORE-001` if the store can't take more, `STORE-003` if sessions can't be recorded, `CLOCK-001` while frozen, `NODE-001` once it is about to stop.
    pub async fn ready(&self) -> Result<(), Problem> {
        if self.is_draining() {
            return Err(Problem::new("NODE-001", ProblemKind::Unavailable, "the gateway is about to stop").next("wait until it runs again"));
        }
        if let Some(why) = &self.world().frozen {
            return Err(Problem::frozen(why));
        }
        let boot = self.node.ports.clock.boot();
        let mut tried = self.node.room.lock().await;
        if tried.as_ref().is_none_or(|(at, _)| boot.saturating_sub(*at) >= ROOM_TRIED_EVERY) {
            *tried = Some((boot, self.has_room().await));
        }
        tried.as_ref().map_or(Ok(()), |(_, room)| room.clone())
    }

    async fn has_room(&self) -> Result<(), Problem> {
        self.node.ports.store.has_room().await?;
        Ok(self.node.ports.recorder.has_room().await?)
    }

    /// Everybody in the directory.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit.
    pub fn principals(&self, caller: &Caller) -> Result<Vec<Principal>, Problem> {
        let world = self.world();
        self.may_list(&world, caller)?;
        Ok(world.directory.iter().cloned().collect())
    }

    /// Who everybody is at identity providers: issuers and subjects by name.
    ///
    /// # Errors
    /// As [`App::principals`].
    pub fn identities(&self, caller: &Caller) -> Result<BTreeMap<PrincipalName, Vec<(String, String)>>, Problem> {
        let world = self.world();
        self.may_list(&world, caller)?;
        let owned = |(issuer, subject): (&str, &str)| (issuer.to_owned(), subject.to_owned());
        let of = |name: &PrincipalName| (name.clone(), world.directory.identities(name).map(owned).collect());
        Ok(world.directory.iter().map(|principal| of(&principal.name)).collect())
    }

    /// Who has still to be let in by an administrator.
    ///
    /// # Errors
    /// As [`App::principals`].
    pub fn waiting(&self, caller: &Caller) -> Result<BTreeSet<PrincipalName>, Problem> {
        let world = self.world();
        self.may_list(&world, caller)?;
        Ok(world.directory.iter().map(|principal| &principal.name).filter(|name| world.directory.is_waiting(name)).cloned().collect())
    }

    /// Every group with its members.
    ///
    /// # Errors
    /// As [`App::principals`].
    pub fn groups(&self, caller: &Caller) -> Result<BTreeMap<GroupName, BTreeSet<PrincipalName>>, Problem> {
        let world = self.world();
        self.may_list(&world, caller)?;
        Ok(world.directory.groups())
    }

    fn may_list(&self, world: &World, caller: &Caller) -> Result<(), Problem> {
        if self.may_administer(world, caller, Operation::Audit, self.now()) {
            Ok(())
        } else {
            Err(Problem::new("VIEW-001", ProblemKind::Denied, "you may not list people").next("auditors and administrators may"))
        }
    }

    /// Which policies allow or forbid something, and what would have to be true. About oneself, or anybody for auditors.
    ///
    /// # Errors
    /// `RES-001` for a resource the caller may not know; `VIEW-001` for questions about others.
    pub fn explain(&self, caller: &Caller, question: ExplainQuestion) -> Result<Explanation, Problem> {
        let world = self.world();
        let now = question.at.unwrap_or_else(|| self.now());
        if question.principal != caller.name {
            self.may_list(&world, caller)?;
        }
        let unknown = || Problem::no_resource(question.resource.as_str());
        let resource = world.resource(&question.resource).ok_or_else(unknown)?;
        if !self.may_know(&world, caller, resource, now) && self.may_list(&world, caller).is_err() {
            return Err(unknown());
        }
        let mut principal = world.directory.find(&question.principal).cloned().ok_or_else(|| Problem::not_found("principal"))?;
        if principal.kind == PrincipalKind::Workload && !question.attributes.is_empty() {
            return Err(Problem::invalid("attributes are of people: nothing describes workloads"));
        }
        principal.attributes.extend(question.attributes);
        let known = if question.principal == caller.name { caller.claims.clone() } else { BTreeMap::new() };
        let claims = known.into_iter().chain(question.claims).collect::<BTreeMap<_, _>>();
        let facts = question.text.as_ref().map(|text| self.facts_for(&world, &question.resource, text));
        let mut operations = question.operations.clone();
        if let Some(facts) = &facts {
            operations.extend(&facts.operations);
        }
        let operations: OperationSet = operations.iter().filter(|op| *op != Operation::Connect).collect();
        if operations.is_empty() {
            return Err(Problem::invalid("name an operation or a statement"));
        }
        let asked = AskedContext {
            reason: question.reason,
            ticket: question.ticket,
            duration: question.duration,
            source: safeconduct_policy::address(&caller.source),
            sign_in: caller.method.clone(),
            sign_in_age_seconds: 0,
            claims: claims.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect(),
        };
        let others = world.directory.administrators_other_than(Some(&principal.name));
        let now = NowContext {
            time: now,
            source: safeconduct_policy::address(&caller.source),
            facts: facts.as_deref().map(crate::judge::facts_context),
            other_administrators: u32::try_from(others).unwrap_or(u32::MAX),
        };
        Ok(world.bundle.policy.explain(&Evaluation {
            principal: &principal,
            resource,
            operations: &operations,
            exact: question.exact,
            asked: &asked,
            now: &now,
            approvals: Approvals::Unknown,
        }))
    }

    /// What a bundle would change, tried on recent access requests.
    ///
    /// # Errors
    /// `POLICY-001` with every mistake; `VIEW-001` for who may not see others' access requests.
    pub async fn plan(&self, caller: &Caller, files: BundleFiles) -> Result<Plan, Problem> {
        let world = self.world();
        self.may_list(&world, caller)?;
        let new = parse_bundle(&files)?;
        let query = AccessQuery { limit: PLAN_OVER, ..AccessQuery::default() };
        let mut recent = Vec::new();
        for row in self.node.ports.store.access_requests(query).await? {
            let Some(access) = self.load_access(&row.id).await? else { continue };
            let envelope = &access.envelope;
            let Some(principal) = world.directory.find(&envelope.requester).cloned() else { continue };
            let facts = self.facts_of(&world, envelope);
            let others = world.directory.administrators_other_than(Some(&principal.name));
            recent.push(RecordedEvaluation {
                label: row.id.to_string(),
                principal,
                resource: envelope.resource.clone(),
                operations: envelope.scope.operations().iter().filter(|op| *op != Operation::Connect).collect(),
                exact: envelope.scope.is_exact(),
                asked: AskedContext::of_envelope(envelope),
                now: NowContext {
                    time: envelope.asked_at,
                    source: safeconduct_policy::address(&envelope.asked.source),
                    facts: facts.as_deref().map(crate::judge::facts_context),
                    other_administrators: u32::try_from(others).unwrap_or(u32::MAX),
                },
            });
        }
        Ok(safeconduct_policy::plan(Some(&world.bundle), &new, &recent))
    }

    /// The resource of this name, for doors.
    #[must_use]
    pub fn resource(&self, name: &ResourceName) -> Option<Arc<Resource>> {
        self.world().resource(name).cloned()
    }
}
