//! What every answer carries: a request id, no caching, nothing a browser could be tricked with. Refuses writes from other sites.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument as _;

use crate::{extract::source_text, problem::Failure};

/// Names of the call in logs and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const ALWAYS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Names the call, logs it by path pattern (never query, headers or body) and sets the headers.
pub(crate) async fn around(request: Request, next: Next) -> Response {
    let id = request_id();
    let path = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("call", %id, method = %request.method(), path, source = source_text(request.extensions()));
    let mut response = if is_cross_site_write(&request) {
        Failure::cross_site().into_response()
    } else {
        let answer = next.run(request).instrument(span.clone()).await;
        span.in_scope(|| tracing::info!(status = answer.status().as_u16(), "answered"));
        answer
    };
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// Browsers say where a call comes from; others don't, and need a token all the same.
fn is_cross_site_write(request: &Request) -> bool {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    !matches!(*request.method(), Method::GET | Method::HEAD) && matches!(site, Some(b"cross-site" | b"same-site"))
}

/// Sixteen hexadecimal digits; all zeros if the system has no random bytes, which harms nobody here.
fn request_id() -> String {
    let mut bytes = [0_u8; 8];
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}
