//! Where recordings lie on disk, and what is what by its name.
//!
//! ```text
//! lock                            held by the one process that records here
//! mark                            empty; what marks of sessions are links to
//! live/se-…                       marks a session whose journal is not settled; numbers the chunks that a recovery sealed
//! sessions/se-…/000001.jsonl      a sealed chunk: one record a line, never changed again
//! sessions/se-…/000002.open       the chunk being written
//! sessions/se-…/000002.lost       bytes that could not be read after a crash, kept as they were
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use safeconduct_model::{Digest, SessionId};
use sha2::{Digest as _, Sha256};

/// The folders of all recordings.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// Room that must be there for more sessions to be recorded.
const ROOM_BYTES: usize = 64 * 1024;

/// What a chunk's file says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Sealed,
    Open,
}

impl Layout {
    /// Makes the folders if need be, readable by their owner only.
    pub(crate) fn make(root: &Path) -> io::Result<Self> {
        let layout = Self { root: root.to_owned() };
        for folder in [layout.root.clone(), layout.live(), layout.sessions()] {
            make_folder(&folder).or_else(|cause| if cause.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(cause) })?;
        }
        if let Err(cause) = make_file(&layout.mark())
            && cause.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(cause);
        }
        sync_folder(&layout.root)?;
        Ok(layout)
    }

    fn mark(&self) -> PathBuf {
        self.root.join("mark")
    }

    /// Marks a session's journal as not settled. A link where the file system has links: a file for each session, made and removed soon after, is
    /// much of what recording a short session costs.
    pub(crate) fn mark_live(&self, session: &SessionId) -> io::Result<()> {
        let marker = self.marker(session);
        match fs::hard_link(self.mark(), &marker) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => make_file(&marker).map(drop),
            linked => linked,
        }
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Whether a file of some size can be written to disk here.
    pub(crate) fn try_room(&self) -> io::Result<()> {
        let path = self.root.join("room");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let written = file.write_all(&[0; ROOM_BYTES]).and_then(|()| file.sync_data());
        written.and(fs::remove_file(&path))
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.root.join("live")
    }

    pub(crate) fn marker(&self, session: &SessionId) -> PathBuf {
        self.live().join(session.as_str())
    }

    pub(crate) fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    pub(crate) fn session(&self, session: &SessionId) -> PathBuf {
        self.sessions().join(session.as_str())
    }

    /// The sessions whose journals are not settled.
    pub(crate) fn marked(&self) -> io::Result<Vec<SessionId>> {
        let mut sessions = Vec::new();
        for entry in fs::read_dir(self.live())? {
            if let Some(session) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                sessions.push(session);
            }
        }
        sessions.sort();
        Ok(sessions)
    }
}

/// Makes one folder with its parents, mode 0700.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        make_folder(parent)?;
    }
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes a file that must not exist yet, mode 0600, every write at its end.
pub(crate) fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

/// Makes names in a folder survive power loss.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn chunk_path(folder: &Path, number: u64, kind: Kind) -> PathBuf {
    folder.join(match kind {
        Kind::Sealed => format!("{number:06}.jsonl"),
        Kind::Open => format!("{number:06}.open"),
    })
}

pub(crate) fn lost_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.lost"))
}

/// The chunks in a session's folder, in order.
pub(crate) fn chunks(folder: &Path) -> io::Result<BTreeMap<u64, Kind>> {
    let mut chunks = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some((number, kind)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
        let kind = match kind {
            "jsonl" => Kind::Sealed,
            "open" => Kind::Open,
            _ => continue,
        };
        if let Ok(number) = number.parse() {
            chunks.insert(number, kind);
        }
    }
    Ok(chunks)
}

/// The chunks that a recovery sealed, as the session's mark says. A line that is no number says nothing.
pub(crate) fn recovered(marker: &Path) -> io::Result<BTreeSet<u64>> {
    Ok(fs::read_to_string(marker)?.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Adds a chunk to those that a recovery sealed. The mark becomes a file of its own.
pub(crate) fn mark_recovered(marker: &Path, number: u64) -> io::Result<()> {
    let before = fs::read(marker)?;
    let written = marker.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&written)?;
    file.write_all(&before)?;
    writeln!(file, "{number}")?;
    file.sync_all()?;
    fs::rename(&written, marker)?;
    marker.parent().map_or(Ok(()), sync_folder)
}

/// How many bytes of which chunks were moved aside, in order.
pub(crate) fn lost(folder: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let mut lost = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_suffix(".lost")).and_then(|number| number.parse().ok());
        if let Some(number) = number {
            lost.insert(number, entry.metadata()?.len());
        }
    }
    Ok(lost)
}

/// The digest of everything that was fed to the hash.
pub(crate) fn digest(hash: Sha256) -> io::Result<Digest> {
    let mut text = String::from("sha256:");
    hash.finalize().iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    text.parse().map_err(io::Error::other)
}
