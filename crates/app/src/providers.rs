//! Signing in by an identity provider: who is who, what follows from the groups it names, and how a command line takes a sign-in over.
//!
//! A person is known by issuer and subject, never by a name or an address. The browser that left is the one that comes back: it holds a
//! ticket that state, nonce and verifier are derived from, so nothing is kept here for those who left. No provider takes a name over.

use std::collections::{HashMap, VecDeque};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use safeconduct_lifecycle::{ADMINISTRATORS, Actor, DirectoryEvent, StreamId, Vouched};
use safeconduct_model::{Change, Digest, PrincipalKind, PrincipalName, Timestamp, TokenScopes};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    identity::{NewSignIn, SignedIn, seconds},
    node::App,
    ports::{Away, Back, IdentityError, IdentityProviders, LoggedOut, Provider, SaidAbout},
    problem::{Problem, ProblemKind},
    turns::Turns,
    world::Work,
};

/// How long somebody may take at the provider, in seconds.
const AWAY_SECONDS: i64 = 600;
/// How long a command line may take to fetch its sign-in, in seconds.
const HAND_OVER_SECONDS: i64 = 60;
/// Longest code and the like that is looked at, in bytes.
const LONGEST: usize = 4096;
/// Longest display name that is taken from a provider, in characters.
const LONGEST_DISPLAY_NAME: usize = 120;
/// Most logouts that are kept for sign-ins under way.
const LOGOUTS: usize = 1000;
/// Logouts whose token is checked at the same time: a signature each, and now and then the provider's keys.
const LOGOUTS_AT_ONCE: usize = 4;
/// Most that wait for their turn. Beyond, one is sent away at once.
const LOGOUTS_WAITING: usize = 256;
/// How such sign-ins are called.
const METHOD: &str = "oidc";

/// A browser that leaves for a provider.
#[derive(Debug)]
pub struct Leaving {
    /// Where it goes.
    pub url: String,
    /// What it keeps meanwhile, where no script and no other site gets at it.
    pub ticket: Zeroizing<String>,
}

/// A command line that waits on this machine for what the browser brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub port: u16,
    /// SHA-256 of its verifier, base64url.
    pub challenge: String,
}

/// What a browser comes back with.
#[derive(Clone, Debug, Default)]
pub struct Returned {
    pub code: Option<String>,
    pub state: String,
    pub issuer: Option<String>,
    /// The provider's word for why it did not sign in.
    pub error: Option<String>,
}

/// What came of it.
#[derive(Debug)]
pub enum Arrived {
    SignedIn(SignedIn),
    /// The browser takes this address, and the command line that listens there signs in with what is in it.
    HandOver {
        url: String,
    },
}

/// What is kept of those who came back.
pub(crate) struct Arrivals {
    /// Tickets that somebody signed in with, until they are too old anyway.
    used: Mutex<HashMap<Digest, Timestamp>>,
    /// What waits for a command line, one for each person.
    hand_overs: Mutex<HashMap<PrincipalName, HandOver>>,
    logouts: Mutex<Logouts>,
    checks: Turns,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            used: Mutex::default(),
            hand_overs: Mutex::default(),
            logouts: Mutex::default(),
            checks: Turns::new(LOGOUTS_AT_ONCE, LOGOUTS_WAITING),
        }
    }
}

/// What providers said last is over, for sign-ins that are checked already and not stored yet.
#[derive(Default)]
struct Logouts {
    said: u64,
    last: VecDeque<(u64, LoggedOut)>,
    /// The newest that is not kept any more.
    forgotten: u64,
}

struct HandOver {
    code: Digest,
    challenge: String,
    vouched: Vouched,
    until: Timestamp,
    /// Logouts that were said before the provider vouched.
    logouts: u64,
}

/// A ticket that was read back.
struct Ticket {
    provider: String,
    begun_at: Timestamp,
    command_line: Option<CommandLine>,
}

