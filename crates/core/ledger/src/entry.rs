//! Entry: the leaf of the ledger, and the commitment by which it refers to its body.
//!
//! Decides the exact bytes of an entry. Refuses to read bytes that it would not write itself, so that one entry has one leaf,
//! and to write characters into `stream` or `type` that could carry a person's words into the tree.
use crate::canonical::MAX_INTEGER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;

/// A leaf has at most this many bytes, because bundles write its length with 16 bits.
pub const MAX_LEAF_BYTES: usize = 65_535;
/// The format version that this crate reads and writes.
pub const ENTRY_FORMAT: u64 = 1;

const MAX_STREAM_BYTES: usize = 200;
const MAX_KIND_BYTES: usize = 64;
const COMMITMENT_PREFIX: &str = "hmac-sha256:";

/// One sequenced event, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 0 for the first entry of the ledger.
    pub index: u64,
    /// Microseconds since the Unix epoch; never less than in the entry before.
    pub at_micros: i64,
    /// Whose history this belongs to, such as `rq-7f3…`.
    pub stream: String,
    /// 1 for the first entry of its stream.
    pub version: u64,
    /// The event's name, such as `approval_given`; `type` in the leaf.
    pub kind: String,
    pub body: BodyCommitment,
}

impl Entry {
    /// The bytes that are hashed into the tree.
    ///
    /// # Errors
    /// [`EntryError::Field`] if a field breaks a rule of the format.
    pub fn to_leaf(&self) -> Result<Vec<u8>, EntryError> {
        self.check()?;
        let leaf = serde_json_canonicalizer::to_vec(&Wire::from(self)).map_err(EntryError::Json)?;
        if leaf.len() > MAX_LEAF_BYTES { Err(EntryError::TooLarge(leaf.len())) } else { Ok(leaf) }
    }

    /// Reads a leaf. Accepts exactly the bytes that [`Entry::to_leaf`] writes.
    ///
    /// # Errors
    /// [`EntryError`] names what is wrong.
    pub fn parse(leaf: &[u8]) -> Result<Self, EntryError> {
        if leaf.len() > MAX_LEAF_BYTES {
            return Err(EntryError::TooLarge(leaf.len()));
        }
        let wire: Wire = serde_json::from_slice(leaf).map_err(EntryError::Json)?;
        if wire.entry != ENTRY_FORMAT {
            return Err(EntryError::UnknownFormat(wire.entry));
        }
        let body = BodyCommitment::parse(&wire.body).ok_or(EntryError::Field("body"))?;
        let entry =
            Self { index: wire.index, at_micros: wire.at, stream: wire.stream.into(), version: wire.version, kind: wire.kind.into(), body };
        if entry.to_leaf()? == leaf { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }

    fn check(&self) -> Result<(), EntryError> {
        let max = MAX_INTEGER.unsigned_abs();
        let rules = [
            ("at", (0..=MAX_INTEGER).contains(&self.at_micros)),
            ("index", self.index <= max),
            ("version", (1..=max).contains(&self.version)),
            ("stream", is_stream(&self.stream)),
            ("type", is_kind(&self.kind)),
        ];
        match rules.into_iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(EntryError::Field(field)),
            None => Ok(()),
        }
    }
}

