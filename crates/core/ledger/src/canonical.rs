//! Canonical JSON: RFC 8785, narrowed to the profile that Safeconduct hashes and commits to.
//!
//! Decides which bytes stand for a value. Refuses what two readers could understand differently: fractions, integers beyond
//! ±(2^53 − 1), duplicate member names, depth and size without bounds.
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// The largest integer that every JSON reader understands alike: 2^53 − 1.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;
/// Arrays and objects may be nested this deep.
pub const MAX_DEPTH: usize = 32;
/// Canonical bytes of one value may be this many.
pub const MAX_BYTES: usize = 4 << 20;

/// Why a value has no canonical bytes in our profile.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    #[error("not JSON that can be made canonical")]
    Json(#[source] serde_json::Error),
    #[error("the number `{0}` is not an integer within ±(2^53 − 1)")]
    Number(String),
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("{0} bytes; at most {MAX_BYTES} are allowed")]
    TooLarge(usize),
    #[error("valid JSON, but not in canonical form")]
    NotCanonical,
}

/// The canonical bytes of `value`.
///
/// # Errors
/// If the value leaves the profile, or cannot be serialized at all.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let bytes = serde_json_canonicalizer::to_vec(&value).map_err(CanonicalError::Json)?;
    // Read back, because only the text shows what a serializer made of its numbers and raw parts.
    check_canonical(&bytes)?;
    Ok(bytes)
}

/// The canonical bytes of JSON text in any form.
///
/// # Errors
/// If the text is not JSON, names a member twice, or leaves the profile.
pub fn canonicalize(json: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    let value = parse(json)?;
    serde_json_canonicalizer::to_vec(&value).map_err(CanonicalError::Json)
}

/// Checks that `json` is already in canonical form and within the profile, and returns what it says.
///
/// # Errors
/// [`CanonicalError::NotCanonical`] if the same value has other canonical bytes; otherwise as [`canonicalize`].
pub fn check_canonical(json: &[u8]) -> Result<Value, CanonicalError> {
    let value = parse(json)?;
    let again = serde_json_canonicalizer::to_vec(&value).map_err(CanonicalError::Json)?;
    if again == json { Ok(value) } else { Err(CanonicalError::NotCanonical) }
}

/// Parses JSON text, refusing duplicate member names and whatever leaves the profile.
///
/// # Errors
/// As [`canonicalize`].
pub fn parse(json: &[u8]) -> Result<Value, CanonicalError> {
    if json.len() > MAX_BYTES {
        return Err(CanonicalError::TooLarge(json.len()));
    }
    let Strict(value) = serde_json::from_slice(json).map_err(CanonicalError::Json)?;
    check_profile(&value, MAX_DEPTH)?;
    Ok(value)
}

fn check_profile(value: &Value, depth_left: usize) -> Result<(), CanonicalError> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => match number.as_i64() {
            Some(n) if (-MAX_INTEGER..=MAX_INTEGER).contains(&n) => Ok(()),
            _ => Err(CanonicalError::Number(number.to_string())),
        },
        Value::Array(_) | Value::Object(_) if depth_left == 0 => Err(CanonicalError::TooDeep),
        Value::Array(items) => items.iter().try_for_each(|item| check_profile(item, depth_left - 1)),
        Value::Object(members) => members.values().try_for_each(|member| check_profile(member, depth_left - 1)),
    }
}

/// A JSON value in which no object names a member twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member `{name}` stands twice")));
            }
            let Strict(member) = members.next_value()?;
            object.insert(name, member);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        assert_eq!(String::from_utf8(canonicalize(json.as_bytes()).unwrap()).unwrap(), expected);
    }

    #[test]
    fn members_are_sorted_and_space_is_removed() {
        check(r#" { "b" : [ 1, -2 ], "a" : "\u00e9\n" } "#, "{\"a\":\"é\\n\",\"b\":[1,-2]}");
    }

    #[test]
    fn members_are_sorted_by_utf16() {
        check("{\"\u{ffee}\":1,\"\u{1f600}\":2}", "{\"\u{1f600}\":2,\"\u{ffee}\":1}");
    }

    #[test]
    fn what_readers_could_understand_differently_is_refused() {
        for json in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"\u0061":2}}"#, "1 2", "", "{", "nul", r#""\ud800""#, "\"\u{1}\"", "NaN"] {
            assert!(matches!(canonicalize(json.as_bytes()), Err(CanonicalError::Json(_))), "{json}");
        }
        for json in ["1.5", "1e400", "9007199254740992", "-9007199254740992", "18446744073709551615", "1e21"] {
            assert!(canonicalize(json.as_bytes()).is_err(), "{json}");
        }
        check("[9007199254740991,-9007199254740991]", "[9007199254740991,-9007199254740991]");
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canonicalize(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(canonicalize(nested(MAX_DEPTH + 1).as_bytes()), Err(CanonicalError::TooDeep)));
        assert!(canonicalize(nested(100_000).as_bytes()).is_err());
        let long = format!("\"{}\"", "x".repeat(MAX_BYTES));
        assert!(matches!(canonicalize(long.as_bytes()), Err(CanonicalError::TooLarge(_))));
    }

    #[test]
    fn values_leave_no_way_around_the_profile() {
        assert!(to_canonical(&1.5).is_err());
        assert!(to_canonical(&f64::NAN).is_err());
        assert!(to_canonical(&(1u64 << 53)).is_err());
        assert!(to_canonical(&u64::MAX).is_err());
        assert!(to_canonical(&serde_json::value::RawValue::from_string("{\"b\":1, \"a\":2}".into()).unwrap()).is_err());
        assert_eq!(to_canonical(&[1, 2]).unwrap(), b"[1,2]");
    }

    #[test]
    fn only_canonical_bytes_pass_the_check() {
        assert!(check_canonical(br#"{"a":1,"b":2}"#).is_ok());
        for json in [r#"{"b":2,"a":1}"#, r#"{"a": 1}"#, "1\n", "-0", "1.0", r#""\u0061""#] {
            assert!(check_canonical(json.as_bytes()).is_err(), "{json}");
        }
    }
}
