//! Answers: resources as `application/scim+json`, refusals as SCIM errors. Says what the caller may know, never a cause.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use safeconduct_app::{Problem, ProblemKind};
use serde_json::{Value, json};

/// The media type of everything here.
pub(crate) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/scim+json");

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub status: StatusCode,
    /// A word of RFC 7644, table 9.
    pub scim_type: Option<&'static str>,
    pub detail: String,
}

impl Refused {
    pub fn new(status: StatusCode, scim_type: Option<&'static str>, detail: impl Into<String>) -> Self {
        Self { status, scim_type, detail: detail.into() }
    }

    pub fn value(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalidValue"), detail)
    }

    pub fn syntax(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalidSyntax"), detail)
    }

    pub fn path(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalidPath"), detail)
    }

    pub fn filter(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalidFilter"), detail)
    }

    pub fn mutability(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("mutability"), detail)
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, None, "there is no such resource")
    }

    /// It is not as `If-Match` says.
    pub fn moved_on() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, None, "the resource has changed since that version")
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let (status, scim_type) = match problem.kind {
            ProblemKind::Invalid => (StatusCode::BAD_REQUEST, Some("invalidValue")),
            ProblemKind::NotSignedIn => (StatusCode::UNAUTHORIZED, None),
            ProblemKind::Denied => (StatusCode::FORBIDDEN, None),
            ProblemKind::NotFound => (StatusCode::NOT_FOUND, None),
            ProblemKind::Conflict if problem.code == "SCIM-002" => (StatusCode::CONFLICT, Some("uniqueness")),
            ProblemKind::Conflict | ProblemKind::Expired => (StatusCode::CONFLICT, None),
            ProblemKind::TooMany => (StatusCode::TOO_MANY_REQUESTS, None),
            ProblemKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        let next = problem.next.map_or(String::new(), |next| format!("; {next}"));
        Self { status, scim_type, detail: format!("{}{next} [{}]", problem.message, problem.code) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.as_str(),
            "detail": self.detail,
        });
        if let (Some(word), Some(object)) = (self.scim_type, body.as_object_mut()) {
            object.insert("scimType".to_owned(), word.into());
        }
        let mut response = scim(self.status, &body);
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// An answer with this body.
pub(crate) fn scim(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
    response
}

/// What every answer carries.
pub(crate) const ALWAYS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
