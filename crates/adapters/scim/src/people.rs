//! People as SCIM users: which attributes are kept, how they are read and written down.

use std::collections::BTreeMap;

use safeconduct_app::{Provisioned, Said};
use safeconduct_model::PersonAttribute;
use scim_v2::filter::AttrPath;
use serde_json::{Map, Value, json};

use crate::{
    answer::Refused,
    patch::{Change, Kind},
    written::{Written, text, truth},
};

pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Attributes of RFC 7643 that sources send and the gateway has no use for: they are dropped, never an error.
const NOT_KEPT: [&str; 16] = [
    "name",
    "nickname",
    "profileurl",
    "preferredlanguage",
    "locale",
    "timezone",
    "password",
    "emails",
    "phonenumbers",
    "ims",
    "photos",
    "addresses",
    "entitlements",
    "roles",
    "x509certificates",
    "schemas",
];
/// Attributes that only the gateway sets.
const READ_ONLY: [&str; 3] = ["id", "meta", "groups"];

/// An attribute of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    UserName,
    DisplayName,
    ExternalId,
    Active,
    Department,
    Manager,
    /// One that policy is given as it is.
    Plain(PersonAttribute),
    ReadOnly,
    NotKept,
}

impl Attribute {
    /// The attribute a path names. `None` for what no schema knows.
    pub fn of(path: &AttrPath) -> Option<Self> {
        let within = match &path.uri {
            None => None,
            Some(uri) if uri.eq_ignore_ascii_case(USER) => Some(false),
            Some(uri) if uri.eq_ignore_ascii_case(ENTERPRISE) => Some(true),
            Some(_) => return None,
        };
        let name = path.name.to_ascii_lowercase();
        let found = match name.as_str() {
            "username" => Self::UserName,
            "displayname" => Self::DisplayName,
            "externalid" => Self::ExternalId,
            "active" => Self::Active,
            "department" => Self::Department,
            "manager" => Self::Manager,
            known if READ_ONLY.contains(&known) => Self::ReadOnly,
            known if NOT_KEPT.contains(&known) => Self::NotKept,
            other => Self::Plain(PersonAttribute::named(other)?),
        };
        let extended = match found {
            Self::Department | Self::Manager => true,
            Self::Plain(attribute) => is_extended(attribute),
            _ => false,
        };
        if within.is_some_and(|within| within != extended && found != Self::NotKept) {
            return None;
        }
        match (&path.sub_attr, found) {
            (None, _) | (Some(_), Self::ReadOnly | Self::NotKept) => Some(found),
            (Some(sub), Self::Manager) => match sub.to_ascii_lowercase().as_str() {
                "value" => Some(Self::Manager),
                "$ref" | "displayname" => Some(Self::NotKept),
                _ => None,
            },
            (Some(_), _) => None,
        }
    }
}

/// True if it is one of the enterprise extension.
pub(crate) const fn is_extended(attribute: PersonAttribute) -> bool {
    !matches!(attribute, PersonAttribute::Title | PersonAttribute::UserType)
}

/// What a source says about a person as a whole. `before` is the last word, if there is one: who says nothing of `active` changes nothing.
pub(crate) fn read(body: Value, before: Option<&Provisioned>) -> Result<Said, Refused> {
    let mut body = Written::read(body)?;
    let mut extension = match body.take(ENTERPRISE) {
        Some(value) => Written::read(value)?,
        None => Written::read(json!({}))?,
    };
    let mut take = |name: &str| body.take(name).map_or(Ok(None), |value| text(name, value));
    let user_name = take("userName")?.ok_or_else(|| Refused::value("`userName` is required"))?;
    let (display_name, external_id) = (take("displayName")?, take("externalId")?);
    let display_name = match (display_name, body.take("name")) {
        (None, Some(name)) => name_of(name)?,
        (given, _) => given,
    };
    let active = match body.take("active") {
        Some(value) => truth("active", &value)?,
        None => before.is_none_or(|before| before.said.active),
    };
    let department = extension.take("department").map_or(Ok(None), |value| text("department", value))?;
    let manager = extension.take("manager").map_or(Ok(None), manager)?;
    let mut attributes = BTreeMap::new();
    for attribute in PersonAttribute::ALL {
        let within = if is_extended(attribute) { &mut extension } else { &mut body };
        if let Some(value) = within.take(attribute.name()) {
            attributes.extend(text(attribute.name(), value)?.map(|value| (attribute, value)));
        }
    }
    Ok(Said { user_name, display_name, external_id, department, manager, attributes, active })
}

