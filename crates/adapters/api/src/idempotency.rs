//! Repeated writes: a write with an `Idempotency-Key` that was answered before gets the same answer and does nothing.
//!
//! Answers are kept through the store for a day, bounded for each caller, and survive a restart; which calls are under way is known
//! in memory only. Answers that carry secrets or stream are never kept: there the key is ignored, and the use cases themselves see
//! to it that nothing happens twice.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, response::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use safeconduct_app::GivenAnswer;
use safeconduct_model::Digest;

use crate::{
    browser::{Call, is_safe},
    extract::authenticated,
    problem::Failure,
    state::ApiState,
};

/// Larger answers are not kept.
const LARGEST_ANSWER: usize = 256 * 1024;
const LARGEST_BODY: usize = crate::POLICY_BODY_BYTES;

/// Caller and key.
type Key = (String, String);

/// Calls with a key that are under way.
#[derive(Default)]
pub(crate) struct CallsUnderWay(Mutex<BTreeSet<Key>>);

impl CallsUnderWay {
    /// Takes the key until the guard is dropped; none if it is taken.
    fn begin(&self, key: Key) -> Option<UnderWay<'_>> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        taken.then_some(UnderWay { calls: self, key })
    }
}

/// Frees the key when the call is answered, or dropped before it is.
struct UnderWay<'a> {
    calls: &'a CallsUnderWay,
    key: Key,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.calls.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Answers repeated writes with the first answer.
pub(crate) async fn once(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let writes = !is_safe(request.method());
    let Some(key) = idempotency_key(request.headers()).filter(|_| writes && may_be_kept(request.uri().path())) else {
        return next.run(request).await;
    };
    let key = match key {
        Ok(key) => key,
        Err(failure) => return failure.into_response(),
    };
    match once_with(&state, key, request, next).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn once_with(state: &ApiState, key: String, request: Request, next: Next) -> Result<Response, Failure> {
    let call = Call { method: request.method(), uri: request.uri(), headers: request.headers() };
    let caller = authenticated(&state.app, call, request.extensions()).await?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|_| Failure::too_large())?;
    let mut call = format!("{} {}\n", parts.method, parts.uri).into_bytes();
    call.extend_from_slice(&body);
    let call = Digest::of_bytes(&call);
    let _under_way = state.calls.begin((caller.name.to_string(), key.clone())).ok_or_else(Failure::under_way)?;
    if let Some(given) = state.app.given_answer(&caller, &key).await? {
        return if given.call == call { again(given) } else { Err(Failure::key_reused()) };
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Failure::internal())?;
    // What was done is done: an answer that can't be kept is given all the same.
    if let Some(answer) = answer(call, &parts, &body)
        && let Err(problem) = state.app.keep_answer(&caller, &key, answer).await
    {
        tracing::warn!(code = problem.code, "an answer could not be kept; repeating its call is a new call");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// The answer as it is kept. A fault of ours or too much at once is none: repeating it must try again.
fn answer(call: Digest, parts: &Parts, body: &Bytes) -> Option<GivenAnswer> {
    if parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS || body.len() > LARGEST_ANSWER {
        return None;
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(ToOwned::to_owned);
    Some(GivenAnswer { call, status: parts.status.as_u16(), content_type, body: String::from_utf8(body.to_vec()).ok()? })
}

fn again(given: GivenAnswer) -> Result<Response, Failure> {
    let status = StatusCode::from_u16(given.status).map_err(|_| Failure::internal())?;
    let mut response = (status, given.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    if let Some(kind) = given.content_type.and_then(|kind| HeaderValue::try_from(kind).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

fn idempotency_key(headers: &HeaderMap) -> Option<Result<String, Failure>> {
    let value = headers.get("idempotency-key")?;
    let fits = |text: &str| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let unfit = || Failure::invalid("`Idempotency-Key` must be 1 to 255 printable ASCII characters without blanks");
    Some(value.to_str().ok().filter(|text| fits(text)).map(ToOwned::to_owned).ok_or_else(unfit))
}

/// Secrets and streams are not kept.
fn may_be_kept(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    !matches!(last, "execute" | "connect" | "one-time" | "sign-in" | "passwords" | "leave")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_while_its_call_is_under_way() {
        let calls = CallsUnderWay::default();
        let key = |name: &str| ("alice".to_owned(), name.to_owned());
        let first = calls.begin(key("k")).unwrap();
        assert!(calls.begin(key("k")).is_none());
        assert!(calls.begin(key("other")).is_some());
        drop(first);
        assert!(calls.begin(key("k")).is_some());
    }
}
