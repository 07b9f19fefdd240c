//! A telephone with a passkey, made of software: the story has no hands to touch a real one. Everything it sends is what a browser on a real one
//! sends, and is checked as that.

use std::path::Path;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use safeconduct_api::dto;
use safeconduct_evidence::{Made, NAMESPACE, PublicKey, Signature, Verdict, to_be_signed};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{client::Client, failure::Failure, verbs::keys::statement};

/// Somebody touched it, and it knows who.
const PRESENT_AND_VERIFIED: u8 = 0x05;

pub struct Phone {
    pair: EcdsaKeyPair,
    /// The page it signs for: what a browser says, and whose key it is.
    origin: String,
    domain: String,
    public: PublicKey,
    client: Client,
}

impl Phone {
    /// A new passkey for the gateway at this address, in the hands of whoever is signed in under `home`.
    pub fn new(address: &str, ca_file: &Path, home: &Path) -> Result<Self, Failure> {
        let failed = |what: &str| Failure::usage(format!("the telephone {what}"));
        let domain = address.strip_prefix("https://").and_then(|rest| rest.split(':').next()).unwrap_or_default().to_owned();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pair = document.and_then(|document| {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).map_err(|_| aws_lc_rs::error::Unspecified)
        });
        let pair = pair.map_err(|_| failed("can't make a key"))?;
        let parts: [&[u8]; 4] = [b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", pair.public_key().as_ref(), domain.as_bytes()];
        let blob: Vec<u8> =
            parts.iter().flat_map(|part| [&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()[..], part].concat()).collect();
        let public = PublicKey::from_blob(&blob).map_err(|_| failed("made no key that OpenSSH knows"))?;
        let ca = std::fs::read_to_string(ca_file).map_err(|error| Failure::local("reading the authority", &error))?;
        let token = std::fs::read_to_string(home.join("token")).map_err(|error| Failure::local("reading a token", &error))?;
        let client = Client::new(address, &ca, Some(Zeroizing::new(token.trim().to_owned())))?;
        Ok(Self { pair, origin: address.trim_end_matches('/').to_owned(), domain, public, client })
    }

    /// Its public key, as OpenSSH writes it.
    pub fn line(&self) -> String {
        self.public.to_string()
    }

    /// Shows what waits, is touched, and sends the approval.
    pub async fn approve(&self, id: &str) -> Result<dto::AccessRequest, Failure> {
        let request: dto::AccessRequest = self.client.get(&format!("/access-requests/{id}"), &[]).await?;
        let statement = statement(&self.client, &request, Verdict::Approve, None).await?;
        let signature = self.sign(&statement)?;
        let body = dto::Approve { digest: request.digest, comment: None, signed: Some(dto::Signed { statement, signature }) };
        self.client.post(&format!("/access-requests/{id}/approve"), &body).await
    }

    fn sign(&self, statement: &str) -> Result<String, Failure> {
        let challenge = URL_SAFE_NO_PAD.encode(to_be_signed(NAMESPACE, statement.as_bytes()));
        let client_data = format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{}","crossOrigin":false}}"#, self.origin);
        let counter = 1_u32;
        let authenticator = [&Sha256::digest(&self.domain)[..], &[PRESENT_AND_VERIFIED], &counter.to_be_bytes()].concat();
        let signed = [&authenticator[..], &Sha256::digest(&client_data)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).ok().and_then(|signature| signature.as_ref().try_into().ok());
        let signature = signature.ok_or_else(|| Failure::usage("the telephone did not sign"))?;
        let (origin, extensions) = (self.origin.clone(), Vec::new());
        let made = Made::WebAuthn { signature, flags: PRESENT_AND_VERIFIED, counter, origin, client_data, extensions };
        Ok(Signature::new(self.public.clone(), NAMESPACE.into(), made).to_armor())
    }
}
