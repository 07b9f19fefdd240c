//! Policy: asking for another bundle, seeing what it would change, and why an answer is what it is.

use axum::{Json, extract::State, http::StatusCode};
use safeconduct_app::ExplainQuestion;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::{
    dto,
    extract::{Body, Params, Signed},
    problem::Failure,
    state::ApiState,
};

/// Which bundle to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BundleParams {
    /// Its hash; the active one if absent.
    hash: Option<String>,
}

/// A bundle's files, and what came of its cases: the active one, or one that was active or waits for approval.
#[utoipa::path(get, operation_id = "read_policy", path = "/api/v1/policy", tag = "policy", params(BundleParams), responses((status = 200, body = dto::Bundle), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<BundleParams>,
) -> Result<Json<dto::Bundle>, Failure> {
    let hash = params.hash.as_deref().map(|hash| dto::parse("hash", hash)).transpose()?;
    Ok(Json(state.app.bundle(&caller, hash).await?.into()))
}

/// Which versions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionsParams {
    /// Only those whose ledger index is lower.
    before: Option<u64>,
    limit: Option<u32>,
}

/// When which bundle became the policy, newest first.
#[utoipa::path(get, operation_id = "policy_versions", path = "/api/v1/policy/versions", tag = "policy", params(VersionsParams), responses((status = 200, body = Vec<dto::LedgerLine>), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn versions(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<VersionsParams>,
) -> Result<Json<Vec<dto::LedgerLine>>, Failure> {
    Ok(Json(state.app.bundle_versions(&caller, params.before, page(params.limit)).await?.iter().map(Into::into).collect()))
}

/// Checks a bundle, keeps it, and asks that it become the policy: an access request that others approve.
#[utoipa::path(post, path = "/api/v1/policy", tag = "policy", request_body = dto::PolicyUpload, responses((status = 201, body = dto::AccessRequest), (status = 400, description = "the bundle has mistakes: every one of them", body = dto::Problem, content_type = "application/problem+json"), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn upload(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Body(body): Body<dto::PolicyUpload>,
) -> Result<(StatusCode, Json<dto::AccessRequest>), Failure> {
    let reason = dto::words("reason", &body.reason)?;
    Ok((StatusCode::CREATED, Json(state.app.upload_policy(&caller, dto::bundle(body.files), reason).await?.into())))
}

/// What a bundle would change. Nothing is stored.
#[utoipa::path(post, path = "/api/v1/policy/plan", tag = "policy", request_body = dto::PolicyFiles, responses((status = 200, body = dto::PolicyPlan), (status = 400, body = dto::Problem, content_type = "application/problem+json"), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn plan(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Body(body): Body<dto::PolicyFiles>,
) -> Result<Json<dto::PolicyPlan>, Failure> {
    let plan = state.app.plan(&caller, dto::bundle(body.files)).await?;
    Ok(Json(dto::PolicyPlan { text: plan.to_string(), changes: !plan.is_empty(), plan: serde_json::to_value(&plan).unwrap_or_default() }))
}

/// Why policy answers as it does, and what would have to be true.
#[utoipa::path(post, path = "/api/v1/policy/explain", tag = "policy", request_body = dto::Explain, responses((status = 200, body = dto::ExplainAnswer), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn explain(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Body(body): Body<dto::Explain>,
) -> Result<Json<dto::ExplainAnswer>, Failure> {
    let question = ExplainQuestion {
        principal: match &body.principal {
            Some(name) => dto::parse("principal", name)?,
            None => caller.name.clone(),
        },
        resource: dto::parse("resource", &body.resource)?,
        operations: body.operations.iter().map(|name| dto::parse("operations", name)).collect::<Result<_, _>>()?,
        duration: dto::parse("duration", body.duration.as_deref().unwrap_or("1m"))?,
        exact: body.exact,
        text: body.text,
        reason: body.reason,
        ticket: body.ticket,
        at: body.at.as_deref().map(|at| dto::parse("at", at)).transpose()?,
        attributes: body.attributes.iter().map(|(name, value)| dto::attribute(name, value)).collect::<Result<_, _>>()?,
        claims: body
            .claims
            .into_iter()
            .map(|(name, value)| Ok((name, dto::words("claims", &value)?)))
            .collect::<Result<_, dto::Unfit>>()?,
    };
    let explanation = state.app.explain(&caller, question)?;
    Ok(Json(dto::ExplainAnswer {
        text: explanation.to_string(),
        outcome: dto::Decision::from(&explanation.decision).outcome,
        explanation: serde_json::to_value(&explanation).unwrap_or_default(),
    }))
}
