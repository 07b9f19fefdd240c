//! Who acts. What a principal may do is not here: it is policy's answer, never a role in code.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{GroupName, PrincipalName, Timestamp};

/// What sort of actor a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A human. Only people approve.
    Person,
    /// A program with a token of its own. Never approves.
    Workload,
}

/// A person or workload as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub name: PrincipalName,
    pub kind: PrincipalKind,
    /// How people write the name.
    pub display_name: String,
    pub created_at: Timestamp,
    /// Disabled principals ask nothing, approve nothing and hold nothing.
    pub disabled: bool,
    /// Groups, each with when the membership began.
    pub groups: BTreeMap<GroupName, Timestamp>,
    /// Where the person works, as a provisioning source says.
    pub department: Option<String>,
    /// Whom the person answers to, as a provisioning source says.
    pub manager: Option<Manager>,
    /// What else a provisioning source says of the person.
    pub attributes: BTreeMap<PersonAttribute, String>,
}

/// What a provisioning source may say of a person in one text, under the names of RFC 7643. What says who somebody is, or how to reach them,
/// is not among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PersonAttribute {
    CostCenter,
    Division,
    EmployeeNumber,
    Organization,
    Title,
    UserType,
}

/// Somebody's manager: there may be nobody of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    pub name: PrincipalName,
    pub since: Timestamp,
}

impl PersonAttribute {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 6] = [Self::CostCenter, Self::Division, Self::EmployeeNumber, Self::Organization, Self::Title, Self::UserType];

    /// Its name in RFC 7643, and in policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CostCenter => "costCenter",
            Self::Division => "division",
            Self::EmployeeNumber => "employeeNumber",
            Self::Organization => "organization",
            Self::Title => "title",
            Self::UserType => "userType",
        }
    }

    /// The one of this name, in any case: names of attributes are alike in all (RFC 7643, section 2.1).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name))
    }
}

impl Principal {
    /// True if a member of `group` now.
    #[must_use]
    pub fn is_in(&self, group: &GroupName) -> bool {
        self.groups.contains_key(group)
    }

    /// The manager this principal already had at `moment`.
    #[must_use]
    pub fn manager_since_before(&self, moment: Timestamp) -> Option<&PrincipalName> {
        self.manager.as_ref().filter(|manager| manager.since <= moment).map(|manager| &manager.name)
    }

    /// The groups this principal already was in at `moment`: who joins after an asking does not count for it.
    #[must_use]
    pub fn groups_since_before(&self, moment: Timestamp) -> Vec<GroupName> {
        self.groups.iter().filter(|(_, since)| **since <= moment).map(|(group, _)| group.clone()).collect()
    }
}
