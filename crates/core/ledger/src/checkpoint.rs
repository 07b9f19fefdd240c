//! Checkpoint (C2SP `tlog-checkpoint`): the signed statement of how large the log is and what its root is.
//!
//! Decides whether a checkpoint is to be believed and whether one extends another. Refuses extension lines, a signature under
//! another name than the origin, and a size without entries that has entries' root.
use crate::audit_path::{ProofError, verify_consistency};
use crate::canonical::MAX_INTEGER;
use crate::note::{Note, NoteError, SignerKey, VerifierKey};
use crate::tree::{TreeHash, empty_root};

/// Size and root of a log. By itself unsigned; [`Checkpoint::open`] gives one that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: also the name of its key, such as `safeconduct.example/ledger`.
    pub origin: String,
    /// How many entries the tree holds.
    pub size: u64,
    pub root: TreeHash,
}

impl Checkpoint {
    /// The three lines that are signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the three lines that are signed.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] for any other text.
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or(CheckpointError::Malformed)?.split('\n').collect();
        let [origin, size, root] = lines[..] else { return Err(CheckpointError::Malformed) };
        let size = parse_size(size).ok_or(CheckpointError::Malformed)?;
        let root = TreeHash::from_base64(root).ok_or(CheckpointError::Malformed)?;
        if origin.is_empty() || size == 0 && root != empty_root() {
            return Err(CheckpointError::Malformed);
        }
        Ok(Self { origin: origin.into(), size, root })
    }

    /// Signs with the log's key. The caller must never sign a checkpoint that does not extend all it signed before.
    ///
    /// # Errors
    /// [`CheckpointError::OtherOrigin`] unless the key's name is the origin.
    pub fn sign(&self, key: &SignerKey) -> Result<Note, CheckpointError> {
        if key.name() != self.origin {
            return Err(CheckpointError::OtherOrigin);
        }
        key.sign(&self.to_text()).map_err(CheckpointError::Note)
    }

    /// Reads a signed checkpoint and checks that a known key with the origin's name signed it.
    ///
    /// # Errors
    /// [`CheckpointError`] says why it is not to be believed.
    pub fn open(note: &[u8], keys: &[VerifierKey]) -> Result<SignedCheckpoint, CheckpointError> {
        let note = Note::parse(note).map_err(CheckpointError::Note)?;
        let signed_by = note.verify(keys).map_err(CheckpointError::Note)?;
        let checkpoint = Self::parse_text(note.text())?;
        let key = signed_by.into_iter().find(|key| key.name() == checkpoint.origin).ok_or(CheckpointError::OtherOrigin)?;
        Ok(SignedCheckpoint { signed_by: key.label(), checkpoint, note })
    }

    /// Checks that this checkpoint extends an `older` one, given the consistency proof between their sizes (empty if they are
    /// equal or the older one is of size 0).
    ///
    /// # Errors
    /// [`NotExtended`] if they are of different logs, this one is smaller, or the proof does not hold.
    pub fn check_extends(&self, older: &Self, proof: &[TreeHash]) -> Result<(), NotExtended> {
        if self.origin != older.origin {
            return Err(NotExtended::OtherOrigin);
        }
        if self.size < older.size {
            return Err(NotExtended::Smaller { older: older.size, newer: self.size });
        }
        if older.size == 0 {
            return if older.root == empty_root() && proof.is_empty() { Ok(()) } else { Err(NotExtended::Proof(ProofError::WrongRoot)) };
        }
        verify_consistency(older.size, &older.root, self.size, &self.root, proof).map_err(NotExtended::Proof)
    }
}

/// A checkpoint whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    /// The label of the log's key, such as `safeconduct.example/ledger+a1b2c3d4`.
    pub signed_by: String,
    /// The note with all its signatures; its `Display` is the bytes to keep.
    pub note: Note,
}

/// Why a checkpoint is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("not a note that we believe")]
    Note(#[source] NoteError),
    #[error("a checkpoint has three lines: origin, size, root")]
    Malformed,
    #[error("signed under another name than the log's origin")]
    OtherOrigin,
}

/// Why a checkpoint does not extend an older one: the log was cut, rewritten or exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExtended {
    #[error("the checkpoints are of different logs")]
    OtherOrigin,
    #[error("the log had {older} entries and has {newer} only")]
    Smaller { older: u64, newer: u64 },
    #[error("the history is another one")]
    Proof(#[source] ProofError),
}

/// A decimal without leading zero, as checkpoints and proofs write sizes and indexes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let plain = text == "0" || !text.starts_with('0');
    let size = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
    (plain && size <= MAX_INTEGER.unsigned_abs()).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Frontier, leaf_hash};

    fn key() -> SignerKey {
        SignerKey::from_seed("example.com/log", &[7; 32]).unwrap()
    }

    fn at(size: u64) -> Checkpoint {
        let mut frontier = Frontier::new();
        (0..size).for_each(|n| frontier.append(leaf_hash(&n.to_be_bytes())));
        Checkpoint { origin: "example.com/log".into(), size, root: frontier.root() }
    }

    #[test]
    fn a_signed_checkpoint_opens() {
        let note = at(3).sign(&key()).unwrap().to_string();
        let opened = Checkpoint::open(note.as_bytes(), &[key().verifier().clone()]).unwrap();
        assert_eq!((opened.checkpoint, opened.signed_by, opened.note.to_string()), (at(3), key().verifier().label(), note));
    }

    #[test]
    fn another_name_or_key_does_not_open_it() {
        let stranger = SignerKey::from_seed("example.com/other", &[8; 32]).unwrap();
        assert_eq!(at(3).sign(&stranger), Err(CheckpointError::OtherOrigin));
        let note = stranger.sign(&at(3).to_text()).unwrap().to_string();
        let keys = [key().verifier().clone(), stranger.verifier().clone()];
        assert_eq!(Checkpoint::open(note.as_bytes(), &keys[1..]), Err(CheckpointError::OtherOrigin));
        assert_eq!(Checkpoint::open(note.as_bytes(), &keys[..1]), Err(CheckpointError::Note(NoteError::UnknownSigners)));
    }

    #[test]
    fn other_texts_are_no_checkpoints() {
        let good = at(3).to_text();
        assert_eq!(Checkpoint::parse_text(&good), Ok(at(3)));
        let bad = [
            good.trim_end().to_owned(),
            format!("{good}extension\n"),
            format!("{good}\n"),
            good.replace("\n3\n", "\n03\n"),
            good.replace("\n3\n", "\n+3\n"),
            good.replace("\n3\n", "\n\n"),
            good.replace("\n3\n", "\n0\n"),
            good.replace("\n3\n", "\n9007199254740992\n"),
            good.replace("example.com/log", ""),
            good.replace('=', ""),
        ];
        for text in bad {
            assert_eq!(Checkpoint::parse_text(&text), Err(CheckpointError::Malformed), "{text}");
        }
    }

    #[test]
    fn f53_a_log_that_was_cut_or_exchanged_does_not_extend() {
        assert_eq!(at(3).check_extends(&at(3), &[]), Ok(()));
        assert_eq!(at(3).check_extends(&at(0), &[]), Ok(()));
        assert_eq!(at(2).check_extends(&at(3), &[]), Err(NotExtended::Smaller { older: 3, newer: 2 }));
        assert_eq!(at(3).check_extends(&Checkpoint { origin: "x".into(), ..at(3) }, &[]), Err(NotExtended::OtherOrigin));
        let forked = Checkpoint { root: at(4).root, ..at(3) };
        assert_eq!(at(3).check_extends(&forked, &[]), Err(NotExtended::Proof(ProofError::WrongRoot)));
    }
}
