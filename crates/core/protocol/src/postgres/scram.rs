//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677): who proves that they know a password.
//!
//! The password is never seen here after its verifier was derived. Each step consumes the one before; a wrong answer anywhere ends the
//! exchange, and every failure looks the same from outside. The caller brings the nonce: nothing here draws chance.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism that binds to the TLS certificate (`tls-server-end-point`).
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Rounds used for generated passwords, as PostgreSQL does.
pub const ITERATIONS: u32 = 4096;

/// Most bytes of a client's SASL message.
const MAX_MESSAGE_BYTES: usize = 4096;

/// What is stored of a password: enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Verifier {
    /// Derives the verifier of a password.
    ///
    /// # Errors
    /// [`UnfitPassword`] unless the password is printable ASCII: there SASLprep changes nothing, so none is needed. Also for an empty
    /// salt or no rounds.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Result<Self, UnfitPassword> {
        if password.is_empty() || !password.bytes().all(|b| (0x20..0x7f).contains(&b)) || salt.is_empty() || iterations == 0 {
            return Err(UnfitPassword);
        }
        let mut salted = [0_u8; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
        let client_key = hmac(&salted, &[b"Client Key"]);
        Ok(Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(client_key).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        })
    }

    /// A verifier that no password satisfies, the same at every asking: unknown users can't be told from wrong passwords.
    #[must_use]
    pub fn decoy(secret: &[u8; 32], user: &str, iterations: u32) -> Self {
        let salt = hmac(secret, &[b"safeconduct decoy salt\0", user.as_bytes()]);
        Self {
            salt: salt.iter().take(16).copied().collect(),
            iterations,
            stored_key: hmac(secret, &[b"safeconduct decoy stored key\0", user.as_bytes()]),
            server_key: hmac(secret, &[b"safeconduct decoy server key\0", user.as_bytes()]),
        }
    }

    /// PostgreSQL's text form: `SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY`.
    #[must_use]
    pub fn encode(&self) -> String {
        let (salt, stored, server) = (STANDARD.encode(&self.salt), STANDARD.encode(self.stored_key), STANDARD.encode(self.server_key));
        format!("{SCRAM_SHA_256}${}:{salt}${stored}:{server}", self.iterations)
    }

    /// Reads PostgreSQL's text form.
    ///
    /// # Errors
    /// [`InvalidVerifier`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidVerifier> {
        let rest = text.strip_prefix(SCRAM_SHA_256).and_then(|rest| rest.strip_prefix('$')).ok_or(InvalidVerifier)?;
        let (head, keys) = rest.split_once('$').ok_or(InvalidVerifier)?;
        let (iterations, salt) = head.split_once(':').ok_or(InvalidVerifier)?;
        let (stored, server) = keys.split_once(':').ok_or(InvalidVerifier)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| InvalidVerifier);
        let key = |text: &str| decode(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).map_err(|_| InvalidVerifier));
        let verifier = Self {
            salt: decode(salt)?,
            iterations: iterations.parse().map_err(|_| InvalidVerifier)?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        };
        if verifier.iterations == 0 || verifier.salt.is_empty() { Err(InvalidVerifier) } else { Ok(verifier) }
    }
}

/// How the connection can be bound to the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// No TLS, or a certificate without a usable hash.
    None,
    /// The hash of the server's certificate (RFC 5929).
    TlsServerEndPoint(Vec<u8>),
}

impl Binding {
    /// The mechanisms to offer, best first.
    #[must_use]
    pub const fn mechanisms(&self) -> &'static [&'static str] {
        match self {
            Self::None => &[SCRAM_SHA_256],
            Self::TlsServerEndPoint(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
        }
    }
}

/// An exchange before the client has said anything.
#[derive(Debug)]
pub struct AwaitingFirst {
    verifier: Verifier,
    binding: Binding,
}

impl AwaitingFirst {
    /// Starts an exchange for one user.
    #[must_use]
    pub const fn new(verifier: Verifier, binding: Binding) -> Self {
        Self { verifier, binding }
    }

