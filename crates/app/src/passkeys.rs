//! Signing in with a passkey: a challenge that is good once and for two minutes, and a signature by a key enrolled for whoever it names.
//!
//! Nothing is kept for those who only ask for a challenge, so nobody can crowd others out: a challenge says itself when it ends, and
//! proves that it is ours. Used ones are kept until they would have ended.

use std::{collections::HashMap, sync::OnceLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use safeconduct_evidence::{Made, PublicKey, Signature, check_presence};
use safeconduct_model::{Digest, Level, PrincipalKind, PrincipalName, Timestamp};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    identity::{NewSignIn, SignedIn, seconds},
    node::App,
    problem::{Problem, ProblemKind},
    world::World,
};

/// What such signatures are made for. A signature under an approval signs nobody in, and the other way round.
const NAMESPACE: &str = "safeconduct-sign-in@v1";
/// How long a challenge is good for, in seconds.
const CHALLENGE_SECONDS: i64 = 120;
/// Longest parts that are looked at, in bytes.
const LONGEST: usize = 4096;

/// Challenges: the key that makes them ours, and those that somebody signed in with.
#[derive(Default)]
pub(crate) struct Challenges {
    key: OnceLock<Zeroizing<[u8; 32]>>,
    used: Mutex<HashMap<Digest, Timestamp>>,
}

/// What an authenticator and its browser answered.
#[derive(Clone, Debug)]
pub struct PasskeyAnswer {
    pub challenge: String,
    /// Who the passkey says it is.
    pub name: String,
    pub authenticator_data: Vec<u8>,
    pub client_data: String,
    /// The two numbers of the signature, 32 bytes each.
    pub signature: [u8; 64],
}

impl App {
    /// A challenge for one sign-in. Nothing changes by asking for it.
    ///
    /// # Errors
    /// `STORE-001` if there is no randomness.
    pub fn passkey_challenge(&self) -> Result<String, Problem> {
        let mut chance = [0_u8; 16];
        self.node.ports.entropy.fill(&mut chance)?;
        let chance: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{}.{chance}", self.now().plus_seconds(CHALLENGE_SECONDS).micros());
        Ok(format!("{text}.{}", self.challenge_tag(&text)?))
    }

    /// Signs a person in with a passkey that is enrolled for them and that checked who its user is.
    ///
    /// # Errors
    /// `SIGN-008`, one answer for everything that is not right.
    pub async fn sign_in_with_passkey(&self, answer: PasskeyAnswer, source: &str) -> Result<SignedIn, Problem> {
        let ends = self.check_challenge(&answer.challenge)?;
        let key = match self.key_that_answered(&self.world(), &answer) {
            Ok(key) => key,
            Err(why) => {
                tracing::info!(why, "a passkey did not sign in");
                self.record_failed_sign_in(&answer.name, source).await?;
                return Err(refused());
            }
        };
        let name: PrincipalName = answer.name.parse().map_err(|_| refused())?;
        let (guard, work) = self.begin().await;
        // Disabled or removed meanwhile, it proves nothing.
        let person = work.world.directory.find(&name).filter(|p| p.kind == PrincipalKind::Person && !p.disabled).map(|p| p.kind);
        let Some(kind) = person.filter(|_| work.world.directory.key_of(&key.to_string()) == Some(&name)) else { return Err(refused()) };
        {
            let mut used = self.node.challenges.used.lock();
            used.retain(|_, ends| *ends > work.now);
            if used.insert(Digest::of_bytes(answer.challenge.as_bytes()), ends).is_some() {
                return Err(refused());
            }
        }
        let lasts_seconds = seconds(self.node.settings.sign_in);
        let new = NewSignIn { name: &name, kind, method: "passkey", source, lasts_seconds, vouched: None, scopes: None };
        self.store_sign_in(guard, work, new).await
    }

    fn challenge_tag(&self, text: &str) -> Result<String, Problem> {
        let key = match self.node.challenges.key.get() {
            Some(key) => key,
            None => {
                let mut key = Zeroizing::new([0_u8; 32]);
                self.node.ports.entropy.fill(&mut *key)?;
                self.node.challenges.key.get_or_init(|| key)
            }
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(&**key).map_err(|_| refused())?;
        mac.update(text.as_bytes());
        Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// When the challenge ends, if it is ours and has not.
    fn check_challenge(&self, challenge: &str) -> Result<Timestamp, Problem> {
        let (text, tag) = challenge.rsplit_once('.').filter(|_| challenge.len() < LONGEST).ok_or_else(refused)?;
        let own = self.challenge_tag(text)?;
        let same: bool = subtle::ConstantTimeEq::ct_eq(own.as_bytes(), tag.as_bytes()).into();
        let ends = text.split_once('.').and_then(|(ends, _)| ends.parse().ok()).map(Timestamp::from_micros);
        ends.filter(|ends| same && *ends > self.now()).ok_or_else(refused)
    }

    /// The enrolled key that made this answer, for our own page, with its user checked.
    fn key_that_answered(&self, world: &World, answer: &PasskeyAnswer) -> Result<PublicKey, String> {
        let PasskeyAnswer { challenge, name, authenticator_data: data, client_data, signature } = answer;
        if data.len() > LONGEST || client_data.len() > LONGEST {
            return Err("too long".to_owned());
        }
        let name: PrincipalName = name.parse().map_err(|_| "no name".to_owned())?;
        let (Some(flags), Some(counter), Some(extensions)) = (data.get(32), data.get(33..37), data.get(37..)) else {
            return Err("too short".to_owned());
        };
        let counter = counter.try_into().map(u32::from_be_bytes).map_err(|_| "too short".to_owned())?;
        let said: ClientData = serde_json::from_str(client_data).map_err(|_| "no client data".to_owned())?;
        let mut why = "no key is enrolled".to_owned();
        for enrolled in world.enrolled(&name) {
            let made = Made::WebAuthn {
                signature: *signature,
                flags: *flags,
                counter,
                origin: said.origin.clone(),
                client_data: client_data.clone(),
                extensions: extensions.to_vec(),
            };
            // Read back, it is held to the one form that signatures have.
            let made = Signature::new(enrolled.key.clone(), NAMESPACE.to_owned(), made).to_armor();
            let presence = Signature::from_armor(&made).and_then(|read| read.verify(NAMESPACE, challenge.as_bytes()));
            match presence.map_err(|invalid| invalid.to_string()) {
                Ok(presence) => {
                    check_presence(&presence, &enrolled.key, Level::Passkey, &world.trust.site).map_err(|unproved| unproved.to_string())?;
                    return Ok(enrolled.key);
                }
                Err(invalid) => why = invalid,
            }
        }
        Err(why)
    }
}

#[derive(serde::Deserialize)]
struct ClientData {
    origin: String,
}

fn refused() -> Problem {
    Problem::new("SIGN-008", ProblemKind::NotSignedIn, "this passkey does not sign in here")
        .next("sign in another way; under Account you see which keys are enrolled for you")
}
