//! Last use of sign-ins and tokens: what counts as one, when it is written, and the end of sign-ins that nobody uses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use safeconduct_app::{Caller, OneTime, Problem, Reach, SignedIn, TokenView, ports::Store as _};
use safeconduct_lifecycle::StreamId;
use safeconduct_model::{Change, Operation, TokenScope};
use safeconduct_testkit::parsed;
use zeroize::Zeroizing;

const PASSWORD: &str = "correct horse battery";
const USES: &str = "sign-in-use";

/// A house in which alice has a password.
async fn house() -> House {
    let house = House::new().await;
    let id = house.changed(Change::ResetSecret { name: parsed("alice"), scopes: None }).await;
    let OneTime::Code { code, .. } = house.app.one_time(&house.caller("ann"), &id).await.unwrap() else { panic!("a person gets a code") };
    house.app.choose_password("alice", code, Zeroizing::new(PASSWORD.to_owned())).await.unwrap();
    house
}

async fn sign_in(house: &House) -> SignedIn {
    house.app.sign_in("alice", Zeroizing::new(PASSWORD.to_owned()), "192.0.2.1").await.unwrap()
}

async fn call(house: &House, token: &str) -> Result<Caller, Problem> {
    house.app.authenticate(token, "192.0.2.7", Reach::EVERY_TOKEN).await
}

async fn tokens(house: &House, of: &str) -> Vec<TokenView> {
    house.app.tokens(&house.caller("ann"), &parsed(of)).await.unwrap()
}

/// When uses were written.
async fn written(house: &House) -> Vec<String> {
    let values = house.store.values(USES).await.unwrap();
    values.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
}

#[tokio::test]
async fn a_sign_in_that_nobody_uses_is_over_and_said_to_have_ended() {
    let house = house().await;
    let (used, unused) = (sign_in(&house).await, sign_in(&house).await);
    house.advance(3600).await;
    call(&house, &used.token).await.unwrap();
    let before = house.kinds(StreamId::SignIns).await.len();
    // Refused at once, whether or not it was noticed before.
    house.clock.advance(Duration::from_secs(3600));
    assert_eq!(call(&house, &unused.token).await.unwrap_err().code, "SIGN-002");
    assert_eq!(tokens(&house, "alice").await.len(), 1);
    house.app.tick().await.unwrap();
    assert_eq!(house.kinds(StreamId::SignIns).await[before..], ["signed_out"]);
    call(&house, &used.token).await.unwrap();
    house.advance(7199).await;
    call(&house, &used.token).await.unwrap();
    // However much it is used, it ends at its time.
    for _ in 0..8 {
        house.advance(3600).await;
        let _ = call(&house, &used.token).await;
    }
    assert!(call(&house, &used.token).await.is_err());
}

#[tokio::test]
async fn what_a_client_does_by_itself_keeps_no_sign_in_alive() {
    let house = house().await;
    let signed_in = sign_in(&house).await;
    let by_itself = Reach { attended: false, ..Reach::EVERY_TOKEN };
    for _ in 0..3 {
        house.advance(1800).await;
        house.app.authenticate(&signed_in.token, "192.0.2.7", by_itself).await.unwrap();
    }
    assert_eq!(tokens(&house, "alice").await[0].last_used_at, None);
    house.advance(1800).await;
    assert!(house.app.authenticate(&signed_in.token, "192.0.2.7", by_itself).await.is_err());
    assert!(call(&house, &signed_in.token).await.is_err(), "nor does it come back");
}

#[tokio::test]
async fn f16_an_idle_end_takes_door_secrets_and_cuts_neither_session_nor_grant() {
    let house = house().await;
    let signed_in = sign_in(&house).await;
    house.grant("alice", &[Operation::Read], 1800).await;
    let at = || (signed_in.caller.clone(), parsed("orders-db"));
    let (caller, resource) = at();
    let secret = house.app.connect(&caller, &resource, None).await.unwrap();
    let lookup = || house.app.door_lookup(secret.user.as_str(), &secret.dbname);
    house.advance(1000).await;
    // Who opens a session is there.
    let session = house.app.door_open(lookup(), 0, peer()).await.unwrap();
    house.advance(790).await;
    house.grant("alice", &[Operation::Write], 3600).await;
    house.advance(3300).await;
    house.grant("alice", &[Operation::Write], 3600).await;
    let view = &tokens(&house, "alice").await[0];
    assert_eq!(view.last_used_from.as_deref(), Some("127.0.0.1"), "an hour and a half after the sign-in it is in use");
    assert!(house.app.door_resource(&lookup()).is_some());
    house.advance(3110).await;
    assert!(tokens(&house, "alice").await.is_empty());
    assert!(house.app.door_resource(&lookup()).is_none(), "its door secret ends with it");
    assert_eq!(ended(&session), None);
    permitted(&session, "delete from orders where id = 1");
}

