//! Filters (RFC 7644, section 3.4.2.2), read by `scim_v2` within its bounds and put to one resource at a time.

use safeconduct_model::PersonAttribute;
use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter, ValFilter};
use serde_json::{Map, Value};

use crate::{
    answer::Refused,
    groups::GROUP,
    people::{ENTERPRISE, USER, is_extended},
};

/// Longest filter and path, in bytes.
pub(crate) const LONGEST: usize = 2048;
/// Attributes whose case matters.
const EXACT: [&str; 5] = ["id", "externalid", "value", "$ref", "version"];
/// Attributes that a filter may ask about, beside `meta` and those that policy is given as they are. Others are on no resource here.
const KNOWN: [&str; 9] = ["id", "externalid", "username", "displayname", "active", "department", "manager", "groups", "members"];

/// Reads a filter.
pub(crate) fn read(text: &str) -> Result<Filter, Refused> {
    if text.len() > LONGEST {
        return Err(Refused::filter("the filter is too long"));
    }
    text.parse().map_err(|_| Refused::filter("the filter can't be read"))
}

/// The value that the filter asks for and nothing else, if it is `userName eq "…"`.
pub(crate) fn is_user_name(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(value)))
            if path.name.eq_ignore_ascii_case("userName")
                && path.sub_attr.is_none()
                && path.uri.as_ref().is_none_or(|uri| uri.eq_ignore_ascii_case(USER)) =>
        {
            Some(value)
        }
        _ => None,
    }
}

/// True if the resource is one that the filter asks for.
pub(crate) fn matches(filter: &Filter, resource: &Map<String, Value>) -> Result<bool, Refused> {
    Ok(match filter {
        Filter::Attr(expression) => attribute(expression, resource)?,
        Filter::ValuePath(path) => {
            let found = values(&path.attr, resource)?;
            let objects = found.iter().filter_map(|value| value.as_object());
            let mut any = false;
            for object in objects {
                any = any || matches_value(&path.filter, object);
            }
            any
        }
        Filter::Not(inner) => !matches(inner, resource)?,
        Filter::And(all) => {
            let mut so = true;
            for one in all.iter() {
                so = matches(one, resource)? && so;
            }
            so
        }
        Filter::Or(any) => {
            let mut so = false;
            for one in any.iter() {
                so = matches(one, resource)? || so;
            }
            so
        }
    })
}

/// True if the filter chooses this member of a group.
pub(crate) fn matches_member(filter: &ValFilter, id: &str) -> bool {
    let mut object = Map::new();
    object.insert("value".to_owned(), id.into());
    object.insert("type".to_owned(), "User".into());
    matches_value(filter, &object)
}

fn matches_value(filter: &ValFilter, object: &Map<String, Value>) -> bool {
    match filter {
        ValFilter::Attr(AttrExp::Present(path)) => find(object, &path.name).is_some(),
        ValFilter::Attr(AttrExp::Comparison(path, operator, wanted)) => {
            compare(find(object, &path.name), operator, wanted, is_exact(&path.name))
        }
        ValFilter::Not(inner) => !matches_value(inner, object),
        ValFilter::And(all) => all.iter().all(|one| matches_value(one, object)),
        ValFilter::Or(any) => any.iter().any(|one| matches_value(one, object)),
    }
}

fn attribute(expression: &AttrExp, resource: &Map<String, Value>) -> Result<bool, Refused> {
    let (path, comparison) = match expression {
        AttrExp::Present(path) => (path, None),
        AttrExp::Comparison(path, operator, wanted) => (path, Some((operator, wanted))),
    };
    let found = values(path, resource)?;
    let name = path.sub_attr.as_ref().unwrap_or(&path.name);
    Ok(match comparison {
        None => !found.is_empty(),
        Some((operator, wanted)) if found.is_empty() => compare(None, operator, wanted, true),
        Some((operator, wanted)) => found.into_iter().any(|value| {
            // A complex value is asked for by its `value`.
            let value = value.as_object().map_or(Some(value), |object| object.get("value"));
            compare(value, operator, wanted, is_exact(name))
        }),
    })
}

/// The values at a path; none for what a resource does not have.
fn values<'r>(path: &AttrPath, resource: &'r Map<String, Value>) -> Result<Vec<&'r Value>, Refused> {
    let known = |uri: &String| [USER, ENTERPRISE, GROUP].iter().any(|known| uri.eq_ignore_ascii_case(known));
    let name = path.name.to_ascii_lowercase();
    if path.uri.as_ref().is_some_and(|uri| !known(uri)) || (name == "password") {
        return Err(Refused::filter(format!("`{path}` can't be asked for")));
    }
    let plain = PersonAttribute::named(&name);
    if name != "meta" && plain.is_none() && !KNOWN.contains(&name.as_str()) {
        return Ok(Vec::new());
    }
    let top = if plain.is_some_and(is_extended) || ["department", "manager"].contains(&name.as_str()) {
        resource.get(ENTERPRISE).and_then(Value::as_object).and_then(|extension| find(extension, &name))
    } else {
        find(resource, &name)
    };
    let all: Vec<&Value> = match top {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
    };
    Ok(match &path.sub_attr {
        None => all,
        Some(sub) => all.into_iter().filter_map(|value| value.as_object().and_then(|object| find(object, sub))).collect(),
    })
}

fn find<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o Value> {
    object.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn is_exact(name: &str) -> bool {
    EXACT.iter().any(|exact| name.eq_ignore_ascii_case(exact))
}

fn compare(found: Option<&Value>, operator: &CompareOp, wanted: &CompValue, exact: bool) -> bool {
    let fold = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    match (found, wanted) {
        (Some(Value::String(found)), CompValue::Str(wanted)) => {
            let (found, wanted) = (fold(found), fold(wanted));
            match operator {
                CompareOp::Eq => found == wanted,
                CompareOp::Ne => found != wanted,
                CompareOp::Co => found.contains(&wanted),
                CompareOp::Sw => found.starts_with(&wanted),
                CompareOp::Ew => found.ends_with(&wanted),
                CompareOp::Gt => found > wanted,
                CompareOp::Lt => found < wanted,
                CompareOp::Ge => found >= wanted,
                CompareOp::Le => found <= wanted,
            }
        }
        (Some(Value::Bool(found)), wanted) => {
            let same = match wanted {
                CompValue::True => *found,
                CompValue::False => !*found,
                // As some sources write it.
                CompValue::Str(word) => word.eq_ignore_ascii_case(if *found { "true" } else { "false" }),
                CompValue::Null | CompValue::Number(_) => false,
            };
            match operator {
                CompareOp::Eq => same,
                CompareOp::Ne => !same,
                _ => false,
            }
        }
        (None, CompValue::Null) => *operator == CompareOp::Eq,
        _ => *operator == CompareOp::Ne,
    }
}
