//! Insights: counts over a time, and the rows behind them.

use axum::{Json, extract::State};
use safeconduct_app::Counted;
use safeconduct_model::AccessRequestId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::{
    dto,
    extract::{Params, Signed},
    problem::Failure,
    state::ApiState,
};

/// Which time, and which of the rows behind the counts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct InsightParams {
    /// RFC 3339; 30 days before `to` if absent.
    from: Option<String>,
    /// Now if absent.
    to: Option<String>,
    /// Only rows asked on this day, UTC: `2026-11-26`.
    day: Option<String>,
    /// Only rows that came to this: `at_once`, `approved`, `denied`, `refused`, `withdrawn`, `lapsed` or `waits`.
    came: Option<String>,
    /// Only rows that people decided, and for which this group was wanted.
    decided_by: Option<String>,
    resource: Option<String>,
    /// Only rows that ask for exactly these operations, joined by `,`.
    operations: Option<String>,
    /// Only grants that were, or were not, taken up.
    used: Option<bool>,
    /// Only rows older than this access request.
    before: Option<String>,
    limit: Option<u32>,
}

impl InsightParams {
    fn fits(&self, one: &Counted) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let operations = || one.operations.iter().map(|operation| operation.to_string()).collect::<Vec<_>>().join(",");
        let decided = |group: &String| one.decided_after_seconds.is_some() && one.groups.iter().any(|of| of.as_str() == group);
        same(&self.day, &one.day())
            && same(&self.came, one.came.name())
            && same(&self.resource, one.resource.as_str())
            && self.operations.as_ref().is_none_or(|wanted| *wanted == operations())
            && self.decided_by.as_ref().is_none_or(decided)
            && self.used.is_none_or(|used| one.used == Some(used))
    }
}

/// What came of access requests over a time: for auditors and administrators.
#[utoipa::path(get, operation_id = "insights", path = "/api/v1/insights", tag = "node", params(InsightParams), responses((status = 200, body = dto::Insights), (status = 400, body = dto::Problem, content_type = "application/problem+json"), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 429, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn insights(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<InsightParams>,
) -> Result<Json<dto::Insights>, Failure> {
    let time = |field, text: &Option<String>| text.as_deref().map(|text| dto::parse(field, text)).transpose();
    let (from, to) = (time("from", &params.from)?, time("to", &params.to)?);
    let before: Option<AccessRequestId> = params.before.as_deref().map(|before| dto::parse("before", before)).transpose()?;
    let insights = state.app.insights(&caller, from, to).await?;
    let mut rows = insights.counted.iter();
    if let Some(before) = before {
        rows.by_ref().find(|one| one.id == before);
    }
    let limit = usize::try_from(page(params.limit)).unwrap_or(usize::MAX);
    let rows = rows.filter(|one| params.fits(one)).take(limit).map(Into::into).collect();
    Ok(Json(dto::Insights::new(&insights, rows)))
}
