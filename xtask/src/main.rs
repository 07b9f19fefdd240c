//! `cargo run -p xtask -- check`: the rules of the house that a compiler does not see.
//!
//! Reads files and says where a rule is broken. Changes nothing, starts nothing, asks no network.

mod documents;
mod permits;
mod purity;
mod rings;
mod sources;
mod words;

use std::{path::PathBuf, process::ExitCode};

use sources::Sources;

/// One broken rule and where.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    message: String,
}

/// What a rule finds in the sources.
type Rule = fn(&Sources) -> Vec<Finding>;

/// Every rule with its name, in the order they are run.
const RULES: [(&str, Rule); 9] = [
    ("arrows between crates point inward", rings::check),
    ("core is pure", purity::check),
    ("only `authorize` mints permits", permits::check),
    ("every source file says what it decides", documents::openings),
    ("ARCHITECTURE.md names every crate", documents::architecture),
    ("every error code has its page", documents::error_pages),
    ("links in documents resolve", documents::links),
    ("decision records have numbers of their own", documents::decisions),
    ("no forbidden words", words::check),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments != ["check"] {
        eprintln!("usage: cargo run -p xtask -- check");
        return ExitCode::from(2);
    }
    let sources = match Sources::read(&root()) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: the sources can't be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut broken = 0;
    for (name, rule) in RULES {
        let findings = rule(&sources);
        println!("{} {name}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for finding in &findings {
            println!("     {}: {}", finding.place, finding.message);
        }
        broken += findings.len();
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The root of the repository.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

fn finding(place: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding { place: place.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_keeps_its_rules() {
        let sources = Sources::read(&root()).unwrap();
        assert!(sources.files.len() > 50, "the sources were not found");
        let findings: Vec<(&str, Finding)> = RULES.iter().flat_map(|(name, rule)| rule(&sources).into_iter().map(|f| (*name, f))).collect();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
