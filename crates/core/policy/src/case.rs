//! Cases: a bundle's own tests. Each puts one question to the policies and says what must come back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use safeconduct_model::{
    Counted, Decision, GroupName, Manager, Operation, OperationSet, Outcome, PersonAttribute, Principal, PrincipalKind, PrincipalName,
    Resource, ResourceName, Timestamp, Ttl,
};

use serde::Serialize;

use crate::{
    bundle::Bundle,
    evaluation::{ApprovalQuestion, Approvals, AskedContext, Evaluation, FactsContext, NowContext},
    problem::{Problem, nearest},
    reader,
    reader::Reader,
};

/// One case of `tests/*.toml`.
#[derive(Clone, Debug)]
pub struct Case {
    pub file: String,
    pub line: usize,
    pub name: String,
    principal: Principal,
    resource: Arc<Resource>,
    operations: OperationSet,
    exact: bool,
    now: NowContext,
    asks: Asks,
}

#[derive(Clone, Debug)]
enum Asks {
    /// `[[case]]`: may the principal do this?
    Decision { asked: AskedContext, approved_by: Option<Vec<Counted>>, expected: Expected },
    /// `[[approval]]`: may the principal settle what the requester asks?
    Approval { requester: Principal, may: bool, policies: Option<BTreeSet<String>> },
}

#[derive(Clone, Debug)]
struct Expected {
    outcome: String,
    quorum: Option<String>,
    policies: Option<BTreeSet<String>>,
    max_duration: Option<Ttl>,
    level: Option<String>,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    pub file: String,
    pub line: usize,
    pub name: String,
    /// Empty if the case passed; else one sentence for each thing that is not as expected.
    pub differences: Vec<String>,
    /// The reasons policy gave.
    pub reasons: Vec<String>,
}

impl CaseResult {
    /// True if everything was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Bundle {
    /// Runs every case of the bundle.
    #[must_use]
    pub fn run_tests(&self) -> Vec<CaseResult> {
        self.tests.iter().map(|case| case.run(self)).collect()
    }
}

/// What a case says, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseView {
    pub file: String,
    pub line: usize,
    pub name: String,
    pub principal: String,
    pub groups: Vec<String>,
    pub resource: String,
    pub operations: Vec<String>,
    pub exact: bool,
    /// Who approved already, or whose asking is to be approved.
    pub about: Option<String>,
    /// `allow`, `deny`, `need approval: one of dba`, `may approve`, `may not approve`.
    pub expected: String,
}

impl Case {
    /// The case without running it.
    #[must_use]
    pub fn view(&self) -> CaseView {
        let (about, expected) = match &self.asks {
            Asks::Decision { approved_by, expected, .. } => {
                let names = approved_by.as_ref().map(|people| people.iter().map(|person| person.approver.to_string()).collect::<Vec<_>>());
                let outcome = expected.outcome.replace('_', " ");
                let expected = expected.quorum.as_ref().map_or(outcome.clone(), |quorum| format!("{outcome}: {quorum}"));
                (names.map(|names| format!("approved by {}", names.join(", "))), expected)
            }
            Asks::Approval { requester, may, .. } => {
                (Some(format!("asked by {}", requester.name)), if *may { "may approve" } else { "may not approve" }.to_owned())
            }
        };
        CaseView {
            file: self.file.clone(),
            line: self.line,
            name: self.name.clone(),
            principal: self.principal.name.to_string(),
            groups: self.principal.groups.keys().map(ToString::to_string).collect(),
            resource: self.resource.name.to_string(),
            operations: self.operations.iter().map(|operation| operation.to_string()).collect(),
            exact: self.exact,
            about,
            expected,
        }
    }

