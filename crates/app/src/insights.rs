//! Insights: what came of access requests over a time, for auditors and administrators. Counts what the record says; decides nothing.
//!
//! The work is bounded: where there is more than the bounds, the newest are counted and the answer says that it is not all.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_lifecycle::{AccessEvent, AccessState, Event, ExactOutcome, StreamId};
use safeconduct_model::{AccessRequestId, GrantId, GroupName, Operation, OperationSet, Origin, PrincipalName, ResourceName, Timestamp};

use crate::{
    admin::standing_privilege,
    identity::Caller,
    meters::TimeSpread,
    node::App,
    ports::{AccessQuery, SessionQuery, Stored},
    problem::{Problem, ProblemKind},
    turns::Turns,
};

/// Calls that are counted at the same time, and those that wait for it.
const AT_ONCE: usize = 2;
const WAITING: usize = 8;
/// Access requests that are counted, and sessions looked at for whether grants were used.
const MAX_COUNTED: usize = 1_000;
const MAX_SESSIONS: usize = 2_000;
/// Rows passed over on the way to the first that counts.
const MAX_PASSED: usize = 20_000;
const PAGE: u32 = 200;
/// Longest time that may be asked about, and the one that is if none is named.
const MAX_DAYS: i64 = 366;
const DEFAULT_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 86_400;
/// Refused actions that are named.
const TOP: usize = 10;

/// What came of an access request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Came {
    /// Granted, and nobody was asked.
    AtOnce,
    Approved,
    Denied,
    /// Policy said no.
    Refused,
    Withdrawn,
    Lapsed,
    /// Still waits for people.
    Waits,
}

impl Came {
    pub const ALL: [Self; 7] = [Self::AtOnce, Self::Approved, Self::Denied, Self::Refused, Self::Withdrawn, Self::Lapsed, Self::Waits];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at_once",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Lapsed => "lapsed",
            Self::Waits => "waits",
        }
    }
}

/// One access request as it is counted.
#[derive(Clone, Debug)]
pub struct Counted {
    pub id: AccessRequestId,
    pub requester: PrincipalName,
    pub resource: ResourceName,
    pub operations: OperationSet,
    pub asked_at: Timestamp,
    pub came: Came,
    /// Groups whose approval it wanted.
    pub groups: BTreeSet<GroupName>,
    /// From the asking until people had approved or denied it.
    pub decided_after_seconds: Option<u64>,
    /// Whether what was granted was taken up; `None` if nothing was granted, or it made another grant longer.
    pub used: Option<bool>,
}

impl Counted {
    /// The day of the asking, UTC: `2026-11-26`.
    #[must_use]
    pub fn day(&self) -> String {
        self.asked_at.to_string().chars().take(10).collect()
    }
}

/// What is counted, newest first, and how the gateway stands.
#[derive(Clone, Debug)]
pub struct Insights {
    pub from: Timestamp,
    pub to: Timestamp,
    pub counted: Vec<Counted>,
    /// False if there were more than are counted.
    pub complete: bool,
    pub standing_privilege: Vec<String>,
    pub cuts: Cuts,
}

/// How long it took, since this gateway started, from the end of a session's last grant until its client and its server's process were gone.
#[derive(Clone, Debug)]
pub struct Cuts {
    pub since: Timestamp,
    pub client: TimeSpread,
    pub backend: TimeSpread,
}

/// Places for calls that count.
pub(crate) fn turns() -> Turns {
    Turns::new(AT_ONCE, WAITING)
}

/// How long people of a group took, in seconds: half took at most the median, nineteen of twenty at most `p95`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeToDecide {
    /// `None`: anybody who may approve.
    pub group: Option<GroupName>,
    pub decided: usize,
    pub median: u64,
    pub p95: u64,
}

impl Insights {
    /// By day, oldest first, how many came to what. Days without any are left out.
    #[must_use]
    pub fn days(&self) -> BTreeMap<String, BTreeMap<Came, u64>> {
        let mut days: BTreeMap<String, BTreeMap<Came, u64>> = BTreeMap::new();
        for one in &self.counted {
            let count = days.entry(one.day()).or_default().entry(one.came).or_default();
            *count = count.saturating_add(1);
        }
        days
    }

