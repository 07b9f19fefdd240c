//! The rosters of a receipt: which was in force when, who signed it, and whose keys and groups it says count.
//!
//! Refuses a roster that no entry of the ledger put into force, one that is not the text whose digest that entry holds, and, where root
//! keys are given, one that too few of them signed. Does not know that no other came into force between two that are shown.

use std::{collections::BTreeMap, fmt};

use safeconduct_evidence::{Enrolled, Member, Roots, Roster};
use safeconduct_model::{Digest, PrincipalName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::receipt::{NotProved, broken};

/// Most rosters of one receipt, and most entries that put one into force: each is read, and its signatures verified.
const MAX_ROSTERS: usize = 100;

/// A roster as a receipt holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptRoster {
    /// What root keys signed, byte for byte.
    pub text: String,
    /// One armored signature after another.
    pub signatures: String,
}

/// A roster that an entry of the ledger put into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvedRoster {
    pub epoch: u64,
    pub entry: u64,
    pub digest: String,
    /// How many distinct keys signed it, whosever they are.
    pub signatures: usize,
    /// `None`: no root keys were given, so whose signatures these are is not known.
    pub roots: Option<ProvedRoots>,
}

/// How many of the root keys signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProvedRoots {
    pub signed: usize,
    pub needed: usize,
    pub keys: usize,
}

impl fmt::Display for ProvedRoster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "roster of epoch {} (entry {}): ", self.epoch, self.entry)?;
        match &self.roots {
            Some(roots) => write!(f, "signed by {} of {} root keys, {} must", roots.signed, roots.keys, roots.needed),
            None => {
                write!(f, "as in the ledger; its own signatures ({}) were not checked against root keys, none were given", self.signatures)
            }
        }
    }
}

/// An entry that says which roster is in force.
pub struct Applied {
    pub index: u64,
    pub epoch: u64,
    pub digest: Digest,
}

/// A roster from the entry on that put it into force.
pub struct InForce {
    pub applied: Applied,
    roster: Roster,
}

/// The rosters of a receipt in the order in which they came into force.
pub struct Rosters {
    in_force: Vec<InForce>,
    pub proved: Vec<ProvedRoster>,
}

impl Rosters {
    /// Joins texts to the entries that name them. Without `roots` the signatures under them are counted, and believed to be anybody's.
    pub fn check(texts: &[ReceiptRoster], mut applied: Vec<Applied>, gateway: &str, roots: Option<&Roots>) -> Result<Self, NotProved> {
        if texts.len().max(applied.len()) > MAX_ROSTERS {
            return Err(broken("it holds too many rosters"));
        }
        let mut by_digest = BTreeMap::new();
        for held in texts {
            let digest = Digest::of_bytes(held.text.as_bytes());
            if !applied.iter().any(|applied| applied.digest == digest) {
                return Err(broken(format_args!("no entry put the roster with the digest {digest} into force")));
            }
            by_digest.insert(digest, held);
        }
        applied.sort_by_key(|applied| applied.index);
        let (mut in_force, mut proved, mut highest) = (Vec::new(), Vec::new(), 0);
        for applied in applied {
            let at = |what: &dyn fmt::Display| broken(format_args!("entry {}: {what}", applied.index));
            let held =
                by_digest.get(&applied.digest).ok_or_else(|| at(&format_args!("its roster of epoch {} is not here", applied.epoch)))?;
            let read = match roots {
                Some(roots) => Roster::prove(&held.text, &held.signatures, roots, gateway, highest),
                None => Roster::read(&held.text, gateway),
            };
            let roster = read.map_err(|invalid| at(&format_args!("the roster: {invalid}")))?;
            if roster.epoch != applied.epoch || roster.epoch < highest {
                return Err(at(&format_args!("the roster is of epoch {}, not {}", roster.epoch, applied.epoch.max(highest))));
            }
            highest = roster.epoch;
            let signers = Roster::signers(&held.text, &held.signatures);
            let signed = |roots: &Roots| signers.iter().filter(|key| roots.keys.contains(key)).count();
            proved.push(ProvedRoster {
                epoch: applied.epoch,
                entry: applied.index,
                digest: applied.digest.to_string(),
                signatures: signers.len(),
                roots: roots.map(|roots| ProvedRoots { signed: signed(roots), needed: roots.needed, keys: roots.keys.len() }),
            });
            in_force.push(InForce { applied, roster });
        }
        Ok(Self { in_force, proved })
    }

    /// The last one here that came into force before this entry.
    pub fn before(&self, index: u64) -> Option<&InForce> {
        self.in_force.iter().rev().find(|one| one.applied.index < index)
    }
}

impl InForce {
    /// The keys it lists for somebody. It is in force, so they count from the beginning.
    pub fn keys_of(&self, name: &PrincipalName) -> Vec<Enrolled> {
        let lines = self.member(name).map(|member| member.keys.iter()).into_iter().flatten();
        lines.filter_map(|line| Some(Enrolled { key: line.parse().ok()?, since: Timestamp::default() })).collect()
    }

    pub fn member(&self, name: &PrincipalName) -> Option<&Member> {
        self.roster.people.get(name)
    }

    /// True if its keepers signed that this policy may be in force.
    pub fn holds_policy(&self, policy: &Digest) -> bool {
        self.roster.policies.contains(policy)
    }
}
