//! Calls as clients make them: deciding, repeating, guessing, looking where one may not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use support::{PASSWORD, World, ask};

fn path(view: &Value, verb: &str) -> String {
    format!("/api/v1/access-requests/{}/{verb}", view["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_problem_is_a_problem_document_and_nothing_is_cached() {
    let world = World::new().await;
    let answer = world.call("GET", "/api/v1/whoami", None, None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[header::X_FRAME_OPTIONS], "DENY");
    assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
    assert!(answer.headers.contains_key("x-request-id"));
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:safeconduct:error:API-002");
    assert_eq!(problem["status"], 401);
    assert!(problem["next"].is_string());
    for (method, path, status) in [("GET", "/nowhere", 404), ("DELETE", "/api/v1/whoami", 405), ("PUT", "/api/v1/access-requests", 405)] {
        let answer = world.call(method, path, None, None).await;
        assert_eq!((answer.status.as_u16(), answer.headers[header::CONTENT_TYPE].to_str().unwrap()), (status, "application/problem+json"));
    }
}

#[tokio::test]
async fn f18_an_approval_used_twice_late_changed_or_by_its_requester_does_nothing() {
    let world = World::new().await;
    let (alice, bob, dora) = (world.sign_in("alice").await, world.sign_in("bob").await, world.sign_in("dora").await);
    let view = world.pending(&alice).await;
    let digest = view["digest"].clone();

    let own = world.call("POST", &path(&view, "approve"), Some(&alice), Some(json!({ "digest": digest }))).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN, "{}", own.text);
    let other = format!("sha256:{}", "0".repeat(64));
    let changed = world.call("POST", &path(&view, "approve"), Some(&bob), Some(json!({ "digest": other }))).await;
    assert_eq!(changed.status, StatusCode::CONFLICT, "{}", changed.text);
    let none = world.call("POST", &path(&view, "approve"), Some(&bob), Some(json!({}))).await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST);

    let approved = world.call("POST", &path(&view, "approve"), Some(&bob), Some(json!({ "digest": digest }))).await;
    assert_eq!((approved.status, approved.json()["state"].as_str()), (StatusCode::OK, Some("active")), "{}", approved.text);
    let size = world.size().await;
    for token in [&bob, &dora] {
        let again = world.call("POST", &path(&view, "approve"), Some(token), Some(json!({ "digest": digest }))).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.text);
    }
    assert_eq!(world.size().await, size);

    let mut withdrawn = ask("orders-db", &["write"]);
    withdrawn["reason"] = "another reason".into();
    let view = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(withdrawn)).await.json();
    assert_eq!(world.call("POST", &path(&view, "cancel"), Some(&alice), None).await.status, StatusCode::OK);
    let late = world.call("POST", &path(&view, "approve"), Some(&bob), Some(json!({ "digest": view["digest"] }))).await;
    assert!(matches!(late.status, StatusCode::CONFLICT | StatusCode::NOT_FOUND), "{}", late.text);
}

