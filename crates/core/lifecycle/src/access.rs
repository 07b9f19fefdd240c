//! One access request and the grant it leads to: what it is, and how events change it.
//!
//! Holds no clock and no policy: the caller brings the time and policy's decision, and nothing here can be undone.

use std::collections::BTreeSet;

use safeconduct_model::{
    AccessRequestId, Counted, Decision, Digest, Envelope, GrantId, GroupName, Outcome, PrincipalName, Reason, Timestamp, Words,
};
use serde::{Deserialize, Serialize};

/// An access request with everything that happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub envelope: Envelope,
    /// Digest of the envelope as it stands: what an approval must name.
    pub digest: Digest,
    /// Policy's latest decision about it.
    pub decision: Decision,
    /// Approvals that count, in order.
    pub approvals: Vec<Approval>,
    pub state: AccessState,
    /// True once sessions are cut and credentials are retired.
    pub ended: bool,
    /// How many events made this.
    pub version: u64,
}

/// Where an access request or its grant stands. Each variant holds what that state knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessState {
    /// Waits for people.
    Pending,
    /// Policy said no.
    Refused { at: Timestamp, reasons: Vec<Reason> },
    /// A person said no.
    Denied { at: Timestamp, by: PrincipalName, comment: Words },
    /// Taken back before it was decided.
    Withdrawn { at: Timestamp, by: Actor, why: Withdrawal },
    /// Nobody decided in time.
    Lapsed { at: Timestamp },
    /// Approved, starts later.
    Scheduled { starts_at: Timestamp },
    /// An exact action, approved and not yet run.
    Ready { use_by: Timestamp },
    /// A window that is open.
    Active { since: Timestamp, until: Timestamp },
    /// An exact action was taken up to be run; it is never run again.
    Claimed { at: Timestamp },
    /// An exact action with its outcome.
    Settled { at: Timestamp, outcome: ExactOutcome },
    /// Given back by its holder.
    Released { at: Timestamp },
    /// Ended by someone's act.
    Revoked { at: Timestamp, by: Actor, reason: String },
    /// Ended on time.
    Expired { at: Timestamp },
    /// An extension that was approved and moved its grant's deadline.
    Applied { at: Timestamp },
}

impl AccessState {
    /// The adjective used in CLI, API and page.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Refused { .. } => "refused",
            Self::Denied { .. } => "denied",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Lapsed { .. } => "lapsed",
            Self::Scheduled { .. } => "scheduled",
            Self::Ready { .. } => "ready",
            Self::Active { .. } => "active",
            Self::Claimed { .. } => "claimed",
            Self::Settled { .. } => "settled",
            Self::Released { .. } => "released",
            Self::Revoked { .. } => "revoked",
            Self::Expired { .. } => "expired",
            Self::Applied { .. } => "applied",
        }
    }

    /// True if nothing can happen to it any more but the retiring of what it gave.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Pending | Self::Scheduled { .. } | Self::Ready { .. } | Self::Active { .. } | Self::Claimed { .. })
    }

    /// True if it once was a grant, or ended as one: revoking may also have met an access request that was still waiting.
    #[must_use]
    pub const fn was_granted(&self) -> bool {
        !matches!(self, Self::Pending | Self::Refused { .. } | Self::Denied { .. } | Self::Withdrawn { .. } | Self::Lapsed { .. })
    }
}

/// Who did something: a principal, or the gateway for a stated cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "actor", rename_all = "snake_case")]
pub enum Actor {
    Principal {
        name: PrincipalName,
    },
    /// The gateway itself: `policy`, `clock`, `directory`, `session`, `restart`, `restore`, `bootstrap`.
    Gateway {
        cause: String,
    },
}

