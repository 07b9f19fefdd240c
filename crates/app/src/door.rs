//! What a door sees: who may sign in, what a session is and what it may still do, and how one opens. Doors decide nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use safeconduct_lifecycle::{Access, SessionEvent, StreamId};
use safeconduct_model::{Asked, Digest, GrantId, PrincipalName, Resource, ResourceName, Scope, SessionId, SignInId, Timestamp, Ttl, Words};
use safeconduct_protocol::postgres::scram::{ITERATIONS, Verifier};
use safeconduct_sql::FunctionClasses;
use tokio::sync::watch;

use crate::{
    authorize::{Holds, Judged, Refusal},
    door_session::{DoorSession, JournalState},
    minting::{MintedRole, intend},
    node::App,
    ports::{Record, What},
    world::World,
};

/// How long a held statement's approval may wait to be taken up: its session waits for it.
pub(crate) const CLAIMED_WITHIN: Ttl = Ttl::MINUTE;

/// A session as the application keeps it.
pub(crate) struct Door {
    pub id: SessionId,
    pub principal: PrincipalName,
    pub resource: Arc<Resource>,
    pub database: String,
    pub source: String,
    pub opened_at: Timestamp,
    /// The asking of a grant the session was opened under.
    pub opened_with: Asked,
    /// What was said of its holder at the sign-in that its secret was made for, as far as the settings keep it.
    pub claims: BTreeMap<String, Words>,
    pub standing: watch::Sender<Standing>,
    /// Live windows of the holder on the resource.
    pub grants: ArcSwap<Vec<Arc<Access>>>,
    /// Grants of claimed actions: theirs is done, a commit after them is theirs too.
    pub claimed: Mutex<BTreeSet<GrantId>>,
    pub holds: Mutex<Holds>,
    judged: ArcSwap<Judged>,
    /// The classes of functions under the bundle of this hash.
    pub classes: Mutex<Option<(Digest, Arc<FunctionClasses>)>>,
    pub journal: tokio::sync::Mutex<JournalState>,
    /// The session's own login role at the server.
    pub minted: Option<MintedRole>,
}

/// What a session may still do.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Counts changes.
    pub generation: u64,
    /// Set when the session must be cut at once.
    pub end: Option<SessionEnd>,
    /// The gateway is about to stop: the session ends as soon as it does nothing and has no transaction open.
    pub draining: bool,
    /// When the last live grant ends, as things stand.
    pub ends_at: Option<Timestamp>,
    /// When what it lived by was over: the last deadline, or the act. Earlier than its end by what it took to notice.
    pub over_at: Option<Timestamp>,
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
            let deadline = std::mem::replace(&mut standing.ends_at, ends_at);
            if none_left || changed_resource {
                standing.over_at.get_or_insert_with(|| deadline.filter(|at| *at < now).unwrap_or(now));
            }
            if standing.end.is_none() && changed_resource {
                standing.end = Some(ended("the resource was changed".to_owned()));
            }
            if standing.end.is_none() && none_left {
                standing.end = Some(ended(reason()));
            }
        });
    }

    /// Why nothing passes any more: it must be cut, or its last deadline has passed and it will be at the next tick.
    pub fn over(&self, now: Timestamp) -> Option<Refusal> {
        let refusal = |sqlstate, message| Some(Refusal { sqlstate, message, detail: None, hint: None });
        if let Some(end) = &self.standing.borrow().end {
            return refusal(end.sqlstate, end.reason.clone());
        }
        if self.grants.load().iter().any(|a| a.is_live(now)) { None } else { refusal("57P01", "no grant is left".to_owned()) }
    }

    /// Ends the session by somebody's act.
    pub fn end(&self, reason: String, now: Timestamp) {
        self.standing.send_modify(|standing| {
            standing.generation += 1;
            standing.over_at.get_or_insert(now);
            standing.end.get_or_insert_with(|| ended(reason));
        });
    }

    /// Asks the session to end when it can.
    pub fn drain(&self) {
        self.standing.send_modify(|standing| {
            standing.generation += 1;
            standing.draining = true;
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
            claims: self.claims.clone(),
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
pub(crate) fn windows(
    world: &World,
    principal: &PrincipalName,
    resource: &ResourceName,
    database: &str,
    now: Timestamp,
) -> Vec<Arc<Access>> {
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

    /// Where somebody who proves a secret of this lookup will be let in.
    #[must_use]
    pub fn door_resource(&self, lookup: &DoorLookup) -> Option<Arc<Resource>> {
        self.world().resource(&lookup.found.as_ref()?.1).cloned()
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
        if self.is_draining() {
            return Err(DoorRefused::Unavailable);
        }
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
        let claims = self.node.sign_ins.claims_of(&principal, sign_in);
        let id = SessionId::from_bits(self.bits().map_err(|_| DoorRefused::Unavailable)?);
        let unrecorded = |_| {
            self.node.meters.not_recorded();
            DoorRefused::Unavailable
        };
        let mut journal = self.node.ports.recorder.open(&id).map_err(unrecorded)?;
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
        journal.append(&[opened]).map_err(unrecorded)?;
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
        let minted = MintedRole::of(&id, &found, &database);
        if let Some(minted) = &minted {
            intend(&mut work, &id, minted.role.name.clone());
        }
        let door = Arc::new(Door {
            id: id.clone(),
            principal,
            resource: found,
            database,
            source,
            opened_at: now,
            opened_with,
            claims,
            standing: watch::Sender::new(Standing::default()),
            grants: ArcSwap::default(),
            claimed: Mutex::default(),
            holds: Mutex::default(),
            judged: ArcSwap::default(),
            classes: Mutex::default(),
            journal: tokio::sync::Mutex::new(JournalState::begun(journal)),
            minted,
        });
        // While the guard is held: a revocation that follows can't be overwritten by what was true before it.
        door.refresh(&work.world, now, || "no grant is left".to_owned());
        // In the map before the commit: a revocation that follows finds it.
        self.node.doors.lock().insert(id.clone(), Arc::clone(&door));
        if self.commit(guard, work).await.is_err() {
            self.node.doors.lock().remove(&id);
            return Err(DoorRefused::Unavailable);
        }
        self.node.sign_ins.note_use_of(sign_in, &peer.ip().to_canonical().to_string(), now);
        Ok(DoorSession::new(self.clone(), door))
    }
}

pub(crate) fn allowed_database(resource: &Resource, asked: Option<&str>) -> Option<String> {
    let postgres = resource.postgres()?;
    let name = asked.unwrap_or(&postgres.database);
    (name == postgres.database || postgres.databases.contains(name)).then(|| name.to_owned())
}
