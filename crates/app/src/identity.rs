//! Signing in: people, tokens of workloads, and who a bearer token is. Only digests are kept.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::RwLock;
use safeconduct_lifecycle::{Actor, Evidence, SignInEvent, StreamId, Vouched};
use safeconduct_model::{Asked, Digest, Operation, PrincipalKind, PrincipalName, SignInId, Timestamp, TokenScope, TokenScopes, Ttl, Words};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    admin::OneTime,
    last_use::{USES, Used, read_uses},
    node::{App, Writing},
    ports::{Store, ValueChange},
    problem::{Problem, ProblemKind},
    reach::Reach,
    turns::{Turn, Turns},
    world::{Work, World},
};

/// Kind of stored values: sign-ins by the digest of their token.
pub(crate) const SIGN_INS: &str = "sign-in";
/// Kind of stored values: one-time codes by name.
pub(crate) const CODES: &str = "code";

/// How long a one-time code lasts, in seconds.
pub(crate) const CODE_SECONDS: i64 = 24 * 3600;
/// Password hashes worked out at the same time: each takes 19 MiB.
const HASHES_AT_ONCE: usize = 2;
/// Most that wait for their turn. Beyond, one is sent away at once.
const HASHES_WAITING: usize = 32;

/// Who is calling, proved by a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: PrincipalName,
    pub kind: PrincipalKind,
    pub sign_in: SignInId,
    /// `password`, `token` or `oidc`.
    pub method: String,
    /// Address of this call.
    pub source: String,
    pub signed_in_at: Timestamp,
    /// When the person proved who they are: before the sign-in, if an identity provider remembered them; `None` if it does not say when.
    pub authenticated_at: Option<Timestamp>,
    /// What else vouches for the caller, as far as the settings keep it: claims of the token that a workload brought or a person signed in with.
    pub claims: BTreeMap<String, Words>,
    /// What the token is narrowed to.
    pub scopes: Option<TokenScopes>,
}

/// A sign-in that has just been made. The token is shown once.
#[derive(Debug)]
pub struct SignedIn {
    pub token: Zeroizing<String>,
    pub caller: Caller,
    pub expires_at: Timestamp,
}

/// A sign-in or token as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    pub sign_in: SignInId,
    pub method: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub source: String,
    /// The identity provider that vouched for the person, by its name in the settings.
    pub provider: Option<String>,
    /// What it is narrowed to.
    pub scopes: Option<TokenScopes>,
    /// To the second, and after a crash to a minute; `None` if it never was.
    pub last_used_at: Option<Timestamp>,
    pub last_used_from: Option<String>,
}

/// Everybody who is signed in.
pub(crate) struct SignIns {
    pub by_digest: RwLock<HashMap<String, SignIn>>,
    hashing: Turns,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SignIn {
    pub sign_in: SignInId,
    pub name: PrincipalName,
    method: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vouched: Option<Box<Vouched>>,
    /// What it is narrowed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scopes: Option<TokenScopes>,
    /// Stored apart.
    #[serde(skip)]
    pub used: Used,
}

/// A sign-in that is about to be made, of somebody who has proved who they are.
pub(crate) struct NewSignIn<'a> {
    pub name: &'a PrincipalName,
    pub kind: PrincipalKind,
    pub method: &'a str,
    pub source: &'a str,
    pub lasts_seconds: i64,
    pub vouched: Option<Box<Vouched>>,
    pub scopes: Option<TokenScopes>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Code {
    pub digest: Digest,
    pub expires_at: Timestamp,
}

/// When somebody proved who they are, and what else was said of them: at the sign-in and nothing, unless a provider vouched for them.
fn vouched_for(vouched: Option<Box<Vouched>>, signed_in_at: Timestamp) -> (Option<Timestamp>, BTreeMap<String, Words>) {
    vouched.map_or((Some(signed_in_at), BTreeMap::new()), |vouched| (vouched.authenticated_at, vouched.claims))
}

impl Caller {
    pub(crate) fn asked(&self, reason: Words, ticket: Option<Words>, now: Timestamp) -> Asked {
        let age = self.authenticated_at.map(|at| now.micros().saturating_sub(at.micros()).max(0) / 1_000_000);
        Asked {
            reason,
            ticket,
            source: self.source.clone(),
            sign_in: self.method.clone(),
            sign_in_age_seconds: age.and_then(|age| u64::try_from(age).ok()).unwrap_or(Asked::OLDEST_SIGN_IN_SECONDS),
            claims: self.claims.clone(),
        }
    }

