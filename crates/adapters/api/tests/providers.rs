//! Sign-ins by a provider that fail, and what they keep nobody else from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use safeconduct_app::ports::{Away, Back, BoxFuture, Exchanged, IdentityError, IdentityProviders, LoggedOut, Provider, SaidAbout};
use safeconduct_lifecycle::Vouched;
use safeconduct_model::Timestamp;
use safeconduct_testkit::{parsed, ttl};
use serde_json::json;
use support::{Answer, World};

const PAGE: [(&str, &str); 4] =
    [("host", "gateway.example"), ("origin", "https://gateway.example"), ("sec-fetch-site", "same-origin"), ("x-safeconduct-page", "1")];

#[tokio::test]
async fn failed_sign_ins_by_a_provider_lock_nobody_else_out() {
    let world = World::new().await;
    world.app.set_identity_providers(Arc::new(Corp));
    for _ in 0..35 {
        let strangers = [("a stranger", "SIGN-007"), ("", "SIGN-006")];
        for (code, problem) in strangers {
            let answer = come_back(&world, code).await;
            assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, problem), "{}", answer.text);
        }
        let taken = world.call("POST", "/api/v1/command-line/sign-in", None, Some(json!({ "code": "a", "verifier": "b" }))).await;
        assert_eq!(taken.status, StatusCode::UNAUTHORIZED, "{}", taken.text);
        assert_eq!(log_out(&world, "made up").await.status, StatusCode::BAD_REQUEST);
    }
    // From the same address, as it is behind a proxy:
    let answer = come_back(&world, "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(log_out(&world, "good").await.status, StatusCode::OK);
    world.sign_in("bob").await;
}

