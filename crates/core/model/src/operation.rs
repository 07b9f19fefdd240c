//! Operations: the classes of acts that a grant holds, and sets of them.
//!
//! An operation's name is also its Cedar action id, its CLI spelling and its API value.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    /// Its place in a set: the order of [`Operation::ALL`].
    const fn bit(self) -> u16 {
        1 << self as u16
    }

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

/// A set of operations, always in one order. As small as a number: every statement carries some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OperationSet(u16);

impl OperationSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds one operation.
    pub const fn insert(&mut self, operation: Operation) {
        self.0 |= operation.bit();
    }

    /// Adds all of `other`.
    pub const fn extend(&mut self, other: &Self) {
        self.0 |= other.0;
    }

    /// True if `operation` is in the set.
    #[must_use]
    pub const fn contains(&self, operation: Operation) -> bool {
        self.0 & operation.bit() != 0
    }

    /// True if a grant that holds `self` passes an act that needs `needed`.
    ///
    /// `unrestricted` passes everything but administration; `connect` is in every non-empty set;
    /// `unknown` passes only under `unrestricted`, never because a window grant names it.
    #[must_use]
    pub fn covers(&self, needed: &Self) -> bool {
        !self.is_empty()
            && needed.iter().all(|op| match op {
                _ if op.is_administration() => self.contains(op),
                Operation::Connect => true,
                Operation::Unknown => self.contains(Operation::Unrestricted),
                _ => self.contains(op) || self.contains(Operation::Unrestricted),
            })
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = Operation> + '_ {
        Operation::ALL.into_iter().filter(|op| self.contains(*op))
    }

    /// True if nothing is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// How many operations are in the set.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.count_ones() as usize
    }
}

impl PartialOrd for OperationSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By members in order, as lists are compared.
impl Ord for OperationSet {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Serialize for OperationSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for OperationSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Operation>::deserialize(deserializer).map(|operations| operations.into_iter().collect())
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<I: IntoIterator<Item = Operation>>(iter: I) -> Self {
        let mut set = Self::new();
        iter.into_iter().for_each(|operation| set.insert(operation));
        set
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