    /// How long deciding took. An access request that wants several groups counts for each.
    #[must_use]
    pub fn times_to_decide(&self) -> Vec<TimeToDecide> {
        let mut groups: BTreeMap<Option<GroupName>, Vec<u64>> = BTreeMap::new();
        for one in &self.counted {
            let Some(seconds) = one.decided_after_seconds else { continue };
            if one.groups.is_empty() {
                groups.entry(None).or_default().push(seconds);
            }
            for group in &one.groups {
                groups.entry(Some(group.clone())).or_default().push(seconds);
            }
        }
        let times = |(group, mut seconds): (Option<GroupName>, Vec<u64>)| {
            seconds.sort_unstable();
            TimeToDecide { group, decided: seconds.len(), median: rank(&seconds, 50), p95: rank(&seconds, 95) }
        };
        groups.into_iter().map(times).collect()
    }

    /// By resource: grants held, and how many of them were taken up.
    #[must_use]
    pub fn grants(&self) -> BTreeMap<ResourceName, (u64, u64)> {
        let mut grants: BTreeMap<ResourceName, (u64, u64)> = BTreeMap::new();
        for one in &self.counted {
            let Some(used) = one.used else { continue };
            let (held, taken_up) = grants.entry(one.resource.clone()).or_default();
            *held = held.saturating_add(1);
            *taken_up = taken_up.saturating_add(u64::from(used));
        }
        grants
    }

    /// What was refused or denied most, the most frequent first.
    #[must_use]
    pub fn refused(&self) -> Vec<(ResourceName, OperationSet, u64)> {
        let mut counts: BTreeMap<(ResourceName, String), (OperationSet, u64)> = BTreeMap::new();
        for one in self.counted.iter().filter(|one| matches!(one.came, Came::Refused | Came::Denied)) {
            let key = (one.resource.clone(), one.operations.to_string());
            let (_, count) = counts.entry(key).or_insert_with(|| (one.operations.clone(), 0));
            *count = count.saturating_add(1);
        }
        let mut refused: Vec<_> = counts.into_iter().map(|((resource, _), (operations, count))| (resource, operations, count)).collect();
        refused.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        refused.truncate(TOP);
        refused
    }
}

