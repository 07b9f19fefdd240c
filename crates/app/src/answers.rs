//! Answers to repeated writes: what a caller was told the first time, kept for a day so that repeating it does nothing twice.
//!
//! Kept through the store, so a restart forgets none. Bounded for each caller: the oldest make room. Never in the ledger.

use safeconduct_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    identity::Caller,
    node::App,
    ports::ValueChange,
    problem::{Problem, ProblemKind},
};

/// Kind of the values that hold an answer; their key is `CALLER/KEY`.
const ANSWER: &str = "idempotency";
/// Kind of the values that list a caller's answers, oldest first.
const LIST: &str = "idempotency-list";
const KEEP_SECONDS: i64 = 24 * 3600;
/// Answers kept for one caller.
const MOST: usize = 256;
/// And their bodies together.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// Digest of the call it answered.
    pub call: Digest,
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    pub body: String,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    until: Timestamp,
    #[serde(flatten)]
    answer: GivenAnswer,
}

#[derive(Clone, Serialize, Deserialize)]
struct Listed {
    key: String,
    until: Timestamp,
    size: usize,
}

impl App {
    /// What this caller was told under this key, if that is less than a day ago.
    ///
    /// # Errors
    /// `STORE-001`: then the call must not be done, for it may have been done already.
    pub async fn given_answer(&self, caller: &Caller, key: &str) -> Result<Option<GivenAnswer>, Problem> {
        let stored = self.node.ports.store.value(ANSWER, &place(caller, key)).await?;
        let kept: Option<Kept> = stored.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(unreadable)?;
        Ok(kept.filter(|kept| self.now() < kept.until).map(|kept| kept.answer))
    }

    /// Keeps what this caller was told under this key. The caller's oldest answers make room for it.
    ///
    /// # Errors
    /// `STORE-001`: repeating the call may do it again.
    pub async fn keep_answer(&self, caller: &Caller, key: &str, answer: GivenAnswer) -> Result<(), Problem> {
        // One at a time: the list is read, changed and written.
        let _writing = self.node.writer.lock().await;
        let now = self.now();
        let listed = self.node.ports.store.value(LIST, caller.name.as_str()).await?;
        let mut list: Vec<Listed> = listed.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(unreadable)?.unwrap_or_default();
        let until = now.plus_seconds(KEEP_SECONDS);
        let size = answer.body.len();
        list.retain(|other| other.key != key);
        let mut changes: Vec<ValueChange> = Vec::new();
        let mut bytes = size + list.iter().map(|other| other.size).sum::<usize>();
        let mut stay = Vec::with_capacity(list.len() + 1);
        let mut count = list.len() + 1;
        for other in list {
            if other.until <= now || count > MOST || bytes > MOST_BYTES {
                bytes = bytes.saturating_sub(other.size);
                count -= 1;
                changes.push(ValueChange { kind: ANSWER.to_owned(), key: place(caller, &other.key), value: None });
            } else {
                stay.push(other);
            }
        }
        stay.push(Listed { key: key.to_owned(), until, size });
        let kept = serde_json::to_vec(&Kept { until, answer }).map_err(unreadable)?;
        let list = serde_json::to_vec(&stay).map_err(unreadable)?;
        changes.push(ValueChange { kind: ANSWER.to_owned(), key: place(caller, key), value: Some(kept) });
        changes.push(ValueChange { kind: LIST.to_owned(), key: caller.name.to_string(), value: Some(list) });
        Ok(self.node.ports.store.put_values(changes).await?)
    }
}

fn place(caller: &Caller, key: &str) -> String {
    // A name holds no slash, so no two callers share a place.
    format!("{}/{key}", caller.name)
}

fn unreadable(_: serde_json::Error) -> Problem {
    Problem::new("STORE-001", ProblemKind::Unavailable, "what was answered before can't be read")
}
