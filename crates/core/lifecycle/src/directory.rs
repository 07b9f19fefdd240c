//! People, workloads and groups, as events made them. Every change counts the roster epoch up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use safeconduct_model::{GroupName, Manager, PersonAttribute, Principal, PrincipalKind, PrincipalName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::access::Actor;

/// Everybody the gateway knows. Copies share what they have in common: one costs the same however many people there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    principals: RedBlackTreeMapSync<PrincipalName, Principal>,
    /// People by issuer and subject, and since when.
    links: RedBlackTreeMapSync<(String, String), (PrincipalName, Timestamp)>,
    /// Keys that sign approvals, each with whose it is and since when.
    keys: RedBlackTreeMapSync<String, (PrincipalName, Timestamp)>,
    /// Who was disabled when they were made and never enabled since.
    waiting: RedBlackTreeSetSync<PrincipalName>,
    /// Who is in which group, the other way round.
    members: RedBlackTreeMapSync<GroupName, RedBlackTreeSetSync<PrincipalName>>,
    people: RedBlackTreeMapSync<PrincipalName, Described<PersonDescription>>,
    groups: RedBlackTreeMapSync<GroupName, Described<GroupDescription>>,
    /// Described people that were not removed, by source and folded user name.
    user_names: RedBlackTreeMapSync<(String, String), PrincipalName>,
    /// Counts changes.
    pub epoch: u64,
}