    pub(crate) fn evidence(&self) -> Evidence {
        Evidence::SignIn {
            sign_in: self.sign_in.clone(),
            method: self.method.clone(),
            source: self.source.clone(),
            signed_in_at: self.signed_in_at,
        }
    }
}

impl SignIns {
    /// Those in the store that no reset or disabling has voided since, and whose link to who vouched for them still stands.
    pub async fn read(store: &dyn Store, world: &World) -> Result<Self, Problem> {
        let read = store
            .values(SIGN_INS)
            .await?
            .into_iter()
            .filter_map(|(key, value)| Some((key, serde_json::from_slice::<SignIn>(&value).ok()?)))
            .filter(|(_, s)| world.secrets_void_before(&s.name).is_none_or(|reset| s.created_at >= reset))
            .filter(|(_, s)| s.vouched.as_ref().is_none_or(|v| world.directory.is_linked(&s.name, &v.issuer, &v.subject, s.created_at)));
        let mut by_digest = read.collect();
        read_uses(store, &mut by_digest).await?;
        Ok(Self { by_digest: RwLock::new(by_digest), hashing: Turns::new(HASHES_AT_ONCE, HASHES_WAITING) })
    }

    /// True if there is such a sign-in.
    pub fn holds(&self, name: &PrincipalName, sign_in: &SignInId) -> bool {
        self.by_digest.read().values().any(|s| s.name == *name && s.sign_in == *sign_in)
    }

    /// What else was said of who signed in, as far as the settings keep it.
    pub fn claims_of(&self, name: &PrincipalName, sign_in: &SignInId) -> BTreeMap<String, Words> {
        let all = self.by_digest.read();
        let found = all.values().find(|s| s.name == *name && s.sign_in == *sign_in);
        found.and_then(|s| s.vouched.as_ref()).map(|vouched| vouched.claims.clone()).unwrap_or_default()
    }

    /// Those that a provider vouched for so.
    pub fn vouched_by(&self, meant: impl Fn(&Vouched) -> bool) -> Vec<(PrincipalName, SignInId)> {
        let all = self.by_digest.read();
        all.values().filter(|s| s.vouched.as_deref().is_some_and(&meant)).map(|s| (s.name.clone(), s.sign_in.clone())).collect()
    }

    /// Waits for its turn to work out a hash; not at all if too many wait already.
    pub async fn turn(&self) -> Result<Turn<'_>, Problem> {
        let busy = || Problem::new("SIGN-005", ProblemKind::TooMany, "too many sign-ins at once").next("try again");
        self.hashing.take().await.ok_or_else(busy)
    }

    /// Drops every sign-in of this principal; returns what to remove from the store.
    pub fn forget(&self, name: &PrincipalName) -> Vec<ValueChange> {
        self.forget_if(|s| s.name == *name)
    }

    /// Drops those of a person that this issuer vouched for under this subject; returns which, and what to remove from the store.
    pub fn forget_vouched(&self, name: &PrincipalName, issuer: &str, subject: &str) -> (Vec<SignInId>, Vec<ValueChange>) {
        let so = |s: &SignIn| s.name == *name && s.vouched.as_ref().is_some_and(|v| v.issuer == issuer && v.subject == subject);
        let ended = self.by_digest.read().values().filter(|s| so(s)).map(|s| s.sign_in.clone()).collect();
        (ended, self.forget_if(so))
    }

    fn forget_if(&self, gone: impl Fn(&SignIn) -> bool) -> Vec<ValueChange> {
        let mut removed = Vec::new();
        self.by_digest.write().retain(|digest, sign_in| {
            let keep = !gone(sign_in);
            if !keep {
                removed.extend(sign_in.removal(digest));
            }
            keep
        });
        removed
    }
}

impl SignIn {
    /// What to remove from the store when it is over.
    fn removal(&self, digest: &str) -> impl Iterator<Item = ValueChange> + use<> {
        let gone = |kind: &str, key: String| ValueChange { kind: kind.to_owned(), key, value: None };
        let used = self.used.last.as_ref().map(|_| gone(USES, self.sign_in.to_string()));
        std::iter::once(gone(SIGN_INS, digest.to_owned())).chain(used)
    }
}

