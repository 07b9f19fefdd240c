//! Signing in, out, and what one is signed in with.

use std::time::Instant;

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use safeconduct_app::{ProblemKind, SignedIn};
use safeconduct_model::{PrincipalName, SignInId};

use super::DONE;
use crate::{
    browser, dto,
    extract::{Body, From, FromPage, Part, Signed},
    problem::Failure,
    state::ApiState,
};

/// Signs in with a password and gives a bearer token.
#[utoipa::path(post, path = "/api/v1/sign-in", tag = "sign-in", security(()), request_body = dto::SignIn, responses(
    (status = 200, body = dto::SignedIn),
    (status = 401, description = "wrong name or password: one answer for both", body = dto::Problem, content_type = "application/problem+json"),
    (status = 429, body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn sign_in(
    State(state): State<ApiState>,
    From(source): From,
    Body(body): Body<dto::SignIn>,
) -> Result<Json<dto::SignedIn>, Failure> {
    let signed_in = try_sign_in(&state, body, &source).await?;
    let standing = state.app.standing(&signed_in.caller);
    Ok(Json(dto::SignedIn::new(signed_in, standing)))
}

async fn try_sign_in(state: &ApiState, body: dto::SignIn, source: &str) -> Result<SignedIn, Failure> {
    let began = Instant::now();
    if !state.attempts.may_try(&body.name, source, began) {
        return Err(Failure::too_many("too many failed sign-ins"));
    }
    state.app.sign_in(&body.name, body.password.0, source).await.map_err(|problem| {
        if problem.kind == ProblemKind::NotSignedIn {
            state.attempts.failed(&body.name, source, began);
        }
        problem.into()
    })
}

/// Signs a browser in: the token comes as a cookie that no page can read. Only a page of the gateway's own may ask, with the header
/// `X-Safeconduct-Page: 1`; so must every later write that is signed in by the cookie.
#[utoipa::path(post, path = "/api/v1/browser/sign-in", tag = "sign-in", security(()), request_body = dto::SignIn, responses(
    (status = 200, body = dto::BrowserSignIn),
    (status = 401, description = "wrong name or password: one answer for both", body = dto::Problem, content_type = "application/problem+json"),
    (status = 403, description = "not from a page of the gateway's own", body = dto::Problem, content_type = "application/problem+json"),
    (status = 429, body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn browser_sign_in(
    State(state): State<ApiState>,
    _page: FromPage,
    From(source): From,
    Body(body): Body<dto::SignIn>,
) -> Result<Response, Failure> {
    let signed_in = try_sign_in(&state, body, &source).await?;
    let cookie = browser::signed_in(&signed_in).ok_or_else(Failure::internal)?;
    let answer = dto::BrowserSignIn::new(&signed_in, state.app.standing(&signed_in.caller));
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)).into_response())
}

/// A challenge for a passkey.
#[utoipa::path(post, path = "/api/v1/browser/passkey", tag = "sign-in", security(()), responses(
    (status = 200, body = dto::PasskeyChallenge),
    (status = 403, description = "not from a page of the gateway's own", body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn passkey_challenge(State(state): State<ApiState>, _page: FromPage) -> Result<Json<dto::PasskeyChallenge>, Failure> {
    Ok(Json(dto::PasskeyChallenge { challenge: state.app.passkey_challenge()? }))
}

/// Signs a browser in with a passkey, as with a password.
#[utoipa::path(post, path = "/api/v1/browser/passkey/sign-in", tag = "sign-in", security(()), request_body = dto::PasskeySignIn, responses(
    (status = 200, body = dto::BrowserSignIn),
    (status = 401, description = "one answer for everything that is not right", body = dto::Problem, content_type = "application/problem+json"),
    (status = 403, description = "not from a page of the gateway's own", body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn passkey_sign_in(
    State(state): State<ApiState>,
    _page: FromPage,
    From(source): From,
    Body(body): Body<dto::PasskeySignIn>,
) -> Result<Response, Failure> {
    // Nothing can be guessed here, so failures lock nobody out.
    let signed_in = state.app.sign_in_with_passkey(body.try_into()?, &source).await?;
    let cookie = browser::signed_in(&signed_in).ok_or_else(Failure::internal)?;
    let answer = dto::BrowserSignIn::new(&signed_in, state.app.standing(&signed_in.caller));
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)).into_response())
}

