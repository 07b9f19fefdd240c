//! The embedded store: events, ledger entries and read tables in one SQLite file, changed together or not at all.
//!
//! One thread writes and shares flushes between callers; two read. `Ok` means that power may fail. When the disk is full or the
//! file is out of reach, work fails and nothing is half done; once it is back, the next work goes through.

mod copy;
mod error;
mod queries;
mod reader;
mod schema;
mod sequence;
mod tree;
mod writer;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use parking_lot::Mutex;
use rusqlite::Connection;
use safeconduct_app::ports::{
    AccessQuery, AccessRow, Append, BoxFuture, Entropy, LedgerEntry, SessionQuery, SessionRow, Store, StoreError, Stored, TreeHead,
    ValueChange,
};
use safeconduct_lifecycle::StreamId;
use safeconduct_model::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::{Refusal, refused},
    reader::Question,
    sequence::Sequence,
    writer::{Job, Writer},
};

pub use crate::copy::{Contents, contents, copy};

/// A store in one file. Dropping it finishes what was begun and closes the file.
pub struct SqliteStore {
    /// `None` only while being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    questions: Option<mpsc::Sender<Question>>,
    threads: Vec<thread::JoinHandle<()>>,
    head: Arc<Mutex<TreeHead>>,
    path: PathBuf,
    entropy: Arc<dyn Entropy>,
    /// Keeps other processes out. Released when the file is closed.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store in this file; makes file (0600) and directory (0700) if they do not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the file can't be opened, is held by another process or was written by a newer program;
    /// [`StoreError::Corrupt`] if what is in it does not fit together.
    pub fn open(path: impl AsRef<Path>, entropy: Arc<dyn Entropy>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let lock = schema::claim(path)?;
        let connection = schema::open_writer(path)?;
        let sequence = Sequence::read(&connection)?;
        let head = Arc::new(Mutex::new(writer::head(&sequence)));
        let (questions, mut threads) = reader::start(path)?;
        let (jobs, receiver) = mpsc::channel(writer::QUEUE);
        let writer = Writer { connection, sequence: Some(sequence), head: Arc::clone(&head) };
        let thread = thread::Builder::new().name("store-write".to_owned()).spawn(move || writer.run(receiver));
        threads.push(thread.map_err(|cause| StoreError::Unavailable(Box::new(cause)))?);
        Ok(Self { jobs: Some(jobs), questions: Some(questions), threads, head, path: path.to_owned(), entropy, _lock: lock })
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Sequence) -> Result<T, StoreError> + Send + 'static,
    {
        let (job, answer) = Job::new(work);
        send(self.jobs.as_ref(), job).await?;
        receive(answer).await
    }

    async fn read<T, F>(&self, ask: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (question, answer) = Question::new(ask);
        send(self.questions.as_ref(), question).await?;
        receive(answer).await
    }
}

async fn send<T>(queue: Option<&mpsc::Sender<T>>, item: T) -> Result<(), StoreError> {
    let queue = queue.ok_or_else(|| refused(Refusal::Stopped))?;
    queue.send(item).await.map_err(|_| refused(Refusal::Stopped))
}

async fn receive<T>(answer: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    // Work that is dropped unrun was not done: the transaction around it failed before its turn.
    answer.await.unwrap_or_else(|_| Err(refused(Refusal::NotRun)))
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        drop((self.jobs.take(), self.questions.take()));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store died");
            }
        }
    }
}

impl Store for SqliteStore {
    /// Writes as much as a few events take beside the file, and takes it away again: SQLite's own log is used again and may have
    /// room where the disk has none.
    fn has_room(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut path = self.path.clone().into_os_string();
        path.push(".room");
        Box::pin(self.read(move |_| schema::try_room(Path::new(&path))))
    }

