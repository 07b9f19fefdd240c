//! A small ledger as files in memory, for tests that damage it.
//!
//! Decides nothing; grows a log by the crate's own functions, with keys and times made up from the index.
#![allow(dead_code, reason = "each test file uses a part")]
use safeconduct_ledger::tile::{bodies_path, encode_bundle, read_hash_tile, tiles_for};
use safeconduct_ledger::{
    Checkpoint, Entry, Frontier, LogSource, SignerKey, SourceError, StoredBody, TileKind, TilePath, TreeHash, VerifierKey, commit_body,
    leaf_hash,
};
use std::collections::BTreeMap;

pub const ORIGIN: &str = "safeconduct.example/ledger";
pub const STREAMS: [&str; 3] = ["rq-4m2k9x0000aa", "gr-8p1d700000bb", "bundle"];

pub fn signer() -> SignerKey {
    let seed: [u8; 32] = std::array::from_fn(|n| n as u8);
    SignerKey::from_seed(ORIGIN, &seed).unwrap()
}

pub fn keys() -> Vec<VerifierKey> {
    vec![signer().verifier().clone()]
}

/// What a log says, from which its files are made.
#[derive(Clone, Default)]
pub struct Log {
    pub leaves: Vec<Vec<u8>>,
    pub bodies: Vec<StoredBody>,
}

impl Log {
    pub fn of(size: u64) -> Self {
        Self::with(size, |index| format!("{{\"n\":{index}}}"))
    }

    pub fn with(size: u64, body: impl Fn(u64) -> String) -> Self {
        let mut log = Self::default();
        for index in 0..size {
            log.push(STREAMS[index as usize % 3], index / 3 + 1, body(index));
        }
        log
    }

    pub fn push(&mut self, stream: &str, version: u64, body: String) {
        let index = self.leaves.len() as u64;
        let key = [index as u8; 32];
        let entry = Entry {
            index,
            at_micros: 1_795_312_345_000_000 + index as i64 * 1_000,
            stream: stream.into(),
            version,
            kind: "approval_given".into(),
            body: commit_body(&key, body.as_bytes()),
        };
        self.leaves.push(entry.to_leaf().unwrap());
        self.bodies.push(StoredBody { index, key, body });
    }

    /// The hashes that tiles hold.
    pub fn hashes(&self, size: u64) -> Vec<Vec<TreeHash>> {
        let mut stored = vec![Vec::new(); 3];
        let mut tree = Frontier::new();
        for leaf in &self.leaves[..size as usize] {
            tree.append_with(leaf_hash(leaf), |hash| stored[usize::from(hash.level)].push(hash.hash));
        }
        stored
    }

    pub fn checkpoint(&self, size: u64) -> Checkpoint {
        let mut tree = Frontier::new();
        self.leaves[..size as usize].iter().for_each(|leaf| tree.append(leaf_hash(leaf)));
        Checkpoint { origin: ORIGIN.into(), size, root: tree.root() }
    }

    /// The files of the log under a checkpoint of all its entries.
    pub fn files(&self) -> Files {
        self.files_at(self.leaves.len() as u64)
    }

    /// The files of the first `size` entries, with their bodies.
    pub fn files_at(&self, size: u64) -> Files {
        let mut files = BTreeMap::new();
        files.insert("checkpoint".to_owned(), self.checkpoint(size).sign(&signer()).unwrap().to_string().into_bytes());
        let stored = self.hashes(size);
        for tile in tiles_for(size) {
            let bytes = match tile.kind() {
                TileKind::Hashes { .. } => read_hash_tile(stored.as_slice(), &tile).unwrap(),
                TileKind::Entries => encode_bundle(&self.leaves[tile.first() as usize..][..usize::from(tile.width())]).unwrap(),
            };
            files.insert(tile.to_string(), bytes);
        }
        for body in &self.bodies[..size as usize] {
            let file = files.entry(bodies_path(body.index / 256)).or_default();
            file.extend_from_slice(body.to_line().unwrap().as_bytes());
            file.push(b'\n');
        }
        Files(files)
    }
}

#[derive(Clone)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    pub fn bundle(&mut self) -> &mut Vec<u8> {
        let path = self.0.keys().find(|path| path.starts_with("tile/entries/")).unwrap().clone();
        self.0.get_mut(&path).unwrap()
    }
}

impl LogSource for Files {
    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let bytes = self.0.get(path).cloned();
        if bytes.as_ref().is_some_and(|bytes| bytes.len() > limit) {
            return Err(SourceError { path: path.into(), what: "too large".into() });
        }
        Ok(bytes)
    }

    fn sequenced(&mut self) -> Result<u64, SourceError> {
        let bundles = self.0.keys().filter_map(|path| TilePath::parse(path)).filter(|path| path.kind() == TileKind::Entries);
        Ok(bundles.map(|path| path.first() + u64::from(path.width())).max().unwrap_or(0))
    }

    fn holds_bodies(&mut self) -> Result<bool, SourceError> {
        Ok(self.0.keys().any(|path| path.starts_with("bodies/")))
    }

    fn body(&mut self, index: u64) -> Result<Option<StoredBody>, SourceError> {
        let Some(file) = self.0.get(&bodies_path(index / 256)) else { return Ok(None) };
        let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| StoredBody::parse_line(line).unwrap()).find(|body| body.index == index))
    }
}
