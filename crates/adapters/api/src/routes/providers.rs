//! Signing in by an identity provider. A browser leaves and comes back by calls of our own page: a GET never signs anybody in.

use std::time::Instant;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use safeconduct_app::{Arrived, ProblemKind};
use safeconduct_model::TokenScopes;

use crate::{
    browser, dto,
    extract::{Body, From, FromPage, Part},
    problem::Failure,
    state::ApiState,
};

/// The provider knows them, and nobody here may sign in as that.
const UNKNOWN_PERSON: &str = "SIGN-007";

/// The one grant that `/token` knows.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What a workload may bring.
const SUBJECT_TOKENS: [&str; 2] = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

/// Identity providers that people may sign in by.
#[utoipa::path(get, path = "/api/v1/providers", operation_id = "providers", tag = "sign-in", security(()), responses((status = 200, body = Vec<dto::Provider>)))]
pub(crate) async fn list(State(state): State<ApiState>) -> Json<Vec<dto::Provider>> {
    let shown = |provider: safeconduct_app::ports::Provider| dto::Provider { name: provider.name, title: provider.title };
    Json(state.app.providers().into_iter().map(shown).collect())
}

/// Sends a browser to an identity provider. What it keeps until it is back is in a cookie of its own; nothing changes at the gateway.
#[utoipa::path(post, path = "/api/v1/browser/providers/{name}/leave", tag = "sign-in", security(()), params(("name" = String, Path,)), request_body = dto::Leave, responses(
    (status = 200, body = dto::Leaving),
    (status = 403, description = "not from a page of the gateway's own", body = dto::Problem, content_type = "application/problem+json"),
    (status = 404, body = dto::Problem, content_type = "application/problem+json"),
    (status = 503, description = "the provider can't be used now", body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn leave(
    State(state): State<ApiState>,
    _page: FromPage,
    Part(name): Part<String>,
    Body(body): Body<dto::Leave>,
) -> Result<Response, Failure> {
    let leaving = state.app.leave_for_provider(&name, body.command_line.map(Into::into)).await?;
    let cookie = browser::away(&leaving.ticket).ok_or_else(Failure::internal)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(dto::Leaving { url: leaving.url })).into_response())
}

