//! Access requests: asking, deciding, running. Every decision is a POST that names the digest it is for.

use std::time::Duration;

use axum::{
    Json,
    body::{Body as HttpBody, Bytes},
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use safeconduct_app::{App, Caller, List, ports};
use safeconduct_model::AccessRequestId;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::page;
use crate::{
    dto,
    extract::{Body, Closing, Params, Part, Signed},
    problem::Failure,
    state::ApiState,
};

/// Longest wait of one call; clients call again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Result lines that may wait for a slow client; then the database waits too.
const LINES_AHEAD: usize = 64;

/// Which access requests to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// `mine` (default), `to-approve` or `all` that the caller may see.
    list: Option<String>,
    /// Only in this state.
    state: Option<String>,
    /// Only on this resource.
    resource: Option<String>,
    /// Only of this principal.
    requester: Option<String>,
    /// Only older than this one.
    before: Option<String>,
    /// At most this many, 1 to 200; 50 if absent.
    limit: Option<u32>,
}

/// Access requests, newest first.
#[utoipa::path(get, operation_id = "list_access_requests", path = "/api/v1/access-requests", tag = "access requests", params(ListParams), responses((status = 200, body = Vec<dto::AccessRequest>), (status = 400, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Params(params): Params<ListParams>,
) -> Result<Json<Vec<dto::AccessRequest>>, Failure> {
    let list = match params.list.as_deref() {
        None | Some("mine") => List::Mine,
        Some("to-approve") => List::ToApprove,
        Some("all") => List::All,
        Some(_) => return Err(Failure::invalid("`list` is `mine`, `to-approve` or `all`")),
    };
    let query = ports::AccessQuery {
        state: params.state,
        resource: params.resource.map(|name| dto::parse("resource", &name)).transpose()?,
        requester: params.requester.map(|name| dto::parse("requester", &name)).transpose()?,
        before: params.before.map(|id| dto::parse("before", &id)).transpose()?,
        limit: page(params.limit),
        ..ports::AccessQuery::default()
    };
    Ok(Json(state.app.access_requests(&caller, list, query).await?.into_iter().map(Into::into).collect()))
}

/// Asks for a grant. Policy answers at once; if people must approve, it is pending.
#[utoipa::path(post, path = "/api/v1/access-requests", tag = "access requests", request_body = dto::Ask, responses(
    (status = 201, description = "asked; `state` says where it stands", body = dto::AccessRequest),
    (status = 200, description = "the same was asked before and is still open", body = dto::AccessRequest),
    (status = 403, body = dto::Problem, content_type = "application/problem+json"),
    (status = 404, description = "no such resource, or none that the caller may ask for: one answer", body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn ask(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Body(body): Body<dto::Ask>,
) -> Result<(StatusCode, Json<dto::AccessRequest>), Failure> {
    let view: dto::AccessRequest = state.app.ask(&caller, body.try_into()?).await?.into();
    Ok((if view.merged { StatusCode::OK } else { StatusCode::CREATED }, Json(view)))
}

/// What policy would say. Nothing is stored and nobody is told.
#[utoipa::path(post, path = "/api/v1/access-requests/preview", tag = "access requests", request_body = dto::Ask, responses((status = 200, body = dto::PreviewAnswer), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn preview(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Body(body): Body<dto::Ask>,
) -> Result<Json<dto::PreviewAnswer>, Failure> {
    Ok(Json(state.app.preview(&caller, body.try_into()?).await?.into()))
}

/// One access request with everything the caller may know about it.
#[utoipa::path(get, path = "/api/v1/access-requests/{id}", tag = "access requests", params(("id" = String, Path,)), responses((status = 200, body = dto::AccessRequest), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
) -> Result<Json<dto::AccessRequest>, Failure> {
    Ok(Json(state.app.access(&caller, &id).await?.into()))
}

/// How many rows its statement may touch, by the statistics of its server: told beside it, and no part of what is approved. What is not known
/// is said to be unknown, and why. What asks for no statement, or does not wait to be run, has no tables here.
#[utoipa::path(get, path = "/api/v1/access-requests/{id}/estimate", tag = "access requests", params(("id" = String, Path,)), responses((status = 200, body = dto::Estimate), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn estimate(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
) -> Result<Json<dto::Estimate>, Failure> {
    Ok(Json(state.app.estimate(&caller, &id).await?.into()))
}

