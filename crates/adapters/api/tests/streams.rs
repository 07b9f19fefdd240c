//! Answers that come in parts: results of one execution, and news.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use futures_util::StreamExt as _;
use safeconduct_app::ports::{BoxFuture, Executor, ResultPart, ResultSink, Run};
use safeconduct_lifecycle::{ExactOutcome, TransactionEnd};
use serde_json::{Value, json};
use support::World;
use tower::ServiceExt as _;

/// Answers every action with two rows.
struct TwoRows;

impl Executor for TwoRows {
    fn execute<'a>(&'a self, run: Run, sink: &'a mut (dyn ResultSink + Send)) -> BoxFuture<'a, ExactOutcome> {
        Box::pin(async move {
            drop(run.permit);
            let row = |value: &str| ResultPart::Row { values: vec![Some(value.to_owned()), None] };
            let columns = ResultPart::Columns { names: vec!["a".into(), "b".into()] };
            for part in [columns, row("1"), row("x\u{1b}[2J"), ResultPart::Complete { command: "SELECT".into(), rows: Some(2) }] {
                // Nobody reading is no reason to stop.
                let _ = sink.push(part).await;
            }
            ExactOutcome::Executed { command: "SELECT".into(), rows: Some(2), transaction: TransactionEnd::Committed }
        })
    }
}

#[tokio::test]
async fn f17_an_exact_action_runs_once_and_streams_its_result() {
    let world = World::new().await;
    world.app.set_executor(Arc::new(TwoRows));
    let (alice, bob) = (world.sign_in("alice").await, world.sign_in("bob").await);
    let ask = json!({
        "resource": "orders-db", "what": { "kind": "sql", "text": "update orders set note = 'x' where id = 4711" },
        "reason": "order 4711", "duration": "15m",
    });
    let view = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask)).await.json();
    assert_eq!(view["state"], "pending", "{view}");
    assert_eq!(view["facts"]["operations"], json!(["write"]));
    let path = |verb: &str| format!("/api/v1/access-requests/{}/{verb}", view["id"].as_str().unwrap());

    let early = world.call("POST", &path("execute"), Some(&alice), None).await;
    assert!(early.status.is_client_error() && early.headers[header::CONTENT_TYPE] == "application/problem+json", "{}", early.text);
    let approved = world.call("POST", &path("approve"), Some(&bob), Some(json!({ "digest": view["digest"] }))).await;
    assert_eq!(approved.json()["state"], "ready", "{}", approved.text);
    let other = world.call("POST", &path("execute"), Some(&bob), None).await;
    assert!(other.status.is_client_error(), "{}", other.text);

    let ran = world.call("POST", &path("execute"), Some(&alice), None).await;
    assert_eq!((ran.status, ran.headers[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, "application/x-ndjson"));
    let lines: Vec<Value> = ran.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let parts: Vec<&str> = lines.iter().map(|line| line["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["columns", "row", "row", "complete", "outcome"]);
    assert_eq!(lines[4]["result"], json!({ "outcome": "executed", "command": "SELECT", "rows": 2, "transaction": "committed" }));

    let again = world.call("POST", &path("execute"), Some(&alice), None).await;
    assert!(again.status.is_client_error(), "{}", again.text);
    let after = world.call("GET", &path("wait?timeout=0"), Some(&alice), None).await.json();
    assert_eq!((after["state"].as_str(), after["outcome"]["outcome"].as_str()), (Some("settled"), Some("executed")));
}

type Events = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, axum::Error>> + Send>>;

async fn events(world: &World, token: &str, last: Option<u64>) -> Events {
    let mut request = Request::get("/api/v1/events").header(header::AUTHORIZATION, format!("Bearer {token}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    Box::pin(response.into_body().into_data_stream())
}

async fn next(events: &mut Events) -> Option<String> {
    events.next().await.map(|part| String::from_utf8(part.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn news_reach_those_who_may_know_and_end_with_the_sign_in() {
    let world = World::new().await;
    let (alice, bob, mallory) = (world.sign_in("alice").await, world.sign_in("bob").await, world.sign_in("mallory").await);
    let mut for_bob = events(&world, &bob, None).await;
    let mut for_mallory = events(&world, &mallory, None).await;
    // An index that the ledger does not have yet: another ledger, or one that was restored.
    let mut resumed = events(&world, &alice, Some(1_000_000)).await;
    assert!(next(&mut resumed).await.unwrap().contains("event: missed"));

    let view = world.pending(&alice).await;
    for stream in [&mut for_bob, &mut resumed] {
        let news = next(stream).await.unwrap();
        assert!(news.contains("event: news") && news.contains("access_request_submitted"), "{news}");
        assert!(news.contains(view["id"].as_str().unwrap()) && news.contains("id: "), "{news}");
        assert!(!news.contains("4711"), "news hold names, no content: {news}");
    }
    // Mallory's sign-in ends, which is what mallory's stream learns next: nothing of alice's was in it.
    world.call("POST", "/api/v1/sign-out", Some(&mallory), None).await;
    assert_eq!(next(&mut for_mallory).await, None);
}

/// Indexes of the events `news` in what a stream said.
fn indexes(said: &str) -> Vec<u64> {
    said.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_follower_that_comes_back_gets_every_event_once() {
    let world = World::new().await;
    let (alice, carol) = (world.sign_in("alice").await, world.sign_in("carol").await);
    let mut following = events(&world, &carol, None).await;
    world.pending(&alice).await;
    let seen = indexes(&next(&mut following).await.unwrap());
    drop(following);

    // Away: more happens than is read back in one go.
    for n in 0..150 {
        let mut ask = support::ask("orders-db", &["read"]);
        ask["reason"] = format!("look {n}").into();
        let view = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask)).await.json();
        let grant = view["grant"].as_str().unwrap();
        let ended = world.call("POST", &format!("/api/v1/grants/{grant}/release"), Some(&alice), Some(json!({}))).await;
        assert_eq!(ended.status, StatusCode::OK, "{}", ended.text);
    }
    let mut resumed = events(&world, &carol, seen.last().copied()).await;
    let size = world.size().await;
    let live = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(support::ask("orders-db", &["temp"]))).await.json();
    let mut all = seen;
    let mut said = String::new();
    while all.last().is_none_or(|last| *last < size) {
        said = next(&mut resumed).await.unwrap();
        assert!(said.contains("event: news"), "{said}");
        all.extend(indexes(&said));
    }
    assert!(said.contains(live["id"].as_str().unwrap()), "what happens after coming back comes last: {said}");
    let first = *all.first().unwrap();
    assert_eq!(all, (first..=*all.last().unwrap()).collect::<Vec<u64>>(), "without gap or repetition");
}

#[tokio::test]
async fn f52_what_is_read_back_is_only_what_the_follower_may_know() {
    let world = World::new().await;
    let (alice, mallory) = (world.sign_in("alice").await, world.sign_in("mallory").await);
    let view = world.pending(&alice).await;
    let mut for_mallory = events(&world, &mallory, Some(0)).await;
    let mut for_alice = events(&world, &alice, Some(0)).await;
    assert!(next(&mut for_alice).await.unwrap().contains(view["id"].as_str().unwrap()));
    world.call("POST", "/api/v1/sign-out", Some(&mallory), None).await;
    assert_eq!(next(&mut for_mallory).await, None);
}