/// Why a pending access request was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawal {
    /// By its requester.
    Cancelled,
    /// The held statement was cancelled in its session.
    Interrupted,
    /// The hold took longer than it may.
    HoldTimedOut,
    /// The session it was held in ended.
    SessionEnded,
    /// The requester was disabled.
    RequesterDisabled,
    /// The resource was removed.
    ResourceRemoved,
    /// The gateway restarted while a statement was held.
    Restarted,
    /// The store was put back from a backup.
    Restored,
}

/// How an exact action ended. Never a guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ExactOutcome {
    /// It ran. `rows` as the server counted them.
    Executed { command: String, rows: Option<u64>, transaction: TransactionEnd },
    /// It ran into an error of the server.
    Failed { sqlstate: String, message: String },
    /// It was never sent.
    RefusedNotRun { why: String },
    /// The answer was lost.
    Unknown { why: String },
}

/// How the transaction around an exact action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionEnd {
    Committed,
    RolledBack,
    /// Still open when the statement completed.
    Open,
}

/// One person's approval with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub approver: PrincipalName,
    /// Groups it counts for: those the approver was in before the asking.
    pub groups: BTreeSet<GroupName>,
    pub at: Timestamp,
    /// Digest of the envelope that was shown.
    pub digest: Digest,
    pub comment: Option<Words>,
    pub evidence: Evidence,
}

/// What shows that it was this person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "evidence", rename_all = "snake_case")]
pub enum Evidence {
    /// Signed in as this person, from there, then.
    SignIn { sign_in: safeconduct_model::SignInId, method: String, source: String, signed_in_at: Timestamp },
    /// A statement, signed by a key of this person: texts as they came, that anybody can check. Sent by that sign-in from there.
    Signed {
        statement: String,
        signature: String,
        /// Digest of the text of the roster that lists the key, where one is in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roster: Option<safeconduct_model::Digest>,
        sign_in: safeconduct_model::SignInId,
        source: String,
    },
}

/// What happens to an access request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccessEvent {
    Submitted {
        envelope: Envelope,
        decision: Decision,
    },
    /// Policy denies it: at the asking, or after a change of policy.
    RefusedByPolicy {
        at: Timestamp,
        decision: Decision,
    },
    Approved {
        approval: Approval,
    },
    /// An approval stopped counting because its giver no longer may approve.
    ApprovalLapsed {
        approver: PrincipalName,
        why: String,
        at: Timestamp,
    },
    Denied {
        at: Timestamp,
        by: PrincipalName,
        comment: Words,
        evidence: Evidence,
    },
    Withdrawn {
        at: Timestamp,
        by: Actor,
        why: Withdrawal,
    },
    Lapsed {
        at: Timestamp,
    },
    /// A changed policy asks for something else: approvals are void and the envelope is issued anew.
    ApprovalsVoided {
        at: Timestamp,
        envelope: Envelope,
        decision: Decision,
    },
    /// A changed policy gives the same answer.
    Rejudged {
        at: Timestamp,
        decision: Decision,
    },
    /// The quorum is met and policy allows with these approvals.
    Granted {
        at: Timestamp,
        grant: GrantId,
        decision: Decision,
        start: Start,
    },
    Activated {
        at: Timestamp,
        until: Timestamp,
    },
    Extended {
        at: Timestamp,
        until: Timestamp,
        by: AccessRequestId,
    },
    /// This access request extended another's grant.
    Applied {
        at: Timestamp,
    },
    Released {
        at: Timestamp,
        by: PrincipalName,
    },
    Revoked {
        at: Timestamp,
        by: Actor,
        reason: String,
    },
    Expired {
        at: Timestamp,
    },
    Claimed {
        at: Timestamp,
    },
    /// Somebody stopped an action that had been taken up; its outcome follows.
    StopRequested {
        at: Timestamp,
        by: Actor,
        reason: String,
    },
    Settled {
        at: Timestamp,
        outcome: ExactOutcome,
    },
    /// Sessions are cut and credentials retired.
    Ended {
        at: Timestamp,
    },
}

