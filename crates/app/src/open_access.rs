//! The open access requests and grants, found by id, by who asked, and by time.
//!
//! Every unit of work is decided on a copy: copies share what they have in common, so that a copy costs the same however many there
//! are, and what is due is found without looking at the rest.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use safeconduct_lifecycle::{Access, AccessState};
use safeconduct_model::{AccessRequestId, PrincipalName, Timestamp};

/// Access requests with an index for each way they are looked for. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct OpenAccess {
    by_id: RedBlackTreeMapSync<AccessRequestId, Arc<Access>>,
    by_requester: RedBlackTreeMapSync<PrincipalName, RedBlackTreeMapSync<AccessRequestId, Arc<Access>>>,
    /// States whose time can run out, soonest first.
    by_deadline: RedBlackTreeSetSync<(Timestamp, AccessRequestId)>,
    /// Grants that are over and not yet ended.
    over: RedBlackTreeSetSync<AccessRequestId>,
    /// What nothing can happen to any more. Kept until everybody concerned has heard of it.
    closed: RedBlackTreeSetSync<AccessRequestId>,
}

impl OpenAccess {
    pub fn get(&self, id: &AccessRequestId) -> Option<&Arc<Access>> {
        self.by_id.get(id)
    }

    /// All of them, by id.
    pub fn values(&self) -> impl Iterator<Item = &Arc<Access>> {
        self.by_id.values()
    }

    /// Those of one principal.
    pub fn of<'a>(&'a self, requester: &PrincipalName) -> impl Iterator<Item = &'a Arc<Access>> + use<'a> {
        self.by_requester.get(requester).into_iter().flat_map(RedBlackTreeMapSync::values)
    }

    /// Those whose time has run out, longest ago first.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = &AccessRequestId> {
        self.by_deadline.iter().take_while(move |(at, _)| *at <= now).map(|(_, id)| id)
    }

    /// When the next one's time runs out.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.by_deadline.first().map(|(at, _)| *at)
    }

    /// Grants that are over, whose sessions may still have to end.
    pub fn over(&self) -> impl Iterator<Item = &Arc<Access>> {
        self.over.iter().filter_map(|id| self.by_id.get(id))
    }

    /// Puts it in the place of what has its id.
    pub fn insert(&mut self, access: Access) {
        let id = access.envelope.access_request.clone();
        self.remove(&id);
        if let Some(at) = runs_out(&access) {
            self.by_deadline.insert_mut((at, id.clone()));
        }
        if access.state.is_final() && access.state.was_granted() && !access.ended {
            self.over.insert_mut(id.clone());
        }
        if !is_open(&access) {
            self.closed.insert_mut(id.clone());
        }
        let access = Arc::new(access);
        let requester = &access.envelope.requester;
        let mut own = self.by_requester.get(requester).cloned().unwrap_or_default();
        own.insert_mut(id.clone(), Arc::clone(&access));
        self.by_requester.insert_mut(requester.clone(), own);
        self.by_id.insert_mut(id, access);
    }

    fn remove(&mut self, id: &AccessRequestId) {
        let Some(access) = self.by_id.get(id).cloned() else { return };
        self.by_id.remove_mut(id);
        if let Some(at) = runs_out(&access) {
            self.by_deadline.remove_mut(&(at, id.clone()));
        }
        self.over.remove_mut(id);
        self.closed.remove_mut(id);
        let requester = &access.envelope.requester;
        if let Some(own) = self.by_requester.get(requester) {
            let rest = own.remove(id);
            if rest.is_empty() {
                self.by_requester.remove_mut(requester);
            } else {
                self.by_requester.insert_mut(requester.clone(), rest);
            }
        }
    }

    /// Drops what nothing can happen to any more.
    pub fn drop_closed(&mut self) {
        while let Some(id) = self.closed.first().cloned() {
            self.remove(&id);
        }
    }
}

/// True while something can still happen to it.
pub(crate) fn is_open(access: &Access) -> bool {
    !access.state.is_final() || (access.state.was_granted() && !access.ended)
}

/// When its state is over by itself. What was taken up to be run waits for its outcome.
fn runs_out(access: &Access) -> Option<Timestamp> {
    access.deadline().filter(|_| !matches!(access.state, AccessState::Claimed { .. }))
}

#[cfg(test)]
mod tests {
    use safeconduct_model::{Decision, Digest, Obligations, Outcome};
    use safeconduct_testkit::{START, envelope, parsed};

    use super::*;

    fn access(n: u64, requester: &str, state: AccessState) -> Access {
        let envelope = envelope(AccessRequestId::from_bits(n), parsed(requester), parsed("orders-db"));
        let decision =
            Decision { outcome: Outcome::Allow, reasons: Vec::new(), obligations: Obligations::default(), policy: Digest::of_bytes(b"p") };
        let digest = envelope.digest().unwrap();
        Access { envelope, digest, decision, approvals: Vec::new(), state, ended: false, version: 1 }
    }

    fn active(seconds: i64) -> AccessState {
        AccessState::Active { since: START, until: START.plus_seconds(seconds) }
    }

    #[test]
    fn every_index_follows_every_change() {
        let mut open = OpenAccess::default();
        for n in 0..50 {
            open.insert(access(n, if n % 2 == 0 { "alice" } else { "bob" }, active(i64::try_from(n).unwrap())));
        }
        let before = open.clone();
        assert_eq!(open.of(&parsed("alice")).count(), 25);
        assert_eq!(open.due(START.plus_seconds(9)).count(), 10);
        assert_eq!(open.next_deadline(), Some(START));
        // Over, then ended: in no index but the one that says so, and then in none.
        let expired = access(0, "alice", AccessState::Expired { at: START });
        open.insert(expired.clone());
        assert_eq!(open.next_deadline(), Some(START.plus_seconds(1)));
        assert_eq!(open.over().map(|a| a.envelope.access_request.clone()).collect::<Vec<_>>(), [AccessRequestId::from_bits(0)]);
        open.drop_closed();
        assert!(open.get(&AccessRequestId::from_bits(0)).is_some(), "its sessions may still have to end");
        open.insert(Access { ended: true, ..expired });
        assert_eq!(open.over().count(), 0);
        assert!(open.get(&AccessRequestId::from_bits(0)).is_some(), "nobody has heard of it yet");
        open.drop_closed();
        assert!(open.get(&AccessRequestId::from_bits(0)).is_none());
        assert_eq!(open.of(&parsed("alice")).count(), 24);
        // Taken up, it does not run out.
        open.insert(access(1, "bob", AccessState::Claimed { at: START }));
        assert_eq!(open.next_deadline(), Some(START.plus_seconds(2)));
        // Nobody is left of whom nothing is left.
        for n in 2..50 {
            open.insert(Access { ended: true, ..access(n, if n % 2 == 0 { "alice" } else { "bob" }, AccessState::Expired { at: START }) });
        }
        open.drop_closed();
        assert_eq!((open.values().count(), open.by_requester.size(), open.next_deadline()), (1, 1, None));
        // The copy that was taken first knows nothing of this.
        assert_eq!((before.values().count(), before.over().count(), before.due(START).count()), (50, 0, 1));
    }
}
