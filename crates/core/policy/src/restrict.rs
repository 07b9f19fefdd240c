//! Restrictions: approvals may be used only where more of them can never turn allow into deny.
//!
//! Walks a policy's syntax tree. `context.approvals >= literal` and `context.approved_by.contains(Group::"x")` are accepted in `when` of a
//! permit and `unless` of a forbid, joined by `&&`, `||` and the branches of `if`; every other use is refused, and so is `context` as a whole.

use std::collections::BTreeSet;

use safeconduct_model::GroupName;
use serde_json::Value;

/// Largest number of approvals a policy may ask for.
pub(crate) const MAX_APPROVALS: u32 = 10;
/// Most groups that may be named for one question.
pub(crate) const MAX_GROUPS: usize = 6;

/// What a policy asks of approvals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApprovalUse {
    /// The largest literal; 0 if approvals are not mentioned.
    pub count: u32,
    pub groups: BTreeSet<GroupName>,
}

/// Reads how a policy, given as Cedar's JSON form, uses approvals.
pub(crate) fn approval_use(policy: &Value) -> Result<ApprovalUse, Vec<String>> {
    let mut walk = Walk::default();
    let permit = policy.get("effect").and_then(Value::as_str) == Some("permit");
    for condition in policy.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let when = condition.get("kind").and_then(Value::as_str) == Some("when");
        let Some(body) = condition.get("body") else { continue };
        walk.expression(body, if permit == when { Place::Counts } else { Place::Elsewhere });
    }
    if walk.found.groups.len() > MAX_GROUPS {
        walk.refused
            .insert(format!("policy names {} groups in `context.approved_by`; at most {MAX_GROUPS} may be named", walk.found.groups.len()));
    }
    if walk.refused.is_empty() { Ok(walk.found) } else { Err(walk.refused.into_iter().collect()) }
}

/// Whether a condition made true here makes the whole more permissive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Counts,
    Elsewhere,
}

#[derive(Default)]
struct Walk {
    found: ApprovalUse,
    refused: BTreeSet<String>,
}

impl Walk {
    fn expression(&mut self, expression: &Value, place: Place) {
        let Some((operator, operand)) = expression.as_object().and_then(|object| object.iter().next()) else {
            return self.inside(expression);
        };
        match operator.as_str() {
            "Value" => {}
            "Var" if operand.as_str() == Some("context") => {
                self.refuse("`context` may only be read attribute by attribute, as in `context.exact`");
            }
            "&&" | "||" => self.children(operand, place),
            "if-then-else" => {
                for (part, body) in operand.as_object().into_iter().flatten() {
                    self.expression(body, if part == "if" { Place::Elsewhere } else { place });
                }
            }
            ">=" if attribute_of_context(operand.get("left")) == Some("approvals") => self.count(operand.get("right"), place),
            "contains" if attribute_of_context(operand.get("left")) == Some("approved_by") => self.group(operand.get("right"), place),
            "." | "has" => match attribute_of_context(Some(expression)) {
                Some("approvals" | "approved_by") => {
                    self.refuse("approvals may be used only as `context.approvals >= 2` or `context.approved_by.contains(Group::\"dba\")`");
                }
                Some(_) => {}
                None => self.children(operand, Place::Elsewhere),
            },
            _ => self.children(operand, Place::Elsewhere),
        }
    }

    /// The parts of a compound expression: a map or list whose values are expressions.
    fn children(&mut self, operand: &Value, place: Place) {
        match operand {
            Value::Object(parts) => parts.values().for_each(|part| self.expression(part, place)),
            Value::Array(parts) => parts.iter().for_each(|part| self.expression(part, place)),
            _ => {}
        }
    }

    /// Something that is no expression but may hold some, such as the elements of a pattern.
    fn inside(&mut self, value: &Value) {
        if let Value::Array(parts) = value {
            parts.iter().for_each(|part| self.expression(part, Place::Elsewhere));
        }
    }

    fn count(&mut self, literal: Option<&Value>, place: Place) {
        self.only_where_it_counts(place);
        let count = literal.and_then(|literal| literal.get("Value")).and_then(Value::as_i64).and_then(|count| u32::try_from(count).ok());
        match count {
            Some(count) if (1..=MAX_APPROVALS).contains(&count) => self.found.count = self.found.count.max(count),
            _ => self.refuse(&format!("`context.approvals >=` takes a number from 1 to {MAX_APPROVALS}")),
        }
    }

