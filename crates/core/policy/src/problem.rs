//! Problems: what is wrong in a bundle, where, and what to write instead. Says nothing about how it is shown.

use std::fmt;

use safeconduct_model::text::printable;
use serde::Serialize;

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Path inside the bundle; empty if the mistake is in the bundle as a whole.
    pub file: String,
    /// From 1; 0 if the mistake is in the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0 if the mistake is in the file as a whole.
    pub column: usize,
    pub message: String,
    /// What to write instead, or where to look.
    pub hint: Option<String>,
}

impl Problem {
    /// A mistake in the file as a whole.
    pub(crate) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into(), hint: None }
    }

    /// A mistake at a byte of the file's text.
    pub(crate) fn at(file: &str, text: &str, offset_bytes: usize, message: impl Into<String>) -> Self {
        let (line, column) = position(text, offset_bytes);
        Self { file: file.to_owned(), line, column, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Line and column, both from 1, of a byte offset.
pub(crate) fn position(text: &str, offset_bytes: usize) -> (usize, usize) {
    let mut end = offset_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// The candidate nearest to what was written, if it is near at all.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .take(1_000)
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two short texts.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(80).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

impl fmt::Display for Problem {
    /// `file:line:column: message`, and on a second line what to write. Safe to print on a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, message) = (printable(&self.file), printable(&self.message));
        match (self.file.is_empty(), self.line) {
            (true, _) => write!(f, "bundle: {message}")?,
            (false, 0) => write!(f, "{file}: {message}")?,
            (false, line) => write!(f, "{file}:{line}:{}: {message}", self.column)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {}", printable(hint)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        assert_eq!(position("ab\ncé d", 0), (1, 1));
        assert_eq!(position("ab\ncé d", 7), (2, 4));
        assert_eq!(position("ab", 99), (1, 3));
    }

    #[test]
    fn a_near_miss_names_what_was_meant() {
        assert_eq!(nearest("ordres-db", ["orders-db", "billing-db"]), Some("orders-db"));
        assert_eq!(nearest("zzz", ["orders-db"]), None);
    }
}
