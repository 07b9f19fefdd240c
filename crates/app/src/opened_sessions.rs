//! The sessions in which an access request was used, each with what the ledger says about it. Looking never decides anything.
//!
//! The work is bounded: where there are more than the bounds, the newest are found and the answer says that they are not all.

use safeconduct_lifecycle::{AccessState, Event, Session, SessionEvent, StreamId};
use safeconduct_model::{AccessRequestId, Origin};

use crate::{
    identity::Caller,
    node::App,
    ports::{SessionQuery, Stored},
    problem::{Problem, ProblemKind},
};

/// Sessions of its holder one call looks at.
const MAX_LOOKED_AT: usize = 1_000;
/// Most sessions one call returns.
const MAX_FOUND: usize = 50;
/// Refused actions told of each session; all of them are in its recording.
const MAX_REFUSED: usize = 20;
const PAGE: u32 = 200;

/// Sessions of an access request.
#[derive(Clone, Debug)]
pub struct OpenedSessions {
    /// Oldest first.
    pub sessions: Vec<OpenedSession>,
    /// False if there may be older ones.
    pub complete: bool,
}

/// A session and what the ledger says about it.
#[derive(Clone, Debug)]
pub struct OpenedSession {
    pub session: Session,
    /// That it was opened, what was refused in it, its login role, its end. Parts of its recording are told with the recording.
    pub history: Vec<Stored>,
    /// Refused actions that are not in `history`.
    pub left_out: u64,
}

impl App {
    /// Sessions that were opened with the grant of this access request or took it up later, and the one that it was held in.
    ///
    /// # Errors
    /// `REQ-008`, the same for what does not exist and what the caller may not see; `VIEW-001` for who may see the access request and
    /// not the sessions: they are for whose they are and for auditors.
    pub async fn sessions_of(&self, caller: &Caller, id: &AccessRequestId) -> Result<OpenedSessions, Problem> {
        let hidden = || Problem::not_found("access request");
        let access = self.load_access(id).await?.ok_or_else(hidden)?;
        if !self.sees(&self.world(), caller, &access, self.now()) {
            return Err(hidden());
        }
        let envelope = &access.envelope;
        if envelope.requester != caller.name && !self.audits(caller) {
            return Err(
                Problem::new("VIEW-001", ProblemKind::Denied, "you may not see these sessions").next("whose they are and auditors may")
            );
        }
        let mut found = OpenedSessions { sessions: Vec::new(), complete: true };
        if let Origin::Held { session, .. } = &envelope.origin
            && let Some(session) = self.load_session(session).await?
        {
            found.sessions.push(self.with_history(session).await?);
        }
        // What was never granted opened nothing.
        let events = self.node.ports.store.load(StreamId::Access(id.clone())).await?;
        let is_over = !matches!(access.state, AccessState::Active { .. });
        let grant = access.grant();
        let mut query = SessionQuery {
            principal: Some(envelope.requester.clone()),
            open_from: Some(envelope.asked_at),
            opened_to: events.last().filter(|_| is_over).map(|last| last.at),
            limit: PAGE,
            ..SessionQuery::default()
        };
        let mut looked_at = 0_usize;
        'pages: loop {
            let rows = self.node.ports.store.sessions(query.clone()).await?;
            let Some(last) = rows.last().map(|row| row.id.clone()) else { break };
            for row in rows {
                if looked_at >= MAX_LOOKED_AT || found.sessions.len() >= MAX_FOUND {
                    found.complete = false;
                    break 'pages;
                }
                looked_at = looked_at.saturating_add(1);
                if row.resource != envelope.resource {
                    continue;
                }
                if let Some(session) = self.load_session(&row.id).await?
                    && session.grants.contains(&grant)
                {
                    found.sessions.push(self.with_history(session).await?);
                }
            }
            query.before = Some(last);
        }
        found.sessions.sort_by_key(|opened| opened.session.opened_at);
        Ok(found)
    }

    async fn with_history(&self, session: Session) -> Result<OpenedSession, Problem> {
        let (mut history, mut refused, mut left_out) = (Vec::new(), 0_usize, 0_u64);
        for stored in self.node.ports.store.load(StreamId::Session(session.id.clone())).await? {
            match &stored.event {
                Some(Event::Session(SessionEvent::ChunkSealed { .. })) => continue,
                Some(Event::Session(SessionEvent::ActionRefused { .. })) => {
                    refused = refused.saturating_add(1);
                    if refused > MAX_REFUSED {
                        left_out = left_out.saturating_add(1);
                        continue;
                    }
                }
                _ => {}
            }
            history.push(stored);
        }
        Ok(OpenedSession { session, history, left_out })
    }
}
