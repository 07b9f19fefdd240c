//! Asking: what is asked for becomes an access request, a grant or a refusal in one unit of work.

use std::{collections::BTreeSet, sync::Arc};

use safeconduct_lifecycle::{Access, AccessState, Command};
use safeconduct_model::{
    AccessRequestId, Action, Asked, Change, Decision, Envelope, Narrowing, Operation, OperationSet, Origin, Outcome, Principal,
    PrincipalKind, PrincipalName, Resource, ResourceKind, ResourceName, Scope, SqlAction, Timestamp, Ttl, UnfitText, Words,
};
use safeconduct_policy::{Approvals, AskedContext};
use safeconduct_sql::{Facts, StatementKind};
use tokio::sync::oneshot;

use crate::{
    door_session::HoldOutcome,
    identity::Caller,
    judge::{Question, SharedFacts, as_counted, names},
    node::App,
    problem::{Problem, ProblemKind},
    views::AccessView,
    world::{Work, World},
};

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct NewAccessRequest {
    pub resource: ResourceName,
    pub what: AskedFor,
    pub reason: Words,
    pub ticket: Option<Words>,
    pub duration: Ttl,
    pub starts_at: Option<Timestamp>,
}

/// A window, one statement, or one change to the gateway.
#[derive(Clone, Debug)]
pub enum AskedFor {
    Window { operations: OperationSet, narrow: Narrowing },
    ExactSql { database: Option<String>, text: String },
    Change(Change),
}

/// How somebody comes: what policy may look at beside what they ask for.
pub(crate) struct Came<'a> {
    source: &'a str,
    sign_in: &'a str,
    claims: BTreeSet<String>,
}

impl<'a> Came<'a> {
    pub(crate) fn of(caller: &'a Caller) -> Self {
        let claims = caller.claims.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect();
        Self { source: &caller.source, sign_in: &caller.method, claims }
    }

    fn as_asked(asked: &'a Asked) -> Self {
        let claims = AskedContext::of(asked, Ttl::MIN).claims;
        Self { source: &asked.source, sign_in: &asked.sign_in, claims }
    }
}

/// What policy would say. Nothing is stored.
#[derive(Clone, Debug)]
pub struct Preview {
    pub decision: Decision,
    pub facts: Option<Arc<Facts>>,
    /// Who could approve it.
    pub eligible: Vec<PrincipalName>,
    /// What another sign-in has to be, if nothing but the caller's own is in the way.
    pub sign_in_again: Option<SignInAgain>,
}

/// What a sign-in would have to be for policy not to deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInAgain {
    /// Made just now, in the same way.
    Newer,
    /// Made just now, with a passkey, of which the person has one.
    Passkey,
}

impl SignInAgain {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Newer => "newer",
            Self::Passkey => "passkey",
        }
    }
}

/// An asking with everything worked out but policy's answer.
pub(crate) struct Submission {
    pub requester: PrincipalName,
    pub resource: ResourceName,
    pub scope: Scope,
    pub duration: Ttl,
    pub starts_at: Option<Timestamp>,
    /// How long it waits for a decision.
    pub pending: Ttl,
    pub asked: Asked,
    pub origin: Origin,
    pub facts: SharedFacts,
    /// Told when a held statement is decided.
    pub hold: Option<oneshot::Sender<HoldOutcome>>,
}

/// What became of an asking.
pub(crate) struct Submitted {
    pub access: Access,
    pub eligible: Vec<PrincipalName>,
    /// True if the same was asked already and waits.
    pub merged: bool,
}

/// Most live grants of one principal that policy gave by itself.
const LIVE_PER_PRINCIPAL: usize = 100;
/// Latest start of a scheduled grant.
const LATEST_START_SECONDS: i64 = 30 * 24 * 3600;

impl App {
    /// Asks. The answer may be a grant, an access request that waits, or a refusal.
    ///
    /// # Errors
    /// `REQ-001` for what can't be asked, `REQ-002` if policy denies, `REQ-003` for too long, `REQ-004` if nobody could approve,
    /// `REQ-005` for too many waiting,
    /// `REQ-010` if policy wants a newer sign-in, `RES-001` for a resource the caller may not know.
    pub async fn ask(&self, caller: &Caller, new: NewAccessRequest) -> Result<AccessView, Problem> {
        let submission = self.submission(caller, new)?;
        let Submitted { access, merged, .. } = self.submit(submission).await?;
        let mut view = self.view(caller, access).await?;
        view.merged = merged;
        Ok(view)
    }

