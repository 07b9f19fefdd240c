//! Questions to the file. What is read is checked against the ledger's own bytes: an event whose columns, leaf and body do not
//! fit together is corrupt and never handed out.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
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

pub(crate) fn access_requests(connection: &Connection, query: &AccessQuery) -> Result<Vec<AccessRow>, StoreError> {
    let sql = "SELECT id, requester, resource, state, exact, asked_at, open FROM access
               WHERE (?1 IS NULL OR requester = ?1) AND (?2 IS NULL OR resource = ?2) AND (?3 IS NULL OR state = ?3)
                 AND (?4 IS NULL OR open = ?4)
                 AND (?5 IS NULL OR (asked_at, id) < (SELECT asked_at, id FROM access WHERE id = ?5))
               ORDER BY asked_at DESC, id DESC LIMIT ?6";
    let mut statement = connection.prepare_cached(sql).map_err(broken)?;
    let requester = query.requester.as_ref().map(|name| name.as_str());
    let resource = query.resource.as_ref().map(|name| name.as_str());
    let before = query.before.as_ref().map(|id| id.as_str());
    let mut rows = statement.query(params![requester, resource, query.state, query.open, before, query.limit]).map_err(broken)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(broken)? {
        found.push(access_row(row)?);
    }
    Ok(found)
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
    let sql = "SELECT id, principal, resource, opened_at, closed_at FROM sessions
               WHERE (?1 IS NULL OR principal = ?1) AND (?2 IS NULL OR (closed_at IS NULL) = ?2)
                 AND (?3 IS NULL OR (opened_at, id) < (SELECT opened_at, id FROM sessions WHERE id = ?3))
               ORDER BY opened_at DESC, id DESC LIMIT ?4";
    let mut statement = connection.prepare_cached(sql).map_err(broken)?;
    let principal = query.principal.as_ref().map(|name| name.as_str());
    let before = query.before.as_ref().map(|id| id.as_str());
    let mut rows = statement.query(params![principal, query.live, before, query.limit]).map_err(broken)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(broken)? {
        found.push(session_row(row)?);
    }
    Ok(found)
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
