//! Puts questions to policy with everything the world knows. The only place that builds evaluations.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use safeconduct_lifecycle::{Access, Reviewer};
use safeconduct_model::{
    Action, Counted, Decision, Envelope, GroupName, Level, Operation, OperationSet, Outcome, Principal, PrincipalKind, PrincipalName,
    Reason, Resource, Scope, Timestamp,
};
use safeconduct_policy::{ApprovalQuestion, Approvals, AskedContext, Evaluation, FactsContext, NowContext};
use safeconduct_sql::Facts;

use crate::world::World;

/// A question about one access request, real or imagined.
pub(crate) struct Question<'a> {
    pub principal: &'a Principal,
    pub resource: &'a Resource,
    pub operations: &'a OperationSet,
    pub exact: bool,
    pub asked: &'a AskedContext,
    pub source: &'a str,
    pub facts: Option<&'a Facts>,
    pub approvals: Approvals<'a>,
}

impl World {
    /// Policy's answer.
    pub fn judge(&self, question: &Question<'_>, now: Timestamp) -> Decision {
        if question.principal.disabled {
            return self.rule_denies("the requester is disabled");
        }
        // Administration stays possible: that is how the right policy gets into force. No key or group that it changes counts by itself.
        if !self.policy_is_signed() && !question.operations.iter().all(Operation::is_administration) {
            return self.rule_denies("the policy in force is not one that the holders of the root keys signed");
        }
        let others = self.directory.administrators_other_than(Some(&question.principal.name));
        let now = NowContext {
            time: now,
            source: safeconduct_policy::address(question.source),
            facts: question.facts.map(facts_context),
            other_administrators: u32::try_from(others).unwrap_or(u32::MAX),
        };
        let operations = asked_of_policy(question.operations);
        self.bundle.policy.decide(&Evaluation {
            principal: question.principal,
            resource: question.resource,
            operations: &operations,
            exact: question.exact,
            asked: question.asked,
            now: &now,
            approvals: question.approvals,
        })
    }

    /// Policy's answer about an envelope with exactly these approvals.
    pub fn judge_envelope(&self, envelope: &Envelope, facts: Option<&Facts>, approvals: Approvals<'_>, now: Timestamp) -> Decision {
        let Some(principal) = self.directory.find(&envelope.requester) else { return self.rule_denies("the requester is unknown") };
        let Some(resource) = self.resource(&envelope.resource) else { return self.rule_denies("the resource is gone") };
        // What was approved was approved as what it was taken for: a bundle that sees more in the same text voids that.
        if let (Scope::Exact { needs, .. }, Some(facts)) = (&envelope.scope, facts)
            && facts.operations != *needs
        {
            return self.rule_denies("the statement needs other operations than it was asked with");
        }
        let asked = AskedContext::of_envelope(envelope);
        self.judge(
            &Question {
                principal,
                resource,
                operations: envelope.scope.operations(),
                exact: envelope.scope.is_exact(),
                asked: &asked,
                source: &envelope.asked.source,
                facts,
                approvals,
            },
            now,
        )
    }

    /// Policy's answer about an access request as it stands: with the approvals that still count, or none needed.
    pub fn judge_standing(&self, access: &Access, facts: Option<&Facts>, now: Timestamp) -> Decision {
        let reviewers = self.reviewers(access, facts, now);
        let counted = safeconduct_lifecycle::tally(access, None, &reviewers);
        self.judge_envelope(&access.envelope, facts, Approvals::Given(&counted), now)
    }

    /// How the givers of earlier approvals stand now. Those whose approval nothing proves that policy asks for are not among them.
    pub fn reviewers(&self, access: &Access, facts: Option<&Facts>, now: Timestamp) -> Vec<Reviewer> {
        if access.approvals.is_empty() {
            return Vec::new();
        }
        let level = self.level(&access.envelope, facts, now);
        let unproved = self.unproved_at(access, level, now);
        let proved = access.approvals.iter().filter(|a| !unproved.contains_key(&a.approver));
        let facts = facts.map(facts_context);
        let known = proved.filter_map(|a| self.directory.find(&a.approver));
        known
            .map(|p| self.reviewer_at(p, &access.envelope, level, |p| self.may_approve(p, &access.envelope, level, facts.as_ref(), now)))
            .collect()
    }

    /// How one person stands as a would-be approver. `None` for a name nobody has.
    pub fn reviewer(&self, name: &PrincipalName, envelope: &Envelope, facts: Option<&Facts>, now: Timestamp) -> Option<Reviewer> {
        let approver = self.directory.find(name)?;
        let (level, facts) = (self.level(envelope, facts, now), facts.map(facts_context));
        Some(self.reviewer_at(approver, envelope, level, |approver| self.may_approve(approver, envelope, level, facts.as_ref(), now)))
    }

    fn reviewer_at(
        &self,
        known: &Principal,
        envelope: &Envelope,
        level: Level,
        mut may_approve: impl FnMut(&Principal) -> bool,
    ) -> Reviewer {
        let limited = self.as_signed_for(known, level);
        let approver = limited.as_ref().unwrap_or(known);
        let groups = approver.groups_since_before(envelope.asked_at);
        // Who joined a group after the asking may not approve by it; what a group forbids, it forbids at once.
        let joined_since = groups.len() != approver.groups.len();
        let as_then = joined_since.then(|| {
            let mut then = approver.clone();
            then.groups.retain(|group, _| groups.contains(group));
            then
        });
        let may_approve = may_approve(approver) && as_then.is_none_or(|then| may_approve(&then));
        Reviewer {
            name: approver.name.clone(),
            kind: approver.kind,
            created_at: approver.created_at,
            disabled: approver.disabled,
            groups,
            may_approve,
        }
    }

