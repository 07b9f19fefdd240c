//! How the domain's access requests, decisions, facts and outcomes are written down for the wire. Leaves nothing out that an approver needs.

use safeconduct_app::{AccessView, Preview};
use safeconduct_lifecycle as lifecycle;
use safeconduct_model as model;

use super::{AccessRequest, Approval, Decision, Facts, Outcome, PreviewAnswer, Reason, ResultLine, Signed, Statement, texts};

impl From<AccessView> for AccessRequest {
    fn from(view: AccessView) -> Self {
        let access = &view.access;
        let envelope = &access.envelope;
        Self {
            id: envelope.access_request.to_string(),
            grant: access.grant().to_string(),
            state: access.state.name().to_owned(),
            state_text: state_text(&access.state),
            ended: access.ended,
            digest: access.digest.to_string(),
            envelope: serde_json::to_value(envelope).unwrap_or_default(),
            requester: envelope.requester.to_string(),
            resource: envelope.resource.to_string(),
            exact: envelope.scope.is_exact(),
            operations: texts(envelope.scope.operations().iter()),
            reason: envelope.asked.reason.to_string(),
            ticket: envelope.asked.ticket.as_ref().map(ToString::to_string),
            duration: envelope.duration.to_string(),
            asked_at: envelope.asked_at.to_string(),
            deadline: access.deadline().map(|at| at.to_string()),
            decision: (&access.decision).into(),
            facts: view.facts.as_deref().map(Into::into),
            quorum: access.quorum().map(ToString::to_string),
            quorum_missing: view.quorum_missing,
            approvals: access.approvals.iter().map(Into::into).collect(),
            level: access.decision.obligations.level.name().to_owned(),
            eligible: texts(&view.eligible),
            may_approve: view.may_approve,
            may_revoke: view.may_revoke,
            second_lock: view.second_lock,
            outcome: match &access.state {
                lifecycle::AccessState::Settled { outcome, .. } => Some(outcome.into()),
                _ => None,
            },
            history: view.history.iter().map(Into::into).collect(),
            merged: view.merged,
        }
    }
}

/// What a state knows, in a line for people. Who and why are data of others and shown as such.
fn state_text(state: &lifecycle::AccessState) -> String {
    use lifecycle::AccessState as S;
    match state {
        S::Pending => "waits for approval".into(),
        S::Refused { reasons, .. } => {
            reasons.first().map_or_else(|| "refused by policy".into(), |reason| format!("refused by policy: {}", reason.text))
        }
        S::Denied { by, comment, .. } => format!("denied by {by}: “{comment}”"),
        S::Withdrawn { by, why, .. } => format!("withdrawn by {}: {}", actor_text(by), withdrawal_text(*why)),
        S::Lapsed { at } => format!("nobody decided before {at}"),
        S::Scheduled { starts_at } => format!("approved; starts at {starts_at}"),
        S::Ready { use_by } => format!("approved; to be run before {use_by}"),
        S::Active { until, .. } => format!("active until {until}"),
        S::Claimed { at } => format!("taken up to be run at {at}"),
        S::Settled { .. } => "run once".into(),
        S::Released { at } => format!("given back at {at}"),
        S::Revoked { by, reason, .. } => format!("revoked by {}: “{reason}”", actor_text(by)),
        S::Expired { at } => format!("ended on time at {at}"),
        S::Applied { at } => format!("extended its grant at {at}"),
    }
}

/// Who did something, in words.
pub(crate) fn actor_text(actor: &lifecycle::Actor) -> String {
    match actor {
        lifecycle::Actor::Principal { name } => name.to_string(),
        lifecycle::Actor::Gateway { cause } => format!("the gateway ({cause})"),
    }
}

const fn withdrawal_text(why: lifecycle::Withdrawal) -> &'static str {
    match why {
        lifecycle::Withdrawal::Cancelled => "cancelled by its requester",
        lifecycle::Withdrawal::Interrupted => "the held statement was cancelled",
        lifecycle::Withdrawal::HoldTimedOut => "the hold took longer than it may",
        lifecycle::Withdrawal::SessionEnded => "the session it was held in ended",
        lifecycle::Withdrawal::RequesterDisabled => "the requester was disabled",
        lifecycle::Withdrawal::ResourceRemoved => "the resource was removed",
        lifecycle::Withdrawal::Restarted => "the gateway restarted while the statement was held",
        lifecycle::Withdrawal::Restored => "the store was put back from a backup",
    }
}

impl From<&model::Decision> for Decision {
    fn from(decision: &model::Decision) -> Self {
        Self {
            outcome: match decision.outcome {
                model::Outcome::Allow => "allow",
                model::Outcome::Deny => "deny",
                model::Outcome::NeedApproval { .. } => "need_approval",
            }
            .to_owned(),
            reasons: decision.reasons.iter().map(Into::into).collect(),
            max_duration: decision.obligations.max_duration.map(|ttl| ttl.to_string()),
            level: decision.obligations.level.name().to_owned(),
            policy: decision.policy.to_string(),
        }
    }
}

