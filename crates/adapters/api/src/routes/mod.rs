//! All routes, and the OpenAPI document made from the same list.

mod access;
mod administration;
mod events;
mod figures;
mod grants;
mod health;
mod identity;
mod insights;
mod ledger;
mod policy;
mod providers;
mod resources;
mod sessions;

pub use self::figures::figures_router;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use safeconduct_app::App;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{
    OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{ApiConfig, BODY_BYTES, POLICY_BODY_BYTES, dto, headers, idempotency, problem::Failure, reach, state::ApiState};

/// The router over these use cases.
pub fn router(app: App, config: &ApiConfig) -> Router {
    let state = ApiState::new(app, config);
    let quick = axum::middleware::from_fn_with_state(config.call_timeout, in_time);
    let (router, _) = quick_routes().layer(quick).merge(slow_routes()).split_for_parts();
    router
        .fallback(|| async { Failure::no_such_path() })
        .method_not_allowed_fallback(|| async { Failure::no_such_method() })
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        .layer(CatchPanicLayer::custom(|_| -> Response { Failure::internal().into_response() }))
        .layer(from_fn(headers::around))
        .with_state(state)
}

/// The OpenAPI document of exactly the routes that [`router`] serves.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut document) = OpenApiRouter::with_openapi(Document::openapi()).merge(quick_routes()).merge(slow_routes()).split_for_parts();
    reach::write_into(&mut document);
    document
}

/// Calls that answer at once.
fn quick_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(identity::sign_in))
        .routes(routes!(identity::browser_sign_in))
        .routes(routes!(identity::passkey_challenge))
        .routes(routes!(identity::passkey_sign_in))
        .routes(routes!(providers::list))
        .routes(routes!(providers::leave))
        .routes(routes!(providers::sign_in))
        .routes(routes!(providers::take_over))
        .routes(routes!(providers::logout))
        .routes(routes!(providers::exchange))
        .routes(routes!(identity::sign_out))
        .routes(routes!(identity::whoami))
        .routes(routes!(identity::choose_password))
        .routes(routes!(identity::tokens, identity::revoke_tokens))
        .routes(routes!(identity::revoke_token))
        .routes(routes!(identity::keys))
        .routes(routes!(resources::list))
        .routes(routes!(resources::connect))
        .routes(routes!(access::list, access::ask))
        .routes(routes!(access::preview))
        .routes(routes!(access::show))
        .routes(routes!(access::estimate))
        .routes(routes!(access::approve))
        .routes(routes!(access::deny))
        .routes(routes!(access::cancel))
        .routes(routes!(administration::one_time))
        .routes(routes!(grants::list))
        .routes(routes!(grants::release))
        .routes(routes!(grants::revoke))
        .routes(routes!(grants::extend))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::of_access_request))
        .routes(routes!(sessions::kill))
        .routes(routes!(sessions::recording))
        .routes(routes!(administration::principals))
        .routes(routes!(administration::groups))
        .routes(routes!(administration::change))
        .routes(routes!(policy::explain))
        .routes(routes!(policy::versions))
        .routes(routes!(ledger::tail))
        .routes(routes!(ledger::entries))
        .routes(routes!(ledger::search))
        .routes(routes!(ledger::proof))
        .routes(routes!(ledger::rosters))
        .routes(routes!(ledger::checkpoint))
        .routes(routes!(ledger::tile))
        .routes(routes!(ledger::key))
        .routes(routes!(health::status))
        .routes(routes!(insights::insights))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(policy::read, policy::upload))
                .routes(routes!(policy::plan))
                .layer(DefaultBodyLimit::max(POLICY_BODY_BYTES)),
        )
}

/// Calls that wait or stream; each bounds itself.
fn slow_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(access::wait))
        .routes(routes!(access::execute))
        .routes(routes!(events::events))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
}

/// Answers with a problem when a call takes too long. What it began goes on or was never begun; the answer says it is not known.
async fn in_time(
    axum::extract::State(limit): axum::extract::State<std::time::Duration>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| Failure::too_slow().into_response())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Safeconduct",
        description = "Just-in-time action approval. Errors are RFC 9457 problems with a stable `code`, each with a page in docs/errors. \
            Writes take an `Idempotency-Key`: for a day the same call with the same key gets the first answer again and does nothing. \
            Where an answer carries a secret or a stream (`sign-in`, `passwords`, `connect`, `one-time`, `execute`) the key is ignored; an \
            execution and a one-time secret happen once all the same. Lists are paged by `before` and `limit`. A GET never changes anything. \
            `x-token-scopes` names the scopes that reach a call, any one of them; a token without scopes may all that its workload may.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(dto::Problem, dto::ResultLine, dto::News)),
    modifiers(&Secrets),
    security(("bearer" = []), ("cookie" = [])),
    tags(
        (name = "sign-in", description = "Signing in and out; tokens"),
        (name = "access requests", description = "Asking, deciding, running"),
        (name = "grants", description = "What was granted and how it ends"),
        (name = "resources", description = "What may be asked for; opening doors"),
        (name = "sessions", description = "Proxied connections and their recordings"),
        (name = "administration", description = "People, groups, workloads: every change is an access request"),
        (name = "policy", description = "Bundles and explanations"),
        (name = "ledger", description = "What happened, and the proof of it"),
        (name = "node", description = "Health, status, news"),
    ),
)]
struct Document;

/// Declares how callers authenticate.
struct Secrets;

impl utoipa::Modify for Secrets {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let cookie = ApiKeyValue::with_description(
            "__Host-safeconduct",
            "For the gateway's own pages. A write signed in by it carries `X-Safeconduct-Page: 1` and comes from the gateway's origin.",
        );
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", scheme);
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// Lists are cut to this many when nothing is said.
pub(crate) const PAGE: u32 = 50;
/// And never longer than this.
pub(crate) const MOST_PER_PAGE: u32 = 200;

/// A limit within bounds.
pub(crate) fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, MOST_PER_PAGE)
}

/// Nothing to say.
pub(crate) const DONE: StatusCode = StatusCode::NO_CONTENT;
