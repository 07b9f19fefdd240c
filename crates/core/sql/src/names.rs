//! Names for people and for comparing: quoted when they must be, so that no two different names look alike.

/// `name`, in double quotes unless it reads the same without them.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.chars().enumerate().all(|(at, c)| c == '_' || c.is_ascii_lowercase() || (at > 0 && (c.is_ascii_digit() || c == '$')));
    if plain && !name.is_empty() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// `schema.name` of the parts, each quoted when it must be.
#[must_use]
pub fn dotted(parts: &[&str]) -> String {
    parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")
}

/// The parts of a name that facts write: `public."a""b"` has `public` and `a"b`. `None` for what facts do not write so.
#[must_use]
pub fn parts(dotted: &str) -> Option<Vec<String>> {
    let (mut parts, mut rest) = (Vec::new(), dotted);
    loop {
        let (part, after) = first_part(rest)?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(parts),
        }
    }
}

fn first_part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (part, after) = text.split_at(text.find('.').unwrap_or(text.len()));
        return (quoted(part) == part).then(|| (part.to_owned(), after));
    };
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, after)),
        }
    }
}

/// True for the schema of temporary objects, the session's own or by its number.
pub(crate) fn is_temporary_schema(schema: &str) -> bool {
    schema == "pg_temp" || schema.starts_with("pg_temp_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_different_names_never_look_alike() {
        assert_eq!(dotted(&["public", "orders"]), "public.orders");
        assert_eq!(dotted(&["public.orders"]), "\"public.orders\"");
        assert_eq!(dotted(&["Public", "a\"b"]), "\"Public\".\"a\"\"b\"");
        assert_eq!(quoted("оrders"), "\"оrders\"", "a Cyrillic letter shows as quoted");
    }

    #[test]
    fn parts_are_what_a_name_was_written_from() {
        for written in [vec!["public", "orders"], vec!["a.b"], vec!["Public", "we\"ird'; DROP"], vec!["\"", "\".\"", "x"], vec!["é", "$1"]]
        {
            assert_eq!(parts(&dotted(&written)).unwrap(), written, "{written:?}");
        }
        for other in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "A", "a b", "a.\"b"] {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
