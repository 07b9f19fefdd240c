//! Policy to look at: the bundle that is active, those that were, and the cases they are tested with. Looking changes nothing.

use std::collections::BTreeMap;

use safeconduct_lifecycle::StreamId;
use safeconduct_model::{Digest, Operation};
use safeconduct_policy::{CaseResult, CaseView};

use crate::{
    admin::parse_bundle,
    identity::Caller,
    node::App,
    ports::Stored,
    problem::{Problem, ProblemKind},
};

/// Most versions one call returns.
const MAX_VERSIONS: u32 = 200;
/// Most cases that are run to be shown; a bundle may hold any number.
const MAX_CASES: usize = 500;

/// A bundle that is kept.
#[derive(Clone, Debug)]
pub struct BundleView {
    pub hash: Digest,
    /// True if it decides at this moment.
    pub active: bool,
    /// Path to text.
    pub files: BTreeMap<String, String>,
    /// What its tests say, each with what came of it; the first ones if there are many.
    pub cases: Vec<(CaseView, CaseResult)>,
    /// Every case that it has.
    pub cases_in_all: usize,
}

impl App {
    fn may_read_policy(&self, caller: &Caller) -> Result<(), Problem> {
        if self.may_administer(&self.world(), caller, Operation::Audit, self.now()) {
            Ok(())
        } else {
            Err(Problem::new("VIEW-001", ProblemKind::Denied, "you may not read the policy")
                .next("auditors and administrators may; `policy explain` says why you get the answers you get"))
        }
    }

    /// The active bundle, or the one of this hash: one that was active before, or waits for approval.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit; `POLICY-002` if it is not kept.
    pub async fn bundle(&self, caller: &Caller, hash: Option<Digest>) -> Result<BundleView, Problem> {
        self.may_read_policy(caller)?;
        let active = self.world().bundle.hash;
        let hash = hash.unwrap_or(active);
        let files = self.load_bundle_files(&hash).await?;
        let bundle = parse_bundle(&files)?;
        let cases_in_all = bundle.tests.len();
        // Deciding takes a while for many: not on a thread that others wait for.
        let run = move || bundle.tests.iter().take(MAX_CASES).map(|case| (case.view(), case.run(&bundle))).collect();
        let cases = tokio::task::spawn_blocking(run).await.map_err(|_| Problem::invalid("the bundle's cases can't be run"))?;
        let texts = files.files.into_iter().map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned()));
        Ok(BundleView { hash, active: hash == active, files: texts.collect(), cases, cases_in_all })
    }

    /// When which bundle became the policy, newest first, as the ledger says; only those before index `before`, if there is one.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit.
    pub async fn bundle_versions(&self, caller: &Caller, before: Option<u64>, limit: u32) -> Result<Vec<Stored>, Problem> {
        self.may_read_policy(caller)?;
        let applied = self.node.ports.store.load(StreamId::Policy).await?;
        let older = applied.into_iter().rev().filter(|stored| before.is_none_or(|before| stored.index < before));
        Ok(older.take(limit.clamp(1, MAX_VERSIONS) as usize).collect())
    }
}