/// When a grant starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "start", rename_all = "snake_case")]
pub enum Start {
    /// At once: `Activated` follows in the same append.
    Now,
    At {
        starts_at: Timestamp,
    },
    /// An exact action: once, before `use_by`.
    Once {
        use_by: Timestamp,
    },
}

impl AccessEvent {
    /// The event's name in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "access_request_submitted",
            Self::RefusedByPolicy { .. } => "access_request_refused",
            Self::Approved { .. } => "approval_given",
            Self::ApprovalLapsed { .. } => "approval_lapsed",
            Self::Denied { .. } => "access_request_denied",
            Self::Withdrawn { .. } => "access_request_withdrawn",
            Self::Lapsed { .. } => "access_request_lapsed",
            Self::ApprovalsVoided { .. } => "approvals_voided",
            Self::Rejudged { .. } => "access_request_rejudged",
            Self::Granted { .. } => "grant_given",
            Self::Activated { .. } => "grant_activated",
            Self::Extended { .. } => "grant_extended",
            Self::Applied { .. } => "extension_applied",
            Self::Released { .. } => "grant_released",
            Self::Revoked { .. } => "grant_revoked",
            Self::Expired { .. } => "grant_expired",
            Self::Claimed { .. } => "action_claimed",
            Self::StopRequested { .. } => "action_stop_requested",
            Self::Settled { .. } => "action_settled",
            Self::Ended { .. } => "grant_ended",
        }
    }
}

impl Access {
    /// The grant this is or would be.
    #[must_use]
    pub fn grant(&self) -> GrantId {
        self.envelope.access_request.grant()
    }

    /// True if the window is open at `now`. The deadline itself is outside.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        matches!(self.state, AccessState::Active { since, until } if since <= now && now < until)
    }

    /// The moment after which the present state can't go on, if it has one.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            AccessState::Pending => Some(self.envelope.pending_until),
            AccessState::Scheduled { starts_at } => Some(starts_at),
            AccessState::Ready { use_by } => Some(use_by),
            AccessState::Active { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The approvals as a quorum counts them.
    #[must_use]
    pub fn counted(&self) -> Vec<Counted> {
        self.approvals.iter().map(|a| Counted { approver: a.approver.clone(), groups: a.groups.clone() }).collect()
    }

    /// Who must approve, if anybody must.
    #[must_use]
    pub const fn quorum(&self) -> Option<&safeconduct_model::Quorum> {
        match &self.decision.outcome {
            Outcome::NeedApproval { quorum } => Some(quorum),
            Outcome::Allow | Outcome::Deny => None,
        }
    }
}

/// True if `event` can follow this state. `decide` makes no other events; a stored one that does not fit is without effect.
fn fits(access: &Access, event: &AccessEvent) -> bool {
    use AccessState as S;
    match (event, &access.state) {
        (AccessEvent::Approved { approval }, S::Pending) => {
            approval.digest == access.digest
                && approval.approver != access.envelope.requester
                && access.approvals.iter().all(|a| a.approver != approval.approver)
        }
        (
            AccessEvent::RefusedByPolicy { .. }
            | AccessEvent::ApprovalLapsed { .. }
            | AccessEvent::Denied { .. }
            | AccessEvent::Withdrawn { .. }
            | AccessEvent::Lapsed { .. }
            | AccessEvent::ApprovalsVoided { .. }
            | AccessEvent::Granted { .. },
            S::Pending,
        )
        | (AccessEvent::Activated { .. }, S::Scheduled { .. })
        | (AccessEvent::Claimed { .. }, S::Ready { .. })
        | (AccessEvent::StopRequested { .. } | AccessEvent::Settled { .. }, S::Claimed { .. })
        | (AccessEvent::Rejudged { .. } | AccessEvent::Revoked { .. }, S::Pending)
        | (
            AccessEvent::Rejudged { .. }
            | AccessEvent::Revoked { .. }
            | AccessEvent::Released { .. }
            | AccessEvent::Expired { .. }
            | AccessEvent::Applied { .. },
            S::Scheduled { .. } | S::Ready { .. } | S::Active { .. },
        ) => true,
        (AccessEvent::Extended { until, .. }, S::Active { until: old, .. }) => until > old,
        (AccessEvent::Ended { .. }, state) => state.is_final() && !access.ended,
        _ => false,
    }
}