/// Why bytes are not an entry, or an entry has no bytes.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("not the JSON of an entry")]
    Json(#[source] serde_json::Error),
    #[error("entry format {0}; this program knows {ENTRY_FORMAT} only")]
    UnknownFormat(u64),
    #[error("`{0}` breaks the rules of the format")]
    Field(&'static str),
    #[error("{0} bytes; an entry has at most {MAX_LEAF_BYTES}")]
    TooLarge(usize),
    #[error("says the same as an entry, but in other bytes")]
    NotCanonical,
}

/// HMAC-SHA256 of a body under a key of its own; says nothing about the body to whoever lacks the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyCommitment([u8; 32]);

impl BodyCommitment {
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads `hmac-sha256:` and 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(COMMITMENT_PREFIX)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for BodyCommitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(COMMITMENT_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BodyCommitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Commits to `body`. The key must be random and serve this entry only; erasing it erases the link to the body.
#[must_use]
pub fn commit_body(key: &[u8; 32], body: &[u8]) -> BodyCommitment {
    BodyCommitment(keyed(key, body).finalize().into_bytes().into())
}

/// Whether `commitment` was made from exactly this key and body. Compares in constant time.
#[must_use]
pub fn verify_body(key: &[u8; 32], body: &[u8], commitment: &BodyCommitment) -> bool {
    keyed(key, body).verify_slice(&commitment.0).is_ok()
}

fn keyed(key: &[u8; 32], body: &[u8]) -> Hmac<Sha256> {
    // HMAC pads a key shorter than its 64-byte block with zeros; done here, the constructor cannot fail.
    let mut block = [0u8; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(body);
    mac
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    at: i64,
    body: std::borrow::Cow<'a, str>,
    entry: u64,
    index: u64,
    stream: std::borrow::Cow<'a, str>,
    #[serde(rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    version: u64,
}

impl<'a> From<&'a Entry> for Wire<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            at: entry.at_micros,
            body: entry.body.to_string().into(),
            entry: ENTRY_FORMAT,
            index: entry.index,
            stream: entry.stream.as_str().into(),
            kind: entry.kind.as_str().into(),
            version: entry.version,
        }
    }
}

fn is_stream(text: &str) -> bool {
    (1..=MAX_STREAM_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:/@+-".contains(&b))
}

fn is_kind(text: &str) -> bool {
    let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_KIND_BYTES).contains(&text.len()) && text.as_bytes()[0].is_ascii_lowercase() && text.bytes().all(named)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: &str = concat!(
        r#"{"at":1795312345678901,"body":"hmac-sha256:0707070707070707070707070707070707070707070707070707070707070707","#,
        r#""entry":1,"index":7,"stream":"rq-7f3","type":"approval_given","version":2}"#
    );

    fn entry() -> Entry {
        Entry {
            index: 7,
            at_micros: 1_795_312_345_678_901,
            stream: "rq-7f3".into(),
            version: 2,
            kind: "approval_given".into(),
            body: BodyCommitment::from_bytes([7; 32]),
        }
    }

    #[test]
    fn the_bytes_are_the_contract() {
        assert_eq!(String::from_utf8(entry().to_leaf().unwrap()).unwrap(), LEAF);
        assert_eq!(Entry::parse(LEAF.as_bytes()).unwrap(), entry());
    }

    #[test]
    fn a_leaf_in_any_other_bytes_is_refused() {
        let variants = [
            LEAF.replace("\"index\":7", "\"index\": 7"),
            LEAF.replace("\"index\":7", "\"index\":7.0"),
            LEAF.replace("\"index\":7", "\"index\":07"),
            LEAF.replace("\"index\":7", "\"index\":-7"),
            LEAF.replace("\"index\":7", "\"index\":7,\"index\":7"),
            LEAF.replace("\"index\":7,", ""),
            LEAF.replace("\"index\":7", "\"index\":7,\"extra\":1"),
            LEAF.replace("\"index\":7", "\"index\":9007199254740992"),
            LEAF.replace("rq-7f3", "rq\\u002d7f3"),
            LEAF.replace("rq-7f3", ""),
            LEAF.replace("rq-7f3", "alice smith"),
            LEAF.replace("rq-7f3", &"x".repeat(201)),
            LEAF.replace("\"entry\":1", "\"entry\":2"),
            LEAF.replace("\"version\":2", "\"version\":0"),
            LEAF.replace("approval_given", "Approval"),
            LEAF.replace("0707", "070A"),
            LEAF.replace("hmac-sha256", "sha256"),
            LEAF.replace("1795312345678901", "-1"),
            format!("{LEAF}\n"),
            format!(" {LEAF}"),
            format!("{LEAF}{LEAF}"),
        ];
        for variant in variants {
            assert!(Entry::parse(variant.as_bytes()).is_err(), "{variant}");
        }
        assert!(matches!(Entry::parse(&vec![b' '; MAX_LEAF_BYTES + 1]), Err(EntryError::TooLarge(_))));
    }

    #[test]
    fn a_field_out_of_bounds_has_no_leaf() {
        assert!(matches!(Entry { stream: "a\"b".into(), ..entry() }.to_leaf(), Err(EntryError::Field("stream"))));
        assert!(matches!(Entry { kind: String::new(), ..entry() }.to_leaf(), Err(EntryError::Field("type"))));
        assert!(matches!(Entry { at_micros: -1, ..entry() }.to_leaf(), Err(EntryError::Field("at"))));
        assert!(matches!(Entry { index: 1 << 53, ..entry() }.to_leaf(), Err(EntryError::Field("index"))));
        assert!(matches!(Entry { version: 0, ..entry() }.to_leaf(), Err(EntryError::Field("version"))));
    }

    #[test]
    fn a_commitment_holds_for_its_key_and_body_only() {
        let commitment = commit_body(&[1; 32], b"body");
        assert!(verify_body(&[1; 32], b"body", &commitment));
        assert!(!verify_body(&[2; 32], b"body", &commitment));
        assert!(!verify_body(&[1; 32], b"bodY", &commitment));
        assert_eq!(BodyCommitment::parse(&commitment.to_string()), Some(commitment));
    }

    /// RFC 4231, test case 1, whose 20-byte key padded with zeros is the same HMAC key.
    #[test]
    fn commitments_are_hmac_sha256() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let expected = "hmac-sha256:b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(commit_body(&key, b"Hi There").to_string(), expected);
    }
}