    /// What policy would say to an asking.
    ///
    /// # Errors
    /// As [`App::ask`], except that a denial is an answer.
    pub async fn preview(&self, caller: &Caller, new: NewAccessRequest) -> Result<Preview, Problem> {
        let submission = self.submission(caller, new)?;
        let (world, now) = (self.world(), self.now());
        let (principal, resource) = self.parties(&world, &submission)?;
        let decision = judge_submission(&world, &submission, principal, resource, now);
        if decision.outcome == Outcome::Deny && !self.may_know(&world, caller, resource, now) {
            return Err(Problem::no_resource(submission.resource.as_str()));
        }
        let envelope = self.envelope(&submission, principal, &decision, &world, now)?;
        let waits = matches!(decision.outcome, Outcome::NeedApproval { .. });
        let eligible = if waits { names(&world.eligible(&envelope, submission.facts.as_deref(), now)) } else { Vec::new() };
        let denied = decision.outcome == Outcome::Deny;
        let sign_in_again = if denied { passes_with_a_new_sign_in(&world, &submission, principal, resource, now) } else { None };
        Ok(Preview { decision, facts: submission.facts, eligible, sign_in_again })
    }

    fn submission(&self, caller: &Caller, new: NewAccessRequest) -> Result<Submission, Problem> {
        let (world, now) = (self.world(), self.now());
        let resource = world.resource(&new.resource).ok_or_else(|| Problem::no_resource(new.resource.as_str()))?;
        if matches!(new.what, AskedFor::Change(_)) && new.starts_at.is_some() {
            return Err(Problem::invalid("a change applies itself when it is granted; it can't be scheduled"));
        }
        let scope = self.scope(&world, resource, new.what).and_then(|(scope, facts)| {
            if new.starts_at.is_some_and(|start| start > now.plus_seconds(LATEST_START_SECONDS)) {
                return Err(Problem::invalid("the start is more than 30 days ahead"));
            }
            check_shown(&scope)?;
            Ok((scope, facts))
        });
        // A mistake is explained to those who may know the resource: to others it does not exist.
        let (scope, facts) = scope.map_err(|mistake| {
            if self.may_know(&world, caller, resource, now) { mistake } else { Problem::no_resource(resource.name.as_str()) }
        })?;
        Ok(Submission {
            requester: caller.name.clone(),
            resource: new.resource,
            scope,
            duration: new.duration,
            starts_at: new.starts_at.filter(|start| *start > now),
            pending: self.node.settings.pending,
            asked: caller.asked(new.reason, new.ticket, now),
            origin: Origin::Asked,
            facts,
            hold: None,
        })
    }

    fn scope(&self, world: &World, resource: &Resource, what: AskedFor) -> Result<(Scope, SharedFacts), Problem> {
        match (what, &resource.kind) {
            (AskedFor::Window { operations, narrow }, ResourceKind::Postgres(_)) => {
                let mut operations = operations;
                if operations.iter().any(Operation::is_administration) || operations.contains(Operation::Unknown) || operations.is_empty() {
                    return Err(Problem::invalid(format!("a window on `{}` can't hold `{operations}`", resource.name))
                        .next("operations are read, write, ddl, temp, admin, unrestricted"));
                }
                operations.insert(Operation::Connect);
                Ok((Scope::Window { operations, narrow }, None))
            }
            (AskedFor::ExactSql { database, text }, ResourceKind::Postgres(postgres)) => {
                let database = database.unwrap_or_else(|| postgres.database.clone());
                if database != postgres.database && !postgres.databases.contains(&database) {
                    return Err(Problem::invalid(format!("`{}` does not offer this database", resource.name)));
                }
                let facts = self.facts_for(world, &resource.name, &text);
                if facts.statements.iter().any(|s| matches!(s.kind, StatementKind::CopyFromStdin { .. })) {
                    return Err(Problem::invalid("a COPY from the client can't be run later: its data is not part of the text")
                        .next("run it in a session: there it is held together with its data"));
                }
                // What the parser can't read, nobody can be shown truthfully, and the server may read otherwise.
                if let Some(why) = &facts.unparsable {
                    return Err(Problem::invalid("the statement can't be understood")
                        .why(why.clone())
                        .next("mend its syntax and ask again"));
                }
                let action = Action::Sql(SqlAction {
                    database,
                    text,
                    parameters: Vec::new(),
                    settings: std::collections::BTreeMap::new(),
                    copy_data: None,
                });
                Ok((Scope::Exact { action, needs: facts.operations.clone() }, Some(facts)))
            }
            (AskedFor::Change(change), ResourceKind::Safeconduct) => {
                let needs = [change.operation()].into_iter().collect();
                Ok((Scope::Exact { action: Action::Administration(change), needs }, None))
            }
            _ => Err(Problem::invalid(format!("this can't be asked of `{}`", resource.name))),
        }
    }

