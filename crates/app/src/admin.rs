//! Administration: changes to people, groups, workloads and policy. Each is an exact action that applies itself when it is granted,
//! in the same unit of work as the approval that granted it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use safeconduct_lifecycle::{
    AccessState, Actor, Command, DirectoryEvent, ExactOutcome, NodeEvent, PolicyEvent, StreamId, TransactionEnd, Withdrawal,
};
use safeconduct_model::{
    AccessRequestId, Action, Change, Digest, Envelope, Operation, Origin, Outcome, PrincipalKind, PrincipalName, Resource, Scope, SignInId,
    Timestamp, Words,
};
use safeconduct_policy::{Approvals, Bundle, BundleFiles};
use zeroize::Zeroizing;

use crate::{
    identity::{CODE_SECONDS, CODES, Caller},
    node::App,
    passwords::PASSWORDS,
    ports::ValueChange,
    problem::{Problem, ProblemKind},
    requests::{AskedFor, Came, NewAccessRequest},
    views::AccessView,
    world::{Work, World},
};

/// Kind of stored values: bundles by hash.
const BUNDLES: &str = "bundle";
/// Kind of stored values: access requests whose one-time secret was fetched.
const FETCHED: &str = "one-time-fetched";

/// What an approved change hands out, once.
#[derive(Debug)]
pub enum OneTime {
    /// A person chooses a password with it, within a day.
    Code { name: PrincipalName, code: Zeroizing<String>, expires_at: Timestamp },
    /// A workload signs in with it.
    Token { name: PrincipalName, token: Zeroizing<String>, sign_in: SignInId, expires_at: Timestamp },
}

impl App {
    /// Asks for a change to the gateway.
    ///
    /// # Errors
    /// As [`App::ask`]; `ADMIN-001` for a change that makes no sense.
    pub async fn change(&self, caller: &Caller, change: Change, reason: Words) -> Result<AccessView, Problem> {
        let resource = Resource::SAFECONDUCT.parse().map_err(|_| Problem::no_resource(Resource::SAFECONDUCT))?;
        let duration = self.node.settings.pending;
        self.ask(caller, NewAccessRequest { resource, what: AskedFor::Change(change), reason, ticket: None, duration, starts_at: None })
            .await
    }

    /// Checks and keeps a bundle, and asks to activate it.
    ///
    /// # Errors
    /// `POLICY-001` with every mistake in the bundle; else as [`App::change`].
    pub async fn upload_policy(&self, caller: &Caller, files: BundleFiles, reason: Words) -> Result<AccessView, Problem> {
        let world = self.world();
        let principal = world.directory.find(&caller.name).ok_or_else(Problem::not_signed_in)?;
        let resource: safeconduct_model::ResourceName =
            Resource::SAFECONDUCT.parse().map_err(|_| Problem::no_resource(Resource::SAFECONDUCT))?;
        let safeconduct = world.resource(&resource).ok_or_else(|| Problem::no_resource(Resource::SAFECONDUCT))?;
        // Asked before anything is kept: nobody else fills the store with bundles.
        let outcome = self.outcome_for(&world, principal, safeconduct, Operation::ApplyPolicy, true, &Came::of(caller), self.now()).outcome;
        if outcome == Outcome::Deny {
            return Err(Problem::no_resource(Resource::SAFECONDUCT));
        }
        let hash = self.keep_bundle(&files).await?;
        self.change(caller, Change::ApplyPolicy { hash }, reason).await
    }

    pub(crate) async fn keep_bundle(&self, files: &BundleFiles) -> Result<Digest, Problem> {
        let bundle = parse_bundle(files)?;
        let texts: BTreeMap<&str, &str> = files
            .files
            .iter()
            .map(|(path, bytes)| std::str::from_utf8(bytes).map(|text| (path.as_str(), text)))
            .collect::<Result<_, _>>()
            .map_err(|_| Problem::new("POLICY-001", ProblemKind::Invalid, "the bundle holds a file that is not UTF-8"))?;
        let value = serde_json::to_vec(&texts).map_err(|_| Problem::invalid("the bundle can't be stored"))?;
        let change = ValueChange { kind: BUNDLES.to_owned(), key: bundle.hash.to_string(), value: Some(value) };
        self.node.ports.store.put_values(vec![change]).await?;
        Ok(bundle.hash)
    }

