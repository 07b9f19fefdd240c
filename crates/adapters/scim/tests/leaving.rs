//! F15: who leaves at the source has nothing here from that moment on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::World;

/// Ways to leave.
async fn leave(world: &World, name: &str, way: &str) {
    match way {
        "active" => {
            drop(world.patch(&format!("/Users/{name}"), json!([{ "op": "replace", "path": "active", "value": false }])).await.is(200))
        }
        _ => drop(world.call("DELETE", &format!("/Users/{name}"), None).await.is(204)),
    }
}

async fn join(world: &World, name: &str, group: &str) {
    let id = world.create(name).await["id"].as_str().unwrap().to_owned();
    world.patch(&format!("/Groups/{group}"), json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])).await.is(200);
    world.give_password(name).await;
    world.clock.advance(Duration::from_secs(1));
}

#[tokio::test]
async fn f15_sign_ins_requests_grants_and_sessions_end_at_once() {
    for way in ["active", "delete"] {
        let world = World::new().await;
        join(&world, "eve", "engineers").await;
        let token = world.sign_in("eve").await;
        let granted = world.ask(&token, "orders-db", &["read"]).await;
        assert_eq!(granted["state"], "active", "{granted}");
        let waiting = world.ask(&token, "orders-db", &["write"]).await;
        let session = world.open(&world.app.authenticate(&token, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap()).await;
        assert!(session.standing().borrow().end.is_none());
        let began = Instant::now();
        leave(&world, "eve", way).await;
        assert!(session.standing().borrow().end.is_some(), "{way}: the session is told to end");
        assert!(began.elapsed() < Duration::from_secs(1), "{way}: {:?}", began.elapsed());
        assert_eq!(world.call_with("GET", "/api/v1/whoami", Some(&token), None, &[]).await.status, 401);
        let bob = world.sign_in("bob").await;
        for (view, state) in [(&granted, "revoked"), (&waiting, "withdrawn")] {
            let path = format!("/api/v1/access-requests/{}", view["id"].as_str().unwrap());
            let view = world.call_with("GET", &path, Some(&bob), None, &[]).await.is(200);
            assert_eq!(view["state"], state, "{way}: {view}");
        }
        let body = json!({ "name": "eve", "password": support::PASSWORD });
        assert_eq!(world.call_with("POST", "/api/v1/sign-in", None, Some(body.clone()), &[]).await.status, 401);
        // Coming back brings no secret back.
        if way == "active" {
            world.patch("/Users/eve", json!([{ "op": "replace", "path": "active", "value": true }])).await.is(200);
        } else {
            world.create("eve").await;
        }
        assert_eq!(world.call_with("GET", "/api/v1/whoami", Some(&token), None, &[]).await.status, 401);
        assert_eq!(world.call_with("POST", "/api/v1/sign-in", None, Some(body), &[]).await.status, 401);
    }
}

#[tokio::test]
async fn f15_a_group_that_is_left_ends_what_it_gave() {
    let world = World::new().await;
    join(&world, "eve", "engineers").await;
    let token = world.sign_in("eve").await;
    world.ask(&token, "orders-db", &["read"]).await;
    let session = world.open(&world.app.authenticate(&token, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap()).await;
    world.patch("/Groups/engineers", json!([{ "op": "remove", "path": "members[value eq \"eve\"]" }])).await.is(200);
    assert!(session.standing().borrow().end.is_some());
}

#[tokio::test]
async fn f24_the_approvals_of_who_leaves_are_void_for_good() {
    for way in ["active", "delete"] {
        let world = World::new().await;
        join(&world, "dora", "dba").await;
        let (alice, dora) = (world.sign_in("alice").await, world.sign_in("dora").await);
        let what = json!({ "kind": "sql", "text": "drop table orders" });
        let body = json!({ "resource": "orders-db", "what": what, "reason": "not used any more", "duration": "15m" });
        let asked = world.call_with("POST", "/api/v1/access-requests", Some(&alice), Some(body), &[]).await.is(201);
        assert_eq!(asked["state"], "pending", "{asked}");
        let approved = world.approve(&dora, &asked).await.is(200);
        assert_eq!((approved["state"].as_str(), approvals(&approved)), (Some("pending"), 1), "{approved}");
        leave(&world, "dora", way).await;
        let path = format!("/api/v1/access-requests/{}", asked["id"].as_str().unwrap());
        let view = world.call_with("GET", &path, Some(&alice), None, &[]).await.is(200);
        assert_eq!(approvals(&view), 0, "{way}: {view}");
        if way == "active" {
            world.patch("/Users/dora", json!([{ "op": "replace", "path": "active", "value": true }])).await.is(200);
            let view = world.call_with("GET", &path, Some(&alice), None, &[]).await.is(200);
            assert_eq!(approvals(&view), 0, "{view}");
        }
    }
}

fn approvals(view: &Value) -> usize {
    view["approvals"].as_array().map_or(0, Vec::len)
}