    fn parties<'w>(&self, world: &'w World, submission: &Submission) -> Result<(&'w Principal, &'w Resource), Problem> {
        let confirms_clock = matches!(&submission.scope, Scope::Exact { action: Action::Administration(Change::ConfirmClock), .. });
        if let Some(why) = world.frozen.as_ref().filter(|_| !confirms_clock) {
            return Err(Problem::frozen(why));
        }
        check_shown(&submission.scope)?;
        submission.asked.check_shown().map_err(|unfit| unfit_to_show(&unfit))?;
        let principal = world.directory.find(&submission.requester).filter(|p| !p.disabled).ok_or_else(Problem::not_signed_in)?;
        let resource = world.resource(&submission.resource).ok_or_else(|| Problem::no_resource(submission.resource.as_str()))?;
        Ok((principal, resource))
    }

    pub(crate) async fn submit(&self, mut submission: Submission) -> Result<Submitted, Problem> {
        let began = std::time::Instant::now();
        let (guard, mut work) = self.begin().await;
        let now = work.now;
        let world = work.world.clone();
        let (principal, resource) = self.parties(&world, &submission)?;
        let decision = judge_submission(&world, &submission, principal, resource, now);
        let envelope = self.envelope(&submission, principal, &decision, &world, now)?;
        let id = envelope.access_request.clone();
        let facts = submission.facts.clone();
        // Policy denies what is too long; the asker learns the limit.
        if let Some(limit) = decision.obligations.max_duration.filter(|limit| submission.duration > *limit) {
            return Err(Problem::new("REQ-003", ProblemKind::Denied, format!("policy allows at most {limit} at once"))
                .why(format!("{} was asked for", submission.duration))
                .next(format!("ask again with `--for {limit}` or less")));
        }
        if decision.outcome == Outcome::Deny {
            if !self.may_know_as(&world, principal, resource, &Came::as_asked(&submission.asked), now) {
                return Err(Problem::no_resource(resource.name.as_str()));
            }
            let problem = match passes_with_a_new_sign_in(&world, &submission, principal, resource, now) {
                Some(again) => Problem::other_sign_in(again, &submission.asked),
                None => Problem::denied_by_policy(&decision),
            };
            if !self.node.floods.records_denial(&submission.requester, now) {
                return Err(problem);
            }
            self.run(&mut work, &id, Command::Submit { envelope: Box::new(envelope), decision })?;
            self.commit(guard, work).await?;
            return Err(problem);
        }
        // After policy's answer: whoever may not ask for changes learns nothing about who exists.
        if let Scope::Exact { action: Action::Administration(change), .. } = &submission.scope {
            self.check_change(&world, change).await?;
        }
        let mut eligible = Vec::new();
        if let Outcome::NeedApproval { quorum } = &decision.outcome {
            // Asks policy about everybody.
            eligible = world.eligible(&envelope, facts.as_deref(), now);
            if !quorum.is_met_by(&as_counted(&eligible)) {
                return Err(Problem::new("REQ-004", ProblemKind::Denied, "nobody could approve this")
                    .why(format!("it takes {quorum}; who may approve it: {}", list(&names(&eligible))))
                    .next("an administrator changes the groups or the policy"));
            }
            if let Some(same) = same_pending(&world, &envelope) {
                return Ok(Submitted { access: (*same).clone(), eligible: names(&eligible), merged: true });
            }
            let waiting = world.access.of(&envelope.requester).filter(|a| matches!(a.state, AccessState::Pending)).count();
            if waiting >= self.node.settings.pending_per_principal {
                return Err(Problem::new("REQ-005", ProblemKind::TooMany, format!("{waiting} of your access requests wait already"))
                    .next("cancel some with `cancel`, or wait until they are decided"));
            }
        }
        if decision.outcome == Outcome::Allow && !matches!(submission.origin, Origin::Extension { .. }) {
            check_live(&world, &submission.requester)?;
        }
        self.run(&mut work, &id, Command::Submit { envelope: Box::new(envelope), decision })?;
        self.follow_up(&mut work).await?;
        let access = work.access(&id).map(|a| (**a).clone()).ok_or_else(|| Problem::not_found("access request"))?;
        if let Some(hold) = submission.hold.take() {
            self.node.holds.lock().insert(id.clone(), hold);
        }
        if let Err(problem) = self.commit(guard, work).await {
            self.node.holds.lock().remove(&id);
            return Err(problem);
        }
        if access.decision.outcome == Outcome::Allow && matches!(access.state, AccessState::Active { .. } | AccessState::Ready { .. }) {
            self.node.meters.grant.took(began.elapsed());
        }
        Ok(Submitted { access, eligible: names(&eligible), merged: false })
    }

    fn envelope(
        &self,
        submission: &Submission,
        principal: &Principal,
        decision: &Decision,
        world: &World,
        now: Timestamp,
    ) -> Result<Envelope, Problem> {
        let quorum = match &decision.outcome {
            Outcome::NeedApproval { quorum } => Some(quorum.clone()),
            Outcome::Allow | Outcome::Deny => None,
        };
        Ok(Envelope {
            v: 1,
            gateway: self.node.settings.gateway.clone(),
            access_request: AccessRequestId::from_bits(self.bits()?),
            nonce: self.nonce()?,
            requester: submission.requester.clone(),
            requester_kind: principal.kind,
            resource: submission.resource.clone(),
            scope: submission.scope.clone(),
            duration: submission.duration,
            starts_at: submission.starts_at,
            asked_at: now,
            pending_until: now.after(submission.pending),
            asked: submission.asked.clone(),
            origin: submission.origin.clone(),
            policy: world.bundle.hash,
            quorum,
            roster_epoch: world.directory.epoch,
        })
    }

    pub(crate) fn run(&self, work: &mut Work, id: &AccessRequestId, command: Command) -> Result<(), Problem> {
        let now = work.now;
        work.run(id, command).map_err(|refused| Problem::refused(&refused, now))
    }

    /// True if there is anything at all on this resource that the caller may ask for.
    pub(crate) fn may_know(&self, world: &World, caller: &Caller, resource: &Resource, now: Timestamp) -> bool {
        world.directory.find(&caller.name).is_some_and(|p| self.may_know_as(world, p, resource, &Came::of(caller), now))
    }

    fn may_know_as(&self, world: &World, principal: &Principal, resource: &Resource, came: &Came<'_>, now: Timestamp) -> bool {
        askable(resource)
            .iter()
            .any(|(operation, exact)| self.outcome_for(world, principal, resource, *operation, *exact, came, now).outcome != Outcome::Deny)
    }

    /// Policy's answer about one operation, as if asked now for a second: after this sign-in, or, where policy denies that, another that the
    /// principal could make.
    #[expect(clippy::too_many_arguments, reason = "the parts of one question")]
    pub(crate) fn outcome_for(
        &self,
        world: &World,
        principal: &Principal,
        resource: &Resource,
        operation: Operation,
        exact: bool,
        came: &Came<'_>,
        now: Timestamp,
    ) -> Decision {
        let operations = [operation].into_iter().collect();
        let judge = |sign_in: &str| {
            let asked = AskedContext {
                reason: "what may I ask for".to_owned(),
                ticket: Some("any".to_owned()),
                duration: Ttl::MIN,
                source: safeconduct_policy::address(came.source),
                sign_in: sign_in.to_owned(),
                sign_in_age_seconds: 0,
                // Another way of signing in brings none of what was said at this one.
                claims: if sign_in == came.sign_in { came.claims.clone() } else { BTreeSet::new() },
            };
            let question = Question {
                principal,
                resource,
                operations: &operations,
                exact,
                asked: &asked,
                source: came.source,
                facts: None,
                approvals: Approvals::Unknown,
            };
            world.judge(&question, now)
        };
        let first = judge(came.sign_in);
        let others = if first.outcome == Outcome::Deny { world.ways_to_sign_in(principal) } else { Vec::new() };
        let other = others.into_iter().filter(|way| *way != came.sign_in).map(judge).find(|decision| decision.outcome != Outcome::Deny);
        other.unwrap_or(first)
    }
}