    /// A bundle by its hash. The active one and the one asked for last are at hand, others are read and parsed.
    pub(crate) async fn load_bundle(&self, hash: &Digest) -> Result<Arc<Bundle>, Problem> {
        let at_hand = [Some(Arc::clone(&self.world().bundle)), self.node.bundle_asked_for.load_full()];
        if let Some(bundle) = at_hand.into_iter().flatten().find(|bundle| bundle.hash == *hash) {
            return Ok(bundle);
        }
        let bundle = parse_bundle(&self.load_bundle_files(hash).await?)?;
        self.node.bundle_asked_for.store(Some(Arc::clone(&bundle)));
        Ok(bundle)
    }

    /// The files of a bundle that is kept, as they were when it was.
    pub(crate) async fn load_bundle_files(&self, hash: &Digest) -> Result<BundleFiles, Problem> {
        let value = self.node.ports.store.value(BUNDLES, &hash.to_string()).await?;
        let value = value.ok_or_else(|| Problem::new("POLICY-002", ProblemKind::NotFound, "this bundle is not stored"))?;
        let texts: BTreeMap<String, String> = serde_json::from_slice(&value)
            .map_err(|_| Problem::new("POLICY-002", ProblemKind::Unavailable, "the stored bundle can't be read"))?;
        let files = BundleFiles { files: texts.into_iter().map(|(path, text)| (path, text.into_bytes())).collect() };
        // The hash was approved, so the hash decides: a changed row in the store is not applied.
        if files.hash() == *hash {
            Ok(files)
        } else {
            Err(Problem::new("POLICY-002", ProblemKind::Unavailable, "the stored bundle is not the one that was approved"))
        }
    }

    /// Refuses changes that could not be applied.
    pub(crate) async fn check_change(&self, world: &World, change: &Change) -> Result<(), Problem> {
        let senseless = |why: String| Err(Problem::new("ADMIN-001", ProblemKind::Invalid, "this change can't be made").why(why));
        let known = |name: &PrincipalName| world.directory.find(name);
        match change {
            Change::CreatePerson { name, .. } | Change::CreateWorkload { name, .. } => {
                if known(name).is_some() {
                    senseless(format!("`{name}` exists"))
                } else {
                    Ok(())
                }
            }
            Change::ResetSecret { name, scopes: Some(_) } if known(name).is_some_and(|p| p.kind == PrincipalKind::Person) => {
                senseless(format!("`{name}` is a person: only tokens of workloads have scopes"))
            }
            Change::Disable { name } | Change::Enable { name } | Change::ResetSecret { name, .. } | Change::AddMember { name, .. } => {
                if known(name).is_none() {
                    senseless(format!("there is no `{name}`"))
                } else {
                    Ok(())
                }
            }
            Change::RemoveMember { group, name } => match known(name) {
                Some(p) if p.is_in(group) => Ok(()),
                _ => senseless(format!("`{name}` is not in `{group}`")),
            },
            Change::EnrolKey { .. } | Change::RemoveKey { .. } => world.check_key(change).or_else(senseless),
            Change::UnlinkIdentity { name, issuer, subject } => {
                let is_linked = world.directory.is_linked(name, issuer, subject, self.now());
                if is_linked { Ok(()) } else { senseless(format!("`{name}` is not linked to that subject of that issuer")) }
            }
            Change::ApplyPolicy { hash } => self.load_bundle(hash).await.map(drop),
            Change::ConfirmClock => {
                if world.frozen.is_some() {
                    Ok(())
                } else {
                    senseless("the clock is not in doubt".to_owned())
                }
            }
        }
    }

    /// What follows from grants and changes in this unit of work: changes apply themselves, extensions move their deadline, and what is
    /// open is judged again, once for all that was changed before.
    pub(crate) async fn follow_up(&self, work: &mut Work) -> Result<(), Problem> {
        let mut done = BTreeSet::new();
        loop {
            // Before anything that was granted under how things were before.
            if std::mem::take(&mut work.standing_changed) {
                self.rejudge_all(work);
            }
            // A change that applies itself may grant what waited: that is followed up as well.
            let Some(id) = work.granted().into_iter().find(|id| !done.contains(id)) else { return Ok(()) };
            done.insert(id.clone());
            let Some(access) = work.access(&id).cloned() else { continue };
            match (&access.envelope.scope, &access.envelope.origin) {
                (Scope::Exact { action: Action::Administration(change), .. }, _) => self.apply(work, &id, &access.envelope, change).await?,
                (_, Origin::Extension { of }) => self.extend_granted(work, &id, of, access.envelope.duration)?,
                _ => {}
            }
        }
    }

