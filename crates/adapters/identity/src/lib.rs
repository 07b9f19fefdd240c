//! Identity providers that speak OpenID Connect: discovery, the authorization code with PKCE, and the checks of what comes back.
//!
//! Decides whether a token is the provider's, fresh and meant for this gateway; who that is here and what follows is not its business.
//! Calls leave this machine by the rules of [`safeconduct_app::may_reach`], over TLS, to addresses the provider's own document names.

mod outward;
mod provider;
mod settings;
mod token;

use std::collections::BTreeMap;

use safeconduct_app::ports::{Away, Back, BoxFuture, Exchanged, IdentityError, IdentityProviders, LoggedOut, Provider as Shown, SaidAbout};
use safeconduct_model::Timestamp;

use provider::Provider;
pub use settings::{Identity, Settings, check};

/// All providers of the settings.
pub struct OpenIdConnect {
    providers: BTreeMap<String, Provider>,
}

impl OpenIdConnect {
    /// Gets ready to speak to them; nothing is called yet. `public_url` is where browsers find the gateway.
    ///
    /// # Errors
    /// The name of the provider whose authority can't be read, and why.
    pub fn new(settings: Vec<Identity>, public_url: &str) -> Result<Self, String> {
        let redirect = format!("{public_url}/sign-in");
        let provider = |settings: Identity| {
            let name = settings.name.clone();
            Provider::new(settings, redirect.clone())
                .map(|provider| (name.clone(), provider))
                .map_err(|why| format!("identity.{name}: {why}"))
        };
        Ok(Self { providers: settings.into_iter().map(provider).collect::<Result<_, _>>()? })
    }

    fn find(&self, name: &str) -> Result<&Provider, IdentityError> {
        self.providers.get(name).ok_or(IdentityError::Unknown)
    }
}

impl IdentityProviders for OpenIdConnect {
    fn all(&self) -> Vec<Shown> {
        let signs_in = |provider: &&Provider| provider.settings.client_secret.is_some();
        let offered = self.providers.iter().filter(|(_, provider)| signs_in(provider));
        offered.map(|(name, provider)| Shown { name: name.clone(), title: provider.settings.title.clone() }).collect()
    }

    fn leave<'a>(&'a self, provider: &'a str, away: &'a Away) -> BoxFuture<'a, Result<String, IdentityError>> {
        Box::pin(async move { self.find(provider)?.leave(away).await })
    }

    fn redeem<'a>(&'a self, provider: &'a str, back: &'a Back, now: Timestamp) -> BoxFuture<'a, Result<SaidAbout, IdentityError>> {
        Box::pin(async move { self.find(provider)?.redeem(back, now).await })
    }

    fn logged_out<'a>(&'a self, provider: &'a str, token: &'a str, now: Timestamp) -> BoxFuture<'a, Result<LoggedOut, IdentityError>> {
        Box::pin(async move { self.find(provider)?.logged_out(token, now).await })
    }

    fn workload<'a>(&'a self, token: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Exchanged, IdentityError>> {
        Box::pin(async move {
            // Not believed yet: it only says whose keys to look at.
            let issuer = token::issuer(token).ok_or(IdentityError::Unknown)?;
            let trusted = |provider: &&Provider| provider.settings.issuer == issuer && !provider.settings.workloads.is_empty();
            self.providers.values().find(trusted).ok_or(IdentityError::Unknown)?.workload(token, now).await
        })
    }
}
