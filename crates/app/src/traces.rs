//! What telemetry follows: steps of access requests and sessions, with their times, from the record. No text and no principal.
//!
//! A reader with a cursor of its own: what happens while nobody listens, or while this node is down, is told later, in order.

use std::time::Duration;

use safeconduct_lifecycle::StreamId;
use safeconduct_model::{AccessRequestId, GrantId, ResourceName, SessionId, Timestamp};

use crate::{node::App, ports::What, problem::Problem};

/// Name of the cursor.
const TRACES: &str = "traces";
/// Most records of a session that are looked at for its statements.
const RECORDS: u32 = 10_000;

/// An event of an access request or a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The event's name in the ledger.
    pub kind: &'static str,
    pub of: Traced,
}

/// What can be traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    Access(AccessRequestId),
    Session(SessionId),
}

/// The way of an access request so far.
#[derive(Clone, Debug)]
pub struct AccessSteps {
    pub resource: ResourceName,
    pub exact: bool,
    /// How it stands: an adjective.
    pub state: &'static str,
    /// When what happened, by names in the ledger, in order.
    pub steps: Vec<(Timestamp, &'static str)>,
}

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct SessionSteps {
    pub resource: ResourceName,
    pub grants: Vec<GrantId>,
    pub opened: Timestamp,
    pub closed: Timestamp,
    pub statements: u64,
    /// Its first statements, as many as were asked for.
    pub timed: Vec<StatementStep>,
}

/// A statement that was forwarded.
#[derive(Clone, Debug)]
pub struct StatementStep {
    pub number: u64,
    pub began: Timestamp,
    pub took: Duration,
    pub grant: GrantId,
    pub operations: String,
    pub rows: Option<u64>,
    pub sqlstate: Option<String>,
}

impl App {
    /// Where following goes on: after what was followed before. The first time it begins with what happens from this moment on.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn traced(&self) -> Result<u64, Problem> {
        match self.node.ports.store.cursor(TRACES).await? {
            0 => {
                let now = self.ledger_size().await?;
                self.set_traced(now).await?;
                Ok(now)
            }
            index => Ok(index),
        }
    }

    /// Remembers that everything before this index was followed.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn set_traced(&self, index: u64) -> Result<(), Problem> {
        Ok(self.node.ports.store.set_cursor(TRACES, index).await?)
    }

    /// What happened from an index on, out of at most `limit` events, and the index to go on from.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn happened(&self, from: u64, limit: u32) -> Result<(Vec<Happened>, u64), Problem> {
        let stored = self.node.ports.store.events_from(from, limit).await?;
        let next = stored.last().map_or(from, |stored| stored.index.saturating_add(1));
        let happened = stored.into_iter().filter_map(|stored| {
            let of = match stored.stream {
                StreamId::Access(id) => Traced::Access(id),
                StreamId::Session(id) => Traced::Session(id),
                _ => return None,
            };
            Some(Happened { kind: stored.event?.kind(), of })
        });
        Ok((happened.collect(), next))
    }

    /// The way of an access request so far.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn access_steps(&self, id: &AccessRequestId) -> Result<Option<AccessSteps>, Problem> {
        let Some(access) = self.load_access(id).await? else { return Ok(None) };
        let stored = self.node.ports.store.load(StreamId::Access(id.clone())).await?;
        Ok(Some(AccessSteps {
            resource: access.envelope.resource.clone(),
            exact: access.envelope.scope.is_exact(),
            state: access.state.name(),
            steps: stored.iter().filter_map(|stored| Some((stored.at, stored.event.as_ref()?.kind()))).collect(),
        }))
    }

    /// A session that has ended, with at most so many of its statements. `None` while it is open.
    ///
    /// # Errors
    /// `STORE-001`; a recording that can't be read has no statements.
    pub async fn session_steps(&self, id: &SessionId, most: usize) -> Result<Option<SessionSteps>, Problem> {
        let Some(session) = self.load_session(id).await? else { return Ok(None) };
        let Some((closed, _)) = session.closed else { return Ok(None) };
        let timed = if most == 0 { Vec::new() } else { self.timed(id, most).await };
        let (resource, grants, opened, statements) = (session.resource, session.grants, session.opened_at, session.statements);
        Ok(Some(SessionSteps { resource, grants, opened, closed, statements, timed }))
    }

    async fn timed(&self, id: &SessionId, most: usize) -> Vec<StatementStep> {
        let mut timed: Vec<StatementStep> = Vec::new();
        let records = self.node.ports.recorder.read(id, 1, RECORDS).await.unwrap_or_default();
        for record in records {
            match record.what {
                What::Intent { statement, grant, operations, .. } if timed.len() < most => timed.push(StatementStep {
                    number: statement,
                    began: record.at,
                    took: Duration::ZERO,
                    grant,
                    operations,
                    rows: None,
                    sqlstate: None,
                }),
                What::Outcome { statement, rows, sqlstate, duration_micros, .. } => {
                    if let Some(step) = timed.iter_mut().find(|step| step.number == statement) {
                        (step.took, step.rows, step.sqlstate) = (Duration::from_micros(duration_micros), rows, sqlstate);
                    }
                }
                _ => {}
            }
        }
        timed
    }
}
