//! Estimates over the API: told to whoever may see the access request, and to nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::sync::Arc;

use axum::http::StatusCode;
use safeconduct_app::ports::{BoxFuture, Relation, RelationKind, RelationName, Statistics, Unsaid};
use safeconduct_model::Resource;
use serde_json::{Value, json};
use support::World;

/// Every table has seven rows, but `fresh`.
struct Seven;

impl Statistics for Seven {
    fn sizes<'a>(&'a self, _: &'a Resource, _: &'a str, names: &'a [RelationName]) -> BoxFuture<'a, Result<Vec<Vec<Relation>>, Unsaid>> {
        let size = |name: &RelationName| {
            let uncounted = u64::from(name.name == "fresh");
            vec![Relation { schema: "public".into(), kind: RelationKind::Table, tables: 1, uncounted, rows: 7 }]
        };
        Box::pin(std::future::ready(Ok(names.iter().map(size).collect())))
    }
}

async fn asked(world: &World, token: &str, text: &str) -> Value {
    let ask = json!({ "resource": "orders-db", "what": { "kind": "sql", "text": text }, "reason": "a test", "duration": "15m" });
    let answer = world.call("POST", "/api/v1/access-requests", Some(token), Some(ask)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    answer.json()
}

fn path(view: &Value) -> String {
    format!("/api/v1/access-requests/{}", view["id"].as_str().unwrap())
}

#[tokio::test]
async fn f21_an_estimate_is_for_those_who_see_the_access_request_and_a_stranger_gets_the_same_answer_as_there() {
    let world = World::new().await;
    world.app.set_statistics(Arc::new(Seven));
    let alice = world.sign_in("alice").await;
    let view = asked(&world, &alice, "update orders set note = 'x' where id = 1").await;
    let estimate = format!("{}/estimate", path(&view));
    for who in ["alice", "bob", "carol"] {
        let token = world.sign_in(who).await;
        let answer = world.call("GET", &estimate, Some(&token), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{who}: {}", answer.text);
        let said = answer.json();
        assert_eq!(said["summary"], "at most about 7 rows of public.orders (the server's statistics)");
        assert_eq!(said["tables"], json!([{ "name": "public.orders", "rows": 7 }]));
        assert!(said["read_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{said}");
    }
    let mallory = world.sign_in("mallory").await;
    let (told, request) =
        (world.call("GET", &estimate, Some(&mallory), None).await, world.call("GET", &path(&view), Some(&mallory), None).await);
    assert_eq!((told.status, told.code().as_str()), (StatusCode::NOT_FOUND, "REQ-008"), "{}", told.text);
    assert_eq!((told.status, &told.text), (request.status, &request.text));
    let nothing = world.call("GET", "/api/v1/access-requests/rq-000000000000/estimate", Some(&mallory), None).await;
    assert_eq!((nothing.status, nothing.text), (told.status, told.text));
    assert_eq!(world.call("GET", &estimate, None, None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_not_known_is_said_and_is_no_failure() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    let estimate = async |view: &Value| {
        let answer = world.call("GET", &format!("{}/estimate", path(view)), Some(&alice), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    };
    let fresh = asked(&world, &alice, "delete from fresh").await;
    assert_eq!(estimate(&fresh).await["summary"], "unknown: this gateway asks no servers (fresh)");
    world.app.set_statistics(Arc::new(Seven));
    let table = json!({ "name": "public.fresh", "rows": null, "why_not": "the server never counted its rows" });
    let said = estimate(&fresh).await;
    assert_eq!((&said["tables"], said.get("read_at")), (&json!([table]), None));
    let window = world.pending(&alice).await;
    assert_eq!(estimate(&window).await, json!({ "summary": "unknown: it asks for no statement", "tables": [] }));
}