    fn extend_granted(
        &self,
        work: &mut Work,
        id: &AccessRequestId,
        of: &safeconduct_model::GrantId,
        by: safeconduct_model::Ttl,
    ) -> Result<(), Problem> {
        let original = of.access_request();
        let until = work.access(&original).and_then(|a| match a.state {
            AccessState::Active { until, .. } if until > work.now => Some(until.after(by)),
            _ => None,
        });
        match until {
            Some(until) => {
                self.run(work, &original, Command::Extend { until, by: id.clone() })?;
                self.run(work, id, Command::Apply)
            }
            None => {
                let by = Actor::Gateway { cause: "extension".to_owned() };
                self.run(work, id, Command::Revoke { by, reason: format!("grant {of} is no longer live") })
            }
        }
    }

    async fn apply(&self, work: &mut Work, id: &AccessRequestId, envelope: &Envelope, change: &Change) -> Result<(), Problem> {
        let Some(access) = work.access(id).cloned() else { return Ok(()) };
        let judgement = work.world.judge_standing(&access, None, work.now);
        self.run(work, id, Command::Claim { judgement })?;
        let outcome = match self.check_change(&work.world, change).await {
            Err(problem) => ExactOutcome::RefusedNotRun { why: problem.why.unwrap_or(problem.message) },
            Ok(()) => {
                self.perform(work, &Actor::Principal { name: envelope.requester.clone() }, change).await?;
                ExactOutcome::Executed { command: change.to_string(), rows: None, transaction: TransactionEnd::Committed }
            }
        };
        self.run(work, id, Command::Settle { outcome })
    }

    /// Makes a change true; [`App::follow_up`] then judges again what is open. Whoever calls this has an approval, or is the operator at
    /// the machine.
    pub(crate) async fn perform(&self, work: &mut Work, by: &Actor, change: &Change) -> Result<(), Problem> {
        let (at, by) = (work.now, by.clone());
        let directory = |work: &mut Work, event: DirectoryEvent| work.push(StreamId::Directory, event);
        match change {
            Change::CreatePerson { name, display_name } => {
                directory(work, DirectoryEvent::PersonCreated { name: name.clone(), display_name: display_name.clone(), at, by });
            }
            Change::CreateWorkload { name, display_name, .. } => {
                directory(work, DirectoryEvent::WorkloadCreated { name: name.clone(), display_name: display_name.clone(), at, by });
            }
            Change::Disable { name } => {
                directory(work, DirectoryEvent::PrincipalDisabled { name: name.clone(), at, by });
                self.end_everything_of(work, name);
                work.standing_changed = true;
            }
            Change::Enable { name } => directory(work, DirectoryEvent::PrincipalEnabled { name: name.clone(), at, by }),
            Change::AddMember { group, name } => {
                directory(work, DirectoryEvent::MemberAdded { group: group.clone(), name: name.clone(), at, by });
                work.standing_changed = true;
            }
            Change::RemoveMember { group, name } => {
                directory(work, DirectoryEvent::MemberRemoved { group: group.clone(), name: name.clone(), at, by });
                work.standing_changed = true;
            }
            Change::ResetSecret { name, .. } => {
                directory(work, DirectoryEvent::SecretReset { name: name.clone(), at, by });
            }
            Change::EnrolKey { name, key } => {
                directory(work, DirectoryEvent::KeyEnrolled { name: name.clone(), key: key.clone(), at, by });
            }
            Change::RemoveKey { name, key } => {
                directory(work, DirectoryEvent::KeyRemoved { name: name.clone(), key: key.clone(), at, by });
                work.standing_changed = true;
            }
            Change::UnlinkIdentity { name, issuer, subject } => {
                let (name, issuer, subject) = (name.clone(), issuer.clone(), subject.clone());
                directory(work, DirectoryEvent::IdentityUnlinked { name, issuer, subject, at, by });
            }
            Change::ApplyPolicy { hash } => {
                work.world.bundle = self.load_bundle(hash).await?;
                let standing_privilege = standing_privilege(&work.world, self.node.settings.bundle_watched);
                let standing_privilege = (!standing_privilege.is_empty()).then(|| standing_privilege.join("; "));
                work.push(StreamId::Policy, PolicyEvent::BundleApplied { hash: *hash, by, standing_privilege, at });
                work.standing_changed = true;
            }
            Change::ConfirmClock => work.push(StreamId::Node, NodeEvent::ClockConfirmed { by, at }),
        }
        Ok(())
    }

