//! The port to identity providers: who somebody is elsewhere. It checks what a provider says; what follows from it is decided here.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_lifecycle::Vouched;
use safeconduct_model::{GroupName, PrincipalName, Timestamp, TokenScopes, Ttl, Words};

use crate::ports::BoxFuture;

/// The identity providers of the settings.
pub trait IdentityProviders: Send + Sync + 'static {
    /// All of them, in the order they are shown.
    fn all(&self) -> Vec<Provider>;

    /// The address at which the provider asks the browser's person who they are.
    ///
    /// # Errors
    /// [`IdentityError`] if the provider is not known or can't be reached.
    fn leave<'a>(&'a self, provider: &'a str, away: &'a Away) -> BoxFuture<'a, Result<String, IdentityError>>;

    /// Redeems what the browser brought back. Whatever is returned is signed by a key of the provider as it is at this time, meant for
    /// this gateway, fresh at `now`, and holds the nonce.
    ///
    /// # Errors
    /// [`IdentityError::Refused`] if anything about it is not as it must be.
    fn redeem<'a>(&'a self, provider: &'a str, back: &'a Back, now: Timestamp) -> BoxFuture<'a, Result<SaidAbout, IdentityError>>;

    /// Checks a provider's word that somebody signed out there.
    ///
    /// # Errors
    /// [`IdentityError::Refused`] if it is not such a word.
    fn logged_out<'a>(&'a self, provider: &'a str, token: &'a str, now: Timestamp) -> BoxFuture<'a, Result<LoggedOut, IdentityError>>;

    /// Whose token this is: a workload's that the settings know by its claims, from an issuer they name.
    ///
    /// # Errors
    /// [`IdentityError::Unknown`] for an issuer that vouches for no workloads, [`IdentityError::Refused`] for a token that is none of theirs.
    fn workload<'a>(&'a self, token: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Exchanged, IdentityError>>;
}

/// A provider as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    pub name: String,
    pub title: String,
}

/// What goes to the provider with the browser.
#[derive(Clone, Debug)]
pub struct Away {
    /// Comes back unchanged.
    pub state: String,
    /// Comes back within what is signed.
    pub nonce: String,
    /// The S256 challenge of the verifier that redeems the code (RFC 7636).
    pub challenge: String,
}

/// What the browser brought back, and what proves that it is this browser's.
pub struct Back {
    pub code: String,
    /// The provider's own name, if it says it (RFC 9207).
    pub issuer: Option<String>,
    pub nonce: String,
    pub verifier: String,
}

/// What a provider says about a person, and what the settings make of it.
#[derive(Clone, Debug)]
pub struct SaidAbout {
    pub vouched: Vouched,
    /// What the person is called there, if it is said.
    pub name: Option<String>,
    pub display_name: Option<String>,
    /// Groups whose members this provider decides.
    pub owned: BTreeSet<GroupName>,
    /// Those of them that the person is in.
    pub groups: BTreeSet<GroupName>,
    /// Whom the settings say this is.
    pub person: Option<PrincipalName>,
    /// True if the settings let it make people.
    pub creates: bool,
}

/// A workload that brought a token of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    pub provider: String,
    pub issuer: String,
    pub subject: String,
    /// Who it is here.
    pub workload: PrincipalName,
    /// How long what it gets for it lasts.
    pub lasts: Ttl,
    /// What of the token's claims the settings keep.
    pub claims: BTreeMap<String, Words>,
    /// What that is narrowed to at most.
    pub scopes: Option<TokenScopes>,
}

/// Whose sign-ins end: of this session there, or all of this subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    pub issuer: String,
    pub session: Option<String>,
    pub subject: Option<String>,
}

impl LoggedOut {
    /// True if what was vouched for is over.
    #[must_use]
    pub fn means(&self, vouched: &Vouched) -> bool {
        let same_subject = self.subject.as_ref().is_none_or(|subject| vouched.subject == *subject);
        let same_session = self.session.as_ref().is_none_or(|session| vouched.session.as_ref() == Some(session));
        // One that names neither means nobody.
        let names_any = self.subject.is_some() || self.session.is_some();
        vouched.issuer == self.issuer && names_any && same_subject && same_session
    }
}

/// Why a provider signs nobody in. Holds no token and no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("there is no such identity provider")]
    Unknown,
    #[error("the identity provider can't be used: {0}")]
    Unusable(String),
    #[error("what came from the identity provider does not count: {0}")]
    Refused(String),
}
