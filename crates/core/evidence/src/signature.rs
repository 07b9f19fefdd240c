//! SSHSIG signatures (OpenSSH `PROTOCOL.sshsig`), with SHA-512 alone: what `ssh-keygen -Y sign` writes and `-Y verify` accepts.
//!
//! Decides whether the holder of a key signed a message for a purpose, and reports what an authenticator says about its user. Whether
//! that key counts for anybody is decided elsewhere. There is one text per signature: any other form of the same bytes is refused.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    key::{Curve, ED25519, InvalidKey, P256, PublicKey, SK_ED25519, SK_P256},
    wire::{Malformed, Reader, put},
};

const MAGIC: &[u8] = b"SSHSIG";
const HASH: &str = "sha512";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "-----END SSH SIGNATURE-----\n";
/// Characters per line, as OpenSSH wraps.
const LINE: usize = 70;
/// Longest text of a signature: one from a browser has about 900 characters.
const LONGEST: usize = 16 << 10;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const ATTESTED_DATA: u8 = 0x40;
const EXTENSION_DATA: u8 = 0x80;
const BACKED_UP: u8 = 0x10;

/// A parsed signature. Nothing about it is believed before [`Signature::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    key: PublicKey,
    namespace: String,
    made: Made,
}

/// How a signature was made, with what its maker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Straight over the message, as keys in files sign.
    Plain([u8; 64]),
    /// By an authenticator, over its data and the message.
    Authenticator { signature: [u8; 64], flags: u8, counter: u32 },
    /// By an authenticator for a page in a browser.
    WebAuthn { signature: [u8; 64], flags: u8, counter: u32, origin: String, client_data: String, extensions: Vec<u8> },
}

/// What a valid signature says about the one who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The authenticator saw its user act. `None` if no authenticator signed.
    pub present: Option<bool>,
    /// The authenticator checked who its user is.
    pub verified: bool,
    /// The key lies in more places than this authenticator.
    pub backed_up: bool,
    /// Where a browser was, if one asked for the signature.
    pub web: Option<Page>,
}

/// What the browser says about the page that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub origin: String,
    /// True if the page was framed by another site's.
    pub cross_origin: bool,
}

/// Why a text is no signature, or proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    #[error("not an SSH signature as `ssh-keygen -Y sign` writes it")]
    Malformed,
    #[error("the signature's key has a type that can't sign approvals")]
    Kind,
    #[error("the signature was made for another purpose")]
    Namespace,
    #[error("the signature does not belong to what it is said to sign")]
    Wrong,
}

impl From<Malformed> for InvalidSignature {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Signature {
    /// Puts together what a signer made over [`to_be_signed`].
    #[must_use]
    pub const fn new(key: PublicKey, namespace: String, made: Made) -> Self {
        Self { key, namespace, made }
    }

    /// Reads the text that `ssh-keygen -Y sign` writes. The last line break may be missing.
    ///
    /// # Errors
    /// [`InvalidSignature`] unless it is in the one form this would be written in.
    pub fn from_armor(text: &str) -> Result<Self, InvalidSignature> {
        if text.len() > LONGEST {
            return Err(InvalidSignature::Malformed);
        }
        let body = text.strip_prefix(BEGIN).ok_or(InvalidSignature::Malformed)?;
        let body = body.strip_suffix(END).or_else(|| body.strip_suffix(END.trim_end())).ok_or(InvalidSignature::Malformed)?;
        let base64: String = body.split('\n').collect();
        let read = Self::from_blob(&STANDARD.decode(base64).map_err(|_| InvalidSignature::Malformed)?)?;
        let written = read.to_armor();
        if text == written || text == written.trim_end() { Ok(read) } else { Err(InvalidSignature::Malformed) }
    }

