//! The store's port in memory, written as plainly as possible: the reference that real stores are compared with.
//!
//! Keeps nothing when dropped. Commitment keys follow from the index: never use it outside tests.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use safeconduct_app::ports::{
    AccessQuery, AccessRow, Append, BoxFuture, LedgerEntry, Row, SessionQuery, SessionRow, Store, StoreError, Stored, TreeHead, ValueChange,
};
use safeconduct_ledger::{
    Entry, Frontier, TileKind, TilePath, TreeHash, canonical, commit_body, consistency_proof, inclusion_proof, leaf_hash, tile,
};
use safeconduct_lifecycle::{Event, StreamId};
use safeconduct_model::Timestamp;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// A store that forgets everything when dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    /// Held by whoever wants sessions to be listed later.
    listing: Arc<RwLock<()>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    entries: Vec<Kept>,
    frontier: Frontier,
    levels: Vec<Vec<TreeHash>>,
    access: BTreeMap<String, AccessRow>,
    sessions: BTreeMap<String, SessionRow>,
    values: BTreeMap<(String, String), Vec<u8>>,
    cursors: BTreeMap<String, u64>,
    checkpoints: BTreeMap<u64, String>,
    high_water: Option<Timestamp>,
    broken: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    stored: Stored,
    leaf: Vec<u8>,
    body: Option<([u8; 32], String)>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// While broken every call fails as if the disk were gone, and changes nothing.
    pub fn set_broken(&self, broken: bool) {
        self.state.lock().broken = broken;
    }

    /// Until the guard is dropped, listing sessions waits.
    pub async fn pause_listing(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.listing).write_owned().await
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> Result<T, StoreError>) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
    {
        let mut state = self.state.lock();
        let result = if state.broken { Err(unavailable("the store is broken on purpose")) } else { what(&mut state) };
        Box::pin(std::future::ready(result))
    }
}

impl State {
    fn append(&mut self, appends: Vec<Append>, at: Timestamp) -> Result<u64, StoreError> {
        let first = self.frontier.size();
        let at = self.raise(at);
        for append in appends {
            let version = self.entries.iter().filter(|kept| kept.stored.stream == append.stream).count() as u64;
            if version != append.expected {
                return Err(StoreError::Conflict { stream: append.stream.to_string() });
            }
            for (version, event) in (version + 1..).zip(append.events) {
                self.append_event(append.stream.clone(), version, event, at)?;
            }
            match append.row {
                Some(Row::Access(row)) => drop(self.access.insert(row.id.to_string(), row)),
                Some(Row::Session(row)) => drop(self.sessions.insert(row.id.to_string(), row)),
                None => {}
            }
        }
        Ok(first)
    }

    fn append_event(&mut self, stream: StreamId, version: u64, event: Event, at: Timestamp) -> Result<(), StoreError> {
        let index = self.frontier.size();
        let body = event.to_body().map_err(unavailable)?;
        let body = canonical::canonicalize(body.as_bytes()).map_err(unavailable)?;
        let body = String::from_utf8(body).map_err(unavailable)?;
        Event::from_body(&stream, &body).map_err(unavailable)?;
        let mut key = [0x5a; 32];
        key[..8].copy_from_slice(&index.to_le_bytes());
        let commitment = commit_body(&key, body.as_bytes());
        let entry =
            Entry { index, at_micros: at.micros(), stream: stream.to_string(), version, kind: event.kind().to_owned(), body: commitment };
        let leaf = entry.to_leaf().map_err(unavailable)?;
        let levels = &mut self.levels;
        self.frontier.append_with(leaf_hash(&leaf), |stored| {
            levels.resize(levels.len().max(usize::from(stored.level) + 1), Vec::new());
            levels[usize::from(stored.level)].push(stored.hash);
        });
        self.entries.push(Kept { stored: Stored { index, stream, version, at, event: Some(event) }, leaf, body: Some((key, body)) });
        Ok(())
    }

    fn raise(&mut self, at: Timestamp) -> Timestamp {
        let mark = self.high_water.map_or(at, |mark| mark.max(at));
        self.high_water = Some(mark);
        mark
    }

    fn tile(&self, path: &str) -> Option<Vec<u8>> {
        let path = TilePath::parse(path)?;
        let (first, width) = (usize::try_from(path.first()).ok()?, usize::from(path.width()));
        match path.kind() {
            TileKind::Hashes { level } => Some(tile::encode_hashes(self.levels.get(usize::from(level))?.get(first..first + width)?)),
            TileKind::Entries => {
                let leaves: Vec<_> = self.entries.get(first..first + width)?.iter().map(|kept| &kept.leaf).collect();
                tile::encode_bundle(&leaves).ok()
            }
        }
    }
}

impl Store for MemoryStore {
    fn append(&self, appends: Vec<Append>, at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.with(|state| {
            let mut next = state.clone();
            let first = next.append(appends, at)?;
            *state = next;
            Ok(first)
        })
    }

    fn load(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        self.with(|state| Ok(state.entries.iter().map(|kept| &kept.stored).filter(|stored| stored.stream == stream).cloned().collect()))
    }

    fn events_from(&self, index: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        self.with(|state| {
            let from = state.entries.iter().map(|kept| &kept.stored).filter(|stored| stored.index >= index);
            Ok(from.take(limit as usize).cloned().collect())
        })
    }

