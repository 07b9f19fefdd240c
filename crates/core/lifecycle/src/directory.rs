//! People, workloads and groups, as events made them. Every change counts the roster epoch up.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_model::{GroupName, Principal, PrincipalKind, PrincipalName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::access::Actor;

/// Everybody the gateway knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    principals: BTreeMap<PrincipalName, Principal>,
    /// People by issuer and subject, and since when.
    links: BTreeMap<(String, String), (PrincipalName, Timestamp)>,
    /// Keys that sign approvals, each with whose it is and since when.
    keys: BTreeMap<String, (PrincipalName, Timestamp)>,
    /// Counts changes.
    pub epoch: u64,
}

/// What happens to the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DirectoryEvent {
    PersonCreated {
        name: PrincipalName,
        display_name: String,
        at: Timestamp,
        by: Actor,
    },
    WorkloadCreated {
        name: PrincipalName,
        display_name: String,
        at: Timestamp,
        by: Actor,
    },
    PrincipalDisabled {
        name: PrincipalName,
        at: Timestamp,
        by: Actor,
    },
    PrincipalEnabled {
        name: PrincipalName,
        at: Timestamp,
        by: Actor,
    },
    MemberAdded {
        group: GroupName,
        name: PrincipalName,
        at: Timestamp,
        by: Actor,
    },
    MemberRemoved {
        group: GroupName,
        name: PrincipalName,
        at: Timestamp,
        by: Actor,
    },
    /// A one-time code was made with which the principal chooses a new secret; the old one stops working.
    SecretReset {
        name: PrincipalName,
        at: Timestamp,
        by: Actor,
    },
    /// The person may sign approvals with this key: a line as OpenSSH writes it, without its comment.
    KeyEnrolled {
        name: PrincipalName,
        key: String,
        at: Timestamp,
        by: Actor,
    },
    /// What the key signed counts no longer.
    KeyRemoved {
        name: PrincipalName,
        key: String,
        at: Timestamp,
        by: Actor,
    },
    /// Whoever the issuer calls so is this person from now on.
    IdentityLinked {
        name: PrincipalName,
        issuer: String,
        subject: String,
        at: Timestamp,
        by: Actor,
    },
    /// The link is undone: whoever the issuer calls so is nobody here, and what it vouched for so is over.
    IdentityUnlinked {
        name: PrincipalName,
        issuer: String,
        subject: String,
        at: Timestamp,
        by: Actor,
    },
}

impl DirectoryEvent {
    /// The event's name in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::PersonCreated { .. } => "person_created",
            Self::WorkloadCreated { .. } => "workload_created",
            Self::PrincipalDisabled { .. } => "principal_disabled",
            Self::PrincipalEnabled { .. } => "principal_enabled",
            Self::MemberAdded { .. } => "member_added",
            Self::MemberRemoved { .. } => "member_removed",
            Self::SecretReset { .. } => "secret_reset",
            Self::KeyEnrolled { .. } => "key_enrolled",
            Self::KeyRemoved { .. } => "key_removed",
            Self::IdentityLinked { .. } => "identity_linked",
            Self::IdentityUnlinked { .. } => "identity_unlinked",
        }
    }
}

/// The group whose members may administer the gateway.
pub const ADMINISTRATORS: &str = "administrators";

impl Directory {
    /// The principal of this name.
    #[must_use]
    pub fn find(&self, name: &PrincipalName) -> Option<&Principal> {
        self.principals.get(name)
    }

    /// The person whom this issuer knows under this subject.
    #[must_use]
    pub fn linked(&self, issuer: &str, subject: &str) -> Option<&Principal> {
        self.links.get(&(issuer.to_owned(), subject.to_owned())).and_then(|(name, _)| self.find(name))
    }

    /// True if the issuer's subject is this person, and has been since this time.
    #[must_use]
    pub fn is_linked(&self, name: &PrincipalName, issuer: &str, subject: &str, since: Timestamp) -> bool {
        let link = self.links.get(&(issuer.to_owned(), subject.to_owned()));
        link.is_some_and(|(linked, at)| linked == name && *at <= since)
    }

