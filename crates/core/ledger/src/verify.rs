//! Whole-log verifier: reads a log from its first entry to its last and names the first bad place.
//!
//! Decides whether a log is what its checkpoint, and every checkpoint remembered from earlier, say it is. Refuses to guess:
//! what is missing, superfluous or unreadable is a bad place. Keeps one bundle, one tile per level, one body and a version per
//! stream in memory, however long the log is.
use crate::body::StoredBody;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::entry::Entry;
use crate::note::{MAX_NOTE_BYTES, VerifierKey};
use crate::tile::{BundleReader, MAX_BUNDLE_BYTES, TILE_WIDTH, TilePath, bodies_path, decode_hashes};
use crate::tree::{Frontier, StoredHash, TreeHash, empty_root, leaf_hash};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Where a log's files are: a directory, a server, a store that renders them.
pub trait LogSource {
    /// The bytes at a path of the layout (`checkpoint`, `tile/…`), or `None` if there is nothing.
    ///
    /// # Errors
    /// If it cannot be read, or is larger than `limit` bytes.
    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError>;

    /// How many entries the source holds, whether a checkpoint covers them or not.
    ///
    /// # Errors
    /// If that cannot be found out.
    fn sequenced(&mut self) -> Result<u64, SourceError>;

    /// Whether bodies are kept with this log at all; if not, [`LogSource::body`] is never asked.
    ///
    /// # Errors
    /// If that cannot be found out.
    fn holds_bodies(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// The body of an entry, or `None` if it was erased. Asked once per entry, in ascending order.
    ///
    /// # Errors
    /// If it cannot be read or is malformed.
    fn body(&mut self, _index: u64) -> Result<Option<StoredBody>, SourceError> {
        Ok(None)
    }

    /// Called after the last entry: the place to complain about bodies that nobody asked for.
    ///
    /// # Errors
    /// If something is left over.
    fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Something at a path could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (`{path}`)")]
pub struct SourceError {
    pub path: String,
    pub what: String,
}

/// The first place at which a log is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct BadPlace {
    /// The entry, if one entry can be named.
    pub index: Option<u64>,
    /// The file, if one file can be named.
    pub path: Option<String>,
    pub what: String,
}

/// `entry 57: what is wrong (tile/entries/000)`.
impl fmt::Display for BadPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, &self.path) {
            (Some(index), Some(path)) => write!(f, "entry {index}: {} ({path})", self.what),
            (Some(index), None) => write!(f, "entry {index}: {}", self.what),
            (None, Some(path)) => write!(f, "{path}: {}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

impl From<SourceError> for BadPlace {
    fn from(error: SourceError) -> Self {
        Self { index: None, path: Some(error.path), what: error.what }
    }
}

/// What a log that holds turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The log's origin.
    pub origin: String,
    /// The label of the key that signed the checkpoint.
    pub signed_by: String,
    /// Entries that the checkpoint covers.
    pub entries: u64,
    pub root: TreeHash,
    /// Entries after those, for which nothing signed speaks yet.
    pub uncovered: u64,
    /// How many streams the entries belong to.
    pub streams: u64,
    /// `None` if the log was checked without bodies.
    pub bodies: Option<Bodies>,
    /// Sizes of the remembered checkpoints that this log extends.
    pub remembered: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bodies {
    /// Present and matching their entry.
    pub present: u64,
    /// Absent: erased.
    pub erased: u64,
}

/// Verifies a whole log. `remembered` are checkpoints that were seen, and verified, earlier; the more, the closer a fork is
/// narrowed down.
///
/// # Errors
/// The first [`BadPlace`], in the order of `docs/specs/ledger.md`, section 8.
pub fn verify_log<S: LogSource + ?Sized>(source: &mut S, keys: &[VerifierKey], remembered: &[Checkpoint]) -> Result<Report, BadPlace> {
    let note = source.read("checkpoint", MAX_NOTE_BYTES)?.ok_or_else(|| in_file("checkpoint", "missing"))?;
    let signed = Checkpoint::open(&note, keys).map_err(|cause| in_file("checkpoint", explain(&cause)))?;
    let mut remembered: Vec<&Checkpoint> = remembered.iter().collect();
    remembered.sort_by_key(|checkpoint| checkpoint.size);
    check_remembered(&signed.checkpoint, &remembered)?;
    let holds_bodies = source.holds_bodies()?;
    let reading = Reading {
        source,
        size: signed.checkpoint.size,
        tree: Frontier::new(),
        tiles: Vec::new(),
        latest_micros: 0,
        versions: BTreeMap::new(),
        bodies: holds_bodies.then(Bodies::default),
        remembered: &remembered,
        held: 0,
    };
    reading.run(signed)
}

fn check_remembered(newest: &Checkpoint, remembered: &[&Checkpoint]) -> Result<(), BadPlace> {
    if let Some(other) = remembered.iter().find(|older| older.origin != newest.origin) {
        return Err(in_file("checkpoint", format_args!("is of `{}`; the remembered one is of `{}`", newest.origin, other.origin)));
    }
    if let Some(larger) = remembered.iter().find(|older| older.size > newest.size) {
        let what = format!("missing: a remembered checkpoint covers {} entries, this one {} only", larger.size, newest.size);
        return Err(BadPlace { index: Some(newest.size), path: Some("checkpoint".into()), what });
    }
    Ok(())
}

struct LoadedTile {
    path: TilePath,
    hashes: Vec<TreeHash>,
}

struct Reading<'a, S: ?Sized> {
    source: &'a mut S,
    /// The size of the checkpoint.
    size: u64,
    tree: Frontier,
    /// The tile being read at each level.
    tiles: Vec<Option<LoadedTile>>,
    latest_micros: i64,
    versions: BTreeMap<String, u64>,
    bodies: Option<Bodies>,
    remembered: &'a [&'a Checkpoint],
    /// How many of them the log was found to extend.
    held: usize,
}