#[tokio::test]
async fn tokens_of_workloads_are_not_idle_and_say_when_they_were_used() {
    let house = House::new().await;
    let id = house.changed(Change::ResetSecret { name: parsed("deployer"), scopes: Some("read request".parse().unwrap()) }).await;
    let OneTime::Token { token, .. } = house.app.one_time(&house.caller("ann"), &id).await.unwrap() else { panic!("a token") };
    let made = tokens(&house, "deployer").await;
    assert_eq!((made.len(), made[0].last_used_at, made[0].last_used_from.as_deref()), (1, None, None));
    assert_eq!(made[0].scopes.as_ref().map(ToString::to_string).as_deref(), Some("read request"));
    house.advance(5 * 86_400).await;
    call(&house, &token).await.unwrap();
    let used = &tokens(&house, "deployer").await[0];
    assert_eq!((used.last_used_at, used.last_used_from.as_deref()), (Some(house.app.now()), Some("192.0.2.7")));
    // Whoever tries what it is not for has it, too.
    house.advance(60).await;
    let ledger = Reach { scopes: &[TokenScope::Ledger], attended: true };
    let refused = house.app.authenticate(&token, "198.51.100.1", ledger).await.unwrap_err();
    assert_eq!(refused.code, "SIGN-010");
    assert_eq!(tokens(&house, "deployer").await[0].last_used_from.as_deref(), Some("198.51.100.1"));
}

#[tokio::test]
async fn uses_are_written_once_a_minute_and_survive_a_crash() {
    let house = house().await;
    let signed_in = sign_in(&house).await;
    call(&house, &signed_in.token).await.unwrap();
    assert!(written(&house).await.is_empty(), "a call writes nothing");
    house.app.tick().await.unwrap();
    let (first, before) = (written(&house).await, house.events().await);
    assert_eq!(first.len(), 1);
    for _ in 0..5 {
        house.advance(10).await;
        call(&house, &signed_in.token).await.unwrap();
    }
    assert_eq!(written(&house).await, first);
    house.advance(10).await;
    call(&house, &signed_in.token).await.unwrap();
    house.app.tick().await.unwrap();
    let second = written(&house).await;
    assert_ne!(second, first);
    assert_eq!(house.events().await, before, "a use is no event");
    let used_at = house.app.now();
    house.advance(30).await;
    call(&house, &signed_in.token).await.unwrap();
    let house = house.crash().await;
    let after = &tokens(&house, "alice").await[0];
    assert_eq!((after.last_used_at, after.last_used_from.as_deref()), (Some(used_at), Some("192.0.2.7")), "but for the last minute");
    // Whoever stops in order forgets nothing.
    call(&house, &signed_in.token).await.unwrap();
    let last = house.app.now();
    house.app.shutdown().await;
    let house = house.crash().await;
    assert_eq!(tokens(&house, "alice").await[0].last_used_at, Some(last));
}

#[tokio::test]
async fn what_is_written_of_a_use_makes_no_sign_in() {
    let house = house().await;
    let (out, stays) = (sign_in(&house).await, sign_in(&house).await);
    for signed_in in [&out, &stays] {
        call(&house, &signed_in.token).await.unwrap();
    }
    house.app.tick().await.unwrap();
    let late = house.store.values(USES).await.unwrap();
    assert_eq!(late.len(), 2);
    house.app.sign_out(&out.caller).await.unwrap();
    assert_eq!(written(&house).await.len(), 1);
    // A write that came too late.
    let change = |(key, value): (String, Vec<u8>)| safeconduct_app::ports::ValueChange { kind: USES.to_owned(), key, value: Some(value) };
    house.store.put_values(late.into_iter().map(change).collect()).await.unwrap();
    let house = house.crash().await;
    assert!(call(&house, &out.token).await.is_err());
    assert_eq!(written(&house).await.len(), 1, "nothing is kept of what is gone");
    assert_eq!(tokens(&house, "alice").await.len(), 1);
}
