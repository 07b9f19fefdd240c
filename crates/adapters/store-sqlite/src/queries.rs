//! Questions to the file. What is read is checked against the ledger's own bytes: an event whose columns, leaf and body do not
//! fit together is corrupt and never handed out.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params, params_from_iter};
use safeconduct_app::ports::{AccessQuery, AccessRow, LedgerEntry, SessionQuery, SessionRow, StoreError, Stored};
use safeconduct_ledger::{Entry, verify_body};
use safeconduct_lifecycle::{Event, StreamId};
use safeconduct_model::Timestamp;

use crate::error::{broken, corrupt, count, number};

const EVENTS: &str = "SELECT e.idx, e.stream, e.version, e.at, e.leaf, b.key, b.body FROM entries e LEFT JOIN bodies b ON b.idx = e.idx";

pub(crate) fn load(connection: &Connection, stream: &StreamId) -> Result<Vec<Stored>, StoreError> {
    let events: Vec<Stored> = events(connection, &format!("{EVENTS} WHERE e.stream = ?1 ORDER BY e.version"), [stream.to_string()])?;
    match (1..).zip(&events).find(|(version, event)| event.version != *version) {
        Some((version, _)) => Err(corrupt(format!("event {version} of stream `{stream}`"))),
        None => Ok(events),
    }
}

pub(crate) fn version(connection: &Connection, stream: &StreamId) -> Result<u64, StoreError> {
    let latest: Option<i64> = connection
        .query_row("SELECT max(version) FROM entries WHERE stream = ?1", [stream.to_string()], |row| row.get(0))
        .map_err(broken)?;
    latest.map_or(Ok(0), |latest| count(latest, "the version of a stream"))
}

pub(crate) fn events_from(connection: &Connection, index: u64, limit: u32) -> Result<Vec<Stored>, StoreError> {
    let Ok(index) = i64::try_from(index) else { return Ok(Vec::new()) };
    events(connection, &format!("{EVENTS} WHERE e.idx >= ?1 ORDER BY e.idx LIMIT ?2"), params![index, limit])
}

fn events(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Vec<Stored>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(broken)?;
    let mut rows = statement.query(parameters).map_err(broken)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(broken)? {
        events.push(event(row)?);
    }
    Ok(events)
}

fn event(row: &Row<'_>) -> Result<Stored, StoreError> {
    type Columns = (i64, String, i64, i64, Vec<u8>, Option<[u8; 32]>, Option<String>);
    let index: i64 = row.get(0).map_err(broken)?;
    let place = || corrupt(format!("ledger entry {index}"));
    let (index, stream, version, at, leaf, key, body) = Columns::try_from(row).map_err(|_| place())?;
    let (index, version) = (count(index, "an index")?, count(version, "a version")?);
    let entry = Entry::parse(&leaf).map_err(|_| place())?;
    if (entry.index, entry.version, entry.at_micros) != (index, version, at) || entry.stream != stream {
        return Err(place());
    }
    let stream: StreamId = stream.parse().map_err(|_| place())?;
    let event = match (key, body) {
        (None, None) => None,
        (Some(key), Some(body)) if verify_body(&key, body.as_bytes(), &entry.body) => {
            let event = Event::from_body(&stream, &body).map_err(|_| place())?;
            if event.kind() != entry.kind {
                return Err(place());
            }
            Some(event)
        }
        _ => return Err(place()),
    };
    Ok(Stored { index, stream, version, at: Timestamp::from_micros(at), event })
}

/// The bounds of a list: what is not asked for is not in the text, so that the indexes serve what is.
#[derive(Default)]
struct Bounds<'q> {
    text: String,
    values: Vec<Cow<'q, str>>,
}

impl<'q> Bounds<'q> {
    /// A bound without a value of its own.
    fn fixed(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
            self.text.push_str(text);
        }
    }

    /// A bound with one value in the place of `?`.
    fn with<V: Into<Cow<'q, str>>>(&mut self, text: &str, value: Option<V>) {
        if let Some(value) = value {
            self.fixed(Some(text));
            self.values.push(value.into());
        }
    }

    fn list<T>(
        &self,
        connection: &Connection,
        columns: &str,
        order: &str,
        limit: u32,
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let sql = format!("{columns}{} ORDER BY {order} LIMIT {limit}", self.text);
        let mut statement = connection.prepare_cached(&sql).map_err(broken)?;
        let mut rows = statement.query(params_from_iter(&self.values)).map_err(broken)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(broken)? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}

pub(crate) fn access_requests(connection: &Connection, query: &AccessQuery) -> Result<Vec<AccessRow>, StoreError> {
    let mut bounds = Bounds::default();
    bounds.with("requester = ?", query.requester.as_ref().map(|name| name.as_str()));
    bounds.with("resource = ?", query.resource.as_ref().map(|name| name.as_str()));
    bounds.with("state = ?", query.state.as_deref());
    bounds.fixed(query.open.map(|open| if open { "open = 1" } else { "open = 0" }));
    bounds.with("(asked_at, id) < (SELECT asked_at, id FROM access WHERE id = ?)", query.before.as_ref().map(|id| id.as_str()));
    let columns = "SELECT id, requester, resource, state, exact, asked_at, open FROM access";
    bounds.list(connection, columns, "asked_at DESC, id DESC", query.limit, access_row)
}