impl App {
    /// The identity providers. Set once, before anything is asked.
    pub fn set_identity_providers(&self, providers: std::sync::Arc<dyn IdentityProviders>) {
        if self.node.providers.set(providers).is_err() {
            tracing::warn!("identity providers are set already");
        }
    }

    /// Identity providers that people may sign in by.
    #[must_use]
    pub fn providers(&self) -> Vec<Provider> {
        self.node.providers.get().map(|providers| providers.all()).unwrap_or_default()
    }

    /// Begins signing a browser in by a provider. Nothing changes by it.
    ///
    /// # Errors
    /// `REQ-008` if there is no such provider, `SIGN-006` if it can't be used now.
    pub async fn leave_for_provider(&self, provider: &str, command_line: Option<CommandLine>) -> Result<Leaving, Problem> {
        let providers = self.node.providers.get().ok_or_else(|| Problem::not_found("identity provider"))?;
        if !providers.all().iter().any(|known| known.name == provider) {
            return Err(Problem::not_found("identity provider"));
        }
        let waiting = match command_line {
            None => "-".to_owned(),
            Some(line) if line.port >= 1024 && is_challenge(&line.challenge) => format!("{}~{}", line.port, line.challenge),
            Some(_) => return Err(Problem::invalid("a command line waits at a port from 1024 and has a SHA-256 challenge")),
        };
        let mut bytes = Zeroizing::new([0_u8; 32]);
        self.node.ports.entropy.fill(&mut *bytes)?;
        let ticket = Zeroizing::new(format!("{provider}.{}.{waiting}.{}", self.now().micros(), URL_SAFE_NO_PAD.encode(*bytes)));
        let away = Away {
            state: derived("state", &ticket),
            nonce: derived("nonce", &ticket),
            challenge: challenge_of(&derived("verifier", &ticket)),
        };
        let url = providers.leave(provider, &away).await.map_err(|error| unusable(provider, &error))?;
        Ok(Leaving { url, ticket })
    }

    /// Signs a workload in that brings a token of an issuer the settings trust (RFC 8693). The same token may be brought again while it is good.
    ///
    /// # Errors
    /// `SIGN-009`, one answer for every token that is none of a workload here; `SIGN-006` if the issuer can't be asked for its keys;
    /// `REQ-001` if the settings leave it none of the scopes that are asked for.
    pub async fn exchange_token(&self, token: &str, scopes: Option<TokenScopes>, source: &str) -> Result<SignedIn, Problem> {
        let not_known = || {
            Problem::new("SIGN-009", ProblemKind::NotSignedIn, "this token signs no workload in")
                .next("the gateway's log says why; `[identity.NAME]` names issuer, audience and claims")
        };
        let providers = self.node.providers.get().ok_or_else(not_known)?;
        let exchanged = match providers.workload(token, self.now()).await {
            Ok(exchanged) => exchanged,
            Err(error @ IdentityError::Unusable(_)) => return Err(unusable("the issuer of a workload", &error)),
            Err(error) => {
                tracing::info!(%error, source, "a workload's token did not sign it in");
                return Err(not_known());
            }
        };
        let scopes = match (scopes, exchanged.scopes) {
            (Some(asked), Some(most)) => {
                Some(asked.and(&most).ok_or_else(|| Problem::invalid(format!("this workload's tokens are for `{most}` alone")))?)
            }
            (asked, most) => asked.or(most),
        };
        let (guard, work) = self.begin().await;
        let workload = work.world.directory.find(&exchanged.workload).filter(|p| p.kind == PrincipalKind::Workload && !p.disabled);
        let Some(kind) = workload.map(|principal| principal.kind) else {
            tracing::info!(workload = %exchanged.workload, "a token was brought for a workload that is not there, or is disabled");
            return Err(not_known());
        };
        let vouched = Vouched {
            provider: exchanged.provider,
            issuer: exchanged.issuer,
            subject: exchanged.subject,
            session: None,
            authenticated_at: None,
            methods: Vec::new(),
            claims: exchanged.claims,
        };
        let (name, lasts_seconds) = (&exchanged.workload, seconds(exchanged.lasts));
        self.store_sign_in(
            guard,
            work,
            NewSignIn { name, kind, method: "token-exchange", source, lasts_seconds, vouched: Some(Box::new(vouched)), scopes },
        )
        .await
    }

