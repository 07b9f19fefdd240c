//! Actions and scopes: what exactly is asked for. The canonical form of an action is what people see, approve and what runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{CopyData, Digest, GroupName, OperationSet, PrincipalName, ResourceName, TokenScope, TokenScopes, UnfitText, text};

/// One concrete act with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    Sql(SqlAction),
    Administration(Change),
}

/// A statement text with everything that gives it its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlAction {
    pub database: String,
    /// The exact text. It may hold several statements; all of it is one action.
    pub text: String,
    /// Bound parameters in order; empty for the simple protocol.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Session settings that change meaning and differ from what the gateway pins.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What a `COPY … FROM STDIN` copies, which came whole before anybody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_data: Option<CopyData>,
}

/// One bound parameter: what was sent, and how people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Type OID as declared in Parse; 0 if the server was to infer it.
    pub type_oid: u32,
    /// True for the binary format.
    pub binary: bool,
    /// The bytes as sent, in hexadecimal; `None` for NULL.
    pub hex: Option<String>,
    /// The value as text; `None` for NULL.
    pub shown: Option<String>,
}

/// A change to the gateway itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    CreatePerson {
        name: PrincipalName,
        display_name: String,
    },
    CreateWorkload {
        name: PrincipalName,
        display_name: String,
        /// What its token is narrowed to; everything the workload may if it is `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<TokenScopes>,
    },
    Disable {
        name: PrincipalName,
    },
    Enable {
        name: PrincipalName,
    },
    AddMember {
        group: GroupName,
        name: PrincipalName,
    },
    RemoveMember {
        group: GroupName,
        name: PrincipalName,
    },
    /// Lets the named principal choose a new password or token by a one-time code.
    ResetSecret {
        name: PrincipalName,
        /// What a workload's new token is narrowed to; `None` for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<TokenScopes>,
    },
    /// Lets the named person sign approvals with this key: a line as OpenSSH writes it, without its comment.
    EnrolKey {
        name: PrincipalName,
        key: String,
    },
    /// What this key signed counts no longer.
    RemoveKey {
        name: PrincipalName,
        key: String,
    },
    /// Whoever the issuer calls so is not this person any more; sign-ins that were vouched for so end.
    UnlinkIdentity {
        name: PrincipalName,
        issuer: String,
        subject: String,
    },
    /// Activates the bundle with this hash; its files are stored beside the access request.
    ApplyPolicy {
        hash: Digest,
    },
    /// Lifts the freeze after the clock was found behind.
    ConfirmClock,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum Scope {
    /// One action, run once.
    Exact { action: Action, needs: OperationSet },
    /// A set of operations for a duration, optionally narrowed.
    Window {
        operations: OperationSet,
        #[serde(default, skip_serializing_if = "Narrowing::is_everything")]
        narrow: Narrowing,
    },
}

/// Bounds within a resource. Empty sets bound nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrowing {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub databases: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub schemas: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tables: BTreeSet<String>,
}

impl Narrowing {
    /// Checks that every bound can be shown to an approver as it is.
    ///
    /// # Errors
    /// [`UnfitText`] names the first character that could deceive.
    pub fn check_shown(&self) -> Result<(), UnfitText> {
        self.databases.iter().chain(&self.schemas).chain(&self.tables).try_for_each(|name| text::check_value(name))
    }

    /// True if nothing is bounded.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.databases.is_empty() && self.schemas.is_empty() && self.tables.is_empty()
    }
}

impl Scope {
    /// The operations policy is asked about.
    #[must_use]
    pub const fn operations(&self) -> &OperationSet {
        match self {
            Self::Exact { needs, .. } => needs,
            Self::Window { operations, .. } => operations,
        }
    }

    /// Checks that every part can be shown to an approver as it is.
    ///
    /// # Errors
    /// [`UnfitText`] names the first character that could deceive.
    pub fn check_shown(&self) -> Result<(), UnfitText> {
        match self {
            Self::Exact { action, .. } => action.check_shown(),
            Self::Window { narrow, .. } => narrow.check_shown(),
        }
    }

