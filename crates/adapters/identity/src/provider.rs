//! One provider: its document and keys as they were last read, the way to it, and what comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::jwk::JwkSet;
use safeconduct_app::ports::{Away, Back, Exchanged, IdentityError, LoggedOut, SaidAbout};
use safeconduct_lifecycle::Vouched;
use safeconduct_model::{Timestamp, Words};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use crate::{
    outward::{self, CallError, is_permitted},
    settings::Identity,
    token::{self, Claims, Unproved},
};

/// How long document and keys are good without being read again.
const GOOD_FOR: Duration = Duration::from_secs(3600);
/// Shortest pause between two readings: tokens with made-up keys make no flood of calls.
const PAUSE: Duration = Duration::from_secs(30);
/// Most methods of authentication that are kept.
const METHODS: usize = 8;
/// How long ago, in seconds, a person may have proved there who they are: a year, so that nobody is asked once more for it. A provider that
/// is told a `max_age` must say `auth_time` (OpenID Connect Core, 2).
const LONG_AGO: &str = "31536000";
/// The event of a logout token.
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A provider that can be spoken to.
pub(crate) struct Provider {
    pub settings: Identity,
    redirect: String,
    client: reqwest::Client,
    /// Held while it is read: those who come at the same time wait for one call.
    known: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    known: Option<(Arc<Known>, Instant)>,
    tried: Option<Instant>,
}

struct Known {
    document: Document,
    keys: JwkSet,
}

/// What of the discovery document is looked at.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    /// Missing where nobody signs in: issuers of workloads' tokens.
    #[serde(default, deserialize_with = "maybe_url")]
    authorization_endpoint: Option<reqwest::Url>,
    #[serde(default, deserialize_with = "maybe_url")]
    token_endpoint: Option<reqwest::Url>,
    #[serde(deserialize_with = "url")]
    jwks_uri: reqwest::Url,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

impl Provider {
    pub fn new(settings: Identity, redirect: String) -> Result<Self, String> {
        let client = outward::client(settings.ca_file.as_deref(), settings.local)?;
        Ok(Self { settings, redirect, client, known: Mutex::default() })
    }

