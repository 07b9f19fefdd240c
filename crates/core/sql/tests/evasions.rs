//! The corpus of evasions (`tests/corpus/evasions`): every text needs exactly the operations written above it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use safeconduct_sql::{FunctionClasses, facts};
use support::evasions::{Case, cases};

fn check(file: &str, at_least: usize) {
    let cases = cases(file);
    assert!(cases.len() >= at_least, "{file} has {} cases", cases.len());
    let mut wrong = Vec::new();
    for Case { expected, about, text } in &cases {
        let found = facts(text, &FunctionClasses::default());
        let needs = if found.unparsable.is_some() { "unparsable".to_owned() } else { found.operations.to_string() };
        if needs != *expected {
            let why: Vec<_> = found.statements.iter().flat_map(|statement| &statement.why).collect();
            wrong.push(format!("{about}\n    {text}\n    expected {expected}, found {needs} {why:?} {:?}", found.unparsable));
        }
        if found.unparsable.is_some() {
            assert_eq!(found.operations.to_string(), "unknown", "{text}");
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn f30_statements_that_hide_in_others() {
    check("f30-statements.sql", 150);
}

#[test]
fn f31_functions_with_effects() {
    check("f31-functions.sql", 90);
}

#[test]
fn f32_names_and_settings_that_change_meaning() {
    check("f32-meaning.sql", 70);
}

#[test]
fn f35_texts_read_as_the_server_reads_them() {
    check("f35-parsing.sql", 30);
}