#[tokio::test]
async fn a_repeated_write_with_its_key_gets_the_first_answer() {
    let world = World::new().await;
    let (alice, bob) = (world.sign_in("alice").await, world.sign_in("bob").await);
    let key = [("idempotency-key", "k-1")];
    let ask = |reason: &str| {
        let mut ask = ask("orders-db", &["write"]);
        ask["reason"] = reason.into();
        Some(ask)
    };
    let first = world.call_with("POST", "/api/v1/access-requests", Some(&alice), ask("one"), &key).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let size = world.size().await;
    let second = world.call_with("POST", "/api/v1/access-requests", Some(&alice), ask("one"), &key).await;
    assert_eq!((second.status, &second.text), (first.status, &first.text));
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(world.size().await, size);
    let other = world.call_with("POST", "/api/v1/access-requests", Some(&alice), ask("two"), &key).await;
    assert_eq!((other.status, other.code()), (StatusCode::UNPROCESSABLE_ENTITY, "API-005".to_owned()));
    let somebody_else = world.call_with("POST", "/api/v1/access-requests", Some(&bob), ask("one"), &key).await;
    assert!(somebody_else.headers.get("idempotency-replayed").is_none());
    let unfit = world.call_with("POST", "/api/v1/access-requests", Some(&alice), ask("one"), &[("idempotency-key", "a b")]).await;
    assert_eq!(unfit.status, StatusCode::BAD_REQUEST);

    // Neither a restart nor another router forgets.
    let world = world.restarted().await;
    let size = world.size().await;
    let third = world.call_with("POST", "/api/v1/access-requests", Some(&alice), ask("one"), &key).await;
    assert_eq!((third.status, &third.text), (first.status, &first.text));
    assert_eq!(third.headers["idempotency-replayed"], "true");
    let other = world.call_with("POST", "/api/v1/access-requests", Some(&alice), ask("two"), &key).await;
    assert_eq!(other.code(), "API-005");
    assert_eq!(world.size().await, size);

    // A day later the key is free.
    world.clock.advance(std::time::Duration::from_secs(25 * 3600));
    let alice = world.sign_in("alice").await;
    let later = world.call_with("POST", "/api/v1/access-requests", Some(&alice), ask("two"), &key).await;
    assert!(later.status.is_success(), "{}", later.text);
    assert!(later.headers.get("idempotency-replayed").is_none());
}

