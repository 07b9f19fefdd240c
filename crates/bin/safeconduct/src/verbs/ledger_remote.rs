//! The server's ledger as the verifier reads it: file by file, over the API. Believes nothing; what could not be fetched is a failure.

use safeconduct_api::dto;
use safeconduct_ledger::{HashReader, LogSource, MAX_NOTE_BYTES, SourceError, StoredBody, TilePath, TreeHash, tile};
use tokio::runtime::Handle;

use crate::{client::Client, failure::Failure};

/// Entries per call.
const ENTRIES: u64 = 200;

/// The ledger of the server that one is signed in to.
pub struct Remote {
    client: Client,
    runtime: Handle,
    /// Size that tiles are read for, for proofs.
    size: u64,
    note: Option<String>,
    /// Bodies fetched ahead, the next one last.
    ahead: Vec<dto::LedgerEntry>,
    failure: Option<Failure>,
}

impl Remote {
    pub fn new(client: Client) -> Self {
        Self::at(client, 0)
    }

    /// For proofs in the tree of this size.
    pub fn at(client: Client, size: u64) -> Self {
        Self { client, runtime: Handle::current(), size, note: None, ahead: Vec::new(), failure: None }
    }

    /// The checkpoint that was read.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Why something could not be fetched, if it was the connection's fault and not the ledger's.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    fn failed(&mut self, path: &str, failure: Failure) -> SourceError {
        let what = failure.message.clone();
        self.failure = Some(failure);
        SourceError { path: path.to_owned(), what }
    }
}

impl LogSource for Remote {
    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let read = self.runtime.block_on(self.client.bytes(&format!("/ledger/{path}"), limit));
        let bytes = read.map_err(|failure| self.failed(path, failure))?;
        if path == "checkpoint" {
            self.note = bytes.as_ref().and_then(|note| String::from_utf8(note.clone()).ok()).filter(|note| note.len() <= MAX_NOTE_BYTES);
        }
        Ok(bytes)
    }

    fn sequenced(&mut self) -> Result<u64, SourceError> {
        let status = self.runtime.block_on(self.client.get::<dto::Status>("/status", &[]));
        let size = status.map_err(|failure| self.failed("status", failure))?.ledger_size;
        size.ok_or_else(|| SourceError { path: "status".into(), what: "the server does not say how many entries there are".into() })
    }

    fn holds_bodies(&mut self) -> Result<bool, SourceError> {
        let first = self.runtime.block_on(self.client.get::<Vec<dto::LedgerEntry>>("/ledger/entries", &[("limit", "1".to_owned())]));
        match first {
            Ok(_) => Ok(true),
            Err(failure) if failure.code == "VIEW-001" => Ok(false),
            Err(failure) => Err(self.failed("entries", failure)),
        }
    }

    fn body(&mut self, index: u64) -> Result<Option<StoredBody>, SourceError> {
        let path = tile::bodies_path(index / 256);
        if self.ahead.last().is_none_or(|entry| entry.index != index) {
            let query = [("from", index.to_string()), ("limit", ENTRIES.to_string())];
            let page = self.runtime.block_on(self.client.get::<Vec<dto::LedgerEntry>>("/ledger/entries", &query));
            let mut page = page.map_err(|failure| self.failed(&path, failure))?;
            page.reverse();
            self.ahead = page;
        }
        let entry = self.ahead.pop().filter(|entry| entry.index == index);
        let entry = entry.ok_or_else(|| SourceError { path: path.clone(), what: format!("the server gives no entry {index}") })?;
        entry.stored_body().map_err(|error| SourceError { path, what: error.to_string() })
    }
}

impl HashReader for Remote {
    type Error = Failure;

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<TreeHash>, Failure> {
        let Some(wanted) = TilePath::hashes(level, first / 256, self.size) else { return Ok(Vec::new()) };
        let Some((path, bytes)) = self.runtime.block_on(fetch_tile(&self.client, wanted))? else { return Ok(Vec::new()) };
        let hashes = tile::decode_hashes(&bytes, path.width()).map_err(|error| Failure::ledger(format_args!("{path}: {error}")))?;
        let skip = usize::try_from(first % 256).unwrap_or(usize::MAX);
        Ok(hashes.into_iter().skip(skip).take(count).collect())
    }
}

/// A file of the layout; the full one if it has taken the partial one's place.
pub async fn fetch_tile(client: &Client, wanted: TilePath) -> Result<Option<(TilePath, Vec<u8>)>, Failure> {
    for path in [wanted, wanted.full()] {
        if let Some(bytes) = client.bytes(&format!("/ledger/{path}"), tile::MAX_BUNDLE_BYTES).await? {
            return Ok(Some((path, bytes)));
        }
    }
    Ok(None)
}
