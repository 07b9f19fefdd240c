//! Insights on the wire: counts to draw pictures from, and a page of the access requests behind them.

use std::collections::BTreeMap;

use safeconduct_app::{Counted, Insights as AppInsights, TimeSpread};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What came of the access requests of a time, and how the gateway stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Insights {
    pub from: String,
    pub to: String,
    /// Access requests that are counted.
    pub counted: u64,
    /// False if there were more: then the newest are counted.
    pub complete: bool,
    /// Who could change something alone, and why; empty if nobody could.
    pub standing_privilege: Vec<String>,
    /// Oldest first; days without any are left out.
    pub days: Vec<Day>,
    pub deciding: Vec<Deciding>,
    pub grants: Vec<GrantUse>,
    /// What was refused or denied most.
    pub refused: Vec<RefusedAction>,
    pub cuts: Cuts,
    /// The access requests behind it that fit the filters, newest first: one page of them.
    pub rows: Vec<InsightRow>,
}

/// How long it took from the end of a session's last grant, by its deadline or by an act, until the session was gone. Counted since this
/// gateway started, whatever time is asked about.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Cuts {
    pub since: String,
    /// Until the client's connection was closed.
    pub client: Vec<Took>,
    /// Until the server's process for it was gone.
    pub backend: Vec<Took>,
}

/// How many took at most so long, and longer than the bound before.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Took {
    /// Absent: longer than every bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_micros: Option<u64>,
    pub count: u64,
}

/// One day, UTC, and how many access requests asked on it came to what.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Day {
    /// `2026-11-26`.
    pub day: String,
    /// By `at_once`, `approved`, `denied`, `refused`, `withdrawn`, `lapsed` and `waits`; what did not happen is left out.
    pub came: BTreeMap<String, u64>,
}

/// How long people took to approve or deny.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deciding {
    /// Whose approval was wanted; absent where anybody who may approve would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub decided: u64,
    pub median_seconds: u64,
    /// Nineteen of twenty took no longer.
    pub p95_seconds: u64,
}

/// Grants on a resource and how many were taken up: a session was opened with them or took them up, or the action was run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GrantUse {
    pub resource: String,
    pub held: u64,
    pub used: u64,
}

/// An action that was refused or denied, and how often.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedAction {
    pub resource: String,
    pub operations: Vec<String>,
    pub count: u64,
}

/// An access request as it is counted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InsightRow {
    pub id: String,
    pub requester: String,
    pub resource: String,
    pub operations: Vec<String>,
    pub asked_at: String,
    pub came: String,
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_after_seconds: Option<u64>,
    /// Absent if nothing was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<bool>,
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn operations(of: &safeconduct_model::OperationSet) -> Vec<String> {
    of.iter().map(|operation| operation.to_string()).collect()
}

impl Insights {
    /// The counts, with these rows.
    pub(crate) fn new(of: &AppInsights, rows: Vec<InsightRow>) -> Self {
        let came = |counts: BTreeMap<safeconduct_app::Came, u64>| {
            counts.into_iter().map(|(came, count)| (came.name().to_owned(), count)).collect()
        };
        Self {
            from: of.from.to_string(),
            to: of.to.to_string(),
            counted: number(of.counted.len()),
            complete: of.complete,
            standing_privilege: of.standing_privilege.clone(),
            days: of.days().into_iter().map(|(day, counts)| Day { day, came: came(counts) }).collect(),
            deciding: of
                .times_to_decide()
                .into_iter()
                .map(|times| Deciding {
                    group: times.group.map(|group| group.to_string()),
                    decided: number(times.decided),
                    median_seconds: times.median,
                    p95_seconds: times.p95,
                })
                .collect(),
            grants: of
                .grants()
                .into_iter()
                .map(|(resource, (held, used))| GrantUse { resource: resource.to_string(), held, used })
                .collect(),
            refused: of
                .refused()
                .into_iter()
                .map(|(resource, of, count)| RefusedAction { resource: resource.to_string(), operations: operations(&of), count })
                .collect(),
            cuts: Cuts { since: of.cuts.since.to_string(), client: took(&of.cuts.client), backend: took(&of.cuts.backend) },
            rows,
        }
    }
}

fn took(of: &TimeSpread) -> Vec<Took> {
    let within = of.within.iter().map(|(bound, count)| Took { at_most_micros: u64::try_from(bound.as_micros()).ok(), count: *count });
    within.chain([Took { at_most_micros: None, count: of.longer }]).collect()
}

impl From<&Counted> for InsightRow {
    fn from(one: &Counted) -> Self {
        Self {
            id: one.id.to_string(),
            requester: one.requester.to_string(),
            resource: one.resource.to_string(),
            operations: operations(&one.operations),
            asked_at: one.asked_at.to_string(),
            came: one.came.name().to_owned(),
            groups: one.groups.iter().map(ToString::to_string).collect(),
            decided_after_seconds: one.decided_after_seconds,
            used: one.used,
        }
    }
}
