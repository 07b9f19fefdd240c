//! Policy over the API: asking for another bundle, seeing what it would change, and asking why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};
use support::World;

/// The demonstration's bundle as texts.
fn files() -> BTreeMap<String, String> {
    support::demo_bundle().files.into_iter().map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap())).collect()
}

/// The same with one more policy.
fn opened() -> BTreeMap<String, String> {
    let mut files = files();
    let policy = "@id(\"engineers-read-alone\")\npermit (principal in Group::\"engineers\", action == Action::\"read\", resource == Resource::\"billing-db\");\n";
    files.insert("policies/open.cedar".into(), policy.into());
    files
}

/// Two mistakes in two files.
fn broken() -> BTreeMap<String, String> {
    let mut files = files();
    files.insert("policies/wrong.cedar".into(), "@id(\"wrong\")\npermit (principal, action == Action::\"raed\", resource);\n".into());
    files.insert("resources/wrong.toml".into(), "kind = \"postgres\"\ncolour = \"red\"\n".into());
    files
}

async fn billing(world: &World, token: &str) -> Value {
    let question = json!({ "resource": "billing-db", "operations": ["read"], "ticket": "shop 812" });
    let answer = world.call("POST", "/api/v1/policy/explain", Some(token), Some(question)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_bundle_is_planned_asked_for_approved_by_another_administrator_and_then_in_force() {
    let world = World::new().await;
    let (alice, ann, abe) = (world.sign_in("alice").await, world.sign_in("ann").await, world.sign_in("abe").await);
    assert_eq!(billing(&world, &alice).await["outcome"], "need_approval");
    let before = world.call("GET", "/api/v1/status", Some(&ann), None).await.json()["policy"].clone();

    let size = world.size().await;
    let plan = world.call("POST", "/api/v1/policy/plan", Some(&ann), Some(json!({ "files": opened() }))).await;
    assert_eq!((plan.status, plan.json()["changes"].as_bool()), (StatusCode::OK, Some(true)), "{}", plan.text);
    assert!(plan.json()["text"].as_str().unwrap().contains("engineers-read-alone"), "{}", plan.text);
    let same = world.call("POST", "/api/v1/policy/plan", Some(&ann), Some(json!({ "files": files() }))).await;
    assert_eq!(same.json()["changes"], false, "{}", same.text);
    assert_eq!(world.size().await, size, "a plan changes nothing");

    let upload = json!({ "files": opened(), "reason": "engineers read billing" });
    let asked = world.call("POST", "/api/v1/policy", Some(&ann), Some(upload)).await;
    assert_eq!((asked.status, asked.json()["state"].as_str()), (StatusCode::CREATED, Some("pending")), "{}", asked.text);
    let approve = format!("/api/v1/access-requests/{}/approve", asked.json()["id"].as_str().unwrap());
    let digest = json!({ "digest": asked.json()["digest"] });
    let own = world.call("POST", &approve, Some(&ann), Some(digest.clone())).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN, "{}", own.text);
    assert_eq!(billing(&world, &alice).await["outcome"], "need_approval");

    let approved = world.call("POST", &approve, Some(&abe), Some(digest)).await;
    assert_eq!((approved.status, approved.json()["state"].as_str()), (StatusCode::OK, Some("settled")), "{}", approved.text);
    let after = world.call("GET", "/api/v1/status", Some(&ann), None).await.json()["policy"].clone();
    assert_ne!(before, after);
    let explained = billing(&world, &alice).await;
    assert_eq!(explained["outcome"], "allow");
    assert!(explained["text"].as_str().unwrap().contains("engineers-read-alone"), "{explained}");
}

#[tokio::test]
async fn f49_a_bundle_with_mistakes_is_refused_with_every_one_of_them() {
    let world = World::new().await;
    let ann = world.sign_in("ann").await;
    let size = world.size().await;
    let calls =
        [("/api/v1/policy", json!({ "files": broken(), "reason": "mistaken" })), ("/api/v1/policy/plan", json!({ "files": broken() }))];
    for (path, body) in calls {
        let refused = world.call("POST", path, Some(&ann), Some(body)).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "POLICY-001".to_owned()), "{}", refused.text);
        let why = refused.json()["why"].as_str().unwrap().to_owned();
        assert!(why.contains("policies/wrong.cedar:2:") && why.contains("raed"), "{why}");
        assert!(why.contains("resources/wrong.toml") && why.contains("colour"), "{why}");
    }
    assert_eq!(world.size().await, size);
}

