//! Searching the ledger: what is found, page by page, by whom, and at what cost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use support::World;

async fn search(world: &World, token: &str, query: &str) -> Value {
    let answer = world.call("GET", &format!("/api/v1/ledger/search?{query}"), Some(token), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
    answer.json()
}

fn indexes(found: &Value) -> Vec<u64> {
    found["entries"].as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap()).collect()
}

fn kinds(found: &Value) -> Vec<&str> {
    found["entries"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_auditor_finds_who_changed_orders_and_who_allowed_it() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.sign_in("alice").await, world.sign_in("bob").await, world.sign_in("carol").await);
    let asked = world.pending(&alice).await;
    let id = asked["id"].as_str().unwrap();
    let before_the_approval = world.app.now().to_string();
    world.clock.advance(Duration::from_secs(60));
    let path = format!("/api/v1/access-requests/{id}/approve");
    let answer = world.call("POST", &path, Some(&bob), Some(json!({ "digest": asked["digest"], "comment": "Seen the \"Ticket\"" }))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let size = world.size().await;

    let of_orders = search(&world, &carol, "resource=orders-db").await;
    assert_eq!(kinds(&of_orders), ["grant_activated", "grant_given", "approval_given", "access_request_submitted"]);
    let entries = of_orders["entries"].as_array().unwrap();
    assert_eq!((&entries[3]["who"], &entries[2]["who"], entries[1].get("who")), (&json!("alice"), &json!("bob"), None));
    assert!(entries.iter().all(|entry| entry["stream"] == id && entry["about"] == "alice" && entry["resource"] == "orders-db"));
    assert_eq!(entries[2]["summary"], "approved: Seen the \"Ticket\"");
    assert!(entries[3]["summary"].as_str().unwrap().starts_with("asked to "), "{}", entries[3]);
    assert_eq!(entries[2]["event"]["approval"]["approver"], "bob");

    // Who acted is found, and whom it is about.
    assert_eq!(kinds(&search(&world, &carol, "resource=orders-db&person=bob").await), ["approval_given"]);
    assert_eq!(kinds(&search(&world, &carol, "resource=orders-db&person=alice").await).len(), 4);
    assert_eq!(kinds(&search(&world, &carol, "kind=signed_in&person=bob").await), ["signed_in"]);
    // A kind, or the words it begins with.
    assert_eq!(kinds(&search(&world, &carol, "kind=grant").await), ["grant_activated", "grant_given"]);
    assert!(kinds(&search(&world, &carol, "kind=gra").await).is_empty());
    // The text of the body, whatever its case, as somebody would write it.
    for text in ["seen%20THE", "the%20%22ticket%22", "%22type%22:%22approved%22"] {
        assert_eq!(kinds(&search(&world, &carol, &format!("text={text}")).await), ["approval_given"], "{text}");
    }
    // From a moment on, and before one.
    let mut halves = Vec::new();
    for side in ["from", "to"] {
        halves.extend(indexes(&search(&world, &carol, &format!("{side}={before_the_approval}&limit=200")).await));
    }
    assert_eq!(halves, indexes(&search(&world, &carol, "limit=200").await));
    assert_eq!(halves.len(), usize::try_from(size).unwrap());
    assert_eq!(world.size().await, size, "looking changes nothing");
}

#[tokio::test]
async fn pages_hold_every_entry_once_newest_first() {
    let world = World::new().await;
    let carol = world.sign_in("carol").await;
    let size = world.size().await;
    let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let found = search(&world, &carol, &query).await;
        assert!(indexes(&found).len() <= 3 && found["size"] == size);
        seen.extend(indexes(&found));
        let Some(next) = found["next"].as_u64() else { break };
        query = format!("limit=3&before={next}");
    }
    assert_eq!(seen, (0..size).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn one_call_looks_at_so_many_entries_and_says_where_to_go_on() {
    let world = World::new().await;
    let (carol, early) = (world.sign_in("carol").await, world.app.now().to_string());
    world.clock.advance(Duration::from_secs(1));
    let first = world.size().await;
    world.fill(6_000).await;
    let size = world.size().await;
    assert!(size >= first + 6_000);

    let found = search(&world, &carol, "kind=bundle_applied").await;
    assert_eq!((indexes(&found).len(), &found["looked_at"], &found["next"]), (0, &json!(5_000), &json!(size - 5_000)));
    let rest = search(&world, &carol, &format!("kind=bundle_applied&before={}", found["next"])).await;
    assert_eq!((indexes(&rest).len(), rest.get("next")), (1, None));
    // A time is found without looking at what lies between.
    let at_once = search(&world, &carol, &format!("kind=bundle_applied&to={early}")).await;
    assert_eq!(indexes(&at_once), indexes(&rest));
    assert!(at_once["looked_at"].as_u64().unwrap() <= first);
    // And nothing is looked at beyond one.
    world.clock.advance(Duration::from_secs(1));
    let recent = search(&world, &carol, &format!("kind=bundle_applied&from={}", world.app.now())).await;
    assert_eq!((indexes(&recent).len(), recent.get("next")), (0, None));
}

#[tokio::test]
async fn only_those_who_audit_search() {
    let world = World::new().await;
    world.is_for_those_who_audit("/api/v1/ledger/search").await;
    // Not even what they did themselves: that is on the page of the access request.
    world.is_for_those_who_audit("/api/v1/ledger/search?person=PERSON").await;
    let carol = world.sign_in("carol").await;
    let long = format!("text={}", "a".repeat(501));
    for query in ["from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from=yesterday", "person=%3Cb%3E", "before=-1", "colour=red", &long]
    {
        let answer = world.call("GET", &format!("/api/v1/ledger/search?{query}"), Some(&carol), None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text);
    }
}
