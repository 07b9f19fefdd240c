//! What people read: explanations of a decision, and what a new bundle would change.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use safeconduct_model::{Operation, OperationSet};
use safeconduct_policy::{Approvals, Bundle, Evaluation, Kind, RecordedEvaluation, plan};
use support::*;

fn explain(bundle: &Bundle, who: &safeconduct_model::Principal, what: &str, operations: &[Operation], exact: bool) -> String {
    let explanation = bundle.policy.explain(&Evaluation {
        principal: who,
        resource: resource(bundle, what),
        operations: &operations.iter().copied().collect(),
        exact,
        asked: &asked(),
        now: &now(),
        approvals: Approvals::Unknown,
    });
    let text = explanation.to_string();
    text.rsplit_once("\npolicy ").map_or(text.clone(), |(text, _)| text.to_owned())
}

#[test]
fn a_denial_names_the_condition_that_is_not_met() {
    let demo = demo();
    let alice = person("alice", &["engineers"]);
    assert_eq!(
        explain(&demo, &alice, "orders-db", &[Operation::Ddl], false),
        "deny\n  no policy allows `alice` ddl on `orders-db`\nddl: deny\n  `engineers-alter-orders` would permit, but this is not met (policies/orders.cedar:28):\n    context.exact"
    );
    assert_eq!(
        explain(&demo, &alice, "billing-db", &[Operation::Read], false),
        "deny\n  `high-needs-ticket` forbids read on `billing-db`\nread: deny\n  forbidden by `high-needs-ticket` (policies/billing.cedar:13)"
    );
    assert_eq!(
        explain(&demo, &person("carol", &["auditors"]), "orders-db", &[Operation::Read], false),
        "deny\n  no policy allows `carol` read on `orders-db`\nread: deny\n  no policy speaks about this principal, operation and resource"
    );
}

#[test]
fn an_answer_names_who_must_approve_and_where_it_is_written() {
    let text = explain(&demo(), &person("alice", &["engineers"]), "orders-db", &[Operation::Read, Operation::Write], true);
    assert_eq!(
        text,
        "need approval: one of dba\n  `engineers-change-orders` allows, once approved, write on `orders-db`\n  `engineers-read-orders` allows, once approved, read on `orders-db`\nread: allow\n  permitted by `engineers-read-orders` (policies/orders.cedar:3)\nwrite: need approval: one of dba\n  permitted by `engineers-change-orders` (policies/orders.cedar:11)\nfor at most 30m"
    );
}

#[test]
fn an_unless_that_is_met_is_a_near_miss_too() {
    let bundle = bundle("@id(\"n\")\npermit (principal, action == Action::\"read\", resource)\nunless { context.exact };");
    let text = explain(&bundle, &person("alice", &[]), "db", &[Operation::Read], true);
    assert!(text.ends_with("`n` would permit, but this is met, but must not be (policies/p.cedar:3):\n    context.exact"), "{text}");
}

#[test]
fn a_rule_no_policy_can_lift_is_explained_as_such() {
    let text = explain(&demo(), &person("bob", &["dba"]), "orders-db", &[Operation::Unrestricted], true);
    assert_eq!(text, "deny\n  `orders-db` does not allow unrestricted grants (`danger_unrestricted` is not set)");
}

#[test]
fn a_plan_shows_resources_policies_and_decisions_that_change() {
    let old = demo();
    let mut files = demo_files();
    let edit = |files: &mut safeconduct_policy::BundleFiles, path: &str, from: &str, to: &str| {
        let text = String::from_utf8(files.files.get(path).unwrap().clone()).unwrap();
        assert!(text.contains(from));
        files.files.insert(path.to_owned(), text.replacen(from, to, 1).into_bytes());
    };
    edit(&mut files, "resources/orders-db.toml", "sensitivity = \"medium\"", "sensitivity = \"high\"");
    edit(&mut files, "policies/dba.cedar", "@max_duration(\"8h\")", "@max_duration(\"1h\")");
    edit(&mut files, "policies/orders.cedar", "engineers-read-orders", "readers");
    files.files.remove("resources/billing-db.toml");
    files.files.remove("policies/billing.cedar");
    edit(&mut files, "policies/dba.cedar", "Resource::\"billing-db\"", "Resource::\"orders-db\"");
    files.files.retain(|path, _| !path.starts_with("tests/"));
    let new = Bundle::parse(&files).unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let recorded = |label: &str, resource: &str, operation| RecordedEvaluation {
        label: label.to_owned(),
        principal: person("bob", &["dba"]),
        resource: resource.parse().unwrap(),
        operations: OperationSet::from_iter([operation]),
        exact: true,
        asked: safeconduct_policy::AskedContext { ticket: Some("T".to_owned()), ..asked() },
        now: now(),
    };
    let recent = [
        recorded("one", "orders-db", Operation::Read),
        recorded("two", "billing-db", Operation::Read),
        recorded("three", "orders-db", Operation::Write),
    ];
    let plan = plan(Some(&old), &new, &recent);
    let resources: Vec<(&str, Kind)> = plan.resources.iter().map(|change| (change.name.as_str(), change.kind)).collect();
    assert_eq!(resources, [("billing-db", Kind::Removed), ("orders-db", Kind::Changed)]);
    let policies: Vec<(&str, Kind)> = plan.policies.iter().map(|change| (change.policy_id.as_str(), change.kind)).collect();
    assert_eq!(
        policies,
        [
            ("dba-approve-billing", Kind::Changed),
            ("dba-read", Kind::Changed),
            ("engineers-read-billing", Kind::Removed),
            ("engineers-read-orders", Kind::Removed),
            ("high-needs-ticket", Kind::Removed),
            ("readers", Kind::Added),
        ]
    );
    let text = plan.to_string();
    for expected in [
        "~ resource orders-db\n    sensitivity: medium -> high",
        "- resource billing-db",
        "    - @max_duration(\"8h\")",
        "    + @max_duration(\"1h\")",
        "! one bob read on orders-db: allow [at most 8h] -> allow [at most 1h]",
        "! two bob read on billing-db: allow [at most 8h] -> deny (no such resource)",
        "2 of 3 recent access requests would be decided differently",
    ] {
        assert!(text.contains(expected), "expected {expected}\nfound {text}");
    }
    assert!(safeconduct_policy::plan(Some(&old), &demo(), &recent).is_empty());
    assert!(safeconduct_policy::plan(None, &old, &[]).to_string().starts_with("first policy "));
}