#[tokio::test]
async fn kept_answers_are_bounded_for_each_caller() {
    let world = World::new().await;
    let (alice, bob) = (world.sign_in("alice").await, world.sign_in("bob").await);
    let preview = || Some(ask("orders-db", &["read"]));
    let call = async |who: &str, key: &str| {
        let answer = world.call_with("POST", "/api/v1/access-requests/preview", Some(who), preview(), &[("idempotency-key", key)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.headers.contains_key("idempotency-replayed")
    };
    assert!(!call(&bob, "mine").await);
    for n in 0..260 {
        assert!(!call(&alice, &n.to_string()).await);
    }
    assert!(call(&alice, "259").await, "the newest is kept");
    assert!(call(&bob, "mine").await, "nobody takes another's room");
    assert!(!call(&alice, "0").await, "the oldest made room");
}

#[tokio::test]
async fn f51_a_page_of_another_site_can_send_nothing_that_counts() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    let size = world.size().await;
    let body = Some(ask("orders-db", &["read"]));
    let crossed = world.call_with("POST", "/api/v1/access-requests", Some(&alice), body, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!((crossed.status, crossed.code()), (StatusCode::FORBIDDEN, "API-011".to_owned()));
    let form = Request::post("/api/v1/access-requests")
        .header(header::AUTHORIZATION, format!("Bearer {alice}"))
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from(ask("orders-db", &["read"]).to_string()))
        .unwrap();
    assert_eq!(world.send(form).await.status, StatusCode::BAD_REQUEST);
    let preflight = world.call_with("OPTIONS", "/api/v1/access-requests", None, None, &[("origin", "https://evil.example")]).await;
    assert!(!preflight.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    assert_eq!(world.size().await, size);
}

#[tokio::test]
async fn f52_who_may_not_ask_learns_nothing_of_resources_people_or_requests() {
    let world = World::new().await;
    let (alice, mallory) = (world.sign_in("alice").await, world.sign_in("mallory").await);
    let view = world.pending(&alice).await;
    let same = |a: &support::Answer, b: &support::Answer, from: &str, to: &str| {
        assert_eq!(a.status, b.status, "{} / {}", a.text, b.text);
        assert_eq!(a.text.replace(from, to), b.text);
    };
    for (verb, body) in [("access-requests", ask("orders-db", &["read"])), ("access-requests/preview", ask("orders-db", &["read"]))] {
        let mut missing = body.clone();
        missing["resource"] = "no-such-db".into();
        let path = format!("/api/v1/{verb}");
        let (there, not) =
            (world.call("POST", &path, Some(&mallory), Some(body)).await, world.call("POST", &path, Some(&mallory), Some(missing)).await);
        assert_eq!(there.status, StatusCode::NOT_FOUND, "{}", there.text);
        same(&there, &not, "orders-db", "no-such-db");
    }
    let connect = |name: &str| format!("/api/v1/resources/{name}/connect");
    let there = world.call("POST", &connect("orders-db"), Some(&mallory), Some(json!({}))).await;
    same(&there, &world.call("POST", &connect("no-such-db"), Some(&mallory), Some(json!({}))).await, "orders-db", "no-such-db");
    assert_eq!(world.call("GET", "/api/v1/resources", Some(&mallory), None).await.json(), json!([]));

    let id = view["id"].as_str().unwrap();
    let show = |id: &str| format!("/api/v1/access-requests/{id}");
    let there = world.call("GET", &show(id), Some(&mallory), None).await;
    assert_eq!(there.status, StatusCode::NOT_FOUND);
    same(&there, &world.call("GET", &show("rq-000000000000"), Some(&mallory), None).await, id, "rq-000000000000");
    let tokens = |name: &str| format!("/api/v1/tokens/{name}");
    let there = world.call("GET", &tokens("alice"), Some(&mallory), None).await;
    assert!(!there.status.is_success(), "{}", there.text);
    same(&there, &world.call("GET", &tokens("nobody"), Some(&mallory), None).await, "alice", "nobody");

    let wrong = |name: &str| Some(json!({ "name": name, "password": "not the password" }));
    let there = world.call("POST", "/api/v1/sign-in", None, wrong("alice")).await;
    assert_eq!(there.status, StatusCode::UNAUTHORIZED);
    same(&there, &world.call("POST", "/api/v1/sign-in", None, wrong("nobody")).await, "alice", "nobody");
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let world = World::new().await;
    let wrong = || Some(json!({ "name": "nobody", "password": "guess" }));
    let mut last = StatusCode::OK;
    for _ in 0..11 {
        last = world.call("POST", "/api/v1/sign-in", None, wrong()).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    world.sign_in("alice").await;
}

#[tokio::test]
async fn a_signed_out_token_is_worth_nothing() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    assert_eq!(world.call("POST", "/api/v1/sign-out", Some(&alice), None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.call("GET", "/api/v1/whoami", Some(&alice), None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn lists_are_paged() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let mut ask = ask("orders-db", &["write"]);
        ask["duration"] = format!("{}m", n + 1).into();
        let view = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask)).await.json();
        ids.push(view["id"].as_str().unwrap().to_owned());
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    ids.reverse();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let before = seen.last().map(|id| format!("&before={id}")).unwrap_or_default();
        let page = world.call("GET", &format!("/api/v1/access-requests?limit=2{before}"), Some(&alice), None).await.json();
        let page: Vec<String> = page.as_array().unwrap().iter().map(|view| view["id"].as_str().unwrap().to_owned()).collect();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        seen.extend(page);
    }
    assert_eq!(seen, ids);
    let unknown = world.call("GET", "/api/v1/access-requests?colour=red", Some(&alice), None).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_grant_is_found_behind_newer_access_requests_that_are_none() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    let granted = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask("orders-db", &["read"]))).await.json();
    assert_eq!(granted["state"], "active");
    world.clock.advance(std::time::Duration::from_secs(1));
    world.pending(&alice).await;
    let grants = world.call("GET", "/api/v1/grants?limit=1", Some(&alice), None).await.json();
    assert_eq!(grants.as_array().map(Vec::len), Some(1));
    assert_eq!(grants[0]["grant"], granted["grant"]);
}

