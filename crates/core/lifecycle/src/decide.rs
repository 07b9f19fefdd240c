//! What may happen to an access request next: commands to events, or a refusal. The rules here no policy can lift.

use safeconduct_model::{Counted, Decision, Digest, Envelope, GroupName, Origin, Outcome, PrincipalKind, PrincipalName, Timestamp, Words};

use crate::access::{Access, AccessEvent, AccessState, Actor, Approval, Evidence, ExactOutcome, Start, Withdrawal, evolve};

/// What someone wants to happen.
#[derive(Clone, Debug)]
pub enum Command {
    /// Asks. `decision` is policy's answer to it without approvals.
    Submit { envelope: Box<Envelope>, decision: Decision },
    /// Approves. `others` is how earlier approvers stand at this moment; `judgement` is policy's answer
    /// with exactly the approvals that [`tally`] counts.
    Approve { by: Reviewer, digest: Digest, comment: Option<Words>, evidence: Evidence, others: Vec<Reviewer>, judgement: Decision },
    /// Denies; on a grant it revokes.
    Deny { by: Reviewer, comment: Words, evidence: Evidence },
    /// Stops an approval from counting, for good: whoever gave it is gone, and may come back. Nothing to void is no error.
    VoidApproval { approver: PrincipalName, why: String },
    /// Takes a pending access request back.
    Withdraw { by: Actor, why: Withdrawal },
    /// Time passed: lapses and expires what is due. Nothing due is no error.
    Tick,
    /// Starts a scheduled grant that is due. `judgement` is policy's answer at this moment with the approvals it has.
    Activate { judgement: Decision },
    /// Moves the deadline of a live grant, on the authority of a granted extension.
    Extend { until: Timestamp, by: safeconduct_model::AccessRequestId },
    /// Marks an extension as applied.
    Apply,
    /// Gives a grant back.
    Release { by: PrincipalName },
    /// Ends a grant, or a pending access request, by someone's act.
    Revoke { by: Actor, reason: String },
    /// Takes up an exact action to run it. `judgement` as for [`Command::Activate`].
    Claim { judgement: Decision },
    /// Says who stopped an action that runs. Whoever runs it settles it.
    Stop { by: Actor, reason: String },
    /// Reports how a claimed action ended.
    Settle { outcome: ExactOutcome },
    /// Policy changed. `judgement` is its answer with the approvals there are, `reissued` the envelope
    /// with the new policy and quorum.
    Rejudge { judgement: Decision, without_approvals: Decision, reissued: Box<Envelope> },
    /// Everything a finished grant gave has been taken back.
    End,
}

/// A would-be approver as the directory and policy see them at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewer {
    pub name: PrincipalName,
    pub kind: PrincipalKind,
    pub created_at: Timestamp,
    pub disabled: bool,
    /// Groups the reviewer is in now and already was in when the access request was made.
    pub groups: Vec<GroupName>,
    /// Policy's answer to `approve`.
    pub may_approve: bool,
}

