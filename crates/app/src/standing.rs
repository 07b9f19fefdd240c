//! What a caller may do about the gateway and about others' grants, worked out by the rules that refuse, so that pages offer nothing that is refused.

use safeconduct_lifecycle::{Access, check_reviewer};
use safeconduct_model::{GroupName, Operation, Outcome, Resource, Timestamp};
use safeconduct_sql::Facts;

use crate::{identity::Caller, node::App, requests::Came, world::World};

/// Who is signed in, beside the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerStanding {
    pub display_name: String,
    pub groups: Vec<GroupName>,
    /// May read the whole ledger and everybody's sessions.
    pub audits: bool,
    /// May end anybody's grants, sessions and sign-ins.
    pub ends_access: bool,
    /// May ask for changes to people, groups or workloads.
    pub administers: bool,
}

impl App {
    /// True if the caller may end this grant: its holder, administrators, and who may approve it.
    pub(crate) fn may_revoke(&self, world: &World, caller: &Caller, access: &Access, facts: Option<&Facts>, now: Timestamp) -> bool {
        access.envelope.requester == caller.name
            || self.may_administer(world, caller, Operation::EndAccess, now)
            || world
                .reviewer(&caller.name, &access.envelope, facts, now)
                .is_some_and(|reviewer| check_reviewer(&access.envelope, &reviewer).is_ok())
    }

    /// What pages need to know of who is signed in, beside the name.
    #[must_use]
    pub fn standing(&self, caller: &Caller) -> CallerStanding {
        let (world, now) = (self.world(), self.now());
        let Some(principal) = world.directory.find(&caller.name) else { return CallerStanding::default() };
        let gateway = Resource::SAFECONDUCT.parse().ok().and_then(|name| world.resource(&name).cloned());
        let may_ask = |operation| {
            gateway.as_ref().is_some_and(|gateway| {
                self.outcome_for(&world, principal, gateway, operation, true, &Came::of(caller), now).outcome != Outcome::Deny
            })
        };
        CallerStanding {
            display_name: principal.display_name.clone(),
            groups: principal.groups.keys().cloned().collect(),
            audits: world.may_administer(principal, Operation::Audit, now),
            ends_access: world.may_administer(principal, Operation::EndAccess, now),
            administers: [Operation::ManagePeople, Operation::ManageGroups, Operation::ManageWorkloads].into_iter().any(may_ask),
        }
    }
}
