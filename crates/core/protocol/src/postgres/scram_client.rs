//! SCRAM-SHA-256, the client's side (RFC 5802, RFC 7677): proving to a server that we know a password, and hearing that it does, too.
//!
//! Without channel binding. What is slow, deriving keys from a password, is a step of its own, so that its result can be kept: the same
//! password, salt and rounds give the same keys at every sign-in. The caller brings the nonce.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::scram::{ScramError, hmac, printable, text};

/// Most rounds we work for. PostgreSQL's default is 4,096; a server that asks for more than this wants our time.
const MOST_ITERATIONS: u32 = 1 << 20;

/// What a password becomes with a server's salt. As good as the password at that server.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    client: [u8; 32],
    server: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

/// What a server says of how it keeps a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Salting {
    pub salt: Vec<u8>,
    pub iterations: u32,
}

impl Salting {
    /// Derives the keys of a password that is prepared (SASLprep). Takes about a millisecond for 4,096 rounds.
    #[must_use]
    pub fn keys(&self, prepared: &[u8]) -> Keys {
        let mut salted = [0_u8; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(prepared, &self.salt, self.iterations, &mut salted);
        let keys = Keys { client: hmac(&salted, &[b"Client Key"]), server: hmac(&salted, &[b"Server Key"]) };
        salted.zeroize();
        keys
    }
}

/// The client's first message. `nonce` is fresh printable ASCII without commas, at least 18 random bytes in base 64.
#[must_use]
pub fn client_first(nonce: &str) -> String {
    format!("n,,n=,r={nonce}")
}

/// What the server asked, before it is answered.
#[derive(Debug)]
pub struct Challenge {
    pub salting: Salting,
    nonce: String,
    so_far: String,
}

impl Challenge {
    /// Reads the server's first message, which answers [`client_first`] with the same nonce.
    ///
    /// # Errors
    /// [`ScramError`]: the exchange is over.
    pub fn read(nonce: &str, message: &[u8]) -> Result<Self, ScramError> {
        let first = text(message)?;
        let mut parts = first.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(ScramError::Malformed);
        let (theirs, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        // It must go on from ours: else it is an answer to somebody else.
        let fresh = theirs.strip_prefix(nonce).is_some_and(printable);
        let salt = STANDARD.decode(salt).map_err(|_| ScramError::Malformed)?;
        let iterations = iterations.parse().map_err(|_| ScramError::Malformed)?;
        if parts.next().is_some() || !fresh || salt.is_empty() || !(1..=MOST_ITERATIONS).contains(&iterations) {
            return Err(ScramError::Malformed);
        }
        Ok(Self { salting: Salting { salt, iterations }, nonce: theirs.to_owned(), so_far: format!("n=,r={nonce},{first},") })
    }

    /// The client's final message, and what the server must answer.
    pub fn prove(self, keys: &Keys) -> (String, AwaitingServer) {
        let unproved = format!("c={},r={}", STANDARD.encode("n,,"), self.nonce);
        let stored: [u8; 32] = Sha256::digest(keys.client).into();
        let said: [&[u8]; 2] = [self.so_far.as_bytes(), unproved.as_bytes()];
        let mut proof = hmac(&stored, &said);
        proof.iter_mut().zip(keys.client).for_each(|(byte, mask)| *byte ^= mask);
        (format!("{unproved},p={}", STANDARD.encode(proof)), AwaitingServer { signature: hmac(&keys.server, &said) })
    }
}

/// An exchange in which the server has yet to prove that it knows the password.
#[derive(Debug)]
#[must_use = "a server that was not heard has proved nothing"]
pub struct AwaitingServer {
    signature: [u8; 32],
}

impl AwaitingServer {
    /// Checks the server's final message.
    ///
    /// # Errors
    /// [`ScramError::Proof`] unless it knows the password.
    pub fn check(self, message: &[u8]) -> Result<(), ScramError> {
        let signature = text(message)?.strip_prefix("v=").ok_or(ScramError::Proof)?;
        let signature = STANDARD.decode(signature).map_err(|_| ScramError::Malformed)?;
        if bool::from(signature.ct_eq(&self.signature)) { Ok(()) } else { Err(ScramError::Proof) }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::scram::{AwaitingFirst, Binding, SCRAM_SHA_256, Verifier},
        *,
    };

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn signs_in(known: &str, typed: &str, iterations: u32) -> Result<(), ScramError> {
        let verifier = Verifier::derive(known, b"0123456789abcdef", iterations).unwrap();
        let server = AwaitingFirst::new(verifier, Binding::None);
        let (server, first) = server.answer(SCRAM_SHA_256, client_first(NONCE).as_bytes(), "c2VydmVyLW5vbmNl")?;
        let challenge = Challenge::read(NONCE, first.as_bytes())?;
        let keys = challenge.salting.keys(typed.as_bytes());
        let (message, awaiting) = challenge.prove(&keys);
        awaiting.check(server.prove(message.as_bytes())?.server_final.as_bytes())
    }

    #[test]
    fn both_sides_understand_one_another() {
        assert_eq!(signs_in("s3cret pass", "s3cret pass", 10), Ok(()));
        assert_eq!(signs_in("s3cret pass", "s3cret pas", 10), Err(ScramError::Proof));
    }

    /// The example of RFC 7677, whose client names a user. PostgreSQL's does not, so only what does not depend on that is compared.
    #[test]
    fn rfc_7677_example() {
        let mut challenge = Challenge::read(NONCE, FIRST.as_bytes()).unwrap();
        challenge.so_far = format!("n=user,r={NONCE},{FIRST},");
        let keys = challenge.salting.keys(b"pencil");
        let (message, awaiting) = challenge.prove(&keys);
        assert!(message.ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), "{message}");
        awaiting.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(…)");
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let challenge = || Challenge::read(NONCE, FIRST.as_bytes()).unwrap();
        let keys = challenge().salting.keys(b"pencil");
        for lie in [&b"v="[..], b"e=other-error", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", b"\xff", b""] {
            assert!(challenge().prove(&keys).1.check(lie).is_err());
        }
    }

    #[test]
    fn challenges_that_are_no_answer_to_ours_or_cost_too_much_are_refused() {
        let refused = |message: &str| Challenge::read(NONCE, message.as_bytes()).is_err();
        assert!(!refused(FIRST));
        assert!(refused(&FIRST.replace("r=rOpr", "r=xOpr")));
        assert!(refused("r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), "a nonce of its own is missing");
        assert!(refused(&FIRST.replace("i=4096", "i=0")) && refused(&FIRST.replace("i=4096", "i=99999999")));
        assert!(refused(&FIRST.replace("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=")) && refused(&format!("{FIRST},m=more")));
    }
}
