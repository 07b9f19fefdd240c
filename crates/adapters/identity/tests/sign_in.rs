//! Signing in by a provider that is honest, and by one that is not: over real TLS, with real signatures, against the whole application.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use safeconduct_app::{Arrived, CommandLine, Returned};
use serde_json::json;
use support::{House, Provider, challenge, query};

#[tokio::test(flavor = "multi_thread")]
async fn f25_a_person_is_known_by_issuer_and_subject_alone() {
    let house = House::new(json!({ "people": { "idp|alice": "alice" } })).await;
    let signed_in = house.sign_in("idp|alice").await.unwrap();
    assert_eq!((signed_in.caller.name.as_str(), signed_in.caller.method.as_str()), ("alice", "oidc"));
    assert_eq!(house.app.authenticate(&signed_in.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap().name.as_str(), "alice");
    // Somebody else with her name and address is not her, and is nobody.
    house.provider.claim("preferred_username", json!("alice"));
    house.provider.claim("email", json!("alice@example.com"));
    assert_eq!(house.sign_in("idp|mallory").await.unwrap_err().code, "SIGN-007");
    let kinds = house.kinds().await;
    assert_eq!(kinds.iter().filter(|kind| **kind == "identity_linked").count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "sign_in_failed").count(), 1, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f43_a_provider_makes_people_only_if_it_may_and_takes_no_name_over() {
    let house = House::new(json!({ "create_people": true })).await;
    house.provider.claim("preferred_username", json!("Eve"));
    house.provider.claim("name", json!("Eve\u{202e} <b>Adams"));
    assert_eq!(house.sign_in("17").await.unwrap_err().code, "SIGN-007", "she waits until an administrator lets her in");
    house.enable("eve").await;
    assert_eq!(house.sign_in("17").await.unwrap().caller.name.as_str(), "eve");
    assert_eq!(house.sign_in("17").await.unwrap().caller.name.as_str(), "eve");
    // The name is hers, whatever she is called there later; and nobody else becomes her or alice by it.
    for taken in ["eve", "alice", "ALICE", "аlice", "a b", ""] {
        house.provider.claim("preferred_username", json!(taken));
        assert_eq!(house.sign_in("18").await.unwrap_err().code, "SIGN-007", "{taken}");
    }
    house.provider.claim("preferred_username", json!("other"));
    assert_eq!(house.sign_in("17").await.unwrap().caller.name.as_str(), "eve");
    let closed = House::new(json!({})).await;
    closed.provider.claim("preferred_username", json!("eve"));
    assert_eq!(closed.sign_in("17").await.unwrap_err().code, "SIGN-007");
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_groups_are_those_of_the_claim_and_an_empty_list_gives_nothing() {
    let house = House::new(json!({ "people": { "a": "alice" }, "groups": { "sre": "dba" }, "groups_claim": "roles" })).await;
    assert_eq!(house.groups("alice"), ["engineers"]);
    house.provider.claim("roles", json!(["sre", "administrators", "auditors"]));
    house.sign_in("a").await.unwrap();
    assert_eq!(house.groups("alice"), ["dba", "engineers"], "only what the settings give it, and nothing is taken that it does not own");
    for none in [json!([]), json!(null), json!({ "sre": true }), json!([["sre"]]), json!("sre2")] {
        house.provider.claim("roles", json!(["sre"]));
        house.sign_in("a").await.unwrap();
        assert_eq!(house.groups("alice"), ["dba", "engineers"]);
        house.provider.claim("roles", none.clone());
        house.sign_in("a").await.unwrap();
        assert_eq!(house.groups("alice"), ["engineers"], "{none}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_disabled_does_not_sign_in_by_a_provider_either() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    let before = house.sign_in("a").await.unwrap();
    house.disable("alice").await;
    assert!(house.app.authenticate(&before.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    assert_eq!(house.sign_in("a").await.unwrap_err(), house.sign_in("b").await.unwrap_err(), "one answer for both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_for_this_sign_in_signs_nobody_in() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    let now = house.provider.now();
    let wrong = [
        ("iss", json!("https://evil.example")),
        ("iss", json!(null)),
        ("aud", json!("another")),
        ("aud", json!(["safeconduct", "another"])),
        ("aud", json!(null)),
        ("azp", json!("another")),
        ("exp", json!(now - 120)),
        ("exp", json!(null)),
        ("iat", json!(now + 600)),
        ("iat", json!(now - 3600)),
        ("iat", json!(null)),
        ("nbf", json!(now + 600)),
        ("nbf", json!("soon")),
        ("nonce", json!("another")),
        ("nonce", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
    ];
    for (claim, value) in wrong {
        house.provider.claim(claim, value.clone());
        assert_eq!(house.sign_in("a").await.unwrap_err().code, "SIGN-006", "{claim}: {value}");
        house.provider.forget_claim(claim);
    }
    house.sign_in("a").await.unwrap();
    // Clocks may be a little apart.
    for (claim, value) in
        [("exp", json!(now - 30)), ("iat", json!(now + 30)), ("aud", json!(["safeconduct"])), ("azp", json!("safeconduct"))]
    {
        house.provider.claim(claim, value.clone());
        house.sign_in("a").await.unwrap_or_else(|problem| panic!("{claim} {value}: {problem:?}"));
        house.provider.forget_claim(claim);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_signature_of_the_provider_signs_nobody_in() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    for forged in ["none", "hs256 with the public key", "hs256 with the secret", "cut", "another key of that name", "changed"] {
        house.provider.forge(Some(forged));
        assert_eq!(house.sign_in("a").await.unwrap_err().code, "SIGN-006", "{forged}");
    }
    house.provider.forge(None);
    house.sign_in("a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_fetched_once_and_an_old_one_does_not_count() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    house.sign_in("a").await.unwrap();
    let read = house.provider.times_keys_were_read();
    house.provider.rotate();
    house.sign_in("a").await.unwrap();
    assert_eq!(house.provider.times_keys_were_read(), read + 1);
    // Signed with the key before: it is looked for no more often than every half a minute.
    for _ in 0..5 {
        house.provider.forge(Some("the old key"));
        assert_eq!(house.sign_in("a").await.unwrap_err().code, "SIGN-006");
    }
    assert_eq!(house.provider.times_keys_were_read(), read + 1);
    house.provider.forge(None);
    house.sign_in("a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_browser_that_left_comes_back_and_once() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    let (mine, theirs) = (house.leave(None).await, house.leave(None).await);
    let returned = house.provider.answer(&mine.url, "a");
    let back = |ticket: String, returned: Returned| {
        let app = house.app.clone();
        async move { app.return_from_provider(&ticket, returned, "::1").await.map(drop).map_err(|problem| problem.code) }
    };
    let ticket = mine.ticket.to_string();
    assert_eq!(back(theirs.ticket.to_string(), returned.clone()).await, Err("SIGN-006"), "another browser");
    assert_eq!(back(String::new(), returned.clone()).await, Err("SIGN-006"), "no ticket");
    assert_eq!(
        back(ticket.clone(), Returned { state: query(&theirs.url, "state"), ..returned.clone() }).await,
        Err("SIGN-006"),
        "its state"
    );
    assert_eq!(back(ticket.replacen("corp", "corq", 1), returned.clone()).await, Err("SIGN-006"), "a ticket for another provider");
    // An answer of another provider, which would be given this one's code (mix-up).
    let mixed = Returned { issuer: Some("https://evil.example".to_owned()), ..returned.clone() };
    assert_eq!(back(ticket.clone(), mixed).await, Err("SIGN-006"));
    assert_eq!(
        back(ticket.clone(), Returned { issuer: None, ..returned.clone() }).await,
        Err("SIGN-006"),
        "the provider always says who it is"
    );
    // A code that somebody else got: their verifier is not mine.
    let stolen = Returned { state: query(&theirs.url, "state"), ..returned.clone() };
    assert_eq!(back(theirs.ticket.to_string(), stolen).await, Err("SIGN-006"));
    let again = house.provider.answer(&mine.url, "a");
    assert_eq!(back(ticket.clone(), again.clone()).await, Ok(()));
    assert_eq!(back(ticket.clone(), again).await, Err("SIGN-006"), "a code works once");
    let another_code = house.provider.answer(&mine.url, "a");
    assert_eq!(back(ticket, another_code).await, Err("SIGN-006"), "a ticket works once");
    let late = house.leave(None).await;
    let returned = house.provider.answer(&late.url, "a");
    house.advance(601);
    assert_eq!(back(late.ticket.to_string(), returned).await, Err("SIGN-006"), "too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_ago_the_person_proved_who_they_are_is_known() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    let now = house.provider.now();
    house.provider.claim("auth_time", json!(now - 7200));
    let caller = house.sign_in("a").await.unwrap().caller;
    assert_eq!(caller.authenticated_at.unwrap().micros(), (now - 7200) * 1_000_000);
    assert!(Some(caller.signed_in_at) > caller.authenticated_at);
    house.provider.claim("auth_time", json!(now + 7200));
    let caller = house.sign_in("a").await.unwrap().caller;
    assert!(caller.authenticated_at.unwrap() <= caller.signed_in_at.plus_seconds(60), "nobody proved anything in the future");
    // A provider that is told a `max_age` must say it. What one does not say, or not as a number, is not known.
    assert!(!query(&house.leave(None).await.url, "max_age").is_empty());
    for unsaid in [json!(null), json!("soon"), json!([now])] {
        house.provider.claim("auth_time", unsaid.clone());
        let signed_in = house.sign_in("a").await.unwrap();
        assert_eq!(signed_in.caller.authenticated_at, None, "{unsaid}");
        assert_eq!(
            house.app.authenticate(&signed_in.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap().authenticated_at,
            None,
            "{unsaid}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_id_token_says_is_known_of_what_is_asked_under_its_sign_in() {
    let keep = ["clearance", "shift", "remote", "teams", "missing"];
    let house = House::new(json!({ "people": { "a": "alice" }, "keep": keep })).await;
    assert!(house.sign_in("a").await.unwrap().caller.claims.is_empty());
    for (name, value) in [("clearance", json!("secret")), ("shift", json!(3)), ("remote", json!(false)), ("teams", json!(["a"]))] {
        house.provider.claim(name, value);
    }
    house.provider.claim("email", json!("alice@example.com"));
    let kept = |caller: &safeconduct_app::Caller| {
        caller.claims.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect::<Vec<_>>().join(" ")
    };
    let signed_in = house.sign_in("a").await.unwrap();
    let later = house.app.authenticate(&signed_in.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
    for caller in [&signed_in.caller, &later] {
        assert_eq!(kept(caller), "clearance=secret remote=false shift=3");
    }
    // A command line gets what its browser brought.
    let leaving = house.leave(Some(CommandLine { port: 40_000, challenge: challenge("my verifier") })).await;
    let returned = house.provider.answer(&leaving.url, "a");
    let Arrived::HandOver { url } = house.app.return_from_provider(&leaving.ticket, returned, "::1").await.unwrap() else { panic!() };
    let code = url.strip_prefix("http://127.0.0.1:40000/?code=").unwrap();
    let taken_over = house.app.take_over_sign_in(code, "my verifier", "::1").await.unwrap();
    assert_eq!(kept(&taken_over.caller), "clearance=secret remote=false shift=3");
    // F46: what can't be shown is not left out of what somebody decides by.
    for hidden in ["a\u{202e}b", "a\u{200b}b", "", &"x".repeat(2001)] {
        house.provider.claim("clearance", json!(hidden));
        assert_eq!(house.sign_in("a").await.unwrap_err().code, "SIGN-006", "{hidden:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_takes_over_what_it_began_and_nobody_else_does() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    let hand_over = || async {
        let leaving = house.leave(Some(CommandLine { port: 40_000, challenge: challenge("my verifier") })).await;
        let returned = house.provider.answer(&leaving.url, "a");
        match house.app.return_from_provider(&leaving.ticket, returned, "::1").await.unwrap() {
            Arrived::HandOver { url } => url.strip_prefix("http://127.0.0.1:40000/?code=").expect("this machine").to_owned(),
            other => panic!("{other:?}"),
        }
    };
    let code = hand_over().await;
    assert!(house.app.take_over_sign_in("AAAA", "my verifier", "::1").await.is_err());
    let signed_in = house.app.take_over_sign_in(&code, "my verifier", "::1").await.unwrap();
    assert_eq!(house.app.authenticate(&signed_in.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap().name.as_str(), "alice");
    assert!(house.app.take_over_sign_in(&code, "my verifier", "::1").await.is_err(), "once");
    let stolen = hand_over().await;
    assert_eq!(house.app.take_over_sign_in(&stolen, "a thief's", "::1").await.unwrap_err().code, "SIGN-006");
    assert!(house.app.take_over_sign_in(&stolen, "my verifier", "::1").await.is_err(), "whoever tried it has used it up");
    let late = hand_over().await;
    house.advance(61);
    assert!(house.app.take_over_sign_in(&late, "my verifier", "::1").await.is_err());
    let disabled = hand_over().await;
    house.disable("alice").await;
    assert!(house.app.take_over_sign_in(&disabled, "my verifier", "::1").await.is_err());
    for bad in [CommandLine { port: 80, challenge: challenge("v") }, CommandLine { port: 40_000, challenge: "x".to_owned() }] {
        assert!(house.app.leave_for_provider("corp", Some(bad)).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_ends_what_it_began_and_nothing_else() {
    let house = House::new(json!({ "people": { "a": "alice", "b": "bob" } })).await;
    house.provider.claim("sid", json!("one"));
    let one = house.sign_in("a").await.unwrap();
    house.provider.claim("sid", json!("two"));
    let two = house.sign_in("a").await.unwrap();
    let bob = house.sign_in("b").await.unwrap();
    let live = || async {
        let mut live = Vec::new();
        for signed_in in [&one, &two, &bob] {
            live.push(house.app.authenticate(&signed_in.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.is_ok());
        }
        live
    };
    let event = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let wrong = [
        json!({ "sub": "a" }),
        json!({ "sub": "a", "events": {} }),
        json!({ "sub": "a", "events": event, "nonce": "n" }),
        json!({ "events": event }),
        json!({ "sub": "a", "events": event, "aud": "another" }),
        json!({ "sub": "a", "events": event, "iss": "https://evil.example" }),
    ];
    for claims in wrong {
        let token = house.provider.logout_token(&claims);
        assert_eq!(house.app.provider_logout("corp", &token).await.unwrap_err().code, "SIGN-006", "{claims}");
    }
    assert_eq!(live().await, [true, true, true]);
    let token = house.provider.logout_token(&json!({ "sub": "a", "sid": "one", "events": event }));
    house.app.provider_logout("corp", &token).await.unwrap();
    house.app.provider_logout("corp", &token).await.unwrap();
    assert_eq!(live().await, [false, true, true]);
    house.app.provider_logout("corp", &house.provider.logout_token(&json!({ "sub": "a", "events": event }))).await.unwrap();
    assert_eq!(live().await, [false, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f45_a_document_that_leads_elsewhere_is_not_followed() {
    let house = House::new(json!({ "people": { "a": "alice" } })).await;
    for (key, value) in [
        ("issuer", json!("https://evil.example")),
        ("token_endpoint", json!("http://localhost/token")),
        ("jwks_uri", json!("ftp://localhost/keys")),
        ("code_challenge_methods_supported", json!(["plain"])),
    ] {
        let other = House::with(Provider::with_document(key, value.clone()).await, json!({ "people": { "a": "alice" } })).await;
        assert_eq!(other.app.leave_for_provider("corp", None).await.unwrap_err().code, "SIGN-006", "{key}: {value}");
    }
    assert_eq!(house.app.leave_for_provider("other", None).await.unwrap_err().code, "REQ-008");
    house.sign_in("a").await.unwrap();
}