    fn access_requests(&self, query: AccessQuery) -> BoxFuture<'_, Result<Vec<AccessRow>, StoreError>> {
        self.with(|state| {
            let before = query.before.as_ref().map(|id| state.access.get(id.as_str()).map(|row| (row.asked_at, row.id.clone())));
            let mut rows: Vec<_> = state
                .access
                .values()
                .filter(|row| query.requester.as_ref().is_none_or(|name| *name == row.requester))
                .filter(|row| query.resource.as_ref().is_none_or(|name| *name == row.resource))
                .filter(|row| query.state.as_ref().is_none_or(|state| *state == row.state))
                .filter(|row| query.open.is_none_or(|open| open == row.open))
                .filter(|row| {
                    before.as_ref().is_none_or(|known| known.as_ref().is_some_and(|key| (row.asked_at, &row.id) < (key.0, &key.1)))
                })
                .cloned()
                .collect();
            rows.sort_by(|a, b| (b.asked_at, &b.id).cmp(&(a.asked_at, &a.id)));
            rows.truncate(query.limit as usize);
            Ok(rows)
        })
    }

    fn sessions(&self, query: SessionQuery) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        let listed = self.with(|state| {
            let before = query.before.as_ref().map(|id| state.sessions.get(id.as_str()).map(|row| (row.opened_at, row.id.clone())));
            let mut rows: Vec<_> = state
                .sessions
                .values()
                .filter(|row| query.principal.as_ref().is_none_or(|name| *name == row.principal))
                .filter(|row| query.live.is_none_or(|live| live == row.closed_at.is_none()))
                .filter(|row| query.open_from.is_none_or(|from| row.closed_at.is_none_or(|at| at >= from)))
                .filter(|row| query.opened_to.is_none_or(|to| row.opened_at <= to))
                .filter(|row| {
                    before.as_ref().is_none_or(|known| known.as_ref().is_some_and(|key| (row.opened_at, &row.id) < (key.0, &key.1)))
                })
                .cloned()
                .collect();
            rows.sort_by(|a, b| (b.opened_at, &b.id).cmp(&(a.opened_at, &a.id)));
            rows.truncate(query.limit as usize);
            Ok(rows)
        });
        Box::pin(async move {
            let _turn = self.listing.read().await;
            listed.await
        })
    }

    fn high_water(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        self.with(|state| Ok(state.high_water))
    }

    fn raise_high_water(&self, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        self.with(|state| {
            state.raise(at);
            Ok(())
        })
    }

    fn cursor(&self, reader: &str) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.with(|state| Ok(state.cursors.get(reader).copied().unwrap_or(0)))
    }

    fn set_cursor(&self, reader: &str, index: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.with(|state| {
            state.cursors.insert(reader.to_owned(), index);
            Ok(())
        })
    }

    fn value(&self, kind: &str, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.with(|state| Ok(state.values.get(&(kind.to_owned(), key.to_owned())).cloned()))
    }

    fn values(&self, kind: &str) -> BoxFuture<'_, Result<Vec<(String, Vec<u8>)>, StoreError>> {
        self.with(|state| {
            let of_kind = state.values.iter().filter(|((of, _), _)| of == kind);
            Ok(of_kind.map(|((_, key), value)| (key.clone(), value.clone())).collect())
        })
    }

    fn put_values(&self, changes: Vec<ValueChange>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.with(|state| {
            for change in changes {
                match change.value {
                    Some(value) => drop(state.values.insert((change.kind, change.key), value)),
                    None => drop(state.values.remove(&(change.kind, change.key))),
                }
            }
            Ok(())
        })
    }

    fn put_value_if_absent(&self, kind: &str, key: &str, value: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.with(|state| match state.values.entry((kind.to_owned(), key.to_owned())) {
            std::collections::btree_map::Entry::Occupied(_) => Ok(false),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(value);
                Ok(true)
            }
        })
    }

    fn tree_head(&self) -> BoxFuture<'_, Result<TreeHead, StoreError>> {
        self.with(|state| Ok(TreeHead { size: state.frontier.size(), root: *state.frontier.root().as_bytes() }))
    }

    fn put_checkpoint(&self, size: u64, note: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.with(|state| {
            state.checkpoints.insert(size, note);
            Ok(())
        })
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.with(|state| Ok(state.checkpoints.values().next_back().cloned()))
    }

    fn tile(&self, path: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.with(|state| Ok(state.tile(path)))
    }

    fn entries(&self, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
        self.with(|state| {
            let kept = state.entries.iter().filter(|kept| kept.stored.index >= from).take(limit as usize);
            Ok(kept.map(|kept| LedgerEntry { index: kept.stored.index, leaf: kept.leaf.clone(), body: kept.body.clone() }).collect())
        })
    }

    fn erase_body(&self, index: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.with(|state| {
            let kept = state.entries.iter_mut().find(|kept| kept.stored.index == index);
            Ok(kept.is_some_and(|kept| {
                kept.stored.event = None;
                kept.body.take().is_some()
            }))
        })
    }

    fn inclusion_proof(&self, index: u64, size: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
        self.with(|state| {
            let proof = if size > state.frontier.size() { None } else { inclusion_proof(state.levels.as_slice(), index, size).ok() };
            Ok(proof.map(bytes))
        })
    }

    fn consistency_proof(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
        self.with(|state| {
            let proof = if new > state.frontier.size() { None } else { consistency_proof(state.levels.as_slice(), old, new).ok() };
            Ok(proof.map(bytes))
        })
    }
}

fn bytes(proof: Vec<TreeHash>) -> Vec<[u8; 32]> {
    proof.iter().map(|hash| *hash.as_bytes()).collect()
}

fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable(cause.into())
}