/// What may be asked of a resource: operations as windows, and what only an exact action passes.
pub(crate) fn askable(resource: &Resource) -> Vec<(Operation, bool)> {
    match &resource.kind {
        ResourceKind::Postgres(_) => vec![
            (Operation::Read, false),
            (Operation::Write, false),
            (Operation::Ddl, false),
            (Operation::Temp, false),
            (Operation::Admin, false),
            (Operation::Unrestricted, false),
            (Operation::Read, true),
            (Operation::Write, true),
            (Operation::Ddl, true),
            (Operation::Admin, true),
            (Operation::Unknown, true),
        ],
        ResourceKind::Safeconduct => [
            Operation::ManagePeople,
            Operation::ManageGroups,
            Operation::ManageWorkloads,
            Operation::ApplyPolicy,
            Operation::EndAccess,
            Operation::Audit,
        ]
        .map(|operation| (operation, true))
        .to_vec(),
    }
}

fn check_shown(scope: &Scope) -> Result<(), Problem> {
    let mut shown = scope.check_shown();
    if let Scope::Exact { action: Action::Sql(sql), .. } = scope {
        shown = shown.and_then(|()| safeconduct_sql::check_syntax(&sql.text));
    }
    shown.map_err(|unfit| unfit_to_show(&unfit).next("write such characters as escapes: U&'\\0441', chr(1089)"))
}

