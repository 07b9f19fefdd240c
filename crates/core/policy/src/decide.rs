//! Deciding: one evaluation in, allow, deny or a quorum out. Nothing matched, a policy failed, a question Cedar cannot take: denied.
//!
//! What approvals would be needed is found by trying: every count up to the largest literal with every subset of the groups named.
//! Reasons and obligations never depend on who approved, only on what was asked; so approving changes nothing but the outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::PolicySet;
use safeconduct_model::{Bar, Decision, GroupName, Obligations, Operation, OperationSet, Outcome, Quorum, Reason, ResourceKind};

use crate::{
    evaluation::{self, ApprovalQuestion, Approvals, Evaluation},
    policy::{Policy, Rule, set_of},
    restrict::MAX_GROUPS,
    statements::with_stack,
    world::{Unanswerable, World},
};

impl Policy {
    /// Answers an evaluation.
    #[must_use]
    pub fn decide(&self, evaluation: &Evaluation<'_>) -> Decision {
        if let Some(reason) = rule_against(evaluation) {
            return self.denied(vec![reason]);
        }
        match with_stack(|| self.judge_all(evaluation)) {
            Ok(judgements) => self.join(evaluation, &judgements),
            Err(Unanswerable(why)) => self.denied(vec![error("", format!("the question could not be put to policy: {why}"))]),
        }
    }

    /// Answers whether policy lets this person settle that access request. Rules that no policy can lift are checked elsewhere.
    #[must_use]
    pub fn may_approve(&self, question: &ApprovalQuestion<'_>) -> (bool, Vec<Reason>) {
        let approver = question.approver;
        if approver.disabled || approver.kind != safeconduct_model::PrincipalKind::Person {
            return (false, vec![rule("approver", format!("`{}` is no enabled person: only people approve", approver.name))]);
        }
        if !evaluation::fits(approver, None, question.facts) || !evaluation::fits(question.requester, None, None) {
            return (false, vec![rule("size", "the question is too large for policy".to_owned())]);
        }
        match with_stack(|| self.run_approve(question)) {
            Ok(answer) => answer,
            Err(Unanswerable(why)) => (false, vec![error("", format!("the question could not be put to policy: {why}"))]),
        }
    }

    fn run_approve(&self, question: &ApprovalQuestion<'_>) -> Result<(bool, Vec<Reason>), Unanswerable> {
        let world = World::of_approval(question, &self.schema, &self.zones)?;
        let request = world.ask_approve()?;
        let administration = matches!(question.resource.kind, ResourceKind::Safeconduct);
        let mut rules = self.matching(&request, world.entities());
        rules.retain(|rule| !administration || rule.about_gateway);
        let set = set_of(&rules).ok_or_else(|| Unanswerable("two policies have one id".to_owned()))?;
        let run = self.run(&request, &set, &world);
        let (who, what) = (&question.approver.name, &question.resource.name);
        if !run.errors.is_empty() {
            return Ok((false, run.errors));
        }
        let reasons: Vec<Reason> = rules
            .iter()
            .filter(|rule| run.determined.contains(&rule.id))
            .map(|rule| {
                let verb = if rule.is_permit() { "lets" } else { "forbids" };
                let text = format!("`{}` {verb} `{who}` approve access requests on `{what}`", rule.id);
                Reason { policy_id: rule.id.clone(), effect: effect(rule).to_owned(), text }
            })
            .collect();
        if reasons.is_empty() {
            let text = format!("no policy lets `{who}` approve access requests on `{what}`");
            return Ok((false, vec![Reason { policy_id: String::new(), effect: "none".to_owned(), text }]));
        }
        Ok((run.allowed, reasons))
    }

    /// Judges every operation asked for.
    pub(crate) fn judge_all(&self, evaluation: &Evaluation<'_>) -> Result<Vec<Judgement>, Unanswerable> {
        let world = World::of(evaluation, &self.schema, &self.zones)?;
        questions(evaluation.operations)
            .into_iter()
            .map(|(operation, mode)| self.judge(&world, operation, mode, evaluation.approvals))
            .collect()
    }

