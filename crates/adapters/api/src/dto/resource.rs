//! Resources on the wire, as far as the caller may ask for them, and the secret that opens a door to one.

use std::{collections::BTreeMap, fmt};

use safeconduct_app::{DoorSecret, ResourceView};
use safeconduct_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Secret;

/// Something the caller may ask for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    pub name: String,
    pub kind: String,
    pub description: String,
    pub sensitivity: String,
    pub labels: BTreeMap<String, String>,
    pub operations: Vec<ResourceOperation>,
}

/// What one operation on it takes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceOperation {
    pub operation: String,
    /// True for one exact action, false for a time.
    pub exact: bool,
    /// `allow` or `need_approval`.
    pub outcome: String,
    /// Who must approve, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<String>,
}

/// Asks for the secret that opens the door.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

/// What a client needs to come through the door.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Door {
    pub host: String,
    pub port: u16,
    pub user: String,
    #[schema(value_type = String)]
    pub password: Secret,
    /// `RESOURCE` or `RESOURCE/DATABASE`.
    pub dbname: String,
    /// Root that the door's certificate is checked against.
    pub ca_pem: String,
    /// When the last live grant ends, as things stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("host", &self.host).field("port", &self.port).field("user", &self.user).finish_non_exhaustive()
    }
}

impl From<&ResourceView> for Resource {
    fn from(view: &ResourceView) -> Self {
        Self {
            name: view.name.to_string(),
            kind: view.kind.to_string(),
            description: view.description.clone(),
            sensitivity: view.sensitivity.to_owned(),
            labels: view.labels.clone(),
            operations: view
                .operations
                .iter()
                .map(|(operation, exact, outcome, max)| ResourceOperation {
                    operation: operation.to_string(),
                    exact: *exact,
                    outcome: match outcome {
                        model::Outcome::Allow => "allow",
                        model::Outcome::Deny => "deny",
                        model::Outcome::NeedApproval { .. } => "need_approval",
                    }
                    .to_owned(),
                    quorum: match outcome {
                        model::Outcome::NeedApproval { quorum } => Some(quorum.to_string()),
                        _ => None,
                    },
                    max_duration: max.map(|ttl| ttl.to_string()),
                })
                .collect(),
        }
    }
}

impl From<DoorSecret> for Door {
    fn from(secret: DoorSecret) -> Self {
        Self {
            host: secret.host,
            port: secret.port,
            user: secret.user.to_string(),
            password: Secret(secret.password),
            dbname: secret.dbname,
            ca_pem: secret.ca_pem,
            valid_until: secret.valid_until.map(|at| at.to_string()),
        }
    }
}
