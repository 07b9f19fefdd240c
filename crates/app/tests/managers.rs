//! What a provisioning source says of people, as policy sees it: departments and the like, and managers who approve.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use safeconduct_app::{ExplainQuestion, Provisioner, Said};
use safeconduct_lifecycle::AccessState;
use safeconduct_model::{Operation, Outcome, PersonAttribute};
use safeconduct_testkit::{parsed, ttl, words};

const MANAGED: &str = r#"
@id("payments")
permit (principal is Person, action == Action::"read", resource is Resource)
when { principal has department && principal.department == "Payments" };

@id("managed")
permit (principal is Person, action == Action::"write", resource is Resource)
when { principal has manager && context.approvals >= 1 };

@id("cost-center")
permit (principal is Person, action == Action::"ddl", resource is Resource)
when { principal has costCenter && principal.costCenter == "4711" };

@id("by-manager")
permit (principal is Person, action == Action::"approve", resource in Resource::"orders-db")
when { resource has requester_manager && principal == resource.requester_manager };
"#;

fn source() -> Provisioner {
    Provisioner {
        name: "corp".to_owned(),
        groups: std::collections::BTreeMap::new(),
        new_groups: None,
        domain: Some("example.com".to_owned()),
        links: None,
    }
}

fn said(user_name: &str, department: Option<&str>, manager: Option<&str>) -> Said {
    Said {
        user_name: format!("{user_name}@example.com"),
        department: department.map(str::to_owned),
        manager: manager.map(str::to_owned),
        active: true,
        ..Said::default()
    }
}

/// eve answers to mia, who answers to nobody; max is a manager of nobody yet. eve came before her manager did.
async fn house() -> House {
    let house = House::new().await;
    house.apply(bundle(MANAGED)).await;
    for one in [said("eve", Some("Payments"), Some("Mia@example.com")), said("mia", None, None), said("max", None, None)] {
        house.app.provision_person(&source(), one).await.unwrap();
    }
    house.advance(1).await;
    house
}

async fn say(house: &House, name: &str, said: Said) {
    house.app.reprovision_person(&source(), &parsed(name), |_| Ok::<_, safeconduct_app::Problem>(said)).await.unwrap();
}

#[tokio::test]
async fn the_manager_approves_and_nobody_else_does() {
    let house = house().await;
    let view = house.window("eve", &[Operation::Write], 600).await.unwrap();
    assert_eq!(view.eligible, vec![parsed("mia")]);
    for other in ["max", "bob", "ann"] {
        let refused = house.approve(other, &view).await.unwrap_err();
        assert!(["APPROVE-002", "REQ-008"].contains(&refused.code), "{other}: {refused:?}");
    }
    assert!(matches!(house.approve("mia", &view).await.unwrap().access.state, AccessState::Active { .. }));
    // Who answers to nobody asks for nothing that takes a manager.
    assert_eq!(house.window("mia", &[Operation::Write], 600).await.unwrap_err().code, "RES-001");
}

#[tokio::test]
async fn f15_who_becomes_the_manager_after_the_asking_does_not_approve_it() {
    let house = house().await;
    let view = house.window("eve", &[Operation::Write], 600).await.unwrap();
    house.advance(1).await;
    say(&house, "eve", said("eve", Some("Payments"), Some("max"))).await;
    // Neither the new one, nor the one who is it no longer.
    for other in ["max", "mia"] {
        let refused = house.approve(other, &view).await.unwrap_err();
        assert!(["APPROVE-002", "REQ-008"].contains(&refused.code), "{other}: {refused:?}");
    }
    house.advance(1).await;
    let later = house.window("eve", &[Operation::Write], 900).await.unwrap();
    assert_eq!(later.eligible, vec![parsed("max")]);
    house.approve("max", &later).await.unwrap();
}

#[tokio::test]
async fn f15_a_grant_ends_with_the_manager_who_approved_it() {
    let house = house().await;
    let view = house.window("eve", &[Operation::Write], 600).await.unwrap();
    house.approve("mia", &view).await.unwrap();
    let session = house.open("eve").await;
    permitted(&session, "update orders set status = 'x' where id = 1");
    // Said again, nothing changes.
    say(&house, "eve", said("eve", Some("Payments"), Some("mia"))).await;
    assert!(ended(&session).is_none());
    say(&house, "eve", said("eve", Some("Payments"), None)).await;
    assert!(ended(&session).is_some(), "she answers to nobody, and nobody's approval is left");
}