    /// Where the browser goes.
    pub async fn leave(&self, away: &Away) -> Result<String, IdentityError> {
        let known = self.known(None).await?;
        let no_endpoint = || IdentityError::Unusable("its discovery document names no authorization endpoint".to_owned());
        let mut url = known.document.authorization_endpoint.clone().ok_or_else(no_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &away.state)
            .append_pair("nonce", &away.nonce)
            .append_pair("code_challenge", &away.challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("max_age", LONG_AGO);
        Ok(url.into())
    }

    /// Who comes back.
    pub async fn redeem(&self, back: &Back, now: Timestamp) -> Result<SaidAbout, IdentityError> {
        let known = self.known(None).await?;
        match &back.issuer {
            // Another provider's answer, brought here (RFC 9207).
            Some(issuer) if *issuer != self.settings.issuer => return Err(refused("the browser comes from another issuer")),
            None if known.document.authorization_response_iss_parameter_supported => {
                return Err(refused("the answer does not say which issuer it is from"));
            }
            _ => {}
        }
        let tokens = self.fetch_tokens(&known.document, back).await?;
        let claims = self.open(&tokens.id_token).await?;
        claims.check(&self.settings.issuer, &self.settings.client_id, now).map_err(refused)?;
        if claims.text("nonce") != Some(back.nonce.as_str()) {
            return Err(refused("the token was made for another sign-in"));
        }
        self.said_about(&claims)
    }

    /// Who signed out there.
    pub async fn logged_out(&self, token: &str, now: Timestamp) -> Result<LoggedOut, IdentityError> {
        let claims = self.open(token).await?;
        claims.check(&self.settings.issuer, &self.settings.client_id, now).map_err(refused)?;
        let is_logout = claims.object("events").is_some_and(|events| events.get(LOGOUT).is_some_and(serde_json::Value::is_object));
        // A nonce makes it a token of another kind, whatever else it says.
        if !is_logout || claims.has("nonce") {
            return Err(refused("the token is no logout token"));
        }
        let (session, subject) = (claims.text("sid").map(str::to_owned), claims.text("sub").map(str::to_owned));
        if session.is_none() && subject.is_none() {
            return Err(refused("the logout token says neither who nor which session"));
        }
        Ok(LoggedOut { issuer: self.settings.issuer.clone(), session, subject })
    }

    /// Whose token this is, if it is a workload's.
    pub async fn workload(&self, token: &str, now: Timestamp) -> Result<Exchanged, IdentityError> {
        let claims = self.open(token).await?;
        // A sign-in of a person, or its end, is no workload's.
        if claims.has("nonce") || claims.has("events") {
            return Err(refused("the token was made for something else"));
        }
        let mut why = "no workload has such claims";
        for workload in &self.settings.workloads {
            match claims.check_exchange(&self.settings.issuer, &workload.audience, now) {
                Ok(()) if workload.claims.iter().all(|(claim, expected)| claims.is(claim, expected)) => {
                    let subject = claims.text("sub").ok_or_else(|| refused("the token does not say whom it is about"))?.to_owned();
                    // What it gets is over when its own token is: an exchange never widens.
                    let left = claims.seconds_left(now).ok_or_else(|| refused("it is over"))?;
                    return Ok(Exchanged {
                        claims: kept(&workload.keep, &claims)?,
                        provider: self.settings.name.clone(),
                        issuer: self.settings.issuer.clone(),
                        subject,
                        workload: workload.name.clone(),
                        lasts: workload.lasts.min(left),
                        scopes: workload.scopes.clone(),
                    });
                }
                Ok(()) => {}
                Err(reason) => why = reason,
            }
        }
        Err(refused(why))
    }

    fn said_about(&self, claims: &Claims) -> Result<SaidAbout, IdentityError> {
        let settings = &self.settings;
        let subject = claims.text("sub").ok_or_else(|| refused("the token does not say whom it is about"))?.to_owned();
        let theirs: BTreeSet<&str> = claims.list(&settings.groups_claim).into_iter().collect();
        let methods = claims.list("amr").into_iter().filter(|word| !word.is_empty() && word.len() <= 40);
        Ok(SaidAbout {
            name: claims.text(&settings.name_claim).map(str::to_ascii_lowercase),
            display_name: claims.text("name").map(str::to_owned),
            owned: settings.groups.values().cloned().collect(),
            groups: settings.groups.iter().filter(|(name, _)| theirs.contains(name.as_str())).map(|(_, ours)| ours.clone()).collect(),
            person: settings.people.get(&subject).cloned(),
            creates: settings.create_people,
            vouched: Vouched {
                provider: settings.name.clone(),
                issuer: settings.issuer.clone(),
                subject,
                session: claims.text("sid").map(str::to_owned),
                authenticated_at: claims.authenticated_at(),
                methods: methods.take(METHODS).map(str::to_owned).collect(),
                claims: kept(&settings.keep, claims)?,
            },
        })
    }

    /// The claims of a token, with newer keys if none that is known made it.
    async fn open(&self, text: &str) -> Result<Claims, IdentityError> {
        let known = self.known(None).await?;
        match token::open(text, &known.keys) {
            Ok(claims) => Ok(claims),
            Err(Unproved::Refused(why)) => Err(refused(why)),
            Err(Unproved::NoSuchKey) => {
                let newer = self.known(Some(&known)).await?;
                token::open(text, &newer.keys).map_err(|unproved| match unproved {
                    Unproved::Refused(why) => refused(why),
                    Unproved::NoSuchKey => refused("it was signed with a key that the provider does not have"),
                })
            }
        }
    }

    /// Document and keys; others than `old` if the provider may be asked again.
    async fn known(&self, old: Option<&Arc<Known>>) -> Result<Arc<Known>, IdentityError> {
        let mut read = self.known.lock().await;
        if let Some((known, at)) = &read.known {
            let is_newer = old.is_none_or(|old| !Arc::ptr_eq(old, known));
            if is_newer && at.elapsed() < GOOD_FOR {
                return Ok(Arc::clone(known));
            }
        }
        // The first reading after a success is free: a key may be changed right after we looked.
        let may_ask = read.tried.is_none_or(|tried| tried.elapsed() >= PAUSE);
        if !may_ask {
            return match (&read.known, old) {
                (Some((known, _)), Some(_)) => Ok(Arc::clone(known)),
                _ => Err(IdentityError::Unusable("it was asked a moment ago and did not answer as it should".to_owned())),
            };
        }
        if old.is_some() || read.known.is_none() {
            read.tried = Some(Instant::now());
        }
        match self.read().await {
            Ok(known) => {
                let known = Arc::new(known);
                read.known = Some((Arc::clone(&known), Instant::now()));
                if old.is_none() {
                    read.tried = None;
                }
                Ok(known)
            }
            Err(error) => {
                read.tried = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<Known, IdentityError> {
        let settings = &self.settings;
        let at = format!("{}/.well-known/openid-configuration", settings.issuer.trim_end_matches('/'));
        let document: Document = outward::json(self.client.get(at)).await.map_err(|error| unusable("its discovery document", &error))?;
        let wrong = |why: &str| Err(IdentityError::Unusable(why.to_owned()));
        if document.issuer != settings.issuer {
            return wrong("its discovery document is that of another issuer");
        }
        if document.code_challenge_methods_supported.as_ref().is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return wrong("it does not know PKCE with S256");
        }
        for url in [&document.authorization_endpoint, &document.token_endpoint].into_iter().flatten().chain([&document.jwks_uri]) {
            if !is_permitted(url, settings.local) {
                return wrong("its discovery document names an address that may not be reached");
            }
        }
        let keys: KeysAsWritten =
            outward::json(self.client.get(document.jwks_uri.clone())).await.map_err(|error| unusable("its keys", &error))?;
        // Keys of kinds we don't know are none of ours; they don't make the others useless.
        let keys = keys.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        Ok(Known { document, keys: JwkSet { keys } })
    }

    async fn fetch_tokens(&self, document: &Document, back: &Back) -> Result<Tokens, IdentityError> {
        let unset = |what: &str| IdentityError::Unusable(format!("there is no {what}"));
        let secret = self.settings.client_secret.as_ref().ok_or_else(|| unset("client secret"))?;
        let secret = safeconduct_app::read_secret(secret).map_err(|error| IdentityError::Unusable(error.to_string()))?;
        let endpoint = document.token_endpoint.clone().ok_or_else(|| unset("token endpoint in its discovery document"))?;
        let mut form = Zeroizing::new(String::new());
        let mut add = |name: &str, value: &str| {
            if !form.is_empty() {
                form.push('&');
            }
            form.push_str(name);
            form.push('=');
            form.push_str(&encode(value));
        };
        add("grant_type", "authorization_code");
        add("code", &back.code);
        add("redirect_uri", &self.redirect);
        add("code_verifier", &back.verifier);
        let basic = document.token_endpoint_auth_methods_supported.as_ref();
        let basic = basic.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let mut request = self.client.post(endpoint);
        if basic {
            let both = Zeroizing::new(format!("{}:{}", encode(&self.settings.client_id), encode(&secret)));
            let mut value = reqwest::header::HeaderValue::try_from(format!("Basic {}", STANDARD.encode(both.as_bytes())))
                .map_err(|_| IdentityError::Unusable("its client secret can't be sent".to_owned()))?;
            value.set_sensitive(true);
            request = request.header("authorization", value);
        } else {
            add("client_id", &self.settings.client_id);
            add("client_secret", &secret);
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_string());
        outward::json(request).await.map_err(|error| match error {
            CallError::Status(status) if status.is_client_error() => refused("the provider does not redeem the code"),
            error => unusable("its token endpoint", &error),
        })
    }
}

fn url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<reqwest::Url, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn maybe_url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<reqwest::Url>, D::Error> {
    url(deserializer).map(Some)
}

#[derive(Deserialize)]
struct KeysAsWritten {
    keys: Vec<serde_json::Value>,
}

/// What a token says of these claims. A forbid could look for what is left out: nothing that is there, and is one value, is.
fn kept(keep: &[String], claims: &Claims) -> Result<BTreeMap<String, Words>, IdentityError> {
    let said = keep.iter().filter_map(|name| Some((name.clone(), claims.shown(name)?)));
    let kept: Option<_> = said.map(|(name, value)| Some((name, Words::new(&value).ok()?))).collect();
    kept.ok_or_else(|| refused("a claim that is to be kept has characters that can't be shown, or is too long"))
}

fn refused(why: &str) -> IdentityError {
    IdentityError::Refused(why.to_owned())
}

fn unusable(what: &str, error: &CallError) -> IdentityError {
    let mut why = format!("{what}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        why.push_str(": ");
        why.push_str(&inner.to_string());
        cause = inner.source();
    }
    IdentityError::Unusable(why)
}

/// Percent-encodes what is not plainly harmless.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
