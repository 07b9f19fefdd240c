//! Checkpoints signed with a key that a test knows.

use safeconduct_app::ports::{CheckpointSigner, TreeHead};
use safeconduct_ledger::{Checkpoint, SignerKey, TreeHash};

/// Signs as the gateway does.
pub struct TestSigner(pub SignerKey);

impl CheckpointSigner for TestSigner {
    fn origin(&self) -> &str {
        self.0.name()
    }
    fn verifier_key(&self) -> String {
        self.0.verifier().to_string()
    }
    fn sign(&self, head: TreeHead) -> String {
        let checkpoint = Checkpoint { origin: self.0.name().to_owned(), size: head.size, root: TreeHash::from_bytes(head.root) };
        checkpoint.sign(&self.0).unwrap().to_string()
    }
}
