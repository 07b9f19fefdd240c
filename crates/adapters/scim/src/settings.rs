//! What an operator sets: `[scim]`. Checked as a whole: what is wrong is said all at once.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_app::Provisioner;
use safeconduct_lifecycle::ADMINISTRATORS;
use safeconduct_model::{Digest, GroupName, SecretRef};
use serde::Deserialize;
use zeroize::Zeroizing;

/// Shortest token, in bytes: nobody guesses it.
const SHORTEST_TOKEN: usize = 32;

/// The table as it is written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    provider: String,
    token: String,
    #[serde(default)]
    groups: BTreeMap<String, String>,
    new_groups: Option<String>,
    domain: Option<String>,
    #[serde(default)]
    external_id_is_subject: bool,
    #[serde(default)]
    danger_administrators: bool,
}

/// Settings that make sense.
#[derive(Clone, Debug)]
pub struct Scim {
    pub provisioner: Provisioner,
    /// Where its token is.
    pub token: SecretRef,
}

/// A token that could be guessed, or can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeakToken;

impl std::fmt::Display for WeakToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the token of `scim` has fewer than {SHORTEST_TOKEN} bytes, or characters other than visible ASCII")
    }
}

impl std::error::Error for WeakToken {}

impl Settings {
    /// Checks the settings. `issuers` are those of the identity providers by name, `owned` the groups that those decide about.
    ///
    /// # Errors
    /// Every mistake, with its key.
    pub fn check(self, issuers: &BTreeMap<String, String>, owned: &BTreeSet<GroupName>) -> Result<Scim, Vec<String>> {
        let mut problems = Vec::new();
        let name = &self.provider;
        if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            problems.push("`scim.provider`: a provider's name has lower case letters, digits and `-`".to_owned());
        }
        let token = self.token.parse::<SecretRef>().map_err(|error| problems.push(format!("`scim.token`: {error}"))).ok();
        let mut groups = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (theirs, ours) in self.groups {
            match ours.parse::<GroupName>() {
                Ok(group) if group.as_str() == ADMINISTRATORS && !self.danger_administrators => problems.push(
                    "`scim.groups`: who runs the provider would make administrators here: say `danger_administrators = true` if that is meant"
                        .to_owned(),
                ),
                Ok(group) if owned.contains(&group) => {
                    problems.push(format!("`scim.groups`: `{group}` is decided at sign-in by an identity provider already"));
                }
                Ok(group) if !seen.insert(group.clone()) => problems.push(format!("`scim.groups`: `{group}` has two names there")),
                Ok(group) => drop(groups.insert(theirs, group)),
                Err(error) => problems.push(format!("`scim.groups`: {error}")),
            }
        }
        if let Some(prefix) = &self.new_groups {
            if prefix.len() > 30 || prefix.parse::<GroupName>().is_err() {
                problems.push("`scim.new_groups` must be the beginning of a group name, such as `corp-`".to_owned());
            } else if ADMINISTRATORS.starts_with(prefix.as_str()) || owned.iter().any(|group| group.as_str().starts_with(prefix.as_str())) {
                problems.push(format!("`scim.new_groups`: groups that begin with `{prefix}` are not this provider's alone"));
            }
        }
        let domain = self.domain.map(|domain| domain.to_lowercase());
        if domain.as_ref().is_some_and(|domain| domain.is_empty() || domain.contains(|c: char| c == '@' || c.is_whitespace())) {
            problems.push("`scim.domain` must be what follows `@` in user names, such as `example.com`".to_owned());
        }
        let links = if self.external_id_is_subject {
            let issuer = issuers.get(&self.provider).cloned();
            if issuer.is_none() {
                problems.push(format!("`scim.external_id_is_subject`: there is no `[identity.{}]` to sign in by", self.provider));
            }
            issuer
        } else {
            None
        };
        match token {
            Some(token) if problems.is_empty() => {
                let provisioner = Provisioner { name: self.provider, groups, new_groups: self.new_groups, domain, links };
                Ok(Scim { provisioner, token })
            }
            _ => Err(problems),
        }
    }
}

/// What is kept of a token.
pub(crate) fn digest_of(token: &Zeroizing<String>) -> Result<Digest, WeakToken> {
    if token.len() >= SHORTEST_TOKEN && token.len() <= 1024 && token.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Digest::of_bytes(token.as_bytes()))
    } else {
        Err(WeakToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_said_and_administrators_are_not_governed_by_default() {
        let settings = |groups: &[(&str, &str)], danger: bool| Settings {
            provider: "corp".to_owned(),
            token: "env:SCIM".to_owned(),
            groups: groups.iter().map(|(theirs, ours)| ((*theirs).to_owned(), (*ours).to_owned())).collect(),
            new_groups: None,
            domain: None,
            external_id_is_subject: false,
            danger_administrators: danger,
        };
        let check = |settings: Settings| {
            settings.check(&BTreeMap::new(), &BTreeSet::from(["sre".parse::<GroupName>().unwrap_or_else(|_| unreachable!())]))
        };
        assert!(check(settings(&[("Admins", "dba")], false)).is_ok());
        assert!(check(settings(&[("Admins", "administrators")], true)).is_ok());
        for (wrong, word) in [
            (settings(&[("Admins", "administrators")], false), "danger_administrators"),
            (settings(&[("SRE", "sre")], false), "decided at sign-in"),
            (settings(&[("A", "dba"), ("B", "dba")], false), "two names"),
            (Settings { provider: "Corp Inc".to_owned(), ..settings(&[], false) }, "scim.provider"),
            (Settings { token: "secret".to_owned(), ..settings(&[], false) }, "scim.token"),
            (Settings { new_groups: Some("ad".to_owned()), ..settings(&[], false) }, "not this provider's alone"),
            (Settings { new_groups: Some(String::new()), ..settings(&[], false) }, "scim.new_groups"),
            (Settings { external_id_is_subject: true, ..settings(&[], false) }, "identity.corp"),
            (Settings { domain: Some("a@b".to_owned()), ..settings(&[], false) }, "scim.domain"),
        ] {
            let problems = check(wrong).err().unwrap_or_default();
            assert!(problems.iter().any(|problem| problem.contains(word)), "{word}: {problems:?}");
        }
    }
}