/// Applies one event. Cannot fail: an event that does not fit its state changes nothing but the version.
#[must_use]
pub fn evolve(access: Option<Access>, event: &AccessEvent) -> Option<Access> {
    let Some(mut access) = access else {
        return match event {
            AccessEvent::Submitted { envelope, decision } => Some(Access {
                digest: envelope.digest().unwrap_or_else(|_| Digest::of_bytes(b"")),
                envelope: envelope.clone(),
                decision: decision.clone(),
                approvals: Vec::new(),
                state: AccessState::Pending,
                ended: false,
                version: 1,
            }),
            _ => None,
        };
    };
    access.version += 1;
    // INVARIANT: no final state is ever left, whatever the record holds.
    if !fits(&access, event) {
        return Some(access);
    }
    match event {
        AccessEvent::Submitted { .. } | AccessEvent::StopRequested { .. } => {}
        AccessEvent::RefusedByPolicy { at, decision } => {
            access.state = AccessState::Refused { at: *at, reasons: decision.reasons.clone() };
            access.decision = decision.clone();
        }
        AccessEvent::Approved { approval } => access.approvals.push(approval.clone()),
        AccessEvent::ApprovalLapsed { approver, .. } => access.approvals.retain(|a| a.approver != *approver),
        AccessEvent::Denied { at, by, comment, .. } => {
            access.state = AccessState::Denied { at: *at, by: by.clone(), comment: comment.clone() };
        }
        AccessEvent::Withdrawn { at, by, why } => access.state = AccessState::Withdrawn { at: *at, by: by.clone(), why: *why },
        AccessEvent::Lapsed { at } => access.state = AccessState::Lapsed { at: *at },
        AccessEvent::ApprovalsVoided { envelope, decision, .. } => {
            access.approvals.clear();
            access.digest = envelope.digest().unwrap_or(access.digest);
            access.envelope = envelope.clone();
            access.decision = decision.clone();
        }
        AccessEvent::Rejudged { decision, .. } => access.decision = decision.clone(),
        AccessEvent::Granted { at, start, decision, .. } => {
            access.decision = decision.clone();
            access.state = match start {
                Start::Now => AccessState::Scheduled { starts_at: *at },
                Start::At { starts_at } => AccessState::Scheduled { starts_at: *starts_at },
                Start::Once { use_by } => AccessState::Ready { use_by: *use_by },
            };
        }
        AccessEvent::Activated { at, until } => access.state = AccessState::Active { since: *at, until: *until },
        AccessEvent::Extended { until: later, .. } => {
            if let AccessState::Active { until, .. } = &mut access.state {
                *until = *later;
            }
        }
        AccessEvent::Applied { at } => access.state = AccessState::Applied { at: *at },
        AccessEvent::Released { at, .. } => access.state = AccessState::Released { at: *at },
        AccessEvent::Revoked { at, by, reason } => {
            // What was never granted leaves nothing to take back.
            access.ended = access.state == AccessState::Pending;
            access.state = AccessState::Revoked { at: *at, by: by.clone(), reason: reason.clone() };
        }
        AccessEvent::Expired { at } => access.state = AccessState::Expired { at: *at },
        AccessEvent::Claimed { at } => access.state = AccessState::Claimed { at: *at },
        AccessEvent::Settled { at, outcome } => access.state = AccessState::Settled { at: *at, outcome: outcome.clone() },
        AccessEvent::Ended { .. } => access.ended = true,
    }
    Some(access)
}
