//! Login roles at a resource's server, one per session: made, kept equal to what grants give, and retired with proof.
//!
//! Everything is done by the gateway's own account, which may create roles and is no superuser. Passwords are drawn here; the server gets
//! only what checks them.

mod admin;
mod finish;
mod follow;
mod sql;

pub(crate) use finish::let_finish;
pub(crate) use follow::{Follow, follow, raise};

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use safeconduct_app::ports::{BoxFuture, Login as Minted, Minting, MintingError, Rights, Role};
use safeconduct_lifecycle::Retirement;
use safeconduct_model::{Resource, SESSION_ROLE_PREFIX};
use safeconduct_protocol::postgres::scram::Verifier;
use zeroize::Zeroizing;

use self::admin::{Admin, AdminError};
use crate::{
    Limits, Secrets,
    upstream::{self, Login, UpstreamError},
};

/// Random bytes in a password.
const PASSWORD_BYTES: usize = 32;
/// Rounds protect passwords that can be guessed. Nobody guesses 256 random bits, and each round is paid for at every sign-in.
const ITERATIONS: u32 = 1;
/// Error codes that say: this login does not exist or may not sign in.
const REFUSED: [&str; 2] = ["28P01", "28000"];

/// Makes and retires login roles on PostgreSQL servers.
pub struct PostgresMinting {
    secrets: Secrets,
    limit: Duration,
    /// Connections of the gateway's own account that are kept, by what they are for.
    kept: Mutex<HashMap<Place, Arc<Kept>>>,
}

/// Where a connection leads: host, port, account, database.
type Place = (String, u16, String, String);

/// Opening sessions never waits for the retiring of others.
#[derive(Default)]
struct Kept {
    making: tokio::sync::Mutex<Option<Admin>>,
    retiring: tokio::sync::Mutex<Option<Admin>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Errand {
    Making,
    Retiring,
}

impl PostgresMinting {
    /// Roles are made with the accounts that resource files name; `secrets` reads their passwords.
    #[must_use]
    pub fn new(secrets: Secrets, limits: Limits) -> Self {
        Self { secrets, limit: limits.upstream_connect, kept: Mutex::default() }
    }

    /// Runs statements in one transaction, over the connection that is kept for it. A connection that was lost while it lay idle is
    /// replaced once; then `again` is run.
    async fn run(
        &self,
        errand: Errand,
        resource: &Resource,
        database: &str,
        statements: &str,
        again: &str,
    ) -> Result<Vec<admin::Rows>, MintingError> {
        let place = place(resource, database)?;
        let kept = Arc::clone(self.kept.lock().entry(place).or_default());
        let slot = if errand == Errand::Making { &kept.making } else { &kept.retiring };
        let mut slot = slot.lock().await;
        // Taken out while it is in use: one whose answer nobody waited for is never used again.
        if let Some(mut admin) = slot.take() {
            match admin.run(statements).await {
                Ok(rows) => {
                    *slot = Some(admin);
                    return Ok(rows);
                }
                Err(AdminError::Refused { sqlstate, message }) => {
                    *slot = Some(admin);
                    return Err(MintingError::Refused { sqlstate, message });
                }
                Err(AdminError::Lost(error)) => tracing::debug!(%error, "a kept connection was lost"),
            }
            let mut admin = self.connect(resource, database).await?;
            let rows = admin.run(again).await?;
            *slot = Some(admin);
            return Ok(rows);
        }
        let mut admin = self.connect(resource, database).await?;
        let answer = admin.run(statements).await;
        if !matches!(answer, Err(AdminError::Lost(_))) {
            *slot = Some(admin);
        }
        Ok(answer?)
    }

    async fn connect(&self, resource: &Resource, database: &str) -> Result<Admin, MintingError> {
        let login = Login { settings: &admin::settings(), ..Login::own(resource, database, "safeconduct roles") };
        let upstream = upstream::connect(&login, &self.secrets, self.limit).await;
        Ok(Admin::over(upstream.map_err(|error| MintingError::Unreachable(Box::new(error)))?))
    }

    async fn mint_role(&self, role: &Role, rights: &Rights) -> Result<Minted, MintingError> {
        let (login, verifier) = fresh(&role.name)?;
        let make = sql::make(role, rights, &verifier);
        let again = format!("{};{make}", sql::drop(&role.name));
        self.run(Errand::Making, &role.resource, &role.database, &make, &again).await?;
        Ok(login)
    }

    async fn change_role(&self, role: &Role, from: &Rights, to: &Rights) -> Result<(), MintingError> {
        let change = sql::change(role, from, to);
        if !change.is_empty() {
            self.run(Errand::Making, &role.resource, &role.database, &change, &change).await?;
        }
        Ok(())
    }