    fn group(&mut self, literal: Option<&Value>, place: Place) {
        self.only_where_it_counts(place);
        let entity = literal.and_then(|literal| literal.get("Value")).and_then(|value| value.get("__entity"));
        let named = entity.filter(|entity| entity.get("type").and_then(Value::as_str) == Some("Group"));
        match named.and_then(|entity| entity.get("id")).and_then(Value::as_str).and_then(|id| id.parse().ok()) {
            Some(group) => {
                self.found.groups.insert(group);
            }
            None => self.refuse("`context.approved_by.contains` takes one group by name, as in `Group::\"dba\"`"),
        }
    }

    fn only_where_it_counts(&mut self, place: Place) {
        if place == Place::Elsewhere {
            self.refuse(
                "approvals may stand only in `when` of a permit or `unless` of a forbid, not negated, compared or in the condition of an `if`: \
                 more approvals must never turn allow into deny",
            );
        }
    }

    fn refuse(&mut self, message: &str) {
        self.refused.insert(message.to_owned());
    }
}

/// The attribute, if this reads one directly from `context`.
fn attribute_of_context(expression: Option<&Value>) -> Option<&str> {
    let expression = expression?;
    let access = expression.get(".").or_else(|| expression.get("has"))?;
    if access.get("left")?.get("Var")?.as_str()? != "context" {
        return None;
    }
    match access.get("attr")? {
        Value::String(attribute) => Some(attribute),
        Value::Array(path) => path.first()?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<ApprovalUse, Vec<String>> {
        approval_use(&cedar_policy::Policy::parse(None, text).unwrap().to_json().unwrap())
    }

    #[test]
    fn accepted_uses_give_counts_and_groups() {
        for text in [
            "permit(principal,action,resource) when { context.approvals >= 2 && context.approved_by.contains(Group::\"dba\") };",
            "permit(principal,action,resource) when { context.exact || (context.approvals >= 2 || context.approved_by.contains(Group::\"dba\")) };",
            "forbid(principal,action,resource) unless { if context.exact then context.approvals >= 2 else context.approved_by.contains(Group::\"dba\") };",
            "permit(principal,action,resource) when { context[\"approvals\"] >= 2 } when { context.approved_by.contains(Group::\"dba\") };",
        ] {
            let found = check(text).unwrap();
            assert_eq!((found.count, found.groups.len()), (2, 1), "{text}");
        }
        assert_eq!(
            check("forbid(principal,action,resource) when { !context.exact && context.asked.reason like \"x*\" };").unwrap(),
            ApprovalUse::default()
        );
    }

    #[test]
    fn every_other_use_is_refused() {
        for condition in [
            "context.approvals > 1",
            "context.approvals <= 1",
            "context.approvals == 1",
            "2 <= context.approvals",
            "context.approvals >= 0",
            "context.approvals >= 11",
            "context.approvals >= 1 + 1",
            "context.approvals >= context.approvals",
            "!(context.approvals >= 1)",
            "(context.approvals >= 1) == false",
            "(context.approvals >= 1) != true",
            "if context.approvals >= 1 then false else true",
            "[context.approvals >= 1].contains(false)",
            "{a: context.approvals >= 1}.a",
            "{Var: context.approvals >= 1}.Var",
            "[1, 2].contains(context.approvals)",
            "context has approvals",
            "context == context",
            "[context].contains(context)",
            "(if true then context else context).approvals >= 1",
            "context.approved_by.containsAll([Group::\"dba\"])",
            "context.approved_by.containsAny([Group::\"dba\"])",
            "context.approved_by.isEmpty()",
            "context.approved_by == [Group::\"dba\"]",
            "context.approved_by.contains(resource.owner)",
            "context.approved_by.contains(Person::\"bob\")",
            "context.approved_by.contains(Group::\"Not Canonical\")",
            "[Group::\"dba\"].containsAll(context.approved_by)",
            "principal in context.approved_by",
            "-context.approvals < 0",
        ] {
            assert!(check(&format!("permit(principal,action,resource) when {{ {condition} }};")).is_err(), "{condition}");
        }
        for text in [
            "permit(principal,action,resource) unless { context.approvals >= 1 };",
            "forbid(principal,action,resource) when { context.approvals >= 1 };",
            "forbid(principal,action,resource) when { context.approved_by.contains(Group::\"dba\") };",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        let seven: Vec<String> = (0..7).map(|n| format!("context.approved_by.contains(Group::\"g{n}\")")).collect();
        assert!(check(&format!("permit(principal,action,resource) when {{ {} }};", seven.join(" || "))).is_err());
    }
}