    /// True for one action, run once.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self, Self::Exact { .. })
    }
}

impl Action {
    /// Digest of the canonical action: resource and action together.
    ///
    /// # Errors
    /// [`crate::NotCanonical`] never for values made here.
    pub fn digest(&self, resource: &ResourceName) -> Result<Digest, crate::NotCanonical> {
        Digest::of(&(resource, self))
    }

    /// Checks that every part can be shown to an approver as it is: nothing hides, reorders or passes for something else.
    ///
    /// # Errors
    /// [`UnfitText`] names the first character that could deceive.
    pub fn check_shown(&self) -> Result<(), UnfitText> {
        match self {
            Self::Sql(sql) => {
                let lines = sql.copy_data.iter().flat_map(|data| data.first_lines.iter().map(String::as_str));
                let parameters = sql.parameters.iter().filter_map(|parameter| parameter.shown.as_deref());
                let settings = sql.settings.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
                let texts = [sql.text.as_str(), &sql.database].into_iter().chain(parameters).chain(lines).chain(settings);
                texts.into_iter().try_for_each(text::check_value)
            }
            Self::Administration(Change::CreatePerson { display_name, .. } | Change::CreateWorkload { display_name, .. }) => {
                crate::Words::to_be_shown(display_name).map(drop)
            }
            Self::Administration(Change::EnrolKey { key, .. } | Change::RemoveKey { key, .. }) => text::check_value(key),
            Self::Administration(Change::UnlinkIdentity { issuer, subject, .. }) => {
                [issuer, subject].into_iter().try_for_each(|text| crate::Words::to_be_shown(text).map(drop))
            }
            Self::Administration(_) => Ok(()),
        }
    }
}

impl Change {
    /// The operation this change needs on the resource `safeconduct`.
    #[must_use]
    pub const fn operation(&self) -> crate::Operation {
        match self {
            Self::CreatePerson { .. }
            | Self::Disable { .. }
            | Self::Enable { .. }
            | Self::ResetSecret { .. }
            | Self::EnrolKey { .. }
            | Self::RemoveKey { .. }
            | Self::UnlinkIdentity { .. } => crate::Operation::ManagePeople,
            Self::CreateWorkload { .. } => crate::Operation::ManageWorkloads,
            Self::AddMember { .. } | Self::RemoveMember { .. } => crate::Operation::ManageGroups,
            Self::ApplyPolicy { .. } | Self::ConfirmClock => crate::Operation::ApplyPolicy,
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CreatePerson { name, display_name } => write!(f, "create person `{name}` ({})", text::printable(display_name)),
            Self::CreateWorkload { name, display_name, scopes } => {
                write!(f, "create workload `{name}` ({}){}", text::printable(display_name), narrowed(scopes.as_ref()))
            }
            Self::Disable { name } => write!(f, "disable `{name}`"),
            Self::Enable { name } => write!(f, "enable `{name}`"),
            Self::AddMember { group, name } => write!(f, "add `{name}` to group `{group}`"),
            Self::RemoveMember { group, name } => write!(f, "remove `{name}` from group `{group}`"),
            Self::ResetSecret { name, scopes } => write!(f, "let `{name}` choose a new secret{}", narrowed(scopes.as_ref())),
            Self::EnrolKey { name, key } => write!(f, "let `{name}` sign approvals with the key {}", text::printable(key)),
            Self::RemoveKey { name, key } => write!(f, "no longer let `{name}` sign approvals with the key {}", text::printable(key)),
            Self::UnlinkIdentity { name, issuer, subject } => {
                write!(f, "unlink `{name}` from `{}` at `{}`", text::printable(subject), text::printable(issuer))
            }
            Self::ApplyPolicy { hash } => write!(f, "apply policy {hash}"),
            Self::ConfirmClock => f.write_str("confirm the clock"),
        }
    }
}

fn narrowed(scopes: Option<&TokenScopes>) -> String {
    scopes.map_or_else(String::new, |scopes| {
        format!("; its token is for {} alone", scopes.iter().map(TokenScope::name).collect::<Vec<_>>().join(", "))
    })
}
