//! Signed notes (C2SP `signed-note`) with Ed25519 keys.
//!
//! Decides whether a text was signed by a key we know. Ignores signatures of unknown keys; refuses the whole note when a
//! signature of a known key fails, or when no known key signed.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A note may have this many signatures.
pub const MAX_SIGNATURES: usize = 64;
/// A note may be this large.
pub const MAX_NOTE_BYTES: usize = 256 << 10;

const ED25519: u8 = 0x01;
const DASH: &str = "\u{2014} ";

/// A public key with the name of its holder: whose signatures we believe.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    /// Reads a verifier key: `name+<key id>+<base64 of type and public key>`.
    ///
    /// # Errors
    /// [`KeyError`] if the text is malformed, the type is not Ed25519, or the id does not belong to the key.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        let (name, id, public) = split_key(vkey)?;
        let key = VerifyingKey::from_bytes(&public).map_err(|_| KeyError::NotAKey)?;
        if key.is_weak() {
            return Err(KeyError::NotAKey);
        }
        let parsed = Self::new(name, key)?;
        if parsed.id == id { Ok(parsed) } else { Err(KeyError::WrongId) }
    }

    /// The name of the key's holder; for a log its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name and key id, such as `example.com/log+a1b2c3d4`: short enough for people, too short to trust.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}+{:08x}", self.name, u32::from_be_bytes(self.id))
    }

    fn new(name: &str, key: VerifyingKey) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::BadName);
        }
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes()).finalize();
        Ok(Self { name: name.into(), id: [hash[0], hash[1], hash[2], hash[3]], key })
    }

    fn verify(&self, text: &str, signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        self.key.verify_strict(text.as_bytes(), &signature).is_ok()
    }
}

/// Writes the verifier key as [`VerifierKey::parse`] reads it.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.label(), encode_key(self.key.as_bytes()))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret key with the name of its holder. Its secret is wiped when dropped and never shown by `Debug`.
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

impl SignerKey {
    /// Makes a key from 32 random bytes, which the caller must have drawn and must keep secret.
    ///
    /// # Errors
    /// [`KeyError::BadName`] if the name is empty or holds white space, `+` or control characters.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(seed);
        Ok(Self { verifier: VerifierKey::new(name, key.verifying_key())?, key })
    }

    /// Reads a signing key: `PRIVATE+KEY+name+<key id>+<base64 of type and seed>`.
    ///
    /// # Errors
    /// [`KeyError`]; it never repeats any of the text.
    pub fn parse(skey: &str) -> Result<Self, KeyError> {
        let (name, id, seed) = split_key(skey.strip_prefix("PRIVATE+KEY+").ok_or(KeyError::Malformed)?)?;
        let parsed = Self::from_seed(name, &seed)?;
        if parsed.verifier.id == id { Ok(parsed) } else { Err(KeyError::WrongId) }
    }

    /// The secret text that [`SignerKey::parse`] reads. The caller keeps it out of logs and of the store.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        format!("PRIVATE+KEY+{}+{}", self.verifier.label(), encode_key(self.key.as_bytes()))
    }

    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.verifier.name
    }

    /// Signs a text and returns the note.
    ///
    /// # Errors
    /// [`NoteError::BadText`] unless the text ends in a newline and holds no other control character.
    pub fn sign(&self, text: &str) -> Result<Note, NoteError> {
        if !is_text(text) {
            return Err(NoteError::BadText);
        }
        let signature = NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.id,
            bytes: self.key.sign(text.as_bytes()).to_bytes().to_vec(),
        };
        Ok(Note { text: text.into(), signatures: vec![signature] })
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({})", self.verifier.label())
    }
}

/// A text with signatures. Not to be believed before [`Note::verify`] has named a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

