//! The OpenAPI document: committed as it is generated, and every path in it behaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use axum::http::StatusCode;
use safeconduct_api::openapi;
use serde_json::Value;
use support::World;

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/openapi.json");
    let generated = format!("{}\n", openapi().to_pretty_json().unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference")).unwrap();
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "docs/reference/openapi.json is not up to date: run the tests with UPDATE_GOLDEN=1 and commit it");
}

/// Method and path of every operation in the document.
fn operations() -> Vec<(String, String)> {
    let document: Value = serde_json::to_value(openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| {
        item.as_object().unwrap().keys().filter(|key| ["get", "post", "put", "delete"].contains(&key.as_str())).cloned().collect::<Vec<_>>()
    };
    paths.iter().flat_map(|(path, item)| methods(item).into_iter().map(move |method| (method.to_uppercase(), path.clone()))).collect()
}

/// Fills the parameters of a path with things that exist.
fn filled(path: &str, id: &str) -> String {
    let id = if path.contains("/grants/") { id.replace("rq-", "gr-") } else { id.to_owned() };
    let id = if path.contains("/sessions/") { id.replace("rq-", "se-") } else { id };
    let path = path.replace("{id}", &id).replace("{name}", if path.contains("/resources/") { "orders-db" } else { "alice" });
    path.replace("{index}", "0").replace("{*path}", "entries/000.p/1").replace("{sign_in}", "si-000000000000")
}

#[test]
fn the_document_is_openapi_3_1_and_every_operation_names_its_answers() {
    let document: Value = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(operations().len() > 40);
    let mut names = std::collections::BTreeSet::new();
    for (method, path) in operations() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}: two operations of one name");
        assert!(operation["responses"].as_object().is_some_and(|responses| !responses.is_empty()), "{method} {path}");
        // A parameter of the path is in the path, and no other is said to be.
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let in_path = path.contains(&format!("{{{name}}}")) || path.contains(&format!("{{*{name}}}"));
            assert_eq!(parameter["in"] == "path", in_path, "{method} {path}: {name}");
        }
        assert!(operation["description"].is_string() || operation["summary"].is_string(), "{method} {path} says nothing about itself");
    }
}

#[tokio::test]
async fn f19_no_get_of_any_path_changes_the_ledger() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.sign_in("alice").await, world.sign_in("bob").await, world.sign_in("carol").await);
    let id = world.pending(&alice).await["id"].as_str().unwrap().to_owned();
    let before = world.size().await;
    for (_, path) in operations() {
        for token in [&alice, &bob, &carol] {
            let query = if path.ends_with("/wait") { "?timeout=0" } else { "" };
            for method in ["GET", "HEAD"] {
                let answer = world.call(method, &format!("{}{query}", filled(&path, &id)), Some(token), None).await;
                assert!(!answer.status.is_server_error(), "{method} {path}: {} {}", answer.status, answer.text);
                assert_eq!(world.size().await, before, "{method} {path} changed the ledger");
            }
        }
    }
    // What a mail scanner or link preview could be made to fetch decides nothing either.
    for path in [format!("/api/v1/access-requests/{id}?approve=true"), format!("/api/v1/access-requests/{id}/approve?digest=x")] {
        world.call("GET", &path, Some(&bob), None).await;
        assert_eq!(world.size().await, before, "{path}");
    }
}

#[tokio::test]
async fn f51_every_path_but_the_public_ones_wants_a_token_and_a_cookie_is_none_for_other_sites() {
    let world = World::new().await;
    let token = world.sign_in("alice").await;
    let document: Value = serde_json::to_value(openapi()).unwrap();
    for (method, path) in operations() {
        let public = document["paths"][&path][method.to_lowercase()]["security"] == serde_json::json!([{}]);
        let path = filled(&path, "rq-000000000000");
        let body = (method == "POST").then(|| serde_json::json!({}));
        let bare = world.call(&method, &path, None, body.clone()).await;
        assert_eq!(bare.status == StatusCode::UNAUTHORIZED, !public, "{method} {path}: {}", bare.status);
        // What a browser sends when a page of another site makes it call, whatever else that page can choose.
        let before = world.size().await;
        let cookie = format!("__Host-safeconduct={token}; token={token}");
        let there = ("host", "gateway.example");
        for forged in [
            vec![("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
            vec![("sec-fetch-site", "same-site"), ("origin", "https://other.gateway.example")],
            vec![("origin", "https://evil.example"), ("x-safeconduct-page", "1")],
            vec![("origin", "null")],
            vec![("x-safeconduct-page", "1")],
            vec![("origin", "https://gateway.example"), ("sec-fetch-site", "same-origin")],
        ] {
            let reads = method == "GET" && !forged.iter().any(|(_, value)| matches!(*value, "cross-site" | "same-site"));
            let headers: Vec<(&str, &str)> = [vec![("cookie", cookie.as_str()), there], forged.clone()].concat();
            let answer = world.call_with(&method, &path, None, body.clone(), &headers).await;
            if !public && !reads {
                assert!(
                    matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
                    "{method} {path} {forged:?}: {}",
                    answer.status
                );
                let code = answer.code();
                assert!(["API-002", "API-011", "API-012"].contains(&code.as_str()), "{method} {path} {forged:?}: {code}");
            }
        }
        if !path.ends_with("/sign-in") {
            assert_eq!(world.size().await, before, "{method} {path} changed the ledger");
        }
    }
}
