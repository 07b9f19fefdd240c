//! The roster of those whose signatures count: how it comes into force, and which one an approval was given under.
//!
//! Nothing of it is believed because it is in the store: root keys signed it, and its text comes from outside. What is kept of it there is
//! for receipts, and whoever gets one checks it by digest and signatures.

use std::{collections::BTreeSet, sync::Arc};

use safeconduct_evidence::{InvalidRoster, Roots, Roster};
use safeconduct_lifecycle::{AccessEvent, Event, Evidence, PolicyEvent, StreamId};
use safeconduct_model::{AccessRequestId, Digest};
use serde::{Deserialize, Serialize};

use crate::{
    identity::Caller,
    node::App,
    ports::{Stored, ValueChange},
    problem::{Problem, ProblemKind},
    signed::Trust,
    world::Work,
};

/// Kind of stored values: texts of rosters that were in force, with their signatures, by digest.
const ROSTERS: &str = "roster";

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

/// A roster that was in force when an access request was decided on.
#[derive(Clone, Debug)]
pub struct RosterInForce {
    /// The entry of the ledger that put it into force.
    pub index: u64,
    pub epoch: u64,
    pub digest: Digest,
    /// What has that digest.
    pub text: String,
    /// One armored signature after another.
    pub signatures: String,
}

/// What is kept of a roster.
#[derive(Serialize, Deserialize)]
struct Kept {
    text: String,
    signatures: String,
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
        self.keep_roster(signed).await?;
        record_roster(&mut work, &roster, &signed.text);
        work.world.trust = Arc::new(Trust { site: work.world.trust.site.clone(), roster: Some(roster) });
        work.standing_changed = true;
        self.follow_up(&mut work).await?;
        self.commit(guard, work).await?;
        Ok(epoch)
    }

    /// Keeps the text for receipts, before the ledger names its digest. The same roster signed again has the newer signatures.
    pub(crate) async fn keep_roster(&self, signed: &SignedRoster) -> Result<(), Problem> {
        let kept = Kept { text: signed.text.clone(), signatures: signed.signatures.clone() };
        let value = serde_json::to_vec(&kept).map_err(|_| Problem::invalid("the roster can't be kept"))?;
        let key = Digest::of_bytes(signed.text.as_bytes()).to_string();
        Ok(self.node.ports.store.put_values(vec![ValueChange { kind: ROSTERS.to_owned(), key, value: Some(value) }]).await?)
    }

    /// The rosters that prove whose keys signed an access request's approvals: that in force at each approval which names one, and at the
    /// moment something came of it. In the order in which they came into force, none if no approval names one.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit: a roster names everybody who signs; `REQ-008` if there is no such access request; `ROSTER-002`
    /// if a roster's text is not kept, or not as it was.
    pub async fn rosters_of(&self, caller: &Caller, id: &AccessRequestId) -> Result<Vec<RosterInForce>, Problem> {
        self.may_audit(caller)?;
        let steps = self.node.ports.store.load(StreamId::Access(id.clone())).await?;
        if steps.is_empty() {
            return Err(Problem::not_found("access request"));
        }
        let mut moments: Vec<u64> = steps.iter().filter(|step| names_a_roster(step)).map(|step| step.index).collect();
        if moments.is_empty() {
            return Ok(Vec::new());
        }
        moments.extend(steps.iter().rev().find(|step| uses_approvals(step)).map(|step| step.index));
        let policy = self.node.ports.store.load(StreamId::Policy).await?;
        let applied: Vec<(u64, u64, Digest)> = policy.iter().filter_map(as_applied).collect();
        let before = |moment: u64| applied.iter().rev().find(|(index, ..)| *index < moment).copied();
        let wanted: BTreeSet<_> = moments.into_iter().filter_map(before).collect();
        let mut rosters = Vec::new();
        for (index, epoch, digest) in wanted {
            let missing = |why: &str| {
                Problem::new("ROSTER-002", ProblemKind::Unavailable, format!("the roster of epoch {epoch} can't be shown"))
                    .why(why)
                    .next(format!("entry {index} of the ledger names it: `{digest}`"))
            };
            let value = self.node.ports.store.value(ROSTERS, &digest.to_string()).await?.ok_or_else(|| missing("its text is not kept"))?;
            let Kept { text, signatures } = serde_json::from_slice(&value).map_err(|_| missing("what is kept can't be read"))?;
            if Digest::of_bytes(text.as_bytes()) != digest {
                return Err(missing("what is kept is another text"));
            }
            rosters.push(RosterInForce { index, epoch, digest, text, signatures });
        }
        Ok(rosters)
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

fn names_a_roster(step: &Stored) -> bool {
    let Some(AccessEvent::Approved { approval }) = access_event(step) else { return false };
    matches!(approval.evidence, Evidence::Signed { roster: Some(_), .. })
}

/// True for what is done on the authority of approvals.
fn uses_approvals(step: &Stored) -> bool {
    matches!(access_event(step), Some(AccessEvent::Granted { .. } | AccessEvent::Claimed { .. } | AccessEvent::Applied { .. }))
}

fn access_event(step: &Stored) -> Option<&AccessEvent> {
    match &step.event {
        Some(Event::Access(event)) => Some(event),
        _ => None,
    }
}

const fn as_applied(stored: &Stored) -> Option<(u64, u64, Digest)> {
    match &stored.event {
        Some(Event::Policy(PolicyEvent::RosterApplied { epoch, digest, .. })) => Some((stored.index, *epoch, *digest)),
        _ => None,
    }
}