impl Note {
    /// Takes a note apart. Says nothing about its signatures.
    ///
    /// # Errors
    /// [`NoteError`] if the form is wrong.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let note = std::str::from_utf8(note).map_err(|_| NoteError::BadText)?;
        let end = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        if !is_text(text) {
            return Err(NoteError::BadText);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooLarge);
        }
        let signatures = lines.split('\n').map(NoteSignature::parse).collect::<Option<_>>().ok_or(NoteError::BadSignatureLine)?;
        Ok(Self { text: text.into(), signatures })
    }

    /// The keys among `known` that signed, each once; at least one.
    ///
    /// # Errors
    /// [`NoteError::WrongSignature`] if a signature of a known key fails; [`NoteError::UnknownSigners`] if there is none.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signed_by: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            for key in known.iter().filter(|key| key.name == signature.name && key.id == signature.key_id) {
                if !key.verify(&self.text, &signature.bytes) {
                    return Err(NoteError::WrongSignature(key.label()));
                }
                if !signed_by.contains(&key) {
                    signed_by.push(key);
                }
            }
        }
        if signed_by.is_empty() { Err(NoteError::UnknownSigners) } else { Ok(signed_by) }
    }

    /// The signed text, with its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds the signatures of another note over the same text, as a witness or a second key made it.
    ///
    /// # Errors
    /// [`NoteError::BadText`] if the texts differ, [`NoteError::TooLarge`] if there would be too many signatures.
    pub fn add_signatures(&mut self, other: &Self) -> Result<(), NoteError> {
        if self.text != other.text {
            return Err(NoteError::BadText);
        }
        for signature in &other.signatures {
            if !self.signatures.contains(signature) {
                self.signatures.push(signature.clone());
            }
        }
        if self.signatures.len() > MAX_SIGNATURES { Err(NoteError::TooLarge) } else { Ok(()) }
    }
}

/// Writes the note as [`Note::parse`] reads it.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let bytes = [&signature.key_id, signature.bytes.as_slice()].concat();
            writeln!(f, "{DASH}{} {}", signature.name, STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_id, signature) = bytes.split_first_chunk::<4>()?;
        if !is_name(name) || signature.is_empty() {
            return None;
        }
        Some(Self { name: name.into(), key_id: *key_id, bytes: signature.to_vec() })
    }
}

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a key has the form `name+<8 hex digits>+<base64>`")]
    Malformed,
    #[error("a key's name is not empty and holds neither white space nor `+` nor control characters")]
    BadName,
    #[error("the key is not an Ed25519 key")]
    NotAKey,
    #[error("the key id does not belong to the key; was it copied whole?")]
    WrongId,
}

/// Why a note is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("the text of a note is UTF-8, ends in a newline and holds no other control character")]
    BadText,
    #[error("larger than {MAX_NOTE_BYTES} bytes or more than {MAX_SIGNATURES} signatures")]
    TooLarge,
    #[error("there are no signatures")]
    NoSignatures,
    #[error("a signature line is malformed")]
    BadSignatureLine,
    #[error("the signature of {0} does not fit the text")]
    WrongSignature(String),
    #[error("no key that we know has signed it")]
    UnknownSigners,
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && text.chars().all(|c| c == '\n' || c >= ' ')
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control())
}

fn encode_key(key: &[u8; 32]) -> String {
    STANDARD.encode([[ED25519].as_slice(), key].concat())
}