    fn judge(&self, world: &World<'_>, operation: Operation, mode: Mode, approvals: Approvals<'_>) -> Result<Judgement, Unanswerable> {
        let nobody = BTreeSet::new();
        let zero = world.ask(operation, 0, &nobody)?;
        let mut rules = self.matching(&zero, world.entities());
        rules.retain(|rule| speaks(rule, operation, mode));
        let mut set = set_of(&rules).ok_or_else(|| Unanswerable("two policies have one id".to_owned()))?;
        if mode == Mode::OnlyForbids {
            let everything =
                cedar_policy::Policy::parse(None, "permit (principal, action, resource);").map_err(|e| Unanswerable(e.to_string()))?;
            set.add(everything).map_err(|error| Unanswerable(error.to_string()))?;
        }
        let named: BTreeSet<GroupName> = rules.iter().flat_map(|rule| rule.approvals.groups.iter().cloned()).collect();
        if named.len() > MAX_GROUPS {
            return Err(Unanswerable(format!(
                "policies name {} groups of approvers for it; at most {MAX_GROUPS} may be named",
                named.len()
            )));
        }
        let most = rules.iter().map(|rule| rule.approvals.count).max().unwrap_or(0).max(u32::try_from(named.len()).unwrap_or(u32::MAX));
        let mut tried = BTreeMap::new();
        let mut errors = Vec::new();
        for groups in subsets(&named) {
            for count in 0..=most {
                let unapproved = count == 0 && groups.is_empty();
                let run =
                    if unapproved { self.run(&zero, &set, world) } else { self.run(&world.ask(operation, count, &groups)?, &set, world) };
                errors.extend(run.errors.iter().cloned());
                tried.insert((count, groups.clone()), run);
            }
        }
        errors.sort_by(|a, b| a.policy_id.cmp(&b.policy_id));
        errors.dedup();
        let holds_now = match approvals {
            Approvals::Unknown => None,
            Approvals::Given(given) => {
                let (count, groups) = evaluation::counts(given);
                let run = self.run(&world.ask(operation, count, &groups)?, &set, world);
                Some(run.allowed && run.errors.is_empty())
            }
        };
        let verdict = verdict(&rules, &tried, errors, most, &named);
        Ok(Judgement { operation, mode, verdict, rules, most, named, holds_now })
    }

