//! Appending: events become entries with the next indexes, bodies beside them, hashes in the tree and rows in the read tables.
//!
//! Everything here happens inside a transaction of the caller. Refuses events that are in the wrong sort of stream.

use rusqlite::{Connection, OptionalExtension as _, params};
use safeconduct_app::ports::{AccessRow, Append, Entropy, Row, SessionRow, StoreError};
use safeconduct_ledger::{BodyCommitment, Entry, Frontier, canonical, commit_body, leaf_hash};
use safeconduct_lifecycle::{Event, StreamId};
use safeconduct_model::Timestamp;

use crate::{
    error::{Refusal, broken, count, number, refused},
    tree,
};

/// What an append looks like once all that needs no lock is done.
pub(crate) struct Prepared {
    stream: String,
    expected: u64,
    events: Vec<PreparedEvent>,
    row: Option<Row>,
}

struct PreparedEvent {
    kind: &'static str,
    body: String,
    key: [u8; 32],
    commitment: BodyCommitment,
}

/// Makes bodies canonical and commits to each with a key of its own.
pub(crate) fn prepare(appends: Vec<Append>, entropy: &dyn Entropy) -> Result<Vec<Prepared>, StoreError> {
    appends
        .into_iter()
        .map(|append| {
            let events = append.events.iter().map(|event| prepare_event(&append.stream, event, entropy)).collect::<Result<_, _>>()?;
            Ok(Prepared { stream: append.stream.to_string(), expected: append.expected, events, row: append.row })
        })
        .collect()
}

fn prepare_event(stream: &StreamId, event: &Event, entropy: &dyn Entropy) -> Result<PreparedEvent, StoreError> {
    if !belongs(event, stream) {
        return Err(refused(Refusal::WrongStream { stream: stream.to_string() }));
    }
    let unfit = |cause: Box<dyn std::error::Error + Send + Sync>| StoreError::Unavailable(cause);
    let body = event.to_body().map_err(|cause| unfit(Box::new(cause)))?;
    // Canonical JSON has at most 4 MiB: this bounds the body.
    let body = canonical::canonicalize(body.as_bytes()).map_err(|cause| unfit(Box::new(cause)))?;
    let body = String::from_utf8(body).map_err(|cause| unfit(Box::new(cause)))?;
    let mut key = [0; 32];
    entropy.fill(&mut key).map_err(|cause| unfit(Box::new(cause)))?;
    let commitment = commit_body(&key, body.as_bytes());
    Ok(PreparedEvent { kind: event.kind(), body, key, commitment })
}

const fn belongs(event: &Event, stream: &StreamId) -> bool {
    matches!(
        (event, stream),
        (Event::Access(_), StreamId::Access(_))
            | (Event::Session(_), StreamId::Session(_))
            | (Event::Directory(_), StreamId::Directory)
            | (Event::SignIn(_), StreamId::SignIns)
            | (Event::Policy(_), StreamId::Policy)
            | (Event::Node(_), StreamId::Node)
    )
}

/// What the writer carries from one append to the next. Always as the file has it.
#[derive(Clone)]
pub(crate) struct Sequence {
    pub(crate) frontier: Frontier,
    high_water: Option<Timestamp>,
}

impl Sequence {
    /// Reads it from the file.
    pub(crate) fn read(connection: &Connection) -> Result<Self, StoreError> {
        let last: Option<i64> =
            connection.query_row("SELECT at FROM entries ORDER BY idx DESC LIMIT 1", [], |row| row.get(0)).optional().map_err(broken)?;
        let high_water = high_water(connection)?.max(last.map(Timestamp::from_micros));
        Ok(Self { frontier: tree::frontier(connection)?, high_water })
    }

