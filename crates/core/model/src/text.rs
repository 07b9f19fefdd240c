//! Text that people wrote and other people will read: checked once, shown as data.

use serde::{Deserialize, Serialize};

use crate::lookalikes;

/// One line of words: no control, invisible or bidirectional characters, at most 2,000 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(String);

impl Words {
    /// Most characters a line of words may have.
    pub const MAX_CHARS: usize = 2_000;

    /// Checks and keeps a line of words. Blanks around it are dropped.
    ///
    /// # Errors
    /// [`UnfitText`] if empty, too long or with characters that could deceive a reader.
    pub fn new(text: &str) -> Result<Self, UnfitText> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnfitText::Empty);
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err(UnfitText::TooLong);
        }
        if let Some(found) = text.chars().find(|c| deceives(*c) || c.is_control()) {
            return Err(UnfitText::Deceiving(found));
        }
        Ok(Self(text.to_owned()))
    }

    /// Like [`Words::new`], for words that are about to be shown and signed for: no letter passes for another.
    ///
    /// # Errors
    /// [`UnfitText`] as for [`Words::new`], and for the first such letter.
    pub fn to_be_shown(text: &str) -> Result<Self, UnfitText> {
        let words = Self::new(text)?;
        words.check_lookalikes()?;
        Ok(words)
    }

    /// Checks that no letter passes for another. Asked of words that are about to be signed for; older ones are read as they are.
    ///
    /// # Errors
    /// [`UnfitText::Lookalike`] names the first such letter.
    pub fn check_lookalikes(&self) -> Result<(), UnfitText> {
        lookalikes::check_words(&self.0)
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text can't be shown to an approver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitText {
    #[error("text is empty")]
    Empty,
    #[error("text is too long")]
    TooLong,
    #[error("text contains the invisible or control character U+{:04X}", u32::from(*.0))]
    Deceiving(char),
    #[error("text contains U+{:04X}, which looks like another character", u32::from(*.0))]
    Lookalike(char),
}

/// Checks a statement text: line breaks and tabs are fine, characters that hide or reorder are not.
///
/// # Errors
/// [`UnfitText::Deceiving`] names the first such character.
pub fn check_statement(text: &str) -> Result<(), UnfitText> {
    match text.chars().find(|c| deceives(*c) || (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))) {
        Some(found) => Err(UnfitText::Deceiving(found)),
        None => Ok(()),
    }
}

/// Like [`check_statement`], and no character passes for one that it is not.
///
/// # Errors
/// [`UnfitText`] names the first character that could deceive.
pub fn check_value(text: &str) -> Result<(), UnfitText> {
    check_statement(text)?;
    lookalikes::check_value(text)
}

/// Invisible, bidirectional and tag characters, and line separators other than a line break.
const fn deceives(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Makes any text safe to print on a terminal line: control and deceiving characters become `\u{…}`.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || deceives(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Like [`printable`], keeping line breaks and tabs.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.chars()
        .map(|c| if (c.is_control() && !matches!(c, '\n' | '\t')) || deceives(c) { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

impl TryFrom<String> for Words {
    type Error = UnfitText;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.0
    }
}

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f46_words_carry_no_escapes_no_bidi_and_no_second_line() {
        assert_eq!(Words::new("  fix order 4711 ").unwrap().as_str(), "fix order 4711");
        for bad in ["", "a\nb", "a\u{1b}[31m", "a\u{202e}b", "a\u{200b}b", "a\u{feff}", "\u{e0041}x"] {
            assert!(Words::new(bad).is_err(), "{bad:?}");
        }
        assert!(check_statement("select 1;\n\tselect 'é'").is_ok());
        assert!(check_statement("select '\u{202e}'").is_err());
        assert_eq!(printable("a\u{1b}b\n"), "a\\u{1b}b\\n");
    }
}