/// A name of parts in one piece, for who gives no other.
fn name_of(name: Value) -> Result<Option<String>, Refused> {
    let mut name = Written::read(name)?;
    let mut take = |part: &str| name.take(part).map_or(Ok(None), |value| text(part, value));
    if let Some(whole) = take("formatted")? {
        return Ok(Some(whole));
    }
    let parts: Vec<String> = [take("givenName")?, take("familyName")?].into_iter().flatten().collect();
    Ok(Some(parts.join(" ")).filter(|whole| !whole.is_empty()))
}

/// A manager: an object with a value, or the value itself.
fn manager(value: Value) -> Result<Option<String>, Refused> {
    match value {
        Value::Object(_) => Written::read(value)?.take("value").map_or(Ok(None), |value| text("manager.value", value)),
        Value::Array(mut items) if items.len() == 1 && !items[0].is_array() => manager(items.remove(0)),
        other => text("manager", other),
    }
}

/// Applies one change to what was said.
pub(crate) fn patch(said: &mut Said, change: Change) -> Result<(), Refused> {
    let Change { kind, path, filtered, value, whole, .. } = change;
    let Some(attribute) = Attribute::of(&path) else {
        return if whole { Ok(()) } else { Err(Refused::path(format!("there is no attribute `{path}`"))) };
    };
    if filtered && attribute != Attribute::NotKept {
        return Err(Refused::path(format!("`{path}` has one value: nothing to choose from")));
    }
    match attribute {
        Attribute::NotKept => return Ok(()),
        Attribute::ReadOnly if whole => return Ok(()),
        Attribute::ReadOnly => return Err(Refused::mutability(format!("`{path}` can't be changed"))),
        _ => {}
    }
    let value = if kind == Kind::Remove { Value::Null } else { value };
    match attribute {
        Attribute::UserName => {
            said.user_name = text("userName", value)?.ok_or_else(|| Refused::value("`userName` is required"))?;
        }
        Attribute::DisplayName => said.display_name = text("displayName", value)?,
        Attribute::ExternalId => said.external_id = text("externalId", value)?,
        // Nobody becomes active by something that is left out.
        Attribute::Active if value.is_null() => return Err(Refused::value("`active` is required")),
        Attribute::Active => said.active = truth("active", &value)?,
        Attribute::Department => said.department = text("department", value)?,
        Attribute::Manager => said.manager = manager(value)?,
        Attribute::Plain(attribute) => {
            said.attributes.remove(&attribute);
            said.attributes.extend(text(attribute.name(), value)?.map(|value| (attribute, value)));
        }
        Attribute::ReadOnly | Attribute::NotKept => {}
    }
    Ok(())
}

/// The resource, without `meta`.
pub(crate) fn write(person: &Provisioned, base: &str) -> Map<String, Value> {
    let said = &person.said;
    let mut object = Map::new();
    let mut schemas = vec![USER];
    let mut extension = Map::new();
    if let Some(department) = &said.department {
        extension.insert("department".to_owned(), department.clone().into());
    }
    if let Some(manager) = &said.manager {
        extension.insert("manager".to_owned(), json!({ "value": manager }));
    }
    let plain = |extended: bool| {
        let of_schema = said.attributes.iter().filter(move |(attribute, _)| is_extended(**attribute) == extended);
        of_schema.map(|(attribute, value)| (attribute.name().to_owned(), Value::from(value.as_str())))
    };
    extension.extend(plain(true));
    if !extension.is_empty() {
        schemas.push(ENTERPRISE);
    }
    object.insert("schemas".to_owned(), schemas.into());
    object.insert("id".to_owned(), person.name.as_str().into());
    if let Some(external_id) = &said.external_id {
        object.insert("externalId".to_owned(), external_id.clone().into());
    }
    object.insert("userName".to_owned(), said.user_name.clone().into());
    if let Some(display_name) = &said.display_name {
        object.insert("displayName".to_owned(), display_name.clone().into());
    }
    object.extend(plain(false));
    object.insert("active".to_owned(), said.active.into());
    if !person.groups.is_empty() {
        let groups =
            person.groups.iter().map(|group| json!({ "value": group, "$ref": format!("{base}/Groups/{group}"), "type": "direct" }));
        object.insert("groups".to_owned(), groups.collect());
    }
    if !extension.is_empty() {
        object.insert(ENTERPRISE.to_owned(), extension.into());
    }
    object
}
