//! Deciding and ending: approve, deny, cancel, release, revoke, extend. Each is one unit of work.

use safeconduct_evidence::{Statement, Verdict};
use safeconduct_lifecycle::{Access, Actor, Command, Refused, Withdrawal, check_reviewer, tally};
use safeconduct_model::{AccessRequestId, Digest, GrantId, Level, Origin, Ttl, Words};
use safeconduct_policy::Approvals;
use safeconduct_sql::Facts;

use crate::{
    identity::Caller,
    judge::SharedFacts,
    node::{App, Writing},
    problem::{Problem, ProblemKind},
    requests::{Submission, Submitted},
    signed::{SignedStatement, evidence_of},
    views::AccessView,
    world::Work,
};

impl App {
    /// Approves what was shown.
    ///
    /// # Errors
    /// `APPROVE-…` if the caller may not or it takes a signature that is missing or does not count, `REQ-007` if it is not what was shown, `REQ-006` and `REQ-009` if it is decided or over.
    pub async fn approve(
        &self,
        caller: &Caller,
        id: &AccessRequestId,
        digest: Digest,
        comment: Option<Words>,
        signed: Option<SignedStatement>,
    ) -> Result<AccessView, Problem> {
        let (guard, mut work, access, facts) = self.review(caller, id).await?;
        let by = self.reviewer(&work, caller, &access, facts.as_deref())?;
        check_reviewer(&access.envelope, &by).map_err(|refused| Problem::refused(&refused, work.now))?;
        let level = work.world.level(&access.envelope, facts.as_deref(), work.now);
        let comment = comment_of(signed.as_ref(), comment)?;
        let evidence = evidence_of(&work, caller, &access, Verdict::Approve, level, signed)?;
        let others = work.world.reviewers(&access, facts.as_deref(), work.now);
        let counted = tally(&access, Some(&by), &others);
        let judgement = work.world.judge_envelope(&access.envelope, facts.as_deref(), Approvals::Given(&counted), work.now);
        self.run(&mut work, id, Command::Approve { by, digest, comment, evidence, others, judgement })?;
        self.follow_up(&mut work).await?;
        self.finish(caller, guard, work, id).await
    }

    /// Denies; what was granted already is revoked.
    ///
    /// # Errors
    /// As [`App::approve`].
    pub async fn deny(
        &self,
        caller: &Caller,
        id: &AccessRequestId,
        comment: Words,
        signed: Option<SignedStatement>,
    ) -> Result<AccessView, Problem> {
        let (guard, mut work, access, facts) = self.review(caller, id).await?;
        let by = self.reviewer(&work, caller, &access, facts.as_deref())?;
        check_reviewer(&access.envelope, &by).map_err(|refused| Problem::refused(&refused, work.now))?;
        comment_of(signed.as_ref(), Some(comment.clone()))?;
        let evidence = evidence_of(&work, caller, &access, Verdict::Deny, Level::Recorded, signed)?;
        match work.run(id, Command::Deny { by, comment: comment.clone(), evidence }) {
            Ok(()) => self.finish(caller, guard, work, id).await,
            Err(Refused::Running) => self.stop(caller, guard, work, id, &comment).await,
            Err(refused) => Err(Problem::refused(&refused, work.now)),
        }
    }

    /// Stops an action that runs, at once, and records who did.
    async fn stop(
        &self,
        caller: &Caller,
        guard: Writing,
        mut work: Work,
        id: &AccessRequestId,
        reason: &Words,
    ) -> Result<AccessView, Problem> {
        // Taking away waits for nothing: a store that fails can't keep the action running.
        self.stop_running(id, &format!("grant {} was revoked by {}: {reason}", id.grant(), caller.name));
        let by = Actor::Principal { name: caller.name.clone() };
        self.run(&mut work, id, Command::Stop { by, reason: reason.as_str().to_owned() })?;
        self.finish(caller, guard, work, id).await
    }

    /// Takes a waiting access request back.
    ///
    /// # Errors
    /// `GRANT-002` unless the caller asked for it, `REQ-006` if it is decided.
    pub async fn cancel(&self, caller: &Caller, id: &AccessRequestId) -> Result<AccessView, Problem> {
        let (guard, mut work, _, _) = self.review(caller, id).await?;
        let by = Actor::Principal { name: caller.name.clone() };
        self.run(&mut work, id, Command::Withdraw { by, why: Withdrawal::Cancelled })?;
        self.finish(caller, guard, work, id).await
    }

    /// Gives a grant back.
    ///
    /// # Errors
    /// `GRANT-002` unless the caller holds it, `GRANT-003` if it is over.
    pub async fn release(&self, caller: &Caller, id: &GrantId) -> Result<AccessView, Problem> {
        let id = id.access_request();
        let (guard, mut work, _, _) = self.review(caller, &id).await?;
        self.run(&mut work, &id, Command::Release { by: caller.name.clone() })?;
        self.finish(caller, guard, work, &id).await
    }