#[tokio::test]
async fn wrong_passwords_keep_nobody_from_signing_in_by_a_provider() {
    let world = World::new().await;
    world.app.set_identity_providers(Arc::new(Corp));
    let wrong = |name: String| json!({ "name": name, "password": "" });
    let mut tried = 0;
    while world.call("POST", "/api/v1/sign-in", None, Some(wrong(format!("nobody-{tried}")))).await.status == StatusCode::UNAUTHORIZED {
        tried += 1;
    }
    assert!(tried >= 10, "passwords are guessed so often at most: {tried}");
    let answer = come_back(&world, "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

/// The workload that the provider of these tests knows: asked for by one administrator, approved by another.
async fn make_deployer(world: &World) {
    let ann = world.sign_in("ann").await;
    let change = json!({ "change": { "change": "create_workload", "name": "deployer", "display_name": "Deployer" }, "reason": "deploys" });
    let made = world.call("POST", "/api/v1/changes", Some(&ann), Some(change)).await.json();
    let abe = world.sign_in("abe").await;
    let approve = format!("/api/v1/access-requests/{}/approve", made["id"].as_str().unwrap());
    world.call("POST", &approve, Some(&abe), Some(json!({ "digest": made["digest"] }))).await;
}

#[tokio::test]
async fn f56_a_workload_exchanges_its_token_and_approves_nothing_with_what_it_gets() {
    let world = World::new().await;
    world.app.set_identity_providers(Arc::new(Corp));
    let alice = world.sign_in("alice").await;
    // Made before the asking, so that being new is not why it may not.
    make_deployer(&world).await;
    world.clock.advance(std::time::Duration::from_secs(1));
    let pending = world.pending(&alice).await;

    let (grant, kind) = ("urn:ietf:params:oauth:grant-type:token-exchange", "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt");
    let form = |token: &str| format!("grant_type={grant}&subject_token_type={kind}&subject_token={token}");
    let answer = exchange(&world, form("whole")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let given = answer.json();
    assert_eq!((&given["token_type"], &given["expires_in"]), (&json!("Bearer"), &json!(600)), "{given}");
    assert_eq!(given["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let token = given["access_token"].as_str().unwrap();
    let who = world.call("GET", "/api/v1/whoami", Some(token), None).await.json();
    assert_eq!((&who["name"], &who["kind"], &who["method"]), (&json!("deployer"), &json!("workload"), &json!("token-exchange")), "{who}");
    let approve = format!("/api/v1/access-requests/{}/approve", pending["id"].as_str().unwrap());
    let refused = world.call("POST", &approve, Some(token), Some(json!({ "digest": pending["digest"] }))).await;
    assert_eq!(refused.code(), "REQ-008", "it may not even see it: {}", refused.text);

    let wrong = [
        (form("made-up"), "invalid_grant"),
        (form("good").replace("token-exchange", "password"), "unsupported_grant_type"),
        (form("good").replace("jwt", "saml2"), "invalid_request"),
        (format!("{}&subject_token=other", form("good")), "invalid_request"),
        (format!("{}&actor_token=x", form("good")), "invalid_request"),
        (String::new(), "invalid_request"),
    ];
    for (form, error) in wrong {
        let refused = exchange(&world, form.clone()).await;
        assert_eq!((refused.status, &refused.json()["error"]), (StatusCode::BAD_REQUEST, &json!(error)), "{form}");
    }
}

#[tokio::test]
async fn f56_an_exchange_narrows_to_scopes_and_no_detour_widens() {
    let world = World::new().await;
    world.app.set_identity_providers(Arc::new(Corp));
    make_deployer(&world).await;
    let (grant, kind) = ("urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:jwt");
    let form = |scope: &str| format!("grant_type={grant}&subject_token_type={kind}&subject_token=good{scope}");
    let given = async |scope: &str| {
        let answer = exchange(&world, form(scope)).await;
        assert_eq!(answer.status, StatusCode::OK, "{scope}: {}", answer.text);
        let given = answer.json();
        (given["access_token"].as_str().unwrap().to_owned(), given["scope"].clone())
    };
    // The settings narrow what is not narrowed, and what asks for more gets what both have.
    assert_eq!(given("").await.1, json!("read request"));
    assert_eq!(given("&scope=request+ledger").await.1, json!("request"));
    for scope in ["&scope=ledger", "&scope=all", "&scope=", "&scope=read%20all"] {
        let refused = exchange(&world, form(scope)).await;
        assert_eq!((refused.status, &refused.json()["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_scope")), "{scope}");
    }
    let ((request, _), (read, _)) = (given("&scope=request").await, given("&scope=read").await);
    let preview = "/api/v1/access-requests/preview";
    let key = [("idempotency-key", "k-1")];
    let first = world.call_with("POST", preview, Some(&request), Some(support::ask("orders-db", &["read"])), &key).await;
    assert_ne!(first.code(), "SIGN-010", "{}", first.text);
    let again = world.call_with("POST", preview, Some(&request), Some(support::ask("orders-db", &["read"])), &key).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    // An answer that is kept for the workload is no answer for a token that may not make the call.
    let detour = world.call_with("POST", preview, Some(&read), Some(support::ask("orders-db", &["read"])), &key).await;
    assert_eq!(detour.code(), "SIGN-010", "{}", detour.text);
    // A token of ours is nothing to exchange.
    let own = exchange(&world, form("").replace("=good", &format!("={read}"))).await;
    assert_eq!(own.json()["error"], "invalid_grant");
}

async fn exchange(world: &World, form: String) -> Answer {
    let request = Request::post("/api/v1/token").header("content-type", "application/x-www-form-urlencoded");
    world.send(request.body(Body::from(form)).unwrap()).await
}

async fn come_back(world: &World, code: &str) -> Answer {
    let left = world.call_with("POST", "/api/v1/browser/providers/corp/leave", None, Some(json!({})), &PAGE).await;
    let cookie = left.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let state = left.json()["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let headers = [PAGE.as_slice(), &[("cookie", cookie.as_str())]].concat();
    let returned = json!({ "code": code, "state": state });
    world.call_with("POST", "/api/v1/browser/providers/sign-in", None, Some(returned), &headers).await
}

async fn log_out(world: &World, token: &str) -> Answer {
    let request = Request::post("/api/v1/providers/corp/logout").header("content-type", "application/x-www-form-urlencoded");
    world.send(request.body(Body::from(format!("logout_token={}", token.replace(' ', "-")))).unwrap()).await
}

/// A provider at which the code says who comes back.
struct Corp;

impl IdentityProviders for Corp {
    fn all(&self) -> Vec<Provider> {
        vec![Provider { name: "corp".to_owned(), title: "Corp".to_owned() }]
    }

    fn leave<'a>(&'a self, _: &'a str, away: &'a Away) -> BoxFuture<'a, Result<String, IdentityError>> {
        Box::pin(async { Ok(format!("https://idp.example/{}", away.state)) })
    }

    fn redeem<'a>(&'a self, _: &'a str, back: &'a Back, _: Timestamp) -> BoxFuture<'a, Result<SaidAbout, IdentityError>> {
        Box::pin(async {
            Ok(SaidAbout {
                vouched: Vouched {
                    provider: "corp".to_owned(),
                    issuer: "https://idp.example".to_owned(),
                    subject: back.code.clone(),
                    session: None,
                    authenticated_at: None,
                    methods: Vec::new(),
                    claims: std::collections::BTreeMap::new(),
                },
                name: None,
                display_name: None,
                owned: BTreeSet::new(),
                groups: BTreeSet::new(),
                person: (back.code == "alice").then(|| parsed("alice")),
                creates: false,
            })
        })
    }

    fn workload<'a>(&'a self, token: &'a str, _: Timestamp) -> BoxFuture<'a, Result<Exchanged, IdentityError>> {
        Box::pin(async move {
            if !["good", "whole"].contains(&token) {
                return Err(IdentityError::Refused("it is no token".to_owned()));
            }
            Ok(Exchanged {
                provider: "corp".to_owned(),
                issuer: "https://idp.example".to_owned(),
                subject: "job".to_owned(),
                workload: parsed("deployer"),
                lasts: ttl(600),
                claims: std::collections::BTreeMap::new(),
                // "whole" is not narrowed at all.
                scopes: (token != "whole").then(|| "read request".parse().unwrap()),
            })
        })
    }

    fn logged_out<'a>(&'a self, _: &'a str, token: &'a str, _: Timestamp) -> BoxFuture<'a, Result<LoggedOut, IdentityError>> {
        Box::pin(async move {
            if token == "good" {
                Ok(LoggedOut { issuer: "https://idp.example".to_owned(), session: None, subject: Some("alice".to_owned()) })
            } else {
                Err(IdentityError::Refused("it is no token".to_owned()))
            }
        })
    }
}
