//! Exact actions: claimed once, run by the gateway from what is stored, settled with what really happened.

use safeconduct_lifecycle::{Access, AccessState, Command, ExactOutcome};
use safeconduct_model::{AccessRequestId, Action, Origin, PrincipalName, Scope, SessionId};
use tokio::sync::{mpsc, watch};

use crate::{
    identity::Caller,
    node::App,
    ports::{BoxFuture, ResultPart, ResultSink, Run, SinkClosed},
    problem::{Problem, ProblemKind},
    rights,
};

impl App {
    /// Runs an approved exact action once; results stream into the sink. Only its requester may.
    ///
    /// Cancellation: when this future is dropped the action goes on and its outcome is settled; only the results are lost.
    ///
    /// # Errors
    /// `RUN-001` if it is not ready, `RUN-003` if it runs or ran already, `GRANT-002` for anybody but its requester.
    pub async fn execute(
        &self,
        caller: &Caller,
        id: &AccessRequestId,
        sink: &mut (dyn ResultSink + Send),
    ) -> Result<ExactOutcome, Problem> {
        let access = self.load_access(id).await?.ok_or_else(|| Problem::not_found("access request"))?;
        if !self.sees(&self.world(), caller, &access, self.now()) {
            return Err(Problem::not_found("access request"));
        }
        let (Scope::Exact { action: Action::Sql(action), .. }, Origin::Asked) = (&access.envelope.scope, &access.envelope.origin) else {
            return Err(Problem::new("RUN-002", ProblemKind::Invalid, "this access request is not an action to run"));
        };
        let executor = self.node.executor.get().cloned();
        let executor = executor
            .ok_or_else(|| Problem::new("RUN-004", ProblemKind::Unavailable, "this gateway runs no actions").next("try again later"))?;
        let session = SessionId::from_bits(self.bits()?);
        let (parts, mut results) = mpsc::channel::<ResultPart>(64);
        let (app, id, action, principal) = (self.clone(), id.clone(), action.clone(), caller.name.clone());
        // On its own task: whoever asked may go away, what was claimed is run and its outcome settled all the same.
        let running = tokio::spawn(async move {
            let (stop, stopped) = watch::channel(false);
            let claimed = app.claim(&id, &principal, Some(stop)).await?;
            let outcome = match app.world().resource(&claimed.envelope.resource).cloned() {
                None => ExactOutcome::RefusedNotRun { why: "the resource is gone".to_owned() },
                Some(resource) => {
                    let permit = app.mint_claimed(&session, &claimed);
                    match app.make_role_for_run(&session, &claimed, &resource, &action.database).await {
                        Err(error) => {
                            tracing::warn!(%id, error = &error as &dyn std::error::Error, "no login for the action");
                            app.close_run(&session, None, "no login could be made").await;
                            ExactOutcome::RefusedNotRun { why: "the gateway could make no login for it".to_owned() }
                        }
                        Ok(login) => {
                            let read_only = rights::is_read_only([claimed.envelope.scope.operations()]);
                            let login_of_run = login.clone();
                            let run = Run { permit, resource, action, principal, login: login_of_run, read_only, stop: stopped };
                            let performed = tokio::spawn(async move { executor.execute(run, &mut Channel(parts)).await });
                            let failed = |_| ExactOutcome::Unknown { why: "the gateway failed while it ran".to_owned() };
                            let outcome = performed.await.unwrap_or_else(failed);
                            app.close_run(&session, login, "the action is over").await;
                            outcome
                        }
                    }
                }
            };
            app.settle(&id, outcome.clone()).await;
            app.node.runs.lock().remove(&id);
            Ok(outcome)
        });
        while let Some(part) = results.recv().await {
            if sink.push(part).await.is_err() {
                results.close();
                break;
            }
        }
        running.await.map_err(|_| Problem::new("RUN-005", ProblemKind::Unavailable, "the outcome is not known").next("see `show`"))?
    }

    /// Takes up an exact action: compare-and-set, with policy asked again. `stop` is told when it must not go on.
    pub(crate) async fn claim(
        &self,
        id: &AccessRequestId,
        requester: &PrincipalName,
        stop: Option<watch::Sender<bool>>,
    ) -> Result<Access, Problem> {
        let (guard, mut work) = self.begin().await;
        self.recall(&mut work, id).await?;
        let access = work.access(id).cloned().ok_or_else(|| Problem::not_found("access request"))?;
        if access.envelope.requester != *requester {
            return Err(Problem::refused(&safeconduct_lifecycle::Refused::NotHolder, work.now));
        }
        if let Some(why) = &work.world.frozen {
            return Err(Problem::frozen(why));
        }
        if matches!(access.state, AccessState::Pending | AccessState::Scheduled { .. }) {
            return Err(Problem::new("RUN-001", ProblemKind::Conflict, "it is not approved yet")
                .next(format!("wait for it: safeconduct show {id}")));
        }
        let facts = self.facts_of(&work.world, &access.envelope);
        let judgement = work.world.judge_standing(&access, facts.as_deref(), work.now);
        self.run(&mut work, id, Command::Claim { judgement })?;
        let claimed = work.access(id).map(|a| (**a).clone()).ok_or_else(|| Problem::not_found("access request"))?;
        // While the guard is held: a revocation that follows the claim finds what to stop.
        if let Some(stop) = stop {
            self.node.runs.lock().insert(id.clone(), stop);
        }
        if let Err(problem) = self.commit(guard, work).await {
            self.node.runs.lock().remove(id);
            return Err(problem);
        }
        Ok(claimed)
    }

    /// Stops an action that was claimed: its run, or the session it was held in. Its outcome is settled by who runs it.
    pub(crate) fn stop_running(&self, id: &AccessRequestId, reason: &str) {
        if let Some(stop) = self.node.runs.lock().get(id) {
            stop.send_replace(true);
        }
        let doors: Vec<_> = self.node.doors.lock().values().filter(|door| door.claimed.lock().contains(&id.grant())).cloned().collect();
        for door in doors {
            door.end(reason.to_owned(), self.now());
        }
    }

    /// Records how a claimed action ended, until the store takes it.
    pub(crate) async fn settle(&self, id: &AccessRequestId, outcome: ExactOutcome) {
        self.insist("an outcome", |work| {
            // Settled already by a restart in between: the first word stands.
            if let Err(refused) = work.run(id, Command::Settle { outcome: outcome.clone() }) {
                tracing::warn!(access_request = %id, %refused, "outcome not recorded");
            }
        })
        .await;
        self.retire_ended().await;
    }
}

struct Channel(mpsc::Sender<ResultPart>);

impl ResultSink for Channel {
    fn push(&mut self, part: ResultPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(async move { self.0.send(part).await.map_err(|_| SinkClosed) })
    }
}
