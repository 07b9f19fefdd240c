//! The demonstration's bundle parses, and everything its own tests say holds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod support;

#[test]
fn the_demo_bundle_is_valid_and_passes_its_own_tests() {
    let bundle = support::demo();
    let results = bundle.run_tests();
    assert!(results.len() > 40, "cases were lost");
    let failed: Vec<String> = results
        .iter()
        .filter(|result| !result.passed())
        .map(|result| {
            format!("{}:{} {}: {} ({})", result.file, result.line, result.name, result.differences.join("; "), result.reasons.join("; "))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
