//! Sessions: which are open, their recordings, and ending one.

use axum::{Json, extract::State, http::StatusCode};
use safeconduct_app::ports;
use safeconduct_model::{AccessRequestId, SessionId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{DONE, page};
use crate::{
    dto,
    extract::{Body, Params, Part, Signed},
    problem::Failure,
    state::ApiState,
};

/// Which sessions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// True for open ones only, false for ended ones only.
    live: Option<bool>,
    /// Only of this principal.
    principal: Option<String>,
    /// Only older than this one.
    before: Option<String>,
    limit: Option<u32>,
}

/// Sessions that the caller may see, newest first.
#[utoipa::path(get, operation_id = "list_sessions", path = "/api/v1/sessions", tag = "sessions", params(ListParams), responses((status = 200, body = Vec<dto::Session>)))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<ListParams>,
) -> Result<Json<Vec<dto::Session>>, Failure> {
    let query = ports::SessionQuery {
        principal: params.principal.map(|name| dto::parse("principal", &name)).transpose()?,
        live: params.live,
        before: params.before.map(|id| dto::parse("before", &id)).transpose()?,
        limit: page(params.limit),
        ..ports::SessionQuery::default()
    };
    let sessions = state.app.sessions(&caller, query).await?;
    Ok(Json(sessions.iter().map(|session| dto::Session::from(session).open_until(state.app.session_until(&session.id))).collect()))
}

/// Sessions that were opened with the grant of an access request, and the one it was held in: for its requester and for auditors.
#[utoipa::path(get, operation_id = "sessions_of_access_request", path = "/api/v1/access-requests/{id}/sessions", tag = "sessions", params(("id" = String, Path,)), responses((status = 200, body = dto::SessionsOf), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn of_access_request(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
) -> Result<Json<dto::SessionsOf>, Failure> {
    Ok(Json(state.app.sessions_of(&caller, &id).await?.into()))
}

/// Ends a session at once.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/kill", tag = "sessions", params(("id" = String, Path,)), request_body = dto::End, responses((status = 204), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn kill(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<SessionId>,
    Body(body): Body<dto::End>,
) -> Result<StatusCode, Failure> {
    let reason = dto::words("reason", &body.reason)?;
    state.app.kill(&caller, &id, reason).await?;
    Ok(DONE)
}

/// Which records to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordingParams {
    /// Number of the first record; 1 if absent.
    from: Option<u64>,
    limit: Option<u32>,
}

/// What happened in a session, and whether the recording is what the ledger says.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/recording", tag = "sessions", params(("id" = String, Path,), RecordingParams), responses((status = 200, body = dto::Recording), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn recording(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<SessionId>,
    Params(params): Params<RecordingParams>,
) -> Result<Json<dto::Recording>, Failure> {
    let mut recording: dto::Recording = state.app.replay(&caller, &id, params.from.unwrap_or(1), page(params.limit)).await?.into();
    recording.session = recording.session.open_until(state.app.session_until(&id));
    Ok(Json(recording))
}
