//! Properties of quorums, operations and obligations: more approvals never un-meet, more operations never un-cover.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use safeconduct_model::{Audit, Bar, Counted, Level, Obligations, Operation, OperationSet, Quorum, Record, Ttl};

const GROUPS: [&str; 4] = ["dba", "owners", "security", "audit"];

fn groups(most: usize) -> impl Strategy<Value = BTreeSet<safeconduct_model::GroupName>> {
    proptest::sample::subsequence(GROUPS.to_vec(), 0..=most).prop_map(|groups| groups.iter().map(|g| g.parse().unwrap()).collect())
}

fn bars() -> impl Strategy<Value = Bar> {
    (0_u32..4, groups(3)).prop_map(|(count, groups)| Bar { count, groups })
}

fn quorums() -> impl Strategy<Value = Quorum> {
    proptest::collection::vec(bars(), 0..4).prop_map(|any_of| Quorum { any_of })
}

/// Approvals, also several by the same person.
fn approvals(most_groups: usize) -> impl Strategy<Value = Vec<Counted>> {
    let one = (0_u8..5, groups(most_groups));
    proptest::collection::vec(one, 0..6)
        .prop_map(|all| all.into_iter().map(|(who, groups)| Counted { approver: format!("p{who}").parse().unwrap(), groups }).collect())
}

