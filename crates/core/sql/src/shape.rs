//! The shape of a text: the text with its plain constants masked, so that texts which differ in nothing else share their facts.
//!
//! Clients that put values into the text send a new text each time, and parsing is the dearest thing done per statement. A shape has the
//! length of its text and every byte in its place but the digits of plain integers and what stands inside plain strings. It refuses (and
//! the text is parsed by itself) whatever makes it less than obvious where a constant begins and ends: comments, escapes, dollar signs,
//! prefixed strings, letters beyond ASCII outside quotes.
//!
//! INVARIANT: facts never grow with the value of a constant. The walk only *relaxes* on values it knows (a harmless `set_config`), and a
//! masked value is none of them; so the facts of the shape are at least those of any text of that shape. `tests/shapes.rs` holds this
//! against every statement of PostgreSQL's regression suite.

use safeconduct_model::{UnfitText, lookalikes};

/// What an integer's digits are masked with, and what the inside of a string is.
const DIGIT: u8 = b'1';
const LETTER: u8 = b'x';
/// Longer numbers stay as they are: they may be of another type.
const MAX_DIGITS: usize = 9;

/// The first words of statements whose constants are masked: everything else means something by its constants, or is seldom sent.
const FIRST_WORDS: [&str; 6] = ["select", "insert", "update", "delete", "with", "values"];

/// The shape of a text, or nothing if it has none that is certain.
#[must_use]
pub fn shape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let word = bytes.get(start..)?;
    let length = word.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(word.len());
    let word = word.get(..length)?;
    if !FIRST_WORDS.iter().any(|first| word.eq_ignore_ascii_case(first.as_bytes())) {
        return None;
    }
    let mut masked = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied().unwrap_or(b' ');
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        match byte {
            b'0'..=b'9' => {
                let rest = bytes.get(at..)?;
                let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
                let after = rest.get(digits).copied().unwrap_or(b' ');
                let number = !in_word(before) && before != b'.' && !in_word(after) && after != b'.' && digits <= MAX_DIGITS;
                if number {
                    masked.resize(masked.len() + digits, DIGIT);
                } else {
                    masked.extend_from_slice(rest.get(..digits)?);
                }
                at += digits;
                continue;
            }
            // E'', B'', X'', N'', U&'' and U&"": another reading of what is inside.
            b'\'' | b'"' if in_word(before) || before == b'&' => return None,
            b'\'' | b'"' => {
                let inside = bytes.get(at + 1..)?;
                let length = inside.iter().position(|found| *found == byte)?;
                let inside = inside.get(..length)?;
                // A doubled quote is an end and a beginning: two masked parts with the quotes between them as they were.
                masked.push(byte);
                if byte == b'\'' {
                    if inside.contains(&b'\\') {
                        return None;
                    }
                    masked.resize(masked.len() + length, LETTER);
                } else {
                    masked.extend_from_slice(inside);
                }
                masked.push(byte);
                at += length + 2;
                // What follows a closing quote at once must not be taken for its prefix.
                if bytes.get(at).is_some_and(|after| in_word(*after)) {
                    return None;
                }
                continue;
            }
            b'-' if next == b'-' => return None,
            b'/' if next == b'*' => return None,
            b'$' | b'\\' | b'\0' | 0x80.. => return None,
            _ => masked.push(byte),
        }
        at += 1;
    }
    String::from_utf8(masked).ok()
}

/// Checks that no sign of a text passes for one that means something to the server: a long dash for a comment's, a no-break space for a
/// space. Inside plain strings such signs are data; where it is not certain what is inside, they count as outside.
///
/// # Errors
/// [`UnfitText::Lookalike`] names the first character that passes for another.
pub fn check_syntax(text: &str) -> Result<(), UnfitText> {
    lookalikes::check_syntax(shape(text).as_deref().unwrap_or(text))
}

/// True for what a word or a number can go on with.
const fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_constants_are_masked_in_place() {
        let check = |text: &str, expected: &str| assert_eq!(shape(text).as_deref(), Some(expected));
        check("SELECT abalance FROM t1 WHERE aid = 4711;", "SELECT abalance FROM t1 WHERE aid = 1111;");
        check("select 'it''s', \"a 5\" from x where y=-3", "select 'xx''x', \"a 5\" from x where y=-1");
        check("insert into t values (1, 'é', 1.5, 12345678901)", "insert into t values (1, 'xx', 1.5, 12345678901)");
        check(" select '' ", " select '' ");
        check("values (1),(22)", "values (1),(11)");
    }

    #[test]
    fn f30_whatever_could_be_read_otherwise_has_no_shape() {
        for text in [
            "select E'a'",
            "select e'\\''",
            "select U&'d!0061t' uescape '!'",
            "select U&\"d!0061t\" uescape '!'",
            "select U&\"a\"",
            "select B'01'",
            "select N'a'",
            "select 'a\\'",
            "select $1",
            "select $$a$$",
            "select 1 -- 2",
            "select 1 /* 2 */",
            "select 'open",
            "select \"open",
            "select é",
            "select 'a'b",
            "set x = 1",
            "explain (analyze 0) select 1",
            "prepare p as select 1",
            "selectx 1",
            "",
            "  ",
        ] {
            assert_eq!(shape(text), None, "{text}");
        }
    }

    #[test]
    fn f46_signs_that_pass_for_syntax_are_data_in_plain_strings_alone() {
        for text in ["insert into t values ('it’s – late', 1)", "update t set a = 'x\u{a0}y' where b = 'größe'", "select 1"] {
            assert_eq!(check_syntax(text), Ok(()), "{text}");
        }
        for (text, odd) in [
            ("delete from t \u{2212}\u{2212} where a = 1", '\u{2212}'),
            ("select * from t where a = \u{2019}x\u{2019}", '\u{2019}'),
            ("select a\u{a0}b from t", '\u{a0}'),
            ("select \"a\u{2019}\" from t", '\u{2019}'),
            ("select E'it\u{2019}s'", '\u{2019}'),
        ] {
            assert_eq!(check_syntax(text), Err(UnfitText::Lookalike(odd)), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_part_of_something_stay() {
        for text in ["select a1, 1e5, 0x1F, 1_000, 1., .5 from t2", "select 1234567890"] {
            assert_eq!(shape(text).as_deref(), Some(text));
        }
    }
}