    fn run(&self, request: &cedar_policy::Request, set: &PolicySet, world: &World<'_>) -> Run {
        let response = self.authorizer.is_authorized(request, set, world.entities());
        let errors = response.diagnostics().errors().map(|failure| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(failure) = failure;
            let id: &str = failure.policy_id().as_ref();
            error(id, format!("`{id}` failed: {}; a policy that fails denies", failure.inner()))
        });
        Run {
            allowed: response.decision() == cedar_policy::Decision::Allow,
            determined: response.diagnostics().reason().map(crate::policy::id_text).collect(),
            errors: errors.collect(),
        }
    }

    /// One decision from the judgements of all operations.
    fn join(&self, evaluation: &Evaluation<'_>, judgements: &[Judgement]) -> Decision {
        let mut told = Told::default();
        let mut obligations = Obligations::default();
        let mut limit: Option<(u64, String)> = None;
        let (mut denied, mut quorum): (bool, Option<Quorum>) = (false, None);
        let mut holds_now = true;
        for judgement in judgements {
            holds_now &= judgement.holds_now.unwrap_or(true);
            match &judgement.verdict {
                Verdict::Failed { errors } => {
                    denied = true;
                    told.reasons.extend(errors.iter().cloned());
                }
                Verdict::Deny { forbids } => {
                    denied = true;
                    if forbids.is_empty() {
                        told.unmatched.insert(judgement.operation);
                    }
                    told.add(forbids, judgement.operation);
                }
                Verdict::Allow { permits } => told.add(permits, judgement.operation),
                Verdict::Need { quorum: needed, permits, forbids } => {
                    quorum = Some(quorum.map_or_else(|| needed.clone(), |quorum| quorum.and(needed)));
                    told.add(forbids, judgement.operation);
                    told.add(permits, judgement.operation);
                }
            }
            for permit in judgement.permits() {
                obligations = obligations.and(&permit.obligations);
                if let Some(ttl) = permit.obligations.max_duration {
                    limit = limit.min(Some((ttl.seconds(), permit.id.clone()))).or(Some((ttl.seconds(), permit.id.clone())));
                }
            }
        }
        let mut reasons = told.into_reasons(evaluation, if denied { None } else { quorum.as_ref() }, denied);
        let outcome = match (denied, quorum, evaluation.approvals) {
            (true, _, _) => Outcome::Deny,
            (false, None, _) if holds_now => Outcome::Allow,
            (false, Some(quorum), Approvals::Given(given)) if quorum.is_met_by(given) && holds_now => {
                let people = evaluation::counts(given).0;
                reasons.push(rule("approved", format!("{people} approved; it takes {quorum}")));
                Outcome::Allow
            }
            (false, Some(quorum), Approvals::Given(given)) if !quorum.is_met_by(given) => Outcome::NeedApproval { quorum },
            (false, Some(quorum), Approvals::Unknown) => Outcome::NeedApproval { quorum },
            // The quorum and the policies themselves must agree; if they ever do not, neither is believed.
            (false, _, _) => {
                reasons.insert(0, error("", "the approvals fill the quorum, but the policies do not allow with them".to_owned()));
                Outcome::Deny
            }
        };
        let mut decision = Decision { outcome, reasons, obligations, policy: self.hash };
        if let (Some((seconds, id)), false) = (limit, denied)
            && evaluation.asked.duration.seconds() > seconds
        {
            let most = decision.obligations.max_duration.map_or_else(String::new, |ttl| ttl.to_string());
            let text = format!("`{id}` allows at most {most}, asked for was {}; ask for {most} or less", evaluation.asked.duration);
            decision.reasons.insert(0, Reason { policy_id: id, effect: "rule".to_owned(), text });
            decision.outcome = Outcome::Deny;
        }
        decision
    }

    fn denied(&self, reasons: Vec<Reason>) -> Decision {
        Decision { outcome: Outcome::Deny, reasons, obligations: Obligations::default(), policy: self.hash }
    }
}

/// What was found out about one operation.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub operation: Operation,
    pub mode: Mode,
    pub verdict: Verdict,
    /// The rules whose scope matched.
    pub rules: Vec<Arc<Rule>>,
    /// The most approvals that any of them can tell apart, and the groups they name.
    pub most: u32,
    pub named: BTreeSet<GroupName>,
    /// Whether the policies allow with exactly the approvals given; `None` if approvals are unknown.
    holds_now: Option<bool>,
}

/// How an operation is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A permit is needed and no forbid may apply.
    Full,
    /// No forbid may apply: for what `unrestricted` lets through.
    OnlyForbids,
}

/// The answer for one operation.
#[derive(Debug)]
pub(crate) enum Verdict {
    Allow { permits: Vec<Arc<Rule>> },
    Need { quorum: Quorum, permits: Vec<Arc<Rule>>, forbids: Vec<Arc<Rule>> },
    Deny { forbids: Vec<Arc<Rule>> },
    Failed { errors: Vec<Reason> },
}

impl Judgement {
    fn permits(&self) -> &[Arc<Rule>] {
        match &self.verdict {
            Verdict::Allow { permits } | Verdict::Need { permits, .. } => permits,
            Verdict::Deny { .. } | Verdict::Failed { .. } => &[],
        }
    }
}

/// One answer of Cedar.
struct Run {
    allowed: bool,
    determined: BTreeSet<String>,
    errors: Vec<Reason>,
}

