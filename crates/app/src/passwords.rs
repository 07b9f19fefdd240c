//! Passwords of people: chosen with a one-time code, kept as hashes, void after a reset. Working one out takes a turn.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use safeconduct_lifecycle::{SignInEvent, StreamId};
use safeconduct_model::{Digest, PrincipalKind, PrincipalName, Timestamp};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    identity::{CODE_SECONDS, CODES, Code},
    node::App,
    ports::ValueChange,
    problem::{Problem, ProblemKind},
    world::World,
};

/// Kind of stored values: password hashes by name.
pub(crate) const PASSWORDS: &str = "password";

/// Shortest password, in characters.
const SHORTEST_PASSWORD: usize = 12;
/// Longest password, in bytes.
const LONGEST_PASSWORD: usize = 1024;

impl App {
    /// Chooses a password with a one-time code, which is used up.
    ///
    /// # Errors
    /// `SIGN-003` for a wrong, used or old code, `SIGN-004` for a password that is too short or long.
    pub async fn choose_password(&self, name: &str, code: Zeroizing<String>, password: Zeroizing<String>) -> Result<(), Problem> {
        let wrong = || Problem::new("SIGN-003", ProblemKind::NotSignedIn, "wrong or used code").next("ask an administrator for a new one");
        check_strength(&password)?;
        let name: PrincipalName = name.parse().map_err(|_| wrong())?;
        let stored = self.node.ports.store.value(CODES, name.as_str()).await?;
        let stored: Code = stored.and_then(|value| serde_json::from_slice(&value).ok()).ok_or_else(wrong)?;
        let given = Digest::of_bytes(code.trim().as_bytes());
        let void_before = self.world().secrets_void_before(&name);
        let void = void_before.is_some_and(|reset| stored.expires_at.plus_seconds(-CODE_SECONDS) < reset);
        let matches: bool = stored.digest.as_bytes().ct_eq(given.as_bytes()).into();
        let enabled = self.world().directory.find(&name).is_some_and(|p| !p.disabled && p.kind == PrincipalKind::Person);
        if void || !matches || !enabled || stored.expires_at <= self.now() {
            return Err(wrong());
        }
        let hash = self.hash_password(password).await?;
        let (guard, mut work) = self.begin().await;
        let now = work.now;
        // Used up once, also by two at the same time; and it is still this code that counts.
        let code = self.node.ports.store.value(CODES, name.as_str()).await?;
        let still: Option<Code> = code.as_deref().and_then(|value| serde_json::from_slice(value).ok());
        let enabled = work.world.directory.find(&name).is_some_and(|p| !p.disabled);
        if !enabled || still.is_none_or(|still| still.digest != stored.digest) {
            return Err(wrong());
        }
        let used_up = ValueChange { kind: CODES.to_owned(), key: name.to_string(), value: None };
        self.node.ports.store.put_values(vec![used_up]).await?;
        work.push(StreamId::SignIns, SignInEvent::PasswordChosen { name: name.clone(), at: now });
        let result = match self.commit(guard, work).await {
            // Recorded before it works. What a reset in between took away was chosen before it and stays away.
            Ok(()) => {
                let chosen = ValueChange { kind: PASSWORDS.to_owned(), key: name.to_string(), value: Some(password_value(now, &hash)) };
                self.node.ports.store.put_values(vec![chosen]).await.map_err(Problem::from)
            }
            Err(problem) => Err(problem),
        };
        // The code is as good as before, unless there is a newer one. If this can't be undone either, a new one is asked for.
        if let (Err(_), Some(code)) = (&result, code)
            && let Err(error) = self.node.ports.store.put_value_if_absent(CODES, name.as_str(), code).await
        {
            tracing::warn!(%error, %name, "a code is used up, and no password was chosen");
        }
        result
    }

    /// Sets a password at the machine. For the operator's first people only.
    pub(crate) async fn set_password(&self, name: &PrincipalName, password: Zeroizing<String>) -> Result<(), Problem> {
        check_strength(&password)?;
        let hash = self.hash_password(password).await?;
        let change = ValueChange { kind: PASSWORDS.to_owned(), key: name.to_string(), value: Some(password_value(self.now(), &hash)) };
        Ok(self.node.ports.store.put_values(vec![change]).await?)
    }

    /// The stored password, unless a reset or disabling has voided it: then it only was not removed yet.
    pub(crate) async fn stored_password(&self, world: &World, name: &PrincipalName) -> Result<Option<Vec<u8>>, Problem> {
        let stored = self.node.ports.store.value(PASSWORDS, name.as_str()).await?;
        let chosen_at = |value: &[u8]| {
            let text = std::str::from_utf8(value).ok()?;
            Some(Timestamp::from_micros(text.split_once(' ')?.0.parse().ok()?))
        };
        let void_before = world.secrets_void_before(name);
        Ok(stored.filter(|value| chosen_at(value).is_some_and(|at| void_before.is_none_or(|reset| at >= reset))))
    }

    async fn hash_password(&self, password: Zeroizing<String>) -> Result<String, Problem> {
        let failed = || Problem::new("SIGN-004", ProblemKind::Invalid, "this password can't be used");
        let _turn = self.node.sign_ins.turn().await?;
        tokio::task::spawn_blocking(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await
            .map_err(|_| failed())?
            .map_err(|_| failed())
    }

    /// Takes as long for names nobody has as for wrong passwords.
    pub(crate) async fn check_password(&self, password: Zeroizing<String>, stored: Option<Vec<u8>>) -> Result<bool, Problem> {
        let busy = || Problem::new("SIGN-005", ProblemKind::TooMany, "too many sign-ins at once").next("try again");
        if password.len() > LONGEST_PASSWORD {
            return Ok(false);
        }
        let _turn = self.node.sign_ins.turn().await?;
        let checked = tokio::task::spawn_blocking(move || {
            let stored = stored.and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(stored) = stored.as_deref().and_then(|text| text.split_once(' ')).map(|(_, hash)| hash) else {
                let _ = Argon2::default().hash_password(password.as_bytes());
                return false;
            };
            PasswordHash::new(stored).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        checked.await.map_err(|_| busy())
    }
}

/// A password as it is stored: when it was chosen, and its hash.
fn password_value(now: Timestamp, hash: &str) -> Vec<u8> {
    format!("{} {hash}", now.micros()).into_bytes()
}

pub(crate) fn check_strength(password: &str) -> Result<(), Problem> {
    let fit = password.chars().count() >= SHORTEST_PASSWORD && password.len() <= LONGEST_PASSWORD;
    if fit {
        Ok(())
    } else {
        Err(Problem::new("SIGN-004", ProblemKind::Invalid, format!("a password has at least {SHORTEST_PASSWORD} characters")))
    }
}
