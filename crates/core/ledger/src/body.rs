//! Stored body: what an entry's commitment was made from, as it is exported beside the tiles.
//!
//! Decides the form of one line of `bodies/<N>`. Never shows key or body in `Debug`: both may have to be erased.
use crate::entry::{BodyCommitment, verify_body};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A line of exported bodies has at most this many bytes, its newline aside.
pub const MAX_BODY_LINE_BYTES: usize = 32 << 20;

/// The body of one entry with the key of its commitment.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredBody {
    /// The entry's index.
    pub index: u64,
    pub key: [u8; 32],
    pub body: String,
}

impl StoredBody {
    /// Whether this is what the entry committed to.
    #[must_use]
    pub fn matches(&self, commitment: &BodyCommitment) -> bool {
        verify_body(&self.key, self.body.as_bytes(), commitment)
    }

    /// One line of `bodies/<N>`, without its newline.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] if the line would be longer than [`MAX_BODY_LINE_BYTES`].
    pub fn to_line(&self) -> Result<String, BodyError> {
        let wire = Wire { body: self.body.as_str().into(), index: self.index, key: STANDARD.encode(self.key).into() };
        let line = serde_json_canonicalizer::to_string(&wire).map_err(BodyError::Json)?;
        if line.len() > MAX_BODY_LINE_BYTES { Err(BodyError::TooLarge) } else { Ok(line) }
    }

    /// Reads one line of `bodies/<N>`, without its newline.
    ///
    /// # Errors
    /// [`BodyError`] says what is wrong.
    pub fn parse_line(line: &[u8]) -> Result<Self, BodyError> {
        if line.len() > MAX_BODY_LINE_BYTES {
            return Err(BodyError::TooLarge);
        }
        let wire: Wire = serde_json::from_slice(line).map_err(BodyError::Json)?;
        let key = STANDARD.decode(wire.key.as_bytes()).ok().and_then(|key| key.try_into().ok()).ok_or(BodyError::BadKey)?;
        Ok(Self { index: wire.index, key, body: wire.body.into() })
    }
}

impl fmt::Debug for StoredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredBody(entry {}, {} bytes)", self.index, self.body.len())
    }
}

/// Why a line is not a body. Shows nothing of the line.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("not a line of `body`, `index` and `key`")]
    Json(#[source] serde_json::Error),
    #[error("`key` is not base64 of 32 bytes")]
    BadKey,
    #[error("longer than {MAX_BODY_LINE_BYTES} bytes")]
    TooLarge,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    body: Cow<'a, str>,
    index: u64,
    key: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::commit_body;

    #[test]
    fn a_line_survives_and_matches() {
        let stored = StoredBody { index: 3, key: [9; 32], body: "{\"reason\":\"a \\\"b\\\"\u{2028}\"}".into() };
        let line = stored.to_line().unwrap();
        assert!(!line.contains('\n'));
        let parsed = StoredBody::parse_line(line.as_bytes()).unwrap();
        assert_eq!(parsed, stored);
        assert!(parsed.matches(&commit_body(&[9; 32], stored.body.as_bytes())));
        assert!(!parsed.matches(&commit_body(&[9; 32], b"{}")));
        assert!(!format!("{parsed:?}").contains("reason"));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "{}", r#"{"body":"","index":0,"key":"AA=="}"#, r#"{"body":"","index":0,"index":0,"key":""}"#, "[]"] {
            assert!(StoredBody::parse_line(line.as_bytes()).is_err(), "{line}");
        }
    }
}
