//! The ledger as callers see it, and the publisher that signs a checkpoint at least every second while entries arrive.

use std::sync::atomic::Ordering;

use safeconduct_ledger::{Checkpoint, TreeHash, VerifierKey};
use safeconduct_model::Operation;

use crate::{
    identity::Caller,
    node::{App, Ports},
    ports::{LedgerEntry, Stored},
    problem::{Problem, ProblemKind},
    start::StartError,
};

/// Most entries one call returns.
const MAX_ENTRIES: u32 = 1000;

/// What it takes to check one entry offline.
#[derive(Clone, Debug)]
pub struct Proof {
    pub index: u64,
    pub leaf: Vec<u8>,
    pub hashes: Vec<[u8; 32]>,
    /// The signed checkpoint the proof leads to.
    pub checkpoint: String,
    /// Size of that checkpoint.
    pub size: u64,
    /// The commitment's key and what it commits to, unless erased: whoever may have the proof may see that.
    pub body: Option<([u8; 32], String)>,
}

impl App {
    /// True if the caller may read the whole ledger and everybody's sessions.
    #[must_use]
    pub fn audits(&self, caller: &Caller) -> bool {
        self.may_administer(&self.world(), caller, Operation::Audit, self.now())
    }

    pub(crate) fn may_audit(&self, caller: &Caller) -> Result<(), Problem> {
        if self.audits(caller) {
            Ok(())
        } else {
            Err(Problem::new("VIEW-001", ProblemKind::Denied, "you may not read the ledger").next("auditors and administrators may"))
        }
    }

    /// Events from an index on, or the last ones.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit.
    pub async fn ledger_tail(&self, caller: &Caller, from: Option<u64>, limit: u32) -> Result<Vec<Stored>, Problem> {
        self.may_audit(caller)?;
        let limit = limit.clamp(1, MAX_ENTRIES);
        let from = match from {
            Some(from) => from,
            None => self.node.ports.store.tree_head().await?.size.saturating_sub(u64::from(limit)),
        };
        Ok(self.node.ports.store.events_from(from, limit).await?)
    }

    /// Entries with bodies, for an export.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit.
    pub async fn ledger_entries(&self, caller: &Caller, from: u64, limit: u32) -> Result<Vec<LedgerEntry>, Problem> {
        self.may_audit(caller)?;
        Ok(self.node.ports.store.entries(from, limit.clamp(1, MAX_ENTRIES)).await?)
    }