    /// Signs in who comes back from a provider.
    ///
    /// # Errors
    /// `SIGN-006` if the provider, or this browser, is not who it should be; `SIGN-007` if the person may not sign in here.
    pub async fn return_from_provider(&self, ticket: &str, returned: Returned, source: &str) -> Result<Arrived, Problem> {
        let logouts = self.node.arrivals.logouts.lock().said;
        let (said, ticket) = match self.check_return(ticket, returned).await {
            Ok(checked) => checked,
            Err(problem) => {
                self.record_failed_sign_in("", source).await?;
                return Err(problem);
            }
        };
        let (guard, mut work) = self.begin().await;
        self.check_not_over(&said.vouched, logouts)?;
        let name = match who_is(&work, &said) {
            Ok(known) => known,
            Err((known, problem)) => {
                drop((guard, work));
                self.record_failed_sign_in(known.as_ref().map_or("", PrincipalName::as_str), source).await?;
                return Err(problem);
            }
        };
        if work.world.directory.find(&name).is_none() {
            self.make_waiting(&mut work, &name, &said).await?;
            self.commit(guard, work).await?;
            return Err(nobody(&said));
        }
        self.take_over_word(&mut work, &name, &said).await?;
        let Some(line) = ticket.command_line else {
            let signed_in = self.store_sign_in(guard, work, self.new_sign_in(&name, source, said.vouched)).await?;
            return Ok(Arrived::SignedIn(signed_in));
        };
        let mut bytes = Zeroizing::new([0_u8; 32]);
        self.node.ports.entropy.fill(&mut *bytes)?;
        let code = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
        let until = work.now.plus_seconds(HAND_OVER_SECONDS);
        self.commit(guard, work).await?;
        let url = format!("http://127.0.0.1:{}/?code={}", line.port, code.as_str());
        let hand_over =
            HandOver { code: Digest::of_bytes(code.as_bytes()), challenge: line.challenge, vouched: said.vouched, until, logouts };
        self.node.arrivals.hand_overs.lock().insert(name, hand_over);
        Ok(Arrived::HandOver { url })
    }

    /// Signs a command line in by what its browser brought. The code alone is worth nothing, and works once.
    ///
    /// # Errors
    /// `SIGN-006` for a wrong, used or late code and for a verifier that is not the one the command line began with.
    pub async fn take_over_sign_in(&self, code: &str, verifier: &str, source: &str) -> Result<SignedIn, Problem> {
        let (now, given) = (self.now(), Digest::of_bytes(code.as_bytes()));
        let taken = {
            let mut waiting = self.node.arrivals.hand_overs.lock();
            waiting.retain(|_, hand_over| hand_over.until > now);
            let whose = waiting.iter().find(|(_, h)| bool::from(h.code.as_bytes().ct_eq(given.as_bytes()))).map(|(name, _)| name.clone());
            // Used up by the first try, right or wrong.
            whose.and_then(|name| waiting.remove_entry(&name))
        };
        let right = taken.filter(|(_, hand_over)| bool::from(hand_over.challenge.as_bytes().ct_eq(challenge_of(verifier).as_bytes())));
        let Some((name, hand_over)) = right else {
            self.record_failed_sign_in("", source).await?;
            return Err(refused("the code of the command line is wrong, used or late"));
        };
        let (guard, work) = self.begin().await;
        self.check_not_over(&hand_over.vouched, hand_over.logouts)?;
        // Whoever was disabled, unlinked, or lost every secret, since the browser came back is not signed in by what it brought.
        let began = hand_over.until.plus_seconds(-HAND_OVER_SECONDS);
        let Vouched { issuer, subject, .. } = &hand_over.vouched;
        let is_linked = work.world.directory.is_linked(&name, issuer, subject, began);
        let standing = is_linked && work.world.directory.find(&name).is_some_and(|p| !p.disabled);
        if !standing || work.world.secrets_void_before(&name).is_some_and(|reset| reset >= began) {
            return Err(refused("the code of the command line is wrong, used or late"));
        }
        self.store_sign_in(guard, work, self.new_sign_in(&name, source, hand_over.vouched)).await
    }

