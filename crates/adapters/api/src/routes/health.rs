//! Whether the node lives, whether it is ready, how it stands, and where its links lead.

use axum::{
    Json,
    extract::{Path, State},
};

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

/// Where links in notices lead: says in plain text how to look at the access request. Knows nothing about it and decides nothing.
#[utoipa::path(get, path = "/access-requests/{id}", tag = "node", security(()), params(("id" = String, Path,)), responses((status = 200, body = String, content_type = "text/plain"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn link(Path(id): Path<String>) -> Result<String, Failure> {
    let id: safeconduct_model::AccessRequestId = id.parse().map_err(|_| Failure::no_such_path())?;
    Ok(format!(
        "Access request {id}\n\n  look at it:   safeconduct show {id}\n  approve it:   safeconduct approve {id}\n  deny it:      safeconduct deny {id} --comment \"…\"\n\n\
         Who may see and decide it is found out there; this page decides nothing.\n"
    ))
}
