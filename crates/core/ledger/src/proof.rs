//! Entry proof (C2SP `tlog-proof@v1`): a small file that proves one entry to whoever knows the log's key.
//!
//! Decides whether such a file proves its entry. Believes nothing in the file before the checkpoint's signature and the audit
//! path have been checked.
use crate::audit_path::{ComputeError, HashReader, ProofError, inclusion_proof, verify_inclusion};
use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, parse_size};
use crate::entry::{Entry, EntryError};
use crate::note::{MAX_NOTE_BYTES, VerifierKey};
use crate::tree::{TreeHash, leaf_hash};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// A proof is at most this large.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + (96 << 10);

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// No path in a tree of fewer than 2^53 entries is longer.
const MAX_HASHES: usize = 53;

/// An entry with its audit path and a signed checkpoint. By itself only a claim; see [`EntryProof::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    index: u64,
    leaf: Vec<u8>,
    hashes: Vec<TreeHash>,
    checkpoint: String,
}

impl EntryProof {
    /// Makes the proof that `leaf` is entry `index` under a checkpoint.
    ///
    /// # Errors
    /// If the entry is not covered by the checkpoint, or hashes are missing or unreadable.
    pub fn prove<R: HashReader + ?Sized>(
        reader: &R,
        index: u64,
        leaf: &[u8],
        checkpoint: &SignedCheckpoint,
    ) -> Result<Self, ComputeError<R::Error>> {
        let hashes = inclusion_proof(reader, index, checkpoint.checkpoint.size)?;
        Ok(Self { index, leaf: leaf.to_vec(), hashes, checkpoint: checkpoint.note.to_string() })
    }

    /// Reads a proof. Says nothing about whether it holds.
    ///
    /// # Errors
    /// [`EntryProofError::Malformed`] for anything but the format's one form.
    pub fn parse(proof: &[u8]) -> Result<Self, EntryProofError> {
        if proof.len() > MAX_PROOF_BYTES {
            return Err(EntryProofError::Malformed);
        }
        Self::parse_text(proof).ok_or(EntryProofError::Malformed)
    }

    fn parse_text(proof: &[u8]) -> Option<Self> {
        let (head, checkpoint) = std::str::from_utf8(proof).ok()?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let leaf = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
        let index = parse_size(lines.next()?.strip_prefix("index ")?)?;
        let hashes = lines.map(TreeHash::from_base64).collect::<Option<Vec<_>>>()?;
        (hashes.len() <= MAX_HASHES).then(|| Self { index, leaf, hashes, checkpoint: checkpoint.into() })
    }

    /// Checks the checkpoint against the known keys, the leaf against the format, and that the one holds the other.
    ///
    /// # Errors
    /// [`EntryProofError`] says what does not hold.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<ProvedEntry, EntryProofError> {
        let signed = Checkpoint::open(self.checkpoint.as_bytes(), keys).map_err(EntryProofError::Checkpoint)?;
        let entry = Entry::parse(&self.leaf).map_err(EntryProofError::Entry)?;
        if entry.index != self.index {
            return Err(EntryProofError::OtherIndex { claimed: self.index, found: entry.index });
        }
        let (size, root) = (signed.checkpoint.size, &signed.checkpoint.root);
        verify_inclusion(&leaf_hash(&self.leaf), self.index, size, &self.hashes, root).map_err(EntryProofError::Path)?;
        Ok(ProvedEntry { entry, checkpoint: signed })
    }
}

/// Writes the proof as [`EntryProof::parse`] reads it.
impl fmt::Display for EntryProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER}\nextra {}\nindex {}\n", STANDARD.encode(&self.leaf), self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// An entry that was proved, and by which checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedEntry {
    pub entry: Entry,
    pub checkpoint: SignedCheckpoint,
}

/// Why a file proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum EntryProofError {
    #[error("not a proof in the format `{HEADER}` with a leaf as extra data")]
    Malformed,
    #[error("its checkpoint is not to be believed")]
    Checkpoint(#[source] CheckpointError),
    #[error("its leaf is not an entry")]
    Entry(#[source] EntryError),
    #[error("speaks of entry {claimed} but carries entry {found}")]
    OtherIndex { claimed: u64, found: u64 },
    #[error("the entry is not in the log at that place")]
    Path(#[source] ProofError),
}
