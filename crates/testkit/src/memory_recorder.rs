//! The recorder's ports in memory. Dropping a journal without closing it is a crash of its session.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use safeconduct_app::ports::{BoxFuture, Journal, Record, Recorder, RecordingError, Recovered, What};
use safeconduct_lifecycle::Chunk;
use safeconduct_model::{Digest, SessionId};

const CHUNK_BYTES: usize = 1 << 20;

/// A recorder that forgets everything when dropped. Clones share their recordings.
#[derive(Clone, Debug, Default)]
pub struct MemoryRecorder(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<SessionId, Recording>,
    broken: bool,
    syncs: u64,
}

#[derive(Debug, Default)]
struct Recording {
    records: Vec<Record>,
    sealed: Vec<Chunk>,
    open: String,
    open_records: u64,
    taken: usize,
    standing: Standing,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    InUse,
    LeftOpen,
    Closed,
    Settled,
}

impl MemoryRecorder {
    /// A recorder without recordings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// While broken nothing can be opened, written or flushed.
    pub fn set_broken(&self, broken: bool) {
        self.0.lock().broken = broken;
    }

    /// How often a journal was flushed on demand.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// The process dies: nobody closes what is open.
    pub fn crash(&self) {
        for recording in self.0.lock().sessions.values_mut().filter(|recording| recording.standing == Standing::InUse) {
            recording.standing = Standing::LeftOpen;
        }
    }

    /// Everything recorded of a session so far.
    #[must_use]
    pub fn records(&self, session: &SessionId) -> Vec<Record> {
        self.0.lock().sessions.get(session).map(|recording| recording.records.clone()).unwrap_or_default()
    }
}

impl State {
    fn working(&mut self) -> Result<&mut Self, RecordingError> {
        if self.broken { Err(RecordingError::Unwritable("the recorder is broken on purpose".into())) } else { Ok(self) }
    }
}

impl Recording {
    fn seal(&mut self, recovered: bool) {
        if self.open_records > 0 {
            let number = self.sealed.len() as u64 + 1;
            let digest = Digest::of_bytes(self.open.as_bytes());
            self.sealed.push(Chunk { number, digest, size_bytes: self.open.len() as u64, records: self.open_records, recovered });
            self.open.clear();
            self.open_records = 0;
        }
    }

    fn open_intents(&self) -> Vec<Record> {
        let mut open = BTreeMap::new();
        for record in &self.records {
            match &record.what {
                What::Intent { statement, .. } => drop(open.insert(*statement, record.clone())),
                What::Outcome { statement, .. } => drop(open.remove(statement)),
                _ => {}
            }
        }
        open.into_values().collect()
    }
}

impl Recorder for MemoryRecorder {
    fn open(&self, session: &SessionId) -> Result<Box<dyn Journal>, RecordingError> {
        let mut state = self.0.lock();
        let state = state.working()?;
        if state.sessions.contains_key(session) {
            return Err(RecordingError::Unwritable("this session is recorded already".into()));
        }
        state.sessions.insert(session.clone(), Recording::default());
        Ok(Box::new(MemoryJournal { recorder: self.clone(), session: session.clone() }))
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<Recovered>, RecordingError>> {
        let mut recovered = Vec::new();
        for (session, recording) in &mut self.0.lock().sessions {
            if matches!(recording.standing, Standing::LeftOpen | Standing::Closed) {
                recording.seal(true);
                let (session, chunks) = (session.clone(), recording.sealed.clone());
                recovered.push(Recovered { session, chunks, open_intents: recording.open_intents(), lost: None });
            }
        }
        Box::pin(std::future::ready(Ok(recovered)))
    }

    fn settled(&self, session: &SessionId) -> BoxFuture<'_, Result<(), RecordingError>> {
        if let Some(recording) = self.0.lock().sessions.get_mut(session) {
            recording.standing = Standing::Settled;
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn read(&self, session: &SessionId, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, RecordingError>> {
        let state = self.0.lock();
        let found = state
            .sessions
            .get(session)
            .ok_or(RecordingError::Missing)
            .map(|recording| recording.records.iter().filter(|record| record.n >= from).take(limit as usize).cloned().collect());
        Box::pin(std::future::ready(found))
    }

    fn chunk_digest(&self, session: &SessionId, number: u64) -> BoxFuture<'_, Result<Option<Digest>, RecordingError>> {
        let state = self.0.lock();
        let chunk = state.sessions.get(session).and_then(|recording| recording.sealed.iter().find(|chunk| chunk.number == number));
        Box::pin(std::future::ready(Ok(chunk.map(|chunk| chunk.digest))))
    }
}

struct MemoryJournal {
    recorder: MemoryRecorder,
    session: SessionId,
}

impl MemoryJournal {
    fn with<T>(&self, what: impl FnOnce(&mut Recording) -> T) -> Result<T, RecordingError> {
        let mut state = self.recorder.0.lock();
        state.working()?.sessions.get_mut(&self.session).map(what).ok_or(RecordingError::Missing)
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), RecordingError> {
        self.with(|recording| {
            for record in records {
                recording.open.push_str(&serde_json::to_string(record).unwrap());
                recording.open.push('\n');
                recording.open_records += 1;
                recording.records.push(record.clone());
            }
            if recording.open.len() >= CHUNK_BYTES {
                recording.seal(false);
            }
        })
    }

    fn sync(&self) -> BoxFuture<'static, Result<(), RecordingError>> {
        let mut state = self.recorder.0.lock();
        let result = state.working().map(|state| state.syncs += 1);
        Box::pin(std::future::ready(result))
    }

    fn take_sealed(&mut self) -> Option<Chunk> {
        self.with(|recording| {
            let chunk = recording.sealed.get(recording.taken).cloned();
            recording.taken += usize::from(chunk.is_some());
            chunk
        })
        .ok()
        .flatten()
    }

    fn close(self: Box<Self>) -> Result<Vec<Chunk>, RecordingError> {
        self.with(|recording| {
            recording.seal(false);
            recording.standing = Standing::Closed;
            recording.sealed.iter().skip(recording.taken).cloned().collect()
        })
    }
}

impl Drop for MemoryJournal {
    fn drop(&mut self) {
        if let Some(recording) = self.recorder.0.lock().sessions.get_mut(&self.session)
            && recording.standing == Standing::InUse
        {
            recording.standing = Standing::LeftOpen;
        }
    }
}
