//! Changes to the gateway itself on the wire. Each is asked for like anything else and applied only when it is approved.

use std::collections::BTreeSet;

use safeconduct_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Secret, Unfit, parse, words};

/// Asks for a change to people, groups or workloads.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskChange {
    pub change: Change,
    pub reason: String,
}

/// The change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    CreatePerson {
        name: String,
        display_name: String,
    },
    CreateWorkload {
        name: String,
        display_name: String,
        /// What its token is narrowed to: `read`, `request`, `ledger`. Everything the workload may if it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<Vec<String>>,
    },
    Disable {
        name: String,
    },
    Enable {
        name: String,
    },
    AddMember {
        group: String,
        name: String,
    },
    RemoveMember {
        group: String,
        name: String,
    },
    /// Lets the named principal choose a new secret by a one-time code.
    ResetSecret {
        name: String,
        /// What a workload's new token is narrowed to, as for a new workload.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<Vec<String>>,
    },
    /// Lets the named person sign approvals with this key: `ssh-ed25519 AAAA…`, a line of a `.pub` file.
    EnrolKey {
        name: String,
        key: String,
    },
    /// What this key signed counts no longer.
    RemoveKey {
        name: String,
        key: String,
    },
    /// Undoes the link between a person and a subject of an identity provider: sign-ins by it end at once.
    UnlinkIdentity {
        name: String,
        issuer: String,
        subject: String,
    },
    /// Lifts the freeze after the clock was found behind.
    ConfirmClock,
}

impl TryFrom<Change> for model::Change {
    type Error = Unfit;
    fn try_from(change: Change) -> Result<Self, Unfit> {
        let display = |text: &str| words("change.display_name", text).map(String::from);
        let name = |text: &str| parse("change.name", text);
        let group = |text: &str| parse("change.group", text);
        let scopes = |all: Option<Vec<String>>| {
            let one = |text: &String| parse::<model::TokenScope>("change.scopes", text);
            let all = all.map(|all| all.iter().map(one).collect::<Result<BTreeSet<_>, _>>()).transpose()?;
            all.map(model::TokenScopes::try_from).transpose().map_err(|cause| Unfit::new("change.scopes", cause))
        };
        Ok(match change {
            Change::CreatePerson { name: n, display_name } => Self::CreatePerson { name: name(&n)?, display_name: display(&display_name)? },
            Change::CreateWorkload { name: n, display_name, scopes: s } => {
                Self::CreateWorkload { name: name(&n)?, display_name: display(&display_name)?, scopes: scopes(s)? }
            }
            Change::Disable { name: n } => Self::Disable { name: name(&n)? },
            Change::Enable { name: n } => Self::Enable { name: name(&n)? },
            Change::AddMember { group: g, name: n } => Self::AddMember { group: group(&g)?, name: name(&n)? },
            Change::RemoveMember { group: g, name: n } => Self::RemoveMember { group: group(&g)?, name: name(&n)? },
            Change::ResetSecret { name: n, scopes: s } => Self::ResetSecret { name: name(&n)?, scopes: scopes(s)? },
            Change::EnrolKey { name: n, key } => Self::EnrolKey { name: name(&n)?, key: without_comment(&key) },
            Change::RemoveKey { name: n, key } => Self::RemoveKey { name: name(&n)?, key: without_comment(&key) },
            Change::UnlinkIdentity { name: n, issuer, subject } => Self::UnlinkIdentity { name: name(&n)?, issuer, subject },
            Change::ConfirmClock => Self::ConfirmClock,
        })
    }
}

/// Type and key alone: the comment of a `.pub` file is nobody's business.
fn without_comment(line: &str) -> String {
    line.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// A secret that is handed out once, after an approved change.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct OneTime {
    /// `code`: a person chooses a password with it. `token`: a workload signs in with it.
    pub kind: String,
    pub name: String,
    #[schema(value_type = String)]
    pub secret: Secret,
    pub valid_until: String,
}

impl std::fmt::Debug for OneTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTime").field("kind", &self.kind).field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<safeconduct_app::OneTime> for OneTime {
    fn from(one_time: safeconduct_app::OneTime) -> Self {
        let (kind, name, secret, expires_at) = match one_time {
            safeconduct_app::OneTime::Code { name, code, expires_at } => ("code", name, code, expires_at),
            safeconduct_app::OneTime::Token { name, token, expires_at, .. } => ("token", name, token, expires_at),
        };
        Self { kind: kind.to_owned(), name: name.to_string(), secret: Secret(secret), valid_until: expires_at.to_string() }
    }
}
