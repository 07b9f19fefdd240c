//! Policy files: Cedar text becomes rules. Refuses what the schema does not know, unknown annotations, and approvals used where they could deny.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{Effect, EntityUid, PolicyId, PolicySet, ResourceConstraint, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use safeconduct_model::{Audit, GroupName, Level, Obligations, Operation, PrincipalName, Record, Resource, ResourceName};

use crate::{
    policy::{Clause, Rule, names_gateway},
    problem::{Problem, nearest, position},
    restrict::{self, ApprovalUse},
    statements::{self, Statement},
};

/// What every built-in policy's id begins with, and the name of their file.
pub(crate) const BUILT_IN: &str = "built-in";
const ANNOTATIONS: [&str; 5] = ["id", "max_duration", "record", "audit", "level"];

/// Reads one file's policies, adding them to `rules`.
pub(crate) fn parse(
    file: &str,
    text: &str,
    resources: &BTreeMap<ResourceName, Arc<Resource>>,
    rules: &mut BTreeMap<String, Arc<Rule>>,
    problems: &mut Vec<Problem>,
) {
    let statements = match statements::split(text) {
        Ok(statements) => statements,
        Err(too_deep) => return problems.push(Problem::at(file, text, too_deep.offset, too_deep.message)),
    };
    for statement in statements {
        let source = Source { file, text, statement: &statement, resources };
        let Some(rule) = source.rule(problems) else { continue };
        match rules.get(&rule.id) {
            Some(first) => {
                let problem = source.problem(0, format!("policy id `{}` is already used at {}", rule.id, first.place()));
                problems.push(problem.hint("decisions name the policies that made them: give each its own `@id`"));
            }
            None => {
                rules.insert(rule.id.clone(), Arc::new(rule));
            }
        }
    }
}

/// Checks every rule against the schema: strictly, and warnings are problems too.
pub(crate) fn validate(rules: &BTreeMap<String, Arc<Rule>>, texts: &BTreeMap<&str, &str>, schema: &Schema, problems: &mut Vec<Problem>) {
    let validator = Validator::new(schema.clone());
    for rule in rules.values() {
        let Ok(set) = PolicySet::from_policies([rule.cedar.clone()]) else { continue };
        let result = validator.validate(&set, ValidationMode::Strict);
        let text = texts.get(rule.file.as_str()).copied().unwrap_or_default();
        let mut found: Vec<Problem> = result.validation_errors().map(|error| rule_problem(rule, text, error)).collect();
        if found.is_empty() {
            found = result.validation_warnings().map(|warning| rule_problem(rule, text, warning)).collect();
        }
        if found.len() > 1 {
            // Said better by what stands beside it.
            found.retain(|problem| !problem.message.starts_with("policy is impossible"));
        }
        problems.extend(once_per_place(found));
    }
}

/// Cedar checks a policy once for each action it may be about; one mistake is told once.
fn once_per_place(mut found: Vec<Problem>) -> Vec<Problem> {
    found.sort();
    let mut told: Vec<(Problem, String)> = Vec::new();
    for problem in found {
        let alike = without_action(&problem.message);
        let same = |other: &Problem| (other.line, other.column) == (problem.line, problem.column);
        if !told.iter().any(|(other, message)| same(other) && *message == alike) {
            told.push((problem, alike));
        }
    }
    told.into_iter().map(|(problem, _)| problem).collect()
}

/// The message without the name of the action it was found for.
fn without_action(message: &str) -> String {
    match message.split_once("Action::\"").and_then(|(before, rest)| Some((before, rest.split_once('"')?.1))) {
        Some((before, after)) => format!("{before}{after}"),
        None => message.to_owned(),
    }
}

fn rule_problem(rule: &Rule, text: &str, error: &dyn Diagnostic) -> Problem {
    let within = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    // Cedar names a policy by its id in front of every message; the place says it better.
    let own = |text: String| text.replace(&format!("for policy `{}`, ", rule.id), "").replace('\n', " ");
    let mut problem = Problem::at(&rule.file, text, rule.start + within, own(error.to_string()));
    problem.hint = error.help().map(|help| own(help.to_string()));
    let broad = matches!(rule.cedar.action_constraint(), cedar_policy::ActionConstraint::Any);
    let elsewhere =
        ["approve"].into_iter().chain(Operation::ALL.into_iter().filter(|operation| operation.is_administration()).map(Operation::name));
    if broad && elsewhere.into_iter().any(|action| problem.message.contains(&format!("context for Action::\"{action}\""))) {
        let hint =
            "a policy for every action is also about approving and administration, which know less; write `action in Action::\"access\"`";
        problem.hint = Some(hint.to_owned());
    }
    problem
}

