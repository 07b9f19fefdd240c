//! Resources: what the caller may ask for, and the way through the door. Never says that anything else exists.

use axum::{Json, extract::State};
use safeconduct_model::ResourceName;

use crate::{
    dto,
    extract::{Body, Part, Signed},
    problem::Failure,
    state::ApiState,
};

/// What the caller may ask for.
#[utoipa::path(get, operation_id = "list_resources", path = "/api/v1/resources", tag = "resources", responses((status = 200, body = Vec<dto::Resource>)))]
pub(crate) async fn list(State(state): State<ApiState>, Signed(caller): Signed) -> Result<Json<Vec<dto::Resource>>, Failure> {
    Ok(Json(state.app.resources(&caller).await?.iter().map(Into::into).collect()))
}

/// Makes the secret that opens the door to a resource, bound to caller, resource and sign-in.
#[utoipa::path(post, path = "/api/v1/resources/{name}/connect", tag = "resources", params(("name" = String, Path,)), request_body = dto::Connect, responses((status = 200, body = dto::Door), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn connect(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(name): Part<ResourceName>,
    Body(body): Body<dto::Connect>,
) -> Result<Json<dto::Door>, Failure> {
    Ok(Json(state.app.connect(&caller, &name, body.database.as_deref()).await?.into()))
}
