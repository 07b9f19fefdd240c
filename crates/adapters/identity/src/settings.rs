//! What an operator sets: `[identity.NAME]`. Checked as a whole: what is wrong is said all at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use safeconduct_lifecycle::ADMINISTRATORS;
use safeconduct_model::{GroupName, PrincipalName, SecretRef, TokenScope, TokenScopes, Ttl};
use serde::Deserialize;

use crate::outward::is_permitted;

/// Most claims of one token that are kept.
const MOST_KEPT: usize = 16;
/// Longest that what a workload gets for a token lasts, in seconds.
const LONGEST_EXCHANGED: u64 = 3600;

/// A provider as it is written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    issuer: String,
    /// Without it nobody signs in by it: it vouches for workloads alone.
    client_id: Option<String>,
    client_secret: Option<String>,
    #[serde(default)]
    workloads: Vec<WorkloadSettings>,
    title: Option<String>,
    scopes: Option<Vec<String>>,
    groups_claim: Option<String>,
    name_claim: Option<String>,
    #[serde(default)]
    create_people: bool,
    #[serde(default)]
    groups: BTreeMap<String, String>,
    #[serde(default)]
    people: BTreeMap<String, String>,
    #[serde(default)]
    keep: Vec<String>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    danger_local: bool,
    #[serde(default)]
    danger_administrators: bool,
}

/// A workload as it is written down: who brings a token of this issuer for this audience, with these claims.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadSettings {
    name: String,
    audience: String,
    claims: BTreeMap<String, String>,
    #[serde(default)]
    keep: Vec<String>,
    lasts: Option<String>,
    scopes: Option<BTreeSet<TokenScope>>,
}

/// A workload here, and what its token says.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub name: PrincipalName,
    pub audience: String,
    /// Each must be so; a `*` at the end stands for any end.
    pub claims: BTreeMap<String, String>,
    /// Claims that policy and approvers are shown.
    pub keep: Vec<String>,
    pub lasts: Ttl,
    /// What it gets is narrowed to these at most.
    pub scopes: Option<TokenScopes>,
}

/// A provider that makes sense.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) name: String,
    /// As it is written: it is compared, not understood.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// `None` if nobody signs in by it.
    pub(crate) client_secret: Option<SecretRef>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) title: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) groups_claim: String,
    pub(crate) name_claim: String,
    pub(crate) create_people: bool,
    /// Groups here by what they are called there.
    pub(crate) groups: BTreeMap<String, GroupName>,
    /// People here by their subject there.
    pub(crate) people: BTreeMap<String, PrincipalName>,
    /// Claims of a person's ID token that policy and approvers are shown.
    pub(crate) keep: Vec<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) local: bool,
}

impl Identity {
    /// Its name in the settings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who it says to be.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Groups here whose members it decides at sign-in.
    pub fn owned_groups(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.values()
    }
}

