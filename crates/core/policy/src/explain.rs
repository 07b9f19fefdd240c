//! Explaining: which policies allowed, which forbade, and what would have to be true. Reads the same judgements decisions are made of.

use std::{fmt, sync::Arc};

use safeconduct_model::{Decision, Operation, Outcome, Quorum};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    decide::{Judgement, Mode, Verdict, rule_against},
    evaluation::Evaluation,
    policy::{Policy, Rule},
    statements::with_stack,
    world::World,
};

/// A decision with everything that led to it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub decision: Decision,
    /// One for each operation; empty if a rule that no policy can lift already denied.
    pub operations: Vec<OperationExplanation>,
}

/// What policy says about one operation.
#[derive(Clone, Debug, Serialize)]
pub struct OperationExplanation {
    pub operation: Operation,
    /// True if it was judged only because `unrestricted` would let it through: nothing may forbid it.
    pub implied: bool,
    /// `allow`, `need_approval`, `deny` or `error`.
    pub outcome: &'static str,
    pub quorum: Option<Quorum>,
    pub permits: Vec<PolicyPlace>,
    pub forbids: Vec<PolicyPlace>,
    /// Permits for this principal, operation and resource whose conditions are not met, whoever approves.
    pub near_misses: Vec<NearMiss>,
    pub errors: Vec<String>,
}

/// A policy and where it stands in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyPlace {
    pub policy_id: String,
    pub file: String,
    pub line: usize,
}

/// A permit that would have allowed, but for one condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    pub policy_id: String,
    pub file: String,
    /// Line of the `when` or `unless` that is not met.
    pub line: usize,
    pub keyword: &'static str,
    /// The first part of the condition that fails.
    pub condition: String,
}

impl Policy {
    /// Explains the decision on an evaluation.
    #[must_use]
    pub fn explain(&self, evaluation: &Evaluation<'_>) -> Explanation {
        with_stack(|| self.explain_here(evaluation))
    }

    fn explain_here(&self, evaluation: &Evaluation<'_>) -> Explanation {
        let decision = self.decide(evaluation);
        if rule_against(evaluation).is_some() {
            return Explanation { decision, operations: Vec::new() };
        }
        let world = World::of(evaluation, &self.schema, &self.zones);
        let judgements = self.judge_all(evaluation);
        let operations = match (&world, judgements) {
            (Ok(world), Ok(judgements)) => judgements.iter().map(|judgement| self.explain_one(judgement, world)).collect(),
            _ => Vec::new(),
        };
        Explanation { decision, operations }
    }

    fn explain_one(&self, judgement: &Judgement, world: &World<'_>) -> OperationExplanation {
        let mut explanation = OperationExplanation {
            operation: judgement.operation,
            implied: judgement.mode == Mode::OnlyForbids,
            outcome: "deny",
            quorum: None,
            permits: Vec::new(),
            forbids: Vec::new(),
            near_misses: Vec::new(),
            errors: Vec::new(),
        };
        let mut met: &[Arc<Rule>] = &[];
        match &judgement.verdict {
            Verdict::Allow { permits } => {
                explanation.outcome = "allow";
                met = permits;
            }
            Verdict::Need { quorum, permits, forbids } => {
                explanation.outcome = "need_approval";
                explanation.quorum = Some(quorum.clone());
                explanation.forbids = places(forbids);
                met = permits;
            }
            Verdict::Deny { forbids } => explanation.forbids = places(forbids),
            Verdict::Failed { errors } => {
                explanation.outcome = "error";
                explanation.errors = errors.iter().map(|error| error.text.clone()).collect();
            }
        }
        explanation.permits = places(met);
        let others = judgement.rules.iter().filter(|rule| rule.is_permit() && !met.iter().any(|permit| permit.id == rule.id));
        explanation.near_misses = others.filter_map(|rule| self.near_miss(rule, judgement, world)).collect();
        explanation
    }

