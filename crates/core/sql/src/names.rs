//! Names for people and for comparing: quoted when they must be, so that no two different names look alike.

/// `name`, in double quotes unless it reads the same without them.
pub(crate) fn quoted(name: &str) -> String {
    let plain = name.chars().enumerate().all(|(at, c)| c == '_' || c.is_ascii_lowercase() || (at > 0 && (c.is_ascii_digit() || c == '$')));
    if plain && !name.is_empty() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// `schema.name` of the parts, each quoted when it must be.
pub(crate) fn dotted(parts: &[&str]) -> String {
    parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")
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
}