type Tried = BTreeMap<(u32, BTreeSet<GroupName>), Run>;

/// Reads the answer off everything that was tried.
fn verdict(rules: &[Arc<Rule>], tried: &Tried, errors: Vec<Reason>, most: u32, named: &BTreeSet<GroupName>) -> Verdict {
    if !errors.is_empty() {
        return Verdict::Failed { errors };
    }
    let determined = |key: &(u32, BTreeSet<GroupName>), permits: bool| -> Vec<Arc<Rule>> {
        let Some(run) = tried.get(key) else { return Vec::new() };
        rules.iter().filter(|rule| rule.is_permit() == permits && run.determined.contains(&rule.id)).cloned().collect()
    };
    let zero = (0, BTreeSet::new());
    if tried.get(&zero).is_some_and(|run| run.allowed) {
        return Verdict::Allow { permits: determined(&zero, true) };
    }
    // One person fills at most one named group, so fewer people than groups is no bar.
    let bars =
        tried.iter().filter(|((count, groups), run)| run.allowed && usize::try_from(*count).is_ok_and(|count| groups.len() <= count));
    let quorum = Quorum::minimal(bars.map(|((count, groups), _)| Bar { count: *count, groups: groups.clone() }));
    if quorum.any_of.is_empty() {
        return Verdict::Deny { forbids: determined(&(most, named.clone()), false) };
    }
    let permits: BTreeMap<String, Arc<Rule>> = quorum
        .any_of
        .iter()
        .flat_map(|bar| determined(&(bar.count, bar.groups.clone()), true))
        .map(|rule| (rule.id.clone(), rule))
        .collect();
    Verdict::Need { permits: permits.into_values().collect(), forbids: determined(&zero, false), quorum }
}

/// What is asked of Cedar for a set of operations.
fn questions(operations: &OperationSet) -> Vec<(Operation, Mode)> {
    let mut questions: Vec<(Operation, Mode)> =
        operations.iter().filter(|operation| *operation != Operation::Connect).map(|operation| (operation, Mode::Full)).collect();
    if questions.is_empty() && !operations.is_empty() {
        // `connect` comes with every grant; alone it is as much as the mildest of them.
        questions.push((Operation::Read, Mode::Full));
    }
    if operations.contains(Operation::Unrestricted) {
        // Unrestricted passes all of these: what forbids one of them forbids it too.
        let passed = [Operation::Read, Operation::Write, Operation::Ddl, Operation::Temp, Operation::Admin, Operation::Unknown];
        questions.extend(
            passed.into_iter().filter(|operation| !operations.contains(*operation)).map(|operation| (operation, Mode::OnlyForbids)),
        );
    }
    questions
}

/// Whether a rule has a say in a question whose scope it matches.
fn speaks(rule: &Rule, operation: Operation, mode: Mode) -> bool {
    if mode == Mode::OnlyForbids && rule.is_permit() {
        return false;
    }
    if !operation.is_administration() {
        return true;
    }
    // Broad permits give nobody the gateway and broad forbids lock nobody out of it; ending access is never forbidden.
    rule.about_gateway && (operation != Operation::EndAccess || rule.is_permit())
}

/// Every subset of at most six groups.
fn subsets(named: &BTreeSet<GroupName>) -> Vec<BTreeSet<GroupName>> {
    let mut all = vec![BTreeSet::new()];
    for group in named {
        let with: Vec<BTreeSet<GroupName>> = all.iter().map(|subset| subset.iter().cloned().chain([group.clone()]).collect()).collect();
        all.extend(with);
    }
    all
}