fn unfit_to_show(unfit: &UnfitText) -> Problem {
    Problem::invalid("an approver could not be shown this as it is").why(unfit.to_string())
}

fn judge_submission(world: &World, submission: &Submission, principal: &Principal, resource: &Resource, now: Timestamp) -> Decision {
    judge_asked(world, submission, &AskedContext::of(&submission.asked, submission.duration), principal, resource, now)
}

/// How a person would have to sign in again, if nothing else is in the way. A session at a door can't.
fn passes_with_a_new_sign_in(
    world: &World,
    submission: &Submission,
    principal: &Principal,
    resource: &Resource,
    now: Timestamp,
) -> Option<SignInAgain> {
    if principal.kind != PrincipalKind::Person || matches!(submission.origin, Origin::Held { .. }) {
        return None;
    }
    let newer = AskedContext { sign_in_age_seconds: 0, ..AskedContext::of(&submission.asked, submission.duration) };
    let passes = |asked: &AskedContext| judge_asked(world, submission, asked, principal, resource, now).outcome != Outcome::Deny;
    if passes(&newer) {
        return Some(SignInAgain::Newer);
    }
    // It brings none of what an identity provider said.
    let passkey = AskedContext { sign_in: "passkey".to_owned(), claims: BTreeSet::new(), ..newer };
    (world.has_passkey(&principal.name) && passes(&passkey)).then_some(SignInAgain::Passkey)
}

fn judge_asked(
    world: &World,
    submission: &Submission,
    asked: &AskedContext,
    principal: &Principal,
    resource: &Resource,
    now: Timestamp,
) -> Decision {
    world.judge(
        &Question {
            principal,
            resource,
            operations: submission.scope.operations(),
            exact: submission.scope.is_exact(),
            asked,
            source: &submission.asked.source,
            facts: submission.facts.as_deref(),
            approvals: Approvals::Unknown,
        },
        now,
    )
}

/// Nobody looks at what policy allows at once: one principal has a bounded number of it.
fn check_live(world: &World, requester: &PrincipalName) -> Result<(), Problem> {
    let mine = world.access.of(requester).filter(|a| !a.state.is_final());
    let live = mine.filter(|a| a.state.was_granted() && a.approvals.is_empty()).count();
    if live < LIVE_PER_PRINCIPAL {
        return Ok(());
    }
    Err(Problem::new("REQ-005", ProblemKind::TooMany, format!("you have {live} grants that nobody had to approve"))
        .next("give some back with `release`, or use those you have"))
}

/// The same asking, if it waits already: approvers are not asked twice.
fn same_pending(world: &World, envelope: &Envelope) -> Option<Arc<Access>> {
    world
        .access
        .of(&envelope.requester)
        .find(|a| {
            matches!(a.state, AccessState::Pending)
                && !matches!(envelope.origin, Origin::Held { .. })
                && a.envelope.resource == envelope.resource
                && a.envelope.scope == envelope.scope
                && a.envelope.duration == envelope.duration
                && a.envelope.starts_at == envelope.starts_at
                && a.envelope.origin == envelope.origin
        })
        .cloned()
}

fn list(names: &[PrincipalName]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") }
}
