//! Properties of any policies that pass the check: more approvals never turn allow into deny, and the quorum says exactly what it takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use proptest::{prelude::*, sample::select};
use safeconduct_model::{Counted, Operation, Outcome, Quorum};
use safeconduct_policy::{Approvals, Bundle};
use support::*;

const GROUPS: [&str; 3] = ["dba", "owner", "security"];

/// Conditions as people write them, nested a little.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (1..4_u32).prop_map(|count| format!("context.approvals >= {count}")),
        select(&GROUPS[..]).prop_map(|group| format!("context.approved_by.contains(Group::\"{group}\")")),
        Just("context.exact".to_owned()),
        Just("context.asked has ticket".to_owned()),
        Just("principal in Group::\"engineers\"".to_owned()),
        Just("9223372036854775807 + context.now.hour > 0".to_owned()),
        Just("context.now.hour < 24".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("(if context.asked.duration < duration(\"1h\") then {a} else {b})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    let permit = (select(&["read", "write"][..]), condition(), select(&["", "@max_duration(\"5m\")", "@audit(\"strict\")"][..])).prop_map(
        |(action, condition, obligation)| {
            format!("{obligation} permit (principal, action == Action::\"{action}\", resource) when {{ {condition} }};")
        },
    );
    let forbid =
        condition().prop_map(|condition| format!("forbid (principal, action in Action::\"access\", resource) unless {{ {condition} }};"));
    prop_oneof![3 => permit, 1 => forbid]
}

fn policies() -> impl Strategy<Value = Bundle> {
    prop::collection::vec(policy(), 1..5).prop_map(|policies| {
        let text: String = policies.iter().enumerate().map(|(n, policy)| format!("@id(\"p{n}\") {policy}\n")).collect();
        bundle(&text)
    })
}

/// Up to four people, each counting for some groups.
fn approvals() -> impl Strategy<Value = Vec<Counted>> {
    let one = (select(&["bob", "dora", "erin", "finn"][..]), prop::collection::vec(select(&GROUPS[..]), 0..3));
    prop::collection::vec(one.prop_map(|(name, groups)| counted(name, &groups)), 0..5)
}

fn rank(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Deny => 0,
        Outcome::NeedApproval { .. } => 1,
        Outcome::Allow => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn more_approvals_never_turn_allow_into_deny(bundle in policies(), few in approvals(), more in approvals()) {
        let alice = person("alice", &["engineers"]);
        let all: Vec<Counted> = few.iter().chain(&more).cloned().collect();
        for operations in [&[Operation::Read][..], &[Operation::Read, Operation::Write]] {
            let with_few = decide(&bundle, &alice, "db", operations, Approvals::Given(&few));
            let with_all = decide(&bundle, &alice, "db", operations, Approvals::Given(&all));
            prop_assert!(rank(&with_few.outcome) <= rank(&with_all.outcome), "{with_few:?} {with_all:?}");
            prop_assert_eq!(with_few.obligations, with_all.obligations);
        }
    }

    #[test]
    fn the_quorum_says_exactly_what_it_takes(bundle in policies(), given in approvals()) {
        let alice = person("alice", &["engineers"]);
        for operations in [&[Operation::Read][..], &[Operation::Read, Operation::Write]] {
            let unknown = decide(&bundle, &alice, "db", operations, Approvals::Unknown);
            let known = decide(&bundle, &alice, "db", operations, Approvals::Given(&given));
            match &unknown.outcome {
                Outcome::NeedApproval { quorum } => {
                    prop_assert_eq!(Quorum::minimal(quorum.any_of.clone()), quorum.clone());
                    let expected = if quorum.is_met_by(&given) { 2 } else { 1 };
                    prop_assert_eq!(rank(&known.outcome), expected);
                }
                settled => prop_assert_eq!(settled, &known.outcome),
            }
            prop_assert_eq!(&unknown.obligations, &known.obligations);
            prop_assert!(!known.reasons.is_empty());
            prop_assert_eq!(unknown.policy, bundle.hash);
        }
    }
}

/// One policy said twice: by its scope, and by conditions under a scope that names nothing.
#[derive(Clone, Debug)]
struct Twice {
    by_scope: String,
    by_condition: String,
}

fn twice() -> impl Strategy<Value = Twice> {
    let principal =
        select(&["", "principal in Group::\"engineers\"", "principal in Group::\"team-7\"", "principal == Person::\"bob\""][..]);
    let resource = select(&["", "resource == Resource::\"db\"", "resource in Resource::\"db\"", "resource == Resource::\"other\""][..]);
    let effect = select(&["permit", "permit", "forbid"][..]);
    (effect, principal, select(&["read", "write"][..]), resource, condition()).prop_map(|(effect, principal, action, resource, when)| {
        let named = |text: &str, any: &str| if text.is_empty() { any.to_owned() } else { text.to_owned() };
        let scope = [principal, resource].into_iter().filter(|part| !part.is_empty()).map(|part| format!("{part} && ")).collect::<String>();
        Twice {
            by_scope: format!(
                "{effect} ({}, action == Action::\"{action}\", {}) when {{ {when} }};",
                named(principal, "principal"),
                named(resource, "resource")
            ),
            by_condition: format!("{effect} (principal, action == Action::\"{action}\", resource) when {{ {scope}({when}) }};"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rules are looked up by what their scopes name. None is missed by it.
    #[test]
    fn a_scope_says_what_a_condition_would(policies in prop::collection::vec(twice(), 1..6), given in approvals()) {
        let said = |how: fn(&Twice) -> &String| {
            let text: String = policies.iter().enumerate().map(|(n, policy)| format!("@id(\"p{n}\") {}\n", how(policy))).collect();
            let mut files = files(&text);
            files.files.insert("resources/other.toml".to_owned(), RESOURCE.as_bytes().to_vec());
            Bundle::parse(&files).map_err(|problems| show(&problems))
        };
        let (Ok(scoped), Ok(conditioned)) = (said(|policy| &policy.by_scope), said(|policy| &policy.by_condition)) else {
            return Err(TestCaseError::reject("the checker finds a policy without sense"));
        };
        for (name, groups) in [("alice", &["engineers"][..]), ("bob", &["team-7"][..]), ("carol", &[][..])] {
            for operations in [&[Operation::Read][..], &[Operation::Read, Operation::Write]] {
                let who = person(name, groups);
                let (by_scope, by_condition) = (
                    decide(&scoped, &who, "db", operations, Approvals::Given(&given)),
                    decide(&conditioned, &who, "db", operations, Approvals::Given(&given)),
                );
                prop_assert_eq!(&by_scope.outcome, &by_condition.outcome, "{:?} of {}: {:?} {:?}", operations, name, by_scope, by_condition);
                prop_assert_eq!(by_scope.obligations, by_condition.obligations);
            }
        }
    }
}
