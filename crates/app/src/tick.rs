//! The passing of time: lapses, expiries, scheduled starts, and the retiring of what has ended. At most a second apart.

use std::{collections::HashSet, time::Duration};

use safeconduct_lifecycle::{AccessState, Command};
use tokio::{sync::watch, time::Instant};

use crate::{minting::WithRights, node::App, problem::Problem};

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
        while self.world().access.due(self.now()).next().is_some() {
            let (guard, mut work) = self.begin().await;
            let due: Vec<_> = work.world.access.due(work.now).take(AT_ONCE).cloned().collect();
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
        self.end_idle().await?;
        self.write_uses(false).await;
        self.tell_left_out(false).await
    }

    /// Ends grants that are over and under which no session is left.
    pub(crate) async fn retire_ended(&self) {
        while self.retire_some().await {}
    }

    /// True if there may be more to retire.
    async fn retire_some(&self) -> bool {
        if self.world().access.over().next().is_none() {
            return false;
        }
        let (guard, mut work) = self.begin().await;
        let mut connected: HashSet<_> = self.node.doors.lock().values().map(|d| (d.principal.clone(), d.resource.name.clone())).collect();
        // A session that goes on under another grant does not keep this one open.
        connected.retain(|(holder, resource)| work.world.live_grants(holder, resource, work.now).is_empty());
        let with_rights = WithRights::of(&work.world, &self.node.given.lock());
        let done: Vec<_> = work
            .world
            .access
            .over()
            .filter(|a| !with_rights.has(a))
            .filter(|a| a.envelope.scope.is_exact() || !connected.contains(&(a.envelope.requester.clone(), a.envelope.resource.clone())))
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
            let due = self.world().access.next_deadline().filter(|_| ticked.is_ok());
            let wait = due.map_or(LONGEST, |at| at.left(self.now()).min(LONGEST)).min(too_soon.unwrap_or(LONGEST));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.node.deadline_changed.notified() => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }
}