    /// Appends all of it. After an error the caller rolls back, and forgets this sequence.
    pub(crate) fn append(&mut self, connection: &Connection, appends: &[Prepared], at: Timestamp) -> Result<u64, StoreError> {
        let first = self.frontier.size();
        let at = self.raise(connection, at)?;
        for append in appends {
            let version = version(connection, &append.stream)?;
            if version != append.expected {
                return Err(StoreError::Conflict { stream: append.stream.clone() });
            }
            for (version, event) in (version + 1..).zip(&append.events) {
                self.append_event(connection, &append.stream, version, event, at)?;
            }
            match &append.row {
                Some(Row::Access(row)) => put_access(connection, row)?,
                Some(Row::Session(row)) => put_session(connection, row)?,
                None => {}
            }
        }
        Ok(first)
    }

    /// Raises the high-water mark to `at` and returns it: time as stored never goes back.
    pub(crate) fn raise(&mut self, connection: &Connection, at: Timestamp) -> Result<Timestamp, StoreError> {
        match self.high_water {
            Some(mark) if mark >= at => Ok(mark),
            _ => {
                connection
                    .prepare_cached("INSERT INTO high_water (one, at) VALUES (1, ?1) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)")
                    .and_then(|mut statement| statement.execute([at.micros()]))
                    .map_err(broken)?;
                self.high_water = Some(at);
                Ok(at)
            }
        }
    }

    fn append_event(
        &mut self,
        connection: &Connection,
        stream: &str,
        version: u64,
        event: &PreparedEvent,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let index = self.frontier.size();
        let entry = Entry {
            index,
            at_micros: at.micros(),
            stream: stream.to_owned(),
            version,
            kind: event.kind.to_owned(),
            body: event.commitment,
        };
        let leaf = entry.to_leaf().map_err(|cause| StoreError::Unavailable(Box::new(cause)))?;
        let hash = leaf_hash(&leaf);
        let (index, version) = (number(index)?, number(version)?);
        connection
            .prepare_cached("INSERT INTO entries (idx, stream, version, at, leaf, leaf_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut statement| statement.execute(params![index, stream, version, at.micros(), leaf, hash.as_bytes()]))
            .map_err(broken)?;
        connection
            .prepare_cached("INSERT INTO bodies (idx, key, body) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![index, event.key, event.body]))
            .map_err(broken)?;
        let mut grown = Vec::new();
        self.frontier.append_with(hash, |stored| grown.push(stored));
        grown.iter().try_for_each(|stored| tree::keep(connection, stored))
    }
}

/// The latest effective time ever stored, entries aside.
pub(crate) fn high_water(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT at FROM high_water").map_err(broken)?;
    Ok(statement.query_row([], |row| row.get(0)).optional().map_err(broken)?.map(Timestamp::from_micros))
}

fn version(connection: &Connection, stream: &str) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(version), 0) FROM entries WHERE stream = ?1").map_err(broken)?;
    count(statement.query_row([stream], |row| row.get(0)).map_err(broken)?, "the version of a stream")
}

fn put_access(connection: &Connection, row: &AccessRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO access (id, requester, resource, state, exact, asked_at, open) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT DO UPDATE SET requester = excluded.requester, resource = excluded.resource, state = excluded.state,
                                         exact = excluded.exact, asked_at = excluded.asked_at, open = excluded.open";
    let (id, requester, resource) = (row.id.as_str(), row.requester.as_str(), row.resource.as_str());
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![id, requester, resource, row.state, row.exact, row.asked_at.micros(), row.open])
        })
        .map(drop)
        .map_err(broken)
}

fn put_session(connection: &Connection, row: &SessionRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO sessions (id, principal, resource, opened_at, closed_at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO UPDATE SET principal = excluded.principal, resource = excluded.resource,
                                         opened_at = excluded.opened_at, closed_at = excluded.closed_at";
    let (id, principal, resource) = (row.id.as_str(), row.principal.as_str(), row.resource.as_str());
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.execute(params![id, principal, resource, row.opened_at.micros(), row.closed_at.map(Timestamp::micros)])
        })
        .map(drop)
        .map_err(broken)
}