impl From<&model::Reason> for Reason {
    fn from(reason: &model::Reason) -> Self {
        Self { policy_id: reason.policy_id.clone(), effect: reason.effect.clone(), text: reason.text.clone() }
    }
}

impl From<&safeconduct_sql::Facts> for Facts {
    fn from(facts: &safeconduct_sql::Facts) -> Self {
        Self {
            summary: safeconduct_sql::summary_line(facts),
            operations: texts(facts.operations.iter()),
            unparsable: facts.unparsable.clone(),
            statements: facts.statements.iter().map(Into::into).collect(),
        }
    }
}

impl From<&safeconduct_sql::StatementFacts> for Statement {
    fn from(facts: &safeconduct_sql::StatementFacts) -> Self {
        let usage = |object: &safeconduct_sql::ObjectUse| match object.usage {
            safeconduct_sql::Usage::Read => format!("{} (read)", object.name),
            safeconduct_sql::Usage::Write => format!("{} (write)", object.name),
            safeconduct_sql::Usage::Ddl => format!("{} (ddl)", object.name),
        };
        Self {
            command: facts.command.clone(),
            line: safeconduct_sql::statement_line(facts),
            operations: texts(facts.operations.iter()),
            objects: facts.objects.iter().map(usage).collect(),
            functions: facts.functions.clone(),
            has_where: facts.has_where,
            why: facts.why.clone(),
        }
    }
}

impl From<Signed> for safeconduct_app::SignedStatement {
    fn from(signed: Signed) -> Self {
        Self { statement: signed.statement, signature: signed.signature }
    }
}

fn signed_of(evidence: &lifecycle::Evidence) -> Option<Signed> {
    match evidence {
        lifecycle::Evidence::Signed { statement, signature, .. } => {
            Some(Signed { statement: statement.clone(), signature: signature.clone() })
        }
        lifecycle::Evidence::SignIn { .. } => None,
    }
}

fn key_of(evidence: &lifecycle::Evidence) -> Option<String> {
    let signed = signed_of(evidence)?;
    safeconduct_evidence::Signature::from_armor(&signed.signature).ok().map(|signature| signature.key().fingerprint())
}

fn roster_of(evidence: &lifecycle::Evidence) -> Option<String> {
    match evidence {
        lifecycle::Evidence::Signed { roster, .. } => roster.map(|digest| digest.to_string()),
        lifecycle::Evidence::SignIn { .. } => None,
    }
}

impl From<&lifecycle::Approval> for Approval {
    fn from(approval: &lifecycle::Approval) -> Self {
        Self {
            approver: approval.approver.to_string(),
            groups: texts(&approval.groups),
            at: approval.at.to_string(),
            digest: approval.digest.to_string(),
            comment: approval.comment.as_ref().map(ToString::to_string),
            signed: signed_of(&approval.evidence),
            key: key_of(&approval.evidence),
            roster: roster_of(&approval.evidence),
        }
    }
}

impl From<&lifecycle::ExactOutcome> for Outcome {
    fn from(outcome: &lifecycle::ExactOutcome) -> Self {
        match outcome {
            lifecycle::ExactOutcome::Executed { command, rows, transaction } => Self::Executed {
                command: command.clone(),
                rows: *rows,
                transaction: match transaction {
                    lifecycle::TransactionEnd::Committed => "committed",
                    lifecycle::TransactionEnd::RolledBack => "rolled_back",
                    lifecycle::TransactionEnd::Open => "open",
                }
                .to_owned(),
            },
            lifecycle::ExactOutcome::Failed { sqlstate, message } => Self::Failed { sqlstate: sqlstate.clone(), message: message.clone() },
            lifecycle::ExactOutcome::RefusedNotRun { why } => Self::RefusedNotRun { why: why.clone() },
            lifecycle::ExactOutcome::Unknown { why } => Self::Unknown { why: why.clone() },
        }
    }
}

impl From<Preview> for PreviewAnswer {
    fn from(preview: Preview) -> Self {
        Self {
            quorum: match &preview.decision.outcome {
                model::Outcome::NeedApproval { quorum } => Some(quorum.to_string()),
                _ => None,
            },
            decision: (&preview.decision).into(),
            facts: preview.facts.as_deref().map(Into::into),
            eligible: texts(&preview.eligible),
            sign_in_again: preview.sign_in_again.map(|again| again.name().to_owned()),
        }
    }
}

impl From<safeconduct_app::ports::ResultPart> for ResultLine {
    fn from(part: safeconduct_app::ports::ResultPart) -> Self {
        use safeconduct_app::ports::ResultPart as P;
        match part {
            P::Columns { names } => Self::Columns { names },
            P::Row { values } => Self::Row { values },
            P::Notice { severity, message } => Self::Notice { severity, message },
            P::Complete { command, rows } => Self::Complete { command, rows },
            P::Error { sqlstate, message } => Self::Error { sqlstate, message },
        }
    }
}
