//! Policy: a bundle's policies, parsed, validated and ready to be asked. What is not certain to be understood is refused here.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{ActionConstraint, Authorizer, Effect, EntityUid, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint, Schema};
use jiff::tz::TimeZoneDatabase;
use safeconduct_model::{Digest, Level, Obligations, Operation};

use crate::{restrict::ApprovalUse, scopes::Scopes};

/// The published schema: everything a policy can know.
pub const SCHEMA: &str = include_str!("schema.cedarschema");
/// The policies every bundle comes with.
pub const BUILT_IN: &str = include_str!("built_in.cedar");

/// Policies ready to be asked.
#[derive(Debug)]
pub struct Policy {
    pub(crate) rules: BTreeMap<String, Arc<Rule>>,
    pub(crate) scopes: Scopes,
    pub(crate) schema: Schema,
    pub(crate) authorizer: Authorizer,
    pub(crate) zones: TimeZoneDatabase,
    pub(crate) hash: Digest,
    /// True if rules about `approve` look at nothing of a person but the groups.
    pub(crate) approvers_by_groups: bool,
}

/// One policy of a bundle, or a built-in one.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its `@id`.
    pub id: String,
    /// Path inside the bundle; `built-in` for built-in ones.
    pub file: String,
    /// Byte of the file at which it starts, and the same as line and column.
    pub start: usize,
    pub line: usize,
    pub column: usize,
    pub text: String,
    pub cedar: cedar_policy::Policy,
    pub obligations: Obligations,
    pub approvals: ApprovalUse,
    /// True if its resource scope names the gateway: only then it speaks about administration.
    pub about_gateway: bool,
    pub built_in: bool,
    pub clauses: Vec<Clause>,
}

/// What a scope speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Any,
    Named(String),
}

/// One `when` or `unless` with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    pub text: String,
    pub line: usize,
    pub column: usize,
}

impl Policy {
    /// Hash of the bundle this policy came from.
    #[must_use]
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The most that any policy asks approvals to be proved by.
    #[must_use]
    pub fn highest_level(&self) -> Level {
        self.rules.values().map(|rule| rule.obligations.level).max().unwrap_or_default()
    }

    /// True if enabled people in the same groups get the same answer from [`Policy::may_approve`] about the same access request, the requester's
    /// manager aside: no rule about approving names a person or looks at who else it is. Where it is not certain, it is not so.
    #[must_use]
    pub const fn approvers_by_groups(&self) -> bool {
        self.approvers_by_groups
    }

    /// The rules whose scope matches the request, by id.
    pub(crate) fn matching(&self, request: &cedar_policy::Request, entities: &cedar_policy::Entities) -> Vec<Arc<Rule>> {
        let ids = self.scopes.matching(&self.authorizer, request, entities);
        ids.iter().filter_map(|id| self.rules.get(id).cloned()).collect()
    }
}

/// True if a condition, as Cedar writes it in JSON, speaks of the principal otherwise than as the requester's manager.
fn speaks_of_principal(condition: &serde_json::Value) -> bool {
    let is_principal = |value: &serde_json::Value| *value == serde_json::json!({ "Var": "principal" });
    let is_manager =
        |value: &serde_json::Value| *value == serde_json::json!({ ".": { "left": { "Var": "resource" }, "attr": "requester_manager" } });
    match condition {
        serde_json::Value::Object(fields) => {
            let sides = fields.get("==").filter(|_| fields.len() == 1).and_then(|sides| Some((sides.get("left")?, sides.get("right")?)));
            let by_manager = sides.is_some_and(|(a, b)| is_principal(a) && is_manager(b) || is_manager(a) && is_principal(b));
            !by_manager && fields.iter().any(|(key, value)| key.contains("principal") || speaks_of_principal(value))
        }
        serde_json::Value::Array(items) => items.iter().any(speaks_of_principal),
        serde_json::Value::String(text) => text.contains("principal"),
        _ => false,
    }
}

impl Rule {
    pub(crate) fn is_permit(&self) -> bool {
        self.cedar.effect() == Effect::Permit
    }

    /// True if its action scope names this action itself, not through a group of actions.
    pub(crate) fn names_action(&self, action: &str) -> bool {
        let named = |uid: &EntityUid| uid.id().unescaped() == action;
        match self.cedar.action_constraint() {
            ActionConstraint::Any => false,
            ActionConstraint::Eq(uid) => named(&uid),
            ActionConstraint::In(uids) => uids.iter().any(named),
        }
    }

    /// True if it may speak about approving and could tell two people in the same groups apart, neither of them the requester's manager.
    pub(crate) fn tells_approvers_apart(&self) -> bool {
        if !matches!(self.cedar.action_constraint(), ActionConstraint::Any) && !self.names_action("approve") {
            return false;
        }
        let scope_by_groups = match self.cedar.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => true,
            PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => uid.type_name().to_string() == "Group",
            PrincipalConstraint::Eq(_) => false,
        };
        // A condition that does not speak of the principal says the same of everybody.
        let json = self.cedar.to_json().ok();
        !scope_by_groups || json.and_then(|json| json.get("conditions").map(speaks_of_principal)).unwrap_or(true)
    }

    /// Which resources the scope may speak of for this operation; the principal is not looked at. `None` if it never does.
    pub(crate) fn target(&self, operation: Operation) -> Option<Target> {
        let gateway = operation.is_administration();
        let group = if gateway { "administration" } else { "access" };
        let any_action = matches!(self.cedar.action_constraint(), ActionConstraint::Any);
        if !(any_action || self.names_action(operation.name()) || self.names_action(group)) {
            return None;
        }
        if gateway {
            return self.about_gateway.then_some(Target::Any);
        }
        match self.cedar.resource_constraint() {
            _ if self.about_gateway => None,
            ResourceConstraint::Any | ResourceConstraint::Is(_) => Some(Target::Any),
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
                Some(Target::Named(uid.id().unescaped().to_owned()))
            }
        }
    }

    /// `policies/orders.cedar:12`
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// True if the resource scope names the gateway.
pub(crate) fn names_gateway(policy: &cedar_policy::Policy) -> bool {
    let of_gateway = |uid: &EntityUid| uid.type_name().to_string() == "Gateway";
    match policy.resource_constraint() {
        ResourceConstraint::Any => false,
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) => of_gateway(&uid),
        ResourceConstraint::Is(kind) => kind.to_string() == "Gateway",
        ResourceConstraint::IsIn(kind, uid) => kind.to_string() == "Gateway" || of_gateway(&uid),
    }
}

/// A set of these rules' policies. `None` if two have one id, which parsing rules out.
pub(crate) fn set_of<'r>(rules: impl IntoIterator<Item = &'r Arc<Rule>>) -> Option<PolicySet> {
    PolicySet::from_policies(rules.into_iter().map(|rule| rule.cedar.clone())).ok()
}

/// The id as text.
pub(crate) fn id_text(id: &PolicyId) -> String {
    AsRef::<str>::as_ref(id).to_owned()
}
