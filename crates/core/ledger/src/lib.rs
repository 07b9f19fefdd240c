//! The ledger: entry bytes, hash tree, checkpoints and proofs, and the verifier that reads a whole log.
//!
//! `docs/specs/ledger.md` is the contract; this crate is its one implementation and `safeconduct-verify` sees nothing else.
//! It decides what is a true record. It reads no file, no clock and no random source: bytes, times and keys are arguments.
mod audit_path;
mod body;
pub mod canonical;
mod checkpoint;
mod entry;
mod note;
mod proof;
pub mod tile;
mod tree;
mod verify;

pub use audit_path::{
    ComputeError, HashReader, ProofError, consistency_proof, frontier, inclusion_proof, root, verify_consistency, verify_inclusion,
};
pub use body::{BodyError, MAX_BODY_LINE_BYTES, StoredBody};
pub use checkpoint::{Checkpoint, CheckpointError, NotExtended, SignedCheckpoint};
pub use entry::{BodyCommitment, ENTRY_FORMAT, Entry, EntryError, MAX_LEAF_BYTES, commit_body, verify_body};
pub use note::{KeyError, MAX_NOTE_BYTES, Note, NoteError, SignerKey, VerifierKey};
pub use proof::{EntryProof, EntryProofError, MAX_PROOF_BYTES, ProvedEntry};
pub use tile::{TileError, TileKind, TilePath};
pub use tree::{Frontier, StoredHash, TILE_HEIGHT, TreeHash, WrongEdge, empty_root, leaf_hash, node_hash};
pub use verify::{BadPlace, Bodies, LogSource, Report, SourceError, explain, verify_log};
