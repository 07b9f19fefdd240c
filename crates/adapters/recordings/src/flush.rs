//! Bringing journals to disk: a few threads flush, callers of one journal share a flush, and nothing stays unflushed for long.
//!
//! Refuses to trust a journal after a failed flush: the system may have dropped what it could not write.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use safeconduct_app::ports::RecordingError;
use safeconduct_lifecycle::Chunk;
use safeconduct_model::SessionId;
use tokio::sync::{mpsc, oneshot};

use crate::layout::sync_folder;

/// How often journals that nobody waits for are flushed: within the second that is promised.
const INTERVAL: Duration = Duration::from_millis(500);
const THREADS: usize = 4;
const QUEUE: usize = 1024;

/// What a journal and the flushing threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Bytes written in this session so far.
    pub(crate) written: AtomicU64,
    /// Set once anything could not be flushed or undone: the journal takes nothing more.
    pub(crate) failed: AtomicBool,
    pub(crate) files: Mutex<Files>,
    /// Of `written`, how much is on disk. Held during a flush.
    flushed: Mutex<u64>,
    sealed: Mutex<VecDeque<Chunk>>,
    folder: PathBuf,
}

/// The files of a journal that are not settled yet.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) current: Option<Arc<File>>,
    pub(crate) full: Vec<Full>,
    /// Folders with new names in them.
    pub(crate) folders: Vec<PathBuf>,
}

/// A chunk that is written and not sealed yet.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) file: Arc<File>,
    pub(crate) open: PathBuf,
    pub(crate) sealed: PathBuf,
    pub(crate) chunk: Chunk,
}

impl Shared {
    pub(crate) fn new(folder: PathBuf, folders: Vec<PathBuf>) -> Self {
        Self {
            written: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            files: Mutex::new(Files { folders, ..Files::default() }),
            flushed: Mutex::new(0),
            sealed: Mutex::new(VecDeque::new()),
            folder,
        }
    }

    /// Makes the first `target` bytes survive power loss and seals full chunks. Free if another flush did it meanwhile.
    pub(crate) fn flush(&self, target: u64) -> io::Result<()> {
        let mut flushed = self.flushed.lock();
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier flush failed"));
        }
        if *flushed >= target && self.files.lock().full.is_empty() {
            return Ok(());
        }
        let goal = self.flush_files().inspect_err(|_| self.failed.store(true, Ordering::Release))?;
        *flushed = goal;
        Ok(())
    }

    fn flush_files(&self) -> io::Result<u64> {
        // INVARIANT: what counts as written was written before, to a file that is taken here or is flushed already.
        let (goal, current, full, mut folders) = {
            let mut files = self.files.lock();
            let goal = self.written.load(Ordering::Acquire);
            (goal, files.current.clone(), std::mem::take(&mut files.full), std::mem::take(&mut files.folders))
        };
        let renamed = !full.is_empty();
        for full in full {
            full.file.sync_data()?;
            fs::rename(&full.open, &full.sealed)?;
            self.sealed.lock().push_back(full.chunk);
        }
        if let Some(current) = current {
            current.sync_data()?;
        }
        if renamed && !folders.contains(&self.folder) {
            folders.push(self.folder.clone());
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))?;
        Ok(goal)
    }

    /// Flushes whatever is not on disk yet.
    pub(crate) fn flush_all(&self) -> io::Result<()> {
        self.flush(self.written.load(Ordering::Acquire))
    }

    pub(crate) fn take_sealed(&self) -> Option<Chunk> {
        self.sealed.lock().pop_front()
    }
}

/// Asks for a flush.
pub(crate) struct Wanted {
    shared: Arc<Shared>,
    target: u64,
    done: Option<oneshot::Sender<Result<(), RecordingError>>>,
}

/// The flushing threads, as journals see them. They end when the last journal and the recorder are gone.
#[derive(Clone)]
pub(crate) struct Flusher(mpsc::Sender<Wanted>);

impl Flusher {
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Wanted>(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..THREADS {
            let receiver = Arc::clone(&receiver);
            let work = move || {
                loop {
                    let next = receiver.lock().blocking_recv();
                    let Some(Wanted { shared, target, done }) = next else { return };
                    let result = shared.flush(target).map_err(unwritable);
                    if let Some(done) = done {
                        drop(done.send(result));
                    } else if let Err(error) = result {
                        tracing::error!(%error, folder = %shared.folder.display(), "a recording could not be flushed");
                    }
                }
            };
            thread::Builder::new().name(format!("recordings-{number}")).spawn(work)?;
        }
        Ok(Self(sender))
    }

    /// Flushes soon; nobody waits. If the queue is full the regular round does it.
    pub(crate) fn nudge(&self, shared: &Arc<Shared>) {
        let target = shared.written.load(Ordering::Acquire);
        drop(self.0.try_send(Wanted { shared: Arc::clone(shared), target, done: None }));
    }

    /// Resolves once everything written so far is on disk.
    pub(crate) fn flushed(&self, shared: &Arc<Shared>) -> impl Future<Output = Result<(), RecordingError>> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        let target = shared.written.load(Ordering::Acquire);
        let (queue, wanted) = (self.0.clone(), Wanted { shared: Arc::clone(shared), target, done: Some(sender) });
        async move {
            let stopped = || unwritable(io::Error::other("the flushing threads have stopped"));
            queue.send(wanted).await.map_err(|_| stopped())?;
            receiver.await.unwrap_or_else(|_| Err(stopped()))
        }
    }
}

/// The journals of this process.
#[derive(Default)]
pub(crate) struct Journals(Mutex<Vec<(SessionId, Weak<Shared>)>>);

impl Journals {
    pub(crate) fn push(&self, session: SessionId, shared: &Arc<Shared>) {
        self.0.lock().push((session, Arc::downgrade(shared)));
    }

    /// Those that still exist; the others are forgotten.
    pub(crate) fn live(&self) -> Vec<(SessionId, Arc<Shared>)> {
        let mut journals = self.0.lock();
        journals.retain(|(_, shared)| shared.strong_count() > 0);
        journals.iter().filter_map(|(session, shared)| Some((session.clone(), shared.upgrade()?))).collect()
    }

    /// Flushes every journal again and again, until the other end of `stop` is gone.
    pub(crate) fn run_rounds(&self, stop: &std_mpsc::Receiver<()>) {
        while stop.recv_timeout(INTERVAL) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            self.round();
        }
    }

    /// Flushes every journal that has something to flush.
    pub(crate) fn round(&self) {
        for (session, shared) in self.live() {
            if let Err(cause) = shared.flush_all() {
                tracing::error!(%cause, %session, "a recording could not be flushed");
            }
        }
    }
}

pub(crate) fn unwritable(cause: io::Error) -> RecordingError {
    RecordingError::Unwritable(Box::new(cause))
}

pub(crate) fn unreadable(cause: io::Error) -> RecordingError {
    RecordingError::Unreadable(Box::new(cause))
}
