//! Operations: the classes of acts that a grant holds, and sets of them.
//!
//! An operation's name is also its Cedar action id, its CLI spelling and its API value.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A class of acts. A grant holds a set of these; a statement needs a set of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Transaction control and harmless session settings. Every window grant includes it.
    Connect,
    /// Reading data, without any effect on it.
    Read,
    /// Changing data.
    Write,
    /// Creating, altering or dropping permanent objects.
    Ddl,
    /// Creating or using temporary objects.
    Temp,
    /// Roles, rights, server settings, maintenance.
    Admin,
    /// Acts that could not be understood. Only an exact approval passes them.
    Unknown,
    /// Everything, understood or not. Shown everywhere as unrestricted.
    Unrestricted,
    /// Creating, disabling and re-enabling people.
    ManagePeople,
    /// Changing who is in which group.
    ManageGroups,
    /// Creating and disabling workloads and issuing their tokens.
    ManageWorkloads,
    /// Activating a policy bundle.
    ApplyPolicy,
    /// Revoking grants and killing sessions of others.
    EndAccess,
    /// Reading the ledger, every access request and recordings of others.
    Audit,
}

impl Operation {
    /// Every operation, in order.
    pub const ALL: [Self; 14] = [
        Self::Connect,
        Self::Read,
        Self::Write,
        Self::Ddl,
        Self::Temp,
        Self::Admin,
        Self::Unknown,
        Self::Unrestricted,
        Self::ManagePeople,
        Self::ManageGroups,
        Self::ManageWorkloads,
        Self::ApplyPolicy,
        Self::EndAccess,
        Self::Audit,
    ];

    /// The name used in policy, CLI and API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Read => "read",
            Self::Write => "write",
            Self::Ddl => "ddl",
            Self::Temp => "temp",
            Self::Admin => "admin",
            Self::Unknown => "unknown",
            Self::Unrestricted => "unrestricted",
            Self::ManagePeople => "manage_people",
            Self::ManageGroups => "manage_groups",
            Self::ManageWorkloads => "manage_workloads",
            Self::ApplyPolicy => "apply_policy",
            Self::EndAccess => "end_access",
            Self::Audit => "audit",
        }
    }

    /// True for acts on the gateway itself (resource `safeconduct`).
    #[must_use]
    pub const fn is_administration(self) -> bool {
        matches!(self, Self::ManagePeople | Self::ManageGroups | Self::ManageWorkloads | Self::ApplyPolicy | Self::EndAccess | Self::Audit)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown operation `{0}`; operations are connect, read, write, ddl, temp, admin, unrestricted")]
pub struct UnknownOperation(pub String);

impl FromStr for Operation {
    type Err = UnknownOperation;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|op| op.name() == text).ok_or_else(|| UnknownOperation(text.to_owned()))
    }
}

/// A set of operations, always in one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationSet(BTreeSet<Operation>);

impl OperationSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Adds one operation.
    pub fn insert(&mut self, operation: Operation) {
        self.0.insert(operation);
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().copied());
    }

    /// True if `operation` is in the set.
    #[must_use]
    pub fn contains(&self, operation: Operation) -> bool {
        self.0.contains(&operation)
    }

    /// True if a grant that holds `self` passes an act that needs `needed`.
    ///
    /// `unrestricted` passes everything but administration; `connect` is in every non-empty set;
    /// `unknown` passes only under `unrestricted`, never because a window grant names it.
    #[must_use]
    pub fn covers(&self, needed: &Self) -> bool {
        !self.0.is_empty()
            && needed.iter().all(|op| match op {
                _ if op.is_administration() => self.contains(op),
                Operation::Connect => true,
                Operation::Unknown => self.contains(Operation::Unrestricted),
                _ => self.contains(op) || self.contains(Operation::Unrestricted),
            })
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = Operation> + '_ {
        self.0.iter().copied()
    }

    /// True if nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many operations are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<I: IntoIterator<Item = Operation>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl fmt::Display for OperationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for op in self.iter() {
            if !first {
                f.write_str("+")?;
            }
            first = false;
            f.write_str(op.name())?;
        }
        Ok(())
    }
}
