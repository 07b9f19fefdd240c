//! Grants: what is held, and every way to end or lengthen it. Lengthening is a new access request.

use axum::{Json, extract::State};
use safeconduct_app::{List, ports};
use safeconduct_model::GrantId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::{
    dto,
    extract::{Body, Params, Part, Signed},
    problem::Failure,
    state::ApiState,
};

/// Which grants to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// True for all that the caller may see, else only own ones.
    all: Option<bool>,
    /// True for those that have ended, too.
    ended: Option<bool>,
    /// Only older than this access request.
    before: Option<String>,
    limit: Option<u32>,
}

/// Grants, newest first. Those still open unless `ended` is set.
#[utoipa::path(get, operation_id = "list_grants", path = "/api/v1/grants", tag = "grants", params(ListParams), responses((status = 200, body = Vec<dto::AccessRequest>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<ListParams>,
) -> Result<Json<Vec<dto::AccessRequest>>, Failure> {
    let list = if params.all.unwrap_or(false) { List::All } else { List::Mine };
    let mut query = ports::AccessQuery {
        open: if params.ended.unwrap_or(false) { None } else { Some(true) },
        before: params.before.map(|id| dto::parse("before", &id)).transpose()?,
        limit: page(params.limit),
        ..ports::AccessQuery::default()
    };
    // Most of a part may be no grants yet: only a part that is not full is the last.
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut grants: Vec<dto::AccessRequest> = Vec::new();
    loop {
        let views = state.app.access_requests(&caller, list, query.clone()).await?;
        let last = views.last().map(|view| view.access.envelope.access_request.clone());
        let full = views.len() == limit;
        grants.extend(views.into_iter().filter(|view| view.access.state.was_granted()).map(Into::into));
        if grants.len() >= limit || !full {
            grants.truncate(limit);
            return Ok(Json(grants));
        }
        query.before = last;
    }
}

/// Gives a grant back. Its sessions end with it.
#[utoipa::path(post, path = "/api/v1/grants/{id}/release", tag = "grants", params(("id" = String, Path,)), responses((status = 200, body = dto::AccessRequest), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 409, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn release(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<GrantId>,
) -> Result<Json<dto::AccessRequest>, Failure> {
    Ok(Json(state.app.release(&caller, &id).await?.into()))
}

/// Ends a grant for every session at once.
#[utoipa::path(post, path = "/api/v1/grants/{id}/revoke", tag = "grants", params(("id" = String, Path,)), request_body = dto::End, responses((status = 200, body = dto::AccessRequest), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 409, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<GrantId>,
    Body(body): Body<dto::End>,
) -> Result<Json<dto::AccessRequest>, Failure> {
    let reason = dto::words("reason", &body.reason)?;
    Ok(Json(state.app.revoke(&caller, &id, reason).await?.into()))
}

/// Asks that a grant last longer: a new access request, decided like any other.
#[utoipa::path(post, path = "/api/v1/grants/{id}/extend", tag = "grants", params(("id" = String, Path,)), request_body = dto::Extend, responses((status = 201, body = dto::AccessRequest), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 409, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn extend(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<GrantId>,
    Body(body): Body<dto::Extend>,
) -> Result<(axum::http::StatusCode, Json<dto::AccessRequest>), Failure> {
    let (by, reason) = (dto::parse("by", &body.by)?, dto::words("reason", &body.reason)?);
    Ok((axum::http::StatusCode::CREATED, Json(state.app.extend(&caller, &id, by, reason).await?.into())))
}