impl App {
    /// Signs a person in.
    ///
    /// # Errors
    /// `SIGN-001`, one answer for an unknown name, a wrong password, no password yet and a disabled person.
    pub async fn sign_in(&self, name: &str, password: Zeroizing<String>, source: &str) -> Result<SignedIn, Problem> {
        let known = name.parse::<PrincipalName>().ok();
        let stored = match &known {
            Some(name) => self.stored_password(&self.world(), name).await?,
            None => None,
        };
        let right = self.check_password(password, stored.clone()).await?;
        let world = self.world();
        let person = known.and_then(|name| world.directory.find(&name).cloned());
        let person = person.filter(|p| p.kind == PrincipalKind::Person && !p.disabled);
        let Some(person) = person.filter(|_| right) else {
            self.record_failed_sign_in(name, source).await?;
            return Err(wrong_password());
        };
        let new = NewSignIn {
            name: &person.name,
            kind: PrincipalKind::Person,
            method: "password",
            source,
            lasts_seconds: seconds(self.node.settings.sign_in),
            vouched: None,
            scopes: None,
        };
        self.open_sign_in(new, stored).await
    }

    /// The name is kept only if somebody has it: a password typed in its place is not.
    pub(crate) async fn record_failed_sign_in(&self, name: &str, source: &str) -> Result<(), Problem> {
        let name: Option<PrincipalName> = name.parse().ok().filter(|name| self.world().directory.find(name).is_some());
        if !self.node.floods.records_sign_in(source, name.as_ref(), self.now()) {
            return Ok(());
        }
        let (guard, mut work) = self.begin().await;
        let at = work.now;
        work.push(StreamId::SignIns, SignInEvent::SignInFailed { name, source: source.to_owned(), at });
        self.commit(guard, work).await
    }

    /// Who a bearer token is, for a call of this reach. The one place that looks at a token.
    ///
    /// # Errors
    /// `SIGN-002` for anything but a live sign-in of an enabled principal; `SIGN-010` for a token whose scopes don't reach the call.
    pub async fn authenticate(&self, bearer: &str, source: &str, reach: Reach) -> Result<Caller, Problem> {
        let digest = Digest::of_bytes(bearer.as_bytes()).to_string();
        let found = self.node.sign_ins.by_digest.read().get(&digest).cloned();
        let now = self.now();
        let sign_in = found.filter(|s| s.expires_at > now).ok_or_else(Problem::not_signed_in)?;
        let world = self.world();
        let principal = world.directory.find(&sign_in.name).filter(|p| !p.disabled).ok_or_else(Problem::not_signed_in)?;
        if self.is_idle(&sign_in, principal.kind, now) {
            return Err(Problem::not_signed_in());
        }
        if reach.attended {
            self.node.sign_ins.note_use(&digest, source, now);
        }
        if let Some(scopes) = sign_in.scopes.as_ref().filter(|scopes| !scopes.reach(reach.scopes)) {
            return Err(out_of_reach(scopes, reach.scopes));
        }
        let (authenticated_at, claims) = vouched_for(sign_in.vouched, sign_in.created_at);
        Ok(Caller {
            name: sign_in.name,
            kind: principal.kind,
            sign_in: sign_in.sign_in,
            method: sign_in.method,
            source: source.to_owned(),
            signed_in_at: sign_in.created_at,
            authenticated_at,
            claims,
            scopes: sign_in.scopes,
        })
    }

    /// Ends this sign-in and its door secrets.
    ///
    /// # Errors
    /// `STORE-001` if it can't be recorded; then it goes on.
    pub async fn sign_out(&self, caller: &Caller) -> Result<(), Problem> {
        self.end_sign_ins(&caller.name, std::slice::from_ref(&caller.sign_in), Actor::Principal { name: caller.name.clone() }).await
    }

    /// Sign-ins and tokens of a principal: one's own, or anybody's for administrators.
    ///
    /// # Errors
    /// `REQ-008` for what the caller may not see.
    pub async fn tokens(&self, caller: &Caller, of: &PrincipalName) -> Result<Vec<TokenView>, Problem> {
        self.may_see_tokens(caller, of)?;
        let (world, now) = (self.world(), self.now());
        let mut tokens: Vec<TokenView> = self
            .node
            .sign_ins
            .by_digest
            .read()
            .values()
            .filter(|s| s.name == *of && s.expires_at > now)
            .filter(|s| !world.directory.find(of).is_some_and(|p| self.is_idle(s, p.kind, now)))
            .map(|s| TokenView {
                sign_in: s.sign_in.clone(),
                method: s.method.clone(),
                created_at: s.created_at,
                expires_at: s.expires_at,
                source: s.source.clone(),
                provider: s.vouched.as_ref().map(|vouched| vouched.provider.clone()),
                scopes: s.scopes.clone(),
                last_used_at: s.used.last.as_ref().map(|last| last.at),
                last_used_from: s.used.last.as_ref().map(|last| last.source.clone()),
            })
            .collect();
        tokens.sort_by_key(|t| std::cmp::Reverse(t.created_at));
        Ok(tokens)
    }