    /// The first condition of a permit that is not met even with every approval; `None` if approvals alone are missing.
    fn near_miss(&self, rule: &Rule, judgement: &Judgement, world: &World<'_>) -> Option<NearMiss> {
        let request = world.ask(judgement.operation, judgement.most, &judgement.named).ok()?;
        let policy = rule.cedar.to_json().ok()?;
        for (place, condition) in policy.get("conditions")?.as_array()?.iter().enumerate() {
            let when = condition.get("kind")?.as_str()? == "when";
            let body = condition.get("body")?;
            let parts = if when { conjuncts(body) } else { vec![body] };
            for part in parts {
                let alone = alone(if when { "when" } else { "unless" }, part)?;
                let shown = if when { alone.clone() } else { self::alone("when", part)? };
                let set = cedar_policy::PolicySet::from_policies([alone]).ok()?;
                let response = self.authorizer.is_authorized(&request, &set, world.entities());
                if response.decision() == cedar_policy::Decision::Allow {
                    continue;
                }
                return Some(NearMiss {
                    policy_id: rule.id.clone(),
                    file: rule.file.clone(),
                    line: rule.clauses.get(place).map_or(rule.line, |clause| clause.line),
                    keyword: if when { "when" } else { "unless" },
                    condition: condition_text(&shown),
                });
            }
        }
        None
    }
}

fn places(rules: &[Arc<Rule>]) -> Vec<PolicyPlace> {
    rules.iter().map(|rule| PolicyPlace { policy_id: rule.id.clone(), file: rule.file.clone(), line: rule.line }).collect()
}

/// The parts joined by `&&`, in order.
fn conjuncts(body: &Value) -> Vec<&Value> {
    let mut parts = Vec::new();
    let mut rest = vec![body];
    while let Some(part) = rest.pop() {
        match part.get("&&").and_then(|both| Some((both.get("left")?, both.get("right")?))) {
            Some((left, right)) => rest.extend([right, left]),
            None => parts.push(part),
        }
    }
    parts
}

/// A permit for everything under this one condition.
/// Cedar writes `unless` as a negated `when`, so its text is taken from a `when`.
fn alone(kind: &str, body: &Value) -> Option<cedar_policy::Policy> {
    let policy = json!({
        "effect": "permit", "principal": {"op": "All"}, "action": {"op": "All"}, "resource": {"op": "All"},
        "conditions": [{"kind": kind, "body": body}],
    });
    cedar_policy::Policy::from_json(None, policy).ok()
}

/// The condition's text on one line.
fn condition_text(policy: &cedar_policy::Policy) -> String {
    let text = policy.to_cedar().unwrap_or_default();
    let inner = text.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inner, _)| inner);
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decision.outcome {
            Outcome::Allow => writeln!(f, "allow")?,
            Outcome::Deny => writeln!(f, "deny")?,
            Outcome::NeedApproval { quorum } => writeln!(f, "need approval: {quorum}")?,
        }
        for reason in &self.decision.reasons {
            writeln!(f, "  {}", safeconduct_model::text::printable(&reason.text))?;
        }
        for operation in &self.operations {
            operation.fmt(f)?;
        }
        let obligations = &self.decision.obligations;
        if let Some(limit) = obligations.max_duration {
            writeln!(f, "for at most {limit}")?;
        }
        if obligations.record == safeconduct_model::Record::Full {
            writeln!(f, "recorded in full")?;
        }
        if obligations.audit == safeconduct_model::Audit::Strict {
            writeln!(f, "every statement on disk before it runs")?;
        }
        write!(f, "policy {}", self.decision.policy.short())
    }
}

impl fmt::Display for OperationExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let implied = if self.implied { " (which unrestricted would let through)" } else { "" };
        match &self.quorum {
            Some(quorum) => writeln!(f, "{}{implied}: need approval: {quorum}", self.operation)?,
            None => writeln!(f, "{}{implied}: {}", self.operation, self.outcome)?,
        }
        let unless = if self.quorum.is_some() { ", unless approved" } else { "" };
        for place in &self.forbids {
            writeln!(f, "  forbidden{unless} by `{}` ({}:{})", place.policy_id, place.file, place.line)?;
        }
        for place in &self.permits {
            writeln!(f, "  permitted by `{}` ({}:{})", place.policy_id, place.file, place.line)?;
        }
        for miss in &self.near_misses {
            let not = if miss.keyword == "when" { "not met" } else { "met, but must not be" };
            writeln!(f, "  `{}` would permit, but this is {not} ({}:{}):", miss.policy_id, miss.file, miss.line)?;
            writeln!(f, "    {}", safeconduct_model::text::printable(&miss.condition))?;
        }
        for error in &self.errors {
            writeln!(f, "  {}", safeconduct_model::text::printable(error))?;
        }
        if !self.implied && self.permits.is_empty() && self.forbids.is_empty() && self.near_misses.is_empty() && self.errors.is_empty() {
            writeln!(f, "  no policy speaks about this principal, operation and resource")?;
        }
        Ok(())
    }
}
