//! The ledger: what happened, for those who may see it, and the published log, for everybody.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use safeconduct_model::AccessRequestId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::{
    dto,
    extract::{Params, Part, Signed},
    problem::Failure,
    state::ApiState,
};

/// Which entries to read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TailParams {
    /// Index of the first; the newest ones if absent.
    from: Option<u64>,
    limit: Option<u32>,
}

/// Events as people read them, oldest first.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "ledger", params(TailParams), responses((status = 200, body = Vec<dto::LedgerLine>), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn tail(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<TailParams>,
) -> Result<Json<Vec<dto::LedgerLine>>, Failure> {
    Ok(Json(state.app.ledger_tail(&caller, params.from, page(params.limit)).await?.iter().map(Into::into).collect()))
}

/// Entries with their bodies, for export and verification.
#[utoipa::path(get, path = "/api/v1/ledger/entries", tag = "ledger", params(TailParams), responses((status = 200, body = Vec<dto::LedgerEntry>), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn entries(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<TailParams>,
) -> Result<Json<Vec<dto::LedgerEntry>>, Failure> {
    let entries = state.app.ledger_entries(&caller, params.from.unwrap_or(0), page(params.limit)).await?;
    Ok(Json(entries.iter().map(Into::into).collect()))
}

/// What to look for. What is absent narrows nothing.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchParams {
    /// Who acted, or whom it is about.
    person: Option<String>,
    resource: Option<String>,
    /// A kind, or the words it begins with: `grant` finds `grant_given` and `grant_revoked`.
    kind: Option<String>,
    /// RFC 3339: sequenced at this moment or later.
    from: Option<String>,
    /// RFC 3339: sequenced before this moment.
    to: Option<String>,
    /// Somewhere in the body, whatever the case of the letters.
    text: Option<String>,
    /// Only entries with a smaller index.
    before: Option<u64>,
    limit: Option<u32>,
}

/// Entries that fit, newest first. One call looks at 5,000 entries at most: it may find none and still say where to go on.
#[utoipa::path(get, operation_id = "ledger_search", path = "/api/v1/ledger/search", tag = "ledger", params(SearchParams), responses((status = 200, body = dto::LedgerFound), (status = 400, body = dto::Problem, content_type = "application/problem+json"), (status = 403, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn search(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<SearchParams>,
) -> Result<Json<dto::LedgerFound>, Failure> {
    let time = |field, text: &Option<String>| text.as_deref().map(|text| dto::parse(field, text)).transpose();
    let query = safeconduct_app::LedgerQuery {
        person: params.person.as_deref().map(|person| dto::parse("person", person)).transpose()?,
        resource: params.resource.as_deref().map(|resource| dto::parse("resource", resource)).transpose()?,
        from: time("from", &params.from)?,
        to: time("to", &params.to)?,
        kind: params.kind,
        text: params.text,
        before: params.before,
        limit: page(params.limit),
    };
    Ok(Json((&state.app.ledger_search(&caller, &query).await?).into()))
}

/// The newest signed checkpoint.
#[utoipa::path(get, path = "/api/v1/ledger/checkpoint", tag = "ledger", security(()), responses((status = 200, body = String, content_type = "text/plain"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn checkpoint(State(state): State<ApiState>) -> Result<Response, Failure> {
    let note = state.app.checkpoint().await?.ok_or_else(Failure::no_such_path)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], note).into_response())
}

/// A file of the published log: `0/000`, `entries/000.p/17`…
#[utoipa::path(get, path = "/api/v1/ledger/tile/{*path}", tag = "ledger", security(()), params(("path" = String, Path,)), responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn tile(State(state): State<ApiState>, Path(path): Path<String>) -> Result<Response, Failure> {
    let path = format!("tile/{path}");
    // Only a path in its one spelling is looked up at all.
    let wanted = safeconduct_ledger::TilePath::parse(&path).ok_or_else(Failure::no_such_path)?;
    let bytes = state.app.tile(&wanted.to_string()).await?.ok_or_else(Failure::no_such_path)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))], bytes).into_response())
}

/// The key that signs checkpoints. Pin it when you first sign in.
#[utoipa::path(get, path = "/api/v1/ledger/key", tag = "ledger", security(()), responses((status = 200, body = dto::LedgerKey)))]
pub(crate) async fn key(State(state): State<ApiState>) -> Json<dto::LedgerKey> {
    Json(dto::LedgerKey { key: state.app.ledger_key() })
}

/// The rosters that say whose keys signed an access request's approvals, in the order in which they came into force; none if no approval names one.
#[utoipa::path(get, path = "/api/v1/access-requests/{id}/rosters", tag = "ledger", params(("id" = String, Path,)), responses((status = 200, body = Vec<dto::SignedRoster>), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn rosters(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
) -> Result<Json<Vec<dto::SignedRoster>>, Failure> {
    Ok(Json(state.app.rosters_of(&caller, &id).await?.into_iter().map(Into::into).collect()))
}

/// A proof of one entry, to be carried away.
#[utoipa::path(get, path = "/api/v1/ledger/proof/{index}", tag = "ledger", params(("index" = u64, Path,)), responses((status = 200, body = dto::LedgerProof), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn proof(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(index): Part<u64>,
) -> Result<Json<dto::LedgerProof>, Failure> {
    let proof = state.app.prove(&caller, index).await?;
    Ok(Json(dto::LedgerProof::from(&proof)))
}