    /// Asks the policy of this bundle.
    #[must_use]
    pub fn run(&self, bundle: &Bundle) -> CaseResult {
        let (differences, reasons) = match &self.asks {
            Asks::Decision { asked, approved_by, expected } => {
                let decision = bundle.policy.decide(&Evaluation {
                    principal: &self.principal,
                    resource: &self.resource,
                    operations: &self.operations,
                    exact: self.exact,
                    asked,
                    now: &self.now,
                    approvals: approved_by.as_deref().map_or(Approvals::Unknown, Approvals::Given),
                });
                (expected.differences(&decision), decision.reasons)
            }
            Asks::Approval { requester, may, policies } => {
                let (answer, reasons) = bundle.policy.may_approve(&ApprovalQuestion {
                    approver: &self.principal,
                    requester,
                    requester_manager: requester.manager.as_ref().map(|manager| &manager.name),
                    resource: &self.resource,
                    operations: &self.operations,
                    exact: self.exact,
                    facts: self.now.facts.as_ref(),
                    now: &self.now,
                });
                let say = |may| if may { "may" } else { "may not" };
                let mut differences = Vec::new();
                if answer != *may {
                    differences.push(format!("expected: {} approve; got: {}", say(*may), say(answer)));
                }
                differences.extend(policies.as_ref().and_then(|expected| other_policies(expected, &reasons)));
                (differences, reasons)
            }
        };
        let reasons = reasons.into_iter().map(|reason| reason.text).collect();
        CaseResult { file: self.file.clone(), line: self.line, name: self.name.clone(), differences, reasons }
    }
}

impl Expected {
    fn differences(&self, decision: &Decision) -> Vec<String> {
        let mut differences = Vec::new();
        let (outcome, quorum) = match &decision.outcome {
            Outcome::Allow => ("allow", None),
            Outcome::Deny => ("deny", None),
            Outcome::NeedApproval { quorum } => ("need_approval", Some(quorum.to_string())),
        };
        if outcome != self.outcome {
            differences.push(format!("expected outcome {}, got {outcome}", self.outcome));
        }
        if self.quorum.is_some() && self.quorum != quorum {
            let say = |quorum: &Option<String>| quorum.as_ref().map_or_else(|| "none".to_owned(), |quorum| format!("\"{quorum}\""));
            differences.push(format!("expected quorum {}, got {}", say(&self.quorum), say(&quorum)));
        }
        if let Some(limit) = self.max_duration {
            let found = decision.obligations.max_duration;
            if found != Some(limit) {
                differences
                    .push(format!("expected max_duration {limit}, got {}", found.map_or_else(|| "none".to_owned(), |ttl| ttl.to_string())));
            }
        }
        let level = decision.obligations.level.name();
        if let Some(expected) = self.level.as_deref().filter(|expected| *expected != level) {
            differences.push(format!("expected level {expected}, got {level}"));
        }
        differences.extend(self.policies.as_ref().and_then(|expected| other_policies(expected, &decision.reasons)));
        differences
    }
}

fn other_policies(expected: &BTreeSet<String>, reasons: &[safeconduct_model::Reason]) -> Option<String> {
    let found: BTreeSet<String> = reasons
        .iter()
        .filter(|reason| reason.effect != "rule" && !reason.policy_id.is_empty())
        .map(|reason| reason.policy_id.clone())
        .collect();
    let say = |ids: &BTreeSet<String>| if ids.is_empty() { "none".to_owned() } else { ids.iter().cloned().collect::<Vec<_>>().join(", ") };
    (found != *expected).then(|| format!("expected policies {}, got {}", say(expected), say(&found)))
}

/// A Monday at noon, UTC: the time of cases that name none.
const DEFAULT_TIME: Timestamp = Timestamp::from_micros(1_767_614_400_000_000);

/// Reads one file of cases.
pub(crate) fn parse(file: &str, text: &str, resources: &BTreeMap<ResourceName, Arc<Resource>>, problems: &mut Vec<Problem>) -> Vec<Case> {
    let Some(table) = reader::read(file, text, problems) else { return Vec::new() };
    let mut reader = Reader::new(file, text, &table);
    let mut principals = principals(&mut reader, "people", PrincipalKind::Person, problems);
    describe(&mut reader, &mut principals, problems);
    principals.extend(self::principals(&mut reader, "workloads", PrincipalKind::Workload, problems));
    let source = Source { file, principals, resources };
    let mut cases = Vec::new();
    for (key, approval) in [("case", false), ("approval", true)] {
        for mut table in reader.tables(key, problems) {
            cases.extend(source.case(&mut table, approval, problems));
            table.finish(problems);
        }
    }
    reader.finish(problems);
    cases.sort_by_key(|case| case.line);
    cases
}