/// Approves what has the digest that the body names, and nothing else.
#[utoipa::path(post, path = "/api/v1/access-requests/{id}/approve", tag = "access requests", params(("id" = String, Path,)), request_body = dto::Approve, responses(
    (status = 200, body = dto::AccessRequest),
    (status = 403, body = dto::Problem, content_type = "application/problem+json"),
    (status = 409, description = "decided already, or the digest is another", body = dto::Problem, content_type = "application/problem+json"),
    (status = 410, description = "too late", body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn approve(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
    Body(body): Body<dto::Approve>,
) -> Result<Json<dto::AccessRequest>, Failure> {
    let digest = dto::parse("digest", &body.digest)?;
    let comment = body.comment.as_deref().map(|comment| dto::words("comment", comment)).transpose()?;
    Ok(Json(state.app.approve(&caller, &id, digest, comment, body.signed.map(Into::into)).await?.into()))
}

/// Denies. One denial settles.
#[utoipa::path(post, path = "/api/v1/access-requests/{id}/deny", tag = "access requests", params(("id" = String, Path,)), request_body = dto::Deny, responses((status = 200, body = dto::AccessRequest), (status = 403, body = dto::Problem, content_type = "application/problem+json"), (status = 409, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn deny(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
    Body(body): Body<dto::Deny>,
) -> Result<Json<dto::AccessRequest>, Failure> {
    let comment = dto::words("comment", &body.comment)?;
    Ok(Json(state.app.deny(&caller, &id, comment, body.signed.map(Into::into)).await?.into()))
}

/// Takes an own access request back.
#[utoipa::path(post, path = "/api/v1/access-requests/{id}/cancel", tag = "access requests", params(("id" = String, Path,)), responses((status = 200, body = dto::AccessRequest), (status = 409, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
) -> Result<Json<dto::AccessRequest>, Failure> {
    Ok(Json(state.app.cancel(&caller, &id).await?.into()))
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitParams {
    /// Seconds, at most 60; 30 if absent.
    timeout: Option<u64>,
}

/// Answers when the access request is no longer pending, or when the time is up; `state` says which.
#[utoipa::path(get, path = "/api/v1/access-requests/{id}/wait", tag = "access requests", params(("id" = String, Path,), WaitParams), responses((status = 200, body = dto::AccessRequest), (status = 404, body = dto::Problem, content_type = "application/problem+json"), (status = 429, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn wait(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
    mut closing: Closing,
    Params(params): Params<WaitParams>,
) -> Result<Json<dto::AccessRequest>, Failure> {
    let _place = state.streams.try_acquire().map_err(|_| Failure::too_many("too many calls wait already"))?;
    let timeout = Duration::from_secs(params.timeout.unwrap_or(30)).min(LONGEST_WAIT);
    let view = tokio::select! {
        view = state.app.wait(&caller, &id, timeout) => view?,
        // The server stops: what it knows now is the answer.
        () = closing.closed() => state.app.access(&caller, &id).await?,
    };
    Ok(Json(view.into()))
}

/// Runs an approved exact access request, once. Lines of JSON follow as the results come; the last one says how it ended.
#[utoipa::path(post, path = "/api/v1/access-requests/{id}/execute", tag = "access requests", params(("id" = String, Path,)), responses(
    (status = 200, description = "lines of JSON, each a `ResultLine`", body = dto::ResultLine, content_type = "application/x-ndjson"),
    (status = 403, body = dto::Problem, content_type = "application/problem+json"),
    (status = 409, description = "not ready, or run before", body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn execute(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(id): Part<AccessRequestId>,
) -> Result<Response, Failure> {
    let (lines, mut received) = mpsc::channel::<dto::ResultLine>(LINES_AHEAD);
    // A task of its own: the client going away must not leave the outcome unrecorded.
    tokio::spawn(run(state.app, caller, id, lines));
    // The first line decides the status: what was refused before anything ran is an ordinary problem.
    let first = received.recv().await.ok_or_else(Failure::internal)?;
    if let dto::ResultLine::Problem { problem } = &first {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem.clone())).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        return Ok(response);
    }
    let body = stream::unfold((Some(first), received), |(next, mut received)| async move {
        let line = match next {
            Some(line) => line,
            None => received.recv().await?,
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), (None, received)))
    });
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
    Ok((headers, HttpBody::from_stream(body)).into_response())
}

async fn run(app: App, caller: Caller, id: AccessRequestId, lines: mpsc::Sender<dto::ResultLine>) {
    let mut sink = Lines(lines.clone());
    let last = match app.execute(&caller, &id, &mut sink).await {
        Ok(outcome) => dto::ResultLine::Outcome { result: (&outcome).into() },
        Err(problem) => dto::ResultLine::Problem { problem: Failure::from(problem).to_dto() },
    };
    // Nobody reading any more is no error: the outcome is in the ledger.
    let _ = lines.send(last).await;
}

/// Hands results on as lines.
struct Lines(mpsc::Sender<dto::ResultLine>);

impl ports::ResultSink for Lines {
    fn push(&mut self, part: ports::ResultPart) -> ports::BoxFuture<'_, Result<(), ports::SinkClosed>> {
        Box::pin(async move { self.0.send(part.into()).await.map_err(|_| ports::SinkClosed) })
    }
}
