//! Secrets for the door: made for a sign-in and a resource, kept as verifiers only, gone when the last live grant is.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use safeconduct_model::{Digest, PrincipalName, ResourceName, SignInId, Timestamp};
use safeconduct_protocol::postgres::scram::{ITERATIONS, Verifier};
use zeroize::Zeroizing;

use crate::{
    door::{allowed_database, windows},
    identity::Caller,
    node::App,
    ports::ValueChange,
    problem::{Problem, ProblemKind},
    world::World,
};

/// Secrets of one sign-in for one resource that work at the same time.
const SECRETS_PER_SIGN_IN: usize = 8;

/// Kind of stored values: door secrets' verifiers.
pub(crate) const DOOR_SECRETS: &str = "door-secret";

/// A secret with which a client signs in at the door.
#[derive(Debug)]
pub struct DoorSecret {
    pub user: PrincipalName,
    pub password: Zeroizing<String>,
    /// `RESOURCE` or `RESOURCE/DATABASE`.
    pub dbname: String,
    pub host: String,
    pub port: u16,
    pub ca_pem: String,
    /// When the last live grant ends, as things stand.
    pub valid_until: Option<Timestamp>,
}

impl App {
    /// Makes a secret for the door, bound to the caller, this sign-in and the resource. Needs a live grant.
    ///
    /// # Errors
    /// `GRANT-001` without a live grant, `RES-001` for a resource the caller may not know.
    pub async fn connect(&self, caller: &Caller, resource: &ResourceName, database: Option<&str>) -> Result<DoorSecret, Problem> {
        let (guard, work) = self.begin().await;
        let found = work.world.resource(resource).cloned();
        let grants = work.world.live_grants(&caller.name, resource, work.now);
        let Some(found) = found.filter(|r| r.postgres().is_some()) else { return Err(Problem::no_resource(resource.as_str())) };
        if grants.is_empty() && !self.may_know(&work.world, caller, &found, work.now) {
            return Err(Problem::no_resource(resource.as_str()));
        }
        let name = allowed_database(&found, database)
            .ok_or_else(|| Problem::invalid("this database is not offered").next("`resources` lists what may be asked for"))?;
        if windows(&work.world, &caller.name, resource, &name, work.now).is_empty() {
            return Err(Problem::new("GRANT-001", ProblemKind::Denied, format!("you have no live grant on `{resource}`"))
                .next(format!("ask for one: safeconduct request {resource} --operation read --for 15m --reason \"…\"")));
        }
        let mut bytes = Zeroizing::new([0_u8; 32]);
        self.node.ports.entropy.fill(&mut *bytes)?;
        let password = Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*bytes));
        let salt = shared_salt(&self.node.door_salt_key, &caller.name, resource);
        let verifier = Verifier::derive(&password, &salt, ITERATIONS).map_err(|_| Problem::invalid("no secret could be made"))?.encode();
        let stored = |verifier: &str, value| ValueChange {
            kind: DOOR_SECRETS.to_owned(),
            key: door_key(&caller.name, resource, &caller.sign_in, verifier),
            value,
        };
        let holder = (caller.name.clone(), resource.clone());
        // Earlier secrets of the same sign-in go on working, the last few of them: a client that reconnects uses its own.
        let oldest = self.node.door_secrets.lock().get(&holder).and_then(|of_holder| {
            let own = || of_holder.iter().filter(|(sign_in, _)| *sign_in == caller.sign_in);
            own().next().filter(|_| own().count() >= SECRETS_PER_SIGN_IN).map(|(_, verifier)| verifier.clone())
        });
        let mut changes = vec![stored(&verifier, Some(verifier.clone().into_bytes()))];
        changes.extend(oldest.iter().map(|oldest| stored(oldest, None)));
        self.node.ports.store.put_values(changes).await?;
        {
            let mut secrets = self.node.door_secrets.lock();
            let of_holder = secrets.entry(holder).or_default();
            of_holder.retain(|(_, verifier)| Some(verifier) != oldest.as_ref());
            of_holder.push((caller.sign_in.clone(), verifier));
        }
        drop(guard);
        Ok(DoorSecret {
            user: caller.name.clone(),
            password,
            dbname: database.map_or_else(|| resource.to_string(), |d| format!("{resource}/{d}")),
            host: self.node.settings.door.host.clone(),
            port: self.node.settings.door.port,
            ca_pem: self.node.settings.door.ca_pem.clone(),
            valid_until: grants.iter().filter_map(|a| a.deadline()).max(),
        })
    }

    /// Secrets work until no live grant remains: then they are gone, not only useless.
    pub(crate) fn forget_unused_door_secrets(
        &self,
        world: &World,
        holders: &BTreeSet<(PrincipalName, ResourceName)>,
        now: Timestamp,
    ) -> Vec<ValueChange> {
        let mut gone = Vec::new();
        let mut secrets = self.node.door_secrets.lock();
        for holder in holders {
            if world.live_grants(&holder.0, &holder.1, now).is_empty() {
                for (sign_in, verifier) in secrets.remove(holder).unwrap_or_default() {
                    let key = door_key(&holder.0, &holder.1, &sign_in, &verifier);
                    gone.push(ValueChange { kind: DOOR_SECRETS.to_owned(), key, value: None });
                }
            }
        }
        gone
    }
}

/// Key of a stored door secret: whose it is, and which of theirs.
pub(crate) fn door_key(principal: &PrincipalName, resource: &ResourceName, sign_in: &SignInId, verifier: &str) -> String {
    format!("{principal}/{resource}/{sign_in}/{}", Digest::of_bytes(verifier.as_bytes()).short())
}

/// All secrets of one holder for one resource share a salt: SCRAM names the salt before the client shows which secret it has.
fn shared_salt(key: &[u8; 32], principal: &PrincipalName, resource: &ResourceName) -> Vec<u8> {
    let text = Verifier::decoy(key, &format!("{principal}\0{resource}"), ITERATIONS).encode();
    let salt = text.split(['$', ':']).nth(2).and_then(|salt| STANDARD.decode(salt).ok());
    salt.unwrap_or_else(|| key.iter().take(16).copied().collect())
}

/// Secrets of the door as stored values.
pub(crate) fn read_door_secrets(values: Vec<(String, Vec<u8>)>) -> BTreeMap<(PrincipalName, ResourceName), Vec<(SignInId, String)>> {
    let mut secrets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, value) in values {
        let mut parts = key.split('/');
        let parsed = (|| Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))();
        if let (Some((principal, resource, sign_in)), Ok(verifier)) = (parsed, String::from_utf8(value)) {
            secrets.entry((principal, resource)).or_default().push((sign_in, verifier));
        }
    }
    secrets
}