    /// Who this person is elsewhere: issuers and subjects.
    pub fn identities<'a>(&'a self, name: &'a PrincipalName) -> impl Iterator<Item = (&'a str, &'a str)> {
        let theirs = self.links.iter().filter(move |(_, (linked, _))| linked == name);
        theirs.map(|((issuer, subject), _)| (issuer.as_str(), subject.as_str()))
    }

    /// Whose key this is.
    #[must_use]
    pub fn key_of(&self, key: &str) -> Option<&PrincipalName> {
        self.keys.get(key).map(|(name, _)| name)
    }

    /// The keys somebody may sign approvals with, and since when.
    pub fn keys_of<'a>(&'a self, name: &'a PrincipalName) -> impl Iterator<Item = (&'a str, Timestamp)> {
        self.keys.iter().filter(move |(_, (of, _))| of == name).map(|(key, (_, since))| (key.as_str(), *since))
    }

    /// Everybody, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Principal> {
        self.principals.values()
    }

    /// Every group with its members, by name.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<GroupName, BTreeSet<PrincipalName>> {
        let mut groups: BTreeMap<GroupName, BTreeSet<PrincipalName>> = BTreeMap::new();
        for principal in self.principals.values() {
            for group in principal.groups.keys() {
                groups.entry(group.clone()).or_default().insert(principal.name.clone());
            }
        }
        groups
    }

    /// Enabled people in the group of administrators, other than `except`.
    #[must_use]
    pub fn administrators_other_than(&self, except: Option<&PrincipalName>) -> usize {
        self.iter()
            .filter(|p| p.kind == PrincipalKind::Person && !p.disabled && Some(&p.name) != except)
            .filter(|p| p.groups.keys().any(|g| g.as_str() == ADMINISTRATORS))
            .count()
    }

    /// Applies one event. Cannot fail.
    pub fn evolve(&mut self, event: &DirectoryEvent) {
        self.epoch += 1;
        match event {
            DirectoryEvent::PersonCreated { name, display_name, at, .. } => self.create(name, PrincipalKind::Person, display_name, *at),
            DirectoryEvent::WorkloadCreated { name, display_name, at, .. } => self.create(name, PrincipalKind::Workload, display_name, *at),
            DirectoryEvent::PrincipalDisabled { name, .. } => self.change(name, |p| p.disabled = true),
            DirectoryEvent::PrincipalEnabled { name, .. } => self.change(name, |p| p.disabled = false),
            DirectoryEvent::MemberAdded { group, name, at, .. } => self.change(name, |p| {
                p.groups.entry(group.clone()).or_insert(*at);
            }),
            DirectoryEvent::MemberRemoved { group, name, .. } => self.change(name, |p| {
                p.groups.remove(group);
            }),
            DirectoryEvent::SecretReset { .. } => {}
            DirectoryEvent::KeyEnrolled { name, key, at, .. } => {
                // The first stands: one key is one person's.
                self.keys.entry(key.clone()).or_insert_with(|| (name.clone(), *at));
            }
            DirectoryEvent::KeyRemoved { name, key, .. } => {
                if self.key_of(key) == Some(name) {
                    self.keys.remove(key);
                }
            }
            DirectoryEvent::IdentityLinked { name, issuer, subject, at, .. } => {
                // The first link stands until it is undone: a later one never makes somebody out of somebody else.
                self.links.entry((issuer.clone(), subject.clone())).or_insert_with(|| (name.clone(), *at));
            }
            DirectoryEvent::IdentityUnlinked { name, issuer, subject, .. } => {
                let link = (issuer.clone(), subject.clone());
                if self.links.get(&link).is_some_and(|(linked, _)| linked == name) {
                    self.links.remove(&link);
                }
            }
        }
    }

    fn create(&mut self, name: &PrincipalName, kind: PrincipalKind, display_name: &str, at: Timestamp) {
        self.principals.entry(name.clone()).or_insert_with(|| Principal {
            name: name.clone(),
            kind,
            display_name: display_name.to_owned(),
            created_at: at,
            disabled: false,
            groups: BTreeMap::new(),
        });
    }

    fn change(&mut self, name: &PrincipalName, change: impl FnOnce(&mut Principal)) {
        if let Some(principal) = self.principals.get_mut(name) {
            change(principal);
        }
    }
}
