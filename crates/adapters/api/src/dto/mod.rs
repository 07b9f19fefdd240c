//! What goes over the wire: twins of the domain's types, joined to them by `From` and `TryFrom` at this edge.
//!
//! Server and command-line client use the same twins. Times are RFC 3339 texts in UTC, lengths of time are `30m`, identifiers and
//! digests are texts in their one spelling. Unknown fields in what comes in are refused.

mod access;
mod access_from;
mod administration;
mod estimate;
mod identity;
mod insights;
mod ledger;
mod policy;
mod resource;
mod session;
mod status;

pub use access::*;
pub use administration::*;
pub use estimate::*;
pub use identity::*;
pub use insights::*;
pub use ledger::*;
pub use policy::*;
pub use resource::*;
pub use session::*;
pub use status::*;

pub(crate) use policy::bundle;

use safeconduct_model::{PersonAttribute, text::printable};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem as RFC 9457 describes it (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:safeconduct:error:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    pub status: u16,
    /// What went wrong, for people.
    pub detail: String,
    /// Stable; each has a page in `docs/errors`.
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A value from outside that is not what it should be. Names the field, never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {what}")]
pub struct Unfit {
    pub field: &'static str,
    pub what: String,
}

impl Unfit {
    /// Names the field that `cause` is about.
    pub fn new(field: &'static str, cause: impl std::fmt::Display) -> Self {
        Self { field, what: cause.to_string() }
    }
}

/// Reads a text into its domain type, naming the field if it is unfit.
pub(crate) fn parse<T>(field: &'static str, text: &str) -> Result<T, Unfit>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|cause: T::Err| Unfit::new(field, cause))
}

/// Reads a line of words, naming the field if it is unfit.
pub(crate) fn words(field: &'static str, text: &str) -> Result<safeconduct_model::Words, Unfit> {
    safeconduct_model::Words::to_be_shown(text).map_err(|cause| Unfit::new(field, cause))
}

/// Reads what SCIM might say of a person, under a name that policy knows.
pub(crate) fn attribute(name: &str, value: &str) -> Result<(PersonAttribute, String), Unfit> {
    let known = PersonAttribute::ALL.map(PersonAttribute::name).join(", ");
    let found = PersonAttribute::ALL.into_iter().find(|attribute| attribute.name() == name);
    let attribute = found.ok_or_else(|| Unfit::new("attributes", format!("there is no `{}`; there are {known}", printable(name))))?;
    Ok((attribute, words("attributes", value)?.as_str().to_owned()))
}

/// Texts of a sequence of printable things.
pub(crate) fn texts<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}
