//! After a commit: sessions learn what their holders may still do, holds and waiters wake, and the news goes round.

use std::{collections::BTreeSet, sync::Arc};

use safeconduct_lifecycle::{Access, AccessEvent, AccessState, Actor, DirectoryEvent, Event, NodeEvent, SessionEvent, StreamId};
use safeconduct_model::{Origin, PrincipalName, ResourceName, Timestamp};

use crate::{
    authorize::Refusal,
    door::{Door, windows},
    door_session::HoldOutcome,
    node::App,
    ports::ValueChange,
    world::{Work, World},
};

/// Something became true.
#[derive(Clone, Debug)]
pub struct News {
    /// Index in the ledger.
    pub index: u64,
    pub stream: StreamId,
    pub kind: &'static str,
    pub at: Timestamp,
    /// The access request it is about, as it stands after the whole unit of work.
    pub access: Option<Arc<Access>>,
    /// Whose it is, for sessions.
    pub principal: Option<PrincipalName>,
}

/// Whose rights a unit of work may have changed.
struct Concerned {
    holders: BTreeSet<(PrincipalName, ResourceName)>,
    everybody: bool,
}

impl Concerned {
    fn by(events: &[(StreamId, Event)], after: &World) -> Self {
        let mut concerned = Self { holders: BTreeSet::new(), everybody: false };
        for (stream, event) in events {
            match (stream, event) {
                (StreamId::Access(id), Event::Access(_)) => {
                    if let Some(access) = after.access.get(id) {
                        concerned.holders.insert((access.envelope.requester.clone(), access.envelope.resource.clone()));
                    }
                }
                // Whoever is new holds nothing, and what somebody is called gives nothing.
                (
                    _,
                    Event::Directory(
                        DirectoryEvent::PersonCreated { .. }
                        | DirectoryEvent::WorkloadCreated { .. }
                        | DirectoryEvent::IdentityLinked { .. }
                        | DirectoryEvent::PersonDescribed { .. }
                        | DirectoryEvent::GroupDescribed { .. },
                    ),
                ) => {}
                (_, Event::Directory(_) | Event::Policy(_))
                | (_, Event::Node(NodeEvent::ClockBehind { .. } | NodeEvent::ClockConfirmed { .. })) => concerned.everybody = true,
                _ => {}
            }
        }
        concerned
    }

    fn is(&self, door: &Door) -> bool {
        self.everybody || self.holders.contains(&(door.principal.clone(), door.resource.name.clone()))
    }
}

impl App {
    /// Makes it part of a unit of work that open sessions take up the grants it gives their holders.
    pub(crate) fn join_grants(&self, work: &mut Work) {
        let concerned = Concerned::by(work.events(), &work.world);
        if !concerned.everybody && concerned.holders.is_empty() {
            return;
        }
        let doors: Vec<_> = self.node.doors.lock().values().filter(|door| concerned.is(door)).cloned().collect();
        for door in doors {
            let Some(session) = work.world.sessions.get(&door.id).filter(|session| session.closed.is_none()) else { continue };
            let live = windows(&work.world, &door.principal, &door.resource.name, &door.database, work.now);
            let joined: Vec<_> = live.iter().map(|access| access.grant()).filter(|grant| !session.grants.contains(grant)).collect();
            if !joined.is_empty() {
                work.push(StreamId::Session(door.id.clone()), SessionEvent::GrantsJoined { grants: joined, at: work.now });
            }
        }
    }

    /// Tells everybody concerned. `after` still holds what this unit closed. Returns stored secrets that are of no use any more.
    pub(crate) fn publish(
        &self,
        before: &World,
        after: &World,
        first: u64,
        events: &[(StreamId, Event)],
        now: Timestamp,
    ) -> Vec<ValueChange> {
        for (stream, event) in events {
            if let (StreamId::Access(id), Event::Access(event)) = (stream, event)
                && let Some(access) = after.access.get(id)
            {
                self.wake_hold(access, event);
            }
        }
        let concerned = Concerned::by(events, after);
        if !Arc::ptr_eq(&before.bundle, &after.bundle) {
            self.node.function_classes.lock().retain(|(bundle, _), _| *bundle == after.bundle.hash);
        }
        let world = self.world();
        let doors: Vec<_> = self.node.doors.lock().values().cloned().collect();
        for door in doors {
            if concerned.is(&door) {
                door.refresh(&world, now, || end_reason(after, &door.principal, &door.resource.name, now));
            }
        }
        let mut useless = self.forget_unused_door_secrets(&world, &concerned.holders, now);
        for (_, event) in events {
            if let Event::Directory(DirectoryEvent::SecretReset { name, .. } | DirectoryEvent::PrincipalDisabled { name, .. }) = event {
                useless.extend(self.forget_secrets_of(name));
            }
            if let Event::Directory(DirectoryEvent::IdentityUnlinked { name, issuer, subject, .. }) = event {
                useless.extend(self.forget_vouched(name, issuer, subject));
            }
        }
        for (place, (stream, event)) in events.iter().enumerate() {
            let (access, principal) = match stream {
                StreamId::Access(id) => (after.access.get(id).cloned(), None),
                StreamId::Session(id) => (None, after.sessions.get(id).map(|s| s.principal.clone())),
                _ => (None, None),
            };
            self.node.meters.event(event, access.as_deref(), now);
            let index = first.saturating_add(u64::try_from(place).unwrap_or(u64::MAX));
            log(index, stream, event.kind(), access.as_deref(), after);
            // Nobody listening is no error.
            let _ = self.node.news.send(Arc::new(News { index, stream: stream.clone(), kind: event.kind(), at: now, access, principal }));
        }
        self.node.deadline_changed.notify_one();
        useless
    }