    async fn retire_role(&self, role: &Role, login: Option<&Minted>) -> Result<Retirement, MintingError> {
        let postgres = role.resource.postgres().ok_or_else(not_postgres)?;
        let owner = postgres.credentials.minted().and_then(|minted| minted.owner.as_deref());
        let run = async |statements: &str| self.run(Errand::Retiring, &role.resource, &postgres.database, statements, statements).await;
        // What the last login's password was is not known after a restart: then it is made another one, which is probed.
        let (fresh, verifier) = match login {
            Some(_) => (None, None),
            None => {
                let (login, verifier) = fresh(&role.name)?;
                (Some(login), Some(verifier))
            }
        };
        let login = login.or(fresh.as_ref()).ok_or_else(|| MintingError::NotProved("there is no login to probe".to_owned()))?;
        let mut proof = Retirement { existed: false, ended: 0, cleared: Vec::new(), probe: String::new() };
        let oid = first(&run(&sql::oid(&role.name)).await?);
        if let Some(oid) = oid {
            proof.existed = true;
            // INVARIANT: sign-in has ended before connections are, so none follows.
            run(&sql::close(&role.name, verifier.as_ref())).await?;
            let mut answers = run(&sql::end_and_look(&oid)).await?.into_iter();
            let ended = answers.next().unwrap_or_default();
            if ended.iter().flatten().any(|done| done.as_deref() != Some("t")) {
                return Err(MintingError::NotProved("a connection does not end".to_owned()));
            }
            proof.ended = u32::try_from(ended.len()).unwrap_or(u32::MAX);
            let left = answers.next().unwrap_or_default();
            for database in left.into_iter().flatten().map(|name| name.unwrap_or_else(|| postgres.database.clone())) {
                let mut admin = self.connect(&role.resource, &database).await?;
                admin.run(&sql::clear(&role.name, owner)).await?;
                admin.close().await;
                proof.cleared.push(database);
            }
            run(&sql::drop(&role.name)).await?;
        }
        proof.probe = self.probe(role, login).await?;
        Ok(proof)
    }

    /// Signs in with the retired login, which the server must refuse.
    async fn probe(&self, role: &Role, login: &Minted) -> Result<String, MintingError> {
        let probe = Login { minted: Some(login), expects_refusal: true, ..Login::own(&role.resource, &role.database, "safeconduct probe") };
        match upstream::connect(&probe, &self.secrets, self.limit).await {
            Ok(_) => Err(MintingError::NotProved("the retired login still signs in".to_owned())),
            Err(UpstreamError::LoginRefused { sqlstate, .. }) if REFUSED.contains(&sqlstate.as_str()) => Ok(sqlstate),
            Err(error) => Err(MintingError::Unreachable(Box::new(error))),
        }
    }

    async fn found_roles(&self, resource: &Resource) -> Result<BTreeSet<String>, MintingError> {
        let postgres = resource.postgres().ok_or_else(not_postgres)?;
        let statement = sql::named_like(SESSION_ROLE_PREFIX);
        let answers = self.run(Errand::Retiring, resource, &postgres.database, &statement, &statement).await?;
        let owner = postgres.credentials.minted().and_then(|minted| minted.owner.as_ref());
        let own = |name: &String| name == postgres.credentials.stored().0 || Some(name) == owner;
        Ok(answers.into_iter().flatten().flatten().flatten().filter(|name| !own(name)).collect())
    }
}

impl Minting for PostgresMinting {
    fn make<'a>(&'a self, role: &'a Role, rights: &'a Rights) -> BoxFuture<'a, Result<Minted, MintingError>> {
        Box::pin(self.mint_role(role, rights))
    }

    fn change<'a>(&'a self, role: &'a Role, from: &'a Rights, to: &'a Rights) -> BoxFuture<'a, Result<(), MintingError>> {
        Box::pin(self.change_role(role, from, to))
    }

    fn retire<'a>(&'a self, role: &'a Role, login: Option<&'a Minted>) -> BoxFuture<'a, Result<Retirement, MintingError>> {
        Box::pin(self.retire_role(role, login))
    }

    fn found<'a>(&'a self, resource: &'a Arc<Resource>) -> BoxFuture<'a, Result<BTreeSet<String>, MintingError>> {
        Box::pin(self.found_roles(resource))
    }
}

/// A password nobody knows yet, and what the server needs to check it.
fn fresh(role: &str) -> Result<(Minted, Verifier), MintingError> {
    let no_entropy = || MintingError::Unreachable("no random bytes to be had".into());
    let (mut bytes, mut salt) = (Zeroizing::new([0_u8; PASSWORD_BYTES]), [0_u8; 16]);
    getrandom::fill(&mut *bytes).and_then(|()| getrandom::fill(&mut salt)).map_err(|_| no_entropy())?;
    let mut password = Zeroizing::new(String::with_capacity(2 * PASSWORD_BYTES));
    for byte in bytes.iter() {
        for half in [byte >> 4, byte & 15] {
            password.extend(char::from_digit(half.into(), 16));
        }
    }
    let verifier = Verifier::derive(&password, &salt, ITERATIONS).map_err(|error| MintingError::Unreachable(Box::new(error)))?;
    Ok((Minted { role: role.to_owned(), password }, verifier))
}

fn place(resource: &Resource, database: &str) -> Result<Place, MintingError> {
    let postgres = resource.postgres().ok_or_else(not_postgres)?;
    Ok((postgres.host.clone(), postgres.port, postgres.credentials.stored().0.clone(), database.to_owned()))
}

fn not_postgres() -> MintingError {
    MintingError::Unreachable("the resource is no PostgreSQL server".into())
}

/// The first value of the first row.
fn first(answers: &[admin::Rows]) -> Option<String> {
    answers.first()?.first()?.first()?.clone()
}
