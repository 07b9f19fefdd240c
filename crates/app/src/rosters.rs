//! The roster of those whose signatures count: how it comes into force.
//!
//! Nothing of it is believed because it is in the store: root keys signed it, and its text comes from outside.

use std::sync::Arc;

use safeconduct_evidence::{InvalidRoster, Roots, Roster};
use safeconduct_lifecycle::{PolicyEvent, StreamId};
use safeconduct_model::Digest;

use crate::{
    node::App,
    problem::{Problem, ProblemKind},
    signed::Trust,
    world::Work,
};

/// A roster and what it is checked with. It comes from outside of the store, and so do the roots.
#[derive(Clone, Debug)]
pub struct SignedRoster {
    pub roots: Roots,
    pub text: String,
    /// One armored signature after another.
    pub signatures: String,
    /// The highest epoch that is remembered outside of the store.
    pub highest_epoch: u64,
}

impl SignedRoster {
    /// The roster, if enough of the roots signed it and none with a higher epoch was in force.
    pub(crate) fn prove(&self, gateway: &str, highest_epoch: u64) -> Result<Roster, InvalidRoster> {
        Roster::prove(&self.text, &self.signatures, &self.roots, gateway, highest_epoch)
    }
}

impl App {
    /// Puts another roster into force: what no longer counts is taken back at once. Returns its epoch.
    ///
    /// # Errors
    /// `ROSTER-001` if it is not believed; then the one before stays.
    pub async fn apply_roster(&self, signed: &SignedRoster) -> Result<u64, Problem> {
        let (guard, mut work) = self.begin().await;
        let highest = work.world.trust.roster.as_ref().map_or(0, |roster| roster.epoch).max(signed.highest_epoch);
        let roster = signed.prove(&self.node.settings.gateway, highest).map_err(|invalid| {
            Problem::new("ROSTER-001", ProblemKind::Invalid, "the roster is not believed")
                .why(invalid.to_string())
                .next("see the operating guide, \"Root keys and the roster\"; the roster before it stays in force")
        })?;
        let epoch = roster.epoch;
        record_roster(&mut work, &roster, &signed.text);
        work.world.trust = Arc::new(Trust { site: work.world.trust.site.clone(), roster: Some(roster) });
        work.standing_changed = true;
        self.follow_up(&mut work).await?;
        self.commit(guard, work).await?;
        Ok(epoch)
    }

    /// The epoch of the roster in force, if there is one.
    #[must_use]
    pub fn roster_epoch(&self) -> Option<u64> {
        self.world().trust.roster.as_ref().map(|roster| roster.epoch)
    }
}

/// Says in the ledger which roster is in force, unless it was.
pub(crate) fn record_roster(work: &mut Work, roster: &Roster, text: &str) {
    if work.world.trust.roster.as_ref() != Some(roster) {
        let event = PolicyEvent::RosterApplied { epoch: roster.epoch, digest: Digest::of_bytes(text.as_bytes()), at: work.now };
        work.push(StreamId::Policy, event);
    }
}