fn access_row(row: &Row<'_>) -> Result<AccessRow, StoreError> {
    let (id, requester, resource, state, exact, asked_at, open): (String, String, String, String, bool, i64, bool) =
        row.try_into().map_err(broken)?;
    let place = || corrupt(format!("the row of access request `{}`", id.escape_default()));
    Ok(AccessRow {
        requester: requester.parse().map_err(|_| place())?,
        resource: resource.parse().map_err(|_| place())?,
        id: id.parse().map_err(|_| place())?,
        state,
        exact,
        asked_at: Timestamp::from_micros(asked_at),
        open,
    })
}

pub(crate) fn sessions(connection: &Connection, query: &SessionQuery) -> Result<Vec<SessionRow>, StoreError> {
    let mut bounds = Bounds::default();
    bounds.with("principal = ?", query.principal.as_ref().map(|name| name.as_str()));
    bounds.fixed(query.live.map(|live| if live { "closed_at IS NULL" } else { "closed_at IS NOT NULL" }));
    bounds.with("(closed_at IS NULL OR closed_at >= ?)", query.open_from.map(|from| from.micros().to_string()));
    bounds.with("opened_at <= ?", query.opened_to.map(|to| to.micros().to_string()));
    bounds.with("(opened_at, id) < (SELECT opened_at, id FROM sessions WHERE id = ?)", query.before.as_ref().map(|id| id.as_str()));
    let columns = "SELECT id, principal, resource, opened_at, closed_at FROM sessions";
    bounds.list(connection, columns, "opened_at DESC, id DESC", query.limit, session_row)
}

fn session_row(row: &Row<'_>) -> Result<SessionRow, StoreError> {
    let (id, principal, resource, opened_at, closed_at): (String, String, String, i64, Option<i64>) = row.try_into().map_err(broken)?;
    let place = || corrupt(format!("the row of session `{}`", id.escape_default()));
    Ok(SessionRow {
        principal: principal.parse().map_err(|_| place())?,
        resource: resource.parse().map_err(|_| place())?,
        id: id.parse().map_err(|_| place())?,
        opened_at: Timestamp::from_micros(opened_at),
        closed_at: closed_at.map(Timestamp::from_micros),
    })
}

/// Entries as they are, unchecked: whoever exports shows what is there.
pub(crate) fn entries(connection: &Connection, from: u64, limit: u32) -> Result<Vec<LedgerEntry>, StoreError> {
    let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
    let sql =
        "SELECT e.idx, e.leaf, b.key, b.body FROM entries e LEFT JOIN bodies b ON b.idx = e.idx WHERE e.idx >= ?1 ORDER BY e.idx LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(broken)?;
    let mut rows = statement.query(params![from, limit]).map_err(broken)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(broken)? {
        let (index, leaf, key, body): (i64, Vec<u8>, Option<[u8; 32]>, Option<String>) = row.try_into().map_err(broken)?;
        entries.push(LedgerEntry { index: count(index, "an index")?, leaf, body: key.zip(body) });
    }
    Ok(entries)
}

pub(crate) fn cursor(connection: &Connection, reader: &str) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT idx FROM cursors WHERE reader = ?1").map_err(broken)?;
    count(statement.query_row([reader], |row| row.get(0)).optional().map_err(broken)?.unwrap_or(0), "a cursor")
}

pub(crate) fn set_cursor(connection: &Connection, reader: &str, index: u64) -> Result<(), StoreError> {
    let sql = "INSERT INTO cursors (reader, idx) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET idx = excluded.idx";
    let index = number(index)?;
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params![reader, index])).map(drop).map_err(broken)
}

pub(crate) fn value(connection: &Connection, kind: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM kv WHERE kind = ?1 AND key = ?2").map_err(broken)?;
    statement.query_row([kind, key], |row| row.get(0)).optional().map_err(broken)
}

pub(crate) fn values(connection: &Connection, kind: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT key, value FROM kv WHERE kind = ?1 ORDER BY key").map_err(broken)?;
    let rows = statement.query_map([kind], |row| row.try_into()).map_err(broken)?;
    rows.collect::<Result<_, _>>().map_err(broken)
}

pub(crate) fn put_value(connection: &Connection, kind: &str, key: &str, value: Option<&[u8]>) -> Result<(), StoreError> {
    let done = match value {
        Some(value) => connection
            .prepare_cached("INSERT INTO kv (kind, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value")
            .and_then(|mut statement| statement.execute(params![kind, key, value])),
        None => connection
            .prepare_cached("DELETE FROM kv WHERE kind = ?1 AND key = ?2")
            .and_then(|mut statement| statement.execute(params![kind, key])),
    };
    done.map(drop).map_err(broken)
}

pub(crate) fn put_value_if_absent(connection: &Connection, kind: &str, key: &str, value: &[u8]) -> Result<bool, StoreError> {
    let sql = "INSERT INTO kv (kind, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let written = connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params![kind, key, value])).map_err(broken)?;
    Ok(written == 1)
}

pub(crate) fn put_checkpoint(connection: &Connection, size: u64, note: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO checkpoints (size, note) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET note = excluded.note";
    let size = number(size)?;
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params![size, note])).map(drop).map_err(broken)
}

pub(crate) fn checkpoint(connection: &Connection) -> Result<Option<String>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").map_err(broken)?;
    statement.query_row([], |row| row.get(0)).optional().map_err(broken)
}

/// Removes a body with its key. What they were is overwritten in the file (`secure_delete`), and in the write-ahead log as it is reused.
pub(crate) fn erase_body(connection: &Connection, index: u64) -> Result<bool, StoreError> {
    let Ok(index) = i64::try_from(index) else { return Ok(false) };
    let mut statement = connection.prepare_cached("DELETE FROM bodies WHERE idx = ?1").map_err(broken)?;
    Ok(statement.execute([index]).map_err(broken)? > 0)
}
