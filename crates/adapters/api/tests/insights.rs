//! Insights over the API: what is counted, who may see it, and the rows behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use support::{World, ask};
use tower::ServiceExt as _;

/// Calls that count or wait for their turn.
const PLACES: usize = 10;

async fn insights(world: &World, token: &str, query: &str) -> Value {
    let answer = world.call("GET", &format!("/api/v1/insights{query}"), Some(token), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

async fn decide(world: &World, token: &str, asked: &Value, verdict: &str) {
    let path = format!("/api/v1/access-requests/{}/{verdict}", asked["id"].as_str().unwrap());
    let body = if verdict == "approve" { json!({ "digest": asked["digest"] }) } else { json!({ "comment": "no" }) };
    let answer = world.call("POST", &path, Some(token), Some(body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

#[tokio::test]
async fn what_was_asked_is_counted_by_what_came_of_it_and_each_count_has_its_rows() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.sign_in("alice").await, world.sign_in("bob").await, world.sign_in("carol").await);
    let read = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask("orders-db", &["read"]))).await.json();
    assert_eq!(read["state"], "active");
    let first = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask("orders-db", &["write"]))).await.json();
    world.clock.advance(std::time::Duration::from_secs(60));
    decide(&world, &bob, &first, "approve").await;
    for waits in [5, 7] {
        let asked = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask("orders-db", &["temp"]))).await.json();
        world.clock.advance(std::time::Duration::from_secs(waits));
        decide(&world, &bob, &asked, "deny").await;
    }
    let size = world.size().await;
    let all = insights(&world, &carol, "").await;
    assert_eq!((&all["counted"], &all["complete"]), (&json!(4), &json!(true)));
    assert_eq!(all["days"].as_array().unwrap().len(), 1);
    assert_eq!(all["days"][0]["came"], json!({ "at_once": 1, "approved": 1, "denied": 2 }));
    assert_eq!(all["deciding"], json!([{ "group": "dba", "decided": 3, "median_seconds": 7, "p95_seconds": 60 }]));
    assert_eq!(all["grants"], json!([{ "resource": "orders-db", "held": 2, "used": 0 }]));
    assert_eq!(all["refused"], json!([{ "resource": "orders-db", "operations": ["temp"], "count": 2 }]));
    assert_eq!(all["standing_privilege"], world.call("GET", "/api/v1/status", Some(&carol), None).await.json()["standing_privilege"]);

    let ids = |of: &Value| of["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&all).len(), 4);
    assert_eq!(ids(&insights(&world, &carol, "?came=at_once").await), [read["id"].as_str().unwrap()]);
    assert_eq!(ids(&insights(&world, &carol, "?decided_by=dba").await).len(), 3);
    assert_eq!(ids(&insights(&world, &carol, "?operations=temp&came=denied").await).len(), 2);
    assert_eq!(ids(&insights(&world, &carol, "?used=false").await).len(), 2);
    assert_eq!(ids(&insights(&world, &carol, "?day=1999-01-01").await).len(), 0);
    // Page by page the same rows.
    let (mut paged, mut query) = (Vec::new(), "?limit=1".to_owned());
    while let [id] = &*ids(&insights(&world, &carol, &query).await) {
        query = format!("?limit=1&before={id}");
        paged.push(id.clone());
    }
    assert_eq!(paged, ids(&all));
    assert_eq!(insights(&world, &carol, "?to=2001-01-01T00:00:00Z").await["counted"], 0);
    assert_eq!(world.size().await, size, "looking changes nothing");
}

#[tokio::test]
async fn only_auditors_and_administrators_see_what_everybody_asks() {
    let world = World::new().await;
    world.is_for_those_who_audit("/api/v1/insights").await;
    let carol = world.sign_in("carol").await;
    for query in
        ["from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from=2020-01-01T00:00:00Z", "from=yesterday", "before=no", "colour=red"]
    {
        let answer = world.call("GET", &format!("/api/v1/insights?{query}"), Some(&carol), None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn who_finds_no_place_for_counting_is_told_so_at_once() {
    let world = World::new().await;
    let carol = world.sign_in("carol").await;
    let paused = world.store.pause_listing().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..=PLACES {
        let (router, token) = (world.router.clone(), carol.clone());
        calls.spawn(async move {
            let request = Request::get("/api/v1/insights").header(header::AUTHORIZATION, format!("Bearer {token}"));
            let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            (response.status(), to_bytes(response.into_body(), usize::MAX).await.unwrap())
        });
    }
    let (status, told) = calls.join_next().await.unwrap().unwrap();
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(serde_json::from_slice::<Value>(&told).unwrap()["code"], "VIEW-002");
    drop(paused);
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().0, StatusCode::OK, "the others had only to wait");
    }
}
