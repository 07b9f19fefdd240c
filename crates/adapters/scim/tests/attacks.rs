//! What a source, or somebody who is none, must not get by SCIM: each refused, by name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use safeconduct_lifecycle::{Actor, DirectoryEvent, Event};
use safeconduct_testkit::parsed;
use serde_json::{Value, json};
use support::{TOKEN, World, provisioner, user};

fn add(id: &str) -> Value {
    json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])
}

#[tokio::test]
async fn a_scim_token_is_worth_nothing_at_the_api_and_an_api_token_nothing_at_scim() {
    let world = World::new().await;
    for path in ["/api/v1/whoami", "/api/v1/principals", "/api/v1/status"] {
        let answer = world.call_with("GET", path, Some(TOKEN), None, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (401, Some("SIGN-002")), "{path}: {}", answer.text);
    }
    let ann = world.sign_in("ann").await;
    for token in [None, Some(""), Some(ann.as_str()), Some(&TOKEN[1..]), Some(&format!("{TOKEN}0"))] {
        for path in ["/Users", "/Users/eve", "/ServiceProviderConfig", "/Schemas", "/nowhere"] {
            let answer = world.call_with("GET", path, token, None, &[]).await;
            answer.is_refused(401, None);
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
        world.call_with("POST", "/Users", token, Some(user("eve")), &[]).await.is_refused(401, None);
    }
    let cookie = format!("__Host-safeconduct={ann}");
    world.call_with("GET", "/Users", None, None, &[("cookie", &cookie), ("x-safeconduct-page", "1")]).await.is_refused(401, None);
    let basic = format!("Basic {TOKEN}");
    world.call_with("GET", "/Users", None, None, &[("authorization", &basic)]).await.is_refused(401, None);
    assert!(world.app.provisioned_people(&provisioner()).is_empty());
}

#[tokio::test]
async fn f25_no_name_that_exists_is_taken_over() {
    let world = World::new().await;
    for name in ["alice", "Alice", "alice@example.com", "ALICE@EXAMPLE.COM"] {
        world.call("POST", "/Users", Some(user(name))).await.is_refused(409, Some("uniqueness"));
    }
    // The same mailbox name of another domain is somebody else.
    assert_eq!(world.create("alice@elsewhere.example").await["id"], "alice_at_elsewhere.example");
    world.create("eve").await;
    world.create("frank").await;
    world.call("POST", "/Users", Some(user("EVE@example.com"))).await.is_refused(409, Some("uniqueness"));
    for name in ["frank", "alice", "ann@example.com"] {
        let taken = world.patch("/Users/eve", json!([{ "op": "replace", "path": "userName", "value": name }])).await;
        taken.is_refused(409, Some("uniqueness"));
        world.call("PUT", "/Users/eve", Some(user(name))).await.is_refused(409, Some("uniqueness"));
    }
    // Whom it did not make does not exist for it.
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    for name in ["alice", "ann", "nobody", "..", "%00"] {
        world.call("GET", &format!("/Users/{name}"), None).await.is_refused(404, None);
        world.patch(&format!("/Users/{name}"), off.clone()).await.is_refused(404, None);
        world.call("PUT", &format!("/Users/{name}"), Some(user("eve"))).await.is_refused(404, None);
        world.call("DELETE", &format!("/Users/{name}"), None).await.is_refused(404, None);
    }
    world.sign_in("alice").await;
}

#[tokio::test]
async fn nobody_joins_a_group_that_the_source_does_not_decide_about() {
    let world = World::new().await;
    world.create("eve").await;
    for group in ["administrators", "auditors", "deployers"] {
        world.call("GET", &format!("/Groups/{group}"), None).await.is_refused(404, None);
        world.patch(&format!("/Groups/{group}"), add("eve")).await.is_refused(404, None);
        world
            .call("PUT", &format!("/Groups/{group}"), Some(json!({ "displayName": group, "members": [{ "value": "eve" }] })))
            .await
            .is_refused(404, None);
        world.call("DELETE", &format!("/Groups/{group}"), None).await.is_refused(404, None);
    }
    // What it makes is named apart, whatever it is called.
    let made =
        world.call("POST", "/Groups", Some(json!({ "displayName": "administrators", "members": [{ "value": "eve" }] }))).await.is(201);
    assert_eq!(made["id"], "corp-administrators", "{made}");
    assert_eq!(world.app.standing(&caller_of(&world).await).groups, [parsed("administrators")]);
    // Of others' people it says nothing, in either direction.
    world.patch("/Groups/dba", add("alice")).await.is_refused(400, Some("invalidValue"));
    // Who is not here at all is left out, and is no member when they come.
    world.call("DELETE", "/Users/eve", None).await.is(204);
    for absent in ["ghost", "eve"] {
        let left_out = world.patch("/Groups/dba", add(absent)).await.is(200);
        assert!(left_out.get("members").is_none(), "{absent}: {left_out}");
    }
    let ghost = world.create("ghost").await;
    assert!(ghost.get("groups").is_none(), "{ghost}");
    world.patch("/Groups/dba", json!([{ "op": "remove", "path": "members[value eq \"bob\"]" }])).await.is(200);
    let emptied = world.call("PUT", "/Groups/dba", Some(json!({ "displayName": "Database admins" }))).await.is(200);
    assert!(emptied.get("members").is_none(), "{emptied}");
    let bob = world.app.authenticate(&world.sign_in("bob").await, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
    assert_eq!(world.app.standing(&bob).groups, [parsed("dba")], "bob was put there by somebody else");
    // Groups are never said with the person.
    let mut body = user("frank");
    body["groups"] = json!([{ "value": "dba" }]);
    body["roles"] = json!([{ "value": "administrators" }]);
    assert_eq!(world.call("POST", "/Users", Some(body)).await.is(201).get("groups"), None);
    let own = json!([{ "op": "add", "path": "groups", "value": [{ "value": "dba" }] }]);
    world.patch("/Users/frank", own).await.is_refused(400, Some("mutability"));
    let none = World::with(safeconduct_app::Provisioner { new_groups: None, ..provisioner() }).await;
    none.call("POST", "/Groups", Some(json!({ "displayName": "Anything" }))).await.is_refused(403, None);
}

async fn caller_of(world: &World) -> safeconduct_app::Caller {
    world.app.authenticate(&world.sign_in("ann").await, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap()
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let mut source = provisioner();
    source.groups.insert("Administrators".to_owned(), parsed("administrators"));
    let world = World::with(source).await;
    world.create("eve").await;
    let off = || json!([{ "op": "replace", "path": "active", "value": false }]);
    // With ann there are two: one may go, and come back.
    world.patch("/Groups/administrators", add("eve")).await.is(200);
    world.patch("/Users/eve", off()).await.is(200);
    world.patch("/Users/eve", json!([{ "op": "replace", "path": "active", "value": true }])).await.is(200);
    world.patch("/Groups/administrators", json!([{ "op": "remove", "path": "members" }])).await.is(200);
    world.give_password("eve").await;
    world.patch("/Groups/administrators", add("eve")).await.is(200);
    world.clock.advance(std::time::Duration::from_secs(1));
    let asked = world.change(&world.sign_in("ann").await, json!({ "change": "disable", "name": "ann" })).await;
    world.approve(&world.sign_in("eve").await, &asked).await.is(200);
    world.patch("/Users/eve", off()).await.is_refused(403, None);
    world.call("DELETE", "/Users/eve", None).await.is_refused(403, None);
    world.patch("/Groups/administrators", json!([{ "op": "remove", "path": "members" }])).await.is_refused(403, None);
    world.call("DELETE", "/Groups/administrators", None).await.is_refused(403, None);
    assert_eq!(world.call("GET", "/Users/eve", None).await.is(200)["active"], true);
}

#[tokio::test]
async fn f23_who_was_made_after_an_asking_does_not_approve_it() {
    let world = World::new().await;
    let alice = world.sign_in("alice").await;
    let asked = world.ask(&alice, "orders-db", &["write"]).await;
    world.clock.advance(std::time::Duration::from_secs(1));
    world.create("eve").await;
    world.patch("/Groups/dba", add("eve")).await.is(200);
    world.give_password("eve").await;
    let eve = world.sign_in("eve").await;
    let approved = world.approve(&eve, &asked).await;
    assert_eq!(approved.status, 404, "for eve it does not even exist: {}", approved.text);
    let later = world.ask(&alice, "orders-db", &["write", "temp"]).await;
    let approved = world.approve(&eve, &later).await;
    assert_eq!(approved.status, 200, "{}", approved.text);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let world = World::new().await;
    world.create("eve").await;
    let before = world.directory().await.len();
    for (body, word) in [
        (json!([]), "invalidSyntax"),
        (json!("text"), "invalidSyntax"),
        (json!({ "userName": "a", "USERNAME": "b" }), "invalidSyntax"),
        (json!({ "displayName": "nobody" }), "invalidValue"),
        (json!({ "userName": 7 }), "invalidValue"),
        (json!({ "userName": "x\u{202e}y" }), "invalidValue"),
        (json!({ "userName": "x y" }), "invalidValue"),
        (json!({ "userName": "x".repeat(64) }), "invalidValue"),
        (json!({ "userName": "frank", "displayName": "Fr\u{200b}ank" }), "invalidValue"),
        (json!({ "userName": "frank", "active": "perhaps" }), "invalidValue"),
        (json!({ "userName": "frank", "externalId": "x".repeat(201) }), "invalidValue"),
    ] {
        world.call("POST", "/Users", Some(body)).await.is_refused(400, Some(word));
    }
    for (operations, word) in [
        (json!([{ "op": "move", "path": "active", "value": true }]), "invalidSyntax"),
        (json!([{ "op": "replace", "path": "colour", "value": "red" }]), "invalidPath"),
        (json!([{ "op": "replace", "path": "active[", "value": true }]), "invalidPath"),
        (json!([{ "op": "replace", "path": "urn:other:userName", "value": "x" }]), "invalidPath"),
        (json!([{ "op": "replace", "path": "id", "value": "ann" }]), "mutability"),
        (json!([{ "op": "remove", "path": "userName" }]), "invalidValue"),
        (json!([{ "op": "remove", "path": "active" }]), "invalidValue"),
        (json!([{ "op": "remove" }]), "noTarget"),
        (
            json!([{ "op": "replace", "path": "displayName", "value": "Fine" }, { "op": "replace", "path": "active", "value": 3 }]),
            "invalidValue",
        ),
    ] {
        world.patch("/Users/eve", operations).await.is_refused(400, Some(word));
    }
    let many: Vec<Value> = (0..1001).map(|_| json!({ "op": "replace", "path": "active", "value": true })).collect();
    world.patch("/Users/eve", many.into()).await.is_refused(400, Some("invalidValue"));
    world.call("PATCH", "/Users/eve", Some(json!({ "Operations": [] }))).await.is_refused(400, Some("invalidSyntax"));
    let form = world.call_with("POST", "/Users", Some(TOKEN), Some(user("frank")), &[("content-type", "text/plain")]).await;
    form.is_refused(415, None);
    let mut large = user("frank");
    large["nickName"] = "x".repeat(1024 * 1024).into();
    world.call("POST", "/Users", Some(large)).await.is_refused(413, None);
    world.call("GET", "/Users?attributes=id&excludedAttributes=id", None).await.is_refused(400, Some("invalidValue"));
    world.call("GET", "/Users?count=many", None).await.is_refused(400, Some("invalidValue"));
    world.call("POST", "/Bulk", Some(json!({}))).await.is_refused(501, None);
    world.call("GET", "/Schemas?filter=id%20pr", None).await.is_refused(403, None);
    world.call("GET", "/nowhere", None).await.is_refused(404, None);
    world.call("PUT", "/Users", Some(user("frank"))).await.is_refused(405, None);
    assert_eq!(world.directory().await.len(), before);
}

#[tokio::test]
async fn every_change_is_in_the_ledger_under_the_name_of_the_source() {
    let world = World::new().await;
    let before = world.directory().await.len();
    world.create("eve").await;
    world.patch("/Groups/dba", add("eve")).await.is(200);
    world.call("DELETE", "/Users/eve", None).await.is(204);
    let events = world.directory().await.split_off(before);
    assert_eq!(events.len(), 8, "{events:#?}");
    for event in events {
        let Event::Directory(event) = event else { panic!("{event:?}") };
        let (DirectoryEvent::PersonCreated { by, .. }
        | DirectoryEvent::PersonDescribed { by, .. }
        | DirectoryEvent::GroupDescribed { by, .. }
        | DirectoryEvent::IdentityLinked { by, .. }
        | DirectoryEvent::MemberAdded { by, .. }
        | DirectoryEvent::MemberRemoved { by, .. }
        | DirectoryEvent::PrincipalDisabled { by, .. }) = event
        else {
            panic!("{event:?}")
        };
        assert_eq!(by, Actor::Gateway { cause: "scim:corp".to_owned() });
    }
}

#[tokio::test]
async fn a_link_that_an_administrator_undid_is_not_made_again_by_repeating_it() {
    let world = World::new().await;
    world.create("eve").await;
    let links = async |world: &World| {
        world.directory().await.iter().filter(|e| matches!(e, Event::Directory(DirectoryEvent::IdentityLinked { .. }))).count()
    };
    assert_eq!(links(&world).await, 1);
    let undo = json!({ "change": "unlink_identity", "name": "eve", "issuer": "https://idp.example", "subject": "ext-eve" });
    assert_eq!(world.change(&world.sign_in("ann").await, undo).await["state"], "settled");
    world.call("PUT", "/Users/eve", Some(user("eve"))).await.is(200);
    world.patch("/Users/eve", json!([{ "op": "replace", "path": "displayName", "value": "Eve" }])).await.is(200);
    assert_eq!(links(&world).await, 1);
    world.patch("/Users/eve", json!([{ "op": "replace", "path": "externalId", "value": "another" }])).await.is(200);
    assert_eq!(links(&world).await, 2, "another identity is news");
}
