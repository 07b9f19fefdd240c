//! What the tests of this crate share: bundles from texts, people, questions.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{collections::BTreeMap, path::Path};

use safeconduct_model::{Counted, Operation, OperationSet, Principal, PrincipalKind, Resource, Timestamp, Ttl};
use safeconduct_policy::{Approvals, AskedContext, Bundle, BundleFiles, Evaluation, NowContext};

/// The files of `demo/bundle`.
pub fn demo_files() -> BundleFiles {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../demo/bundle");
    let mut files = BTreeMap::new();
    for folder in ["", "resources", "policies", "tests"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = entry.file_name().into_string().unwrap();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                files.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    BundleFiles { files }
}

pub fn demo() -> Bundle {
    Bundle::parse(&demo_files()).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

pub fn show(problems: &[safeconduct_policy::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub const RESOURCE: &str = "description = \"a database\"\nkind = \"postgres\"\n[postgres]\nhost = \"localhost\"\ndatabase = \"db\"\ntls.danger_disabled = true\ncredentials = { user = \"u\", password = \"env:PASSWORD\" }\n";

/// A bundle of one database `db` and these policies.
pub fn files(policies: &str) -> BundleFiles {
    BundleFiles {
        files: BTreeMap::from([
            ("resources/db.toml".to_owned(), RESOURCE.as_bytes().to_vec()),
            ("policies/p.cedar".to_owned(), policies.as_bytes().to_vec()),
        ]),
    }
}

pub fn bundle(policies: &str) -> Bundle {
    Bundle::parse(&files(policies)).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

/// Everything wrong with a bundle of one database and these policies.
pub fn problems(policies: &str) -> String {
    Bundle::parse(&files(policies)).map_or_else(|problems| show(&problems), |_| String::new())
}

pub fn person(name: &str, groups: &[&str]) -> Principal {
    principal(name, PrincipalKind::Person, groups)
}

pub fn principal(name: &str, kind: PrincipalKind, groups: &[&str]) -> Principal {
    Principal {
        name: name.parse().unwrap(),
        kind,
        display_name: name.to_owned(),
        created_at: Timestamp::default(),
        disabled: false,
        groups: groups.iter().map(|group| (group.parse().unwrap(), Timestamp::default())).collect(),
        department: None,
        manager: None,
        attributes: std::collections::BTreeMap::new(),
    }
}

pub fn counted(name: &str, groups: &[&str]) -> Counted {
    Counted { approver: name.parse().unwrap(), groups: groups.iter().map(|group| group.parse().unwrap()).collect() }
}

pub fn resource<'b>(bundle: &'b Bundle, name: &str) -> &'b Resource {
    bundle.resource(&name.parse().unwrap()).unwrap()
}

pub fn asked() -> AskedContext {
    AskedContext {
        reason: "a test".to_owned(),
        ticket: None,
        duration: Ttl::from_seconds(600).unwrap(),
        source: None,
        sign_in: "password".to_owned(),
        sign_in_age_seconds: 5,
        claims: std::collections::BTreeSet::new(),
    }
}

pub fn now() -> NowContext {
    NowContext { time: "2026-01-05T12:00:00Z".parse().unwrap(), ..NowContext::default() }
}

/// Asks with the usual circumstances.
pub fn decide(
    bundle: &Bundle,
    who: &Principal,
    what: &str,
    operations: &[Operation],
    approvals: Approvals<'_>,
) -> safeconduct_model::Decision {
    let operations: OperationSet = operations.iter().copied().collect();
    bundle.policy.decide(&Evaluation {
        principal: who,
        resource: resource(bundle, what),
        operations: &operations,
        exact: true,
        asked: &asked(),
        now: &now(),
        approvals,
    })
}
