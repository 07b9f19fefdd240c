//! After a crash: reads what open journals hold, seals it, and says what is missing.
//!
//! Never throws bytes away: what can't be read is moved beside the chunk it was in. Says the same again until the journal is settled.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write as _},
    path::Path,
};

use safeconduct_app::ports::{Record, Recovered, What};
use safeconduct_lifecycle::Chunk;
use safeconduct_model::SessionId;
use sha2::{Digest as _, Sha256};

use crate::layout::{self, Kind, Layout, chunk_path, chunks, digest, lost_path, sync_folder};

/// Recovers one marked session. Its mark stays until the session is settled, and keeps which chunks were sealed here.
pub(crate) fn session(layout: &Layout, session: &SessionId) -> io::Result<Recovered> {
    let folder = layout.session(session);
    let found = match chunks(&folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        other => other?,
    };
    let marker = layout.marker(session);
    let before = layout::recovered(&marker)?;
    let mut seen = Seen::default();
    let mut sealed = Vec::new();
    for (number, kind) in &found {
        sealed.extend(match kind {
            Kind::Sealed => {
                let chunk = seen.chunk(&folder, *number, Kind::Sealed)?;
                Some(Chunk { recovered: before.contains(number), ..chunk })
            }
            Kind::Open => seal(&folder, &marker, *number, &mut seen)?,
        });
    }
    if !found.is_empty() {
        for (number, bytes) in layout::lost(&folder)? {
            seen.lost.push(format!("the last {bytes} bytes of chunk {number} can't be read"));
        }
    }
    if let Some(missing) = (1..).zip(found.keys()).find(|(expected, number)| expected != *number) {
        seen.lost.push(format!("chunk {} is missing", missing.0));
    }
    if !found.is_empty() {
        sync_folder(&folder)?;
    }
    let lost = (!seen.lost.is_empty()).then(|| seen.lost.join("; "));
    Ok(Recovered { session: session.clone(), chunks: sealed, open_intents: seen.intents.into_values().collect(), lost })
}

/// What was read of a session so far.
#[derive(Default)]
struct Seen {
    /// Number of the last record.
    last: u64,
    /// By the number of their statement: a session has few that are open.
    intents: BTreeMap<u64, Record>,
    lost: Vec<String>,
    /// Bytes of the current chunk that hold whole records.
    good: u64,
}

impl Seen {
    fn record(&mut self, record: Record) {
        if record.n != self.last + 1 {
            self.lost.push(format!("records {} to {} are missing", self.last + 1, record.n.saturating_sub(1)));
        }
        self.last = record.n;
        match &record.what {
            What::Intent { statement, .. } => drop(self.intents.insert(*statement, record)),
            What::Outcome { statement, .. } => drop(self.intents.remove(statement)),
            _ => {}
        }
    }

    /// Reads a chunk up to the first line that is no record.
    fn chunk(&mut self, folder: &Path, number: u64, kind: Kind) -> io::Result<Chunk> {
        let mut reader = BufReader::new(File::open(chunk_path(folder, number, kind))?);
        let (mut hash, mut size, mut records, mut line) = (Sha256::new(), 0, 0, Vec::new());
        let mut readable = true;
        self.good = 0;
        while reader.read_until(b'\n', &mut line)? > 0 {
            let record = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok()).filter(|_| readable);
            match record {
                Some(record) => self.record(record),
                None => readable = false,
            }
            if readable || kind == Kind::Sealed {
                hash.update(&line);
                size += line.len() as u64;
                records += u64::from(readable);
            }
            if readable {
                self.good = size;
            }
            line.clear();
        }
        if !readable && kind == Kind::Sealed {
            self.lost.push(format!("chunk {number} was sealed and is damaged"));
        }
        Ok(Chunk { number, digest: digest(hash)?, size_bytes: size, records, recovered: kind == Kind::Open })
    }
}

/// Cuts off what is no record, flushes the rest and seals it. `None` if nothing is left.
fn seal(folder: &Path, marker: &Path, number: u64, seen: &mut Seen) -> io::Result<Option<Chunk>> {
    let chunk = seen.chunk(folder, number, Kind::Open)?;
    let path = chunk_path(folder, number, Kind::Open);
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let cut = file.metadata()?.len().saturating_sub(chunk.size_bytes);
    if cut > 0 {
        keep_tail(&file, folder, number, chunk.size_bytes)?;
        file.set_len(chunk.size_bytes)?;
    }
    file.sync_all()?;
    if chunk.records == 0 {
        fs::remove_file(&path)?;
        return Ok(None);
    }
    // Before its name says it is sealed: whoever comes again knows how it came to be.
    layout::mark_recovered(marker, number)?;
    fs::rename(&path, chunk_path(folder, number, Kind::Sealed))?;
    Ok(Some(chunk))
}

fn keep_tail(file: &File, folder: &Path, number: u64, from: u64) -> io::Result<()> {
    let path = lost_path(folder, number);
    // Left by a recovery that crashed itself: made again from the same bytes.
    if path.exists() {
        fs::remove_file(&path)?;
    }
    let mut lost = layout::make_file(&path)?;
    let mut reader = BufReader::new(file);
    io::Seek::seek(&mut reader, io::SeekFrom::Start(from))?;
    io::copy(&mut reader, &mut lost)?;
    lost.flush()?;
    lost.sync_all()
}