    /// Ends the sign-ins that a provider says are over.
    ///
    /// # Errors
    /// `SIGN-006` if it is not the provider's word, `SIGN-005` if too many are checked already; `STORE-001` if an end can't be recorded: the provider asks again.
    pub async fn provider_logout(&self, provider: &str, token: &str) -> Result<(), Problem> {
        let providers = self.node.providers.get().ok_or_else(|| Problem::not_found("identity provider"))?;
        if token.len() > 4 * LONGEST {
            return Err(refused("the logout token is too long"));
        }
        let turn = self.node.arrivals.checks.take().await;
        let turn = turn.ok_or_else(|| Problem::new("SIGN-005", ProblemKind::TooMany, "too many logouts at once").next("try again"))?;
        let over = providers.logged_out(provider, token, self.now()).await.map_err(|error| unusable(provider, &error))?;
        drop(turn);
        self.node.arrivals.logouts.lock().record(&over);
        self.node.arrivals.hand_overs.lock().retain(|_, waiting| !over.means(&waiting.vouched));
        // Whoever looked before that has stored the sign-in once it is our turn; whoever looks later finds it.
        drop(self.begin().await);
        for (name, sign_in) in self.node.sign_ins.vouched_by(|vouched| over.means(vouched)) {
            self.end_sign_ins(&name, &[sign_in], Actor::Gateway { cause: cause(provider) }).await?;
        }
        Ok(())
    }

    /// Refuses what the provider said is over since it vouched. Within the unit of work that stores the sign-in.
    fn check_not_over(&self, vouched: &Vouched, since: u64) -> Result<(), Problem> {
        let over = self.node.arrivals.logouts.lock().mean(vouched, since);
        if over { Err(refused("it said meanwhile that you signed out there")) } else { Ok(()) }
    }

    /// What the provider says, if this browser is the one that left and has not come back before.
    async fn check_return(&self, text: &str, returned: Returned) -> Result<(SaidAbout, Ticket), Problem> {
        let providers = self.node.providers.get().ok_or_else(|| Problem::not_found("identity provider"))?;
        let stale = || refused("this browser did not begin it, or took too long");
        let ticket = Ticket::read(text).ok_or_else(stale)?;
        let now = self.now();
        let state: bool = returned.state.as_bytes().ct_eq(derived("state", text).as_bytes()).into();
        let age = now.micros().saturating_sub(ticket.begun_at.micros());
        if !state || !(0..AWAY_SECONDS * 1_000_000).contains(&age) {
            return Err(stale());
        }
        if let Some(error) = returned.error {
            let word: String = error.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(60).collect();
            return Err(refused(&format!("it answered `{word}`")));
        }
        let code = returned.code.filter(|code| !code.is_empty() && code.len() <= LONGEST).ok_or_else(|| refused("it gave no code"))?;
        let back = Back { code, issuer: returned.issuer, nonce: derived("nonce", text), verifier: derived("verifier", text) };
        let said = providers.redeem(&ticket.provider, &back, now).await.map_err(|error| unusable(&ticket.provider, &error))?;
        let mut used = self.node.arrivals.used.lock();
        used.retain(|_, at| at.plus_seconds(AWAY_SECONDS) > now);
        if used.insert(Digest::of_bytes(text.as_bytes()), ticket.begun_at).is_some() {
            return Err(stale());
        }
        Ok((said, ticket))
    }

