//! The ports: what the use cases need from the outside, each with the guarantee it must give.
//!
//! Stores and recorders reach these guarantees in their own way; one conformance suite proves it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use safeconduct_lifecycle::{Chunk, Event, StreamId};
use safeconduct_model::{AccessRequestId, Digest, GrantId, Parameter, PrincipalName, ResourceName, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

pub use crate::minting_port::{Login, Minting, MintingError, Object, Privilege, Rights, Role};
pub use crate::providers_port::{Away, Back, Exchanged, IdentityError, IdentityProviders, LoggedOut, Provider, SaidAbout};
pub use crate::statistics_port::{Relation, RelationKind, RelationName, Statistics, Unsaid};

/// A future that ports return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The wall clock and a clock that also runs while the machine is suspended.
pub trait Clock: Send + Sync {
    /// Wall clock, UTC.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back, counts suspended time (`CLOCK_BOOTTIME`).
    fn boot(&self) -> Duration;
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    ///
    /// # Errors
    /// When the system has none; nothing may go on without.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no random bytes to be had")]
pub struct NoEntropy;

/// Events for one stream, to be appended together with others in one transaction.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: StreamId,
    /// How many events the stream has; another number of events is a conflict.
    pub expected: u64,
    pub events: Vec<Event>,
    /// The stream's row in the read tables after these events.
    pub row: Option<Row>,
}

/// A stream's row in the read tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Access(AccessRow),
    Session(SessionRow),
}

/// What lists of access requests are made and filtered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRow {
    pub id: AccessRequestId,
    pub requester: PrincipalName,
    pub resource: ResourceName,
    /// [`safeconduct_lifecycle::AccessState::name`].
    pub state: String,
    pub exact: bool,
    pub asked_at: Timestamp,
    /// False once final *and* ended: only open ones are loaded at start.
    pub open: bool,
}

/// What lists of sessions are made and filtered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub principal: PrincipalName,
    pub resource: ResourceName,
    pub opened_at: Timestamp,
    /// Set once it is over: closed, and its login role retired. Only others are loaded at start.
    pub closed_at: Option<Timestamp>,
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its index in the ledger.
    pub index: u64,
    pub stream: StreamId,
    /// Its number within the stream, from 1.
    pub version: u64,
    /// When it was sequenced; never before its predecessor.
    pub at: Timestamp,
    /// `None` if its body was erased.
    pub event: Option<Event>,
}

/// Narrows a list of access requests. Newest first.
#[derive(Clone, Debug, Default)]
pub struct AccessQuery {
    pub requester: Option<PrincipalName>,
    pub resource: Option<ResourceName>,
    pub state: Option<String>,
    pub open: Option<bool>,
    /// Only older than this one.
    pub before: Option<AccessRequestId>,
    pub limit: u32,
}

/// Narrows a list of sessions. Newest first.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    pub principal: Option<PrincipalName>,
    pub live: Option<bool>,
    /// Not over before this moment.
    pub open_from: Option<Timestamp>,
    /// Opened at this moment or before.
    pub opened_to: Option<Timestamp>,
    pub before: Option<SessionId>,
    pub limit: u32,
}

/// Why a store did not do what was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The stream has another number of events than expected.
    #[error("stream `{stream}` has changed meanwhile")]
    Conflict { stream: String },
    /// Full, unreachable, read-only or broken.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored can't be read.
    #[error("the store holds something unreadable at {place}")]
    Corrupt { place: String },
}

/// Head of the ledger's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    pub size: u64,
    pub root: [u8; 32],
}

