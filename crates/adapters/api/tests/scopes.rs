//! Tokens with scopes: every call of the document with every scope, and what no detour gives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use axum::http::{StatusCode, header};
use safeconduct_api::openapi;
use serde_json::{Value, json};
use support::{Answer, World};

/// Asked by ann, approved by abe; the token is fetched by ann.
async fn token(world: &World, change: Value) -> String {
    let (ann, abe) = (world.sign_in("ann").await, world.sign_in("abe").await);
    let asked = world.call("POST", "/api/v1/changes", Some(&ann), Some(json!({ "change": change, "reason": "for CI" }))).await;
    assert_eq!(asked.status, StatusCode::CREATED, "{}", asked.text);
    let asked = asked.json();
    let id = asked["id"].as_str().unwrap();
    let approved =
        world.call("POST", &format!("/api/v1/access-requests/{id}/approve"), Some(&abe), Some(json!({ "digest": asked["digest"] }))).await;
    assert_eq!(approved.json()["state"], "settled", "{}", approved.text);
    let secret = world.call("POST", &format!("/api/v1/access-requests/{id}/one-time"), Some(&ann), Some(json!({}))).await.json();
    world.clock.advance(std::time::Duration::from_secs(1));
    secret["secret"].as_str().unwrap().to_owned()
}

async fn workload(world: &World, scopes: &[&str]) -> String {
    let name = format!("ci-{}", scopes.join("-"));
    token(world, json!({ "change": "create_workload", "name": name, "display_name": "CI", "scopes": scopes })).await
}

/// Method, path and scopes of every call that takes a sign-in. Signing out comes last: it ends the token.
fn calls() -> Vec<(String, String, Vec<String>)> {
    let document: Value = serde_json::to_value(openapi()).unwrap();
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, call) in item.as_object().unwrap() {
            if call.get("security") == Some(&json!([{}])) {
                continue;
            }
            let scopes = call["x-token-scopes"].as_array().unwrap_or_else(|| panic!("{method} {path} names no scopes"));
            calls.push((method.to_uppercase(), path.clone(), scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect()));
        }
    }
    calls.sort_by_key(|(_, path, _)| path == "/api/v1/sign-out");
    calls
}

fn filled(path: &str) -> String {
    let (kind, name) = match path {
        _ if path.contains("/grants/") => ("gr", ""),
        _ if path.contains("/sessions/") => ("se", ""),
        _ if path.contains("/resources/") => ("rq", "orders-db"),
        _ => ("rq", "alice"),
    };
    let path = path.replace("{id}", &format!("{kind}-000000000000")).replace("{name}", name);
    path.replace("{index}", "0").replace("{sign_in}", "si-000000000000")
}

fn is_out_of_reach(answer: &Answer) -> bool {
    answer.status == StatusCode::FORBIDDEN && answer.code() == "SIGN-010"
}

#[tokio::test]
async fn f21_a_token_with_scopes_calls_what_they_reach_and_nothing_else() {
    let world = World::new().await;
    let calls = calls();
    assert!(calls.len() > 35);
    for scope in ["read", "request", "ledger"] {
        let token = workload(&world, &[scope]).await;
        for (method, path, scopes) in &calls {
            let body = (method != "GET").then(|| json!({}));
            let answer = world.call(method, &filled(path), Some(&token), body).await;
            let reached = scopes.iter().any(|one| one == scope);
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{scope}: {method} {path}");
            let streams = answer.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
            assert_eq!(!streams && is_out_of_reach(&answer), !reached, "{scope}: {method} {path}: {} {}", answer.status, answer.text);
            if !reached {
                let said = if scopes.is_empty() { String::new() } else { format!(", scope=\"{}\"", scopes.join(" ")) };
                let expected = format!("Bearer error=\"insufficient_scope\"{said}");
                assert_eq!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap(), expected, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_without_scopes_may_all_that_its_workload_may() {
    let world = World::new().await;
    let token = token(&world, json!({ "change": "create_workload", "name": "deployer", "display_name": "Deployer" })).await;
    for (method, path, _) in calls() {
        let answer = world.call(&method, &filled(&path), Some(&token), (method != "GET").then(|| json!({}))).await;
        let streams = answer.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        assert!(streams || !is_out_of_reach(&answer), "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn scopes_are_approved_shown_and_recorded() {
    let world = World::new().await;
    let narrow = workload(&world, &["request", "read"]).await;
    let ann = world.sign_in("ann").await;
    let shown = world.call("GET", "/api/v1/tokens/ci-request-read", Some(&ann), None).await.json();
    assert_eq!(shown[0]["scopes"], json!(["read", "request"]), "{shown}");
    assert!(shown[0].get("last_used_at").is_none(), "{shown}");
    let who = world.call("GET", "/api/v1/whoami", Some(&narrow), None).await.json();
    assert_eq!(who["scopes"], json!(["read", "request"]), "{who}");
    let used = world.call("GET", "/api/v1/tokens/ci-request-read", Some(&ann), None).await.json();
    assert!(used[0]["last_used_at"].is_string() && used[0]["last_used_from"] == "unknown", "{used}");
    // What an approver is shown, and what the ledger says of the token.
    let requests = world.call("GET", "/api/v1/access-requests", Some(&ann), None).await.text;
    assert!(requests.contains("its token is for read, request alone"), "{requests}");
    let found = world.call("GET", "/api/v1/ledger/search?kind=signed_in", Some(&ann), None).await.text;
    assert!(found.contains("for read request alone"), "{found}");
    // A new token without scopes is asked for and approved as one.
    let wide = token(&world, json!({ "change": "reset_secret", "name": "ci-request-read" })).await;
    assert!(world.call("GET", "/api/v1/whoami", Some(&wide), None).await.json().get("scopes").is_none());
    assert_eq!(world.call("GET", "/api/v1/whoami", Some(&narrow), None).await.status, StatusCode::UNAUTHORIZED);

    let ask_for =
        async |change: Value| world.call("POST", "/api/v1/changes", Some(&ann), Some(json!({ "change": change, "reason": "r" }))).await;
    for scopes in [json!([]), json!(["everything"]), json!(["read", ""])] {
        let refused = ask_for(json!({ "change": "create_workload", "name": "x", "display_name": "x", "scopes": scopes })).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::BAD_REQUEST, "API-001"), "{scopes}: {}", refused.text);
    }
    let of_a_person = ask_for(json!({ "change": "reset_secret", "name": "alice", "scopes": ["read"] })).await;
    assert_eq!(of_a_person.code(), "ADMIN-001", "{}", of_a_person.text);
}

#[tokio::test]
async fn calls_that_a_page_makes_by_itself_are_no_use_of_its_sign_in() {
    let world = World::new().await;
    let (alice, ann) = (world.sign_in("alice").await, world.sign_in("ann").await);
    let used = async || world.call("GET", "/api/v1/tokens/alice", Some(&ann), None).await.json()[0].get("last_used_at").cloned();
    let unattended = [("x-safeconduct-unattended", "1")];
    world.call_with("GET", "/api/v1/access-requests", Some(&alice), None, &unattended).await;
    world.call("GET", "/api/v1/events", Some(&alice), None).await;
    assert_eq!(used().await, None);
    world.call("GET", "/api/v1/access-requests", Some(&alice), None).await;
    assert!(used().await.is_some());
}