/// Checks every provider, and all together.
///
/// # Errors
/// Every mistake, with its key.
pub fn check(settings: BTreeMap<String, Settings>) -> Result<Vec<Identity>, Vec<String>> {
    let mut problems = Vec::new();
    let (mut owners, mut issuers) = (BTreeMap::new(), BTreeMap::new());
    let mut all = Vec::new();
    for (name, written) in settings {
        let Some(identity) = written.check(name, &mut problems) else { continue };
        for group in identity.groups.values().collect::<BTreeSet<_>>() {
            if let Some(other) = owners.insert(group.clone(), identity.name.clone()) {
                // Each would take away what the other gives.
                problems.push(format!("`identity.{}.groups`: `{group}` is decided by `identity.{other}` already", identity.name));
            }
        }
        if let Some(other) = issuers.insert(identity.issuer.clone(), identity.name.clone()) {
            problems.push(format!(
                "`identity.{}.issuer` is that of `identity.{other}`: nobody could say which of them signed in",
                identity.name
            ));
        }
        all.push(identity);
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

impl Settings {
    fn check(self, name: String, problems: &mut Vec<String>) -> Option<Identity> {
        let before = problems.len();
        let at = |key: &str| format!("identity.{name}.{key}");
        if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            problems.push(format!("`identity.{name}`: a provider's name has lower case letters, digits and `-`"));
        }
        match self.issuer.parse::<reqwest::Url>() {
            Ok(url) if url.scheme() == "https" && url.query().is_none() && url.fragment().is_none() => {
                if !is_permitted(&url, self.danger_local) {
                    problems.push(format!(
                        "`{}` leads to this machine or its own network: say `danger_local = true` if that is meant",
                        at("issuer")
                    ));
                }
            }
            _ => problems.push(format!("`{}` must be an https URL without query", at("issuer"))),
        }
        let client_secret = match (&self.client_id, self.client_secret) {
            (None, None) if !self.workloads.is_empty() => None,
            (Some(id), Some(secret)) if !id.is_empty() => {
                secret.parse().map_err(|error| problems.push(format!("`{}`: {error}", at("client_secret")))).ok()
            }
            _ => {
                problems.push(format!("`{}` and `client_secret` come together; without both, there must be `workloads`", at("client_id")));
                None
            }
        };
        if !self.keep.is_empty() && self.client_id.is_none() {
            problems
                .push(format!("`{}` is of people who sign in, and without `client_id` nobody does: workloads have their own", at("keep")));
        }
        if let Err(why) = check_keep(&self.keep) {
            problems.push(format!("`{}` {why}", at("keep")));
        }
        let workloads = self.workloads.into_iter().filter_map(|written| {
            let checked = written.check();
            checked.map_err(|why| problems.push(format!("`{}`: {why}", at("workloads")))).ok()
        });
        let workloads = workloads.collect();
        let mut groups = BTreeMap::new();
        for (theirs, ours) in self.groups {
            match ours.parse::<GroupName>() {
                Ok(group) if group.as_str() == ADMINISTRATORS && !self.danger_administrators => problems.push(format!(
                    "`{}`: who runs the provider would make administrators here: say `danger_administrators = true` if that is meant",
                    at("groups")
                )),
                Ok(group) => drop(groups.insert(theirs, group)),
                Err(error) => problems.push(format!("`{}`: {error}", at("groups"))),
            }
        }
        let mut people = BTreeMap::new();
        for (subject, ours) in self.people {
            match ours.parse::<PrincipalName>() {
                Ok(person) => drop(people.insert(subject, person)),
                Err(error) => problems.push(format!("`{}`: {error}", at("people"))),
            }
        }
        let mut scopes = self.scopes.unwrap_or_else(|| vec!["profile".to_owned()]);
        if scopes.iter().any(|scope| scope.is_empty() || scope.bytes().any(|b| !b.is_ascii_graphic() || b == b'"' || b == b'\\')) {
            problems.push(format!("`{}` must be words without blanks", at("scopes")));
        }
        scopes.retain(|scope| scope != "openid");
        scopes.insert(0, "openid".to_owned());
        if problems.len() > before {
            return None;
        }
        Some(Identity {
            title: self.title.unwrap_or_else(|| name.clone()),
            name,
            issuer: self.issuer,
            client_id: self.client_id.unwrap_or_default(),
            client_secret,
            workloads,
            scopes,
            groups_claim: self.groups_claim.unwrap_or_else(|| "groups".to_owned()),
            name_claim: self.name_claim.unwrap_or_else(|| "preferred_username".to_owned()),
            create_people: self.create_people,
            groups,
            people,
            keep: self.keep,
            ca_file: self.ca_file,
            local: self.danger_local,
        })
    }
}

impl WorkloadSettings {
    fn check(self) -> Result<Workload, String> {
        let lasts: Ttl = self.lasts.as_deref().unwrap_or("15m").parse().map_err(|error| format!("`lasts`: {error}"))?;
        if lasts.seconds() > LONGEST_EXCHANGED {
            return Err("`lasts` is at most an hour: the token it was exchanged for is short-lived, too".to_owned());
        }
        let name = self.name.parse().map_err(|error| format!("`name`: {error}"))?;
        if self.audience.is_empty() {
            return Err(format!("`{name}`: `audience` must not be empty"));
        }
        // Whoever may have any token of the issuer would be this workload.
        let says_who = |(claim, value): (&String, &String)| !claim.is_empty() && !value.trim_end_matches('*').is_empty();
        if self.claims.is_empty() || !self.claims.iter().all(says_who) {
            return Err(format!("`{name}`: `claims` must say which tokens are its own, such as {{ sub = \"repo:acme/orders:*\" }}"));
        }
        check_keep(&self.keep).map_err(|why| format!("`{name}`: `keep` {why}"))?;
        let scopes = self.scopes.map(TokenScopes::try_from).transpose().map_err(|error| format!("`scopes`: {error}"))?;
        Ok(Workload { name, audience: self.audience, claims: self.claims, keep: self.keep, lasts, scopes })
    }
}

/// Names that can be told from what they name when both are shown as `name=value`.
fn check_keep(keep: &[String]) -> Result<(), String> {
    let plain = |claim: &String| !claim.is_empty() && claim.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte));
    if keep.len() > MOST_KEPT || !keep.iter().all(plain) {
        return Err(format!("names at most {MOST_KEPT} claims, of letters, digits and `_-.:/`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(more: &str, issuer: &str) -> String {
        let text = format!(r#"{{ "corp": {{ "issuer": "{issuer}", "client_id": "sc", "client_secret": "env:S" {more} }} }}"#);
        check(serde_json::from_str(&text).unwrap()).map(|_| String::new()).unwrap_or_else(|problems| problems.join("\n"))
    }

    #[test]
    fn scopes_of_a_workload_are_scopes_of_tokens_and_one_at_least() {
        let with = |scopes: &str| {
            let workload = format!(r#"{{ "name": "ci", "audience": "g", "claims": {{ "sub": "x" }}, "scopes": {scopes} }}"#);
            let text = format!(r#"{{ "corp": {{ "issuer": "https://idp.example", "workloads": [{workload}] }} }}"#);
            serde_json::from_str(&text).map_err(|error| vec![error.to_string()]).and_then(check)
        };
        let narrowed = with(r#"["ledger", "read"]"#).unwrap();
        assert_eq!(narrowed[0].workloads[0].scopes.as_ref().unwrap().to_string(), "read ledger");
        for wrong in ["[]", r#"["all"]"#, r#""read""#] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn f45_an_issuer_on_this_machine_is_said_to_be_meant() {
        for issuer in ["https://localhost:1", "https://127.0.0.1", "https://[::1]:4", "https://169.254.169.254/x"] {
            assert!(problems("", issuer).contains("danger_local"), "{issuer}");
            assert_eq!(problems(r#", "danger_local": true"#, issuer), "", "{issuer}");
        }
        for issuer in ["http://idp.example", "https://idp.example/?a=b", "idp", "https://u:p@idp.example"] {
            assert_ne!(problems("", issuer), "", "{issuer}");
        }
        assert_eq!(problems("", "https://idp.example/tenant"), "");
    }

    #[test]
    fn nobody_outside_makes_administrators_by_accident() {
        let more = r#", "groups": { "boss": "administrators" }"#;
        assert!(problems(more, "https://idp.example").contains("danger_administrators"));
        assert_eq!(problems(&format!(r#"{more}, "danger_administrators": true"#), "https://idp.example"), "");
    }

    #[test]
    fn a_workload_is_told_from_all_others_of_its_issuer() {
        let problems = |workload: &str| {
            let text = format!(r#"{{ "ci": {{ "issuer": "https://ci.example", "workloads": [{workload}] }} }}"#);
            check(serde_json::from_str(&text).unwrap()).map(|_| String::new()).unwrap_or_else(|problems| problems.join("\n"))
        };
        let with = |more: &str| problems(&format!(r#"{{ "name": "deployer", "audience": "gate", {more} }}"#));
        assert_eq!(with(r#""claims": { "sub": "repo:acme/orders:*" }"#), "");
        for wrong in
            [r#""claims": {}"#, r#""claims": { "sub": "*" }"#, r#""claims": { "sub": "" }"#, r#""claims": { "sub": "a" }, "lasts": "2h""#]
        {
            assert_ne!(with(wrong), "", "{wrong}");
        }
        assert!(problems("").contains("workloads"), "it does nothing at all");
    }

    #[test]
    fn claims_are_kept_of_those_who_sign_in_few_and_with_plain_names() {
        let with = |keep: &str| problems(&format!(r#", "keep": {keep}"#), "https://idp.example");
        assert_eq!(with(r#"["acr", "https://example.com/clearance", "urn:x:y"]"#), "");
        let many: Vec<String> = (0..17).map(|n| format!("c{n}")).collect();
        for wrong in [r#"[""]"#, r#"["a=b"]"#, r#"["a b"]"#, r#"["a\u202eb"]"#, &serde_json::to_string(&many).unwrap()] {
            assert!(with(wrong).contains("`identity.corp.keep` names at most 16 claims"), "{wrong}: {}", with(wrong));
        }
        let workload = r#"{ "name": "ci", "audience": "g", "claims": { "sub": "x" } }"#;
        let text = format!(r#"{{ "ci": {{ "issuer": "https://ci.example", "workloads": [{workload}], "keep": ["acr"] }} }}"#);
        assert!(check(serde_json::from_str(&text).unwrap()).unwrap_err()[0].contains("`identity.ci.keep`"));
    }

    #[test]
    fn a_group_has_one_owner() {
        let one = |name: &str, host: &str| {
            format!(
                r#""{name}": {{ "issuer": "https://{host}", "client_id": "sc", "client_secret": "env:S", "groups": {{ "a": "dba" }} }}"#
            )
        };
        let text = format!("{{ {}, {} }}", one("a", "a.example"), one("b", "b.example"));
        let problems = check(serde_json::from_str(&text).unwrap()).unwrap_err();
        assert!(problems[0].contains("decided by `identity.a`"), "{problems:?}");
        let text = format!("{{ {}, {} }}", one("a", "a.example"), one("b", "a.example").replace("dba", "sre"));
        assert!(check(serde_json::from_str(&text).unwrap()).unwrap_err()[0].contains("issuer"));
    }
}
