//! What a caller may say about an answer: which page, which attributes.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    MOST_PER_PAGE,
    answer::Refused,
    groups::GROUP,
    people::{ENTERPRISE, USER},
};

/// Most attributes that are named.
const MOST_NAMED: usize = 50;

/// Parameters of a query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    pub filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

/// The same in the body of a search.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Search {
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<Vec<String>>,
    excluded_attributes: Option<Vec<String>>,
}

impl From<Search> for Query {
    fn from(search: Search) -> Self {
        let Search { filter, start_index, count, attributes, excluded_attributes } = search;
        let joined = |names: Option<Vec<String>>| names.map(|names| names.join(","));
        Self { filter, start_index, count, attributes: joined(attributes), excluded_attributes: joined(excluded_attributes) }
    }
}

/// Which attributes are answered with. `id` and `schemas` always are.
pub(crate) enum Selection {
    All,
    Only(Vec<String>),
    Without(Vec<String>),
}

impl Query {
    pub fn selection(&self) -> Result<Selection, Refused> {
        let names = |text: &str| -> Result<Vec<String>, Refused> {
            let names: Vec<String> = text.split(',').map(|name| plain(name.trim())).filter(|name| !name.is_empty()).collect();
            if names.len() > MOST_NAMED { Err(Refused::value("too many attributes are named")) } else { Ok(names) }
        };
        match (&self.attributes, &self.excluded_attributes) {
            (None, None) => Ok(Selection::All),
            (Some(only), None) => Ok(Selection::Only(names(only)?)),
            (None, Some(without)) => Ok(Selection::Without(names(without)?)),
            (Some(_), Some(_)) => Err(Refused::value("`attributes` and `excludedAttributes` exclude each other")),
        }
    }

    /// The page of `all` that is asked for, as a list of the protocol.
    pub fn page<T>(&self, all: &[T], write: impl Fn(&T) -> Value) -> Value {
        // RFC 7644, section 3.4.2.4: less than the least is the least.
        let start = usize::try_from(self.start_index.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
        let count = self.count.map_or(MOST_PER_PAGE, |count| usize::try_from(count.max(0)).unwrap_or(MOST_PER_PAGE)).min(MOST_PER_PAGE);
        let resources: Vec<Value> = all.iter().skip(start - 1).take(count).map(write).collect();
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": all.len(),
            "startIndex": start,
            "itemsPerPage": resources.len(),
            "Resources": resources,
        })
    }
}

/// A name without the schema it is in, folded.
fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    for schema in [ENTERPRISE, USER, GROUP] {
        if let Some(rest) = name.strip_prefix(&schema.to_ascii_lowercase()) {
            return rest.strip_prefix(':').map_or(name.clone(), str::to_owned);
        }
    }
    name
}

impl Selection {
    /// Leaves out what is not asked for.
    pub fn apply(&self, mut object: Map<String, Value>) -> Value {
        match self {
            Self::All => {}
            Self::Only(names) => keep(&mut object, true, |path| {
                matches!(path, "id" | "schemas") || names.iter().any(|name| name == path || is_part(name, path) || is_part(path, name))
            }),
            Self::Without(names) => {
                keep(&mut object, false, |path| matches!(path, "id" | "schemas") || !names.iter().any(|name| name == path))
            }
        }
        object.into()
    }
}

/// True if `whole` has `part` in it: `meta` has `meta.created`.
fn is_part(part: &str, whole: &str) -> bool {
    part.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'))
}

/// Keeps the attributes whose folded path is wanted; attributes of the extension are named like those of the core.
fn keep(object: &mut Map<String, Value>, named_alone: bool, wanted: impl Fn(&str) -> bool) {
    let extension = ENTERPRISE.to_ascii_lowercase();
    object.retain(|name, value| {
        let name = name.to_ascii_lowercase();
        match value {
            Value::Object(inner) if name == extension => {
                let whole = wanted(&extension);
                let inside = |name: &str| wanted(&name.to_ascii_lowercase());
                inner.retain(|name, _| if named_alone { whole || inside(name) } else { whole && inside(name) });
                !inner.is_empty()
            }
            Value::Object(inner) => {
                let before = inner.len();
                inner.retain(|inner, _| wanted(&format!("{name}.{}", inner.to_ascii_lowercase())));
                wanted(&name) && (before == 0 || !inner.is_empty())
            }
            _ => wanted(&name),
        }
    });
}
