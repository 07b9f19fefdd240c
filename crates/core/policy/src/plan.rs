//! Plans: what a new bundle would change, in resources, in policies and in decisions already made. Changes nothing.

use std::{collections::BTreeSet, fmt};

use safeconduct_model::text::printable;
use safeconduct_model::{
    Credentials, Decision, Digest, OperationSet, Outcome, Postgres, Principal, PrincipalName, Resource, ResourceName, SecretRef,
    UpstreamTls,
};
use serde::Serialize;

use crate::{
    bundle::Bundle,
    evaluation::{Approvals, AskedContext, Evaluation, NowContext},
    policy::Rule,
};

/// What a new bundle would change.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub from: Option<Digest>,
    pub to: Digest,
    pub resources: Vec<ResourceChange>,
    pub policies: Vec<PolicyChange>,
    /// Recent questions that would be answered differently.
    pub decisions: Vec<DecisionChange>,
    /// How many recent questions were put to both.
    pub compared: usize,
}

/// Whether something comes, goes or stays under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Added,
    Removed,
    Changed,
}

/// A resource that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceChange {
    pub name: ResourceName,
    pub kind: Kind,
    /// Each field that differs; of an added or removed resource, every field.
    pub fields: Vec<FieldChange>,
}

/// One field before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    pub field: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A policy that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyChange {
    pub policy_id: String,
    pub kind: Kind,
    pub before: Option<String>,
    pub after: Option<String>,
    /// Where it stands: in the new bundle, or in the old one if it is removed.
    pub file: String,
    pub line: usize,
}

/// A question as it was once put, to be put again.
#[derive(Clone, Debug)]
pub struct RecordedEvaluation {
    /// What the question was about, such as an access request's id.
    pub label: String,
    pub principal: Principal,
    pub resource: ResourceName,
    pub operations: OperationSet,
    pub exact: bool,
    pub asked: AskedContext,
    pub now: NowContext,
}

/// A recorded question with two answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecisionChange {
    pub label: String,
    pub principal: PrincipalName,
    pub resource: ResourceName,
    pub operations: OperationSet,
    pub before: String,
    pub after: String,
}

/// Compares two bundles. Without an old one everything is new.
#[must_use]
pub fn plan(old: Option<&Bundle>, new: &Bundle, recent: &[RecordedEvaluation]) -> Plan {
    let decisions = match old {
        None => Vec::new(),
        Some(old) => recent.iter().filter_map(|evaluation| decision_change(old, new, evaluation)).collect(),
    };
    Plan {
        from: old.map(|old| old.hash),
        to: new.hash,
        resources: resource_changes(old, new),
        policies: policy_changes(old, new),
        decisions,
        compared: if old.is_some() { recent.len() } else { 0 },
    }
}

fn kind<T>(before: Option<&T>, after: Option<&T>) -> Kind {
    match (before, after) {
        (None, _) => Kind::Added,
        (_, None) => Kind::Removed,
        _ => Kind::Changed,
    }
}