/// Signs a browser in by what it brought back from an identity provider, or hands the sign-in to the command line that began it.
#[utoipa::path(post, path = "/api/v1/browser/providers/sign-in", operation_id = "provider_sign_in", tag = "sign-in", security(()), request_body = dto::Returned, responses(
    (status = 200, body = dto::Arrived),
    (status = 401, description = "the provider, the browser or the person is not who it should be", body = dto::Problem, content_type = "application/problem+json"),
    (status = 403, description = "not from a page of the gateway's own", body = dto::Problem, content_type = "application/problem+json"),
    (status = 429, body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn sign_in(
    State(state): State<ApiState>,
    _page: FromPage,
    From(source): From,
    headers: HeaderMap,
    Body(body): Body<dto::Returned>,
) -> Result<Response, Failure> {
    let ticket = browser::ticket(&headers).unwrap_or_default();
    let arrived = counted(&state, &source, state.app.return_from_provider(ticket, body.into(), &source)).await?;
    let back = (header::SET_COOKIE, browser::back());
    Ok(match arrived {
        Arrived::SignedIn(signed_in) => {
            let cookie = browser::signed_in(&signed_in).ok_or_else(Failure::internal)?;
            let answer = dto::Arrived {
                signed_in: Some(dto::BrowserSignIn::new(&signed_in, state.app.standing(&signed_in.caller))),
                command_line: None,
            };
            (AppendHeaders([back, (header::SET_COOKIE, cookie)]), Json(answer)).into_response()
        }
        Arrived::HandOver { url } => {
            (AppendHeaders([back]), Json(dto::Arrived { signed_in: None, command_line: Some(url) })).into_response()
        }
    })
}

/// Gives a command line the sign-in that the browser brought it, for the verifier it began with. A code works once, for a minute.
#[utoipa::path(post, path = "/api/v1/command-line/sign-in", operation_id = "command_line_sign_in", tag = "sign-in", security(()), request_body = dto::TakeOver, responses(
    (status = 200, body = dto::SignedIn),
    (status = 401, body = dto::Problem, content_type = "application/problem+json"),
    (status = 429, body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn take_over(
    State(state): State<ApiState>,
    From(source): From,
    Body(body): Body<dto::TakeOver>,
) -> Result<Json<dto::SignedIn>, Failure> {
    let signed_in = counted(&state, &source, state.app.take_over_sign_in(&body.code.0, &body.verifier.0, &source)).await?;
    let standing = state.app.standing(&signed_in.caller);
    Ok(Json(dto::SignedIn::new(signed_in, standing)))
}

/// An identity provider says that somebody signed out there (OpenID Connect Back-Channel Logout): their sign-ins by it end.
#[utoipa::path(post, path = "/api/v1/providers/{name}/logout", operation_id = "provider_logout", tag = "sign-in", security(()), params(("name" = String, Path,)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "`logout_token`, signed by the provider"),
    responses(
        (status = 200, description = "over, or was before"),
        (status = 400, description = "not the provider's word", body = dto::Problem, content_type = "application/problem+json"),
        (status = 404, body = dto::Problem, content_type = "application/problem+json"),
        (status = 429, body = dto::Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn logout(State(state): State<ApiState>, Part(name): Part<String>, body: Bytes) -> Result<StatusCode, Failure> {
    let form = std::str::from_utf8(&body).map_err(|_| Failure::invalid("the body is no form"))?;
    let mut tokens = form.split('&').filter_map(|field| field.strip_prefix("logout_token="));
    // A signed token holds nothing that a form would write otherwise.
    let (Some(token), None) = (tokens.next(), tokens.next()) else { return Err(Failure::invalid("the form lacks `logout_token`")) };
    // Never refused for failures: who is signed out there must be signed out here, whoever else calls from the same address.
    match state.app.provider_logout(&name, token).await {
        // 200 and 400 are what providers look for (Back-Channel Logout 1.0, 2.8): nobody here was asked to sign in.
        Ok(()) => Ok(StatusCode::OK),
        Err(problem) if problem.kind == ProblemKind::NotSignedIn => {
            Err(Failure { status: StatusCode::BAD_REQUEST, ..Failure::from(problem) })
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Gives a workload a short-lived token for one that an issuer of the settings signed for it (RFC 8693): a CI job's, a Kubernetes service
/// account's. A form with `grant_type`, `subject_token`, `subject_token_type` and, to narrow what it gets, `scope`: `read`, `request`, `ledger`.
#[utoipa::path(post, path = "/api/v1/token", operation_id = "exchange_token", tag = "sign-in", security(()),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "RFC 8693, section 2.1"),
    responses((status = 200, body = dto::TokenAnswer), (status = 400, body = dto::TokenRefused), (status = 503, body = dto::TokenRefused)))]
pub(crate) async fn exchange(State(state): State<ApiState>, From(source): From, body: Bytes) -> Response {
    let refused = |status, error: &str, why: String| {
        (status, Json(dto::TokenRefused { error: error.to_owned(), error_description: why })).into_response()
    };
    let invalid = |why: &str| refused(StatusCode::BAD_REQUEST, "invalid_request", why.to_owned());
    let Ok(form) = std::str::from_utf8(&body) else { return invalid("the body is no form") };
    let field = |name: &str| {
        let mut values = form.split('&').filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        values
            .next()
            .filter(|_| values.next().is_none())
            .map(|value| value.replace("%3A", ":").replace("%3a", ":").replace("%20", " ").replace('+', " "))
    };
    match field("grant_type").as_deref() {
        Some(TOKEN_EXCHANGE) => {}
        Some(_) => return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", format!("it is `{TOKEN_EXCHANGE}`")),
        None => return invalid("the form lacks `grant_type`"),
    }
    if !field("subject_token_type").is_some_and(|kind| SUBJECT_TOKENS.contains(&kind.as_str())) {
        return invalid("`subject_token_type` is that of a JWT or an ID token");
    }
    if field("actor_token").is_some() {
        return invalid("nobody acts for somebody else here");
    }
    let scopes = match field("scope").map(|scope| scope.parse::<TokenScopes>()).transpose() {
        Ok(scopes) => scopes,
        Err(unknown) => return refused(StatusCode::BAD_REQUEST, "invalid_scope", unknown.to_string()),
    };
    // A signed token holds nothing that a form would write otherwise.
    let Some(token) = field("subject_token") else { return invalid("the form lacks `subject_token`") };
    let began = Instant::now();
    if !state.attempts_at_providers.may_try("", &source, began) {
        return refused(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "too many failed sign-ins".to_owned());
    }
    match state.app.exchange_token(&token, scopes, &source).await {
        Ok(signed_in) => {
            let left = signed_in.expires_at.micros().saturating_sub(state.app.now().micros()) / 1_000_000;
            let answer = dto::TokenAnswer {
                access_token: dto::Secret(signed_in.token),
                issued_token_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
                token_type: "Bearer".to_owned(),
                expires_in: u64::try_from(left).unwrap_or(0),
                scope: signed_in.caller.scopes.map(|scopes| scopes.to_string()),
            };
            ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
        }
        Err(problem) if problem.kind == ProblemKind::NotSignedIn => {
            state.attempts_at_providers.failed("", &source, began);
            refused(StatusCode::BAD_REQUEST, "invalid_grant", problem.message)
        }
        Err(problem) if problem.kind == ProblemKind::Invalid => refused(StatusCode::BAD_REQUEST, "invalid_scope", problem.message),
        Err(problem) => refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", problem.message),
    }
}

/// Counts what is no provider's word, by source. A person who is not known here has proved who they are: that is no failure of the source.
async fn counted<T>(
    state: &ApiState,
    source: &str,
    attempt: impl Future<Output = Result<T, safeconduct_app::Problem>>,
) -> Result<T, Failure> {
    let began = Instant::now();
    if !state.attempts_at_providers.may_try("", source, began) {
        return Err(Failure::too_many("too many failed sign-ins"));
    }
    attempt.await.map_err(|problem| {
        if problem.kind == ProblemKind::NotSignedIn && problem.code != UNKNOWN_PERSON {
            state.attempts_at_providers.failed("", source, began);
        }
        problem.into()
    })
}
