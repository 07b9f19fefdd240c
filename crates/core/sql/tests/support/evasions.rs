//! The corpus of evasions (`tests/corpus/evasions`) as data.

use std::path::Path;

/// Its files.
pub const FILES: [&str; 4] = ["f30-statements.sql", "f31-functions.sql", "f32-meaning.sql", "f35-parsing.sql"];

/// A text and what it needs.
pub struct Case {
    /// The operations, or `unparsable`.
    pub expected: String,
    pub about: String,
    pub text: String,
}

/// The cases of a file: a line `-- OPERATIONS: what it shows`, then the text up to an empty line.
///
/// # Panics
/// When the file is not there or not so made.
#[must_use]
pub fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/corpus/evasions").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let parse = |block: &str| {
        let (head, text) = block.split_once('\n').unwrap_or_else(|| panic!("{file}: `{block}` has no text"));
        let (expected, about) = head.strip_prefix("-- ").and_then(|head| head.split_once(": ")).unwrap_or_else(|| panic!("{file}: {head}"));
        Case { expected: expected.to_owned(), about: about.to_owned(), text: text.to_owned() }
    };
    text.trim_end().split("\n\n").map(parse).collect()
}
