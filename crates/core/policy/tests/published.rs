//! What is published is what is used: the schema and the built-in policies in `docs/reference` are copies of the embedded texts.
//!
//! `UPDATE_GOLDEN=1 cargo test -p safeconduct-policy --test published` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

use std::path::Path;

use safeconduct_policy::{BUILT_IN, Bundle, Policy, SCHEMA};

#[test]
fn published_texts_are_the_embedded_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference");
    for (name, text) in [("policy.cedarschema", SCHEMA), ("built-in.cedar", BUILT_IN)] {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{}", path.display());
    }
}

/// The code blocks of one language in the guide.
fn examples(language: &str) -> Vec<String> {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/guides/policy.md")).unwrap();
    let opening = format!("```{language}\n");
    let blocks = guide.split(&opening).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_guides_examples_are_valid_and_answer_as_it_says() {
    let mut files = support::demo_files();
    files.files.retain(|path, _| path.starts_with("resources/"));
    let policies = examples("cedar");
    assert!(policies.len() > 5);
    for (n, text) in policies.into_iter().enumerate().filter(|(_, text)| !text.contains("@id(\"freeze\")")) {
        files.files.insert(format!("policies/example-{n}.cedar"), text.into_bytes());
    }
    let toml = examples("toml");
    let [resource, cases] = toml.as_slice() else { panic!("the guide shows one resource and one file of cases") };
    files.files.insert("resources/example.toml".to_owned(), resource.clone().into_bytes());
    files.files.insert("tests/example.toml".to_owned(), cases.clone().into_bytes());
    let bundle = Bundle::parse(&files).unwrap_or_else(|problems| panic!("{}", support::show(&problems)));
    let results = bundle.run_tests();
    assert_eq!(results.len(), 4);
    for result in results {
        assert!(result.passed(), "{}: {:?} {:?}", result.name, result.differences, result.reasons);
    }
}

#[test]
fn bundles_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Bundle>();
    shared::<Policy>();
}