fn principals(
    reader: &mut Reader<'_, '_>,
    key: &'static str,
    kind: PrincipalKind,
    problems: &mut Vec<Problem>,
) -> BTreeMap<PrincipalName, Principal> {
    let mut found = BTreeMap::new();
    for (name, (value, at)) in reader.entries(key, problems) {
        let groups: Option<Result<BTreeMap<GroupName, Timestamp>, _>> = value.as_array().map(|groups| {
            groups
                .iter()
                .map(|group| group.get_ref().as_str().unwrap_or_default().parse().map(|group| (group, Timestamp::default())))
                .collect()
        });
        match (name.parse::<PrincipalName>(), groups) {
            (Ok(name), Some(Ok(groups))) => {
                let display_name = name.to_string();
                found.insert(
                    name.clone(),
                    Principal {
                        name,
                        kind,
                        display_name,
                        created_at: Timestamp::default(),
                        disabled: false,
                        groups,
                        department: None,
                        manager: None,
                        attributes: BTreeMap::new(),
                    },
                );
            }
            (Err(error), _) => problems.push(reader.problem(at, error.to_string())),
            (_, Some(Err(error))) => problems.push(reader.problem(at, error.to_string())),
            (_, None) => problems
                .push(reader.problem(at, format!("`{key}.{name}` is a list of groups")).hint(format!("write `{name} = [\"engineers\"]`"))),
        }
    }
    found
}

/// What `[departments]`, `[managers]` and `[attributes.NAME]` say of the people.
fn describe(reader: &mut Reader<'_, '_>, people: &mut BTreeMap<PrincipalName, Principal>, problems: &mut Vec<Problem>) {
    for key in ["departments", "managers"] {
        for (name, (value, at)) in reader.map(key, problems) {
            let Some(person) = among(people, &name) else {
                problems.push(reader.problem(at, format!("`{name}` is not among `people`")));
                continue;
            };
            if key == "departments" {
                person.department = Some(value.to_owned());
            } else {
                match value.parse() {
                    Ok(name) => person.manager = Some(Manager { name, since: Timestamp::default() }),
                    Err(error) => problems.push(reader.problem(at, format!("`{value}` is no name: {error}"))),
                }
            }
        }
    }
    for (name, mut table) in reader.named_tables("attributes", problems) {
        let Some(person) = among(people, name) else {
            problems.push(table.problem(table.place(), format!("`{name}` is not among `people`")));
            continue;
        };
        for attribute in PersonAttribute::ALL {
            person.attributes.extend(table.string(attribute.name(), problems).map(|(value, _)| (attribute, value.to_owned())));
        }
        table.finish(problems);
    }
}

fn among<'p>(people: &'p mut BTreeMap<PrincipalName, Principal>, name: &str) -> Option<&'p mut Principal> {
    people.iter_mut().find(|(known, _)| known.as_str() == name).map(|(_, person)| person)
}

struct Source<'a> {
    file: &'a str,
    principals: BTreeMap<PrincipalName, Principal>,
    resources: &'a BTreeMap<ResourceName, Arc<Resource>>,
}

