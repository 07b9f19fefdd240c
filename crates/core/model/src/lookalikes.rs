//! Characters that look like others, by Unicode's table of them (UTS 39): what is signed must not read as something else.
//!
//! Texts in any language pass. What does not: a letter that passes for a Latin one, in the middle of Latin ones or, where a text means
//! something to a machine, in a word that reads as if it were ASCII. Texts within ASCII cost one look.

use unicode_script::{Script, UnicodeScript as _};
use unicode_security::{GeneralSecurityProfile as _, mixed_script::AugmentedScriptSet, skeleton};

use crate::UnfitText;

/// Checks what people wrote for people: no word mixes letters that look alike, or scripts that don't go together.
///
/// # Errors
/// [`UnfitText::Lookalike`] names the first character that passes for another.
pub fn check_words(text: &str) -> Result<(), UnfitText> {
    check(text, |word| impostor_among_latin(word).or_else(|| other_mixture(word)))
}

/// Checks what names or sets something: like [`check_words`], and no word reads as if it were ASCII without being it.
///
/// # Errors
/// [`UnfitText::Lookalike`] names the first character that passes for another.
pub fn check_value(text: &str) -> Result<(), UnfitText> {
    check(text, |word| impostor_among_latin(word).or_else(|| other_mixture(word)).or_else(|| reads_as_ascii(word)))
}

/// Checks a text that a machine reads, quoted parts left out: like [`check_value`], and no sign passes for one of ASCII, as a long dash
/// does for a minus and a no-break space for a space.
///
/// # Errors
/// [`UnfitText::Lookalike`] names the first character that passes for another.
pub fn check_syntax(text: &str) -> Result<(), UnfitText> {
    check_value(text)?;
    let sign = |c: &char| !c.is_ascii() && !c.is_alphanumeric() && passes_for(*c, |other| other.is_ascii());
    text.chars().find(sign).map_or(Ok(()), |sign| Err(UnfitText::Lookalike(sign)))
}

fn check(text: &str, deceives: impl Fn(&str) -> Option<char>) -> Result<(), UnfitText> {
    if text.is_ascii() {
        return Ok(());
    }
    let words = text.split(|c: char| !(c.is_alphanumeric() || is_mark(c) || c == '_')).filter(|word| !word.is_ascii());
    words.filter_map(deceives).next().map_or(Ok(()), |found| Err(UnfitText::Lookalike(found)))
}

/// A combining mark: it belongs to the letter before it.
fn is_mark(c: char) -> bool {
    c.script() == Script::Inherited
}

fn is_latin(c: char) -> bool {
    c.is_alphabetic() && c.script() == Script::Latin
}

/// True for a letter or digit that is drawn like what `other` accepts, and is not a letter that languages in Latin script write.
fn passes_for(c: char, other: impl Fn(char) -> bool) -> bool {
    let written = is_latin(c) && c.identifier_allowed();
    let mut buffer = [0; 4];
    !written && skeleton(c.encode_utf8(&mut buffer)).filter(|drawn| !is_mark(*drawn)).all(other)
}

/// A letter or digit beside Latin letters that passes for one of them.
fn impostor_among_latin(word: &str) -> Option<char> {
    let letters = || word.chars().filter(|c| c.is_alphanumeric() && !c.is_ascii_digit());
    if !letters().any(|c| is_latin(c) && c.identifier_allowed()) {
        return None;
    }
    letters().find(|c| !c.is_ascii() && passes_for(*c, |drawn| is_latin(drawn) || drawn.is_ascii_alphanumeric()))
}

/// The first letter that is not of the scripts before it, Latin left out: nobody writes them in one word.
fn other_mixture(word: &str) -> Option<char> {
    let mut scripts = AugmentedScriptSet::default();
    word.chars().filter(|c| c.is_alphanumeric() && !is_latin(*c)).find(|c| {
        scripts.intersect_with(AugmentedScriptSet::for_char(*c));
        scripts.is_empty()
    })
}

/// The first letter beyond ASCII of a word that is drawn like a word of ASCII.
fn reads_as_ascii(word: &str) -> Option<char> {
    let odd = word.chars().find(|c| !c.is_ascii() && passes_for(*c, |drawn| drawn.is_ascii()))?;
    skeleton(word).all(|drawn| drawn.is_ascii()).then_some(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_in_their_languages_passes() {
        for text in [
            "fix order 4711 – it’s “late”",
            "Müller, Łódź, Ångström, naïve, læge, œuvre, Kadıköy, kız",
            "Заказ 4711 не доставлен: а у нас с клиентом договор",
            "Παραγγελία 4711, Δt zu groß, 5 µs, 20 °C, № 5, 1ª planta",
            "注文4711が届かない、SQL文を直す。주문 취소",
            "طلب ٤٧١١ لم يصل",
            "हिन्दी में कारण, ऑर्डर",
            "🚑 urgent ❤",
            "naïve e\u{301}te\u{301}",
        ] {
            assert_eq!(check_words(text), Ok(()), "{text}");
        }
        for text in ["UPDATE t SET name = 'Müller', ort = 'Москва', note = '東京', d = 'læge'", "Łódź", "kız", "Рига", "ÄÖÜ"]
        {
            assert_eq!(check_value(text), Ok(()), "{text}");
        }
        assert_eq!(check_syntax("SELECT größe, \"Straße\" FROM läden -- über"), Ok(()));
    }

    #[test]
    fn f46_letters_that_pass_for_others_are_refused_among_those() {
        for (text, odd) in [
            ("оrders", '\u{43e}'),
            ("orders of p\u{430}yments", '\u{430}'),
            ("Αlice", '\u{391}'),
            ("\u{261}roups", '\u{261}'),
            ("ord\u{435}\u{308}rs", '\u{435}'),
            ("tаблица", '\u{430}'),
            ("зακαз", '\u{3b1}'),
            ("admin\u{1d7f7}", '\u{1d7f7}'),
            ("o\u{ff52}ders", '\u{ff52}'),
        ] {
            assert_eq!(check_words(text), Err(UnfitText::Lookalike(odd)), "{text}");
        }
    }

    #[test]
    fn f46_values_do_not_read_as_what_they_are_not() {
        for text in ["сору", "name = 'оса'", "4\u{9ea}11", "\u{9ea}", "\u{ff4f}\u{ff52}\u{ff44}", "РОСТ", "\u{391}\u{392}"] {
            assert!(matches!(check_value(text), Err(UnfitText::Lookalike(_))), "{text}");
        }
        for text in
            ["DELETE FROM t \u{2212}\u{2212} x", "a\u{a0}b", "name = \u{2019}x\u{2019}", "f\u{ff08}1)", "a\u{37e} b", "a \u{2215} b"]
        {
            assert!(matches!(check_syntax(text), Err(UnfitText::Lookalike(_))), "{text}");
            assert_eq!(check_words(text), Ok(()), "{text}");
        }
    }
}