#[tokio::test]
async fn f52_policy_is_explained_to_those_it_concerns() {
    let world = World::new().await;
    let (alice, carol, mallory) = (world.sign_in("alice").await, world.sign_in("carol").await, world.sign_in("mallory").await);
    let path = "/api/v1/policy/explain";
    let about = |name: &str| Some(json!({ "resource": "orders-db", "operations": ["write"], "principal": name }));
    let of_alice = world.call("POST", path, Some(&carol), about("alice")).await;
    assert_eq!(of_alice.json()["outcome"], "need_approval", "{}", of_alice.text);
    assert_eq!(world.call("POST", path, Some(&alice), about("bob")).await.code(), "VIEW-001");
    let by_statement = json!({ "resource": "orders-db", "exact": true, "text": "drop table orders" });
    let by_statement = world.call("POST", path, Some(&alice), Some(by_statement)).await;
    assert!(by_statement.json()["text"].as_str().unwrap().contains("ddl"), "{}", by_statement.text);

    let unknown = |name: &str| Some(json!({ "resource": name, "operations": ["read"] }));
    let there = world.call("POST", path, Some(&mallory), unknown("orders-db")).await;
    let not = world.call("POST", path, Some(&mallory), unknown("no-such-db")).await;
    assert_eq!((there.status, there.text.replace("orders-db", "no-such-db")), (not.status, not.text));
    for (path, body) in
        [("/api/v1/policy/plan", json!({ "files": files() })), ("/api/v1/policy", json!({ "files": files(), "reason": "mine now" }))]
    {
        let refused = world.call("POST", path, Some(&mallory), Some(body)).await;
        assert!(refused.status.is_client_error(), "{}", refused.text);
    }
}

#[tokio::test]
async fn auditors_and_administrators_read_the_active_bundle_and_those_before_it_and_nobody_else_does() {
    let world = World::new().await;
    let (alice, carol, ann, abe) =
        (world.sign_in("alice").await, world.sign_in("carol").await, world.sign_in("ann").await, world.sign_in("abe").await);
    let first = world.call("GET", "/api/v1/policy", Some(&carol), None).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    let first = first.json();
    assert_eq!(first["files"], json!(files()));
    assert_eq!(first["active"], true);
    assert_eq!(first["hash"], world.call("GET", "/api/v1/status", Some(&carol), None).await.json()["policy"]);
    // One that waits for approval can be read by those who may approve it.
    let mut next = opened();
    next.insert("tests/orders.toml".into(), include_str!("../../../../demo/bundle/tests/orders.toml").into());
    let asked =
        world.call("POST", "/api/v1/policy", Some(&ann), Some(json!({ "files": next, "reason": "engineers read billing" }))).await.json();
    let hash = asked["envelope"]["scope"]["action"]["hash"].as_str().unwrap().to_owned();
    let waiting = world.call("GET", &format!("/api/v1/policy?hash={hash}"), Some(&abe), None).await.json();
    assert_eq!((&waiting["files"], &waiting["active"]), (&json!(next), &json!(false)));
    let cases = waiting["cases"].as_array().unwrap();
    assert_eq!(waiting["cases_in_all"], cases.len());
    let write = cases.iter().find(|case| case["name"] == "an engineer's write takes a DBA").unwrap();
    assert_eq!((&write["principal"], &write["expected"]), (&json!("alice"), &json!("need approval: one of dba")));
    assert!(cases.iter().all(|case| case["differences"] == json!([])), "{cases:?}");
    let approve = format!("/api/v1/access-requests/{}/approve", asked["id"].as_str().unwrap());
    assert_eq!(world.call("POST", &approve, Some(&abe), Some(json!({ "digest": asked["digest"] }))).await.status, StatusCode::OK);

    let versions = world.call("GET", "/api/v1/policy/versions", Some(&carol), None).await.json();
    let hashes: Vec<&Value> = versions.as_array().unwrap().iter().map(|line| &line["event"]["hash"]).collect();
    assert_eq!(hashes, [&json!(hash), &first["hash"]]);
    let older =
        world.call("GET", &format!("/api/v1/policy/versions?before={}&limit=1", versions[0]["index"]), Some(&carol), None).await.json();
    assert_eq!(older, json!([versions[1]]));
    let before = world.call("GET", &format!("/api/v1/policy?hash={}", first["hash"].as_str().unwrap()), Some(&ann), None).await.json();
    assert_eq!((&before["files"], &before["active"]), (&first["files"], &json!(false)));

    for path in ["/api/v1/policy".to_owned(), format!("/api/v1/policy?hash={hash}"), "/api/v1/policy/versions".to_owned()] {
        for who in ["alice", "bob", "mallory"] {
            let token = if who == "alice" { alice.clone() } else { world.sign_in(who).await };
            let answer = world.call("GET", &path, Some(&token), None).await;
            assert_eq!((answer.status, answer.code().as_str()), (StatusCode::FORBIDDEN, "VIEW-001"), "{who} {path}: {}", answer.text);
        }
        assert_eq!(world.call("GET", &path, None, None).await.status, StatusCode::UNAUTHORIZED);
    }
    let nowhere = world.call("GET", &format!("/api/v1/policy?hash=sha256:{}", "0".repeat(64)), Some(&carol), None).await;
    assert_eq!((nowhere.status, nowhere.code().as_str()), (StatusCode::NOT_FOUND, "POLICY-002"), "{}", nowhere.text);
    let senseless = world.call("GET", "/api/v1/policy?hash=no", Some(&carol), None).await;
    assert_eq!(senseless.status, StatusCode::BAD_REQUEST, "{}", senseless.text);
}