    fn wake_hold(&self, access: &Access, event: &AccessEvent) {
        let outcome = match event {
            AccessEvent::Granted { .. } => HoldOutcome::Approved,
            _ if access.state.is_final() => HoldOutcome::Ended(hold_refusal(access)),
            AccessEvent::ApprovalsVoided { .. } => return,
            _ => return,
        };
        if let Some(waiting) = self.node.holds.lock().remove(&access.envelope.access_request) {
            // A session that has gone away withdraws by itself.
            let _ = waiting.send(outcome);
        }
    }
}

/// One line per event: what became true, of which access request, grant, session and resource. Ids and names only, no text of anybody's.
fn log(index: u64, stream: &StreamId, kind: &'static str, access: Option<&Access>, world: &World) {
    let session = match stream {
        StreamId::Session(id) => Some(id),
        _ => access.and_then(|access| match &access.envelope.origin {
            Origin::Held { session, .. } => Some(session),
            _ => None,
        }),
    };
    let opened = session.and_then(|id| world.sessions.get(id));
    let resource = access.map(|access| &access.envelope.resource).or_else(|| opened.map(|session| &session.resource));
    let principal = access.map(|access| &access.envelope.requester).or_else(|| opened.map(|session| &session.principal));
    tracing::info!(
        index,
        access_request = access.map(|access| tracing::field::display(&access.envelope.access_request)),
        grant = access.filter(|access| access.state.was_granted()).map(|access| tracing::field::display(access.grant())),
        session = session.map(tracing::field::display),
        resource = resource.map(tracing::field::display),
        principal = principal.map(tracing::field::display),
        "{kind}"
    );
}

/// Why a held statement will not run.
fn hold_refusal(access: &Access) -> Refusal {
    let id = &access.envelope.access_request;
    let (message, detail) = match &access.state {
        AccessState::Denied { by, comment, .. } => (format!("access request {id} was denied by {by}"), Some(comment.as_str().to_owned())),
        AccessState::Lapsed { .. } => (format!("access request {id} was not decided in time"), None),
        AccessState::Withdrawn { .. } => (format!("access request {id} was withdrawn"), None),
        AccessState::Refused { reasons, .. } => {
            let why: Vec<&str> = reasons.iter().map(|r| r.text.as_str()).collect();
            (format!("policy denies access request {id}"), Some(why.join("; ")))
        }
        AccessState::Revoked { reason, .. } => (format!("access request {id} was revoked"), Some(reason.clone())),
        _ => (format!("access request {id} is {}", access.state.name()), None),
    };
    Refusal { sqlstate: "42501", message, detail, hint: Some("ask again by running the statement again".to_owned()) }
}

/// Why a session of this holder has no live grant any more.
fn end_reason(world: &World, holder: &PrincipalName, resource: &ResourceName, now: Timestamp) -> String {
    if let Some(frozen) = &world.frozen {
        return frozen.clone();
    }
    if world.directory.find(holder).is_none_or(|p| p.disabled) {
        return format!("`{holder}` is disabled");
    }
    let mut reason = "no grant is left".to_owned();
    for access in world.access.of(holder).filter(|a| a.envelope.resource == *resource) {
        let grant = access.grant();
        match &access.state {
            AccessState::Revoked { at, by, reason: why } if *at == now => {
                let who = match by {
                    Actor::Principal { name } => format!("by {name}"),
                    Actor::Gateway { cause } => format!("by the gateway ({cause})"),
                };
                return format!("grant {grant} was revoked {who}: {why}");
            }
            AccessState::Expired { at } if *at == now => reason = format!("grant {grant} expired"),
            AccessState::Released { at } if *at == now => reason = format!("grant {grant} was released"),
            _ => {}
        }
    }
    reason
}
