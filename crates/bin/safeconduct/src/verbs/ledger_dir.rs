//! An exported ledger as the verifier reads it: files laid out as `docs/specs/ledger.md`, section 5, has it.
//!
//! Decides how the files are read: each within its limit, bodies line by line. Refuses bodies that are out of order, stand twice
//! or belong to no entry. Writes nothing.
use safeconduct_ledger::tile::bodies_path;
use safeconduct_ledger::{LogSource, MAX_BODY_LINE_BYTES, SourceError, StoredBody, TileKind, TilePath};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

pub struct Directory {
    root: PathBuf,
    bodies: Option<BodyFile>,
}

/// The bodies of one bundle, read as far as they were asked for.
struct BodyFile {
    bundle: u64,
    path: String,
    lines: Option<BufReader<File>>,
    next: Option<StoredBody>,
}

impl Directory {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), bodies: None }
    }

    fn open(&self, path: &str) -> Result<Option<File>, SourceError> {
        match File::open(self.root.join(path)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// The largest number of entries that the bundles below `folder` reach to.
    fn reach(&self, folder: &str) -> Result<u64, SourceError> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(unreadable(folder, &error)),
        };
        let mut reach = 0;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(folder, &error))?;
            // A name that is not UTF-8 is no path of the layout.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{folder}/{name}");
            // Not following links, lest one that leads upwards be followed for ever.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                reach = reach.max(self.reach(&path)?);
            } else if let Some(bundle) = TilePath::parse(&path).filter(|path| path.kind() == TileKind::Entries) {
                reach = reach.max(bundle.first() + u64::from(bundle.width()));
            }
        }
        Ok(reach)
    }
}

impl LogSource for Directory {
    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
        if bytes.len() > limit {
            return Err(SourceError { path: path.into(), what: format!("larger than the {limit} bytes it may have") });
        }
        Ok(Some(bytes))
    }

    fn sequenced(&mut self) -> Result<u64, SourceError> {
        self.reach("tile/entries")
    }

    fn holds_bodies(&mut self) -> Result<bool, SourceError> {
        self.root.join("bodies").try_exists().map_err(|error| unreadable("bodies", &error))
    }

    fn body(&mut self, index: u64) -> Result<Option<StoredBody>, SourceError> {
        let bundle = index / 256;
        let mut file = match self.bodies.take() {
            Some(file) if file.bundle == bundle => file,
            before => {
                before.map_or(Ok(()), BodyFile::finish)?;
                let path = bodies_path(bundle);
                let lines = self.open(&path)?.map(BufReader::new);
                BodyFile { bundle, path, lines, next: None }
            }
        };
        let body = file.body(index);
        self.bodies = Some(file);
        body
    }

    fn finish(&mut self) -> Result<(), SourceError> {
        self.bodies.take().map_or(Ok(()), BodyFile::finish)
    }
}

impl BodyFile {
    fn body(&mut self, index: u64) -> Result<Option<StoredBody>, SourceError> {
        if self.next.is_none() {
            self.next = self.line()?;
        }
        match &self.next {
            Some(body) if body.index < index => Err(self.bad(format!("the body of entry {} is out of order or stands twice", body.index))),
            Some(body) if body.index == index => Ok(self.next.take()),
            _ => Ok(None),
        }
    }

    fn finish(mut self) -> Result<(), SourceError> {
        let left = if self.next.is_some() { self.next.take() } else { self.line()? };
        left.map_or(Ok(()), |body| Err(self.bad(format!("holds a body of entry {}, which is not an entry of this file", body.index))))
    }

    fn line(&mut self) -> Result<Option<StoredBody>, SourceError> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let mut line = Vec::new();
        let read = lines.by_ref().take(MAX_BODY_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.pop() != Some(b'\n') => Err(self.bad("ends in the middle of a line, or a line is too long".into())),
            Ok(_) => StoredBody::parse_line(&line).map(Some).map_err(|error| self.bad(error.to_string())),
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }

    fn bad(&self, what: String) -> SourceError {
        SourceError { path: self.path.clone(), what }
    }
}

fn unreadable(path: &str, error: &io::Error) -> SourceError {
    SourceError { path: path.into(), what: format!("cannot be read: {error}") }
}
