//! Signing in: one answer for every mistake, codes work once, and what was taken away stays away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_app::{App, OneTime, Problem, SignedIn};
use safeconduct_model::Change;
use safeconduct_testkit::parsed;
use zeroize::Zeroizing;

const PASSWORD: &str = "correct horse battery";

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

async fn sign_in(app: &App, name: &str, password: &str) -> Result<SignedIn, Problem> {
    app.sign_in(name, secret(password), "127.0.0.1").await
}

async fn code_for(house: &House, name: &str) -> Zeroizing<String> {
    let id = house.changed(Change::ResetSecret { name: parsed(name), scopes: None }).await;
    match house.app.one_time(&house.caller("ann"), &id).await.unwrap() {
        OneTime::Code { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_get_one_answer() {
    let house = House::new().await;
    house.app.choose_password("alice", code_for(&house, "alice").await, secret(PASSWORD)).await.unwrap();
    let signed_in = sign_in(&house.app, "alice", PASSWORD).await.unwrap();
    assert_eq!(
        house.app.authenticate(&signed_in.token, "127.0.0.1", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap().name.as_str(),
        "alice"
    );
    house.app.choose_password("erin", code_for(&house, "erin").await, secret(PASSWORD)).await.unwrap();
    house.changed(Change::Disable { name: parsed("erin") }).await;
    let answer = sign_in(&house.app, "alice", "wrong password").await.unwrap_err();
    for (name, password) in
        [("nobody", PASSWORD), ("", ""), ("bob", PASSWORD), ("erin", PASSWORD), ("deployer", PASSWORD), ("ALICE", PASSWORD)]
    {
        assert_eq!(sign_in(&house.app, name, password).await.unwrap_err(), answer, "{name}");
    }
}

#[tokio::test]
async fn a_code_works_once_for_its_person_and_not_after_another_was_made() {
    let house = House::new().await;
    let old = code_for(&house, "alice").await;
    let code = code_for(&house, "alice").await;
    let app = &house.app;
    assert!(app.choose_password("alice", old, secret(PASSWORD)).await.is_err());
    assert!(app.choose_password("bob", code.clone(), secret(PASSWORD)).await.is_err());
    assert_eq!(app.choose_password("alice", code.clone(), secret("short")).await.unwrap_err().code, "SIGN-004");
    let (one, two) = tokio::join!(
        app.choose_password("alice", code.clone(), secret(PASSWORD)),
        app.choose_password("alice", code.clone(), secret("another long one")),
    );
    assert_ne!(one.is_ok(), two.is_ok());
    assert!(app.choose_password("alice", code, secret(PASSWORD)).await.is_err());
    let late = code_for(&house, "bob").await;
    house.advance(24 * 3600).await;
    assert!(app.choose_password("bob", late, secret(PASSWORD)).await.is_err());
}

#[tokio::test]
async fn a_sign_in_ends_by_time_sign_out_revocation_and_disabling() {
    let house = House::new().await;
    house.app.choose_password("alice", code_for(&house, "alice").await, secret(PASSWORD)).await.unwrap();
    let app = &house.app;
    let by_time = sign_in(app, "alice", PASSWORD).await.unwrap();
    for _ in 0..7 {
        house.advance(3600).await;
        app.authenticate(&by_time.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
    }
    house.advance(3600).await;
    assert_eq!(app.authenticate(&by_time.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap_err().code, "SIGN-002");
    let out = sign_in(app, "alice", PASSWORD).await.unwrap();
    app.sign_out(&out.caller).await.unwrap();
    assert!(app.authenticate(&out.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    let revoked = sign_in(app, "alice", PASSWORD).await.unwrap();
    let id = &revoked.caller.sign_in;
    assert!(app.revoke_token(&house.caller("bob"), &parsed("alice"), id).await.is_err());
    assert_eq!(app.tokens(&house.caller("ann"), &parsed("alice")).await.unwrap().len(), 1);
    app.revoke_token(&house.caller("ann"), &parsed("alice"), id).await.unwrap();
    assert!(app.authenticate(&revoked.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    let disabled = sign_in(app, "alice", PASSWORD).await.unwrap();
    house.changed(Change::Disable { name: parsed("alice") }).await;
    assert!(app.authenticate(&disabled.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    house.changed(Change::Enable { name: parsed("alice") }).await;
    assert!(
        app.authenticate(&disabled.token, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err(),
        "what was taken away does not come back"
    );
    assert!(sign_in(app, "alice", PASSWORD).await.is_err());
    for nonsense in ["", "sc_", "sc_AAAA", &disabled.token[..10]] {
        assert!(app.authenticate(nonsense, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    }
}

#[tokio::test]
async fn a_reset_counts_even_if_the_store_kept_the_old_secrets() {
    let house = House::new().await;
    house.app.choose_password("alice", code_for(&house, "alice").await, secret(PASSWORD)).await.unwrap();
    let token = sign_in(&house.app, "alice", PASSWORD).await.unwrap().token;
    house.clock.advance(std::time::Duration::from_secs(1));
    let view = house.change("ann", Change::ResetSecret { name: parsed("alice"), scopes: None }).await.unwrap();
    house.store.set_values_broken(true);
    house.approve("abe", &view).await.unwrap();
    house.store.set_values_broken(false);
    assert!(sign_in(&house.app, "alice", PASSWORD).await.is_err());
    let house = house.crash().await;
    assert!(house.app.authenticate(&token, "", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    assert!(sign_in(&house.app, "alice", PASSWORD).await.is_err());
}

#[tokio::test]
async fn f48_a_sign_in_that_cannot_be_recorded_is_none() {
    let house = House::new().await;
    house.app.choose_password("alice", code_for(&house, "alice").await, secret(PASSWORD)).await.unwrap();
    house.store.set_full(true);
    assert_eq!(sign_in(&house.app, "alice", PASSWORD).await.unwrap_err().code, "STORE-001");
    assert_eq!(sign_in(&house.app, "alice", "wrong password").await.unwrap_err().code, "STORE-001");
    house.store.set_full(false);
    assert!(house.app.tokens(&house.caller("ann"), &parsed("alice")).await.unwrap().is_empty());
}

#[tokio::test]
async fn f48_a_chosen_password_is_recorded_before_it_works() {
    let house = House::new().await;
    let code = code_for(&house, "alice").await;
    house.store.set_full(true);
    assert_eq!(house.app.choose_password("alice", code.clone(), secret(PASSWORD)).await.unwrap_err().code, "STORE-001");
    house.store.set_full(false);
    assert!(sign_in(&house.app, "alice", PASSWORD).await.is_err(), "what is not recorded does not work");
    house.app.choose_password("alice", code, secret(PASSWORD)).await.unwrap();
    sign_in(&house.app, "alice", PASSWORD).await.unwrap();
    let kinds = house.kinds(safeconduct_lifecycle::StreamId::SignIns).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "password_chosen").count(), 1, "{kinds:?}");
}

#[tokio::test]
async fn f27_a_failed_or_half_sign_in_opens_nothing_and_makes_no_older_one_younger() {
    let house = House::new().await;
    let app = &house.app;
    let signed_in = async || house.kinds(safeconduct_lifecycle::StreamId::SignIns).await.iter().filter(|kind| *kind == "signed_in").count();
    // Tokens of workloads.
    let before = signed_in().await;
    // A code is good for choosing a password: it signs nobody in.
    app.choose_password("alice", code_for(&house, "alice").await, secret(PASSWORD)).await.unwrap();
    let sign_ins = async |house: &House| house.app.tokens(&house.caller("ann"), &parsed("alice")).await.unwrap().len();
    assert_eq!((signed_in().await, sign_ins(&house).await), (before, 0));
    let first = sign_in(app, "alice", PASSWORD).await.unwrap();
    house.advance(600).await;
    let asked = async |token: &str| {
        let caller = app.authenticate(token, "", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
        let view = app.ask(&caller, window(&[safeconduct_model::Operation::Write], 600)).await.unwrap();
        let asked = view.access.envelope.asked;
        app.cancel(&caller, &view.access.envelope.access_request).await.unwrap();
        (asked.sign_in, asked.sign_in_age_seconds)
    };
    assert!(sign_in(app, "alice", "wrong password").await.is_err());
    assert!(app.choose_password("alice", secret("wrong code"), secret("another long one")).await.is_err());
    app.passkey_challenge().unwrap();
    assert_eq!(asked(&first.token).await, ("password".to_owned(), 600), "what failed or only began proves nothing");
    assert_eq!((signed_in().await, sign_ins(&house).await), (before + 1, 1));
    // Another one that is whole is young; the older one stays as old as it is.
    let second = sign_in(app, "alice", PASSWORD).await.unwrap();
    assert_eq!((asked(&second.token).await.1, asked(&first.token).await.1), (0, 600));
}

#[tokio::test]
async fn whoever_only_has_to_sign_in_again_is_told_so() {
    let house = House::new().await;
    let fresh = r#"@id("fresh") permit (principal in Group::"engineers", action == Action::"read", resource == Resource::"orders-db")
        when { context.asked.sign_in_age < duration("5m") };"#;
    house.apply(bundle(fresh)).await;
    house.advance(600).await;
    let read = || window(&[safeconduct_model::Operation::Read], 600);
    let old = house.app.ask(&house.caller("alice"), read()).await.unwrap_err();
    assert_eq!((old.code, old.why.as_deref()), ("REQ-010", Some("yours is 10 minutes old")));
    let preview = async |who: &safeconduct_app::Caller| house.app.preview(who, read()).await.unwrap();
    assert_eq!(preview(&house.caller("alice")).await.sign_in_again, Some(safeconduct_app::SignInAgain::Newer));
    let young = safeconduct_app::Caller { authenticated_at: Some(house.app.now()), ..house.caller("alice") };
    assert_eq!(preview(&young).await.sign_in_again, None);
    house.app.ask(&young, read()).await.unwrap();
    // Where a new one would not help, nothing is said of it; and to whom the resource does not exist, not even that.
    let write = window(&[safeconduct_model::Operation::Write], 600);
    assert_eq!(house.app.ask(&house.caller("alice"), write).await.unwrap_err().code, "REQ-002");
    assert_eq!(house.app.ask(&house.caller("mallory"), read()).await.unwrap_err().code, "RES-001");
}

#[tokio::test]
async fn f27_who_has_a_passkey_is_told_to_step_up_with_it_and_nobody_else_hears_of_it() {
    let house = House::new().await;
    let policy = r#"@id("strong") permit (principal in Group::"engineers", action == Action::"read", resource == Resource::"orders-db")
        when { context.asked.sign_in == "passkey" && context.asked.sign_in_age < duration("5m") };"#;
    house.apply(bundle(policy)).await;
    let key = safeconduct_testkit::signers::Passkey::at("gateway.test").public().to_string();
    house.changed(safeconduct_model::Change::EnrolKey { name: safeconduct_testkit::parsed("alice"), key }).await;
    let read = || window(&[safeconduct_model::Operation::Read], 600);
    let (alice, erin) = (house.caller("alice"), house.caller("erin"));
    let listed = house.app.resources(&alice).await.unwrap();
    assert!(
        listed.iter().any(|resource| resource.operations.iter().any(|(operation, ..)| *operation == safeconduct_model::Operation::Read))
    );
    assert_eq!(house.app.preview(&alice, read()).await.unwrap().sign_in_again, Some(safeconduct_app::SignInAgain::Passkey));
    let refused = house.app.ask(&alice, read()).await.unwrap_err();
    assert_eq!((refused.code, refused.why.as_deref()), ("REQ-010", Some("you signed in by password")));
    // As old as the other one, a passkey's does not do either; a new one does.
    let stepped = |at| safeconduct_app::Caller { method: "passkey".to_owned(), authenticated_at: Some(at), ..alice.clone() };
    house.advance(600).await;
    assert_eq!(
        house.app.preview(&stepped(house.app.now().plus_seconds(-301)), read()).await.unwrap().sign_in_again,
        Some(safeconduct_app::SignInAgain::Newer)
    );
    house.app.ask(&stepped(house.app.now()), read()).await.unwrap();
    // To somebody without a passkey the resource does not exist.
    assert!(house.app.resources(&erin).await.unwrap().is_empty());
    assert_eq!(house.app.ask(&erin, read()).await.unwrap_err().code, "RES-001");
}
