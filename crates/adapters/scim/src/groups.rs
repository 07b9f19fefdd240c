//! Groups as SCIM groups. Members are people whom the source made; groups in groups are refused.

use std::collections::BTreeSet;

use safeconduct_app::{ProvisionedGroup, SaidOfGroup};
use safeconduct_model::PrincipalName;
use serde_json::{Map, Value, json};

use crate::{
    answer::Refused,
    filter::matches_member,
    patch::{Change, Kind},
    written::{Written, text},
};

pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// What a source says about a group as a whole.
pub(crate) fn read(body: Value) -> Result<SaidOfGroup, Refused> {
    let mut body = Written::read(body)?;
    let mut take = |name: &str| body.take(name).map_or(Ok(None), |value| text(name, value));
    let display_name = take("displayName")?.ok_or_else(|| Refused::value("`displayName` is required"))?;
    let external_id = take("externalId")?;
    let members = body.take("members").map_or(Ok(BTreeSet::new()), members)?;
    Ok(SaidOfGroup { display_name, external_id, members })
}

/// One member or a list of them.
fn members(value: Value) -> Result<BTreeSet<PrincipalName>, Refused> {
    let items = match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        one => vec![one],
    };
    items.into_iter().map(member).collect()
}

fn member(value: Value) -> Result<PrincipalName, Refused> {
    let id = match value {
        Value::String(id) => id,
        other => {
            let mut member = Written::read(other)?;
            if let Some(kind) = member.take("type")
                && !kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("User"))
            {
                return Err(Refused::value("members are users"));
            }
            let id = member.take("value").map_or(Ok(None), |value| text("members.value", value))?;
            id.ok_or_else(|| Refused::value("`members.value` is required"))?
        }
    };
    id.parse().map_err(|_| Refused::value("`members.value` is no `id` of a user"))
}

/// Applies one change to what was said.
pub(crate) fn patch(said: &mut SaidOfGroup, change: Change) -> Result<(), Refused> {
    let Change { kind, path, filtered, value, whole, .. } = &change;
    if path.uri.as_ref().is_some_and(|uri| !uri.eq_ignore_ascii_case(GROUP)) {
        return Err(Refused::path(format!("there is no attribute `{path}`")));
    }
    let name = path.name.to_ascii_lowercase();
    let value = if *kind == Kind::Remove && name != "members" { &Value::Null } else { value };
    match (name.as_str(), &path.sub_attr) {
        ("members", None) => return patch_members(said, change),
        _ if *filtered => return Err(Refused::path(format!("`{path}` has one value: nothing to choose from"))),
        ("displayname", None) => {
            said.display_name = text("displayName", value.clone())?.ok_or_else(|| Refused::value("`displayName` is required"))?;
        }
        ("externalid", None) => said.external_id = text("externalId", value.clone())?,
        ("schemas", _) => {}
        ("id" | "meta", _) if *whole => {}
        ("id" | "meta", _) => return Err(Refused::mutability(format!("`{path}` can't be changed"))),
        ("members", Some(_)) => return Err(Refused::mutability("a member is added and removed as a whole")),
        _ if *whole => {}
        _ => return Err(Refused::path(format!("there is no attribute `{path}`"))),
    }
    Ok(())
}

fn patch_members(said: &mut SaidOfGroup, change: Change) -> Result<(), Refused> {
    match (change.kind, change.chosen) {
        (Kind::Remove, Some(chosen)) => {
            let gone: Vec<PrincipalName> = said.members.iter().filter(|member| matches_member(&chosen, member.as_str())).cloned().collect();
            // Gone is gone: whoever repeats a removal is told that it is done.
            for member in gone {
                said.members.remove(&member);
            }
        }
        (_, Some(_)) => return Err(Refused::mutability("a member is added and removed as a whole")),
        (Kind::Add, None) => said.members.extend(members(change.value)?),
        (Kind::Replace, None) => said.members = members(change.value)?,
        // Those that are named, as some sources do it; all of them if none is.
        (Kind::Remove, None) if change.value.is_null() => said.members.clear(),
        (Kind::Remove, None) => {
            for member in members(change.value)? {
                said.members.remove(&member);
            }
        }
    }
    Ok(())
}

/// The resource, without `meta`.
pub(crate) fn write(group: &ProvisionedGroup, base: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("schemas".to_owned(), json!([GROUP]));
    object.insert("id".to_owned(), group.group.as_str().into());
    if let Some(external_id) = &group.said.external_id {
        object.insert("externalId".to_owned(), external_id.clone().into());
    }
    object.insert("displayName".to_owned(), group.said.display_name.clone().into());
    if !group.said.members.is_empty() {
        let members = group.said.members.iter();
        let members = members.map(|name| json!({ "value": name, "$ref": format!("{base}/Users/{name}") }));
        object.insert("members".to_owned(), members.collect());
    }
    object
}
