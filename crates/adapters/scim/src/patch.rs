//! PATCH (RFC 7644, section 3.5.2): a call is taken apart into changes of one attribute each.

use safeconduct_model::PersonAttribute;
use scim_v2::filter::{AttrPath, PatchPath, ValFilter};
use serde_json::Value;

use crate::{
    answer::Refused,
    filter::LONGEST,
    people::{ENTERPRISE, is_extended},
    written::{Written, is_nothing},
};

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// Most operations in one call.
const MOST: usize = 1000;

/// What is done to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Add,
    Replace,
    Remove,
}

/// One attribute changes.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub kind: Kind,
    pub path: AttrPath,
    /// True if values are chosen by a filter.
    pub filtered: bool,
    /// The filter, if the values as a whole are meant.
    pub chosen: Option<ValFilter>,
    pub value: Value,
    /// Part of a whole resource: what is not known or can't be changed is passed over, as in PUT.
    pub whole: bool,
}

/// The changes of a call, in order.
pub(crate) fn read(body: Value) -> Result<Vec<Change>, Refused> {
    let mut body = Written::read(body)?;
    let named = |schemas: Value| schemas.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some(PATCH)));
    if !body.take("schemas").is_some_and(named) {
        return Err(Refused::syntax(format!("`schemas` must name `{PATCH}`")));
    }
    let Some(Value::Array(operations)) = body.take("Operations") else {
        return Err(Refused::syntax("`Operations` must be a list"));
    };
    if operations.len() > MOST {
        return Err(Refused::value(format!("at most {MOST} operations in one call")));
    }
    let mut changes = Vec::new();
    for operation in operations {
        take_apart(operation, &mut changes)?;
    }
    Ok(changes)
}

fn take_apart(operation: Value, changes: &mut Vec<Change>) -> Result<(), Refused> {
    let mut operation = Written::read(operation)?;
    let kind = match operation.take("op").as_ref().and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
        Some("add") => Kind::Add,
        Some("replace") => Kind::Replace,
        Some("remove") => Kind::Remove,
        _ => return Err(Refused::syntax("`op` must be `add`, `replace` or `remove`")),
    };
    let path = match operation.take("path") {
        None => None,
        Some(Value::String(path)) if path.len() <= LONGEST => Some(path),
        Some(_) => return Err(Refused::path("`path` is not a path")),
    };
    let value = operation.take("value").unwrap_or(Value::Null);
    match path {
        None if kind == Kind::Remove => Err(Refused::new(axum::http::StatusCode::BAD_REQUEST, Some("noTarget"), "`remove` needs a path")),
        None => whole(kind, None, value, changes),
        Some(path) if path.eq_ignore_ascii_case(ENTERPRISE) => match kind {
            Kind::Remove => {
                let others = PersonAttribute::ALL.into_iter().filter(|attribute| is_extended(*attribute)).map(PersonAttribute::name);
                for name in ["department", "manager"].into_iter().chain(others) {
                    changes.push(plain(kind, Some(ENTERPRISE), name.to_owned(), Value::Null, true));
                }
                Ok(())
            }
            _ => whole(kind, Some(ENTERPRISE), value, changes),
        },
        Some(path) => {
            let parsed = path.parse::<PatchPath>().map_err(|_| Refused::path("`path` is not a path"))?;
            changes.push(match parsed {
                PatchPath::Attr(path) => Change { kind, path, filtered: false, chosen: None, value, whole: false },
                PatchPath::Value(chosen) => {
                    let path = AttrPath { sub_attr: chosen.sub_attr.clone().or(chosen.attr.sub_attr), ..chosen.attr };
                    Change { kind, path, filtered: true, chosen: Some(chosen.filter), value, whole: false }
                }
            });
            Ok(())
        }
    }
}

/// A part of a resource: each attribute in it is one change.
fn whole(kind: Kind, uri: Option<&str>, value: Value, changes: &mut Vec<Change>) -> Result<(), Refused> {
    if is_nothing(&value) {
        return Err(Refused::value("`value` is required"));
    }
    for (name, value) in Written::read(value)?.rest() {
        if uri.is_none() && name.eq_ignore_ascii_case(ENTERPRISE) {
            whole(kind, Some(ENTERPRISE), value, changes)?;
        } else if uri.is_none() && (name.contains(':') || name.contains('.')) {
            // Some sources write whole paths here.
            if let Ok(PatchPath::Attr(path)) = name.parse::<PatchPath>() {
                changes.push(Change { kind, path, filtered: false, chosen: None, value, whole: true });
            }
        } else {
            changes.push(plain(kind, uri, name, value, true));
        }
    }
    Ok(())
}

fn plain(kind: Kind, uri: Option<&str>, name: String, value: Value, whole: bool) -> Change {
    let path = AttrPath { uri: uri.map(str::to_owned), name, sub_attr: None };
    Change { kind, path, filtered: false, chosen: None, value, whole }
}
