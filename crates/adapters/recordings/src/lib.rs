//! Session journals and sealed chunks on local disk.
//!
//! A record has left the process when `append` returns and is on disk when `sync` resolves; journals that nobody waits for are
//! flushed at least every second. Refuses to share its folder with another process, and to forward on a record that it could
//! not write: the caller gets an error and must stop.

mod flush;
mod journal;
mod layout;
mod read;
mod recover;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use safeconduct_app::ports::{BoxFuture, Journal, Record, Recorder, RecordingError, Recovered};
use safeconduct_model::{Digest, SessionId};

use crate::{
    flush::{Flusher, Journals, Shared, unreadable, unwritable},
    journal::LocalJournal,
    layout::Layout,
};

/// Recordings in one folder.
pub struct LocalRecorder {
    layout: Layout,
    flusher: Flusher,
    journals: Arc<Journals>,
    /// Ends the regular rounds when dropped.
    _stop: mpsc::Sender<()>,
    /// Keeps other processes out.
    _lock: File,
}

impl LocalRecorder {
    /// Opens the folder; makes it (0700) if it does not exist. Call [`Recorder::recover`] before anything is recorded.
    ///
    /// # Errors
    /// [`RecordingError::Unwritable`] if the folder can't be made or another process records there.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let layout = Layout::make(folder.as_ref()).map_err(unwritable)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(layout.lock()).map_err(unwritable)?;
        lock.try_lock().map_err(|cause| unwritable(cause.into()))?;
        let flusher = Flusher::start().map_err(unwritable)?;
        let journals = Arc::new(Journals::default());
        let (stop, stopped) = mpsc::channel();
        let rounds = Arc::clone(&journals);
        thread::Builder::new().name("recordings-round".to_owned()).spawn(move || rounds.run_rounds(&stopped)).map_err(unwritable)?;
        Ok(Self { layout, flusher, journals, _stop: stop, _lock: lock })
    }

    fn begin(&self, session: &SessionId) -> io::Result<LocalJournal> {
        let (folder, marker) = (self.layout.session(session), self.layout.marker(session));
        // The mark comes first: whatever is recorded, recovery will look for it. An existing folder is another session's.
        self.layout.mark_live(session)?;
        if let Err(cause) = layout::make_folder(&folder) {
            fs::remove_file(&marker)?;
            return Err(cause);
        }
        let shared = Arc::new(Shared::new(folder.clone(), vec![self.layout.live(), self.layout.sessions()]));
        self.journals.push(session.clone(), &shared);
        Ok(LocalJournal::new(shared, self.flusher.clone(), folder))
    }
}

/// Runs where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, RecordingError> + Send + 'static) -> Result<T, RecordingError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|cause| Err(unreadable(io::Error::other(cause))))
}

impl Recorder for LocalRecorder {
    fn open(&self, session: &SessionId) -> Result<Box<dyn Journal>, RecordingError> {
        Ok(Box::new(self.begin(session).map_err(unwritable)?))
    }

    /// Writes as much as a few statements take, and takes it away again.
    fn has_room(&self) -> BoxFuture<'_, Result<(), RecordingError>> {
        let layout = self.layout.clone();
        Box::pin(blocking(move || layout.try_room().map_err(unwritable)))
    }

    /// Reports each unsettled journal with all its chunks: also those that were sealed before the crash, whose digests may or may
    /// not be in the ledger. Only those sealed by a recovery are marked recovered. Open journals of this process are left alone.
    fn recover(&self) -> BoxFuture<'_, Result<Vec<Recovered>, RecordingError>> {
        let (layout, journals) = (self.layout.clone(), Arc::clone(&self.journals));
        Box::pin(blocking(move || {
            let ours: Vec<SessionId> = journals.live().into_iter().map(|(session, _)| session).collect();
            let marked = layout.marked().map_err(unreadable)?.into_iter().filter(|session| !ours.contains(session));
            marked.map(|session| recover::session(&layout, &session)).collect::<io::Result<_>>().map_err(unreadable)
        }))
    }

    fn settled(&self, session: &SessionId) -> BoxFuture<'_, Result<(), RecordingError>> {
        let marker = self.layout.marker(session);
        // The removal need not be flushed: what comes back after a power loss is settled again.
        Box::pin(blocking(move || match fs::remove_file(marker) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(unwritable(cause)),
            _ => Ok(()),
        }))
    }

    fn read(&self, session: &SessionId, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, RecordingError>> {
        let (layout, session) = (self.layout.clone(), session.clone());
        Box::pin(blocking(move || read::records(&layout, &session, from, limit)))
    }

    fn chunk_digest(&self, session: &SessionId, number: u64) -> BoxFuture<'_, Result<Option<Digest>, RecordingError>> {
        let (layout, session) = (self.layout.clone(), session.clone());
        Box::pin(blocking(move || read::chunk_digest(&layout, &session, number)))
    }
}