    fn append(&self, appends: Vec<Append>, at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let prepared = sequence::prepare(appends, self.entropy.as_ref())?;
            self.write(move |connection, sequence| sequence.append(connection, &prepared, at)).await
        })
    }

    fn load(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        Box::pin(self.read(move |connection| queries::load(connection, &stream)))
    }

    fn version(&self, stream: StreamId) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.read(move |connection| queries::version(connection, &stream)))
    }

    fn events_from(&self, index: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>> {
        Box::pin(self.read(move |connection| queries::events_from(connection, index, limit)))
    }

    fn access_requests(&self, query: AccessQuery) -> BoxFuture<'_, Result<Vec<AccessRow>, StoreError>> {
        Box::pin(self.read(move |connection| queries::access_requests(connection, &query)))
    }

    fn sessions(&self, query: SessionQuery) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        Box::pin(self.read(move |connection| queries::sessions(connection, &query)))
    }

    fn high_water(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        Box::pin(self.read(sequence::high_water))
    }

    fn raise_high_water(&self, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |connection, sequence| sequence.raise(connection, at).map(drop)))
    }

    fn cursor(&self, reader: &str) -> BoxFuture<'_, Result<u64, StoreError>> {
        let reader = reader.to_owned();
        Box::pin(self.read(move |connection| queries::cursor(connection, &reader)))
    }

    fn set_cursor(&self, reader: &str, index: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        let reader = reader.to_owned();
        Box::pin(self.write(move |connection, _| queries::set_cursor(connection, &reader, index)))
    }

    fn value(&self, kind: &str, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        let (kind, key) = (kind.to_owned(), key.to_owned());
        Box::pin(self.read(move |connection| queries::value(connection, &kind, &key)))
    }

    fn values(&self, kind: &str) -> BoxFuture<'_, Result<Vec<(String, Vec<u8>)>, StoreError>> {
        let kind = kind.to_owned();
        Box::pin(self.read(move |connection| queries::values(connection, &kind)))
    }

    fn put_values(&self, changes: Vec<ValueChange>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |connection, _| {
            changes.iter().try_for_each(|change| queries::put_value(connection, &change.kind, &change.key, change.value.as_deref()))
        }))
    }

    fn put_value_if_absent(&self, kind: &str, key: &str, value: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>> {
        let (kind, key) = (kind.to_owned(), key.to_owned());
        Box::pin(self.write(move |connection, _| queries::put_value_if_absent(connection, &kind, &key, &value)))
    }

    fn tree_head(&self) -> BoxFuture<'_, Result<TreeHead, StoreError>> {
        Box::pin(std::future::ready(Ok(*self.head.lock())))
    }

    fn put_checkpoint(&self, size: u64, note: String) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |connection, _| queries::put_checkpoint(connection, size, &note)))
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        Box::pin(self.read(queries::checkpoint))
    }

    fn tile(&self, path: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        let path = path.to_owned();
        Box::pin(self.read(move |connection| tree::file(connection, &path)))
    }

    fn entries(&self, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
        Box::pin(self.read(move |connection| queries::entries(connection, from, limit)))
    }

    fn erase_body(&self, index: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.write(move |connection, _| queries::erase_body(connection, index)))
    }

    fn inclusion_proof(&self, index: u64, size: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
        Box::pin(self.read(move |connection| tree::inclusion_proof(connection, index, size)))
    }

    fn consistency_proof(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>> {
        Box::pin(self.read(move |connection| tree::consistency_proof(connection, old, new)))
    }
}

#[cfg(test)]
mod tests {
    use safeconduct_lifecycle::SessionEvent;
    use safeconduct_model::SessionId;

    use super::*;

    /// Random bytes that are none.
    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), safeconduct_app::ports::NoEntropy> {
            buffer.fill(0);
            Ok(())
        }
    }

    fn append(n: u64, size: usize) -> Vec<Append> {
        let at = Timestamp::from_micros(1);
        let event = SessionEvent::ActionRefused { why: "x".repeat(size), at };
        vec![Append { stream: StreamId::Session(SessionId::from_bits(n)), expected: 0, events: vec![event.into()], row: None }]
    }

    async fn limit_pages(store: &SqliteStore, more: i64) {
        store
            .write(move |connection, _| {
                let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(error::broken)?;
                let limit = pages.saturating_add(more);
                connection.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(())).map_err(error::broken)
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn f48_a_full_disk_stops_appends_and_nothing_is_half_done() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("store.db"), Arc::new(Zeros)).unwrap();
        let at = Timestamp::from_micros(1);
        store.append(append(1, 10), at).await.unwrap();
        limit_pages(&store, 2).await;
        let before = store.tree_head().await.unwrap();
        // Together with a small one, which shares the transaction or not: each is whole or not there.
        let (large, small) = tokio::join!(store.append(append(2, 1 << 20), at), store.append(append(3, 10), at));
        assert!(matches!(large, Err(StoreError::Unavailable(_))), "{large:?}");
        let kept = u64::from(small.is_ok());
        assert_eq!(store.tree_head().await.unwrap().size, before.size + kept);
        assert_eq!(store.events_from(0, 10).await.unwrap().len() as u64, before.size + kept);
        assert!(store.load(StreamId::Session(SessionId::from_bits(2))).await.unwrap().is_empty());

        limit_pages(&store, 1_000_000).await;
        assert_eq!(store.append(append(2, 1 << 20), at).await.unwrap(), before.size + kept);
        assert_eq!(store.events_from(0, 10).await.unwrap().len() as u64, before.size + kept + 1);
        let read = store.write(|connection, _| Sequence::read(connection)).await.unwrap();
        assert_eq!(writer::head(&read), store.tree_head().await.unwrap());
    }
}
