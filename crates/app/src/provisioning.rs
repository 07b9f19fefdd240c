//! Provisioning: what a source outside, such as an identity provider, says about the people and groups it keeps.
//!
//! A source decides about the people it made and about the groups the settings give it, and about nobody and nothing else. It takes over no
//! name that exists, makes nobody a member of another group and never removes the last administrator. Who leaves there is disabled here in
//! the same unit of work: sign-ins, what was asked for and what was approved end with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use safeconduct_lifecycle::{ADMINISTRATORS, Actor, Described, DirectoryEvent, GroupDescription, PersonDescription, StreamId};
use safeconduct_model::{GroupName, PersonAttribute, Principal, PrincipalKind, PrincipalName, Timestamp, Words};

use crate::{
    node::App,
    problem::{Problem, ProblemKind},
    world::{Work, World},
};

/// Longest text that is taken from a source, in characters.
const LONGEST: usize = 200;

/// A source, as the settings have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioner {
    /// Its name in the settings and in the ledger.
    pub name: String,
    /// Groups here that it decides about, by what they are called there.
    pub groups: BTreeMap<String, GroupName>,
    /// It may make groups whose names here begin with this.
    pub new_groups: Option<String>,
    /// What follows `@` in user names and is no part of a name here, if it is always the same.
    pub domain: Option<String>,
    /// The issuer to whom an external id is the subject of its sign-ins.
    pub links: Option<String>,
}

/// A person whom a source made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// The name here. It never changes and is never given to somebody else.
    pub name: PrincipalName,
    pub said: Said,
    /// Groups that the source decides about.
    pub groups: BTreeSet<GroupName>,
    pub since: Timestamp,
    pub changed_at: Timestamp,
}

/// What a source says about a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub user_name: String,
    pub display_name: Option<String>,
    pub external_id: Option<String>,
    pub department: Option<String>,
    pub manager: Option<String>,
    pub attributes: BTreeMap<PersonAttribute, String>,
    pub active: bool,
}

/// A group that a source decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionedGroup {
    /// The name here.
    pub group: GroupName,
    pub said: SaidOfGroup,
    pub since: Timestamp,
    pub changed_at: Timestamp,
}

/// What a source says about a group. Members whom it did not make are not among these, and are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaidOfGroup {
    pub display_name: String,
    pub external_id: Option<String>,
    pub members: BTreeSet<PrincipalName>,
}

