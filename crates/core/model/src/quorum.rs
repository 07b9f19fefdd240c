//! Quorum: who must approve before policy allows. Counts distinct people; one person fills at most one named group.

use std::{collections::BTreeSet, fmt};

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

    /// How many more people the nearest bar needs, given these approvals.
    #[must_use]
    pub fn missing(&self, approvals: &[Counted]) -> u32 {
        let have = u32::try_from(distinct(approvals).len()).unwrap_or(u32::MAX);
        self.any_of
            .iter()
            .map(|bar| if bar.is_met_by(approvals) { 0 } else { bar.count.saturating_sub(have).max(1) })
            .min()
            .unwrap_or(u32::MAX)
    }
}

impl Bar {
    /// True if these approvals fill this bar.
    #[must_use]
    pub fn is_met_by(&self, approvals: &[Counted]) -> bool {
        let people = distinct(approvals);
        let wanted: Vec<&GroupName> = self.groups.iter().collect();
        let needed = usize::try_from(self.count).unwrap_or(usize::MAX);
        people.len() >= needed && can_fill(&wanted, &people, &mut BTreeSet::new())
    }

    fn is_weaker_than(&self, other: &Self) -> bool {
        self.count <= other.count && self.groups.is_subset(&other.groups)
    }
}

/// One entry per person; the groups of repeated approvals are joined, the head count is not.
fn distinct(approvals: &[Counted]) -> Vec<(PrincipalName, BTreeSet<GroupName>)> {
    let mut people: std::collections::BTreeMap<PrincipalName, BTreeSet<GroupName>> = std::collections::BTreeMap::new();
    for approval in approvals {
        people.entry(approval.approver.clone()).or_default().extend(approval.groups.iter().cloned());
    }
    people.into_iter().collect()
}

/// Assigns a different person to each wanted group, by trying all ways: policy names at most six groups.
fn can_fill(wanted: &[&GroupName], people: &[(PrincipalName, BTreeSet<GroupName>)], taken: &mut BTreeSet<usize>) -> bool {
    let Some((group, rest)) = wanted.split_first() else { return true };
    people.iter().enumerate().any(|(place, (_, groups))| {
        if !groups.contains(*group) || !taken.insert(place) {
            return false;
        }
        let filled = can_fill(rest, people, taken);
        taken.remove(&place);
        filled
    })
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
