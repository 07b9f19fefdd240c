//! Signers in software, the one of an authenticator included: they make what the real ones make, and what those never would.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signer as _, SigningKey};
use safeconduct_evidence::{Enrolled, Made, NAMESPACE, PublicKey, Signature, Site, Statement, Verdict, to_be_signed};
use safeconduct_model::{
    AccessRequestId, Asked, Bar, Digest, Envelope, Operation, Origin, PrincipalKind, PrincipalName, Quorum, Scope, SqlAction, Timestamp,
    Ttl, Words,
};
use sha2::{Digest as _, Sha256};

pub const ORIGIN: &str = "https://gateway.example";
pub const DOMAIN: &str = "gateway.example";

/// User present and user verified.
pub const BOTH: u8 = 0x05;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_763_820_000_000_000).plus_seconds(seconds)
}

pub fn person(name: &str) -> PrincipalName {
    name.parse().unwrap()
}

pub fn words(text: &str) -> Words {
    Words::new(text).unwrap()
}

/// Ana asks, at second 0, to run one statement within ten minutes; undecided, it lapses after an hour.
pub fn envelope(sql: &str) -> Envelope {
    let action = safeconduct_model::Action::Sql(SqlAction {
        database: "orders".into(),
        text: sql.into(),
        parameters: vec![],
        settings: std::collections::BTreeMap::new(),
        copy_data: None,
    });
    Envelope {
        v: 1,
        gateway: "test".into(),
        access_request: AccessRequestId::from_bits(1),
        nonce: "0".repeat(32),
        requester: person("ana"),
        requester_kind: PrincipalKind::Person,
        resource: "orders-db".parse().unwrap(),
        scope: Scope::Exact { action, needs: [Operation::Write].into_iter().collect() },
        duration: Ttl::from_seconds(600).unwrap(),
        starts_at: None,
        asked_at: at(0),
        pending_until: at(3600),
        asked: Asked {
            reason: words("mend order 4711"),
            ticket: None,
            source: "127.0.0.1".into(),
            sign_in: "password".into(),
            sign_in_age_seconds: 5,
            claims: std::collections::BTreeMap::new(),
        },
        origin: Origin::Asked,
        policy: Digest::of_bytes(b"policy"),
        quorum: Some(Quorum { any_of: vec![Bar { count: 1, groups: std::collections::BTreeSet::new() }] }),
        roster_epoch: 7,
    }
}

pub fn statement(envelope: &Envelope, approver: &str, signed_at: Timestamp) -> Statement {
    Statement::about(envelope, Verdict::Approve, person(approver), None, signed_at).unwrap()
}

pub fn site() -> Site {
    Site { origins: [ORIGIN.to_owned()].into(), relying_party: DOMAIN.into() }
}

pub fn enrolled(key: &PublicKey) -> Vec<Enrolled> {
    vec![Enrolled { key: key.clone(), since: at(-60) }]
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn public(parts: &[&[u8]]) -> PublicKey {
    PublicKey::from_blob(&parts.iter().flat_map(|part| string(part)).collect::<Vec<u8>>()).unwrap()
}

/// An Ed25519 key in a file.
pub struct FileKey(SigningKey);

impl FileKey {
    pub fn of(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn public(&self) -> PublicKey {
        public(&[b"ssh-ed25519", self.0.verifying_key().as_bytes()])
    }

    pub fn sign(&self, text: &str) -> String {
        self.sign_for(NAMESPACE, text)
    }

    pub fn sign_for(&self, namespace: &str, text: &str) -> String {
        let signature = self.0.sign(&to_be_signed(namespace, text.as_bytes())).to_bytes();
        Signature::new(self.public(), namespace.into(), Made::Plain(signature)).to_armor()
    }
}

/// A security key of the command line: Ed25519, for `ssh:`.
pub struct SecurityKey(SigningKey);

impl SecurityKey {
    pub fn of(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn public(&self) -> PublicKey {
        public(&[b"sk-ssh-ed25519@openssh.com", self.0.verifying_key().as_bytes(), b"ssh:"])
    }

    pub fn sign(&self, text: &str, flags: u8) -> String {
        let message = Sha256::digest(to_be_signed(NAMESPACE, text.as_bytes()));
        let data = [&Sha256::digest("ssh:")[..], &[flags], &9_u32.to_be_bytes(), &message].concat();
        let made = Made::Authenticator { signature: self.0.sign(&data).to_bytes(), flags, counter: 9 };
        Signature::new(self.public(), NAMESPACE.into(), made).to_armor()
    }
}

/// A passkey in a browser.
pub struct Passkey {
    pair: EcdsaKeyPair,
    domain: String,
}

/// What the browser says.
pub struct Said<'a> {
    pub origin: &'a str,
    pub rest: &'a str,
    pub flags: u8,
}

pub const SAID: Said<'static> = Said { origin: ORIGIN, rest: ",\"crossOrigin\":false}", flags: BOTH };

impl Passkey {
    pub fn at(domain: &str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap(), domain: domain.into() }
    }

    pub fn public(&self) -> PublicKey {
        public(&[b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", self.pair.public_key().as_ref(), self.domain.as_bytes()])
    }

    /// What it answers a page that asks for a signature of this purpose: authenticator data, client data and signature.
    pub fn answer(&self, namespace: &str, text: &str, said: &Said<'_>) -> (Vec<u8>, String, [u8; 64]) {
        let challenge = URL_SAFE_NO_PAD.encode(to_be_signed(namespace, text.as_bytes()));
        let client_data = format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{}"{}"#, said.origin, said.rest);
        let data = [&Sha256::digest(&self.domain)[..], &[said.flags], &4_u32.to_be_bytes()].concat();
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap().as_ref().try_into().unwrap();
        (data, client_data, signature)
    }

    pub fn sign(&self, text: &str, said: &Said<'_>) -> String {
        let (_, client_data, signature) = self.answer(NAMESPACE, text, said);
        let (origin, extensions) = (said.origin.to_owned(), Vec::new());
        let made = Made::WebAuthn { signature, flags: said.flags, counter: 4, origin, client_data, extensions };
        Signature::new(self.public(), NAMESPACE.into(), made).to_armor()
    }
}

/// The blob within a signature's armor.
pub fn blob(armor: &str) -> Vec<u8> {
    STANDARD.decode(armor.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

/// A blob in armor.
pub fn armor(blob: &[u8]) -> String {
    let lines: Vec<String> = STANDARD.encode(blob).as_bytes().chunks(70).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}
