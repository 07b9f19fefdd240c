//! Repeated writes: a write with an `Idempotency-Key` that was answered before gets the same answer and does nothing.
//!
//! Answers are kept in memory for a day, within fixed bounds, and are forgotten at a restart; what must never happen twice
//! (an execution, an approval) is protected by the use cases themselves. Answers that carry secrets or stream are never kept.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use safeconduct_model::Digest;

use crate::{
    extract::{bearer, source_text},
    problem::Failure,
    state::ApiState,
};

const KEEP: Duration = Duration::from_secs(24 * 3600);
const MOST_ANSWERS: usize = 4096;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Larger answers are not kept; the key is freed.
const LARGEST_ANSWER: usize = 256 * 1024;
const LARGEST_BODY: usize = crate::POLICY_BODY_BYTES;

type Key = (String, String);

struct Kept {
    call: Digest,
    at: Instant,
    /// `None` while the first call is under way.
    answer: Option<(StatusCode, Option<HeaderValue>, Bytes)>,
}

/// Answers by caller and key.
#[derive(Default)]
pub(crate) struct Answers(Mutex<HashMap<Key, Kept>>);

enum Found {
    New,
    UnderWay,
    Other,
    Answer(Box<Response>),
}

impl Answers {
    fn begin(&self, key: &Key, call: Digest, now: Instant) -> Found {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now.duration_since(kept.at) < KEEP);
        if let Some(found) = kept.get(key) {
            return match &found.answer {
                _ if found.call != call => Found::Other,
                None => Found::UnderWay,
                Some((status, kind, body)) => {
                    let mut response = (*status, body.clone()).into_response();
                    if let Some(kind) = kind {
                        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
                    }
                    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
                    Found::Answer(Box::new(response))
                }
            };
        }
        make_room(&mut kept);
        kept.insert(key.clone(), Kept { call, at: now, answer: None });
        Found::New
    }

    fn finish(&self, key: &Key, answer: Option<(StatusCode, Option<HeaderValue>, Bytes)>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (answer, kept.get_mut(key)) {
            (Some(answer), Some(found)) => found.answer = Some(answer),
            (None, _) => drop(kept.remove(key)),
            (Some(_), None) => {}
        }
    }
}

/// Drops the oldest finished answers until there is room for one more.
fn make_room(kept: &mut HashMap<Key, Kept>) {
    let size = |kept: &HashMap<Key, Kept>| kept.values().filter_map(|k| k.answer.as_ref()).map(|(_, _, body)| body.len()).sum::<usize>();
    while kept.len() >= MOST_ANSWERS || size(kept) + LARGEST_ANSWER > MOST_BYTES {
        let oldest = kept.iter().filter(|(_, k)| k.answer.is_some()).min_by_key(|(_, k)| k.at).map(|(key, _)| key.clone());
        let Some(oldest) = oldest else { return };
        kept.remove(&oldest);
    }
}

/// Frees the key if the call is dropped before it is answered.
struct UnderWay<'a> {
    answers: &'a Answers,
    key: Option<Key>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.answers.finish(&key, None);
        }
    }
}

/// Answers repeated writes with the first answer.
pub(crate) async fn once(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
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
    let token = bearer(request.headers()).ok_or_else(Failure::not_signed_in)?;
    let caller = state.app.authenticate(token, &source_text(request.extensions())).await?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|_| Failure::too_large())?;
    let mut call = format!("{} {}\n", parts.method, parts.uri).into_bytes();
    call.extend_from_slice(&body);
    let key: Key = (caller.name.to_string(), key);
    match state.answers.begin(&key, Digest::of_bytes(&call), Instant::now()) {
        Found::UnderWay => return Err(Failure::under_way()),
        Found::Other => return Err(Failure::key_reused()),
        Found::Answer(response) => return Ok(*response),
        Found::New => {}
    }
    let mut under_way = UnderWay { answers: &state.answers, key: Some(key.clone()) };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Failure::internal())?;
    // A fault of ours or too much at once is no answer: repeating it must try again.
    if !parts.status.is_server_error() && parts.status != StatusCode::TOO_MANY_REQUESTS && body.len() <= LARGEST_ANSWER {
        let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
        state.answers.finish(&key, Some((parts.status, kind, body.clone())));
        under_way.key = None;
    }
    Ok(Response::from_parts(parts, Body::from(body)))
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
    !matches!(last, "execute" | "connect" | "one-time" | "sign-in" | "passwords")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("alice".into(), name.into())
    }

    #[test]
    fn a_repeated_call_gets_the_first_answer_and_another_is_refused() {
        let (answers, now) = (Answers::default(), Instant::now());
        let (one, two) = (Digest::of_bytes(b"1"), Digest::of_bytes(b"2"));
        assert!(matches!(answers.begin(&key("k"), one, now), Found::New));
        assert!(matches!(answers.begin(&key("k"), one, now), Found::UnderWay));
        answers.finish(&key("k"), Some((StatusCode::CREATED, None, Bytes::from_static(b"x"))));
        assert!(matches!(answers.begin(&key("k"), one, now), Found::Answer(r) if r.status() == StatusCode::CREATED));
        assert!(matches!(answers.begin(&key("k"), two, now), Found::Other));
        assert!(matches!(answers.begin(&key("k"), two, now + KEEP), Found::New));
    }

    #[test]
    fn memory_is_bounded() {
        let (answers, now) = (Answers::default(), Instant::now());
        for n in 0..MOST_ANSWERS + 10 {
            let key = key(&n.to_string());
            assert!(matches!(answers.begin(&key, Digest::of_bytes(b""), now), Found::New));
            answers.finish(&key, Some((StatusCode::OK, None, Bytes::from(vec![0; if n < 200 { LARGEST_ANSWER } else { 1 }]))));
        }
        let kept = answers.0.lock().unwrap();
        assert!(kept.len() <= MOST_ANSWERS);
        assert!(kept.values().filter_map(|k| k.answer.as_ref()).map(|a| a.2.len()).sum::<usize>() <= MOST_BYTES);
    }
}
