//! Sign-ins, people, workloads and groups on the wire. Secrets are never shown by `Debug`.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use safeconduct_app::{Caller, CallerStanding, KeyView, SignedIn as AppSignedIn, TokenView};
use safeconduct_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Unfit, texts};

/// Signs in with a password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub name: String,
    #[schema(value_type = String)]
    pub password: Secret,
}

/// Chooses a password with a one-time code.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoosePassword {
    pub name: String,
    #[schema(value_type = String)]
    pub code: Secret,
    #[schema(value_type = String)]
    pub password: Secret,
}

/// A text that is wiped from memory when it is dropped and never shown.
#[derive(Clone)]
pub struct Secret(pub Zeroizing<String>);

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

/// A new sign-in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct SignedIn {
    /// Bearer token for everything else.
    #[schema(value_type = String)]
    pub token: Secret,
    pub who: WhoAmI,
    /// RFC 3339.
    pub expires_at: String,
}

/// A new sign-in of a browser, whose token is in its cookie.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BrowserSignIn {
    pub who: WhoAmI,
    /// RFC 3339.
    pub expires_at: String,
}

/// An identity provider.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    pub name: String,
    /// For people.
    pub title: String,
}

/// Leaves for an identity provider.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// Set if the sign-in is for a command line on the browser's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<CommandLine>,
}

/// A command line that listens on the browser's machine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandLine {
    #[schema(minimum = 1024)]
    pub port: u16,
    /// SHA-256 of its verifier, base64url without padding.
    pub challenge: String,
}

/// Where the browser goes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Leaving {
    pub url: String,
}

/// What the browser brought back, from the address it came back to.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Returned {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub code: Option<Secret>,
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of it: one of both.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Arrived {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in: Option<BrowserSignIn>,
    /// The address at which the command line waits, with its code. The browser goes there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
}

/// Takes a sign-in over that a browser brought.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeOver {
    #[schema(value_type = String)]
    pub code: Secret,
    #[schema(value_type = String)]
    pub verifier: Secret,
}

impl From<CommandLine> for safeconduct_app::CommandLine {
    fn from(line: CommandLine) -> Self {
        Self { port: line.port, challenge: line.challenge }
    }
}

impl From<Returned> for safeconduct_app::Returned {
    fn from(returned: Returned) -> Self {
        let code = returned.code.map(|code| code.0.as_str().to_owned());
        Self { code, state: returned.state, issuer: returned.iss, error: returned.error }
    }
}

/// The caller.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    pub name: String,
    /// `person` or `workload`.
    pub kind: String,
    pub sign_in: String,
    /// `password`, `token` or `oidc`.
    pub method: String,
    pub signed_in_at: String,
    #[serde(default)]
    pub display_name: String,
    #[serde(default)]
    pub groups: Vec<String>,
    /// True if the caller may read the whole ledger and everybody's sessions.
    #[serde(default)]
    pub audits: bool,
    /// True if the caller may end anybody's grants, sessions and sign-ins.
    #[serde(default)]
    pub ends_access: bool,
    /// True if the caller may ask for changes to people, groups or workloads.
    #[serde(default)]
    pub administers: bool,
    /// What the token is narrowed to, if it is: `read`, `request`, `ledger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// A token or sign-in, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub sign_in: String,
    pub method: String,
    pub created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    pub source: String,
    /// The identity provider that vouched for the person, by its name in the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What it is narrowed to, if it is: `read`, `request`, `ledger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// To the second, and after a crash of the gateway to a minute. Missing if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
    /// The address of that call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_from: Option<String>,
}

/// What a workload gets for its token (RFC 8693, 2.2.1).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenAnswer {
    /// For `Authorization: Bearer`.
    #[schema(value_type = String)]
    pub access_token: Secret,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    pub issued_token_type: String,
    /// `Bearer`.
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
    /// What it is narrowed to, separated by blanks; missing if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// Why it gets none (RFC 6749, 5.2).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenRefused {
    /// `invalid_request`, `unsupported_grant_type`, `invalid_scope`, `invalid_grant` or `temporarily_unavailable`.
    pub error: String,
    pub error_description: String,
}

/// What a passkey signs to sign in: good once, for two minutes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PasskeyChallenge {
    /// The message of an SSH signature for `safeconduct-sign-in@v1`; the browser's challenge is that signature's pre-image.
    pub challenge: String,
}

/// What an authenticator answered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeySignIn {
    pub challenge: String,
    /// The user handle: a name.
    pub name: String,
    /// base64url, as all three.
    pub authenticator_data: String,
    pub client_data: String,
    /// The signature's two numbers, 32 bytes each.
    pub signature: String,
}