    /// Ends a sign-in or token. Taking away never waits for anybody.
    ///
    /// # Errors
    /// `REQ-008` for what the caller may not see or does not exist.
    pub async fn revoke_token(&self, caller: &Caller, of: &PrincipalName, sign_in: &SignInId) -> Result<(), Problem> {
        self.may_see_tokens(caller, of)?;
        let exists = self.node.sign_ins.by_digest.read().values().any(|s| s.name == *of && s.sign_in == *sign_in);
        if !exists {
            return Err(Problem::not_found("token"));
        }
        self.end_sign_ins(of, std::slice::from_ref(sign_in), Actor::Principal { name: caller.name.clone() }).await
    }

    /// Ends every sign-in and token of a principal but the one that this call carries, all at once. Harmless to repeat.
    ///
    /// # Errors
    /// `REQ-008` for what the caller may not see; `STORE-001` if it can't be recorded: then all go on.
    pub async fn revoke_tokens(&self, caller: &Caller, of: &PrincipalName) -> Result<(), Problem> {
        let others = self.tokens(caller, of).await?.into_iter().map(|token| token.sign_in).filter(|sign_in| *sign_in != caller.sign_in);
        self.end_sign_ins(of, &others.collect::<Vec<_>>(), Actor::Principal { name: caller.name.clone() }).await
    }

    fn may_see_tokens(&self, caller: &Caller, of: &PrincipalName) -> Result<(), Problem> {
        let world = self.world();
        let allowed = caller.name == *of || self.may_administer(&world, caller, Operation::EndAccess, self.now());
        if allowed { Ok(()) } else { Err(Problem::not_found("token")) }
    }

    pub(crate) async fn end_sign_ins(&self, name: &PrincipalName, ended: &[SignInId], by: Actor) -> Result<(), Problem> {
        let (guard, mut work) = self.begin().await;
        let at = work.now;
        for sign_in in ended {
            let event = SignInEvent::SignedOut { sign_in: sign_in.clone(), name: name.clone(), by: by.clone(), at };
            work.push(StreamId::SignIns, event);
        }
        // Gone from the store before it is said to be: a restart never brings it back.
        let mut gone: Vec<ValueChange> = self
            .node
            .sign_ins
            .by_digest
            .read()
            .iter()
            .filter(|(_, s)| ended.contains(&s.sign_in))
            .flat_map(|(digest, s)| s.removal(digest))
            .collect();
        for ((holder, resource), of_holder) in self.node.door_secrets.lock().iter().filter(|((holder, _), _)| holder == name) {
            gone.extend(of_holder.iter().filter(|(id, _)| ended.contains(id)).map(|(id, verifier)| ValueChange {
                kind: crate::door_secrets::DOOR_SECRETS.to_owned(),
                key: crate::door_secrets::door_key(holder, resource, id, verifier),
                value: None,
            }));
        }
        self.node.ports.store.put_values(gone).await?;
        self.commit(guard, work).await?;
        self.node.sign_ins.forget_if(|s| ended.contains(&s.sign_in));
        self.node.door_secrets.lock().values_mut().for_each(|of_holder| of_holder.retain(|(id, _)| !ended.contains(id)));
        Ok(())
    }

    /// `proved` is the stored password that was proved.
    async fn open_sign_in(&self, new: NewSignIn<'_>, proved: Option<Vec<u8>>) -> Result<SignedIn, Problem> {
        let (guard, work) = self.begin().await;
        // Checking a password takes a while: disabled, reset or changed meanwhile, it proves nothing.
        let standing = work.world.directory.find(new.name).is_some_and(|p| !p.disabled);
        if !standing || (proved.is_some() && self.stored_password(&work.world, new.name).await? != proved) {
            return Err(wrong_password());
        }
        self.store_sign_in(guard, work, new).await
    }