impl App {
    /// Everybody whom this source made and has not removed, by name.
    #[must_use]
    pub fn provisioned_people(&self, of: &Provisioner) -> Vec<Provisioned> {
        let world = self.world();
        let names = world.directory.described_people().map(|(name, _)| name);
        names.filter_map(|name| person(&world, of, name)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn provisioned_person(&self, of: &Provisioner, name: &PrincipalName) -> Option<Provisioned> {
        person(&self.world(), of, name)
    }

    /// One of them, by what the source calls it, however it is spelt.
    #[must_use]
    pub fn provisioned_as(&self, of: &Provisioner, user_name: &str) -> Option<Provisioned> {
        let world = self.world();
        world.directory.called(&of.name, user_name).and_then(|name| person(&world, of, name))
    }

    /// Makes a person.
    ///
    /// # Errors
    /// `SCIM-001` for what can't be kept, `SCIM-002` if somebody has the name.
    pub async fn provision_person(&self, of: &Provisioner, said: Said) -> Result<Provisioned, Problem> {
        let said = said.check()?;
        let (guard, mut work) = self.begin().await;
        let name = of.name_for(&said.user_name)?;
        let directory = &work.world.directory;
        if directory.called(&of.name, &said.user_name).is_some() {
            return Err(taken());
        }
        match (directory.find(&name), directory.described(&name)) {
            (None, _) => {}
            // Whoever the source gave up comes back as who they were, and nobody else does under that name.
            (Some(_), Some(before)) if before.description.is_removed_of(of) && before.description.is_again(&said) => {}
            _ => return Err(taken()),
        }
        let (at, by) = (work.now, of.actor());
        if directory.find(&name).is_none() {
            let display_name = said.shown_name();
            work.push(StreamId::Directory, DirectoryEvent::PersonCreated { name: name.clone(), display_name, at, by });
        }
        self.say(&mut work, of, &name, &said).await?;
        self.commit(guard, work).await?;
        self.provisioned_person(of, &name).ok_or_else(|| Problem::not_found("person"))
    }

    /// Changes what is said about a person. `change` sees the last word and gives the next; nobody else changes anything between.
    ///
    /// # Errors
    /// `SCIM-001` to `SCIM-003`; `REQ-008` if the source made nobody of that name; what `change` refuses with.
    pub async fn reprovision_person<E: From<Problem>>(
        &self,
        of: &Provisioner,
        name: &PrincipalName,
        change: impl FnOnce(&Provisioned) -> Result<Said, E>,
    ) -> Result<Provisioned, E> {
        let (guard, mut work) = self.begin().await;
        let before = person(&work.world, of, name).ok_or_else(|| Problem::not_found("person"))?;
        let said = change(&before)?.check()?;
        if work.world.directory.called(&of.name, &said.user_name).is_some_and(|known| known != name) {
            return Err(taken().into());
        }
        // Nobody else's name is shown as this person's.
        let folded = of.name_for(&said.user_name)?;
        if folded != *name && work.world.directory.find(&folded).is_some() {
            return Err(taken().into());
        }
        self.say(&mut work, of, name, &said).await?;
        self.commit(guard, work).await?;
        Ok(self.provisioned_person(of, name).ok_or_else(|| Problem::not_found("person"))?)
    }

    /// Gives a person up: disabled, and out of every group of the source. The name stays theirs.
    ///
    /// # Errors
    /// `SCIM-003` for the last administrator; as [`App::reprovision_person`].
    pub async fn unprovision_person<E: From<Problem>>(
        &self,
        of: &Provisioner,
        name: &PrincipalName,
        check: impl FnOnce(&Provisioned) -> Result<(), E>,
    ) -> Result<(), E> {
        let (guard, mut work) = self.begin().await;
        let before = person(&work.world, of, name).ok_or_else(|| Problem::not_found("person"))?;
        check(&before)?;
        let (at, by) = (work.now, of.actor());
        for group in before.groups {
            work.push(StreamId::Directory, DirectoryEvent::MemberRemoved { group, name: name.clone(), at, by: by.clone() });
        }
        let description = PersonDescription { removed: true, ..before.said.described(of) };
        work.push(StreamId::Directory, DirectoryEvent::PersonDescribed { name: name.clone(), description, at, by: by.clone() });
        self.stand(&mut work, name, false, &by);
        self.conclude(&mut work, [name.clone()].into()).await?;
        Ok(self.commit(guard, work).await?)
    }

    /// Groups that this source decides about, by name.
    #[must_use]
    pub fn provisioned_groups(&self, of: &Provisioner) -> Vec<ProvisionedGroup> {
        let world = self.world();
        let made = world.directory.described_groups().map(|(group, _)| group);
        let all: BTreeSet<&GroupName> = of.groups.values().chain(made).collect();
        all.into_iter().filter_map(|name| group(&world, of, name, self.node.started_at)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn provisioned_group(&self, of: &Provisioner, name: &GroupName) -> Option<ProvisionedGroup> {
        group(&self.world(), of, name, self.node.started_at)
    }

    /// Makes a group.
    ///
    /// # Errors
    /// `SCIM-004` if the settings let the source make none, `SCIM-002` if there is one of that name; as [`App::reprovision_group`].
    pub async fn provision_group(&self, of: &Provisioner, said: SaidOfGroup) -> Result<ProvisionedGroup, Problem> {
        let said = said.check()?;
        let (guard, mut work) = self.begin().await;
        if self.provisioned_groups(of).iter().any(|known| known.said.display_name.to_lowercase() == said.display_name.to_lowercase()) {
            return Err(taken());
        }
        let name = of.group_for(&said.display_name)?;
        let free = match work.world.directory.described_group(&name) {
            Some(before) => before.description.removed && before.description.source == of.name,
            None => work.world.directory.members(&name).next().is_none(),
        };
        if !free || of.groups.values().any(|governed| *governed == name) {
            return Err(taken());
        }
        self.say_of_group(&mut work, of, &name, &said).await?;
        self.commit(guard, work).await?;
        self.provisioned_group(of, &name).ok_or_else(|| Problem::not_found("group"))
    }

    /// Changes what is said about a group. `change` sees the last word and gives the next.
    ///
    /// # Errors
    /// `SCIM-001` for members whom somebody else made (who is not here at all is left out), `SCIM-003` for the last administrator; `REQ-008` if the source does not decide about
    /// that group; what `change` refuses with.
    pub async fn reprovision_group<E: From<Problem>>(
        &self,
        of: &Provisioner,
        name: &GroupName,
        change: impl FnOnce(&ProvisionedGroup) -> Result<SaidOfGroup, E>,
    ) -> Result<ProvisionedGroup, E> {
        let (guard, mut work) = self.begin().await;
        let not_found = || Problem::not_found("group");
        let before = group(&work.world, of, name, self.node.started_at).ok_or_else(not_found)?;
        let said = change(&before)?.check()?;
        let shown = said.display_name.to_lowercase();
        if self.provisioned_groups(of).iter().any(|known| known.group != *name && known.said.display_name.to_lowercase() == shown) {
            return Err(taken().into());
        }
        self.say_of_group(&mut work, of, name, &said).await?;
        self.commit(guard, work).await?;
        Ok(self.provisioned_group(of, name).ok_or_else(not_found)?)
    }

    /// Gives a group up: everybody whom the source made leaves it. One of the settings is only emptied: it goes on to be the source's.
    ///
    /// # Errors
    /// As [`App::reprovision_group`].
    pub async fn unprovision_group<E: From<Problem>>(
        &self,
        of: &Provisioner,
        name: &GroupName,
        check: impl FnOnce(&ProvisionedGroup) -> Result<(), E>,
    ) -> Result<(), E> {
        let (guard, mut work) = self.begin().await;
        let before = group(&work.world, of, name, self.node.started_at).ok_or_else(|| Problem::not_found("group"))?;
        check(&before)?;
        let (at, by) = (work.now, of.actor());
        self.say_of_group(&mut work, of, name, &SaidOfGroup { members: BTreeSet::new(), ..before.said.clone() }).await?;
        let description = GroupDescription { removed: true, ..before.said.described(of) };
        work.push(StreamId::Directory, DirectoryEvent::GroupDescribed { group: name.clone(), description, at, by });
        Ok(self.commit(guard, work).await?)
    }

    /// Makes true what is said about a person who exists.
    async fn say(&self, work: &mut Work, of: &Provisioner, name: &PrincipalName, said: &Said) -> Result<(), Problem> {
        let (at, by) = (work.now, of.actor());
        let mut description = said.described(of);
        description.manager_name = said.manager.as_deref().and_then(|manager| of.manager(&work.world, manager));
        let before = work.world.directory.described(name).map(|before| Arc::clone(&before.description));
        // A link that somebody undid stays undone until the source says another identity, or the person comes back.
        let identified = before.as_ref().is_none_or(|before| before.removed || before.external_id != description.external_id);
        if before.is_none_or(|before| *before != description) {
            work.push(StreamId::Directory, DirectoryEvent::PersonDescribed { name: name.clone(), description, at, by: by.clone() });
        }
        if let (Some(issuer), Some(subject), true) = (&of.links, &said.external_id, identified)
            && work.world.directory.linked(issuer, subject).is_none()
        {
            let (issuer, subject) = (issuer.clone(), subject.clone());
            let linked = DirectoryEvent::IdentityLinked { name: name.clone(), issuer, subject, at, by: by.clone() };
            work.push(StreamId::Directory, linked);
        }
        let person = |world: &World| world.directory.find(name).map(|p| (p.department.clone(), p.manager.clone(), p.attributes.clone()));
        let changed = person(&self.world()).is_some_and(|before| Some(before) != person(&work.world));
        let stood = self.stand(work, name, said.active, &by);
        if stood || changed { self.conclude(work, [name.clone()].into()).await } else { Ok(()) }
    }

    /// Enables or disables. True if that was a change.
    fn stand(&self, work: &mut Work, name: &PrincipalName, active: bool, by: &Actor) -> bool {
        let at = work.now;
        match work.world.directory.find(name) {
            Some(p) if p.disabled && active => {
                work.push(StreamId::Directory, DirectoryEvent::PrincipalEnabled { name: name.clone(), at, by: by.clone() });
            }
            Some(p) if !p.disabled && !active => {
                work.push(StreamId::Directory, DirectoryEvent::PrincipalDisabled { name: name.clone(), at, by: by.clone() });
                self.end_everything_of(work, name);
            }
            _ => return false,
        }
        true
    }

    /// Makes true what is said about a group.
    async fn say_of_group(&self, work: &mut Work, of: &Provisioner, name: &GroupName, said: &SaidOfGroup) -> Result<(), Problem> {
        let (at, by) = (work.now, of.actor());
        let description = said.described(of);
        let known = work.world.directory.described_group(name).is_some_and(|before| *before.description == description);
        if !known {
            work.push(StreamId::Directory, DirectoryEvent::GroupDescribed { group: name.clone(), description, at, by: by.clone() });
        }
        let before = members(&work.world, of, name);
        let mut changed = BTreeSet::new();
        for member in said.members.difference(&before) {
            if person(&work.world, of, member).is_none() {
                let gone = work.world.directory.described(member).is_some_and(|known| known.description.is_removed_of(of));
                if gone || work.world.directory.find(member).is_none() {
                    // The source can't know the `id` of who is not here yet: this is somebody it gave up, or nobody. The answer tells who is in.
                    tracing::warn!(source = of.name, group = %name, %member, "nobody of this name is here to become a member");
                    continue;
                }
                return Err(unfit("a member is somebody whom this source did not make"));
            }
            let (group, name) = (name.clone(), member.clone());
            work.push(StreamId::Directory, DirectoryEvent::MemberAdded { group, name, at, by: by.clone() });
            changed.insert(member.clone());
        }
        for member in before.difference(&said.members) {
            let (group, name) = (name.clone(), member.clone());
            work.push(StreamId::Directory, DirectoryEvent::MemberRemoved { group, name, at, by: by.clone() });
            changed.insert(member.clone());
        }
        self.conclude(work, changed).await
    }

    /// What follows from changes to these people: the last administrator stays, and what is open is judged again.
    async fn conclude(&self, work: &mut Work, people: BTreeSet<PrincipalName>) -> Result<(), Problem> {
        if people.is_empty() {
            return Ok(());
        }
        let (before, after) =
            (self.world().directory.administrators_other_than(None), work.world.directory.administrators_other_than(None));
        if before > 0 && after == 0 {
            return Err(Problem::new("SCIM-003", ProblemKind::Denied, "this would remove the last administrator")
                .next("make somebody else an administrator first"));
        }
        let administrators: Option<GroupName> = ADMINISTRATORS.parse().ok();
        let counted = |name| work.world.directory.find(name).is_some_and(|p| administrators.as_ref().is_some_and(|group| p.is_in(group)));
        if before != after || people.iter().any(counted) {
            self.rejudge_all(work);
        } else {
            self.rejudge_of(work, &people);
        }
        self.follow_up(work).await
    }
}

impl Provisioner {
    /// Who acts when this source says something.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Gateway { cause: format!("scim:{}", self.name) }
    }

    /// Who somebody's manager is here: by what SCIM calls an `id`, which is the name here, else by user name. It may be nobody yet.
    fn manager(&self, world: &World, said: &str) -> Option<PrincipalName> {
        let by_id = said.parse().ok().filter(|name| person(world, self, name).is_some());
        by_id.or_else(|| world.directory.called(&self.name, said).cloned()).or_else(|| self.name_for(said).ok())
    }

    /// The name here of whom the source calls so.
    fn name_for(&self, user_name: &str) -> Result<PrincipalName, Problem> {
        let lower = user_name.to_lowercase();
        let own = match (&self.domain, lower.rsplit_once('@')) {
            (Some(domain), Some((own, of))) if domain.to_lowercase() == of => own.to_owned(),
            // Not the part before `@` of just any domain: two people would have one name.
            _ => lower.replace('@', "_at_"),
        };
        own.parse().map_err(|_| unfit("`userName` gives no name here: letters, digits, `-`, `_` and `.`, at most 63 characters"))
    }

    /// The name here of a group that the source makes.
    fn group_for(&self, display_name: &str) -> Result<GroupName, Problem> {
        let prefix = self.new_groups.as_ref().ok_or_else(|| {
            Problem::new("SCIM-004", ProblemKind::Denied, "this source may not make groups")
                .next("name the group under `scim.groups` in the gateway's settings")
        })?;
        let plain: String = display_name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{prefix}{plain}").parse().map_err(|_| unfit("`displayName` gives no group name here: at most 63 characters"))
    }
}

impl Said {
    fn check(self) -> Result<Self, Problem> {
        let said = [
            ("userName", Some(&self.user_name)),
            ("displayName", self.display_name.as_ref()),
            ("externalId", self.external_id.as_ref()),
            ("department", self.department.as_ref()),
            ("manager", self.manager.as_ref()),
        ];
        let plain = self.attributes.iter().map(|(attribute, value)| (attribute.name(), Some(value)));
        said.into_iter().chain(plain).try_for_each(check_value)?;
        Ok(self)
    }

    fn shown_name(&self) -> String {
        self.display_name.clone().unwrap_or_else(|| self.user_name.clone())
    }

    fn described(&self, of: &Provisioner) -> PersonDescription {
        PersonDescription {
            source: of.name.clone(),
            user_name: self.user_name.clone(),
            display_name: self.display_name.clone(),
            external_id: self.external_id.clone(),
            department: self.department.clone(),
            manager: self.manager.clone(),
            manager_name: None,
            attributes: self.attributes.clone(),
            removed: false,
        }
    }
}

impl SaidOfGroup {
    fn check(self) -> Result<Self, Problem> {
        let said = [("displayName", Some(&self.display_name)), ("externalId", self.external_id.as_ref())];
        said.into_iter().try_for_each(check_value)?;
        Ok(self)
    }

    fn described(&self, of: &Provisioner) -> GroupDescription {
        let (display_name, external_id) = (self.display_name.clone(), self.external_id.clone());
        GroupDescription { source: of.name.clone(), display_name, external_id, removed: false }
    }
}

/// What a removed person has to show to be the same one.
trait Again {
    fn is_removed_of(&self, of: &Provisioner) -> bool;
    fn is_again(&self, said: &Said) -> bool;
}

impl Again for PersonDescription {
    fn is_removed_of(&self, of: &Provisioner) -> bool {
        self.removed && self.source == of.name
    }

    fn is_again(&self, said: &Said) -> bool {
        self.external_id.is_some() && self.external_id == said.external_id
    }
}

fn person(world: &World, of: &Provisioner, name: &PrincipalName) -> Option<Provisioned> {
    let Described { description, since, changed_at } = world.directory.described(name)?;
    if description.source != of.name || description.removed {
        return None;
    }
    let principal = world.directory.find(name).filter(|p| p.kind == PrincipalKind::Person)?;
    let said = Said {
        user_name: description.user_name.clone(),
        display_name: description.display_name.clone(),
        external_id: description.external_id.clone(),
        department: description.department.clone(),
        manager: description.manager.clone(),
        attributes: description.attributes.clone(),
        active: !principal.disabled,
    };
    let groups = principal.groups.keys().filter(|group| decides(world, of, group)).cloned().collect();
    Some(Provisioned { name: name.clone(), said, groups, since: *since, changed_at: *changed_at })
}

fn group(world: &World, of: &Provisioner, name: &GroupName, started_at: Timestamp) -> Option<ProvisionedGroup> {
    if !decides(world, of, name) {
        return None;
    }
    let described = world.directory.described_group(name).filter(|known| known.description.source == of.name);
    let theirs = || of.groups.iter().find(|(_, ours)| *ours == name).map_or_else(|| name.to_string(), |(theirs, _)| theirs.clone());
    let live = described.filter(|known| !known.description.removed);
    let said = SaidOfGroup {
        display_name: live.map_or_else(theirs, |known| known.description.display_name.clone()),
        external_id: live.and_then(|known| known.description.external_id.clone()),
        members: members(world, of, name),
    };
    let (since, changed_at) = described.map_or((started_at, started_at), |known| (known.since, known.changed_at));
    Some(ProvisionedGroup { group: name.clone(), said, since, changed_at })
}

/// True if the source decides who is in this group.
fn decides(world: &World, of: &Provisioner, name: &GroupName) -> bool {
    let made = || {
        // Looked at again: the settings may have taken the right away since it was made.
        let permitted = of.new_groups.as_ref().is_some_and(|prefix| name.as_str().starts_with(prefix.as_str()));
        permitted && world.directory.described_group(name).is_some_and(|d| d.description.source == of.name && !d.description.removed)
    };
    of.groups.values().any(|governed| governed == name) || made()
}

fn members(world: &World, of: &Provisioner, name: &GroupName) -> BTreeSet<PrincipalName> {
    let made = |p: &&Principal| {
        world.directory.described(&p.name).is_some_and(|known| known.description.source == of.name && !known.description.removed)
    };
    world.directory.members(name).filter(made).map(|p| p.name.clone()).collect()
}

fn unfit(why: &str) -> Problem {
    Problem::new("SCIM-001", ProblemKind::Invalid, why)
}

/// Refuses what could not be shown as it is.
fn check_value((name, value): (&str, Option<&String>)) -> Result<(), Problem> {
    let fits = |text: &String| text.chars().count() <= LONGEST && Words::new(text).is_ok_and(|words| words.as_str() == text);
    if value.is_none_or(fits) { Ok(()) } else { Err(unfit(&format!("`{name}` is empty, too long or has characters that can't be shown"))) }
}

fn taken() -> Problem {
    Problem::new("SCIM-002", ProblemKind::Conflict, "somebody or something has this name already")
}