/// Ends the sign-in whose token or cookie the call carries.
#[utoipa::path(post, path = "/api/v1/sign-out", tag = "sign-in", responses((status = 204), (status = 401, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn sign_out(State(state): State<ApiState>, Signed(caller): Signed) -> Result<impl IntoResponse, Failure> {
    state.app.sign_out(&caller).await?;
    Ok((DONE, [(header::SET_COOKIE, browser::signed_out())]))
}

/// Who the caller is.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "sign-in", responses((status = 200, body = dto::WhoAmI), (status = 401, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn whoami(State(state): State<ApiState>, Signed(caller): Signed) -> Json<dto::WhoAmI> {
    Json(dto::WhoAmI::new(&caller, state.app.standing(&caller)))
}

/// Chooses a password with a one-time code.
#[utoipa::path(post, path = "/api/v1/passwords", tag = "sign-in", security(()), request_body = dto::ChoosePassword, responses(
    (status = 204),
    (status = 401, description = "wrong name or code, used or late: one answer for all", body = dto::Problem, content_type = "application/problem+json"),
    (status = 429, body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn choose_password(
    State(state): State<ApiState>,
    From(source): From,
    Body(body): Body<dto::ChoosePassword>,
) -> Result<StatusCode, Failure> {
    let began = Instant::now();
    if !state.attempts.may_try(&body.name, &source, began) {
        return Err(Failure::too_many("too many failed sign-ins"));
    }
    if let Err(problem) = state.app.choose_password(&body.name, body.code.0, body.password.0).await {
        if problem.kind != ProblemKind::Invalid {
            state.attempts.failed(&body.name, &source, began);
        }
        return Err(problem.into());
    }
    Ok(DONE)
}

/// Sign-ins and tokens of a principal, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens/{name}", tag = "sign-in", params(("name" = String, Path,)), responses((status = 200, body = Vec<dto::Token>), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn tokens(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(name): Part<PrincipalName>,
) -> Result<Json<Vec<dto::Token>>, Failure> {
    Ok(Json(state.app.tokens(&caller, &name).await?.iter().map(Into::into).collect()))
}

/// Ends a sign-in or token of a principal.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}/{sign_in}", tag = "sign-in", params(("name" = String, Path,), ("sign_in" = String, Path,)), responses((status = 204), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke_token(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Path((name, sign_in)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let name: PrincipalName = dto::parse("name", &name)?;
    let sign_in: SignInId = dto::parse("sign_in", &sign_in)?;
    state.app.revoke_token(&caller, &name, &sign_in).await?;
    Ok(DONE)
}

/// Ends every sign-in and token of a principal, all at once, but the one that this call carries.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "sign-in", params(("name" = String, Path,)), responses((status = 204), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke_tokens(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(name): Part<PrincipalName>,
) -> Result<StatusCode, Failure> {
    state.app.revoke_tokens(&caller, &name).await?;
    Ok(DONE)
}

/// The keys somebody may sign approvals with: one's own, or anybody's for those who audit.
#[utoipa::path(get, path = "/api/v1/keys/{name}", tag = "sign-in", params(("name" = String, Path,)), responses((status = 200, body = Vec<dto::Key>), (status = 404, body = dto::Problem, content_type = "application/problem+json")))]
pub(crate) async fn keys(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    Part(name): Part<PrincipalName>,
) -> Result<Json<Vec<dto::Key>>, Failure> {
    Ok(Json(state.app.keys(&caller, &name)?.iter().map(Into::into).collect()))
}