    /// Makes the sign-in part of this unit of work, and the unit true.
    pub(crate) async fn store_sign_in(&self, guard: Writing, mut work: Work, new: NewSignIn<'_>) -> Result<SignedIn, Problem> {
        let NewSignIn { name, kind, method, source, lasts_seconds, vouched, scopes } = new;
        let mut bytes = Zeroizing::new([0_u8; 32]);
        self.node.ports.entropy.fill(&mut *bytes)?;
        let token = Zeroizing::new(format!("sc_{}", URL_SAFE_NO_PAD.encode(*bytes)));
        let now = work.now;
        let sign_in = SignIn {
            sign_in: SignInId::from_bits(self.bits()?),
            name: name.clone(),
            method: method.to_owned(),
            created_at: now,
            expires_at: now.plus_seconds(lasts_seconds),
            source: source.to_owned(),
            vouched: vouched.clone(),
            scopes: scopes.clone(),
            used: Used::default(),
        };
        let digest = Digest::of_bytes(token.as_bytes()).to_string();
        let value = serde_json::to_vec(&sign_in).map_err(|_| Problem::invalid("a sign-in can't be stored"))?;
        let expired = self.node.sign_ins.forget_if(|s| s.expires_at <= now);
        let mut changes = expired;
        changes.push(ValueChange { kind: SIGN_INS.to_owned(), key: digest.clone(), value: Some(value) });
        work.push(
            StreamId::SignIns,
            SignInEvent::SignedIn {
                sign_in: sign_in.sign_in.clone(),
                name: name.clone(),
                method: method.to_owned(),
                source: source.to_owned(),
                at: now,
                vouched: vouched.clone(),
                scopes: scopes.clone(),
            },
        );
        self.node.ports.store.put_values(changes).await?;
        let expires_at = sign_in.expires_at;
        let id = sign_in.sign_in.clone();
        // While the guard is held: what forgets sign-ins afterwards finds this one. Nobody has its token yet.
        self.node.sign_ins.by_digest.write().insert(digest.clone(), sign_in);
        if let Err(problem) = self.commit(guard, work).await {
            self.node.sign_ins.by_digest.write().remove(&digest);
            return Err(problem);
        }
        let (authenticated_at, claims) = vouched_for(vouched, now);
        let caller = Caller {
            name: name.clone(),
            kind,
            sign_in: id,
            method: method.to_owned(),
            source: source.to_owned(),
            signed_in_at: now,
            authenticated_at,
            claims,
            scopes,
        };
        Ok(SignedIn { token, caller, expires_at })
    }

    pub(crate) async fn issue_code(&self, name: &PrincipalName) -> Result<OneTime, Problem> {
        let mut bytes = Zeroizing::new([0_u8; 15]);
        self.node.ports.entropy.fill(&mut *bytes)?;
        let code = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
        let expires_at = self.now().plus_seconds(CODE_SECONDS);
        let stored = Code { digest: Digest::of_bytes(code.as_bytes()), expires_at };
        let value = serde_json::to_vec(&stored).map_err(|_| Problem::invalid("a code can't be stored"))?;
        let change = ValueChange { kind: CODES.to_owned(), key: name.to_string(), value: Some(value) };
        self.node.ports.store.put_values(vec![change]).await?;
        Ok(OneTime::Code { name: name.clone(), code, expires_at })
    }

    pub(crate) async fn issue_token(&self, name: &PrincipalName, scopes: Option<TokenScopes>) -> Result<OneTime, Problem> {
        let new = NewSignIn {
            name,
            kind: PrincipalKind::Workload,
            method: "token",
            source: "issued",
            lasts_seconds: i64::from(self.node.settings.token_days) * 86_400,
            vouched: None,
            scopes,
        };
        let made = self.open_sign_in(new, None).await?;
        Ok(OneTime::Token { name: name.clone(), token: made.token, sign_in: made.caller.sign_in, expires_at: made.expires_at })
    }
}

fn wrong_password() -> Problem {
    Problem::new("SIGN-001", ProblemKind::NotSignedIn, "wrong name or password")
        .next("an administrator can hand out a one-time code with `user reset-secret`")
}

fn out_of_reach(scopes: &TokenScopes, needed: &[TokenScope]) -> Problem {
    let list = |scopes: &mut dyn Iterator<Item = TokenScope>| scopes.map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(" or ");
    let takes = match needed {
        [] => "no scope reaches this: it takes a token without scopes".to_owned(),
        needed => format!("this takes {}", list(&mut needed.iter().copied())),
    };
    Problem::new("SIGN-010", ProblemKind::Denied, "this token is not for that")
        .why(format!("it is for {} alone; {takes}", list(&mut scopes.iter())))
        .next("use a token with the scope; an administrator makes one with `workload reset-secret`")
}

pub(crate) fn seconds(ttl: Ttl) -> i64 {
    i64::try_from(ttl.seconds()).unwrap_or(i64::MAX)
}
