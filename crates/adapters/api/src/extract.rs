//! What handlers take: the caller, checked bodies, parameters and path parts. What does not fit is answered with a problem.
//!
//! A caller is known by `Authorization: Bearer`, or by the cookie of a page of ours; what makes a cookie count is in `browser`.

use std::{fmt::Display, net::IpAddr, str::FromStr};

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, MatchedPath, Path, Query, Request, rejection::JsonRejection},
    http::{Extensions, StatusCode, request::Parts},
};
use safeconduct_app::{App, Caller, Reach};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::{browser::Call, problem::Failure, reach, state::ApiState};

/// The address a call came from, put there by the server.
#[derive(Clone, Copy, Debug)]
pub struct Source(pub IpAddr);

/// Tells calls that wait when the server stops, put there by the server. Without one they wait as long as they may.
#[derive(Clone, Debug)]
pub(crate) struct Closing(pub watch::Receiver<bool>);

impl Closing {
    /// For a router without a server.
    fn never() -> Self {
        static OPEN: std::sync::LazyLock<watch::Sender<bool>> = std::sync::LazyLock::new(|| watch::Sender::new(false));
        Self(OPEN.subscribe())
    }

    /// Resolves when the server stops.
    pub async fn closed(&mut self) {
        // A server that is gone has stopped, too.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

impl<S: Sync> FromRequestParts<S> for Closing {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::never))
    }
}

/// The address as text; `unknown` when no server put one there.
pub(crate) fn source_text(extensions: &Extensions) -> String {
    extensions.get::<Source>().map_or_else(|| "unknown".to_owned(), |source| source.0.to_canonical().to_string())
}

/// A caller who is signed in.
pub(crate) struct Signed(pub Caller);

impl FromRequestParts<ApiState> for Signed {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Failure> {
        authenticated(&state.app, call_of(parts), &parts.extensions).await.map(Self)
    }
}

/// Who makes this call, if the scopes of their token reach it.
pub(crate) async fn authenticated(app: &App, call: Call<'_>, extensions: &Extensions) -> Result<Caller, Failure> {
    let reach = reach_of(call, extensions);
    let caller = app.authenticate(call.secret()?, &source_text(extensions), reach).await;
    caller.map_err(|problem| Failure::from(problem).out_of_reach(reach.scopes))
}

/// What scopes reach the call, for calls that look again later.
pub(crate) struct Reached(pub Reach);

impl<S: Sync> FromRequestParts<S> for Reached {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(reach_of(call_of(parts), &parts.extensions)))
    }
}

fn reach_of(call: Call<'_>, extensions: &Extensions) -> Reach {
    reach::of(call.method, extensions.get::<MatchedPath>().map(MatchedPath::as_str), call.headers)
}

/// What the caller is known by, for calls that look again later. Never shown.
pub(crate) struct CallerSecret(pub Zeroizing<String>);

impl<S: Sync> FromRequestParts<S> for CallerSecret {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self(Zeroizing::new(call_of(parts).secret()?.to_owned())))
    }
}

/// A call that a page of ours makes, signed in or not.
pub(crate) struct FromPage;

impl<S: Sync> FromRequestParts<S> for FromPage {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        call_of(parts).check_page().map(|()| Self)
    }
}

const fn call_of(parts: &Parts) -> Call<'_> {
    Call { method: &parts.method, uri: &parts.uri, headers: &parts.headers }
}

/// Where the call came from.
pub(crate) struct From(pub String);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(source_text(&parts.extensions)))
    }
}

/// A JSON body.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(body_failure(&rejection)),
        }
    }
}

/// Names the place of the mistake; a body may hold secrets, so nothing of it is repeated.
fn body_failure(rejection: &JsonRejection) -> Failure {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Failure::invalid("the body must be JSON, sent as `content-type: application/json`"),
        JsonRejection::JsonSyntaxError(_) => Failure::invalid("the body is not JSON"),
        JsonRejection::JsonDataError(error) => {
            let place = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            let fields = place.split('`').skip(1).step_by(2).take(1).filter(|name| is_field_name(name)).collect::<String>();
            match (fields.is_empty(), place.contains("missing field"), place.contains("unknown field")) {
                (false, true, _) => Failure::invalid(format!("the body lacks the field `{fields}`")),
                (false, _, true) => Failure::invalid(format!("the body has the unknown field `{fields}`")),
                _ => Failure::invalid("the body is not what this path takes"),
            }
        }
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Failure::too_large(),
        _ => Failure::invalid("the body could not be read"),
    }
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Parameters of the query.
pub(crate) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(_) => Err(Failure::invalid("the parameters are not what this path takes")),
        }
    }
}

/// A part of the path, read as what it must be. What it can't be does not exist.
pub(crate) struct Part<T>(pub T);

impl<T, S> FromRequestParts<S> for Part<T>
where
    T: FromStr + Send,
    T::Err: Display,
    S: Send + Sync,
{
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Failure::no_such_path())?;
        text.parse().map(Self).map_err(|cause: T::Err| Failure::invalid(cause.to_string()))
    }
}