    pub(crate) fn end_everything_of(&self, work: &mut Work, name: &PrincipalName) {
        let ids: Vec<AccessRequestId> = work.world.access.of(name).map(|a| a.envelope.access_request.clone()).collect();
        let by = || Actor::Gateway { cause: "directory".to_owned() };
        let given = work.world.access.values().filter(|a| a.approvals.iter().any(|given| given.approver == *name));
        for id in given.map(|a| a.envelope.access_request.clone()).collect::<Vec<_>>() {
            let command = Command::VoidApproval { approver: name.clone(), why: format!("`{name}` was disabled") };
            if let Err(refused) = work.run(&id, command) {
                tracing::warn!(access_request = %id, %refused, "an approval is not void");
            }
        }
        for id in ids {
            let reason = format!("`{name}` was disabled");
            // Each ends in the way its state allows; what is over already needs nothing.
            if work.run(&id, Command::Withdraw { by: by(), why: Withdrawal::RequesterDisabled }).is_err()
                && work.run(&id, Command::Revoke { by: by(), reason: reason.clone() }) == Err(safeconduct_lifecycle::Refused::Running)
            {
                self.stop_running(&id, &reason);
                if let Err(refused) = work.run(&id, Command::Stop { by: by(), reason }) {
                    tracing::warn!(access_request = %id, %refused, "the stop is not recorded");
                }
            }
        }
    }

    /// Judges everything that is open again: who may no longer, loses it; whose quorum changed, is asked about anew.
    pub(crate) fn rejudge_all(&self, work: &mut Work) {
        self.rejudge(work, |_| true);
    }

    /// Judges again what a change to these people can matter to: what they asked for and what they approved. Policy sees of everybody else
    /// only how many administrators there are, so a change among those is for [`App::rejudge_all`].
    pub(crate) fn rejudge_of(&self, work: &mut Work, people: &BTreeSet<PrincipalName>) {
        self.rejudge(work, |a| people.contains(&a.envelope.requester) || a.approvals.iter().any(|given| people.contains(&given.approver)));
    }

    fn rejudge(&self, work: &mut Work, concerned: impl Fn(&safeconduct_lifecycle::Access) -> bool) {
        let open: Vec<_> = work.world.access.values().filter(|a| !a.state.is_final() && concerned(a)).cloned().collect();
        for access in open {
            let facts = self.facts_of(&work.world, &access.envelope);
            let judgement = work.world.judge_standing(&access, facts.as_deref(), work.now);
            let without = work.world.judge_envelope(&access.envelope, facts.as_deref(), Approvals::Unknown, work.now);
            let quorum = match &without.outcome {
                Outcome::NeedApproval { quorum } => Some(quorum.clone()),
                Outcome::Allow | Outcome::Deny => None,
            };
            let same_policy = access.decision.policy == work.world.bundle.hash;
            let unchanged = match access.state {
                AccessState::Pending => without.outcome == access.decision.outcome && without.obligations == access.decision.obligations,
                _ => judgement.outcome == Outcome::Allow,
            };
            if same_policy && unchanged {
                continue;
            }
            let reissued =
                Envelope { policy: work.world.bundle.hash, quorum, roster_epoch: work.world.directory.epoch, ..access.envelope.clone() };
            let id = access.envelope.access_request.clone();
            let command = Command::Rejudge { judgement, without_approvals: without, reissued: Box::new(reissued) };
            if let Err(refused) = work.run(&id, command) {
                tracing::warn!(access_request = %id, %refused, "not judged again");
            }
        }
    }

