//! The journal of one session: lines at the end of a file, a new file per mebibyte.
//!
//! Refuses everything after a failure it could not undo, so that no statement is forwarded on a record that may be missing.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    mem,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use safeconduct_app::ports::{BoxFuture, Journal, Record, RecordingError};
use safeconduct_lifecycle::Chunk;
use sha2::{Digest as _, Sha256};

use crate::{
    flush::{Flusher, Full, Shared, unwritable},
    layout::{Kind, chunk_path, digest, make_file},
};

/// A chunk with this many bytes is full.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;

pub(crate) struct LocalJournal {
    shared: Arc<Shared>,
    flusher: Flusher,
    folder: PathBuf,
    /// Number of the last chunk begun.
    number: u64,
    open: Option<OpenChunk>,
    buffer: Vec<u8>,
    closed: bool,
}

struct OpenChunk {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
    records: u64,
    hash: Sha256,
}

impl LocalJournal {
    pub(crate) fn new(shared: Arc<Shared>, flusher: Flusher, folder: PathBuf) -> Self {
        Self { shared, flusher, folder, number: 0, open: None, buffer: Vec::new(), closed: false }
    }

    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("the journal failed before"));
        }
        self.buffer.clear();
        for record in records {
            serde_json::to_writer(&mut self.buffer, record)?;
            self.buffer.push(b'\n');
        }
        let mut chunk = match self.open.take() {
            Some(chunk) => chunk,
            None => self.begin()?,
        };
        if let Err(cause) = (&*chunk.file).write_all(&self.buffer) {
            // Half a line would spoil the lines after it.
            if chunk.file.set_len(chunk.size).is_err() {
                self.shared.failed.store(true, Ordering::Release);
            }
            self.open = Some(chunk);
            return Err(cause);
        }
        chunk.hash.update(&self.buffer);
        chunk.size += self.buffer.len() as u64;
        chunk.records += records.len() as u64;
        self.shared.written.fetch_add(self.buffer.len() as u64, Ordering::Release);
        let full = chunk.size >= CHUNK_BYTES;
        self.open = Some(chunk);
        if full {
            // Large batches must not keep their memory for the rest of the session.
            self.buffer = Vec::new();
            self.rotate()?;
            self.flusher.nudge(&self.shared);
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<OpenChunk> {
        let path = chunk_path(&self.folder, self.number + 1, Kind::Open);
        let file = Arc::new(make_file(&path)?);
        self.number += 1;
        let mut files = self.shared.files.lock();
        files.current = Some(Arc::clone(&file));
        files.folders.push(self.folder.clone());
        Ok(OpenChunk { file, path, size: 0, records: 0, hash: Sha256::new() })
    }

    /// Ends the chunk being written; a flush seals it.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(chunk) = self.open.take() else { return Ok(()) };
        if chunk.records == 0 {
            self.shared.files.lock().current = None;
            return fs::remove_file(&chunk.path);
        }
        let sealed = chunk_path(&self.folder, self.number, Kind::Sealed);
        let digest = digest(chunk.hash)?;
        let summary = Chunk { number: self.number, digest, size_bytes: chunk.size, records: chunk.records, recovered: false };
        let mut files = self.shared.files.lock();
        files.current = None;
        files.full.push(Full { file: chunk.file, open: chunk.path, sealed, chunk: summary });
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Vec<Chunk>> {
        self.rotate()?;
        self.shared.flush_all()?;
        self.closed = true;
        Ok(std::iter::from_fn(|| self.shared.take_sealed()).collect())
    }
}

impl Journal for LocalJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), RecordingError> {
        if records.is_empty() {
            return Ok(());
        }
        self.write(records).map_err(unwritable)
    }

    fn sync(&self) -> BoxFuture<'static, Result<(), RecordingError>> {
        Box::pin(self.flusher.flushed(&self.shared))
    }

    fn take_sealed(&mut self) -> Option<Chunk> {
        self.shared.take_sealed()
    }

    fn close(mut self: Box<Self>) -> Result<Vec<Chunk>, RecordingError> {
        mem::take(&mut self.buffer);
        self.finish().map_err(unwritable)
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        // A session that died without closing keeps its mark: the next start recovers it. Its lines are flushed now.
        if !self.closed {
            self.flusher.nudge(&self.shared);
        }
    }
}