    /// The newest signed checkpoint.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn checkpoint(&self) -> Result<Option<String>, Problem> {
        Ok(self.node.ports.store.checkpoint().await?)
    }

    /// A file of the published log.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.node.ports.store.tile(path).await?)
    }

    /// How many entries are sequenced: those beyond the checkpoint are covered by none yet.
    ///
    /// # Errors
    /// `STORE-001`.
    pub async fn ledger_size(&self) -> Result<u64, Problem> {
        Ok(self.node.ports.store.tree_head().await?.size)
    }

    /// Inclusion proof of one entry in the newest checkpoint.
    ///
    /// # Errors
    /// `LEDGER-001` if no checkpoint covers the entry yet; `REQ-008` for an entry of something the caller may not see.
    pub async fn prove(&self, caller: &Caller, index: u64) -> Result<Proof, Problem> {
        if self.may_audit(caller).is_err() {
            self.may_see_entry(caller, index).await?;
        }
        let uncovered =
            || Problem::new("LEDGER-001", ProblemKind::Conflict, "no checkpoint covers this entry yet").next("try again in a second");
        let checkpoint = self.checkpoint().await?.ok_or_else(uncovered)?;
        let size = checkpoint.lines().nth(1).and_then(|line| line.parse().ok()).ok_or_else(uncovered)?;
        let entry = self.node.ports.store.entries(index, 1).await?.into_iter().next().ok_or_else(uncovered)?;
        let hashes = self.node.ports.store.inclusion_proof(index, size).await?.ok_or_else(uncovered)?;
        Ok(Proof { index, leaf: entry.leaf, hashes, checkpoint, size, body: entry.body })
    }

    async fn may_see_entry(&self, caller: &Caller, index: u64) -> Result<(), Problem> {
        let hidden = || Problem::not_found("ledger entry");
        let stored = self.node.ports.store.events_from(index, 1).await?.into_iter().next().ok_or_else(hidden)?;
        match stored.stream {
            safeconduct_lifecycle::StreamId::Access(id) => self.access(caller, &id).await.map(drop).map_err(|_| hidden()),
            safeconduct_lifecycle::StreamId::Session(id) => self.seen_session(caller, &id).await.map(drop).map_err(|_| hidden()),
            _ => Err(hidden()),
        }
    }

    /// The ledger's public key, as a signed-note verifier key.
    #[must_use]
    pub fn ledger_key(&self) -> String {
        self.node.ports.signer.verifier_key()
    }

    /// Signs a checkpoint if there are entries that none covers.
    ///
    /// # Errors
    /// `STORE-001`; `LEDGER-002` if the store lost entries that a checkpoint covers.
    pub async fn publish_checkpoint(&self) -> Result<(), Problem> {
        let _one_at_a_time = self.node.publisher.lock().await;
        let head = self.node.ports.store.tree_head().await?;
        let covered = self.node.checkpoint_size.load(Ordering::Acquire);
        if head.size == covered {
            self.node.meters.covered(self.node.ports.clock.boot());
            return Ok(());
        }
        if head.size < covered {
            // Signing this would attest a fork: entries that were promised are gone.
            return Err(Problem::new("LEDGER-002", ProblemKind::Unavailable, "the ledger has fewer entries than its newest checkpoint")
                .why(format!("{} entries are stored, {covered} were signed", head.size))
                .next("restore the store; nothing is signed until then"));
        }
        let note = self.node.ports.signer.sign(head);
        self.node.meters.stored(self.node.ports.store.put_checkpoint(head.size, note).await)?;
        self.node.checkpoint_size.store(head.size, Ordering::Release);
        self.node.meters.covered(self.node.ports.clock.boot());
        Ok(())
    }
}

/// Why the store is older than what this gateway's key has signed, or another one, if it is.
pub(crate) async fn behind_its_key(ports: &Ports) -> Result<Option<String>, StartError> {
    let Some(note) = ports.signer.newest() else { return Ok(None) };
    let key = VerifierKey::parse(&ports.signer.verifier_key()).map_err(StartError::Key)?;
    let Ok(signed) = Checkpoint::open(note.as_bytes(), &[key]) else {
        return Ok(Some("what is remembered beside the key can't be read".to_owned()));
    };
    Ok(extends(ports, &signed.checkpoint).await?.err().map(|why| format!("the ledger does not extend what this key has signed: {why}")))
}

async fn extends(ports: &Ports, signed: &Checkpoint) -> Result<Result<(), safeconduct_ledger::NotExtended>, StartError> {
    let head = ports.store.tree_head().await.map_err(Problem::from)?;
    let proof = if signed.size == 0 || signed.size >= head.size {
        Vec::new()
    } else {
        ports.store.consistency_proof(signed.size, head.size).await.map_err(Problem::from)?.unwrap_or_default()
    };
    let proof: Vec<TreeHash> = proof.into_iter().map(TreeHash::from_bytes).collect();
    let tree = Checkpoint { origin: ports.signer.origin().to_owned(), size: head.size, root: TreeHash::from_bytes(head.root) };
    Ok(tree.check_extends(signed, &proof))
}

/// Compares the stored tree with the newest checkpoint before anything is added to it. Returns how many entries it covers.
pub(crate) async fn check_checkpoint(ports: &Ports) -> Result<u64, StartError> {
    let Some(note) = ports.store.checkpoint().await.map_err(Problem::from)? else { return Ok(0) };
    let key = VerifierKey::parse(&ports.signer.verifier_key()).map_err(StartError::Key)?;
    let signed = Checkpoint::open(note.as_bytes(), &[key]).map_err(StartError::Checkpoint)?.checkpoint;
    extends(ports, &signed).await?.map_err(StartError::Ledger)?;
    Ok(signed.size)
}