    /// Ends somebody's grant at once. Its holder, who may approve it and administrators may.
    ///
    /// # Errors
    /// `GRANT-004` if the caller may not, `GRANT-003` if it is over.
    pub async fn revoke(&self, caller: &Caller, id: &GrantId, reason: Words) -> Result<AccessView, Problem> {
        let id = id.access_request();
        let (guard, mut work, access, facts) = self.review(caller, &id).await?;
        if !self.may_revoke(&work.world, caller, &access, facts.as_deref(), work.now) {
            return Err(Problem::new("GRANT-004", ProblemKind::Denied, "you may not end this grant")
                .next("its holder, its approvers and administrators may"));
        }
        let by = Actor::Principal { name: caller.name.clone() };
        match work.run(&id, Command::Revoke { by, reason: reason.as_str().to_owned() }) {
            Ok(()) => self.finish(caller, guard, work, &id).await,
            Err(Refused::Running) => self.stop(caller, guard, work, &id, &reason).await,
            Err(refused) => Err(Problem::refused(&refused, work.now)),
        }
    }

    /// Asks that a grant last longer: an access request of its own that moves the deadline when it is granted.
    ///
    /// # Errors
    /// `GRANT-002` unless the caller holds it, `GRANT-003` if it is not live; else as [`App::ask`].
    pub async fn extend(&self, caller: &Caller, id: &GrantId, by: Ttl, reason: Words) -> Result<AccessView, Problem> {
        let (world, now) = (self.world(), self.now());
        let access = self.load_access(&id.access_request()).await?.ok_or_else(|| Problem::not_found("grant"))?;
        if access.envelope.requester != caller.name {
            return Err(if self.sees(&world, caller, &access, now) {
                Problem::refused(&Refused::NotHolder, now)
            } else {
                Problem::not_found("grant")
            });
        }
        if !access.is_live(now) {
            return Err(Problem::refused(&Refused::WrongState { state: access.state.name() }, now));
        }
        // What was signed says how long it counts: nothing moves that.
        if world.level(&access.envelope, None, now) > Level::Recorded {
            return Err(Problem::new("GRANT-005", ProblemKind::Denied, "what was approved by signature can't be made longer")
                .next("ask anew; sessions that are open go on under the new grant"));
        }
        let submission = Submission {
            requester: caller.name.clone(),
            resource: access.envelope.resource.clone(),
            scope: access.envelope.scope.clone(),
            duration: by,
            starts_at: None,
            pending: self.node.settings.pending,
            asked: caller.asked(reason, access.envelope.asked.ticket.clone(), now),
            origin: Origin::Extension { of: id.clone() },
            facts: None,
            hold: None,
        };
        let Submitted { access, merged, .. } = self.submit(submission).await?;
        let mut view = self.view(caller, access).await?;
        view.merged = merged;
        Ok(view)
    }

    /// Begins work on an access request the caller may see.
    async fn review(&self, caller: &Caller, id: &AccessRequestId) -> Result<(Writing, Work, Access, SharedFacts), Problem> {
        let (guard, mut work) = self.begin().await;
        self.recall(&mut work, id).await?;
        let access = work.access(id).map(|a| (**a).clone()).ok_or_else(|| Problem::not_found("access request"))?;
        if !self.sees(&work.world, caller, &access, work.now) {
            return Err(Problem::not_found("access request"));
        }
        let facts = self.facts_of(&work.world, &access.envelope);
        Ok((guard, work, access, facts))
    }

    fn reviewer(
        &self,
        work: &Work,
        caller: &Caller,
        access: &Access,
        facts: Option<&Facts>,
    ) -> Result<safeconduct_lifecycle::Reviewer, Problem> {
        work.world.reviewer(&caller.name, &access.envelope, facts, work.now).ok_or_else(Problem::not_signed_in)
    }

    async fn finish(&self, caller: &Caller, guard: Writing, work: Work, id: &AccessRequestId) -> Result<AccessView, Problem> {
        let access = work.access(id).map(|a| (**a).clone()).ok_or_else(|| Problem::not_found("access request"))?;
        self.commit(guard, work).await?;
        self.view(caller, access).await
    }
}

/// The words that go with a verdict: those that were signed, which must be those that were sent.
fn comment_of(signed: Option<&SignedStatement>, sent: Option<Words>) -> Result<Option<Words>, Problem> {
    let Some(signed) = signed else { return Ok(sent) };
    let statement = Statement::read(&signed.statement)
        .map_err(|invalid| Problem::new("APPROVE-005", ProblemKind::Denied, "the signature does not count").why(invalid.to_string()))?;
    if statement.comment == sent { Ok(sent) } else { Err(Problem::invalid("the comment is another than the one that was signed")) }
}