fn resource_changes(old: Option<&Bundle>, new: &Bundle) -> Vec<ResourceChange> {
    let names: BTreeSet<&ResourceName> = old.into_iter().flat_map(|old| old.resources.keys()).chain(new.resources.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (before, after) = (old.and_then(|old| old.resources.get(name)), new.resources.get(name));
        if before == after || name.as_str() == Resource::SAFECONDUCT {
            continue;
        }
        let fields = |resource: Option<&std::sync::Arc<Resource>>| resource.map(|resource| fields(resource)).unwrap_or_default();
        let (was, is) = (fields(before), fields(after));
        let value = |of: &[(&'static str, String)], field| of.iter().find(|(name, _)| *name == field).map(|(_, value)| value.clone());
        let mut all: Vec<&'static str> = was.iter().chain(&is).map(|(field, _)| *field).collect();
        let mut seen = BTreeSet::new();
        all.retain(|field| seen.insert(*field));
        let fields =
            all.into_iter().map(|field| FieldChange { field: field.to_owned(), before: value(&was, field), after: value(&is, field) });
        changes.push(ResourceChange {
            name: name.clone(),
            kind: kind(before, after),
            fields: fields.filter(|field| field.before != field.after).collect(),
        });
    }
    changes
}

/// Every field of a resource as text, in the order of the file. Secrets are references and stay so.
fn fields(resource: &Resource) -> Vec<(&'static str, String)> {
    let labels: Vec<String> = resource.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut fields = vec![
        ("kind", resource.kind.name().to_owned()),
        ("description", resource.description.clone()),
        ("owner", resource.owner.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string)),
        ("sensitivity", resource.sensitivity.name().to_owned()),
        ("time_zone", resource.time_zone.clone()),
        ("labels", labels.join(", ")),
    ];
    if let Some(postgres) = resource.postgres() {
        fields.extend(postgres_fields(postgres));
    }
    fields
}

fn postgres_fields(postgres: &Postgres) -> Vec<(&'static str, String)> {
    let tls = match &postgres.tls {
        UpstreamTls::DangerDisabled => "danger_disabled".to_owned(),
        UpstreamTls::VerifyFull { ca_file, server_name } => {
            format!("ca_file {ca_file}, server_name {}", server_name.as_deref().unwrap_or(&postgres.host))
        }
    };
    let (user, password) = postgres.credentials.stored();
    let password = match password {
        SecretRef::Env(name) => format!("env:{name}"),
        SecretRef::File(path) => format!("file:{path}"),
    };
    let (kind, roles, owner) = match &postgres.credentials {
        Credentials::Static { .. } => ("static", Vec::new(), ""),
        Credentials::Minted(minted) => {
            let roles = minted.roles.iter().map(|(operation, roles)| {
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                format!("{operation}={}", roles.join("+"))
            });
            ("minted", roles.collect(), minted.owner.as_deref().unwrap_or_default())
        }
    };
    let functions: Vec<String> = postgres.functions.iter().map(|(name, class)| format!("{name}={class}")).collect();
    vec![
        ("postgres.host", postgres.host.clone()),
        ("postgres.port", postgres.port.to_string()),
        ("postgres.database", postgres.database.clone()),
        ("postgres.databases", postgres.databases.iter().cloned().collect::<Vec<_>>().join(", ")),
        ("postgres.tls", tls),
        ("postgres.credentials.kind", kind.to_owned()),
        ("postgres.credentials.user", user.clone()),
        ("postgres.credentials.password", password),
        ("postgres.credentials.roles", roles.join(", ")),
        ("postgres.credentials.owner", owner.to_owned()),
        ("postgres.search_path", postgres.search_path.join(", ")),
        ("postgres.functions", functions.join(", ")),
        ("postgres.danger_unrestricted", postgres.danger_unrestricted.to_string()),
        ("postgres.hold", postgres.hold.to_string()),
        ("postgres.hold_in_transaction", postgres.hold_in_transaction.to_string()),
    ]
}

fn policy_changes(old: Option<&Bundle>, new: &Bundle) -> Vec<PolicyChange> {
    let ids: BTreeSet<&String> = old.into_iter().flat_map(|old| old.policy.rules.keys()).chain(new.policy.rules.keys()).collect();
    let mut changes = Vec::new();
    for id in ids {
        let (before, after) = (old.and_then(|old| old.policy.rules.get(id)), new.policy.rules.get(id));
        let Some(place) = after.or(before).filter(|rule| !rule.built_in) else { continue };
        let text = |rule: &std::sync::Arc<Rule>| rule.text.clone();
        let (was, is) = (before.map(text), after.map(text));
        if was != is {
            changes.push(PolicyChange {
                policy_id: id.clone(),
                kind: kind(before, after),
                before: was,
                after: is,
                file: place.file.clone(),
                line: place.line,
            });
        }
    }
    changes
}

fn decision_change(old: &Bundle, new: &Bundle, recorded: &RecordedEvaluation) -> Option<DecisionChange> {
    let (before, after) = (answer(old, recorded), answer(new, recorded));
    (before != after).then(|| DecisionChange {
        label: recorded.label.clone(),
        principal: recorded.principal.name.clone(),
        resource: recorded.resource.clone(),
        operations: recorded.operations.clone(),
        before,
        after,
    })
}

fn answer(bundle: &Bundle, recorded: &RecordedEvaluation) -> String {
    let Some(resource) = bundle.resource(&recorded.resource) else { return "deny (no such resource)".to_owned() };
    summary(&bundle.policy.decide(&Evaluation {
        principal: &recorded.principal,
        resource,
        operations: &recorded.operations,
        exact: recorded.exact,
        asked: &recorded.asked,
        now: &recorded.now,
        approvals: Approvals::Unknown,
    }))
}

/// A decision in a few words: the outcome with its quorum and obligations.
#[must_use]
pub fn summary(decision: &Decision) -> String {
    let mut words = match &decision.outcome {
        Outcome::Deny => return "deny".to_owned(),
        Outcome::Allow => "allow".to_owned(),
        Outcome::NeedApproval { quorum } => format!("approval: {quorum}"),
    };
    let obligations = &decision.obligations;
    if let Some(limit) = obligations.max_duration {
        words.push_str(&format!(" [at most {limit}]"));
    }
    if obligations.record == safeconduct_model::Record::Full {
        words.push_str(" [recorded in full]");
    }
    if obligations.audit == safeconduct_model::Audit::Strict {
        words.push_str(" [strict audit]");
    }
    words
}

impl Plan {
    /// True if nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.policies.is_empty() && self.decisions.is_empty()
    }
}

impl Kind {
    const fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => writeln!(f, "policy {} -> {}", from.short(), self.to.short())?,
            None => writeln!(f, "first policy {}", self.to.short())?,
        }
        if self.is_empty() {
            return write!(f, "nothing changes");
        }
        for change in &self.resources {
            writeln!(f, "{} resource {}", change.kind.sign(), change.name)?;
            for field in &change.fields {
                match (field.before.as_deref().map(printable), field.after.as_deref().map(printable)) {
                    (Some(before), Some(after)) => writeln!(f, "    {}: {before} -> {after}", field.field)?,
                    (None, Some(after)) if !after.is_empty() => writeln!(f, "    {}: {after}", field.field)?,
                    _ => {}
                }
            }
        }
        for change in &self.policies {
            writeln!(f, "{} policy {} ({}:{})", change.kind.sign(), change.policy_id, change.file, change.line)?;
            for (sign, text) in [('-', &change.before), ('+', &change.after)] {
                for line in text.iter().flat_map(|text| text.lines()) {
                    writeln!(f, "    {sign} {}", printable(line))?;
                }
            }
        }
        for change in &self.decisions {
            writeln!(
                f,
                "! {} {} {} on {}: {} -> {}",
                change.label, change.principal, change.operations, change.resource, change.before, change.after
            )?;
        }
        write!(f, "{} of {} recent access requests would be decided differently", self.decisions.len(), self.compared)
    }
}
