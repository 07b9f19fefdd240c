//! The golden table of the demonstration's bundle: every principal, resource and operation has its row, and no answer changes unseen.
//!
//! `UPDATE_GOLDEN=1 cargo test -p safeconduct-policy --test matrix` writes it anew; the difference is then reviewed like code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::path::Path;

use safeconduct_model::{Operation, Principal, PrincipalKind, Resource};
use safeconduct_policy::{AskedContext, Circumstances, FactsContext, NowContext, matrix};
use support::{asked, demo, now, person, principal};

fn principals() -> Vec<Principal> {
    vec![
        person("alice", &["engineers"]),
        person("bob", &["dba"]),
        person("dora", &["dba"]),
        person("carol", &["auditors"]),
        person("ann", &["administrators"]),
        person("abe", &["administrators"]),
        principal("deployer", PrincipalKind::Workload, &["deployers"]),
        person("nobody", &[]),
    ]
}

fn circumstances() -> Vec<Circumstances> {
    let ticket = AskedContext { ticket: Some("OPS-1".to_owned()), ..asked() };
    let now = NowContext { other_administrators: 1, ..now() };
    let facts = FactsContext { statements: 1, commands: ["delete".to_owned()].into(), has_where: Some(false), ..FactsContext::default() };
    let with_facts = NowContext { facts: Some(facts), ..now.clone() };
    let column = |name: &str, exact, asked: &AskedContext, now: &NowContext| Circumstances {
        name: name.to_owned(),
        exact,
        asked: asked.clone(),
        now: now.clone(),
    };
    vec![
        column("window", false, &asked(), &now),
        column("window, ticket", false, &ticket, &now),
        column("exact", true, &asked(), &with_facts),
        column("exact, ticket", true, &ticket, &with_facts),
        column("exact, one administrator", true, &asked(), &NowContext { other_administrators: 0, ..now.clone() }),
    ]
}

#[test]
fn every_answer_of_the_demo_bundle_is_in_the_golden_table() {
    let bundle = demo();
    let table = matrix(&bundle, &principals(), &circumstances());
    for name in bundle.resources.keys() {
        let gateway = name.as_str() == Resource::SAFECONDUCT;
        for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::Connect) {
            for principal in principals() {
                let rows =
                    table.rows.iter().filter(|row| row.resource == *name && row.operation == operation && row.principal == principal.name);
                assert_eq!(rows.count(), usize::from(operation.is_administration() == gateway), "{name} {operation} {}", principal.name);
            }
        }
    }
    let header = "# What the demonstration's bundle answers. Written by the test `matrix` of safeconduct-policy; see its first lines.\n\n";
    let text = format!("{header}{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/policy-matrix/demo.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (expected, found)) in golden.lines().zip(text.lines()).enumerate() {
        assert_eq!(expected, found, "{}:{}", path.display(), line + 1);
    }
    assert_eq!(golden.lines().count(), text.lines().count(), "rows came or went; write the table anew with UPDATE_GOLDEN=1");
}
