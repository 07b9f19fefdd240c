//! Reading recordings back, also while they are being written.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use safeconduct_app::ports::{Record, RecordingError};
use safeconduct_model::{Digest, SessionId};
use sha2::{Digest as _, Sha256};

use crate::{
    flush::unreadable,
    layout::{Kind, Layout, chunk_path, chunks, digest},
};

/// Up to `limit` records whose number is at least `from`.
pub(crate) fn records(layout: &Layout, session: &SessionId, from: u64, limit: u32) -> Result<Vec<Record>, RecordingError> {
    let folder = layout.session(session);
    let numbers: Vec<u64> = match chunks(&folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(RecordingError::Missing),
        other => other.map_err(unreadable)?.into_keys().collect(),
    };
    let begin = first_chunk(&folder, &numbers, from).map_err(unreadable)?;
    let mut found = Vec::new();
    for number in numbers.into_iter().skip(begin) {
        let mut reader = BufReader::new(open(&folder, number).map_err(unreadable)?);
        while found.len() < limit as usize {
            match next(&mut reader).map_err(unreadable)? {
                Some(record) if record.n < from => {}
                Some(record) => found.push(record),
                None => break,
            }
        }
    }
    Ok(found)
}

/// The place of the last chunk that begins at or before record `from`.
fn first_chunk(folder: &Path, numbers: &[u64], from: u64) -> io::Result<usize> {
    let (mut low, mut high) = (0, numbers.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let first = match numbers.get(middle) {
            Some(number) => next(&mut BufReader::new(open(folder, *number)?))?,
            None => None,
        };
        if first.is_some_and(|record| record.n <= from) { low = middle } else { high = middle }
    }
    Ok(low)
}

/// The next whole line. A line without an end is still being written.
fn next(reader: &mut BufReader<File>) -> io::Result<Option<Record>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\n") {
        Some(line) => Ok(Some(serde_json::from_slice(line)?)),
        None => Ok(None),
    }
}

/// Opens a chunk, sealed or not. It may be sealed at this very moment.
fn open(folder: &Path, number: u64) -> io::Result<File> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for kind in [Kind::Sealed, Kind::Open, Kind::Sealed] {
        match File::open(chunk_path(folder, number, kind)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => last = cause,
            other => return other,
        }
    }
    Err(last)
}

/// The digest of a sealed chunk as it lies on disk.
pub(crate) fn chunk_digest(layout: &Layout, session: &SessionId, number: u64) -> Result<Option<Digest>, RecordingError> {
    let mut file = match File::open(chunk_path(&layout.session(session), number, Kind::Sealed)) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(unreadable)?,
    };
    let mut hash = Hashing(Sha256::new());
    io::copy(&mut file, &mut hash).map_err(unreadable)?;
    digest(hash.0).map(Some).map_err(unreadable)
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