    /// Takes the client's first message; gives what is awaited next and the server's first message.
    ///
    /// `nonce` is fresh printable ASCII without commas, at least 18 random bytes in base 64.
    ///
    /// # Errors
    /// [`ScramError`]: the exchange is over.
    pub fn answer(self, mechanism: &str, message: &[u8], nonce: &str) -> Result<(AwaitingProof, String), ScramError> {
        let text = text(message)?;
        if !self.binding.mechanisms().contains(&mechanism) {
            return Err(ScramError::Mechanism);
        }
        let (flag, rest) = text.split_once(',').ok_or(ScramError::Malformed)?;
        // No authorization identity: PostgreSQL has none either.
        let bare = rest.strip_prefix(',').ok_or(ScramError::Malformed)?;
        let bound: &[u8] = match (flag, &self.binding) {
            ("p=tls-server-end-point", Binding::TlsServerEndPoint(hash)) if mechanism == SCRAM_SHA_256_PLUS => hash,
            ("n", _) if mechanism == SCRAM_SHA_256 => b"",
            ("y", Binding::None) if mechanism == SCRAM_SHA_256 => b"",
            // `y` where binding was offered: somebody in between took the offer away.
            _ => return Err(ScramError::Binding),
        };
        let expected_binding = STANDARD.encode([flag.as_bytes(), b",,", bound].concat());
        let mut parts = bare.split(',');
        parts.next().and_then(|part| part.strip_prefix("n=")).ok_or(ScramError::Malformed)?;
        let client_nonce =
            parts.next().and_then(|part| part.strip_prefix("r=")).filter(|nonce| printable(nonce)).ok_or(ScramError::Malformed)?;
        if parts.next().is_some() || !printable(nonce) {
            return Err(ScramError::Malformed);
        }
        let nonce = format!("{client_nonce}{nonce}");
        let first = format!("r={nonce},s={},i={}", STANDARD.encode(&self.verifier.salt), self.verifier.iterations);
        let so_far = format!("{bare},{first},");
        Ok((AwaitingProof { verifier: self.verifier, expected_binding, nonce, so_far }, first))
    }
}

/// An exchange in which the client has yet to prove that it knows the password.
#[derive(Debug)]
pub struct AwaitingProof {
    verifier: Verifier,
    expected_binding: String,
    nonce: String,
    so_far: String,
}

impl AwaitingProof {
    /// Checks the client's final message; gives the server's final message.
    ///
    /// # Errors
    /// [`ScramError`]: the exchange is over.
    pub fn prove(self, message: &[u8]) -> Result<Authenticated, ScramError> {
        let text = text(message)?;
        let (unproved, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let (binding, nonce) = unproved.split_once(',').ok_or(ScramError::Malformed)?;
        let binding = binding.strip_prefix("c=").ok_or(ScramError::Malformed)?;
        let nonce = nonce.strip_prefix("r=").ok_or(ScramError::Malformed)?;
        if binding != self.expected_binding {
            return Err(ScramError::Binding);
        }
        if nonce != self.nonce {
            return Err(ScramError::Proof);
        }
        let proof: [u8; 32] = STANDARD.decode(proof).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(ScramError::Malformed)?;
        let signature = hmac(&self.verifier.stored_key, &[self.so_far.as_bytes(), unproved.as_bytes()]);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let stored: [u8; 32] = Sha256::digest(client_key).into();
        if !bool::from(stored.ct_eq(&self.verifier.stored_key)) {
            return Err(ScramError::Proof);
        }
        let server = hmac(&self.verifier.server_key, &[self.so_far.as_bytes(), unproved.as_bytes()]);
        Ok(Authenticated { server_final: format!("v={}", STANDARD.encode(server)) })
    }
}

/// The client knows the password. Holds the message that proves the same of the server.
#[derive(Debug)]
#[must_use = "an exchange that ends here signs nobody in"]
pub struct Authenticated {
    pub server_final: String,
}

/// Why an exchange ended. For the log; outsiders get one answer for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("mechanism was not offered")]
    Mechanism,
    #[error("malformed SASL message")]
    Malformed,
    #[error("channel binding does not match")]
    Binding,
    #[error("wrong password")]
    Proof,
}

/// A password that only SASLprep could make one spelling of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("password is not printable ASCII")]
pub struct UnfitPassword;

/// A text that is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM verifier")]
pub struct InvalidVerifier;

pub(super) fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(ScramError::Malformed);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed)
}

