//! Problems as HTTP answers (RFC 9457). Says what the caller may know: a message, a stable code and the next step, never a cause.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use safeconduct_app::{Problem as AppProblem, ProblemKind};
use safeconduct_model::TokenScope;

use crate::{dto, reach};

/// Why a call was not answered with what it asked for.
#[derive(Clone, Debug)]
pub struct Failure {
    pub status: StatusCode,
    pub code: &'static str,
    pub detail: String,
    pub why: Option<String>,
    pub next: Option<String>,
    /// Scopes of which a token would need one.
    pub(crate) scope: Option<String>,
}

/// A token whose scopes don't reach the call.
const OUT_OF_REACH: &str = "SIGN-010";

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), why: None, next: None, scope: None }
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Something in the call is not what it should be.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "API-001", detail).next("see docs/reference/openapi.json for what is expected")
    }

    /// No usable `Authorization` header or cookie.
    pub(crate) fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "API-002", "not signed in")
            .next("sign in with `sign-in` and send the token as `Authorization: Bearer …`")
    }

    /// The body is larger than this path takes.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "API-003", "the body is larger than this path takes")
    }

    /// The same call is under way.
    pub(crate) fn under_way() -> Self {
        Self::new(StatusCode::CONFLICT, "API-004", "a call with this idempotency key is under way")
            .next("wait for its answer, then repeat it")
    }

    /// The key was used for something else.
    pub(crate) fn key_reused() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "API-005", "this idempotency key was used for another call").next("use a new key")
    }

    /// Too many attempts, streams or waiting calls.
    pub(crate) fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "API-006", detail).next("wait a minute and try again")
    }

    /// No such path.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "API-007", "there is no such path").next("see docs/reference/openapi.json for the paths there are")
    }

    /// The path exists, this method does not.
    pub(crate) fn no_such_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "API-008", "this path does not take this method")
    }

    /// A fault of the gateway.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "API-009", "the gateway failed at this")
            .next("see the gateway's log by the request id")
    }

    /// It took longer than a call may.
    pub(crate) fn too_slow() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "API-010", "the gateway did not answer in time")
            .why("whether it was done is not known")
            .next("look before you repeat it, or repeat it with the same idempotency key")
    }

    /// A browser sent this from another site.
    pub(crate) fn cross_site() -> Self {
        Self::new(StatusCode::FORBIDDEN, "API-011", "calls from other sites are refused")
    }

    /// A cookie's write without what only a page of ours adds.
    pub(crate) fn no_page() -> Self {
        Self::new(StatusCode::FORBIDDEN, "API-012", "a cookie counts only for the gateway's own pages")
            .next("send a bearer token instead of the cookie")
    }

    /// Says which scopes would do, if it is scopes that it lacks.
    pub(crate) fn out_of_reach(mut self, scopes: &[TokenScope]) -> Self {
        self.scope = (self.code == OUT_OF_REACH).then(|| reach::in_a_row(scopes));
        self
    }

    /// The same as a wire type.
    #[must_use]
    pub fn to_dto(&self) -> dto::Problem {
        dto::Problem {
            kind: format!("urn:safeconduct:error:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.to_owned(),
            why: self.why.clone(),
            next: self.next.clone(),
        }
    }
}

impl From<AppProblem> for Failure {
    fn from(problem: AppProblem) -> Self {
        let status = match problem.kind {
            ProblemKind::Invalid => StatusCode::BAD_REQUEST,
            ProblemKind::NotSignedIn => StatusCode::UNAUTHORIZED,
            ProblemKind::Denied => StatusCode::FORBIDDEN,
            ProblemKind::NotFound => StatusCode::NOT_FOUND,
            ProblemKind::Conflict => StatusCode::CONFLICT,
            ProblemKind::Expired => StatusCode::GONE,
            ProblemKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { status, code: problem.code, detail: problem.message, why: problem.why, next: problem.next, scope: None }
    }
}

impl From<dto::Unfit> for Failure {
    fn from(unfit: dto::Unfit) -> Self {
        Self::invalid(unfit.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_dto())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // RFC 6750, section 3.1. No scope is named where none is enough.
        if let Some(scope) = &self.scope {
            let said = if scope.is_empty() { String::new() } else { format!(", scope=\"{scope}\"") };
            if let Ok(value) = HeaderValue::try_from(format!("Bearer error=\"insufficient_scope\"{said}")) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }
}
