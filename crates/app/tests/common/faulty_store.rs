//! The in-memory store behind a switch: appends or everything can be made to fail, and an append can be made to wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use safeconduct_app::ports::{
    AccessQuery, AccessRow, Append, BoxFuture, LedgerEntry, SessionQuery, SessionRow, Store, StoreError, Stored, TreeHead, ValueChange,
};
use safeconduct_lifecycle::StreamId;
use safeconduct_model::Timestamp;
use safeconduct_testkit::MemoryStore;
use tokio::sync::Semaphore;

pub struct FaultyStore {
    inner: MemoryStore,
    full: AtomicBool,
    /// Appends let through before the store is full; `u64::MAX` for all.
    left: AtomicU64,
    values_broken: AtomicBool,
    /// An append takes one; unless slow there are always some.
    gate: Semaphore,
    slow: AtomicBool,
    head: parking_lot::Mutex<Option<TreeHead>>,
}

impl Default for FaultyStore {
    fn default() -> Self {
        Self {
            inner: MemoryStore::new(),
            full: AtomicBool::new(false),
            left: AtomicU64::new(u64::MAX),
            values_broken: AtomicBool::new(false),
            gate: Semaphore::new(0),
            slow: AtomicBool::new(false),
            head: parking_lot::Mutex::new(None),
        }
    }
}

impl FaultyStore {
    /// A full disk: what is stored can be read, nothing can be added.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::SeqCst)
    }

    /// Full after this many appends.
    pub fn full_after(&self, appends: u64) {
        self.left.store(appends, Ordering::SeqCst);
    }

    pub fn set_values_broken(&self, broken: bool) {
        self.values_broken.store(broken, Ordering::SeqCst);
    }

    /// Appends wait until [`FaultyStore::let_one_through`].
    pub fn set_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::SeqCst);
    }

    pub fn let_one_through(&self) {
        self.gate.add_permits(1);
    }

    /// Shows another head of the tree than there is.
    pub fn pretend_head(&self, head: Option<TreeHead>) {
        *self.head.lock() = head;
    }
}

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("no space left on purpose".into()))
}

impl Store for FaultyStore {
    fn append(&self, appends: Vec<Append>, at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            if self.slow.load(Ordering::SeqCst) {
                self.gate.acquire().await.map_err(|e| StoreError::Unavailable(e.into()))?.forget();
            }
            let none_left = self.left.load(Ordering::SeqCst) == 0;
            if self.full.load(Ordering::SeqCst) || none_left {
                return broken();
            }
            if self.left.load(Ordering::SeqCst) != u64::MAX {
                self.left.fetch_sub(1, Ordering::SeqCst);
            }
            self.inner.append(appends, at).await
        })
    }
    fn load(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        self.inner.load(stream)
    }
    fn events_from(&self, index: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        self.inner.events_from(index, limit)
    }
    fn access_requests(&self, query: AccessQuery) -> BoxFuture<'_, Result<Vec<AccessRow>, StoreError>> {
        self.inner.access_requests(query)
    }
    fn sessions(&self, query: SessionQuery) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.inner.sessions(query)
    }
    fn high_water(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        self.inner.high_water()
    }
    fn raise_high_water(&self, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.raise_high_water(at)
    }
    fn cursor(&self, reader: &str) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.cursor(reader)
    }
    fn set_cursor(&self, reader: &str, index: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.set_cursor(reader, index)
    }
    fn value(&self, kind: &str, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.inner.value(kind, key)
    }
    fn values(&self, kind: &str) -> BoxFuture<'_, Result<Vec<(String, Vec<u8>)>, StoreError>> {
        self.inner.values(kind)
    }
    fn put_values(&self, changes: Vec<ValueChange>) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.values_broken.load(Ordering::SeqCst) { Box::pin(std::future::ready(broken())) } else { self.inner.put_values(changes) }
    }
    fn put_value_if_absent(&self, kind: &str, key: &str, value: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.put_value_if_absent(kind, key, value)
    }
    fn tree_head(&self) -> BoxFuture<'_, Result<TreeHead, StoreError>> {
        match *self.head.lock() {
            Some(head) => Box::pin(std::future::ready(Ok(head))),
            None => self.inner.tree_head(),
        }
    }
    fn put_checkpoint(&self, size: u64, note: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.put_checkpoint(size, note)
    }
    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.inner.checkpoint()
    }
    fn tile(&self, path: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        self.inner.tile(path)
    }
    fn entries(&self, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
        self.inner.entries(from, limit)
    }
    fn erase_body(&self, index: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.erase_body(index)
    }
    fn inclusion_proof(&self, index: u64, size: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
        self.inner.inclusion_proof(index, size)
    }
    fn consistency_proof(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
        self.inner.consistency_proof(old, new)
    }
}