    /// Makes a person who waits until an administrator lets them in: linked, disabled and in no group.
    ///
    /// Somebody here may be the same person under another name (F23): whom one of them asks for, the other would approve, in either
    /// direction, and two of a quorum would be one. No machine can tell; an administrator says so by enabling them.
    async fn make_waiting(&self, work: &mut Work, name: &PrincipalName, said: &SaidAbout) -> Result<(), Problem> {
        let by = Actor::Gateway { cause: cause(&said.vouched.provider) };
        let display_name = display_name(said, name);
        self.perform(work, &by, &Change::CreatePerson { name: name.clone(), display_name }).await?;
        link(work, name, said, &by);
        self.perform(work, &by, &Change::Disable { name: name.clone() }).await?;
        self.follow_up(work).await
    }

    /// Makes true what the provider says about somebody who is known.
    async fn take_over_word(&self, work: &mut Work, name: &PrincipalName, said: &SaidAbout) -> Result<(), Problem> {
        let by = Actor::Gateway { cause: cause(&said.vouched.provider) };
        link(work, name, said, &by);
        for group in &said.owned {
            let is_in = work.world.directory.find(name).is_some_and(|p| p.is_in(group));
            let (group, name) = (group.clone(), name.clone());
            match (is_in, said.groups.contains(&group)) {
                (false, true) => self.perform(work, &by, &Change::AddMember { group, name }).await?,
                (true, false) if group.as_str() == ADMINISTRATORS && work.world.directory.administrators_other_than(Some(&name)) == 0 => {
                    let provider = &said.vouched.provider;
                    tracing::warn!(provider, %name, "the last administrator stays one: an identity provider would have left none");
                }
                (true, false) => self.perform(work, &by, &Change::RemoveMember { group, name }).await?,
                (true, true) | (false, false) => {}
            }
        }
        // A change here may grant what waited.
        self.follow_up(work).await
    }

    fn new_sign_in<'a>(&self, name: &'a PrincipalName, source: &'a str, vouched: Vouched) -> NewSignIn<'a> {
        let lasts_seconds = seconds(self.node.settings.sign_in);
        NewSignIn {
            name,
            kind: PrincipalKind::Person,
            method: METHOD,
            source,
            lasts_seconds,
            vouched: Some(Box::new(vouched)),
            scopes: None,
        }
    }
}

impl Logouts {
    fn record(&mut self, over: &LoggedOut) {
        self.said += 1;
        // Said again it is one still: repeating a token pushes nothing out.
        self.last.retain(|(_, other)| other != over);
        self.last.push_back((self.said, over.clone()));
        if self.last.len() > LOGOUTS
            && let Some((forgotten, _)) = self.last.pop_front()
        {
            self.forgotten = forgotten;
        }
    }

    /// True if one that was said after the first `since` means it, or may have meant it.
    fn mean(&self, vouched: &Vouched, since: u64) -> bool {
        since < self.forgotten || self.last.iter().any(|(said, over)| *said > since && over.means(vouched))
    }
}

impl Ticket {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let (provider, begun_at, waiting, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let command_line = match waiting.split_once('~') {
            Some((port, challenge)) => Some(CommandLine { port: port.parse().ok()?, challenge: challenge.to_owned() }),
            None => None,
        };
        Some(Self { provider: provider.to_owned(), begun_at: Timestamp::from_micros(begun_at.parse().ok()?), command_line })
    }
}

/// Links the person to who they are there, unless that is done.
fn link(work: &mut Work, name: &PrincipalName, said: &SaidAbout, by: &Actor) {
    let Vouched { issuer, subject, .. } = &said.vouched;
    if work.world.directory.linked(issuer, subject).is_none() {
        let (issuer, subject, at) = (issuer.clone(), subject.clone(), work.now);
        work.push(StreamId::Directory, DirectoryEvent::IdentityLinked { name: name.clone(), issuer, subject, at, by: by.clone() });
    }
}

