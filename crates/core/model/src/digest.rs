//! Digests of canonical JSON (RFC 8785): one text per value, so one digest per meaning.

use std::{fmt, fmt::Write as _, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// SHA-256 of canonical bytes, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of these bytes as they are.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Digest of the value's canonical JSON.
    ///
    /// # Errors
    /// [`NotCanonical`] if the value has no canonical form.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, NotCanonical> {
        Ok(Self::of_bytes(&canonical(value)?))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits: enough to compare by eye, never to decide.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().skip(7).take(12).collect()
    }
}

/// Canonical JSON of a value: RFC 8785.
///
/// RFC 8785 writes every number as a double. An integer that a double can't hold would share its text, and so its
/// digest, with its neighbours: such a value has no canonical form here.
///
/// # Errors
/// [`NotCanonical`] if the value does not serialize to JSON, or holds an integer beyond 2^53 - 1 either way.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, NotCanonical> {
    let value = serde_json::to_value(value).map_err(|_| NotCanonical)?;
    if !has_exact_integers(&value) {
        return Err(NotCanonical);
    }
    serde_json_canonicalizer::to_vec(&value).map_err(|_| NotCanonical)
}

fn has_exact_integers(value: &serde_json::Value) -> bool {
    const LARGEST: u64 = (1 << 53) - 1;
    match value {
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number <= LARGEST,
            (None, Some(number)) => number.unsigned_abs() <= LARGEST,
            (None, None) => true,
        },
        serde_json::Value::Array(items) => items.iter().all(has_exact_integers),
        serde_json::Value::Object(members) => members.values().all(has_exact_integers),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => true,
    }
}

/// A value without canonical JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value has no canonical form")]
pub struct NotCanonical;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest; a digest is `sha256:` and 64 hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64).ok_or(InvalidDigest)?;
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidDigest)?;
            if pair.bytes().any(|b| !b.is_ascii_digit() && !(b'a'..=b'f').contains(&b)) {
                return Err(InvalidDigest);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}