/// Events, ledger entries, read tables and small mutable values.
pub trait Store: Send + Sync + 'static {
    /// Whether there is room to write: asked by whoever decides if this gateway gets work.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the next append could not be stored as things stand.
    fn has_room(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Appends to one or more streams: all of it or nothing. Ledger entries, bodies and read tables are durable
    /// (survive power loss) once this returns `Ok`. Ledger indexes follow each other without a gap, in the order of
    /// `appends` and of their events. `at` is the effective time; the stored time never goes back, and `at` raises the
    /// high-water mark. Returns the ledger index of the first event.
    fn append(&self, appends: Vec<Append>, at: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// All events of a stream, in order.
    fn load(&self, stream: StreamId) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>>;

    /// How many events a stream has.
    fn version(&self, stream: StreamId) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(u64::try_from(self.load(stream).await?.len()).unwrap_or(u64::MAX)) })
    }

    /// Events with a ledger index of at least `index`, at most `limit`: how cursors and tails follow the stream.
    fn events_from(&self, index: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Stored>, StoreError>>;

    /// Access requests, newest first.
    fn access_requests(&self, query: AccessQuery) -> BoxFuture<'_, Result<Vec<AccessRow>, StoreError>>;

    /// Sessions, newest first.
    fn sessions(&self, query: SessionQuery) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>>;

    /// The latest effective time ever stored.
    fn high_water(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>>;

    /// Raises the high-water mark without an event.
    fn raise_high_water(&self, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How far the reader of this name has come.
    fn cursor(&self, reader: &str) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Remembers how far the reader of this name has come.
    fn set_cursor(&self, reader: &str, index: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A small mutable value: verifiers, digests of tokens, idempotency records. Never in the ledger.
    fn value(&self, kind: &str, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// All values of a kind.
    fn values(&self, kind: &str) -> BoxFuture<'_, Result<Values, StoreError>>;

    /// Writes (`Some`) or removes (`None`) values in one transaction.
    fn put_values(&self, changes: Vec<ValueChange>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes a value unless its key is taken. True if it was written.
    fn put_value_if_absent(&self, kind: &str, key: &str, value: Vec<u8>) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Size and root of the tree over everything sequenced.
    fn tree_head(&self) -> BoxFuture<'_, Result<TreeHead, StoreError>>;

    /// Keeps a signed checkpoint.
    fn put_checkpoint(&self, size: u64, note: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The newest signed checkpoint.
    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>>;

    /// A file of the published log (C2SP tlog-tiles): `tile/0/000`, `tile/entries/000.p/17`… `None` if there is none.
    fn tile(&self, path: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// Leaf bytes, and key and body unless erased, of entries `from..from + limit`.
    fn entries(&self, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>>;

    /// Erases the body of an entry with its commitment key, for good: events and entries come without it from then on, while
    /// leaf, tree and proofs stay as they are. False if there is no such entry or its body is gone already. The erasure itself
    /// is the caller's to record.
    fn erase_body(&self, index: u64) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Inclusion proof of entry `index` in the tree of `size`.
    fn inclusion_proof(&self, index: u64, size: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>>;

    /// Consistency proof between two tree sizes.
    fn consistency_proof(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Option<Vec<[u8; 32]>>, StoreError>>;
}

/// Small mutable values by key.
pub type Values = Vec<(String, Vec<u8>)>;

/// One change to a small mutable value.
#[derive(Clone, Debug)]
pub struct ValueChange {
    pub kind: String,
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// A ledger entry as exported.
#[derive(Clone, Debug)]
pub struct LedgerEntry {
    pub index: u64,
    pub leaf: Vec<u8>,
    /// Commitment key and body; `None` if erased.
    pub body: Option<([u8; 32], String)>,
}

/// Where sessions' statements are recorded.
pub trait Recorder: Send + Sync + 'static {
    /// Opens the journal of a new session.
    ///
    /// # Errors
    /// When it can't be made; then the session must not open.
    fn open(&self, session: &SessionId) -> Result<Box<dyn Journal>, RecordingError>;

    /// Whether there is room to record.
    ///
    /// # Errors
    /// [`RecordingError::Unwritable`] if a session could not be recorded as things stand.
    fn has_room(&self) -> BoxFuture<'_, Result<(), RecordingError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Digests, seals and reports every journal that is not settled, each with what could be read: those a crash left open, and
    /// those that were closed but whose last words may not be in the ledger. Journals in use are left alone.
    fn recover(&self) -> BoxFuture<'_, Result<Vec<Recovered>, RecordingError>>;

    /// The ledger has everything it needs about this session's journal: [`Recorder::recover`] reports it no more. Call it once
    /// that is durable. Doing it again is harmless.
    fn settled(&self, session: &SessionId) -> BoxFuture<'_, Result<(), RecordingError>>;

    /// The records of a session, in order, `limit` from `from` on. Checks nothing: digests are checked by [`Recorder::chunk_digest`].
    fn read(&self, session: &SessionId, from: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Record>, RecordingError>>;

    /// Digest of a sealed chunk as it is on disk now.
    fn chunk_digest(&self, session: &SessionId, number: u64) -> BoxFuture<'_, Result<Option<Digest>, RecordingError>>;
}

/// The journal of one session.
pub trait Journal: Send {
    /// Appends records with one `write`: once this returns, they survive the death of this process.
    ///
    /// # Errors
    /// When they could not be written; then nothing may be forwarded.
    fn append(&mut self, records: &[Record]) -> Result<(), RecordingError>;

    /// Makes everything appended so far survive power loss. Concurrent syncs share one flush.
    fn sync(&self) -> BoxFuture<'static, Result<(), RecordingError>>;

    /// A chunk that is full and was sealed since the last call: its digest belongs in the ledger.
    fn take_sealed(&mut self) -> Option<Chunk>;

    /// Seals what is left and closes.
    ///
    /// # Errors
    /// When the last chunk could not be sealed.
    fn close(self: Box<Self>) -> Result<Vec<Chunk>, RecordingError>;
}

/// A journal found unsettled at start.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub session: SessionId,
    pub chunks: Vec<Chunk>,
    /// Records that have an intent and no outcome.
    pub open_intents: Vec<Record>,
    /// Set if part of it could not be read.
    pub lost: Option<String>,
}

/// Why a recording could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("the recording can't be written")]
    Unwritable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the recording can't be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("there is no such recording")]
    Missing,
}

/// One line of a session's recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Number within the session, from 1.
    pub n: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: What,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    Opened {
        principal: PrincipalName,
        resource: ResourceName,
        database: String,
        source: String,
    },
    /// About to be forwarded. `statement` numbers the statements of a session from 1.
    Intent {
        statement: u64,
        text: String,
        /// What `EXECUTE` and `FETCH` in the text run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<Named>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parameters: Vec<Parameter>,
        operations: String,
        grant: GrantId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claimed: Option<AccessRequestId>,
    },
    /// How the statement of that number ended.
    Outcome {
        statement: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sqlstate: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        duration_micros: u64,
    },
    Refused {
        text: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parameters: Vec<Parameter>,
        operations: String,
        why: String,
    },
    Held {
        access_request: AccessRequestId,
        text: String,
    },
    HoldEnded {
        access_request: AccessRequestId,
        how: String,
    },
    /// The client asked to cancel what runs.
    CancelRequested,
    Closed {
        why: String,
    },
}

/// A prepared statement or cursor that a recorded text names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    /// The text behind the name; `None` if nothing certain is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Signs checkpoints. The key lives outside the store.
pub trait CheckpointSigner: Send + Sync {
    /// Name of the log: the checkpoint's origin line.
    fn origin(&self) -> &str;
    /// The public key as a signed-note verifier key.
    fn verifier_key(&self) -> String;
    /// A signed note over the checkpoint of this head.
    fn sign(&self, head: TreeHead) -> String;
    /// The newest note it signed, remembered outside of the store; `None` if it does not remember. A store that does not extend it was
    /// put back from a copy.
    fn newest(&self) -> Option<String> {
        None
    }
}

/// Performs exact actions on resources, on the gateway's own connection.
pub trait Executor: Send + Sync + 'static {
    /// Runs one claimed action once and streams what comes back into `sink`. Consumes the permit.
    /// A dropped future cancels the action upstream where the protocol can.
    fn execute<'a>(&'a self, run: Run, sink: &'a mut (dyn ResultSink + Send)) -> BoxFuture<'a, safeconduct_lifecycle::ExactOutcome>;
}

/// What an executor needs to know.
#[derive(Debug)]
pub struct Run {
    pub permit: safeconduct_model::Permit,
    pub resource: Arc<safeconduct_model::Resource>,
    pub action: safeconduct_model::SqlAction,
    pub principal: PrincipalName,
    /// The login made for it; `None` if the resource's stored login is used.
    pub login: Option<Login>,
    /// It needs no more than reading: its transaction is read only where the login is its own.
    pub read_only: bool,
    /// Resolves when the action must stop: revoked, expired, disabled.
    pub stop: tokio::sync::watch::Receiver<bool>,
}

/// Takes the results of an exact action as they come. Waiting in `push` is back-pressure.
pub trait ResultSink {
    fn push(&mut self, part: ResultPart) -> BoxFuture<'_, Result<(), SinkClosed>>;
}

/// The receiver went away. The action goes on; its outcome is settled all the same.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the receiver of the results went away")]
pub struct SinkClosed;

/// A part of the results, in the order the server sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum ResultPart {
    Columns {
        names: Vec<String>,
    },
    /// Values in PostgreSQL's text format.
    Row {
        values: Vec<Option<String>>,
    },
    Notice {
        severity: String,
        message: String,
    },
    Complete {
        command: String,
        rows: Option<u64>,
    },
    Error {
        sqlstate: String,
        message: String,
    },
}