/// The rules no policy can lift.
pub(crate) fn rule_against(evaluation: &Evaluation<'_>) -> Option<Reason> {
    let Evaluation { principal, resource, operations, exact, .. } = *evaluation;
    if principal.disabled {
        return Some(rule("disabled", format!("`{}` is disabled", principal.name)));
    }
    if operations.is_empty() {
        return Some(rule("nothing-asked", "no operation was asked for".to_owned()));
    }
    if !evaluation::fits(principal, Some(evaluation.asked), evaluation.now.facts.as_ref()) {
        return Some(rule("size", "the question is too large for policy; make the statement smaller".to_owned()));
    }
    let gateway = matches!(resource.kind, ResourceKind::Safeconduct);
    if let Some(stray) = operations.iter().find(|operation| operation.is_administration() != gateway) {
        return Some(rule("kind", format!("`{stray}` is no operation of `{}`", resource.name)));
    }
    let changes = [Operation::ManagePeople, Operation::ManageGroups, Operation::ManageWorkloads, Operation::ApplyPolicy];
    if let Some(change) = changes.into_iter().find(|change| !exact && operations.contains(*change)) {
        return Some(rule("exact-only", format!("`{change}` is asked for one change at a time, never for a while")));
    }
    if operations.contains(Operation::Unknown) && !exact && !operations.contains(Operation::Unrestricted) {
        return Some(rule("exact-only", "`unknown` is asked for one statement at a time, never for a while".to_owned()));
    }
    let dangerous = resource.postgres().is_some_and(|postgres| postgres.danger_unrestricted);
    if operations.contains(Operation::Unrestricted) && !dangerous {
        return Some(rule(
            "unrestricted",
            format!("`{}` does not allow unrestricted grants (`danger_unrestricted` is not set)", resource.name),
        ));
    }
    None
}

/// The rules that had a say, with the operations they spoke about.
#[derive(Default)]
struct Told {
    rules: BTreeMap<String, (Arc<Rule>, OperationSet)>,
    unmatched: OperationSet,
    reasons: Vec<Reason>,
}

impl Told {
    fn add(&mut self, rules: &[Arc<Rule>], operation: Operation) {
        for rule in rules {
            self.rules.entry(rule.id.clone()).or_insert_with(|| (Arc::clone(rule), OperationSet::new())).1.insert(operation);
        }
    }

    /// What denies first, then what forbids, then what permits.
    fn into_reasons(self, evaluation: &Evaluation<'_>, quorum: Option<&Quorum>, denied: bool) -> Vec<Reason> {
        let (what, who) = (&evaluation.resource.name, &evaluation.principal.name);
        let mut reasons = self.reasons;
        if !self.unmatched.is_empty() {
            let text = format!("no policy allows `{who}` {} on `{what}`", list(&self.unmatched));
            reasons.push(Reason { policy_id: String::new(), effect: "none".to_owned(), text });
        }
        let (permits, forbids): (Vec<_>, Vec<_>) = self.rules.into_values().partition(|(rule, _)| rule.is_permit());
        for (rule, operations) in forbids.into_iter().chain(permits) {
            let verb = match (rule.is_permit(), quorum) {
                (true, Some(_)) => "allows, once approved,",
                (true, None) if denied => "would allow",
                (true, None) => "allows",
                (false, Some(_)) => "forbids, unless approved,",
                (false, None) => "forbids",
            };
            let text = format!("`{}` {verb} {} on `{what}`", rule.id, list(&operations));
            reasons.push(Reason { policy_id: rule.id.clone(), effect: effect(&rule).to_owned(), text });
        }
        reasons
    }
}

fn list(operations: &OperationSet) -> String {
    operations.iter().map(Operation::name).collect::<Vec<_>>().join(", ")
}

fn effect(rule: &Rule) -> &'static str {
    if rule.is_permit() { "permit" } else { "forbid" }
}

/// A rule no policy can lift.
fn rule(name: &str, text: String) -> Reason {
    Reason { policy_id: format!("built-in:{name}"), effect: "rule".to_owned(), text }
}

/// A policy that failed.
fn error(policy_id: &str, text: String) -> Reason {
    Reason { policy_id: policy_id.to_owned(), effect: "error".to_owned(), text }
}