impl Source<'_> {
    fn case(&self, table: &mut Reader<'_, '_>, approval: bool, problems: &mut Vec<Problem>) -> Option<Case> {
        let before = problems.len();
        let name = table.required("name", "\"engineers read for half an hour\"", problems).map(|(name, _)| name.to_owned());
        let principal = self.principal(table, if approval { "approver" } else { "principal" }, problems);
        let resource = self.resource(table, problems);
        let operations = operations(table, problems);
        let exact = table.boolean("exact", problems).unwrap_or(false);
        let time = table.parsed::<Timestamp>("time", problems).unwrap_or(DEFAULT_TIME);
        let source = table.parsed("source", problems);
        let facts = if table.has("facts") { Some(facts(table.table("facts", problems), problems)) } else { None };
        let other_administrators = table.integer("other_administrators", 0, u32::MAX, problems).unwrap_or(0);
        let now = NowContext { time, source, facts, other_administrators };
        let policies = table.strings("policies", problems).map(|ids| ids.into_iter().map(|(id, _)| id.to_owned()).collect());
        let asks = if approval {
            let requester = self.principal(table, "requester", problems);
            let may = one_of(table, &["may", "may not"], problems);
            requester.zip(may).map(|(requester, may)| Asks::Approval { requester, may: may == "may", policies })
        } else {
            self.decision(table, source, policies, problems)
        };
        if problems.len() > before {
            return None;
        }
        let line = table.problem(table.place(), "").line;
        Some(Case {
            file: self.file.to_owned(),
            line,
            name: name?,
            principal: principal?,
            resource: resource?,
            operations,
            exact,
            now,
            asks: asks?,
        })
    }

    fn decision(
        &self,
        table: &mut Reader<'_, '_>,
        source: Option<std::net::IpAddr>,
        policies: Option<BTreeSet<String>>,
        problems: &mut Vec<Problem>,
    ) -> Option<Asks> {
        let asked = AskedContext {
            reason: table.string("reason", problems).map_or("a test", |(reason, _)| reason).to_owned(),
            ticket: table.string("ticket", problems).map(|(ticket, _)| ticket.to_owned()),
            duration: table.parsed("duration", problems).or_else(|| Ttl::from_seconds(900).ok())?,
            source,
            sign_in: table.string("sign_in", problems).map_or("password", |(sign_in, _)| sign_in).to_owned(),
            sign_in_age_seconds: table.parsed::<Ttl>("sign_in_age", problems).map_or(60, Ttl::seconds),
            claims: table.strings("claims", problems).into_iter().flatten().map(|(claim, _)| claim.to_owned()).collect(),
        };
        let approved_by = table.strings("approved_by", problems).map(|names| {
            let people = names.into_iter().filter_map(|found| self.known(table, found, problems));
            people.map(|person| Counted { groups: person.groups.keys().cloned().collect(), approver: person.name }).collect()
        });
        let outcome = one_of(table, &["allow", "deny", "need_approval"], problems)?.to_owned();
        let expected = Expected {
            outcome,
            quorum: table.string("quorum", problems).map(|(quorum, _)| quorum.to_owned()),
            policies,
            max_duration: table.parsed("max_duration", problems),
            level: table.string("level", problems).map(|(level, _)| level.to_owned()),
        };
        Some(Asks::Decision { asked, approved_by, expected })
    }

    fn principal(&self, table: &mut Reader<'_, '_>, key: &'static str, problems: &mut Vec<Problem>) -> Option<Principal> {
        let found = table.required(key, "\"alice\"", problems)?;
        self.known(table, found, problems)
    }

    fn known(&self, table: &Reader<'_, '_>, (name, at): (&str, usize), problems: &mut Vec<Problem>) -> Option<Principal> {
        let found = self.principals.values().find(|principal| principal.name.as_str() == name).cloned();
        if found.is_none() {
            let problem =
                table.problem(at, format!("`{}` is not among this file's people and workloads", safeconduct_model::text::printable(name)));
            problems.push(problem.hint("write `[people]` at the top of the file, with a line such as `alice = [\"engineers\"]`"));
        }
        found
    }

    fn resource(&self, table: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> Option<Arc<Resource>> {
        let (name, at) = table.required("resource", "\"orders-db\"", problems)?;
        let found = self.resources.iter().find(|(resource, _)| resource.as_str() == name).map(|(_, resource)| Arc::clone(resource));
        if found.is_none() {
            let problem = table.problem(at, format!("`{}` is not in this bundle", safeconduct_model::text::printable(name)));
            problems.push(match nearest(name, self.resources.keys().map(ResourceName::as_str)) {
                Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                None => problem,
            });
        }
        found
    }
}

fn operations(table: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> OperationSet {
    let Some(names) = table.strings("operations", problems) else {
        problems.push(table.problem(table.place(), "`operations` is missing").hint("write `operations = [\"read\"]`"));
        return OperationSet::new();
    };
    let mut operations = OperationSet::new();
    for (name, at) in names {
        match name.parse::<Operation>() {
            Ok(operation) => operations.insert(operation),
            Err(error) => problems.push(table.problem(at, error.to_string())),
        }
    }
    operations
}

fn facts(mut table: Reader<'_, '_>, problems: &mut Vec<Problem>) -> FactsContext {
    let mut set = |table: &mut Reader<'_, '_>, key| -> BTreeSet<String> {
        table.strings(key, problems).unwrap_or_default().into_iter().map(|(text, _)| text.to_owned()).collect()
    };
    let (commands, objects, functions) = (set(&mut table, "commands"), set(&mut table, "objects"), set(&mut table, "functions"));
    let statements = table.integer("statements", 0, u32::MAX, problems).unwrap_or(1);
    let has_where = table.boolean("has_where", problems);
    table.finish(problems);
    FactsContext { statements, commands, has_where, objects, functions }
}

fn one_of<'t>(table: &mut Reader<'t, '_>, choices: &[&str], problems: &mut Vec<Problem>) -> Option<&'t str> {
    let (text, at) = table.required("expect", &format!("\"{}\"", choices.first().copied().unwrap_or_default()), problems)?;
    if choices.contains(&text) {
        return Some(text);
    }
    problems.push(table.problem(at, format!("`expect` is one of {}", choices.join(", "))));
    None
}