    fn from_blob(blob: &[u8]) -> Result<Self, InvalidSignature> {
        let mut reader = Reader(blob);
        if reader.take(MAGIC.len())? != MAGIC || reader.number()? != 1 {
            return Err(InvalidSignature::Malformed);
        }
        let key = PublicKey::from_blob(reader.string()?).map_err(|invalid| match invalid {
            InvalidKey::Malformed => InvalidSignature::Malformed,
            InvalidKey::Kind(_) => InvalidSignature::Kind,
        })?;
        let namespace = reader.text()?.to_owned();
        let reserved = reader.string()?;
        // SHA-512 alone: one signature has one text.
        if !reserved.is_empty() || reader.text()? != HASH {
            return Err(InvalidSignature::Malformed);
        }
        let made = Made::read(&key, reader.string()?)?;
        reader.end()?;
        Ok(Self { key, namespace, made })
    }

    /// The text as `ssh-keygen -Y sign` would write it.
    #[must_use]
    pub fn to_armor(&self) -> String {
        let mut blob = MAGIC.to_vec();
        blob.extend_from_slice(&1_u32.to_be_bytes());
        put(&mut blob, &self.key.to_blob());
        put(&mut blob, self.namespace.as_bytes());
        put(&mut blob, b"");
        put(&mut blob, HASH.as_bytes());
        put(&mut blob, &self.made.to_blob(&self.key));
        let base64 = STANDARD.encode(blob);
        let mut out = String::with_capacity(base64.len() + base64.len() / LINE + BEGIN.len() + END.len());
        out.push_str(BEGIN);
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(LINE));
            out.push_str(line);
            out.push('\n');
            rest = after;
        }
        out.push_str(END);
        out
    }

    /// The key that is said to have signed.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Verifies that the key's holder signed `message` for this purpose.
    ///
    /// # Errors
    /// [`InvalidSignature::Namespace`] for another purpose, [`InvalidSignature::Wrong`] if it does not belong to the message.
    pub fn verify(&self, namespace: &str, message: &[u8]) -> Result<Presence, InvalidSignature> {
        if self.namespace != namespace {
            return Err(InvalidSignature::Namespace);
        }
        let signed = to_be_signed(namespace, message);
        let application = || Sha256::digest(self.key.application().unwrap_or_default());
        match &self.made {
            Made::Plain(signature) => {
                self.check(signature, &signed)?;
                Ok(Presence { present: None, verified: false, backed_up: false, web: None })
            }
            Made::Authenticator { signature, flags, counter } => {
                let data = [&application()[..], &[*flags], &counter.to_be_bytes(), &Sha256::digest(&signed)].concat();
                self.check(signature, &data)?;
                Ok(Presence::of(*flags, None))
            }
            Made::WebAuthn { signature, flags, counter, origin, client_data, extensions } => {
                let web = read_client_data(client_data, origin, &signed).ok_or(InvalidSignature::Wrong)?;
                let hash = Sha256::digest(client_data.as_bytes());
                let data = [&application()[..], &[*flags], &counter.to_be_bytes(), extensions, &hash].concat();
                self.check(signature, &data)?;
                Ok(Presence::of(*flags, Some(web)))
            }
        }
    }

    fn check(&self, signature: &[u8; 64], data: &[u8]) -> Result<(), InvalidSignature> {
        let right = match &self.key.curve {
            Curve::Ed25519(key) => key.verify_strict(data, &ed25519_dalek::Signature::from_bytes(signature)).is_ok(),
            Curve::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(data, signature).is_ok(),
        };
        if right { Ok(()) } else { Err(InvalidSignature::Wrong) }
    }
}

impl Presence {
    fn of(flags: u8, web: Option<Page>) -> Self {
        Self { present: Some(flags & USER_PRESENT != 0), verified: flags & USER_VERIFIED != 0, backed_up: flags & BACKED_UP != 0, web }
    }
}