impl<S: LogSource + ?Sized> Reading<'_, S> {
    fn run(mut self, signed: SignedCheckpoint) -> Result<Report, BadPlace> {
        let width = u64::from(TILE_WIDTH);
        self.check_remembered_roots()?;
        let mut last_bundle = Vec::new();
        for bundle in 0..self.size.div_ceil(width) {
            last_bundle.clear();
            self.covered_bundle(bundle, &mut last_bundle)?;
        }
        let root = self.tree.root();
        if root != signed.checkpoint.root {
            let said = signed.checkpoint.root;
            let what = format!("the root over its {} entries is {root}, the checkpoint says {said}{}", self.size, self.last_good());
            return Err(in_file("checkpoint", what));
        }
        let total = self.source.sequenced()?.max(self.size);
        if total > self.size {
            for bundle in self.size / width..total.div_ceil(width) {
                self.uncovered_bundle(bundle, total, &last_bundle)?;
            }
        }
        self.source.finish()?;
        Ok(Report {
            origin: signed.checkpoint.origin,
            signed_by: signed.signed_by,
            entries: self.size,
            root,
            uncovered: total - self.size,
            streams: self.versions.len() as u64,
            bodies: self.bodies,
            remembered: self.remembered.iter().map(|checkpoint| checkpoint.size).collect(),
        })
    }

    fn covered_bundle(&mut self, bundle: u64, leaf_hashes: &mut Vec<TreeHash>) -> Result<(), BadPlace> {
        let Some(wanted) = TilePath::entries(bundle, self.size) else { return Ok(()) };
        let (path, bytes) = self.fetch(wanted, MAX_BUNDLE_BYTES)?.ok_or_else(|| at_entry(wanted.first(), wanted, "missing"))?;
        let mut leaves = BundleReader::new(&bytes);
        for index in wanted.first()..wanted.first() + u64::from(wanted.width()) {
            let leaf = next_leaf(&mut leaves, index, path)?;
            leaf_hashes.push(self.entry(index, leaf, path)?);
        }
        // A full bundle may stand in for a partial one; the rest of it is uncovered and read as such.
        if path == wanted && leaves.next().is_some() {
            return Err(at_entry(wanted.first() + u64::from(wanted.width()), path, "holds more than the entries that belong there"));
        }
        Ok(())
    }

    fn uncovered_bundle(&mut self, bundle: u64, total: u64, covered: &[TreeHash]) -> Result<(), BadPlace> {
        let Some(wanted) = TilePath::entries(bundle, total) else { return Ok(()) };
        let (path, bytes) = self.fetch(wanted, MAX_BUNDLE_BYTES)?.ok_or_else(|| at_entry(wanted.first(), wanted, "missing"))?;
        let mut leaves = BundleReader::new(&bytes);
        for index in wanted.first()..wanted.first() + u64::from(wanted.width()) {
            let leaf = next_leaf(&mut leaves, index, path)?;
            if index >= self.size {
                self.entry(index, leaf, path)?;
            } else if covered.get((index - wanted.first()) as usize) != Some(&leaf_hash(leaf)) {
                return Err(at_entry(index, path, "is not the entry that the checkpoint covers"));
            }
        }
        if leaves.next().is_some() {
            return Err(at_entry(wanted.first() + u64::from(wanted.width()), path, "holds more than the entries that belong there"));
        }
        Ok(())
    }

    /// Checks one entry against everything known so far, and adds it to the tree.
    fn entry(&mut self, index: u64, leaf: &[u8], path: TilePath) -> Result<TreeHash, BadPlace> {
        let entry = Entry::parse(leaf).map_err(|cause| at_entry(index, path, explain(&cause)))?;
        if entry.index != index {
            return Err(at_entry(index, path, format_args!("entry {} stands in its place", entry.index)));
        }
        if entry.at_micros < self.latest_micros {
            return Err(at_entry(index, path, "its time is before that of the entry before"));
        }
        self.latest_micros = entry.at_micros;
        let version = self.versions.get(&entry.stream).copied().unwrap_or(0) + 1;
        if entry.version != version {
            let what = format!("version {} of stream `{}` where version {version} belongs", entry.version, entry.stream);
            return Err(at_entry(index, path, what));
        }
        self.versions.insert(entry.stream.clone(), version);
        let hash = leaf_hash(leaf);
        let mut stored = Vec::new();
        self.tree.append_with(hash, |hash| stored.push(hash));
        if index < self.size {
            stored.into_iter().try_for_each(|hash| self.stored_hash(hash))?;
        }
        self.body(&entry)?;
        self.check_remembered_roots()?;
        Ok(hash)
    }

    /// Checks a hash that the entries lead to against the tile that publishes it.
    fn stored_hash(&mut self, expected: StoredHash) -> Result<(), BadPlace> {
        let (level, tile) = (usize::from(expected.level), expected.index / u64::from(TILE_WIDTH));
        let Some(wanted) = TilePath::hashes(expected.level, tile, self.size) else { return Ok(()) };
        if self.tiles.len() <= level {
            self.tiles.resize_with(level + 1, || None);
        }
        if self.tiles[level].as_ref().is_none_or(|loaded| loaded.path.index() != tile) {
            let limit = usize::from(TILE_WIDTH) * TreeHash::SIZE;
            let (path, bytes) = self.fetch(wanted, limit)?.ok_or_else(|| in_file(wanted, "missing"))?;
            let hashes = decode_hashes(&bytes, path.width()).map_err(|cause| in_file(path, cause))?;
            self.tiles[level] = Some(LoadedTile { path, hashes });
        }
        let Some(loaded) = &self.tiles[level] else { return Ok(()) };
        if loaded.hashes.get((expected.index % u64::from(TILE_WIDTH)) as usize) == Some(&expected.hash) {
            return Ok(());
        }
        Err(if expected.level == 0 {
            at_entry(expected.index, loaded.path, "leaf hash does not match")
        } else {
            in_file(loaded.path, format_args!("hash {} is not the root of the tile below", expected.index))
        })
    }

    fn body(&mut self, entry: &Entry) -> Result<(), BadPlace> {
        let Some(bodies) = &mut self.bodies else { return Ok(()) };
        let path = || bodies_path(entry.index / u64::from(TILE_WIDTH));
        match self.source.body(entry.index) {
            Ok(None) => bodies.erased += 1,
            Ok(Some(stored)) if stored.index == entry.index && stored.matches(&entry.body) => bodies.present += 1,
            Ok(Some(_)) => return Err(at_entry(entry.index, path(), "its body is not the one that was committed to")),
            Err(SourceError { path, what }) => return Err(at_entry(entry.index, path, what)),
        }
        Ok(())
    }

    fn check_remembered_roots(&mut self) -> Result<(), BadPlace> {
        while let Some(checkpoint) = self.remembered.get(self.held)
            && checkpoint.size == self.tree.size()
        {
            let root = if checkpoint.size == 0 { empty_root() } else { self.tree.root() };
            if root != checkpoint.root {
                let what = format!("the first {} entries are not those of a remembered checkpoint{}", checkpoint.size, self.last_good());
                return Err(BadPlace { index: None, path: None, what });
            }
            self.held += 1;
        }
        Ok(())
    }

    /// Up to where a remembered checkpoint confirms the log.
    fn last_good(&self) -> String {
        match self.held.checked_sub(1).and_then(|last| self.remembered.get(last)) {
            Some(checkpoint) if checkpoint.size > 0 => format!("; the first {} are", checkpoint.size),
            _ => String::new(),
        }
    }

    /// The file, or the full one in place of a partial one that was removed when it filled up.
    fn fetch(&mut self, wanted: TilePath, limit: usize) -> Result<Option<(TilePath, Vec<u8>)>, BadPlace> {
        for path in [wanted, wanted.full()] {
            if let Some(bytes) = self.source.read(&path.to_string(), limit)? {
                return Ok(Some((path, bytes)));
            }
        }
        Ok(None)
    }
}

/// An error and what caused it, in one line.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

fn next_leaf<'b>(leaves: &mut BundleReader<'b>, index: u64, path: TilePath) -> Result<&'b [u8], BadPlace> {
    match leaves.next() {
        Some(Ok(leaf)) => Ok(leaf),
        Some(Err(cause)) => Err(at_entry(index, path, cause)),
        None => Err(at_entry(index, path, "missing")),
    }
}

fn at_entry(index: u64, path: impl fmt::Display, what: impl fmt::Display) -> BadPlace {
    BadPlace { index: Some(index), path: Some(path.to_string()), what: what.to_string() }
}

fn in_file(path: impl fmt::Display, what: impl fmt::Display) -> BadPlace {
    BadPlace { index: None, path: Some(path.to_string()), what: what.to_string() }
}