/// `name+id+base64` taken apart. The base64 part may itself hold `+`, the name may not.
fn split_key(text: &str) -> Result<(&str, [u8; 4], [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else { return Err(KeyError::Malformed) };
    if id.len() != 8 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(KeyError::Malformed);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Malformed)?.to_be_bytes();
    let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Malformed)?;
    match bytes.split_first() {
        Some((&ED25519, key)) => Ok((name, id, key.try_into().map_err(|_| KeyError::NotAKey)?)),
        _ => Err(KeyError::NotAKey),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str, seed: u8) -> SignerKey {
        SignerKey::from_seed(name, &[seed; 32]).unwrap()
    }

    #[test]
    fn keys_survive_their_text() {
        let key = signer("example.com/log", 1);
        assert_eq!(&VerifierKey::parse(&key.verifier().to_string()).unwrap(), key.verifier());
        assert_eq!(SignerKey::parse(&key.to_secret_text()).unwrap().verifier(), key.verifier());
        assert!(!format!("{key:?}").contains(&encode_key(&[1; 32])));
    }

    #[test]
    fn malformed_keys_are_refused() {
        let vkey = signer("example.com/log", 1).verifier().to_string();
        assert_eq!(VerifierKey::parse(&vkey.replace("example", "exemple")), Err(KeyError::WrongId));
        assert_eq!(VerifierKey::parse(&vkey.replace("example", " ")), Err(KeyError::BadName));
        assert_eq!(VerifierKey::parse("a+b"), Err(KeyError::Malformed));
        assert_eq!(VerifierKey::parse("a+00000000+AQ=="), Err(KeyError::NotAKey));
        assert_eq!(VerifierKey::parse(&vkey[..vkey.len() - 4]), Err(KeyError::NotAKey));
        assert_eq!(SignerKey::parse(&vkey).err(), Some(KeyError::Malformed));
        for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
            assert_eq!(SignerKey::from_seed(name, &[0; 32]).err(), Some(KeyError::BadName));
        }
    }

    #[test]
    fn a_note_holds_for_its_text_only() {
        let key = signer("k", 1);
        let note = key.sign("one\n\ntwo\n").unwrap();
        let parsed = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(parsed, note);
        assert_eq!(parsed.text(), "one\n\ntwo\n");
        assert_eq!(parsed.verify(std::slice::from_ref(key.verifier())).unwrap(), [key.verifier()]);
        let edited = Note::parse(note.to_string().replace("two", "twO").as_bytes()).unwrap();
        assert_eq!(edited.verify(std::slice::from_ref(key.verifier())), Err(NoteError::WrongSignature(key.verifier().label())));
    }

    #[test]
    fn unknown_keys_are_ignored_and_known_ones_must_hold() {
        let (known, other) = (signer("k", 1), signer("k", 2));
        let keys = [known.verifier().clone()];
        let mut note = other.sign("text\n").unwrap();
        assert_eq!(note.verify(&keys), Err(NoteError::UnknownSigners));
        (10..26).for_each(|seed| note.add_signatures(&signer("witness", seed).sign("text\n").unwrap()).unwrap());
        note.add_signatures(&known.sign("text\n").unwrap()).unwrap();
        assert_eq!(Note::parse(note.to_string().as_bytes()).unwrap().verify(&keys).unwrap(), [known.verifier()]);
        let mut forged = known.sign("other\n").unwrap();
        forged.text = "text\n".into();
        note.add_signatures(&forged).unwrap();
        assert!(matches!(note.verify(&keys), Err(NoteError::WrongSignature(_))));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let good = signer("k", 1).sign("text\n").unwrap().to_string();
        let bad = [
            String::new(),
            "\n\n".into(),
            "text\n".into(),
            "text\n\n".into(),
            good.trim_end().into(),
            format!("{good}\n"),
            good.replace("— ", "- "),
            good.replace("— k ", "— k+ "),
            good.replace("— k ", "—  "),
            good.replace("text", "te\txt"),
            good.replace("text", "te\rxt"),
            good.replace("— k ", "— k !"),
            format!("text\n\n{}", "— k AAAAAAA=\n".repeat(MAX_SIGNATURES + 1)),
            format!("{}\n{good}", "x".repeat(MAX_NOTE_BYTES)),
        ];
        for note in bad {
            assert!(Note::parse(note.as_bytes()).is_err(), "{:?}", note.get(..40));
        }
        assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::BadText));
        assert_eq!(signer("k", 1).sign("no newline"), Err(NoteError::BadText));
    }

    /// From the tests of Go's `golang.org/x/mod/sumdb/note`, where the format comes from.
    #[test]
    fn a_note_signed_by_gos_implementation_holds() {
        let vkey = VerifierKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(Note::parse(note.as_bytes()).unwrap().verify(std::slice::from_ref(&vkey)).unwrap(), [&vkey]);
    }
}
