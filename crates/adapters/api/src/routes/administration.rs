//! Administration: people, groups and workloads. Nothing is changed here: a change is asked for and applied when it is approved.

use axum::{Json, extract::State, http::StatusCode};
use safeconduct_model::AccessRequestId;

use crate::{
    dto,
    extract::{Body, Part, Signed},
    problem::Failure,
    state::ApiState,
};

/// People and workloads.
#[utoipa::path(get, path = "/api/v1/principals", tag = "administration", responses((status = 200, body = Vec<dto::Principal>), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn principals(State(state): State<ApiState>, Signed(caller): Signed) -> Result<Json<Vec<dto::Principal>>, Failure> {
    let (all, mut identities, waiting) = (state.app.principals(&caller)?, state.app.identities(&caller)?, state.app.waiting(&caller)?);
    let shown = |one: &safeconduct_model::Principal| {
        dto::Principal::new(one, identities.remove(&one.name).unwrap_or_default(), waiting.contains(&one.name))
    };
    Ok(Json(all.iter().map(shown).collect()))
}

/// Groups with their members.
#[utoipa::path(get, path = "/api/v1/groups", tag = "administration", responses((status = 200, body = Vec<dto::Group>), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn groups(State(state): State<ApiState>, Signed(caller): Signed) -> Result<Json<Vec<dto::Group>>, Failure> {
    let groups = state.app.groups(&caller)?;
    Ok(Json(groups.iter().map(|(name, members)| dto::Group { name: name.to_string(), members: dto::texts(members) }).collect()))
}

/// Asks for a change.
#[utoipa::path(post, path = "/api/v1/changes", tag = "administration", request_body = dto::AskChange, responses((status = 201, body = dto::AccessRequest), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn change(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Body(body): Body<dto::AskChange>,
) -> Result<(StatusCode, Json<dto::AccessRequest>), Failure> {
    let reason = dto::words("reason", &body.reason)?;
    Ok((StatusCode::CREATED, Json(state.app.change(&caller, body.change.try_into()?, reason).await?.into())))
}

/// Hands out, once and to the requester, the code or token that an approved change made.
#[utoipa::path(post, path = "/api/v1/access-requests/{id}/one-time", tag = "administration", params(("id" = String, Path,)), responses((status = 200, body = dto::OneTime), (status = 409, body = dto::Problem, content_type = "application/problem+json"), (status = 410, description = "handed out before", body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn one_time(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
) -> Result<Json<dto::OneTime>, Failure> {
    Ok(Json(state.app.one_time(&caller, &id).await?.into()))
}