pub(super) fn printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b',')
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // Keys of any length fit; were one refused, the all-zero answer would match no proof.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::*;

    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn rfc7677() -> Verifier {
        Verifier::derive("pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096).unwrap()
    }

    #[test]
    fn rfc_7677_example() {
        let (next, first) = AwaitingFirst::new(rfc7677(), Binding::None).answer(SCRAM_SHA_256, FIRST.as_bytes(), NONCE).unwrap();
        assert_eq!(first, format!("r=rOprNGfwEbeRWgbNEkqO{NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        assert_eq!(next.prove(FINAL.as_bytes()).unwrap().server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn no_byte_of_either_message_can_be_changed() {
        for at in 0..FINAL.len() {
            for flip in [1_u8, 0x20, 0x80] {
                let mut bytes = FINAL.as_bytes().to_vec();
                *bytes.get_mut(at).unwrap() ^= flip;
                let (next, _) = AwaitingFirst::new(rfc7677(), Binding::None).answer(SCRAM_SHA_256, FIRST.as_bytes(), NONCE).unwrap();
                assert!(next.prove(&bytes).is_err(), "byte {at}");
            }
        }
        for at in 0..FIRST.len() {
            let mut bytes = FIRST.as_bytes().to_vec();
            *bytes.get_mut(at).unwrap() ^= 1;
            if let Ok((next, _)) = AwaitingFirst::new(rfc7677(), Binding::None).answer(SCRAM_SHA_256, &bytes, NONCE) {
                assert!(next.prove(FINAL.as_bytes()).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_real_client_signs_in_with_and_without_channel_binding() {
        let hash = vec![7_u8; 32];
        for (binding, mechanism) in
            [(ChannelBinding::unsupported(), SCRAM_SHA_256), (ChannelBinding::tls_server_end_point(hash.clone()), SCRAM_SHA_256_PLUS)]
        {
            let verifier = Verifier::parse(&Verifier::derive("s3cret pass", b"0123456789abcdef", 10).unwrap().encode()).unwrap();
            let mut client = ScramSha256::new(b"s3cret pass", binding);
            let (next, first) = AwaitingFirst::new(verifier, Binding::TlsServerEndPoint(hash.clone()))
                .answer(mechanism, client.message(), "c2VydmVyLW5vbmNl")
                .unwrap();
            client.update(first.as_bytes()).unwrap();
            client.finish(next.prove(client.message()).unwrap().server_final.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_stripped_offer_a_wrong_certificate_and_a_wrong_password_are_refused() {
        let verifier = || Verifier::derive("right", b"salt", 2).unwrap();
        let bound = || Binding::TlsServerEndPoint(vec![1; 32]);
        let stripped = ScramSha256::new(b"right", ChannelBinding::unrequested());
        let refused = AwaitingFirst::new(verifier(), bound()).answer(SCRAM_SHA_256, stripped.message(), "n0nce");
        assert_eq!(refused.err(), Some(ScramError::Binding));
        for (password, certificate, wanted) in [("right", 2, ScramError::Binding), ("wrong", 1, ScramError::Proof)] {
            let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::tls_server_end_point(vec![certificate; 32]));
            let (next, first) = AwaitingFirst::new(verifier(), bound()).answer(SCRAM_SHA_256_PLUS, client.message(), "n0nce").unwrap();
            client.update(first.as_bytes()).unwrap();
            assert_eq!(next.prove(client.message()).err(), Some(wanted));
        }
        let client = ScramSha256::new(b"right", ChannelBinding::unsupported());
        let refused = AwaitingFirst::new(verifier(), Binding::None).answer(SCRAM_SHA_256_PLUS, client.message(), "n0nce");
        assert_eq!(refused.err(), Some(ScramError::Mechanism));
    }

    #[test]
    fn f52_an_unknown_user_gets_the_same_salt_every_time_and_never_in() {
        let decoy = Verifier::decoy(&[3; 32], "nobody", ITERATIONS);
        assert_eq!(decoy, Verifier::decoy(&[3; 32], "nobody", ITERATIONS));
        assert_ne!(decoy.salt, Verifier::decoy(&[3; 32], "somebody", ITERATIONS).salt);
        assert_ne!(decoy.salt, Verifier::decoy(&[4; 32], "nobody", ITERATIONS).salt);
        let mut client = ScramSha256::new(b"guess", ChannelBinding::unsupported());
        let (next, first) = AwaitingFirst::new(decoy, Binding::None).answer(SCRAM_SHA_256, client.message(), "n0nce").unwrap();
        client.update(first.as_bytes()).unwrap();
        assert_eq!(next.prove(client.message()).err(), Some(ScramError::Proof));
    }

    #[test]
    fn verifiers_read_back_and_nothing_else_does() {
        let text = rfc7677().encode();
        assert_eq!(
            text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert_eq!(Verifier::parse(&text).unwrap(), rfc7677());
        for bad in ["", "md5abc", "SCRAM-SHA-256$0:AA==$AA==:AA==", "SCRAM-SHA-256$4096:$", text.trim_end_matches('=')] {
            assert_eq!(Verifier::parse(bad), Err(InvalidVerifier), "{bad}");
        }
        assert_eq!(format!("{:?}", rfc7677()), "Verifier(…)");
        assert!(Verifier::derive("pässword", b"salt", 1).is_err());
    }
}