/// The smallest value that `percent` of them do not exceed.
fn rank(sorted: &[u64], percent: usize) -> u64 {
    let place = sorted.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

impl App {
    /// What came of the access requests that were asked from `from` to before `to`: of the last 30 days if nothing is said.
    ///
    /// # Errors
    /// `VIEW-001` for who may not audit; `REQ-001` for a time that is empty or longer than a year; `VIEW-002` if too many ask at once.
    pub async fn insights(&self, caller: &Caller, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Insights, Problem> {
        if !self.audits(caller) {
            return Err(Problem::new("VIEW-001", ProblemKind::Denied, "you may not see what everybody asks")
                .next("auditors and administrators may"));
        }
        let to = to.unwrap_or_else(|| self.now().plus_seconds(1));
        let from = from.unwrap_or_else(|| to.plus_seconds(-DEFAULT_DAYS.saturating_mul(DAY_SECONDS)));
        if from >= to || from < to.plus_seconds(-MAX_DAYS.saturating_mul(DAY_SECONDS)) {
            return Err(Problem::invalid("`from` is before `to`, by at most 366 days"));
        }
        let busy = || Problem::new("VIEW-002", ProblemKind::TooMany, "too many ask for insights at once").next("try again in a moment");
        let _turn = self.node.counting.take().await.ok_or_else(busy)?;
        let (taken_up, sessions_complete) = self.grants_of_sessions(from).await?;
        let mut counted = Vec::new();
        let (mut query, mut passed, mut complete) = (AccessQuery { limit: PAGE, ..AccessQuery::default() }, 0_usize, sessions_complete);
        'pages: loop {
            let rows = self.node.ports.store.access_requests(query.clone()).await?;
            let Some(last) = rows.last().map(|row| row.id.clone()) else { break };
            for row in rows {
                if row.asked_at < from {
                    break 'pages;
                }
                passed = passed.saturating_add(1);
                if counted.len() >= MAX_COUNTED || passed > MAX_PASSED {
                    complete = false;
                    break 'pages;
                }
                if row.asked_at < to {
                    let history = self.node.ports.store.load(StreamId::Access(row.id.clone())).await?;
                    counted.extend(count(&history, &taken_up));
                }
            }
            query.before = Some(last);
        }
        let standing_privilege = standing_privilege(&self.world(), self.node.settings.bundle_watched);
        let meters = &self.node.meters;
        let cuts = Cuts { since: self.node.started_at, client: meters.cut_client.spread(), backend: meters.cut_backend.spread() };
        Ok(Insights { from, to, counted, complete, standing_privilege, cuts })
    }

    /// Grants of sessions that were open since then, and whether these are all.
    async fn grants_of_sessions(&self, since: Timestamp) -> Result<(BTreeSet<GrantId>, bool), Problem> {
        let (mut found, mut looked_at) = (BTreeSet::new(), 0_usize);
        let mut query = SessionQuery { open_from: Some(since), limit: PAGE, ..SessionQuery::default() };
        loop {
            let rows = self.node.ports.store.sessions(query.clone()).await?;
            let Some(last) = rows.last().map(|row| row.id.clone()) else { return Ok((found, true)) };
            for row in rows {
                looked_at = looked_at.saturating_add(1);
                if looked_at > MAX_SESSIONS {
                    return Ok((found, false));
                }
                found.extend(self.load_session(&row.id).await?.into_iter().flat_map(|session| session.grants));
            }
            query.before = Some(last);
        }
    }
}

/// One access request out of what happened to it; `None` if the asking was erased.
fn count(history: &[Stored], taken_up: &BTreeSet<GrantId>) -> Option<Counted> {
    let events = || {
        history.iter().filter_map(|stored| match &stored.event {
            Some(Event::Access(event)) => Some((stored.at, &**event)),
            _ => None,
        })
    };
    let access = safeconduct_lifecycle::replay(None, events().map(|(_, event)| event))?;
    let (mut approved, mut came, mut decided_at) = (false, Came::Waits, None);
    for (at, event) in events() {
        let so = match event {
            AccessEvent::Approved { .. } => {
                approved = true;
                continue;
            }
            AccessEvent::Granted { .. } => {
                if approved {
                    Came::Approved
                } else {
                    Came::AtOnce
                }
            }
            AccessEvent::Denied { .. } => Came::Denied,
            AccessEvent::RefusedByPolicy { .. } | AccessEvent::Revoked { .. } => Came::Refused,
            AccessEvent::Withdrawn { .. } => Came::Withdrawn,
            AccessEvent::Lapsed { .. } => Came::Lapsed,
            _ => continue,
        };
        // The first that settles it: what becomes of the grant later is another matter.
        came = so;
        decided_at = matches!(so, Came::Approved | Came::Denied).then_some(at);
        break;
    }
    let envelope = access.envelope;
    let granted = matches!(came, Came::AtOnce | Came::Approved) && !matches!(envelope.origin, Origin::Extension { .. });
    let used = granted.then(|| match &access.state {
        AccessState::Claimed { .. } => true,
        AccessState::Settled { outcome, .. } => !matches!(outcome, ExactOutcome::RefusedNotRun { .. }),
        _ => taken_up.contains(&envelope.access_request.grant()),
    });
    let asked_at = envelope.asked_at;
    let seconds = |at: Timestamp| u64::try_from(at.micros().saturating_sub(asked_at.micros()) / 1_000_000).unwrap_or_default();
    Some(Counted {
        requester: envelope.requester,
        resource: envelope.resource,
        operations: envelope.scope.operations().iter().filter(|operation| *operation != Operation::Connect).collect(),
        asked_at,
        came,
        groups: envelope.quorum.iter().flat_map(|quorum| &quorum.any_of).flat_map(|bar| bar.groups.clone()).collect(),
        decided_after_seconds: decided_at.map(seconds),
        used,
        id: envelope.access_request,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        assert_eq!((rank(&[], 50), rank(&[7], 50), rank(&[7], 95)), (0, 7, 7));
        let twenty: Vec<u64> = (1..=20).collect();
        assert_eq!((rank(&twenty, 50), rank(&twenty, 95)), (10, 19));
    }
}