/// Who this is here; with the person it would have been, if there is one, when it may not be.
fn who_is(work: &Work, said: &SaidAbout) -> Result<PrincipalName, (Option<PrincipalName>, Problem)> {
    let directory = &work.world.directory;
    let Vouched { issuer, subject, .. } = &said.vouched;
    let known = directory.linked(issuer, subject).map(|p| p.name.clone()).or_else(|| said.person.clone());
    if let Some(name) = known {
        return match directory.find(&name) {
            Some(person) if person.kind == PrincipalKind::Person && !person.disabled => Ok(name),
            _ => Err((Some(name), nobody(said))),
        };
    }
    if !said.creates {
        return Err((None, nobody(said)));
    }
    let name = said.name.as_deref().and_then(|name| name.parse::<PrincipalName>().ok());
    let unfit = || nobody(said).why("the name that the provider gives is no name here: lower case letters, digits, `-`, `_` and `.`");
    let name = name.ok_or_else(|| (None, unfit()))?;
    if directory.find(&name).is_some() {
        return Err((None, nobody(said).why("somebody else has the name that the provider gives")));
    }
    Ok(name)
}

fn display_name(said: &SaidAbout, name: &PrincipalName) -> String {
    let given = said.display_name.as_deref().unwrap_or_default();
    let plain: String = given.chars().filter(|c| c.is_alphanumeric() || " -'.".contains(*c)).take(LONGEST_DISPLAY_NAME).collect();
    if plain.trim().is_empty() { name.to_string() } else { plain.trim().to_owned() }
}

fn cause(provider: &str) -> String {
    format!("identity provider {provider}")
}

/// Something that only who holds the ticket can say, for one purpose.
fn derived(purpose: &str, ticket: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of_bytes(format!("safeconduct sign-in {purpose}\n{ticket}").as_bytes()).as_bytes())
}

fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of_bytes(verifier.as_bytes()).as_bytes())
}

fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

fn refused(why: &str) -> Problem {
    Problem::new("SIGN-006", ProblemKind::NotSignedIn, "the identity provider did not sign you in")
        .why(why)
        .next("begin again at the sign-in page")
}

/// The same whether somebody is new, waits or was disabled: who was disabled learns nothing by it.
fn nobody(said: &SaidAbout) -> Problem {
    let problem =
        Problem::new("SIGN-007", ProblemKind::NotSignedIn, "the identity provider knows you, but nobody here may sign in as that");
    let problem = if said.creates { problem.why("who is new waits until an administrator lets them in") } else { problem };
    problem.next("ask an administrator")
}

/// What an outsider hears of it; the log has the rest.
fn unusable(provider: &str, error: &IdentityError) -> Problem {
    tracing::warn!(provider, %error, "an identity provider did not sign somebody in");
    match error {
        IdentityError::Unknown => Problem::not_found("identity provider"),
        IdentityError::Unusable(_) => {
            Problem::new("SIGN-006", ProblemKind::Unavailable, "the identity provider can't be used at the moment")
                .next("try again; whoever runs the gateway finds the reason in its log")
        }
        IdentityError::Refused(_) => refused("what came from it does not count; the gateway's log says why"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logout_that_is_not_kept_any_more_counts_for_whoever_was_under_way() {
        let over = |n: usize| LoggedOut { issuer: "i".to_owned(), session: None, subject: Some(n.to_string()) };
        let vouched = Vouched {
            provider: "corp".to_owned(),
            issuer: "i".to_owned(),
            subject: "somebody".to_owned(),
            session: None,
            authenticated_at: None,
            methods: Vec::new(),
            claims: std::collections::BTreeMap::new(),
        };
        let mut logouts = Logouts::default();
        for _ in 0..3 * LOGOUTS {
            logouts.record(&over(0));
        }
        assert!(!logouts.mean(&vouched, 0), "one that is repeated forgets no other");
        let before = logouts.said;
        for n in 1..=2 * LOGOUTS {
            logouts.record(&over(n));
        }
        assert_eq!(logouts.last.len(), LOGOUTS);
        assert!(logouts.mean(&vouched, before));
        assert!(!logouts.mean(&vouched, logouts.said));
    }
}