/// One policy's text in its file.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
    statement: &'a Statement,
    resources: &'a BTreeMap<ResourceName, Arc<Resource>>,
}

impl Source<'_> {
    /// A problem at an offset into the policy's text.
    fn problem(&self, offset: usize, message: impl Into<String>) -> Problem {
        Problem::at(self.file, self.text, self.statement.span.start + offset, message)
    }

    fn rule(&self, problems: &mut Vec<Problem>) -> Option<Rule> {
        let before = problems.len();
        let own = self.text.get(self.statement.span.clone())?;
        let parsed = match cedar_policy::Policy::parse(None, own) {
            Ok(parsed) => parsed,
            Err(errors) => {
                for error in errors.iter() {
                    let at = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
                    let mut problem = self.problem(at, error.to_string().replace('\n', " "));
                    problem.hint = error.help().map(|help| help.to_string().replace('\n', " "));
                    problems.push(problem);
                }
                return None;
            }
        };
        let id = self.id(&parsed, problems);
        let obligations = self.obligations(&parsed, problems);
        let approvals = self.approvals(&parsed, problems);
        self.names(&parsed, problems);
        let id = id?;
        if problems.len() > before {
            return None;
        }
        let (line, column) = position(self.text, self.statement.span.start);
        let clauses = self.statement.clauses.iter().map(|clause| {
            let (line, column) = position(self.text, clause.span.start);
            Clause { text: self.text.get(clause.span.clone()).unwrap_or_default().to_owned(), line, column }
        });
        let cedar = parsed.new_id(PolicyId::new(&id));
        let rule = Rule {
            file: self.file.to_owned(),
            start: self.statement.span.start,
            line,
            column,
            text: own.to_owned(),
            about_gateway: names_gateway(&cedar),
            built_in: self.built_in(),
            clauses: clauses.collect(),
            id,
            cedar,
            obligations,
            approvals,
        };
        self.unrestricted(&rule, problems);
        self.gateway(&rule, problems);
        Some(rule)
    }

    fn built_in(&self) -> bool {
        self.file == BUILT_IN
    }

    fn id(&self, policy: &cedar_policy::Policy, problems: &mut Vec<Problem>) -> Option<String> {
        let Some(id) = policy.annotation("id") else {
            let hint = "write `@id(\"who-may-what\")` before it: decisions, explanations and the ledger name policies by id";
            problems.push(self.problem(0, "policy has no id").hint(hint));
            return None;
        };
        let fits = (1..=80).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b) || (b == b':' && self.built_in()));
        if !fits {
            problems.push(self.problem(0, "a policy's id is 1 to 80 of a-z, 0-9, `-`, `_` and `.`"));
            return None;
        }
        if id.starts_with(BUILT_IN) && !self.built_in() {
            problems.push(self.problem(0, "ids that begin with `built-in` belong to Safeconduct").hint("choose another `@id`"));
            return None;
        }
        Some(id.to_owned())
    }

    fn obligations(&self, policy: &cedar_policy::Policy, problems: &mut Vec<Problem>) -> Obligations {
        let mut obligations = Obligations::default();
        let mut annotations: Vec<(&str, &str)> = policy.annotations().collect();
        annotations.sort_unstable();
        for (name, value) in annotations {
            let at = self.text.get(self.statement.span.clone()).and_then(|own| own.find(&format!("@{name}"))).unwrap_or(0);
            let mut refuse = |message: String, hint: String| problems.push(self.problem(at, message).hint(hint));
            match name {
                "id" => {}
                "max_duration" | "record" | "audit" | "level" if policy.effect() == Effect::Forbid => {
                    refuse(format!("`@{name}` on a forbid"), "obligations come with permission: move it to a permit".to_owned());
                }
                "max_duration" => match value.parse() {
                    Ok(ttl) => obligations.max_duration = Some(ttl),
                    Err(error) => refuse(format!("`@max_duration`: {error}"), "write `@max_duration(\"30m\")`".to_owned()),
                },
                "record" if value == "full" => obligations.record = Record::Full,
                "record" => refuse("`@record` knows one value".to_owned(), "write `@record(\"full\")`".to_owned()),
                "audit" if value == "strict" => obligations.audit = Audit::Strict,
                "level" => match [Level::Recorded, Level::Signed, Level::Passkey].into_iter().find(|level| level.name() == value) {
                    Some(level) => obligations.level = level,
                    None => refuse("`@level` is `recorded`, `signed` or `passkey`".to_owned(), "write `@level(\"signed\")`".to_owned()),
                },
                "audit" => refuse("`@audit` knows one value".to_owned(), "write `@audit(\"strict\")`".to_owned()),
                _ => {
                    let hint = match nearest(name, ANNOTATIONS) {
                        Some(meant) => format!("did you mean `@{meant}`?"),
                        None => "annotations are @id, @max_duration, @record, @audit and @level; anything else would be enforced by nobody"
                            .to_owned(),
                    };
                    refuse(format!("unknown annotation `@{name}`"), hint);
                }
            }
        }
        obligations
    }

    fn approvals(&self, policy: &cedar_policy::Policy, problems: &mut Vec<Problem>) -> ApprovalUse {
        let read = policy.to_json().map_err(|error| vec![error.to_string()]).and_then(|json| restrict::approval_use(&json));
        read.unwrap_or_else(|messages| {
            let own = self.text.get(self.statement.span.clone()).unwrap_or_default();
            let at = own.find("context.appro").or_else(|| own.find("context")).unwrap_or(0);
            problems.extend(messages.into_iter().map(|message| self.problem(at, message)));
            ApprovalUse::default()
        })
    }

    /// Every entity named must be one that can exist.
    fn names(&self, policy: &cedar_policy::Policy, problems: &mut Vec<Problem>) {
        for entity in policy.entity_literals() {
            let name = entity.id().unescaped();
            let at = self.text.get(self.statement.span.clone()).and_then(|own| own.find(&format!("{entity}"))).unwrap_or(0);
            match entity.type_name().to_string().as_str() {
                "Group" => self.canonical::<GroupName>(name, at, problems),
                "Person" | "Workload" => self.canonical::<PrincipalName>(name, at, problems),
                "Resource" if name == Resource::SAFECONDUCT || self.named(&entity).is_none() => {
                    let hint = if name == Resource::SAFECONDUCT {
                        "the gateway itself is `Gateway::\"safeconduct\"`".to_owned()
                    } else {
                        match nearest(name, self.resources.keys().map(ResourceName::as_str)) {
                            Some(meant) => format!("did you mean `Resource::\"{meant}\"`?"),
                            None => "resources are described in `resources/NAME.toml`".to_owned(),
                        }
                    };
                    problems.push(self.problem(at, format!("{entity} is not in this bundle")).hint(hint));
                }
                "Gateway" if name != Resource::SAFECONDUCT => {
                    problems.push(self.problem(at, format!("{entity} does not exist")).hint("write `Gateway::\"safeconduct\"`"));
                }
                "AccessRequest" => {
                    let hint = "name the resource it is for: `resource in Resource::\"…\"`";
                    problems.push(self.problem(at, "policy may not name one access request").hint(hint));
                }
                _ => {}
            }
        }
    }

    fn canonical<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str, at: usize, problems: &mut Vec<Problem>) {
        if let Err(error) = name.parse::<T>() {
            problems.push(self.problem(at, error.to_string()));
        }
    }

    /// A permit that names `unrestricted` must have somewhere to apply.
    fn unrestricted(&self, rule: &Rule, problems: &mut Vec<Problem>) {
        if !rule.is_permit() || !rule.names_action("unrestricted") {
            return;
        }
        let dangerous = |resource: &Resource| resource.postgres().is_some_and(|postgres| postgres.danger_unrestricted);
        let fits = match rule.cedar.resource_constraint() {
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                self.named(&uid).is_none_or(|resource| resource.postgres().is_none() || dangerous(resource))
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => self.resources.values().any(|resource| dangerous(resource)),
        };
        if !fits {
            let at = rule.text.find("\"unrestricted\"").unwrap_or(0);
            let hint = "an unrestricted grant passes what nobody understands; if that is meant, write `danger_unrestricted = true` under `[postgres]` in the resource file";
            problems.push(self.problem(at, "policy permits `unrestricted` on a resource that does not allow it").hint(hint));
        }
    }

    /// A policy about administration must say that it is: a broad one is not listened to.
    fn gateway(&self, rule: &Rule, problems: &mut Vec<Problem>) {
        let administration = || Operation::ALL.into_iter().filter(|operation| operation.is_administration());
        let named = administration().map(Operation::name).chain(["administration"]).find(|name| rule.names_action(name));
        let Some(named) = named else { return };
        if !rule.about_gateway {
            let hint = "write `resource == Gateway::\"safeconduct\"`: only policies that name the gateway speak about it";
            problems.push(self.problem(0, format!("policy about `{named}` does not name the gateway")).hint(hint));
        }
        let only_ends = !administration().any(|operation| operation != Operation::EndAccess && rule.names_action(operation.name()));
        if !rule.is_permit() && only_ends && rule.names_action(Operation::EndAccess.name()) {
            problems.push(self.problem(0, "ending access is never forbidden").hint("remove this policy"));
        }
    }

    fn named(&self, uid: &EntityUid) -> Option<&Resource> {
        let name: ResourceName = uid.id().unescaped().parse().ok()?;
        self.resources.get(&name).map(AsRef::as_ref)
    }
}
