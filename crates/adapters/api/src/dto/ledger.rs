//! Ledger entries on the wire. What a body holds is shown only to who may see it; the rest proves itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use safeconduct_app::ports::{LedgerEntry as Exported, Stored};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Unfit;

/// One event of the ledger as people read it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerLine {
    pub index: u64,
    pub at: String,
    /// The access request, session or part of the gateway it is about.
    pub stream: String,
    /// Its number within the stream, from 1.
    pub version: u64,
    /// `grant_revoked`, `session_opened`…; `erased` if the body was erased.
    pub kind: String,
    /// The event itself; absent if it was erased.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<serde_json::Value>,
}

/// An entry that was found, with one line about it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FoundEntry {
    #[serde(flatten)]
    pub entry: LedgerLine,
    /// Who did it; absent if the gateway did by itself, or the body was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Whom it is about: the requester, the principal of the session, the one who was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// In the gateway's words, with what others wrote in it. At most 240 characters, then `…`.
    pub summary: String,
}

/// A part of what a search finds, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerFound {
    pub entries: Vec<FoundEntry>,
    /// Go on with this as `before`; absent if nothing older is left to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Entries this call looked at.
    pub looked_at: u64,
    /// How far back it looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
    /// Entries in the ledger.
    pub size: u64,
}

/// One entry as it is exported.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerEntry {
    pub index: u64,
    /// The leaf's bytes, base64.
    pub leaf: String,
    /// Key of the commitment, base64; absent if the body was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A proof that an entry is in the log: a file in the format `c2sp.org/tlog-proof@v1`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerProof {
    pub index: u64,
    pub proof: String,
    /// Key of the entry's commitment, base64; absent if the body was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the entry commits to: HMAC-SHA256 with that key over these bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A roster that was in force when an access request was decided on, as the holders of root keys signed it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedRoster {
    /// The entry that put it into force.
    pub index: u64,
    pub epoch: u64,
    /// `sha256:…` of its text.
    pub digest: String,
    /// Canonical JSON: docs/specs/evidence.md.
    pub text: String,
    /// SSHSIG, one armored signature after another.
    pub signatures: String,
}

/// The key that signs the log's checkpoints.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerKey {
    /// Signed-note verifier key: `name+hash+key`.
    pub key: String,
}

impl From<&Stored> for LedgerLine {
    fn from(stored: &Stored) -> Self {
        let event = stored.event.as_ref().and_then(|event| event.to_body().ok()).and_then(|body| serde_json::from_str(&body).ok());
        Self {
            index: stored.index,
            at: stored.at.to_string(),
            stream: stored.stream.to_string(),
            version: stored.version,
            kind: stored.event.as_ref().map_or("erased", safeconduct_lifecycle::Event::kind).to_owned(),
            event,
        }
    }
}

impl From<&safeconduct_app::FoundEntry> for FoundEntry {
    fn from(found: &safeconduct_app::FoundEntry) -> Self {
        Self {
            entry: (&found.stored).into(),
            who: found.who.as_ref().map(ToString::to_string),
            about: found.about.as_ref().map(ToString::to_string),
            resource: found.resource.as_ref().map(ToString::to_string),
            summary: found.summary.clone(),
        }
    }
}

impl From<&safeconduct_app::Found> for LedgerFound {
    fn from(found: &safeconduct_app::Found) -> Self {
        Self {
            entries: found.entries.iter().map(Into::into).collect(),
            next: found.next,
            looked_at: found.looked_at,
            back_to: found.back_to.map(|at| at.to_string()),
            size: found.size,
        }
    }
}

impl From<&Exported> for LedgerEntry {
    fn from(entry: &Exported) -> Self {
        let (key, body) = match &entry.body {
            Some((key, body)) => (Some(STANDARD.encode(key)), Some(body.clone())),
            None => (None, None),
        };
        Self { index: entry.index, leaf: STANDARD.encode(&entry.leaf), key, body }
    }
}

/// The proof as a file that stands alone.
fn proof_text(proof: &safeconduct_app::Proof) -> String {
    let hashes: String = proof.hashes.iter().map(|hash| format!("{}\n", STANDARD.encode(hash))).collect();
    format!("c2sp.org/tlog-proof@v1\nextra {}\nindex {}\n{hashes}\n{}", STANDARD.encode(&proof.leaf), proof.index, proof.checkpoint)
}

impl From<&safeconduct_app::Proof> for LedgerProof {
    fn from(proof: &safeconduct_app::Proof) -> Self {
        let (key, body) = match &proof.body {
            Some((key, body)) => (Some(STANDARD.encode(key)), Some(body.clone())),
            None => (None, None),
        };
        Self { index: proof.index, proof: proof_text(proof), key, body }
    }
}

impl From<safeconduct_app::RosterInForce> for SignedRoster {
    fn from(roster: safeconduct_app::RosterInForce) -> Self {
        let safeconduct_app::RosterInForce { index, epoch, digest, text, signatures } = roster;
        Self { index, epoch, digest: digest.to_string(), text, signatures }
    }
}

impl LedgerEntry {
    /// The commitment's key and the body, unless erased.
    ///
    /// # Errors
    /// [`Unfit`] if they are not what the format says.
    pub fn stored_body(&self) -> Result<Option<safeconduct_ledger::StoredBody>, Unfit> {
        let (Some(key), Some(body)) = (&self.key, &self.body) else { return Ok(None) };
        let key = STANDARD.decode(key).ok().and_then(|key| key.try_into().ok()).ok_or_else(|| Unfit::new("key", "not 32 bytes"))?;
        Ok(Some(safeconduct_ledger::StoredBody { index: self.index, key, body: body.clone() }))
    }

    /// The leaf's bytes.
    ///
    /// # Errors
    /// [`Unfit`] if they are not base64.
    pub fn leaf_bytes(&self) -> Result<Vec<u8>, Unfit> {
        STANDARD.decode(&self.leaf).map_err(|_| Unfit::new("leaf", "not base64"))
    }
}