/// What a provisioning source says about somebody, as of its last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonDescription {
    /// Who made the person and decides about it, by its name in the settings.
    pub source: String,
    /// What the person is called there. May change; the name here does not.
    pub user_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// Whom the person answers to, in the source's words: it may name somebody who is not here yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// Who that is here, or would be: worked out when it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager_name: Option<PrincipalName>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<PersonAttribute, String>,
    /// The source knows nobody of this user name any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// What a provisioning source says about a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    pub source: String,
    pub display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// A description, and when what it is about last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described<T> {
    pub description: Arc<T>,
    pub since: Timestamp,
    pub changed_at: Timestamp,
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
    /// A provisioning source said something new about a person it made.
    PersonDescribed {
        name: PrincipalName,
        description: PersonDescription,
        at: Timestamp,
        by: Actor,
    },
    /// A provisioning source said something new about a group it decides about.
    GroupDescribed {
        group: GroupName,
        description: GroupDescription,
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
            Self::PersonDescribed { .. } => "person_described",
            Self::GroupDescribed { .. } => "group_described",
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

    /// True if an administrator has still to let them in: disabled since they were made, and not by a provisioning source, which enables whom
    /// it made.
    #[must_use]
    pub fn is_waiting(&self, name: &PrincipalName) -> bool {
        self.waiting.contains(name) && !self.people.contains_key(name)
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
        self.members.iter().map(|(group, members)| (group.clone(), members.iter().cloned().collect())).collect()
    }

    /// The members of one group, by name.
    pub fn members(&self, group: &GroupName) -> impl Iterator<Item = &Principal> {
        self.members.get(group).into_iter().flat_map(RedBlackTreeSetSync::iter).filter_map(|name| self.find(name))
    }

    /// Enabled people in the group of administrators, other than `except`.
    #[must_use]
    pub fn administrators_other_than(&self, except: Option<&PrincipalName>) -> usize {
        let Ok(group) = ADMINISTRATORS.parse::<GroupName>() else { return 0 };
        self.members(&group).filter(|p| p.kind == PrincipalKind::Person && !p.disabled && Some(&p.name) != except).count()
    }

    /// What a provisioning source says about this person, removed or not.
    #[must_use]
    pub fn described(&self, name: &PrincipalName) -> Option<&Described<PersonDescription>> {
        self.people.get(name)
    }

    /// Everybody whom some provisioning source made, removed or not, by name.
    pub fn described_people(&self) -> impl Iterator<Item = (&PrincipalName, &Described<PersonDescription>)> {
        self.people.iter()
    }

    /// Whom this source calls so, however it is spelt. Who was removed is not found.
    #[must_use]
    pub fn called(&self, source: &str, user_name: &str) -> Option<&PrincipalName> {
        self.user_names.get(&(source.to_owned(), user_name.to_lowercase()))
    }

    /// What a provisioning source says about this group, removed or not.
    #[must_use]
    pub fn described_group(&self, group: &GroupName) -> Option<&Described<GroupDescription>> {
        self.groups.get(group)
    }

    /// Every group that a provisioning source said something about, removed or not, by name.
    pub fn described_groups(&self) -> impl Iterator<Item = (&GroupName, &Described<GroupDescription>)> {
        self.groups.iter()
    }

    /// Applies one event. Cannot fail.
    pub fn evolve(&mut self, event: &DirectoryEvent) {
        self.epoch += 1;
        match event {
            DirectoryEvent::PersonCreated { name, display_name, at, .. } => self.create(name, PrincipalKind::Person, display_name, *at),
            DirectoryEvent::WorkloadCreated { name, display_name, at, .. } => self.create(name, PrincipalKind::Workload, display_name, *at),
            DirectoryEvent::PrincipalDisabled { name, at, .. } => {
                self.stand(name, true, *at);
                // As with every secret: who comes back begins anew.
                let theirs: Vec<String> = self.keys_of(name).map(|(key, _)| key.to_owned()).collect();
                for key in theirs {
                    self.keys.remove_mut(&key);
                }
            }
            DirectoryEvent::PrincipalEnabled { name, at, .. } => self.stand(name, false, *at),
            DirectoryEvent::MemberAdded { group, name, at, .. } => self.join(group, name, *at),
            DirectoryEvent::MemberRemoved { group, name, at, .. } => self.leave(group, name, *at),
            DirectoryEvent::SecretReset { .. } => {}
            DirectoryEvent::KeyEnrolled { name, key, at, .. } => {
                // The first stands: one key is one person's.
                if !self.keys.contains_key(key) {
                    self.keys.insert_mut(key.clone(), (name.clone(), *at));
                }
            }
            DirectoryEvent::KeyRemoved { name, key, .. } => {
                if self.key_of(key) == Some(name) {
                    self.keys.remove_mut(key);
                }
            }
            DirectoryEvent::IdentityLinked { name, issuer, subject, at, .. } => {
                // The first link stands until it is undone: a later one never makes somebody out of somebody else.
                let link = (issuer.clone(), subject.clone());
                if !self.links.contains_key(&link) {
                    self.links.insert_mut(link, (name.clone(), *at));
                }
            }
            DirectoryEvent::IdentityUnlinked { name, issuer, subject, .. } => {
                let link = (issuer.clone(), subject.clone());
                if self.links.get(&link).is_some_and(|(linked, _)| linked == name) {
                    self.links.remove_mut(&link);
                }
            }
            DirectoryEvent::PersonDescribed { name, description, at, .. } => self.describe(name, description, *at),
            DirectoryEvent::GroupDescribed { group, description, at, .. } => {
                let since = self.groups.get(group).map_or(*at, |before| before.since);
                self.groups.insert_mut(group.clone(), Described { description: Arc::new(description.clone()), since, changed_at: *at });
            }
        }
    }

    fn create(&mut self, name: &PrincipalName, kind: PrincipalKind, display_name: &str, at: Timestamp) {
        if self.principals.contains_key(name) {
            return;
        }
        let principal = Principal {
            name: name.clone(),
            kind,
            display_name: display_name.to_owned(),
            created_at: at,
            disabled: false,
            groups: BTreeMap::new(),
            department: None,
            manager: None,
            attributes: BTreeMap::new(),
        };
        self.principals.insert_mut(name.clone(), principal);
    }

    fn stand(&mut self, name: &PrincipalName, disabled: bool, at: Timestamp) {
        self.change(name, |p| p.disabled = disabled);
        if !disabled {
            self.waiting.remove_mut(name);
        } else if self.find(name).is_some_and(|p| p.created_at == at) {
            self.waiting.insert_mut(name.clone());
        }
        if let Some(person) = self.people.get_mut(name) {
            person.changed_at = at;
        }
    }

    fn join(&mut self, group: &GroupName, name: &PrincipalName, at: Timestamp) {
        if self.find(name).is_none_or(|p| p.is_in(group)) {
            return;
        }
        self.change(name, |p| {
            p.groups.insert(group.clone(), at);
        });
        let mut members = self.members.get(group).cloned().unwrap_or_default();
        members.insert_mut(name.clone());
        self.members.insert_mut(group.clone(), members);
        self.touch_group(group, at);
    }

    fn leave(&mut self, group: &GroupName, name: &PrincipalName, at: Timestamp) {
        self.change(name, |p| {
            p.groups.remove(group);
        });
        let Some(members) = self.members.get(group) else { return };
        let rest = members.remove(name);
        if rest.is_empty() {
            self.members.remove_mut(group);
        } else {
            self.members.insert_mut(group.clone(), rest);
        }
        self.touch_group(group, at);
    }

    fn touch_group(&mut self, group: &GroupName, at: Timestamp) {
        if let Some(described) = self.groups.get_mut(group) {
            described.changed_at = at;
        }
    }

    fn describe(&mut self, name: &PrincipalName, description: &PersonDescription, at: Timestamp) {
        let key = |of: &PersonDescription| (of.source.clone(), of.user_name.to_lowercase());
        let before = self.people.get(name);
        let since = before.map_or(at, |before| before.since);
        if let Some(before) = before.map(|before| key(&before.description))
            && self.user_names.get(&before) == Some(name)
        {
            self.user_names.remove_mut(&before);
        }
        if !description.removed {
            self.user_names.insert_mut(key(description), name.clone());
        }
        let shown = description.display_name.as_ref().unwrap_or(&description.user_name);
        let said = (!description.removed).then_some(description);
        self.change(name, |p| {
            p.display_name.clone_from(shown);
            p.department = said.and_then(|said| said.department.clone());
            p.attributes = said.map(|said| said.attributes.clone()).unwrap_or_default();
            let manager = said.and_then(|said| said.manager_name.clone());
            // Who stays the manager has been it since then.
            if p.manager.as_ref().map(|known| &known.name) != manager.as_ref() {
                p.manager = manager.map(|name| Manager { name, since: at });
            }
        });
        self.people.insert_mut(name.clone(), Described { description: Arc::new(description.clone()), since, changed_at: at });
    }

    fn change(&mut self, name: &PrincipalName, change: impl FnOnce(&mut Principal)) {
        if let Some(principal) = self.principals.get_mut(name) {
            change(principal);
        }
    }
}
