//! Which rules speak about a question, found without reading all of them.
//!
//! A rule is kept under one name that its scope says must be there: the resource, else the principal. Only rules kept under the names of a
//! question, and those that name nothing, are put to Cedar, which looks at their whole scopes. What is left out could not have matched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::{Authorizer, Entities, EntityUid, PolicyId, PolicySet, PrincipalConstraint, Request, ResourceConstraint};
use serde_json::json;

use crate::{
    policy::{Rule, id_text},
    problem::Problem,
};

/// The scopes of all rules as permits without conditions: asking them gives the rules that speak about a question.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    /// Scopes that name neither a resource nor a principal.
    anywhere: PolicySet,
    named: BTreeMap<EntityUid, PolicySet>,
}

impl Scopes {
    pub(crate) fn of(rules: &BTreeMap<String, Arc<Rule>>, problems: &mut Vec<Problem>) -> Self {
        let mut scopes = Self::default();
        for rule in rules.values() {
            let set = match name(&rule.cedar) {
                Some(name) => scopes.named.entry(name).or_default(),
                None => &mut scopes.anywhere,
            };
            if let Err(message) = bare(rule).and_then(|bare| set.add(bare).map_err(|error| error.to_string())) {
                problems.push(Problem { file: rule.file.clone(), line: rule.line, column: rule.column, message, hint: None });
            }
        }
        scopes
    }

    /// Ids of the rules whose scope matches the request.
    pub(crate) fn matching(&self, authorizer: &Authorizer, request: &Request, entities: &Entities) -> BTreeSet<String> {
        let mut names: BTreeSet<&EntityUid> = BTreeSet::new();
        for uid in [request.principal(), request.resource()].into_iter().flatten() {
            names.insert(uid);
            names.extend(entities.ancestors(uid).into_iter().flatten());
        }
        let sets = names.into_iter().filter_map(|name| self.named.get(name)).chain([&self.anywhere]);
        sets.flat_map(|set| {
            let response = authorizer.is_authorized(request, set, entities);
            response.diagnostics().reason().map(id_text).collect::<Vec<_>>()
        })
        .collect()
    }
}

/// A name that has to be in the question, or above what is in it, for the scope to match.
fn name(policy: &cedar_policy::Policy) -> Option<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => return Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
    }
    match policy.principal_constraint() {
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    }
}

/// The rule's scope as a permit without conditions.
fn bare(rule: &Rule) -> Result<cedar_policy::Policy, String> {
    let mut policy = rule.cedar.to_json().map_err(|error| error.to_string())?;
    if let Some(fields) = policy.as_object_mut() {
        fields.insert("effect".to_owned(), json!("permit"));
        fields.insert("conditions".to_owned(), json!([]));
        fields.remove("annotations");
    }
    cedar_policy::Policy::from_json(Some(PolicyId::new(&rule.id)), policy).map_err(|error| error.to_string())
}
