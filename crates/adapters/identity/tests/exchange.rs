//! Workloads that bring a token of their platform: which token is whose, and every other that is nobody's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use safeconduct_model::PrincipalKind;
use serde_json::{Value, json};
use support::House;

fn workloads() -> Value {
    json!({ "workloads": [
        { "name": "deployer", "audience": "gate", "claims": { "sub": "repo:acme/orders:ref:refs/heads/main", "environment": "prod*" },
          "keep": ["sha", "run", "protected", "teams", "missing"], "lasts": "10m" },
        { "name": "alice", "audience": "gate", "claims": { "sub": "somebody" } },
        { "name": "nobody", "audience": "gate", "claims": { "sub": "nobody" } },
    ] })
}

fn right() -> Value {
    json!({ "sub": "repo:acme/orders:ref:refs/heads/main", "environment": "production" })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = right();
    claims[claim] = value;
    claims
}

#[tokio::test]
async fn a_workload_gets_a_short_lived_token_for_its_own() {
    let house = House::new(workloads()).await;
    let token = house.provider.token(&with("exp", json!(house.provider.now() + 3600)));
    let signed_in = house.app.exchange_token(&token, None, "192.0.2.7").await.unwrap();
    let caller = house.app.authenticate(&signed_in.token, "192.0.2.7", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
    assert_eq!((caller.name.as_str(), caller.kind, caller.method.as_str()), ("deployer", PrincipalKind::Workload, "token-exchange"));
    // A list of one audience is one audience.
    house.app.exchange_token(&house.provider.token(&with("aud", json!(["gate"]))), None, "::1").await.unwrap();
    // Keys change.
    house.provider.rotate();
    house.app.exchange_token(&house.provider.token(&right()), None, "::1").await.unwrap();
    house.advance(601);
    assert!(house.app.authenticate(&signed_in.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err(), "ten minutes and no more");
}

#[tokio::test]
async fn what_a_token_says_is_known_of_what_is_asked_with_it() {
    let house = House::new(workloads()).await;
    let mut claims = with("sha", json!("4b825dc"));
    claims["run"] = json!(17);
    claims["protected"] = json!(true);
    // Nobody could compare a list with a text; what nobody asked to keep is not kept.
    claims["teams"] = json!(["a", "b"]);
    claims["email"] = json!("somebody@example.com");
    let signed_in = house.app.exchange_token(&house.provider.token(&claims), None, "::1").await.unwrap();
    let caller = house.app.authenticate(&signed_in.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
    let kept: Vec<_> = caller.claims.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect();
    assert_eq!(kept, ["protected=true", "run=17", "sha=4b825dc"]);
    assert_eq!(signed_in.caller.claims, caller.claims);
    // F46: what can't be shown is not left out of what somebody decides by.
    for hidden in ["a\u{202e}b", "a\u{200b}b", ""] {
        let token = house.provider.token(&with("sha", json!(hidden)));
        assert_eq!(house.app.exchange_token(&token, None, "::1").await.unwrap_err().code, "SIGN-009", "{hidden:?}");
    }
}

#[tokio::test]
async fn f38_an_exchange_never_widens() {
    let house = House::new(workloads()).await;
    let token = house.provider.token(&with("exp", json!(house.provider.now() + 120)));
    let signed_in = house.app.exchange_token(&token, None, "::1").await.unwrap();
    // What was given is nothing to exchange, and ends with what it was given for.
    assert_eq!(house.app.exchange_token(&signed_in.token, None, "::1").await.unwrap_err().code, "SIGN-009");
    house.advance(122);
    assert!(house.app.authenticate(&signed_in.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
}

#[tokio::test]
async fn f16_every_other_token_gets_one_answer() {
    let house = House::new(workloads()).await;
    let now = house.provider.now();
    let refused = [
        ("another branch", with("sub", json!("repo:acme/orders:ref:refs/heads/feature"))),
        ("a longer name", with("sub", json!("repo:acme/orders:ref:refs/heads/main2"))),
        ("another environment", with("environment", json!("test"))),
        ("no environment", with("environment", Value::Null)),
        ("an environment that is no text", with("environment", json!({ "prod": true }))),
        ("another audience", with("aud", json!("somewhere"))),
        ("for several", with("aud", json!(["gate", "somewhere"]))),
        ("for nobody", with("aud", Value::Null)),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("over", with("exp", json!(now - 120))),
        ("good for ever", with("exp", Value::Null)),
        ("good for a week", with("exp", json!(now + 7 * 86_400))),
        ("not yet", with("nbf", json!(now + 600))),
        ("made tomorrow", with("iat", json!(now + 86_400))),
        ("a person's sign-in", with("nonce", json!("x"))),
        ("a logout", with("events", json!({}))),
        ("a person is no workload", with("sub", json!("somebody"))),
        ("a workload that is not here", with("sub", json!("nobody"))),
    ];
    let mut answers = Vec::new();
    for (why, claims) in refused {
        let refused =
            house.app.exchange_token(&house.provider.token(&claims), None, "::1").await.err().unwrap_or_else(|| panic!("{why} signed in"));
        assert_eq!(refused.code, "SIGN-009", "{why}: {refused:?}");
        answers.push(refused);
    }
    for forged in ["none", "hs256 with the public key", "hs256 with the secret", "cut", "another key of that name", "changed"] {
        house.provider.forge(Some(forged));
        let refused = house.app.exchange_token(&house.provider.token(&right()), None, "::1").await.err();
        answers.push(refused.unwrap_or_else(|| panic!("`{forged}` signed in")));
        house.provider.forge(None);
    }
    for nonsense in ["", "a.b.c", "....", "eyJhbGciOiJub25lIn0.e30."] {
        answers.push(house.app.exchange_token(nonsense, None, "::1").await.unwrap_err());
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    house.disable("deployer").await;
    assert_eq!(house.app.exchange_token(&house.provider.token(&right()), None, "::1").await.unwrap_err().code, "SIGN-009");
}

#[tokio::test]
async fn an_issuer_that_vouches_for_no_workloads_signs_none_in() {
    let house = House::new(json!({})).await;
    assert_eq!(house.app.exchange_token(&house.provider.token(&right()), None, "::1").await.unwrap_err().code, "SIGN-009");
}
