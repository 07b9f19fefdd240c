//! The envelope: the one thing an approver sees, signs for and approves. Everything an approval binds is inside.
//!
//! Any byte changed gives another digest, and approvals count only toward the digest they were given for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    AccessRequestId, Digest, NotCanonical, PrincipalKind, PrincipalName, Quorum, ResourceName, Scope, SessionId, Timestamp, Ttl, UnfitText,
    Words, text,
};

/// What is approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Format version: 1.
    pub v: u32,
    /// Name of the gateway that will enforce it.
    pub gateway: String,
    pub access_request: AccessRequestId,
    /// 32 random hexadecimal digits: two askings never have one digest.
    pub nonce: String,
    pub requester: PrincipalName,
    pub requester_kind: PrincipalKind,
    pub resource: ResourceName,
    pub scope: Scope,
    /// How long the grant lasts once it starts.
    pub duration: Ttl,
    /// Earliest start; `None` starts when approved.
    pub starts_at: Option<Timestamp>,
    pub asked_at: Timestamp,
    /// Undecided at this moment, the access request expires.
    pub pending_until: Timestamp,
    /// What the requester said and how they were signed in. Their words, not facts.
    pub asked: Asked,
    /// Where it came from, with the bounds that gives.
    pub origin: Origin,
    /// Hash of the policy that answered.
    pub policy: Digest,
    /// Who must approve, as that policy answered. `None` if nobody needs to.
    pub quorum: Option<Quorum>,
    /// Counts changes to people and groups: says which roster the quorum was worked out against.
    pub roster_epoch: u64,
}

/// The record of the asking, frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub reason: Words,
    pub ticket: Option<Words>,
    /// Address the asking came from.
    pub source: String,
    /// How the requester signed in: `password`, `token`, `door`.
    pub sign_in: String,
    /// Seconds since the requester proved who they are; [`Asked::OLDEST_SIGN_IN_SECONDS`] if nobody says when that was.
    pub sign_in_age_seconds: u64,
    /// What the token says that a workload brought or a person signed in with, as far as the settings keep it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Words>,
}

impl Asked {
    /// The oldest sign-in that policy tells apart, in seconds: a century. What is not known is as old: never taken for fresh.
    pub const OLDEST_SIGN_IN_SECONDS: u64 = 3_155_760_000;
}

/// How an access request came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum Origin {
    /// Asked through CLI, API or page.
    Asked,
    /// A statement held in an open session: the approval is for that session and, inside one, that transaction.
    Held { session: SessionId, in_transaction: bool },
    /// Asks that a grant last longer.
    Extension { of: crate::GrantId },
}

impl Asked {
    /// Checks that everything said can be shown to an approver as it is.
    ///
    /// # Errors
    /// [`UnfitText`] names the first character that could deceive.
    pub fn check_shown(&self) -> Result<(), UnfitText> {
        [&self.reason].into_iter().chain(&self.ticket).chain(self.claims.values()).try_for_each(Words::check_lookalikes)?;
        [&self.source, &self.sign_in].into_iter().chain(self.claims.keys()).try_for_each(|text| text::check_value(text))
    }
}

impl Envelope {
    /// Checks that everything people see before they sign can be shown as it is.
    ///
    /// # Errors
    /// [`UnfitText`] names the first character that could deceive.
    pub fn check_shown(&self) -> Result<(), UnfitText> {
        self.scope.check_shown()?;
        self.asked.check_shown()
    }

    /// Digest of the canonical envelope.
    ///
    /// # Errors
    /// [`NotCanonical`] never for values made here.
    pub fn digest(&self) -> Result<Digest, NotCanonical> {
        Digest::of(self)
    }
}
