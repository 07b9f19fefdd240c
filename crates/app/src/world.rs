//! The world: everything that is open, as events made it. Readers take a snapshot; one writer replaces it after the store has it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rpds::RedBlackTreeMapSync;
use safeconduct_lifecycle::{
    Access, AccessEvent, Directory, DirectoryEvent, Event, NodeEvent, Refused, Session, StreamId, decide, evolve, evolve_session,
};
use safeconduct_model::{AccessRequestId, PrincipalName, Resource, ResourceName, SessionId, Timestamp};
use safeconduct_policy::Bundle;

use crate::{
    open_access::{OpenAccess, is_open},
    ports::{AccessRow, Append, Row, SessionRow},
    signed::Trust,
};

/// Open access requests and live sessions, people and policy. Copies share what they have in common.
#[derive(Clone)]
pub(crate) struct World {
    pub directory: Arc<Directory>,
    pub bundle: Arc<Bundle>,
    pub access: OpenAccess,
    pub sessions: RedBlackTreeMapSync<SessionId, Arc<Session>>,
    /// Counts units of work: two worlds with one number are the same.
    pub generation: u64,
    /// What signatures are checked with.
    pub trust: Arc<Trust>,
    /// Why no grant is live, if none is.
    pub frozen: Option<String>,
    /// When principals last lost every secret.
    secrets_void_before: RedBlackTreeMapSync<PrincipalName, Timestamp>,
    /// Events per stream, for streams that never end.
    versions: BTreeMap<StreamId, u64>,
}

impl World {
    pub fn new(bundle: Arc<Bundle>) -> Self {
        Self {
            directory: Arc::new(Directory::default()),
            bundle,
            access: OpenAccess::default(),
            sessions: RedBlackTreeMapSync::default(),
            generation: 0,
            trust: Arc::default(),
            frozen: None,
            secrets_void_before: RedBlackTreeMapSync::default(),
            versions: BTreeMap::new(),
        }
    }

    /// The resource of this name, the gateway itself included.
    pub fn resource(&self, name: &ResourceName) -> Option<&Arc<Resource>> {
        self.bundle.resources.get(name)
    }

    /// Live windows of one holder on one resource.
    pub fn live_grants(&self, holder: &PrincipalName, resource: &ResourceName, now: Timestamp) -> Vec<Arc<Access>> {
        if self.frozen.is_some() || self.directory.find(holder).is_none_or(|p| p.disabled) {
            return Vec::new();
        }
        self.access.of(holder).filter(|a| a.envelope.resource == *resource && a.is_live(now)).cloned().collect()
    }

    fn version(&self, stream: &StreamId) -> u64 {
        match stream {
            StreamId::Access(id) => self.access.get(id).map_or(0, |a| a.version),
            StreamId::Session(id) => self.sessions.get(id).map_or(0, |s| s.version),
            _ => self.versions.get(stream).copied().unwrap_or(0),
        }
    }

    /// Counts events of a stream that are not read.
    pub fn skip(&mut self, stream: StreamId, events: u64) {
        self.versions.insert(stream, events);
    }

    /// Since when secrets of this principal count: those made before a reset or a disabling are void.
    pub fn secrets_void_before(&self, name: &PrincipalName) -> Option<Timestamp> {
        self.secrets_void_before.get(name).copied()
    }

    /// Applies one event. Cannot fail.
    pub fn apply(&mut self, stream: &StreamId, event: &Event) {
        match (stream, event) {
            (StreamId::Access(id), Event::Access(event)) => {
                let before = self.access.get(id).map(|access| (**access).clone());
                if let Some(access) = evolve(before, event) {
                    self.access.insert(access);
                }
            }
            (StreamId::Session(id), Event::Session(event)) => {
                let before = self.sessions.get(id).map(|session| (**session).clone());
                if let Some(session) = evolve_session(before, id, event) {
                    self.sessions.insert_mut(id.clone(), Arc::new(session));
                }
            }
            (_, event) => {
                *self.versions.entry(stream.clone()).or_default() += 1;
                match event {
                    Event::Directory(event) => {
                        if let DirectoryEvent::SecretReset { name, at, .. } | DirectoryEvent::PrincipalDisabled { name, at, .. } = event {
                            self.secrets_void_before.insert_mut(name.clone(), *at);
                        }
                        Arc::make_mut(&mut self.directory).evolve(event);
                    }
                    Event::Node(NodeEvent::ClockBehind { seconds, .. }) => {
                        self.frozen = Some(format!("the clock is {seconds} s behind the latest recorded time"));
                    }
                    Event::Node(NodeEvent::ClockConfirmed { .. }) => self.frozen = None,
                    Event::Policy(_) | Event::Node(_) | Event::SignIn(_) | Event::Access(_) | Event::Session(_) => {}
                }
            }
        }
    }