impl Made {
    fn read(key: &PublicKey, blob: &[u8]) -> Result<Self, InvalidSignature> {
        let mut reader = Reader(blob);
        let kind = reader.text()?;
        let own = kind == key.kind();
        let web = kind == WEBAUTHN && key.kind() == SK_P256;
        if !own && !web {
            return Err(InvalidSignature::Malformed);
        }
        let inner = reader.string()?;
        let signature: [u8; 64] = match &key.curve {
            Curve::Ed25519(_) => inner.try_into().map_err(|_| InvalidSignature::Malformed)?,
            Curve::P256(_) => {
                let mut numbers = Reader(inner);
                let (r, s) = (numbers.scalar()?, numbers.scalar()?);
                numbers.end()?;
                [r, s].concat().try_into().map_err(|_| InvalidSignature::Malformed)?
            }
        };
        let value = match kind {
            ED25519 | P256 => Self::Plain(signature),
            SK_ED25519 | SK_P256 => Self::Authenticator { signature, flags: reader.byte()?, counter: reader.number()? },
            _ => {
                let (flags, counter) = (reader.byte()?, reader.number()?);
                let (origin, client_data) = (reader.text()?.to_owned(), reader.text()?.to_owned());
                let extensions = reader.string()?.to_vec();
                // As OpenSSH: extensions are there if and only if the flags say so, and a new credential is no signature.
                if flags & ATTESTED_DATA != 0 || (flags & EXTENSION_DATA == 0) != extensions.is_empty() {
                    return Err(InvalidSignature::Malformed);
                }
                Self::WebAuthn { signature, flags, counter, origin, client_data, extensions }
            }
        };
        reader.end()?;
        Ok(value)
    }

    fn to_blob(&self, key: &PublicKey) -> Vec<u8> {
        let (Self::Plain(signature) | Self::Authenticator { signature, .. } | Self::WebAuthn { signature, .. }) = self;
        let inner = match key.curve {
            Curve::Ed25519(_) => signature.to_vec(),
            Curve::P256(_) => {
                let mut numbers = Vec::with_capacity(72);
                let (r, s) = signature.split_at(32);
                put_scalar(&mut numbers, r);
                put_scalar(&mut numbers, s);
                numbers
            }
        };
        let mut out = Vec::with_capacity(256);
        put(&mut out, if matches!(self, Self::WebAuthn { .. }) { WEBAUTHN } else { key.kind() }.as_bytes());
        put(&mut out, &inner);
        match self {
            Self::Plain(_) => {}
            Self::Authenticator { flags, counter, .. } => {
                out.push(*flags);
                out.extend_from_slice(&counter.to_be_bytes());
            }
            Self::WebAuthn { flags, counter, origin, client_data, extensions, .. } => {
                out.push(*flags);
                out.extend_from_slice(&counter.to_be_bytes());
                put(&mut out, origin.as_bytes());
                put(&mut out, client_data.as_bytes());
                put(&mut out, extensions);
            }
        }
        out
    }
}

const WEBAUTHN: &str = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

fn put_scalar(out: &mut Vec<u8>, scalar: &[u8]) {
    let digits = scalar.iter().position(|byte| *byte != 0).and_then(|first| scalar.get(first..)).unwrap_or_default();
    let sign = digits.first().is_some_and(|first| first & 0x80 != 0);
    put(out, &[if sign { &[0][..] } else { &[] }, digits].concat());
}

/// What is signed in place of the message: its hash, with the purpose.
#[must_use]
pub fn to_be_signed(namespace: &str, message: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put(&mut out, namespace.as_bytes());
    put(&mut out, b"");
    put(&mut out, HASH.as_bytes());
    put(&mut out, &Sha512::digest(message));
    out
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
    #[serde(rename = "topOrigin", default)]
    top_origin: Option<String>,
}

/// What a browser says it was asked for, if that is this signature for this page.
fn read_client_data(text: &str, origin: &str, challenge: &[u8]) -> Option<Page> {
    let read: ClientData = serde_json::from_str(text).ok()?;
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    // OpenSSH looks at this beginning alone; what we take, it takes.
    let begins = format!("{{\"type\":\"webauthn.get\",\"challenge\":\"{challenge}\",\"origin\":\"{origin}\"");
    let same = read.kind == "webauthn.get" && read.challenge == challenge && read.origin == origin && text.starts_with(&begins);
    same.then(|| Page { origin: origin.to_owned(), cross_origin: read.cross_origin || read.top_origin.is_some() })
}