/// People who are in one group at most, each approving once.
fn specialists() -> impl Strategy<Value = Vec<Counted>> {
    proptest::collection::vec(proptest::option::of(0..GROUPS.len()), 0..6).prop_map(|all| {
        let one = |(who, group): (usize, Option<usize>)| Counted {
            approver: format!("p{who}").parse().unwrap(),
            groups: group.iter().map(|g| GROUPS[*g].parse().unwrap()).collect(),
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

/// Tries every way to give each group a person of its own: slow and plain.
fn plainly_met(bar: &Bar, approvals: &[Counted]) -> bool {
    let people: BTreeSet<_> = approvals.iter().map(|a| a.approver.clone()).collect();
    let in_group = |who: &safeconduct_model::PrincipalName, group| approvals.iter().any(|a| a.approver == *who && a.groups.contains(group));
    let mut ways: Vec<BTreeSet<safeconduct_model::PrincipalName>> = vec![BTreeSet::new()];
    for group in &bar.groups {
        ways = ways
            .iter()
            .flat_map(|way| {
                people.iter().filter(|p| !way.contains(p) && in_group(p, group)).map(|p| way.iter().cloned().chain([p.clone()]).collect())
            })
            .collect();
    }
    people.len() >= bar.count as usize && !ways.is_empty()
}

fn operations() -> impl Strategy<Value = OperationSet> {
    proptest::sample::subsequence(Operation::ALL.to_vec(), 0..=5).prop_map(|all| all.into_iter().collect())
}

fn obligations() -> impl Strategy<Value = Obligations> {
    let record = prop_oneof![Just(Record::Statements), Just(Record::Full)];
    let audit = prop_oneof![Just(Audit::Journaled), Just(Audit::Strict)];
    let level = prop_oneof![Just(Level::Recorded), Just(Level::Signed), Just(Level::Passkey)];
    (proptest::option::of(1_u64..100), record, audit, level).prop_map(|(seconds, record, audit, level)| Obligations {
        max_duration: seconds.map(|s| Ttl::from_seconds(s).unwrap()),
        record,
        audit,
        level,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f29_a_bar_is_met_exactly_when_each_group_has_a_person_of_its_own(bar in bars(), approvals in approvals(3)) {
        prop_assert_eq!(bar.is_met_by(&approvals), plainly_met(&bar, &approvals));
    }

    #[test]
    fn more_approvals_never_unmeet(quorum in quorums(), some in approvals(3), more in approvals(3)) {
        let all = [some.clone(), more].concat();
        prop_assert!(!quorum.is_met_by(&some) || quorum.is_met_by(&all));
        prop_assert!(quorum.missing(&all) <= quorum.missing(&some));
        prop_assert_eq!(quorum.missing(&some) == 0, quorum.is_met_by(&some));
    }

    #[test]
    fn f29_approving_twice_is_approving_once(quorum in quorums(), approvals in approvals(3)) {
        let twice = [approvals.clone(), approvals.clone()].concat();
        prop_assert_eq!(quorum.is_met_by(&approvals), quorum.is_met_by(&twice));
    }

    #[test]
    fn so_many_more_people_are_enough(quorum in quorums(), approvals in approvals(3)) {
        let missing = quorum.missing(&approvals);
        prop_assume!(missing != u32::MAX);
        let every = |n: u32| Counted { approver: format!("new{n}").parse().unwrap(), groups: GROUPS.iter().map(|g| g.parse().unwrap()).collect() };
        let enough: Vec<Counted> = approvals.iter().cloned().chain((0..missing).map(every)).collect();
        prop_assert!(quorum.is_met_by(&enough));
        if missing > 0 {
            let short: Vec<Counted> = approvals.iter().cloned().chain((1..missing).map(every)).collect();
            prop_assert!(!quorum.is_met_by(&short));
        }
    }

    #[test]
    fn dropping_implied_bars_changes_no_answer(quorum in quorums(), approvals in approvals(3)) {
        let minimal = Quorum::minimal(quorum.any_of.clone());
        prop_assert_eq!(minimal.is_met_by(&approvals), quorum.is_met_by(&approvals));
        prop_assert_eq!(Quorum::minimal(minimal.any_of.clone()), minimal);
    }

    /// Joined, the named groups of both must be filled by different people: never less than both, and exactly both
    /// where nobody is in two groups.
    #[test]
    fn both_together_is_never_less_than_each(a in quorums(), b in quorums(), approvals in approvals(3)) {
        let both = a.and(&b);
        prop_assert!(!both.is_met_by(&approvals) || (a.is_met_by(&approvals) && b.is_met_by(&approvals)));
    }

    #[test]
    fn both_together_is_exactly_both_for_people_of_one_group(a in quorums(), b in quorums(), approvals in specialists()) {
        prop_assert_eq!(a.and(&b).is_met_by(&approvals), a.is_met_by(&approvals) && b.is_met_by(&approvals));
    }

    #[test]
    fn more_operations_never_uncover(held in operations(), more in operations(), needed in operations()) {
        let mut all = held.clone();
        all.extend(&more);
        prop_assert!(!held.covers(&needed) || all.covers(&needed));
    }

    #[test]
    fn f21_covering_is_operation_by_operation_and_the_empty_set_covers_nothing(held in operations(), a in operations(), b in operations()) {
        let mut both = a.clone();
        both.extend(&b);
        prop_assert_eq!(held.covers(&both), held.covers(&a) && held.covers(&b));
        prop_assert!(!OperationSet::new().covers(&a));
    }

    #[test]
    fn unknown_and_administration_are_never_covered_by_accident(held in operations(), needed in operations()) {
        let unrestricted = held.contains(Operation::Unrestricted);
        if held.covers(&needed) {
            prop_assert!(!needed.contains(Operation::Unknown) || unrestricted);
            for op in needed.iter() {
                prop_assert!(op == Operation::Connect || held.contains(op) || (unrestricted && !op.is_administration()));
            }
        }
    }

    #[test]
    fn the_strictest_obligation_wins_in_any_order(a in obligations(), b in obligations(), c in obligations()) {
        prop_assert_eq!(a.and(&b), b.and(&a));
        prop_assert_eq!(a.and(&b).and(&c), a.and(&b.and(&c)));
        prop_assert_eq!(a.and(&a), a.clone());
        let both = a.and(&b);
        prop_assert!(both.record >= a.record && both.audit >= a.audit);
        prop_assert!(a.max_duration.is_none_or(|limit| both.max_duration.is_some_and(|m| m <= limit)));
    }
}

#[test]
fn f29_hundreds_of_people_in_every_group_but_one_are_counted_at_once() {
    let bar = Bar { count: 6, groups: ["a", "b", "c", "d", "e", "f"].iter().map(|g| g.parse().unwrap()).collect() };
    let groups: BTreeSet<_> = ["a", "b", "c", "d", "e"].iter().map(|g| g.parse().unwrap()).collect();
    let crowd: Vec<Counted> = (0..300).map(|n| Counted { approver: format!("p{n}").parse().unwrap(), groups: groups.clone() }).collect();
    assert!(!bar.is_met_by(&crowd));
    assert_eq!(Quorum { any_of: vec![bar] }.missing(&crowd), 1);
}
