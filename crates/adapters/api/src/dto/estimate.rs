//! Estimates on the wire: told beside an access request, never part of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How many rows a statement may touch, by the statistics of its server. Nobody approves a figure of it: it is no part of the envelope.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// One sentence for people. It begins with `unknown` where nothing is known.
    #[schema(example = "at most about 1,200,000 rows of public.orders (the server's statistics)")]
    pub summary: String,
    pub tables: Vec<TableEstimate>,
    /// When the server said so: the oldest of the figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
}

/// How many rows one table holds that the statement names.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableEstimate {
    pub name: String,
    /// About so many, partitions included, when the server last counted; `null` if that is not known.
    pub rows: Option<u64>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

impl From<safeconduct_app::Estimate> for Estimate {
    fn from(estimate: safeconduct_app::Estimate) -> Self {
        Self {
            summary: estimate.summary,
            tables: estimate.tables.into_iter().map(Into::into).collect(),
            read_at: estimate.read_at.map(|at| at.to_string()),
        }
    }
}

impl From<safeconduct_app::TableEstimate> for TableEstimate {
    fn from(table: safeconduct_app::TableEstimate) -> Self {
        Self { name: table.name, rows: table.rows, why_not: table.why_not }
    }
}