/// Why a command was refused. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it already exists")]
    Exists,
    #[error("there is no such access request")]
    Missing,
    #[error("it is {state}, not waiting for a decision")]
    NotPending { state: &'static str },
    #[error("it is {state}, which this does not apply to")]
    WrongState { state: &'static str },
    #[error("nobody approves their own access request")]
    SelfApproval,
    #[error("only people approve")]
    NotAPerson,
    #[error("the approver is disabled")]
    Disabled,
    #[error("the approver was created after the asking")]
    TooNew,
    #[error("policy does not let this person approve it")]
    NotEligible,
    #[error("this person has approved already")]
    AlreadyApproved,
    #[error("the access request has changed since it was shown")]
    DigestMismatch,
    #[error("its time is over")]
    TooLate,
    #[error("its time has not come")]
    TooEarly,
    #[error("only its holder may do this")]
    NotHolder,
    #[error("policy denies it")]
    DeniedByPolicy,
    #[error("the new deadline is not later than the old one")]
    NotLater,
    #[error("the action is running; its outcome is not known yet")]
    Running,
}

/// Why this reviewer may not approve this access request; the rules no policy can lift come first.
///
/// # Errors
/// The first rule that stands against it.
pub fn check_reviewer(envelope: &Envelope, reviewer: &Reviewer) -> Result<(), Refused> {
    if reviewer.name == envelope.requester {
        return Err(Refused::SelfApproval);
    }
    if reviewer.kind != PrincipalKind::Person {
        return Err(Refused::NotAPerson);
    }
    if reviewer.disabled {
        return Err(Refused::Disabled);
    }
    if reviewer.created_at > envelope.asked_at {
        return Err(Refused::TooNew);
    }
    if !reviewer.may_approve {
        return Err(Refused::NotEligible);
    }
    Ok(())
}

/// The approvals that would count if `by` approved now: earlier ones are re-validated against how their givers stand.
#[must_use]
pub fn tally(access: &Access, by: Option<&Reviewer>, others: &[Reviewer]) -> Vec<Counted> {
    let still = |approval: &Approval| {
        others.iter().find(|r| r.name == approval.approver && check_reviewer(&access.envelope, r).is_ok()).map(|r| Counted {
            approver: approval.approver.clone(),
            groups: approval.groups.iter().filter(|g| r.groups.contains(g)).cloned().collect(),
        })
    };
    let shown = |approval: &&Approval| approval.digest == access.digest;
    let mut counted: Vec<Counted> = access.approvals.iter().filter(shown).filter_map(still).collect();
    if let Some(by) = by.filter(|by| !counted.iter().any(|c| c.approver == by.name)) {
        counted.push(Counted { approver: by.name.clone(), groups: by.groups.iter().cloned().collect() });
    }
    counted
}

/// Decides one command.
///
/// # Errors
/// [`Refused`] says which rule stands against it; then there are no events.
pub fn decide(access: Option<&Access>, command: Command, now: Timestamp) -> Result<Vec<AccessEvent>, Refused> {
    if let Command::Submit { envelope, decision } = command {
        return if access.is_some() { Err(Refused::Exists) } else { Ok(submit(*envelope, decision, now)) };
    }
    let access = access.ok_or(Refused::Missing)?;
    match command {
        Command::Submit { .. } => Err(Refused::Exists),
        Command::Approve { by, digest, comment, evidence, others, judgement } => {
            approve(access, &by, digest, comment, evidence, &others, judgement, now)
        }
        Command::Deny { by, comment, evidence } => deny(access, &by, comment, evidence, now),
        Command::Withdraw { by, why } => {
            pending(access, now)?;
            if let Actor::Principal { name } = &by
                && *name != access.envelope.requester
            {
                return Err(Refused::NotHolder);
            }
            Ok(vec![AccessEvent::Withdrawn { at: now, by, why }])
        }
        Command::Tick => Ok(tick(access, now)),
        Command::Activate { judgement } => activate(access, judgement, now),
        Command::Extend { until, by } => match access.state {
            AccessState::Active { until: old, .. } if now >= old => Err(Refused::TooLate),
            AccessState::Active { until: old, .. } if until <= old => Err(Refused::NotLater),
            AccessState::Active { .. } => Ok(vec![AccessEvent::Extended { at: now, until, by }]),
            _ => Err(wrong(access)),
        },
        Command::Apply => match (&access.state, &access.envelope.origin) {
            _ if is_due(access, now) => Err(Refused::TooLate),
            (AccessState::Ready { .. } | AccessState::Scheduled { .. } | AccessState::Active { .. }, Origin::Extension { .. }) => {
                Ok(vec![AccessEvent::Applied { at: now }])
            }
            _ => Err(wrong(access)),
        },
        Command::Release { by } => {
            if by != access.envelope.requester {
                return Err(Refused::NotHolder);
            }
            match access.state {
                _ if is_due(access, now) => Err(Refused::TooLate),
                AccessState::Active { .. } | AccessState::Scheduled { .. } | AccessState::Ready { .. } => {
                    Ok(vec![AccessEvent::Released { at: now, by }])
                }
                AccessState::Claimed { .. } => Err(Refused::Running),
                _ => Err(wrong(access)),
            }
        }
        Command::Revoke { by, reason } => revoke(access, by, reason, now),
        Command::Claim { judgement } => match access.state {
            AccessState::Ready { use_by } if now >= use_by => Err(Refused::TooLate),
            AccessState::Ready { .. } if access.envelope.starts_at.is_some_and(|starts_at| now < starts_at) => Err(Refused::TooEarly),
            AccessState::Ready { .. } if judgement.outcome != Outcome::Allow => Err(Refused::DeniedByPolicy),
            AccessState::Ready { .. } => Ok(vec![AccessEvent::Claimed { at: now }]),
            AccessState::Claimed { .. } => Err(Refused::Running),
            _ => Err(wrong(access)),
        },
        Command::Stop { by, reason } => match access.state {
            AccessState::Claimed { .. } => Ok(vec![AccessEvent::StopRequested { at: now, by, reason }]),
            _ => Err(wrong(access)),
        },
        Command::Settle { outcome } => match access.state {
            AccessState::Claimed { .. } => Ok(vec![AccessEvent::Settled { at: now, outcome }]),
            _ => Err(wrong(access)),
        },
        Command::VoidApproval { approver, why } => {
            let given = matches!(access.state, AccessState::Pending) && access.approvals.iter().any(|a| a.approver == approver);
            Ok(given.then_some(AccessEvent::ApprovalLapsed { approver, why, at: now }).into_iter().collect())
        }
        Command::Rejudge { judgement, without_approvals, reissued } => Ok(rejudge(access, judgement, without_approvals, *reissued, now)),
        Command::End => {
            if access.state.is_final() && access.state.was_granted() && !access.ended {
                Ok(vec![AccessEvent::Ended { at: now }])
            } else {
                Ok(vec![])
            }
        }
    }
}

fn submit(envelope: Envelope, decision: Decision, now: Timestamp) -> Vec<AccessEvent> {
    let submitted = AccessEvent::Submitted { envelope: envelope.clone(), decision: decision.clone() };
    match decision.outcome {
        Outcome::NeedApproval { .. } => vec![submitted],
        Outcome::Deny => vec![submitted, AccessEvent::RefusedByPolicy { at: now, decision }],
        Outcome::Allow => [vec![submitted], grant(&envelope, decision, now)].concat(),
    }
}

/// The clock of a grant starts here, once.
fn grant(envelope: &Envelope, decision: Decision, now: Timestamp) -> Vec<AccessEvent> {
    let start = match (envelope.scope.is_exact(), envelope.starts_at) {
        // An exact action has its whole duration to be run in, counted from the earliest moment it may run.
        (true, starts_at) => Start::Once { use_by: starts_at.map_or(now, |at| at.max(now)).after(envelope.duration) },
        (false, Some(starts_at)) if starts_at > now => Start::At { starts_at },
        (false, _) => Start::Now,
    };
    let granted = AccessEvent::Granted { at: now, grant: envelope.access_request.grant(), decision, start };
    match start {
        Start::Now => vec![granted, AccessEvent::Activated { at: now, until: now.after(envelope.duration) }],
        Start::At { .. } | Start::Once { .. } => vec![granted],
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one command, taken apart once")]
fn approve(
    access: &Access,
    by: &Reviewer,
    digest: Digest,
    comment: Option<Words>,
    evidence: Evidence,
    others: &[Reviewer],
    judgement: Decision,
    now: Timestamp,
) -> Result<Vec<AccessEvent>, Refused> {
    // The rules about the person come first: who may not approve learns nothing about the rest.
    check_reviewer(&access.envelope, by)?;
    pending(access, now)?;
    // The digest is worked out from the envelope again: what is approved is what will be enforced.
    if digest != access.digest || access.envelope.digest() != Ok(digest) {
        return Err(Refused::DigestMismatch);
    }
    if access.approvals.iter().any(|a| a.approver == by.name) {
        return Err(Refused::AlreadyApproved);
    }
    let counted = tally(access, Some(by), others);
    let lapsed = access
        .approvals
        .iter()
        .filter(|a| !counted.iter().any(|c| c.approver == a.approver))
        .map(|a| AccessEvent::ApprovalLapsed { approver: a.approver.clone(), why: "no longer may approve".to_owned(), at: now });
    let mut events: Vec<AccessEvent> = lapsed.collect();
    events.push(AccessEvent::Approved {
        approval: Approval { approver: by.name.clone(), groups: by.groups.iter().cloned().collect(), at: now, digest, comment, evidence },
    });
    // All must agree: the quorum that was shown is met, policy's latest one is, and policy allows with exactly these approvals.
    let shown = access.envelope.quorum.as_ref().is_none_or(|quorum| quorum.is_met_by(&counted));
    let met = shown && access.quorum().is_some_and(|quorum| quorum.is_met_by(&counted));
    match judgement.outcome {
        Outcome::Allow if met => events.extend(grant(&access.envelope, judgement, now)),
        Outcome::Deny => events.push(AccessEvent::RefusedByPolicy { at: now, decision: judgement }),
        Outcome::Allow | Outcome::NeedApproval { .. } => {}
    }
    Ok(events)
}

fn deny(access: &Access, by: &Reviewer, comment: Words, evidence: Evidence, now: Timestamp) -> Result<Vec<AccessEvent>, Refused> {
    check_reviewer(&access.envelope, by)?;
    match access.state {
        AccessState::Pending => {
            pending(access, now)?;
            Ok(vec![AccessEvent::Denied { at: now, by: by.name.clone(), comment, evidence }])
        }
        // Denying what was approved takes it away.
        _ => revoke(access, Actor::Principal { name: by.name.clone() }, comment.as_str().to_owned(), now),
    }
}

/// True if time has ended the present state, whether or not a tick has said so.
fn is_due(access: &Access, now: Timestamp) -> bool {
    match access.state {
        AccessState::Pending => now >= access.envelope.pending_until,
        AccessState::Active { until, .. } => now >= until,
        AccessState::Ready { use_by } => now >= use_by,
        // The deadline counts from the promised start: a gateway that was down does not lengthen the right.
        AccessState::Scheduled { starts_at } => now >= starts_at.after(access.envelope.duration),
        _ => false,
    }
}

fn tick(access: &Access, now: Timestamp) -> Vec<AccessEvent> {
    match access.state {
        _ if !is_due(access, now) => vec![],
        AccessState::Pending => vec![AccessEvent::Lapsed { at: now }],
        _ => vec![AccessEvent::Expired { at: now }],
    }
}

fn activate(access: &Access, judgement: Decision, now: Timestamp) -> Result<Vec<AccessEvent>, Refused> {
    let AccessState::Scheduled { starts_at } = access.state else { return Err(wrong(access)) };
    if now < starts_at {
        return Err(Refused::TooEarly);
    }
    if is_due(access, now) {
        return Ok(vec![AccessEvent::Expired { at: now }]);
    }
    let until = starts_at.after(access.envelope.duration);
    match judgement.outcome {
        Outcome::Allow => Ok(vec![AccessEvent::Activated { at: now, until }]),
        Outcome::Deny | Outcome::NeedApproval { .. } => Ok(vec![AccessEvent::Revoked {
            at: now,
            by: Actor::Gateway { cause: "policy".to_owned() },
            reason: "policy no longer allows it".to_owned(),
        }]),
    }
}

fn revoke(access: &Access, by: Actor, reason: String, now: Timestamp) -> Result<Vec<AccessEvent>, Refused> {
    match access.state {
        // An end on time is never rewritten as an end by someone's act.
        _ if is_due(access, now) => Err(Refused::TooLate),
        AccessState::Pending | AccessState::Active { .. } | AccessState::Scheduled { .. } | AccessState::Ready { .. } => {
            Ok(vec![AccessEvent::Revoked { at: now, by, reason }])
        }
        AccessState::Claimed { .. } => Err(Refused::Running),
        _ => Err(wrong(access)),
    }
}

fn rejudge(access: &Access, judgement: Decision, without_approvals: Decision, reissued: Envelope, now: Timestamp) -> Vec<AccessEvent> {
    // A changed policy neither saves nor blames what time has ended already.
    if is_due(access, now) {
        return tick(access, now);
    }
    // Issuing anew changes what policy answered and nothing that was asked.
    let Envelope { nonce, policy, quorum, roster_epoch, .. } = reissued;
    let reissued = Envelope { nonce, policy, quorum, roster_epoch, ..access.envelope.clone() };
    match (&access.state, &judgement.outcome) {
        (AccessState::Pending, _) => match (&without_approvals.outcome, &access.decision.outcome) {
            (Outcome::Deny, _) => vec![AccessEvent::RefusedByPolicy { at: now, decision: without_approvals }],
            (Outcome::Allow, _) => [
                vec![AccessEvent::ApprovalsVoided { at: now, envelope: reissued.clone(), decision: without_approvals.clone() }],
                grant(&reissued, without_approvals, now),
            ]
            .concat(),
            (new, old) if new == old && without_approvals.obligations == access.decision.obligations => {
                vec![AccessEvent::Rejudged { at: now, decision: without_approvals }]
            }
            _ => vec![AccessEvent::ApprovalsVoided { at: now, envelope: reissued, decision: without_approvals }],
        },
        (AccessState::Active { .. } | AccessState::Scheduled { .. } | AccessState::Ready { .. }, Outcome::Allow) => {
            vec![AccessEvent::Rejudged { at: now, decision: judgement }]
        }
        (AccessState::Active { .. } | AccessState::Scheduled { .. } | AccessState::Ready { .. }, _) => vec![AccessEvent::Revoked {
            at: now,
            by: Actor::Gateway { cause: "policy".to_owned() },
            reason: "policy no longer allows it".to_owned(),
        }],
        _ => vec![],
    }
}

fn pending(access: &Access, now: Timestamp) -> Result<(), Refused> {
    match access.state {
        AccessState::Pending if now >= access.envelope.pending_until => Err(Refused::TooLate),
        AccessState::Pending => Ok(()),
        _ => Err(Refused::NotPending { state: access.state.name() }),
    }
}

const fn wrong(access: &Access) -> Refused {
    Refused::WrongState { state: access.state.name() }
}

/// Applies events in order.
#[must_use]
pub fn replay<'a>(access: Option<Access>, events: impl IntoIterator<Item = &'a AccessEvent>) -> Option<Access> {
    events.into_iter().fold(access, evolve)
}