#[tokio::test]
async fn f20_the_envelope_that_is_shown_has_the_digest_that_is_approved() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    let view = world.pending(&alice).await;
    assert_eq!(safeconduct_model::Digest::of(&view["envelope"]).unwrap().to_string(), view["digest"].as_str().unwrap());
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_named_but_never_repeated() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    let unknown = world.call("POST", "/api/v1/sign-in", None, Some(json!({ "name": "a", "password": "s3cret-value", "pasword": 1 }))).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(!unknown.text.contains("s3cret-value"), "{}", unknown.text);
    let wrong_type = world.call("POST", "/api/v1/sign-in", None, Some(json!({ "name": "a", "password": ["s3cret-value"] }))).await;
    assert!(!wrong_type.text.contains("s3cret-value"), "{}", wrong_type.text);
    let missing = world.call("POST", "/api/v1/access-requests", Some(&alice), Some(json!({ "resource": "orders-db" }))).await;
    assert!(missing.text.contains("lacks the field"), "{}", missing.text);
    let large = Some(json!({ "name": "a", "password": "x".repeat(2 * 1024 * 1024) }));
    assert_eq!(world.call("POST", "/api/v1/sign-in", None, large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    for bad in ["", "forever", "8d"] {
        let mut ask = ask("orders-db", &["read"]);
        ask["duration"] = bad.into();
        assert_eq!(world.call("POST", "/api/v1/access-requests", Some(&alice), Some(ask)).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_ne!(PASSWORD, "s3cret-value");
}

/// What a browser adds to a call of our own page.
const PAGE: [(&str, &str); 4] =
    [("host", "gateway.example"), ("origin", "https://gateway.example"), ("sec-fetch-site", "same-origin"), ("x-safeconduct-page", "1")];

#[tokio::test]
async fn a_browser_signs_in_by_a_cookie_that_no_page_can_read() {
    let world = World::new().await;
    let sign_in = || Some(json!({ "name": "bob", "password": PASSWORD }));
    let answer = world.call_with("POST", "/api/v1/browser/sign-in", None, sign_in(), &PAGE).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["who"]["name"], "bob");
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let token = pair.strip_prefix("__Host-safeconduct=").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=28800");
    assert!(!answer.text.contains(token), "the page never sees the token");

    let alice = world.sign_in("alice").await;
    let view = world.pending(&alice).await;
    let body = || Some(json!({ "digest": view["digest"] }));
    let bare = [("cookie", pair)];
    let mut with_page = PAGE.to_vec();
    with_page.push(("cookie", pair));
    assert_eq!(world.call_with("GET", "/api/v1/whoami", None, None, &bare).await.json()["name"], "bob");
    let refused = world.call_with("POST", &path(&view, "approve"), None, body(), &bare).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "API-011".to_owned()));
    let keyed = [&with_page[..], &[("idempotency-key", "k")]].concat();
    let approved = world.call_with("POST", &path(&view, "approve"), None, body(), &keyed).await;
    assert_eq!((approved.status, approved.json()["state"].as_str()), (StatusCode::OK, Some("active")), "{}", approved.text);

    let out = world.call_with("POST", "/api/v1/sign-out", None, None, &with_page).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.headers[header::SET_COOKIE].to_str().unwrap().ends_with("Max-Age=0"));
    assert_eq!(world.call_with("GET", "/api/v1/whoami", None, None, &bare).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn f51_nobody_is_signed_in_by_another_site() {
    let world = World::new().await;
    let size = world.size().await;
    for left_out in 1..PAGE.len() {
        let mut headers = PAGE.to_vec();
        if left_out == 3 {
            headers.remove(3);
        } else {
            headers[left_out].1 = if left_out == 1 { "https://evil.example" } else { "cross-site" };
        }
        let sign_in = Some(json!({ "name": "bob", "password": PASSWORD }));
        let answer = world.call_with("POST", "/api/v1/browser/sign-in", None, sign_in, &headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
    }
    assert_eq!(world.size().await, size);
}
