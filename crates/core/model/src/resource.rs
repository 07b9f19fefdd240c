//! What is protected, as the policy bundle describes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{GroupName, Operation, ResourceName, Ttl};

/// A protected thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub name: ResourceName,
    pub kind: ResourceKind,
    pub description: String,
    pub owner: Option<GroupName>,
    pub labels: BTreeMap<String, String>,
    pub sensitivity: Sensitivity,
    /// IANA time zone in which policy sees hour and weekday.
    pub time_zone: String,
}

/// How much harm misuse does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    Low,
    #[default]
    Medium,
    High,
}

impl Sensitivity {
    /// The name used in resource files and policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What sort of thing it is, with what its door needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a handful of resources, each behind an `Arc`")]
pub enum ResourceKind {
    Postgres(Postgres),
    /// The gateway itself: people, groups, workloads and policy.
    Safeconduct,
}

impl ResourceKind {
    /// The name used in resource files and policy.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Safeconduct => "safeconduct",
        }
    }
}

/// A PostgreSQL server behind the PostgreSQL door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    pub host: String,
    pub port: u16,
    /// Database used when a client names none.
    pub database: String,
    /// Databases that may be named; empty allows `database` alone.
    pub databases: BTreeSet<String>,
    pub tls: UpstreamTls,
    pub credentials: Credentials,
    /// Schemas in order; the gateway adds `pg_temp` last.
    pub search_path: Vec<String>,
    /// `schema.name` or `schema.name(args)` to the operation a call needs.
    pub functions: BTreeMap<String, Operation>,
    /// Allows grants of the operation `unrestricted`.
    pub danger_unrestricted: bool,
    /// Longest hold outside a transaction.
    pub hold: Ttl,
    /// Longest hold inside a transaction.
    pub hold_in_transaction: Ttl,
}

/// How the gateway speaks TLS to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// Certificate and host name are checked against these PEM roots.
    VerifyFull { ca_file: String, server_name: Option<String> },
    /// No TLS: named a danger in the resource file.
    DangerDisabled,
}

/// Where the upstream login comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// One stored login. The secret is a reference, never a value.
    Static { user: String, password: SecretRef },
    /// A login role per session, made and retired by the gateway's own account.
    Minted(Minted),
}

/// What the names of sessions' login roles begin with; the session's id follows.
pub const SESSION_ROLE_PREFIX: &str = "safeconduct_";

/// How login roles are made: by whom, and what each operation gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The gateway's own account: may create roles, is no superuser.
    pub user: String,
    pub password: SecretRef,
    /// The group roles of which a session's role is a member while a grant gives the operation. What is not here gives nothing.
    pub roles: BTreeMap<Operation, BTreeSet<String>>,
    /// Who gets what a session's role owns when it is retired; the gateway's own account if `None`.
    pub owner: Option<String>,
}

impl Credentials {
    /// The stored login: the one all sessions share, or the gateway's own account.
    #[must_use]
    pub const fn stored(&self) -> (&String, &SecretRef) {
        match self {
            Self::Static { user, password } | Self::Minted(Minted { user, password, .. }) => (user, password),
        }
    }

    /// How login roles are made, if each session gets one.
    #[must_use]
    pub const fn minted(&self) -> Option<&Minted> {
        match self {
            Self::Static { .. } => None,
            Self::Minted(minted) => Some(minted),
        }
    }
}

/// A reference to a secret: `env:NAME` or `file:/path`. Never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    Env(String),
    File(String),
}

/// A text that is no reference to a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reference to a secret; write `env:NAME` or `file:/absolute/path`")]
pub struct InvalidSecretRef;

impl std::str::FromStr for SecretRef {
    type Err = InvalidSecretRef;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.to_owned())),
            _ => Err(InvalidSecretRef),
        }
    }
}

impl Resource {
    /// The PostgreSQL settings, if it is a PostgreSQL server.
    #[must_use]
    pub const fn postgres(&self) -> Option<&Postgres> {
        match &self.kind {
            ResourceKind::Postgres(postgres) => Some(postgres),
            ResourceKind::Safeconduct => None,
        }
    }

    /// The name of the resource that stands for the gateway itself.
    pub const SAFECONDUCT: &'static str = "safeconduct";
}
