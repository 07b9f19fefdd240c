//! Words that must not stand in any file: unfinished work, paths of one machine, words the glossary replaces.

use crate::{Finding, finding, sources::Sources};

/// One word or phrase a line; `#` begins a comment.
const LIST: &str = include_str!("../forbidden-words.txt");

pub fn check(sources: &Sources) -> Vec<Finding> {
    let words: Vec<&str> = LIST.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut findings = Vec::new();
    for file in sources.files.iter().filter(|file| !file.path.starts_with("xtask/")) {
        for (number, line) in file.lines() {
            for word in words.iter().filter(|word| contains_word(line, word)) {
                findings.push(finding(format!("{}:{number}", file.path), format!("forbidden: `{word}`")));
            }
        }
    }
    findings
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
}
