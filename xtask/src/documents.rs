//! Documents: they name what exists, they link to what exists, and every error a person can meet has a page.

use std::collections::BTreeSet;

use crate::{
    Finding, finding,
    sources::{File, Sources},
};

/// What every page in `docs/errors` has, in this order.
const ERROR_SECTIONS: [&str; 3] = ["## What it means", "## Why", "## What to do"];

const ERROR_INDEX: &str = "docs/errors/README.md";

/// Names of algorithms that look like codes.
const NO_CODES: [&str; 4] = ["SHA", "AES", "MD", "RFC"];

/// Every source file opens with what it decides.
pub fn openings(sources: &Sources) -> Vec<Finding> {
    sources
        .rust()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| finding(&file.path, "does not open with `//!` and what it decides"))
        .collect()
}

/// ARCHITECTURE.md names every crate by its directory and stays short.
pub fn architecture(sources: &Sources) -> Vec<Finding> {
    const PAGE: &str = "ARCHITECTURE.md";
    let Some(page) = sources.file(PAGE) else { return vec![finding(PAGE, "is missing")] };
    let missing = sources.crates().into_iter().filter(|at| !page.text.contains(&format!("`{at}`")));
    let mut findings: Vec<Finding> = missing.map(|at| finding(PAGE, format!("does not name the crate `{at}`"))).collect();
    let words = page.text.split_whitespace().count();
    if words >= 1_500 {
        findings.push(finding(PAGE, format!("has {words} words; it must stay under 1,500")));
    }
    findings
}

/// Codes in the code and pages in `docs/errors` are the same set, and every page has its parts.
pub fn error_pages(sources: &Sources) -> Vec<Finding> {
    let in_code: BTreeSet<(String, String)> = sources
        .rust()
        .filter(|file| ["crates/app/", "crates/adapters/", "crates/bin/"].iter().any(|at| file.path.starts_with(at)))
        .flat_map(|file| codes(&file.text).into_iter().map(|code| (code, file.path.clone())))
        .collect();
    let used: BTreeSet<&str> = in_code.iter().map(|(code, _)| code.as_str()).collect();
    let mut findings = Vec::new();
    for (code, path) in &in_code {
        if sources.file(&format!("docs/errors/{code}.md")).is_none() {
            findings.push(finding(path, format!("error code {code} has no page docs/errors/{code}.md")));
        }
    }
    for page in sources.documents() {
        let Some(code) = page.path.strip_prefix("docs/errors/").and_then(|name| name.strip_suffix(".md")) else { continue };
        if code == "README" {
            continue;
        }
        if !used.contains(code) {
            findings.push(finding(&page.path, "no code in the product has this page"));
        }
        if sources.file(ERROR_INDEX).is_some_and(|index| !index.text.contains(&format!("[{code}]({code}.md)"))) {
            findings.push(finding(ERROR_INDEX, format!("does not list {code}")));
        }
        if !page.text.starts_with(&format!("# {code}: ")) {
            findings.push(finding(&page.path, format!("does not begin with `# {code}: `")));
        }
        let mut from = 0;
        for section in ERROR_SECTIONS {
            match page.text.get(from..).and_then(|rest| rest.find(&format!("\n{section}\n"))) {
                Some(at) => from += at + 1,
                None => findings.push(finding(&page.path, format!("has no section `{section}` in its place"))),
            }
        }
    }
    findings
}

/// Texts in double quotes that are a code: capitals, a hyphen, three digits.
fn codes(text: &str) -> Vec<String> {
    text.split('"').filter(|part| is_code(part)).map(str::to_owned).collect()
}

fn is_code(text: &str) -> bool {
    text.split_once('-').is_some_and(|(area, number)| {
        area.len() >= 2
            && area.bytes().all(|b| b.is_ascii_uppercase())
            && number.len() == 3
            && number.bytes().all(|b| b.is_ascii_digit())
            && !NO_CODES.contains(&area)
    })
}

/// Relative links lead to files or directories that exist.
pub fn links(sources: &Sources) -> Vec<Finding> {
    let root = crate::root();
    let mut findings = Vec::new();
    for page in sources.documents() {
        let base = root.join(&page.path);
        for (number, target) in targets(page) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !base.parent().is_some_and(|directory| directory.join(path).exists()) {
                findings.push(finding(format!("{}:{number}", page.path), format!("links to `{target}`, which does not exist")));
            }
        }
    }
    findings
}

/// Targets of Markdown links outside code, with their lines.
fn targets(page: &File) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Odd parts lie between back-ticks.
        for prose in line.split('`').step_by(2) {
            found.extend(prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| (number, target)));
        }
    }
    found
}

/// `docs/decisions/NNNN-title.md`, no number twice. A gap is a record that somebody is still writing.
pub fn decisions(sources: &Sources) -> Vec<Finding> {
    let records = sources.documents().filter_map(|page| page.path.strip_prefix("docs/decisions/")).filter(|name| *name != "README.md");
    let mut findings = Vec::new();
    let mut taken = BTreeSet::new();
    for name in records {
        let number = name.split_once('-').map(|(number, _)| number).filter(|n| n.len() == 4 && n.bytes().all(|b| b.is_ascii_digit()));
        if !number.is_some_and(|number| taken.insert(number)) {
            findings.push(finding(format!("docs/decisions/{name}"), "needs a number of its own, as `0001-title.md`".to_owned()));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_from_algorithms_and_text() {
        assert_eq!(codes(r#"new("REQ-001", x); "SHA-256" "req-001" "REQ-0001" "see REQ-002""#), ["REQ-001"]);
    }

    #[test]
    fn links_in_code_are_no_links() {
        let page = File { path: "a.md".into(), text: "[a](b.md) `[x](y)`\n```\n[c](d)\n```\n[`e`](f.md#g)".into() };
        assert_eq!(targets(&page), [(1, "b.md"), (5, "f.md#g")]);
    }

    #[test]
    fn a_page_without_its_parts_is_found() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let code = file("crates/app/src/problem.rs", r#"new("REQ-001")"#);
        let whole = "# REQ-001: x\n\n## What it means\na\n\n## Why\nb\n\n## What to do\nc\n";
        assert_eq!(error_pages(&Sources { files: vec![code, file("docs/errors/REQ-001.md", whole)] }), vec![]);
        let code = file("crates/app/src/problem.rs", r#"new("REQ-001")"#);
        assert_eq!(error_pages(&Sources { files: vec![code] }).len(), 1);
        let stray = file("docs/errors/REQ-009.md", "# REQ-009: x\n");
        assert_eq!(error_pages(&Sources { files: vec![stray] }).len(), 4);
    }
}
