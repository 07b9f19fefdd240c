//! The passing of time: lapses, expiries, scheduled starts, and the retiring of what has ended. At most a second apart.

use std::time::Duration;

use safeconduct_lifecycle::{AccessState, Command};
use tokio::{sync::watch, time::Instant};

use crate::{
    node::App,
    problem::Problem,
    world::{is_due, next_deadline},
};

/// Longest time between two ticks.
const LONGEST: Duration = Duration::from_secs(1);
/// Access requests that are due are handled in units of at most this many: others get their turn in between.
const AT_ONCE: usize = 500;
/// Shortest time between two signed checkpoints.
const SIGN_EVERY: Duration = Duration::from_millis(200);
/// How often the high-water mark is raised when nothing else is stored.
const HIGH_WATER_EVERY: Duration = Duration::from_secs(10);

impl App {
    /// Does what is due now. Doing it again is harmless.
    ///
    /// # Errors
    /// `STORE-001`: then nothing was done and the next tick tries again.
    pub async fn tick(&self) -> Result<(), Problem> {
        while self.world().access.values().any(|a| is_due(a, self.now())) {
            let (guard, mut work) = self.begin().await;
            let due: Vec<_> = work
                .world
                .access
                .values()
                .filter(|a| is_due(a, work.now))
                .take(AT_ONCE)
                .map(|a| a.envelope.access_request.clone())
                .collect();
            for id in due {
                let Some(access) = work.access(&id).cloned() else { continue };
                let command = if matches!(access.state, AccessState::Scheduled { .. }) {
                    let facts = self.facts_of(&work.world, &access.envelope);
                    Command::Activate { judgement: work.world.judge_standing(&access, facts.as_deref(), work.now) }
                } else {
                    Command::Tick
                };
                if let Err(refused) = work.run(&id, command) {
                    tracing::warn!(access_request = %id, %refused, "not ended by the tick");
                }
            }
            if work.is_empty() {
                break;
            }
            self.commit(guard, work).await?;
        }
        self.retire_ended().await;
        self.tell_left_out(false).await
    }

    /// Ends grants that are over and under which no session is left.
    pub(crate) async fn retire_ended(&self) {
        while self.retire_some().await {}
    }

    /// True if there may be more to retire.
    async fn retire_some(&self) -> bool {
        let over = |a: &safeconduct_lifecycle::Access| a.state.is_final() && a.state.was_granted() && !a.ended;
        if !self.world().access.values().any(|a| over(a)) {
            return false;
        }
        let (guard, mut work) = self.begin().await;
        let live: Vec<_> = self.node.doors.lock().values().map(|d| (d.principal.clone(), d.resource.name.clone())).collect();
        let done: Vec<_> = work
            .world
            .access
            .values()
            .filter(|a| over(a))
            .filter(|a| {
                // A session that goes on under another grant does not keep this one open.
                let holder = (a.envelope.requester.clone(), a.envelope.resource.clone());
                !live.contains(&holder) || !work.world.live_grants(&holder.0, &holder.1, work.now).is_empty() || a.envelope.scope.is_exact()
            })
            .take(AT_ONCE)
            .map(|a| a.envelope.access_request.clone())
            .collect();
        let more = done.len() == AT_ONCE;
        for id in done {
            if let Err(refused) = work.run(&id, Command::End) {
                tracing::warn!(access_request = %id, %refused, "not ended");
            }
        }
        if let Err(problem) = self.commit(guard, work).await {
            tracing::warn!(%problem, "ended grants are recorded later");
            return false;
        }
        more
    }

    /// Ticks, raises the high-water mark and publishes checkpoints until told to stop.
    pub async fn tick_forever(self, mut stop: watch::Receiver<bool>) {
        let mut raised = self.node.ports.clock.boot();
        let mut signed: Option<Instant> = None;
        while !*stop.borrow() {
            let ticked = self.tick().await;
            if let Err(problem) = &ticked {
                tracing::error!(%problem, "tick");
            }
            // Not after every commit: one signature covers what came in a while.
            let too_soon = signed.and_then(|at| SIGN_EVERY.checked_sub(at.elapsed())).filter(|left| !left.is_zero());
            if too_soon.is_none() {
                signed = Some(Instant::now());
                if let Err(problem) = self.publish_checkpoint().await {
                    tracing::error!(%problem, "checkpoint");
                }
            }
            let boot = self.node.ports.clock.boot();
            if boot.saturating_sub(raised) >= HIGH_WATER_EVERY {
                raised = boot;
                if let Err(error) = self.node.ports.store.raise_high_water(self.now()).await {
                    tracing::error!(%error, "high-water mark");
                }
            }
            // What is due and can't be stored is tried again in a while, not at once.
            let due = next_deadline(&self.world()).filter(|_| ticked.is_ok());
            let wait = due.map_or(LONGEST, |at| at.left(self.now()).min(LONGEST)).min(too_soon.unwrap_or(LONGEST));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.node.deadline_changed.notified() => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }
}
