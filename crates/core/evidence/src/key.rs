//! Public keys of people, as OpenSSH writes them: one line of type and base64.
//!
//! Four types are known: Ed25519 and P-256, each in a file or in a FIDO authenticator (`sk-…`). RSA, DSA and certificates are refused.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};

use crate::wire::{Malformed, Reader, put};

pub(crate) const ED25519: &str = "ssh-ed25519";
pub(crate) const P256: &str = "ecdsa-sha2-nistp256";
pub(crate) const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com";
pub(crate) const SK_P256: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
const CURVE: &str = "nistp256";
/// Longest line of a key, its comment included.
const LONGEST_LINE: usize = 4096;

/// A public key that may sign statements. Equal keys are one key, whatever is written beside them.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(crate) curve: Curve,
    /// For a key in an authenticator: whom it signs for. `ssh:…` on the command line, the page's domain in a browser.
    application: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Curve {
    Ed25519(VerifyingKey),
    /// The uncompressed point.
    P256([u8; 65]),
}

impl PublicKey {
    /// The key's type, as OpenSSH names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match (&self.curve, &self.application) {
            (Curve::Ed25519(_), None) => ED25519,
            (Curve::P256(_), None) => P256,
            (Curve::Ed25519(_), Some(_)) => SK_ED25519,
            (Curve::P256(_), Some(_)) => SK_P256,
        }
    }

    /// Whom an authenticator signs for with this key. `None` for a key that can be copied.
    #[must_use]
    pub fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// The digest that `ssh-keygen -l` prints: `SHA256:` and base64.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(self.to_blob())))
    }

    /// Reads a key from its wire form.
    ///
    /// # Errors
    /// [`InvalidKey`] unless it is one of the four types, in its only form.
    pub fn from_blob(blob: &[u8]) -> Result<Self, InvalidKey> {
        let mut reader = Reader(blob);
        let kind = reader.text()?;
        let curve = match kind {
            ED25519 | SK_ED25519 => {
                let bytes: [u8; 32] = reader.string()?.try_into().map_err(|_| InvalidKey::Malformed)?;
                let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidKey::Malformed)?;
                // A weak key has signatures that anybody can make.
                if key.is_weak() {
                    return Err(InvalidKey::Malformed);
                }
                Curve::Ed25519(key)
            }
            P256 | SK_P256 => {
                if reader.text()? != CURVE {
                    return Err(InvalidKey::Malformed);
                }
                let point: [u8; 65] = reader.string()?.try_into().map_err(|_| InvalidKey::Malformed)?;
                let on_curve = aws_lc_rs::signature::ParsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED, point).is_ok();
                if point.first() != Some(&4) || !on_curve {
                    return Err(InvalidKey::Malformed);
                }
                Curve::P256(point)
            }
            other => return Err(InvalidKey::Kind(safeconduct_model::text::printable(other))),
        };
        let application = match kind {
            SK_ED25519 | SK_P256 => Some(reader.text()?.to_owned()),
            _ => None,
        };
        if application.as_deref().is_some_and(|text| text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(InvalidKey::Malformed);
        }
        reader.end()?;
        Ok(Self { curve, application })
    }

    /// The key's wire form.
    #[must_use]
    pub fn to_blob(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        put(&mut out, self.kind().as_bytes());
        match &self.curve {
            Curve::Ed25519(key) => put(&mut out, key.as_bytes()),
            Curve::P256(point) => {
                put(&mut out, CURVE.as_bytes());
                put(&mut out, point);
            }
        }
        if let Some(application) = &self.application {
            put(&mut out, application.as_bytes());
        }
        out
    }
}

/// A text or bytes that are no key which may sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("not a public key; one is a line such as `ssh-ed25519 AAAA…`")]
    Malformed,
    #[error("keys of type `{0}` can't sign approvals; use ed25519 or ecdsa-sha2-nistp256, in a file or in a FIDO authenticator")]
    Kind(String),
}

impl From<Malformed> for InvalidKey {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;
    /// Reads a line of a `.pub` file. A comment after the key is dropped.
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        if line.len() > LONGEST_LINE || line.trim_end_matches(['\r', '\n']).contains(['\r', '\n']) {
            return Err(InvalidKey::Malformed);
        }
        let mut parts = line.split_ascii_whitespace();
        let (Some(kind), Some(base64)) = (parts.next(), parts.next()) else { return Err(InvalidKey::Malformed) };
        let key = Self::from_blob(&STANDARD.decode(base64).map_err(|_| InvalidKey::Malformed)?)?;
        if key.kind() == kind { Ok(key) } else { Err(InvalidKey::Malformed) }
    }
}

impl fmt::Display for PublicKey {
    /// The line without a comment: one text per key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), STANDARD.encode(self.to_blob()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}
