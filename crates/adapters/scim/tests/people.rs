//! People by SCIM: made, found, changed, disabled, given up.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use safeconduct_model::PersonAttribute;
use serde_json::{Value, json};
use support::{ENTERPRISE, World, user};

#[tokio::test]
async fn a_person_is_made_found_changed_and_disabled() {
    let world = World::new().await;
    let made = world.create("Eve@Example.com").await;
    assert_eq!((made["id"].as_str(), made["active"].as_bool()), (Some("eve"), Some(true)), "{made}");
    assert_eq!(world.call("GET", "/Users/eve", None).await.is(200), made);
    let listed = world.call("GET", "/Users?filter=userName%20eq%20%22eve@example.COM%22", None).await.is(200);
    assert_eq!((listed["totalResults"].as_u64(), &listed["Resources"][0]), (Some(1), &made));
    let off = world.patch("/Users/eve", json!([{ "op": "Replace", "path": "active", "value": "False" }])).await.is(200);
    assert_eq!(off["active"], false, "{off}");
    let kinds: Vec<&str> = world.directory().await.iter().map(safeconduct_lifecycle::Event::kind).collect();
    assert!(kinds.ends_with(&["person_created", "person_described", "identity_linked", "principal_disabled"]), "{kinds:?}");
}

#[tokio::test]
async fn who_was_made_inactive_is_the_providers_to_enable_and_waits_for_no_administrator() {
    let world = World::new().await;
    let mut body = user("eve@example.com");
    body["active"] = false.into();
    assert_eq!(world.call("POST", "/Users", Some(body)).await.is(201)["active"], false);
    let ann = world.app.authenticate(&world.sign_in("ann").await, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
    assert!(world.app.principals(&ann).unwrap().iter().any(|one| one.name.as_str() == "eve" && one.disabled));
    assert!(world.app.waiting(&ann).unwrap().is_empty());
}

#[tokio::test]
async fn what_policy_may_need_is_kept_and_nothing_else_is() {
    let world = World::new().await;
    let mut body = user("eve@example.com");
    body[ENTERPRISE] = json!({ "department": "Payments", "manager": { "value": "bob" }, "costCenter": " 4711 ", "EmployeeNumber": "17" });
    body["title"] = "Teller".into();
    body["nickName"] = "Evie".into();
    body["password"] = "hunter2-hunter2".into();
    body["emails"] = json!([{ "value": "eve@example.com" }]);
    let made = world.call("POST", "/Users", Some(body)).await.is(201);
    let kept = json!({ "department": "Payments", "manager": { "value": "bob" }, "costCenter": "4711", "employeeNumber": "17" });
    assert_eq!((&made[ENTERPRISE], &made["title"]), (&kept, &json!("Teller")));
    assert!(["emails", "password", "nickName"].into_iter().all(|name| made.get(name).is_none()), "{made}");
    let ledger = format!("{:?}", world.directory().await);
    assert!(ledger.contains("Payments") && !ledger.contains("hunter2") && !ledger.contains("Evie"));
    let changed = world
        .patch(
            "/Users/eve",
            json!([
                { "op": "add", "path": format!("{ENTERPRISE}:department"), "value": "Risk" },
                { "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": "ann" },
                { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "x@example.com" },
                { "op": "replace", "value": { "displayName": "Eve", "name.givenName": "Eve" } },
            ]),
        )
        .await
        .is(200);
    assert_eq!((&changed[ENTERPRISE]["department"], &changed[ENTERPRISE]["manager"]["value"]), (&json!("Risk"), &json!("ann")));
    assert_eq!(changed["displayName"], "Eve");
    let rest = world.patch("/Users/eve", json!([{ "op": "remove", "path": ENTERPRISE }])).await.is(200);
    assert!(rest.get(ENTERPRISE).is_none(), "{rest}");
}

#[tokio::test]
async fn every_plain_attribute_is_made_found_replaced_changed_and_removed() {
    let world = World::new().await;
    world.create("max").await;
    let count = async |filter: &str| {
        let filter: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
        world.call("GET", &format!("/Users?filter={filter}"), None).await.is(200)["totalResults"].as_u64().unwrap()
    };
    let schemas = world.call("GET", "/Schemas", None).await.is(200);
    for attribute in PersonAttribute::ALL {
        let name = attribute.name();
        let extended = !["title", "userType"].contains(&name);
        let schema = if extended { ENTERPRISE } else { "urn:ietf:params:scim:schemas:core:2.0:User" };
        let told = schemas["Resources"].as_array().unwrap().iter().find(|one| one["id"] == schema).unwrap();
        assert!(told["attributes"].as_array().unwrap().iter().any(|one| one["name"] == name && one["type"] == "string"), "{name}: {told}");
        let said = |value: Value| {
            let mut body = user("eve");
            if extended {
                body[ENTERPRISE] = json!({ name: value });
            } else {
                body[name] = value;
            }
            Some(body)
        };
        let shown = |of: &Value| if extended { of[ENTERPRISE][name].clone() } else { of[name].clone() };
        let path = format!("/Users/{}", world.call("POST", "/Users", said("First".into())).await.is(201)["id"].as_str().unwrap());
        assert_eq!(shown(&world.call("GET", &path, None).await.is(200)), "First");
        for filter in [format!("{name} eq \"first\""), format!("{schema}:{name} pr")] {
            assert_eq!(count(&filter).await, 1, "{filter}");
        }
        assert_eq!(shown(&world.call("PUT", &path, said("Second".into())).await.is(200)), "Second");
        let operations = json!([{ "op": "replace", "path": format!("{schema}:{name}"), "value": "Third" }]);
        assert_eq!(shown(&world.patch(&path, operations).await.is(200)), "Third");
        assert_eq!(shown(&world.patch(&path, json!([{ "op": "add", "path": name, "value": "Fourth" }])).await.is(200)), "Fourth");
        // F46: nothing that deceives a reader, nothing long, no other kind of value.
        for unfit in [json!("a\u{202e}b"), json!("x".repeat(201)), json!(17), json!(["a"])] {
            let refused = world.call("PUT", &path, said(unfit)).await;
            refused.is_refused(400, Some("invalidValue"));
            assert!(refused.json()["detail"].as_str().unwrap().contains(&format!("`{name}`")), "{}", refused.text);
        }
        assert_eq!(shown(&world.call("GET", &path, None).await.is(200)), "Fourth");
        assert_eq!(shown(&world.patch(&path, json!([{ "op": "remove", "path": name }])).await.is(200)), Value::Null);
        world.call("PUT", &path, said("Fifth".into())).await.is(200);
        assert_eq!(shown(&world.call("PUT", &path, said(Value::Null)).await.is(200)), Value::Null);
        assert_eq!(count(&format!("{name} pr")).await, 0);
        world.call("DELETE", &path, None).await.is(204);
    }
}

#[tokio::test]
async fn lists_are_filtered_paged_and_cut_to_what_is_asked_for() {
    let world = World::new().await;
    for n in 0..7 {
        world.create(&format!("person-{n}")).await;
    }
    let page = world.call("GET", "/Users?startIndex=3&count=2&attributes=userName", None).await.is(200);
    assert_eq!((&page["totalResults"], &page["startIndex"], &page["itemsPerPage"]), (&json!(7), &json!(3), &json!(2)), "{page}");
    let first = page["Resources"][0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["schemas", "id", "userName"], "{page}");
    let count = async |filter: &str| {
        let filter: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
        world.call("GET", &format!("/Users?filter={filter}"), None).await.is(200)["totalResults"].as_u64().unwrap()
    };
    assert_eq!(count("userName sw \"person\" and externalId eq \"ext-person-3\"").await, 1);
    assert_eq!(count("externalId eq \"EXT-person-3\"").await, 0, "case matters");
    assert_eq!(count("userName co \"SON-4\" or displayName eq \"nobody\"").await, 1);
    assert_eq!(count("active eq true").await, 7);
    assert_eq!(count("not (active eq true)").await, 0);
    assert_eq!(count("emails.value co \"x\"").await, 0);
    for wrong in ["userName eq", "password sw \"a\"", &"(".repeat(200), &format!("userName eq \"{}\"", "x".repeat(3000))] {
        let filter: String = wrong.bytes().map(|byte| format!("%{byte:02x}")).collect();
        world.call("GET", &format!("/Users?filter={filter}"), None).await.is_refused(400, Some("invalidFilter"));
    }
    let without = world.call("GET", "/Users/person-1?excludedAttributes=meta,displayName", None).await.is(200);
    assert!(without.get("meta").is_none() && without.get("displayName").is_none() && without["userName"] == "person-1", "{without}");
    assert_eq!(world.call("GET", "/Users?count=100000", None).await.is(200)["itemsPerPage"], 7);
}

#[tokio::test]
async fn a_version_that_has_moved_on_is_not_overwritten() {
    let world = World::new().await;
    let made = world.create("eve").await;
    let version = made["meta"]["version"].as_str().unwrap().to_owned();
    let put = |name: &str| {
        let mut body = user("eve");
        body["displayName"] = name.into();
        Some(body)
    };
    let known = world.call_with("GET", "/Users/eve", Some(support::TOKEN), None, &[("if-none-match", &version)]).await;
    assert_eq!(known.status, 304);
    world.call_with("PUT", "/Users/eve", Some(support::TOKEN), put("Eve"), &[("if-match", &version)]).await.is(200);
    for (method, body) in [("PUT", put("Other")), ("DELETE", None)] {
        let late = world.call_with(method, "/Users/eve", Some(support::TOKEN), body, &[("if-match", &version)]).await;
        late.is_refused(412, None);
    }
    assert_eq!(world.call("GET", "/Users/eve", None).await.is(200)["displayName"], "Eve");
}

#[tokio::test]
async fn who_was_given_up_comes_back_as_themselves_and_as_nobody_else() {
    let world = World::new().await;
    world.create("eve").await;
    world.patch("/Groups/dba", json!([{ "op": "add", "path": "members", "value": [{ "value": "eve" }] }])).await.is(200);
    world.call("DELETE", "/Users/eve", None).await.is(204);
    world.call("GET", "/Users/eve", None).await.is_refused(404, None);
    world.call("DELETE", "/Users/eve", None).await.is_refused(404, None);
    assert_eq!(world.call("GET", "/Groups/dba", None).await.is(200).get("members"), None);
    let mut another = user("eve");
    another["externalId"] = "somebody-else".into();
    world.call("POST", "/Users", Some(another)).await.is_refused(409, Some("uniqueness"));
    world.call("POST", "/Users", Some(json!({ "userName": "eve" }))).await.is_refused(409, Some("uniqueness"));
    let back = world.create("eve").await;
    assert_eq!((back["active"].as_bool(), back.get("groups")), (Some(true), None::<&Value>), "{back}");
}
