//! Who may see in which sessions a grant was used, and who may end whose sign-ins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use axum::http::StatusCode;
use serde_json::Value;
use support::{Answer, World, ask};

async fn get(world: &World, token: &str, path: &str) -> Answer {
    world.call("GET", path, Some(token), None).await
}

async fn grant(world: &World, token: &str) -> Value {
    let asked = world.call("POST", "/api/v1/access-requests", Some(token), Some(ask("orders-db", &["read"]))).await.json();
    assert_eq!(asked["state"], "active", "{asked}");
    asked
}

#[tokio::test]
async fn f52_sessions_of_an_access_request_are_for_whose_they_are_and_for_auditors() {
    let world = World::new().await;
    let (alice, mallory) = (world.sign_in("alice").await, world.sign_in("mallory").await);
    let first = grant(&world, &alice).await;
    let session = world.open(&alice).await;
    let later = grant(&world, &alice).await;
    for (asked, history) in [(&first, 2), (&later, 2)] {
        let path = format!("/api/v1/access-requests/{}/sessions", asked["id"].as_str().unwrap());
        for who in ["alice", "carol", "ann"] {
            let answer = get(&world, &world.sign_in(who).await, &path).await;
            assert_eq!(answer.status, StatusCode::OK, "{who}: {}", answer.text);
            let told = answer.json();
            assert_eq!((&told["complete"], told["sessions"].as_array().unwrap().len()), (&Value::Bool(true), 1), "{told}");
            let story = &told["sessions"][0];
            assert_eq!(story["session"]["id"], session.id().as_str());
            assert_eq!(story["session"]["grants"].as_array().unwrap().len(), 2, "{told}");
            let kinds: Vec<_> = story["history"].as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
            assert_eq!(kinds.len(), history);
            assert_eq!(kinds, ["session_opened", "grants_joined"]);
        }
        let refused = get(&world, &mallory, &path).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::NOT_FOUND, "REQ-008"), "{}", refused.text);
        let none = get(&world, &mallory, "/api/v1/access-requests/rq-000000000000/sessions").await;
        assert_eq!(none.text, refused.text, "one answer for what is not there and what is hidden");
        assert_eq!(world.call("GET", &path, None, None).await.status, StatusCode::UNAUTHORIZED);
    }
    // Who decides about it sees the access request, and what was done with it is none of theirs.
    let pending = world.pending(&alice).await;
    let path = format!("/api/v1/access-requests/{}", pending["id"].as_str().unwrap());
    let bob = world.sign_in("bob").await;
    assert_eq!(get(&world, &bob, &path).await.status, StatusCode::OK);
    let refused = get(&world, &bob, &format!("{path}/sessions")).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "VIEW-001"), "{}", refused.text);
}

#[tokio::test]
async fn f52_people_and_groups_are_listed_for_those_who_audit_alone() {
    let world = World::new().await;
    for path in ["/api/v1/principals", "/api/v1/groups"] {
        world.is_for_those_who_audit(path).await;
    }
}

#[tokio::test]
async fn f03_sign_ins_are_ended_one_by_one_or_all_others_at_once() {
    let world = World::new().await;
    let (alice, second, third) = (world.sign_in("alice").await, world.sign_in("alice").await, world.sign_in("alice").await);
    let (bob, ann) = (world.sign_in("bob").await, world.sign_in("ann").await);
    let own = get(&world, &second, "/api/v1/whoami").await.json()["sign_in"].as_str().unwrap().to_owned();
    let works = async |token: &str| get(&world, token, "/api/v1/whoami").await.status == StatusCode::OK;
    let delete = async |token: &str, path: &str| world.call("DELETE", path, Some(token), None).await;
    for path in [format!("/api/v1/tokens/alice/{own}"), "/api/v1/tokens/alice".to_owned()] {
        let refused = delete(&bob, &path).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::NOT_FOUND, "REQ-008"), "{}", refused.text);
        assert_eq!(delete(&bob, &path.replace("alice", "nobody")).await.text, refused.text);
    }
    assert_eq!(delete(&alice, &format!("/api/v1/tokens/alice/{own}")).await.status, StatusCode::NO_CONTENT);
    assert!(works(&alice).await && !works(&second).await && works(&third).await);
    assert_eq!(delete(&alice, &format!("/api/v1/tokens/alice/{own}")).await.code(), "REQ-008", "it is gone");
    assert_eq!(delete(&alice, &format!("/api/v1/tokens/bob/{own}")).await.code(), "REQ-008");
    // One that ended meanwhile does not keep the rest alive.
    assert_eq!(delete(&alice, "/api/v1/tokens/alice").await.status, StatusCode::NO_CONTENT);
    assert!(works(&alice).await && !works(&third).await && works(&bob).await);
    let size = world.size().await;
    assert_eq!(delete(&alice, "/api/v1/tokens/alice").await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.size().await, size, "nothing to end, nothing to record");
    assert_eq!(delete(&ann, "/api/v1/tokens/alice").await.status, StatusCode::NO_CONTENT);
    assert!(!works(&alice).await);
}

#[tokio::test]
async fn f03_a_sign_in_that_is_ended_takes_its_door_secrets_along() {
    let world = World::new().await;
    let (alice, other) = (world.sign_in("alice").await, world.sign_in("alice").await);
    grant(&world, &alice).await;
    let caller = world.app.authenticate(&other, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
    let secret = world.app.connect(&caller, &"orders-db".parse().unwrap(), None).await.unwrap();
    // Found and proved before it was ended: it opens nothing after.
    let lookup = world.app.door_lookup(secret.user.as_str(), &secret.dbname);
    let before = lookup.verifiers().to_vec();
    let ended = world.call("DELETE", &format!("/api/v1/tokens/alice/{}", caller.sign_in), Some(&alice), None).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT, "{}", ended.text);
    let proved = before.len() - 1;
    assert!(world.app.door_open(lookup, proved, "192.0.2.1:5".parse().unwrap()).await.is_err());
    let now = world.app.door_lookup(secret.user.as_str(), &secret.dbname);
    assert!(now.verifiers().iter().all(|verifier| !before.contains(verifier)), "a decoy");
    let world = world.restarted().await;
    let now = world.app.door_lookup(secret.user.as_str(), &secret.dbname);
    assert!(now.verifiers().iter().all(|verifier| !before.contains(verifier)), "and after a restart");
}