    /// The secret an approved change hands out: once, to who asked for the change.
    ///
    /// # Errors
    /// `ADMIN-002` if there is none, or it was fetched already.
    pub async fn one_time(&self, caller: &Caller, id: &AccessRequestId) -> Result<OneTime, Problem> {
        let access = self.load_access(id).await?.ok_or_else(|| Problem::not_found("access request"))?;
        let none = || {
            Problem::new("ADMIN-002", ProblemKind::Conflict, "there is no secret to hand out")
                .next("ask for a new one with `user reset-secret`")
        };
        let Scope::Exact { action: Action::Administration(change), .. } = &access.envelope.scope else { return Err(none()) };
        if access.envelope.requester != caller.name {
            return Err(Problem::not_found("access request"));
        }
        let AccessState::Settled { at: done_at, outcome: ExactOutcome::Executed { .. } } = access.state else { return Err(none()) };
        let (name, scopes) = match change {
            Change::CreatePerson { name, .. } => (name.clone(), None),
            Change::CreateWorkload { name, scopes, .. } | Change::ResetSecret { name, scopes } => (name.clone(), scopes.clone()),
            _ => return Err(none()),
        };
        // Kept for later it would be a way into an account that somebody else has long been using.
        let replaced = self.world().secrets_void_before(&name).is_some_and(|reset| reset > done_at);
        if replaced || self.now() >= done_at.plus_seconds(CODE_SECONDS) {
            return Err(none());
        }
        let kind = self.world().directory.find(&name).filter(|p| !p.disabled).map(|p| p.kind).ok_or_else(none)?;
        if !self.node.ports.store.put_value_if_absent(FETCHED, id.as_str(), Vec::new()).await? {
            return Err(none());
        }
        match kind {
            PrincipalKind::Person => self.issue_code(&name).await,
            PrincipalKind::Workload => self.issue_token(&name, scopes).await,
        }
    }

    /// Stops every sign-in that this issuer vouched for so, with its door secrets. Returns what is to be removed from the store.
    pub(crate) fn forget_vouched(&self, name: &PrincipalName, issuer: &str, subject: &str) -> Vec<ValueChange> {
        let (ended, mut gone) = self.node.sign_ins.forget_vouched(name, issuer, subject);
        for ((holder, resource), of_holder) in self.node.door_secrets.lock().iter_mut().filter(|((holder, _), _)| holder == name) {
            of_holder.retain(|(sign_in, verifier)| {
                let keep = !ended.contains(sign_in);
                if !keep {
                    let key = crate::door_secrets::door_key(holder, resource, sign_in, verifier);
                    gone.push(ValueChange { kind: crate::door_secrets::DOOR_SECRETS.to_owned(), key, value: None });
                }
                keep
            });
        }
        gone
    }

    /// Stops every secret of this principal from working. Returns what is to be removed from the store.
    pub(crate) fn forget_secrets_of(&self, name: &PrincipalName) -> Vec<ValueChange> {
        let mut gone = self.node.sign_ins.forget(name);
        for kind in [PASSWORDS, CODES] {
            gone.push(ValueChange { kind: kind.to_owned(), key: name.to_string(), value: None });
        }
        {
            let mut secrets = self.node.door_secrets.lock();
            secrets.retain(|(holder, resource), of_holder| {
                if holder == name {
                    gone.extend(of_holder.iter().map(|(sign_in, verifier)| ValueChange {
                        kind: crate::door_secrets::DOOR_SECRETS.to_owned(),
                        key: crate::door_secrets::door_key(holder, resource, sign_in, verifier),
                        value: None,
                    }));
                }
                holder != name
            });
        }
        gone
    }
}

pub(crate) fn parse_bundle(files: &BundleFiles) -> Result<Arc<Bundle>, Problem> {
    Bundle::parse(files).map(Arc::new).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Problem::new("POLICY-001", ProblemKind::Invalid, format!("the bundle has {} mistakes", lines.len()))
            .why(lines.join("\n"))
            .next("mend them; `policy check DIR` shows them without a server")
    })
}

/// Who could still do something alone, and why. Empty is the promise kept.
pub(crate) fn standing_privilege(world: &World, bundle_watched: bool) -> Vec<String> {
    let mut standing = Vec::new();
    match world.directory.administrators_other_than(None) {
        0 => standing.push("there is no administrator: only the operator at the machine can make one".to_owned()),
        1 => standing.push("there is one administrator, whose changes nobody else approves".to_owned()),
        _ => {}
    }
    if bundle_watched {
        standing.push("the policy bundle is read from a directory: who can write there changes policy alone".to_owned());
    }
    standing
}
