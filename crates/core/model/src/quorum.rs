//! Quorum: who must approve before policy allows. Counts distinct people; one person fills at most one named group.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{GroupName, PrincipalName};

/// Any one of these bars suffices. Minimal: no bar implies another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    pub any_of: Vec<Bar>,
}

/// At least `count` distinct people, among whom each named group is filled by a different person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bar {
    pub count: u32,
    pub groups: BTreeSet<GroupName>,
}

/// One person's approval with the groups it counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub approver: PrincipalName,
    pub groups: BTreeSet<GroupName>,
}

impl Quorum {
    /// True if these approvals fill any bar. An empty list of bars is never filled.
    #[must_use]
    pub fn is_met_by(&self, approvals: &[Counted]) -> bool {
        self.any_of.iter().any(|bar| bar.is_met_by(approvals))
    }

    /// The quorum that fills both: every pair of bars joined, then minimised.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let joined = self.any_of.iter().flat_map(|a| {
            other.any_of.iter().map(|b| {
                let groups: BTreeSet<_> = a.groups.union(&b.groups).cloned().collect();
                let needed = u32::try_from(groups.len()).unwrap_or(u32::MAX);
                Bar { count: a.count.max(b.count).max(needed), groups }
            })
        });
        Self::minimal(joined)
    }

    /// Keeps the bars that no other bar implies.
    #[must_use]
    pub fn minimal(bars: impl IntoIterator<Item = Bar>) -> Self {
        let all: BTreeSet<Bar> = bars.into_iter().collect();
        let any_of = all.iter().filter(|bar| !all.iter().any(|other| other != *bar && other.is_weaker_than(bar))).cloned().collect();
        Self { any_of }
    }

    /// How many more people the nearest bar needs, given these approvals and that the right ones come.
    #[must_use]
    pub fn missing(&self, approvals: &[Counted]) -> u32 {
        self.any_of.iter().map(|bar| bar.missing(approvals)).min().unwrap_or(u32::MAX)
    }
}

impl Bar {
    /// True if these approvals fill this bar.
    #[must_use]
    pub fn is_met_by(&self, approvals: &[Counted]) -> bool {
        self.missing(approvals) == 0
    }

    /// How many more people it needs: for the head count, or for the named groups that nobody fills yet.
    fn missing(&self, approvals: &[Counted]) -> u32 {
        let people = distinct(approvals);
        let heads = u32::try_from(people.len()).unwrap_or(u32::MAX);
        let open = self.groups.len().saturating_sub(filled(&self.groups, &people));
        self.count.saturating_sub(heads).max(u32::try_from(open).unwrap_or(u32::MAX))
    }

    fn is_weaker_than(&self, other: &Self) -> bool {
        self.count <= other.count && self.groups.is_subset(&other.groups)
    }
}

/// One entry per person; the groups of repeated approvals are joined, the head count is not.
fn distinct(approvals: &[Counted]) -> Vec<(PrincipalName, BTreeSet<GroupName>)> {
    let mut people: BTreeMap<PrincipalName, BTreeSet<GroupName>> = BTreeMap::new();
    for approval in approvals {
        people.entry(approval.approver.clone()).or_default().extend(approval.groups.iter().cloned());
    }
    people.into_iter().collect()
}

/// How many of the wanted groups can be filled, each by a different person: a largest matching, by augmenting paths,
/// so that hundreds of people in the same groups take no time.
fn filled(wanted: &BTreeSet<GroupName>, people: &[(PrincipalName, BTreeSet<GroupName>)]) -> usize {
    let mut fills: BTreeMap<usize, &GroupName> = BTreeMap::new();
    wanted.iter().filter(|group| fill(group, people, &mut fills, &mut BTreeSet::new())).count()
}

/// Finds somebody for `group`, moving others to another group they can fill if need be.
fn fill<'a>(
    group: &'a GroupName,
    people: &[(PrincipalName, BTreeSet<GroupName>)],
    fills: &mut BTreeMap<usize, &'a GroupName>,
    asked: &mut BTreeSet<usize>,
) -> bool {
    for (place, (_, groups)) in people.iter().enumerate() {
        if !groups.contains(group) || !asked.insert(place) {
            continue;
        }
        let free = match fills.get(&place).copied() {
            None => true,
            Some(other) => fill(other, people, fills, asked),
        };
        if free {
            fills.insert(place, group);
            return true;
        }
    }
    false
}

impl fmt::Display for Quorum {
    /// `one of dba`, `2 people, one of them from dba`, joined by ` or `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, bar) in self.any_of.iter().enumerate() {
            if place > 0 {
                f.write_str(" or ")?;
            }
            bar.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<&str> = self.groups.iter().map(GroupName::as_str).collect();
        let named = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        match (self.count, groups.as_slice()) {
            (1, []) => f.write_str("one other person"),
            (count, []) => write!(f, "{count} other people"),
            (count, [group]) if count <= 1 => write!(f, "one of {group}"),
            (count, groups) if count <= named => write!(f, "one each of {}", groups.join(", ")),
            (count, [group]) => write!(f, "{count} people, one of them of {group}"),
            (count, groups) => write!(f, "{count} people, among them one each of {}", groups.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(name: &str, groups: &[&str]) -> Counted {
        Counted { approver: name.parse().unwrap(), groups: groups.iter().map(|g| g.parse().unwrap()).collect() }
    }

    fn bar(count: u32, groups: &[&str]) -> Bar {
        Bar { count, groups: groups.iter().map(|g| g.parse().unwrap()).collect() }
    }

    #[test]
    fn f29_a_person_in_two_groups_fills_one_of_them() {
        let both = bar(2, &["dba", "owner"]);
        assert!(!both.is_met_by(&[counted("bob", &["dba", "owner"])]));
        assert!(!both.is_met_by(&[counted("bob", &["dba", "owner"]), counted("bob", &["dba", "owner"])]));
        assert!(!both.is_met_by(&[counted("bob", &["dba"]), counted("dora", &["dba"])]));
        assert!(both.is_met_by(&[counted("bob", &["dba", "owner"]), counted("dora", &["dba"])]));
    }

    #[test]
    fn f21_a_quorum_without_bars_is_never_met() {
        assert!(!Quorum { any_of: vec![] }.is_met_by(&[counted("bob", &["dba"])]));
    }

    #[test]
    fn joining_takes_the_higher_count_and_all_groups() {
        let a = Quorum { any_of: vec![bar(1, &["dba"])] };
        let b = Quorum { any_of: vec![bar(2, &[]), bar(1, &["owner"])] };
        assert_eq!(a.and(&b).any_of, vec![bar(2, &["dba"])].into_iter().chain([]).collect::<Vec<_>>());
        assert_eq!(Quorum::minimal([bar(1, &[]), bar(2, &["dba"])]).any_of, vec![bar(1, &[])]);
        assert_eq!(a.to_string(), "one of dba");
    }
}