impl TryFrom<PasskeySignIn> for safeconduct_app::PasskeyAnswer {
    type Error = Unfit;
    fn try_from(given: PasskeySignIn) -> Result<Self, Unfit> {
        let bytes = |field, text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|cause| Unfit::new(field, cause));
        let signature = bytes("signature", &given.signature)?;
        Ok(Self {
            challenge: given.challenge,
            name: given.name,
            authenticator_data: bytes("authenticator_data", &given.authenticator_data)?,
            client_data: String::from_utf8(bytes("client_data", &given.client_data)?).map_err(|cause| Unfit::new("client_data", cause))?,
            signature: signature.try_into().map_err(|_| Unfit::new("signature", "64 bytes"))?,
        })
    }
}

/// A key that somebody signs approvals with.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// The line to name it by.
    pub key: String,
    /// As `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// It counts for what was asked after this.
    pub enrolled_at: String,
}

impl From<&KeyView> for Key {
    fn from(view: &KeyView) -> Self {
        Self { key: view.key.clone(), fingerprint: view.fingerprint.clone(), enrolled_at: view.enrolled_at.to_string() }
    }
}

/// A person or workload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    pub name: String,
    pub kind: String,
    pub display_name: String,
    pub created_at: String,
    pub disabled: bool,
    /// True if they were disabled when they were made and nobody has enabled them since.
    #[serde(default)]
    pub waits: bool,
    pub groups: Vec<String>,
    /// Where they work, as a provisioning source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// Whom they answer to, by name here; there may be nobody of that name yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// What else a provisioning source says of them, under the names of RFC 7643.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Who they are at identity providers.
    #[serde(default)]
    pub identities: Vec<Identity>,
}

/// Who somebody is at an identity provider.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

/// A group with its members.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Group {
    pub name: String,
    pub members: Vec<String>,
}

impl WhoAmI {
    pub(crate) fn new(caller: &Caller, standing: CallerStanding) -> Self {
        Self {
            name: caller.name.to_string(),
            kind: kind_name(caller.kind).to_owned(),
            sign_in: caller.sign_in.to_string(),
            method: caller.method.clone(),
            signed_in_at: caller.signed_in_at.to_string(),
            display_name: standing.display_name,
            groups: texts(&standing.groups),
            audits: standing.audits,
            ends_access: standing.ends_access,
            administers: standing.administers,
            scopes: scopes(caller.scopes.as_ref()),
        }
    }
}

impl SignedIn {
    pub(crate) fn new(signed_in: AppSignedIn, standing: CallerStanding) -> Self {
        Self { who: WhoAmI::new(&signed_in.caller, standing), token: Secret(signed_in.token), expires_at: signed_in.expires_at.to_string() }
    }
}

impl BrowserSignIn {
    pub(crate) fn new(signed_in: &AppSignedIn, standing: CallerStanding) -> Self {
        Self { who: WhoAmI::new(&signed_in.caller, standing), expires_at: signed_in.expires_at.to_string() }
    }
}

impl From<&TokenView> for Token {
    fn from(token: &TokenView) -> Self {
        Self {
            sign_in: token.sign_in.to_string(),
            method: token.method.clone(),
            created_at: token.created_at.to_string(),
            expires_at: Some(token.expires_at.to_string()),
            source: token.source.clone(),
            provider: token.provider.clone(),
            scopes: scopes(token.scopes.as_ref()),
            last_used_at: token.last_used_at.map(|at| at.to_string()),
            last_used_from: token.last_used_from.clone(),
        }
    }
}

impl Principal {
    pub(crate) fn new(principal: &model::Principal, identities: Vec<(String, String)>, waits: bool) -> Self {
        Self {
            name: principal.name.to_string(),
            kind: kind_name(principal.kind).to_owned(),
            display_name: principal.display_name.clone(),
            created_at: principal.created_at.to_string(),
            disabled: principal.disabled,
            waits,
            groups: texts(principal.groups.keys()),
            department: principal.department.clone(),
            manager: principal.manager.as_ref().map(|manager| manager.name.to_string()),
            attributes: principal.attributes.iter().map(|(attribute, value)| (attribute.name().to_owned(), value.clone())).collect(),
            identities: identities.into_iter().map(|(issuer, subject)| Identity { issuer, subject }).collect(),
        }
    }
}

fn scopes(scopes: Option<&model::TokenScopes>) -> Option<Vec<String>> {
    scopes.map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect())
}

const fn kind_name(kind: model::PrincipalKind) -> &'static str {
    match kind {
        model::PrincipalKind::Person => "person",
        model::PrincipalKind::Workload => "workload",
    }
}
