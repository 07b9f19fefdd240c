//! Sessions and their recordings on the wire.

use safeconduct_app::{OpenedSession, OpenedSessions, Replay};
use safeconduct_lifecycle as lifecycle;
use safeconduct_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LedgerLine, texts};

/// A proxied connection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    pub id: String,
    pub principal: String,
    pub resource: String,
    pub database: String,
    pub source: String,
    pub opened_at: String,
    pub grants: Vec<String>,
    pub statements: u64,
    /// Of a session that is open: when the last of its grants ends, and it with it, as things stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_why: Option<String>,
}

/// The sessions in which an access request was used.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionsOf {
    /// Opened with its grant, or the one it was held in; oldest first.
    pub sessions: Vec<SessionStory>,
    /// False if there may be older ones.
    pub complete: bool,
}

/// A session and what the ledger says about it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionStory {
    pub session: Session,
    /// That it was opened, what was refused in it, its login role, its end. Sealed parts are told with the recording.
    pub history: Vec<LedgerLine>,
    /// Refused actions that are not in `history`; all are in the recording.
    pub left_out: u64,
}

/// Part of a session's recording.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Recording {
    pub session: Session,
    /// Records in order; each has `n`, `at` and `what`.
    #[schema(value_type = Vec<Object>)]
    pub records: Vec<serde_json::Value>,
    pub chunks: Vec<Chunk>,
}

/// A sealed part of a recording, whose digest is in the ledger.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Chunk {
    pub number: u64,
    pub digest: String,
    pub size_bytes: u64,
    pub records: u64,
    /// True if it was sealed after a crash: its tail may be missing.
    pub recovered: bool,
    /// True if what is on disk has the digest that the ledger holds.
    pub intact: bool,
}

impl From<&lifecycle::Session> for Session {
    fn from(session: &lifecycle::Session) -> Self {
        Self {
            id: session.id.to_string(),
            principal: session.principal.to_string(),
            resource: session.resource.to_string(),
            database: session.database.clone(),
            source: session.source.clone(),
            opened_at: session.opened_at.to_string(),
            grants: texts(&session.grants),
            statements: session.statements,
            until: None,
            closed_at: session.closed.as_ref().map(|(at, _)| at.to_string()),
            closed_why: session.closed.as_ref().map(|(_, why)| why.clone()),
        }
    }
}

impl Session {
    /// A session with when it ends as things stand, if it is open.
    pub(crate) fn open_until(mut self, until: Option<model::Timestamp>) -> Self {
        self.until = until.map(|at| at.to_string());
        self
    }
}

impl From<&OpenedSession> for SessionStory {
    fn from(opened: &OpenedSession) -> Self {
        Self { session: (&opened.session).into(), history: opened.history.iter().map(Into::into).collect(), left_out: opened.left_out }
    }
}

impl From<OpenedSessions> for SessionsOf {
    fn from(opened: OpenedSessions) -> Self {
        Self { sessions: opened.sessions.iter().map(Into::into).collect(), complete: opened.complete }
    }
}

impl From<Replay> for Recording {
    fn from(replay: Replay) -> Self {
        Self {
            session: (&replay.session).into(),
            records: replay.records.iter().filter_map(|record| serde_json::to_value(record).ok()).map(readable_time).collect(),
            chunks: replay
                .chunks
                .iter()
                .map(|(chunk, intact)| Chunk {
                    number: chunk.number,
                    digest: chunk.digest.to_string(),
                    size_bytes: chunk.size_bytes,
                    records: chunk.records,
                    recovered: chunk.recovered,
                    intact: *intact,
                })
                .collect(),
        }
    }
}

/// Records keep microseconds; on the wire every time is RFC 3339.
fn readable_time(mut record: serde_json::Value) -> serde_json::Value {
    if let Some(at) = record.get_mut("at")
        && let Some(micros) = at.as_i64()
    {
        *at = safeconduct_model::Timestamp::from_micros(micros).to_string().into();
    }
    record
}