#[tokio::test]
async fn f15_a_grant_ends_with_the_department_that_gave_it() {
    let house = house().await;
    house.grant("eve", &[Operation::Read], 600).await;
    let session = house.open("eve").await;
    permitted(&session, "select 1");
    say(&house, "eve", said("eve", Some("Marketing"), None)).await;
    assert!(ended(&session).is_some());
    assert_eq!(house.window("eve", &[Operation::Read], 600).await.unwrap_err().code, "RES-001");
}

#[tokio::test]
async fn f15_a_grant_ends_with_the_attribute_that_gave_it() {
    let house = house().await;
    let costs =
        |cost_center: &str| Said { attributes: [(PersonAttribute::CostCenter, cost_center.to_owned())].into(), ..said("eve", None, None) };
    assert_eq!(house.window("eve", &[Operation::Ddl], 600).await.unwrap_err().code, "REQ-002");
    say(&house, "eve", costs("4711")).await;
    house.grant("eve", &[Operation::Ddl], 600).await;
    let session = house.open("eve").await;
    permitted(&session, "create table t (x int)");
    drop(session);
    let house = house.crash().await;
    let session = house.open("eve").await;
    permitted(&session, "create table t (x int)");
    say(&house, "eve", costs("4712")).await;
    assert!(ended(&session).is_some());
    assert_eq!(house.window("eve", &[Operation::Ddl], 600).await.unwrap_err().code, "RES-001");
    // What is not said any more is not so any more.
    say(&house, "eve", costs("4711")).await;
    house.grant("eve", &[Operation::Ddl], 600).await;
    say(&house, "eve", said("eve", None, None)).await;
    assert_eq!(house.window("eve", &[Operation::Ddl], 600).await.unwrap_err().code, "RES-001");
}

#[tokio::test]
async fn policy_is_explained_as_if_something_else_were_said() {
    let house = house().await;
    let claims = r#"@id("cleared") permit (principal is Person, action == Action::"admin", resource is Resource) when { context.asked.claims.contains("a=b") };"#;
    house.apply(bundle(&format!("{MANAGED}{claims}"))).await;
    let question = |who: &str, operation: Operation| ExplainQuestion {
        principal: parsed(who),
        resource: parsed("orders-db"),
        operations: [operation].into_iter().collect(),
        exact: false,
        text: None,
        reason: String::new(),
        ticket: None,
        duration: ttl(60),
        at: None,
        attributes: std::collections::BTreeMap::new(),
        claims: std::collections::BTreeMap::new(),
    };
    let answer =
        |caller: &safeconduct_app::Caller, question| house.app.explain(caller, question).map(|explanation| explanation.decision.outcome);
    let (eve, carol) = (house.caller("eve"), house.caller("carol"));
    let with = ExplainQuestion { attributes: [(PersonAttribute::CostCenter, "4711".to_owned())].into(), ..question("eve", Operation::Ddl) };
    assert_eq!(answer(&eve, question("eve", Operation::Ddl)).unwrap(), Outcome::Deny);
    assert_eq!(answer(&eve, with.clone()).unwrap(), Outcome::Allow);
    assert_eq!(answer(&carol, ExplainQuestion { principal: parsed("deployer"), ..with }).unwrap_err().code, "REQ-001");
    // What is kept of the caller's own sign-in is said of themselves alone.
    let signed_in = safeconduct_app::Caller { claims: [("a".to_owned(), words("b"))].into(), ..eve.clone() };
    let auditor = safeconduct_app::Caller { claims: signed_in.claims.clone(), ..carol };
    let with = ExplainQuestion { claims: signed_in.claims.clone(), ..question("eve", Operation::Admin) };
    assert_eq!(answer(&eve, question("eve", Operation::Admin)).unwrap(), Outcome::Deny);
    assert_eq!(answer(&signed_in, question("eve", Operation::Admin)).unwrap(), Outcome::Allow);
    assert_eq!(answer(&auditor, question("eve", Operation::Admin)).unwrap(), Outcome::Deny);
    assert_eq!(answer(&auditor, with).unwrap(), Outcome::Allow);
}

#[tokio::test]
async fn what_was_said_of_people_is_known_after_a_restart() {
    let house = house().await.crash().await;
    let view = house.window("eve", &[Operation::Write], 600).await.unwrap();
    assert_eq!(view.eligible, vec![parsed("mia")]);
}
