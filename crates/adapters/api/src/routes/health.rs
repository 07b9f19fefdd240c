//! Whether the node lives, whether it is ready, and how it stands.

use axum::{Json, extract::State};

use crate::{dto, extract::Signed, problem::Failure, state::ApiState};

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "node", security(()), responses((status = 200, body = dto::Health)))]
pub(crate) async fn healthz() -> Json<dto::Health> {
    Json(dto::Health { status: "alive".into() })
}

/// The node can do its work: store, ledger and policy are there.
#[utoipa::path(get, path = "/readyz", tag = "node", security(()), responses((status = 200, body = dto::Health), (status = 503, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn readyz(State(state): State<ApiState>) -> Result<Json<dto::Health>, Failure> {
    state.app.ready().await?;
    Ok(Json(dto::Health { status: "ready".into() }))
}

/// How the gateway stands, standing privilege included.
#[utoipa::path(get, path = "/api/v1/status", tag = "node", responses((status = 200, body = dto::Status), (status = 401, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn status(State(state): State<ApiState>, Signed(_caller): Signed) -> Json<dto::Status> {
    Json(state.app.status().await.into())
}