    fn may_approve(&self, approver: &Principal, envelope: &Envelope, level: Level, facts: Option<&FactsContext>, now: Timestamp) -> bool {
        match (self.directory.find(&envelope.requester), self.resource(&envelope.resource)) {
            (Some(requester), Some(resource)) if approver.kind == PrincipalKind::Person => {
                let operations = asked_of_policy(envelope.scope.operations());
                let (exact, now) = (envelope.scope.is_exact(), NowContext { time: now, ..NowContext::default() });
                let requester_manager = self.manager_at(requester, envelope, level);
                let question =
                    ApprovalQuestion { approver, requester, requester_manager, resource, operations: &operations, exact, facts, now: &now };
                self.bundle.policy.may_approve(&question).0
            }
            _ => false,
        }
    }

    /// Whom the requester answered to when asking. Where approvals are signed and there is a roster, only that says so.
    fn manager_at<'a>(&'a self, requester: &'a Principal, envelope: &Envelope, level: Level) -> Option<&'a PrincipalName> {
        match self.roster_at(level) {
            Some(roster) => roster.people.get(&requester.name).and_then(|member| member.manager.as_ref()),
            None => requester.manager_since_before(envelope.asked_at),
        }
    }

    /// Everybody who could approve it.
    pub fn eligible(&self, envelope: &Envelope, facts: Option<&Facts>, now: Timestamp) -> Vec<Reviewer> {
        let (level, facts) = (self.level(envelope, facts, now), facts.map(facts_context));
        let manager = self.directory.find(&envelope.requester).and_then(|requester| self.manager_at(requester, envelope, level));
        // Policy is asked once for all who are in the same groups, if that is all it looks at: a company has few sets of groups.
        let alike = self.bundle.policy.approvers_by_groups();
        let mut answers: HashMap<(Vec<GroupName>, bool), bool> = HashMap::new();
        let mut may_approve = |p: &Principal| {
            let ask = || self.may_approve(p, envelope, level, facts.as_ref(), now);
            if alike && p.kind == PrincipalKind::Person && !p.disabled {
                *answers.entry((p.groups.keys().cloned().collect(), Some(&p.name) == manager)).or_insert_with(ask)
            } else {
                ask()
            }
        };
        self.directory
            .iter()
            .filter(|p| p.kind == PrincipalKind::Person && !p.disabled && p.name != envelope.requester)
            .map(|p| self.reviewer_at(p, envelope, level, &mut may_approve))
            .filter(|r| safeconduct_lifecycle::check_reviewer(envelope, r).is_ok())
            .collect()
    }

    /// True if policy lets this principal do an administrative operation alone.
    pub fn may_administer(&self, principal: &Principal, operation: Operation, now: Timestamp) -> bool {
        let Ok(name) = Resource::SAFECONDUCT.parse() else { return false };
        let Some(resource) = self.resource(&name) else { return false };
        let asked = AskedContext {
            reason: String::new(),
            ticket: None,
            duration: safeconduct_model::Ttl::MAX,
            source: None,
            sign_in: String::new(),
            sign_in_age_seconds: 0,
            claims: std::collections::BTreeSet::new(),
        };
        let operations = [operation].into_iter().collect();
        let decision = self.judge(
            &Question {
                principal,
                resource,
                operations: &operations,
                exact: true,
                asked: &asked,
                source: "",
                facts: None,
                approvals: Approvals::Given(&[]),
            },
            now,
        );
        decision.outcome == Outcome::Allow
    }

    fn rule_denies(&self, text: &str) -> Decision {
        Decision {
            outcome: Outcome::Deny,
            reasons: vec![Reason { policy_id: "standing".to_owned(), effect: "rule".to_owned(), text: text.to_owned() }],
            obligations: safeconduct_model::Obligations::default(),
            policy: self.bundle.hash,
        }
    }
}

/// `connect` is in every grant and is never asked about; what needs nothing else is asked about as a read.
fn asked_of_policy(operations: &OperationSet) -> OperationSet {
    let asked: OperationSet = operations.iter().filter(|op| *op != Operation::Connect).collect();
    if asked.is_empty() { [Operation::Read].into_iter().collect() } else { asked }
}

/// Facts as policy sees them.
pub(crate) fn facts_context(facts: &Facts) -> FactsContext {
    let mut context = FactsContext { statements: u32::try_from(facts.statements.len()).unwrap_or(u32::MAX), ..FactsContext::default() };
    for statement in &facts.statements {
        context.commands.insert(statement.command.clone());
        context.objects.extend(statement.objects.iter().map(|o| o.name.clone()));
        context.functions.extend(statement.functions.iter().cloned());
        if let Some(has_where) = statement.has_where {
            context.has_where = Some(context.has_where.unwrap_or(true) && has_where);
        }
    }
    context
}

/// The statement text of an envelope, if it is about one.
pub(crate) fn statement_of(envelope: &Envelope) -> Option<&safeconduct_model::SqlAction> {
    match &envelope.scope {
        Scope::Exact { action: Action::Sql(sql), .. } => Some(sql),
        _ => None,
    }
}

/// The approvers' names, for people to read.
pub(crate) fn names(reviewers: &[Reviewer]) -> Vec<PrincipalName> {
    reviewers.iter().map(|r| r.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Eligible approvers as a quorum counts them.
pub(crate) fn as_counted(reviewers: &[Reviewer]) -> Vec<Counted> {
    reviewers.iter().map(|r| Counted { approver: r.name.clone(), groups: r.groups.iter().cloned().collect() }).collect()
}

/// Shared facts are cheap to pass on.
pub(crate) type SharedFacts = Option<Arc<Facts>>;
