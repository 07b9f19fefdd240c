//! Words that must not stand in any file: unfinished work, paths of one machine, words the glossary replaces.

use crate::{Finding, finding, sources::Sources};

/// One word or phrase a line; `#` begins a comment.
const LIST: &str = include_str!("../forbidden-words.txt");

/// Where a word is what a standard says: SCIM's path of a user looks like a home directory.
const STANDARD: [(&str, &str); 1] = [("crates/adapters/scim/", "/Users/")];

pub fn check(sources: &Sources) -> Vec<Finding> {
    let words: Vec<&str> = LIST.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut findings = Vec::new();
    for file in sources.files.iter().filter(|file| !file.path.starts_with("xtask/")) {
        for (number, line) in file.lines() {
            for word in words.iter().filter(|word| contains_word(line, word) && !is_standard(&file.path, word)) {
                findings.push(finding(format!("{}:{number}", file.path), format!("forbidden: `{word}`")));
            }
        }
    }
    findings
}

fn is_standard(path: &str, word: &str) -> bool {
    STANDARD.iter().any(|(place, of_standard)| path.starts_with(place) && word == *of_standard)
}

/// True if `word` stands in `line` and is not a part of a longer word. Paths are found anywhere.
fn contains_word(line: &str, word: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        word.ends_with('/') || (!is_letter(before) && !is_letter(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_only() {
        assert!(contains_word("a TODO here", "TODO"));
        assert!(!contains_word("a TODOS table", "TODO"));
        assert!(contains_word("see /home/me/x", "/home/"));
    }

    #[test]
    fn a_path_of_the_standard_is_fine_where_the_standard_is_spoken() {
        assert!(is_standard("crates/adapters/scim/src/routes.rs", "/Users/"));
        assert!(!is_standard("crates/adapters/scim/src/routes.rs", "/home/"));
        assert!(!is_standard("crates/adapters/api/src/lib.rs", "/Users/"));
    }
}