    /// Counts an event whose body was erased: what it did is not known any more, but the stream is as long as it is.
    pub fn pass_over(&mut self, stream: &StreamId) {
        match stream {
            StreamId::Access(id) => {
                if let Some(access) = self.access.get(id).map(|access| (**access).clone()) {
                    self.access.insert(Access { version: access.version + 1, ..access });
                }
            }
            StreamId::Session(id) => {
                if let Some(session) = self.sessions.get(id).map(|session| (**session).clone()) {
                    self.sessions.insert_mut(id.clone(), Arc::new(Session { version: session.version + 1, ..session }));
                }
            }
            _ => *self.versions.entry(stream.clone()).or_default() += 1,
        }
    }

    /// Drops what is over: it is read from the store when somebody asks. `changed` are the streams something happened in.
    pub fn drop_closed<'a>(&mut self, changed: impl IntoIterator<Item = &'a StreamId>) {
        self.access.drop_closed();
        for stream in changed {
            if let StreamId::Session(id) = stream
                && self.sessions.get(id).is_some_and(|session| !session.is_open())
            {
                self.sessions.remove_mut(id);
            }
        }
    }
}

/// One unit of work: events that become true together, on a world of their own until the store has them.
pub(crate) struct Work {
    pub world: World,
    pub now: Timestamp,
    /// True if people, groups or policy are not what the open access requests were judged by.
    pub standing_changed: bool,
    events: Vec<(StreamId, Event)>,
    expected: BTreeMap<StreamId, u64>,
}

impl Work {
    pub fn new(world: World, now: Timestamp) -> Self {
        Self { world, now, standing_changed: false, events: Vec::new(), expected: BTreeMap::new() }
    }

    /// Makes an event part of this unit.
    pub fn push(&mut self, stream: StreamId, event: impl Into<Event>) {
        let event = event.into();
        let before = self.world.version(&stream);
        self.expected.entry(stream.clone()).or_insert(before);
        self.world.apply(&stream, &event);
        self.events.push((stream, event));
    }

    /// Puts an access request that is no longer open where commands can find it.
    pub fn recall(&mut self, access: Access) {
        if self.world.access.get(&access.envelope.access_request).is_none() {
            self.world.access.insert(access);
        }
    }

    /// Puts a session that is closed where events can be added to it.
    pub fn recall_session(&mut self, session: Session) {
        if !self.world.sessions.contains_key(&session.id) {
            self.world.sessions.insert_mut(session.id.clone(), Arc::new(session));
        }
    }

    /// Decides a command and makes its events part of this unit.
    pub fn run(&mut self, id: &AccessRequestId, command: safeconduct_lifecycle::Command) -> Result<(), Refused> {
        let events = decide(self.world.access.get(id).map(AsRef::as_ref), command, self.now)?;
        for event in events {
            self.push(StreamId::Access(id.clone()), event);
        }
        Ok(())
    }

    /// The access request as it stands within this unit.
    pub fn access(&self, id: &AccessRequestId) -> Option<&Arc<Access>> {
        self.world.access.get(id)
    }

    pub fn events(&self) -> &[(StreamId, Event)] {
        &self.events
    }

    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Ids of access requests that have become ready in this unit and are to be followed up.
    pub fn granted(&self) -> Vec<AccessRequestId> {
        self.events
            .iter()
            .filter_map(|(stream, event)| match (stream, event) {
                (StreamId::Access(id), Event::Access(event)) if matches!(**event, AccessEvent::Granted { .. }) => Some(id.clone()),
                _ => None,
            })
            .collect()
    }

    /// What the store is to append, and the events in order.
    pub fn into_appends(self) -> (World, Vec<Append>, Vec<(StreamId, Event)>) {
        let mut appends: Vec<Append> = Vec::new();
        let mut places: HashMap<&StreamId, usize> = HashMap::new();
        for (stream, event) in &self.events {
            let place = *places.entry(stream).or_insert(appends.len());
            if let Some(append) = appends.get_mut(place) {
                append.events.push(event.clone());
            } else {
                let expected = self.expected.get(stream).copied().unwrap_or(0);
                appends.push(Append { stream: stream.clone(), expected, events: vec![event.clone()], row: None });
            }
        }
        for append in &mut appends {
            append.row = row(&self.world, &append.stream);
        }
        // The ledger keeps the order of the appends: report the events in the same order.
        let events = appends.iter().flat_map(|a| a.events.iter().map(|e| (a.stream.clone(), e.clone()))).collect();
        (self.world, appends, events)
    }
}

fn row(world: &World, stream: &StreamId) -> Option<Row> {
    match stream {
        StreamId::Access(id) => world.access.get(id).map(|access| {
            Row::Access(AccessRow {
                id: id.clone(),
                requester: access.envelope.requester.clone(),
                resource: access.envelope.resource.clone(),
                state: access.state.name().to_owned(),
                exact: access.envelope.scope.is_exact(),
                asked_at: access.envelope.asked_at,
                open: is_open(access),
            })
        }),
        StreamId::Session(id) => world.sessions.get(id).map(|session| {
            Row::Session(SessionRow {
                id: id.clone(),
                principal: session.principal.clone(),
                resource: session.resource.clone(),
                opened_at: session.opened_at,
                closed_at: session.closed.as_ref().filter(|_| !session.is_open()).map(|(at, _)| *at),
            })
        }),
        _ => None,
    }
}
