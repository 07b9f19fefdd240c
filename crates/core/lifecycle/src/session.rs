//! Sessions, sign-ins, policy and the node: events that are recorded and little else.

use std::collections::BTreeMap;

use safeconduct_model::{Digest, GrantId, PrincipalName, ResourceName, SessionId, SignInId, Timestamp, TokenScopes, Words};
use serde::{Deserialize, Serialize};

use crate::access::Actor;

/// A proxied connection, live or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub principal: PrincipalName,
    pub resource: ResourceName,
    pub database: String,
    pub source: String,
    pub opened_at: Timestamp,
    /// Those it was opened with and those that joined.
    pub grants: Vec<GrantId>,
    pub chunks: Vec<Chunk>,
    pub closed: Option<(Timestamp, String)>,
    pub statements: u64,
    /// The login role made for it, if one was.
    pub credential: Option<Credential>,
    pub version: u64,
}

/// The login role of a session at the resource's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub role: String,
    /// The bundle whose resource file says where it is made.
    pub bundle: Digest,
    /// Set once it is proved that nobody can sign in with it.
    pub retired: Option<Retirement>,
}

/// What was done to retire a login role, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    /// False if the server had no such role: it was never made, or somebody dropped it.
    pub existed: bool,
    /// Connections that were ended by force.
    pub ended: u32,
    /// Databases in which something of it was left: what it owned went to another owner, its rights were dropped.
    pub cleared: Vec<String>,
    /// The error code with which the server refused the probe's sign-in.
    pub probe: String,
}

impl Session {
    /// True while something can still happen to it: it is open, or its login role may still work.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed.is_none() || self.unretired().is_some()
    }

    /// The login role that may still work.
    #[must_use]
    pub fn unretired(&self) -> Option<&Credential> {
        self.credential.as_ref().filter(|credential| credential.retired.is_none())
    }
}

/// A sealed part of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub number: u64,
    pub digest: Digest,
    pub size_bytes: u64,
    pub records: u64,
    /// True if it was sealed after a crash: its tail may be missing.
    pub recovered: bool,
}

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionEvent {
    Opened {
        principal: PrincipalName,
        resource: ResourceName,
        database: String,
        source: String,
        grants: Vec<GrantId>,
        at: Timestamp,
    },
    /// Grants that came to its holder while it was open: from here on it acts under them too.
    GrantsJoined {
        grants: Vec<GrantId>,
        at: Timestamp,
    },
    /// An action was refused; the statement is in the recording.
    ActionRefused {
        why: String,
        at: Timestamp,
    },
    ChunkSealed {
        chunk: Chunk,
        at: Timestamp,
    },
    /// The recording of this session was lost or cut by a crash.
    RecordingLost {
        why: String,
        at: Timestamp,
    },
    /// A login role is about to be made: from here on it may exist.
    CredentialIntended {
        role: String,
        bundle: Digest,
        at: Timestamp,
    },
    CredentialMinted {
        role: String,
        at: Timestamp,
    },
    /// It is proved that nobody can sign in with it any more.
    CredentialRetired {
        role: String,
        #[serde(flatten)]
        proof: Retirement,
        at: Timestamp,
    },
    Closed {
        why: String,
        statements: u64,
        at: Timestamp,
    },
}

impl SessionEvent {
    /// The event's name in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "session_opened",
            Self::GrantsJoined { .. } => "grants_joined",
            Self::ActionRefused { .. } => "action_refused",
            Self::ChunkSealed { .. } => "chunk_sealed",
            Self::RecordingLost { .. } => "recording_lost",
            Self::CredentialIntended { .. } => "credential_intended",
            Self::CredentialMinted { .. } => "credential_minted",
            Self::CredentialRetired { .. } => "credential_retired",
            Self::Closed { .. } => "session_closed",
        }
    }
}

/// Applies one event. Cannot fail.
#[must_use]
pub fn evolve(session: Option<Session>, id: &SessionId, event: &SessionEvent) -> Option<Session> {
    let Some(mut session) = session else {
        return match event {
            SessionEvent::Opened { principal, resource, database, source, grants, at } => Some(Session {
                id: id.clone(),
                principal: principal.clone(),
                resource: resource.clone(),
                database: database.clone(),
                source: source.clone(),
                opened_at: *at,
                grants: grants.clone(),
                chunks: Vec::new(),
                closed: None,
                statements: 0,
                credential: None,
                version: 1,
            }),
            _ => None,
        };
    };
    session.version += 1;
    match event {
        SessionEvent::Opened { .. }
        | SessionEvent::ActionRefused { .. }
        | SessionEvent::RecordingLost { .. }
        | SessionEvent::CredentialMinted { .. } => {}
        SessionEvent::GrantsJoined { grants, .. } => {
            for grant in grants {
                if !session.grants.contains(grant) {
                    session.grants.push(grant.clone());
                }
            }
        }
        SessionEvent::CredentialIntended { role, bundle, .. } => {
            session.credential.get_or_insert_with(|| Credential { role: role.clone(), bundle: *bundle, retired: None });
        }
        SessionEvent::CredentialRetired { role, proof, .. } => {
            if let Some(credential) = session.credential.as_mut().filter(|credential| credential.role == *role) {
                // The first proof stands.
                credential.retired.get_or_insert_with(|| proof.clone());
            }
        }
        SessionEvent::ChunkSealed { chunk, .. } => session.chunks.push(chunk.clone()),
        SessionEvent::Closed { why, statements, at } => {
            session.statements = *statements;
            session.closed = Some((*at, why.clone()));
        }
    }
    Some(session)
}

/// What an identity provider said about somebody whom it signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// The provider's name in the settings.
    pub provider: String,
    pub issuer: String,
    /// Who it is there. With the issuer the one thing that says who somebody is: names and addresses are given anew.
    pub subject: String,
    /// The provider's own session, so that it can end what it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// When the person last proved there who they are, if the provider says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated_at: Option<Timestamp>,
    /// How, in the words of RFC 8176 such as `pwd`, `otp`, `hwk`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// What else it said, as far as the settings keep it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Words>,
}

/// Sign-ins, kept in one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SignInEvent {
    SignedIn {
        sign_in: SignInId,
        name: PrincipalName,
        method: String,
        source: String,
        at: Timestamp,
        /// Set if somebody else vouched for the person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vouched: Option<Box<Vouched>>,
        /// What a token is narrowed to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<TokenScopes>,
    },
    SignedOut {
        sign_in: SignInId,
        name: PrincipalName,
        by: Actor,
        at: Timestamp,
    },
    /// A failed attempt. The name is kept only if such a principal exists.
    SignInFailed {
        name: Option<PrincipalName>,
        source: String,
        at: Timestamp,
    },
    /// Chosen with a one-time code, which is used up.
    PasswordChosen {
        name: PrincipalName,
        at: Timestamp,
    },
}

impl SignInEvent {
    /// The event's name in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SignedIn { .. } => "signed_in",
            Self::SignedOut { .. } => "signed_out",
            Self::SignInFailed { .. } => "sign_in_failed",
            Self::PasswordChosen { .. } => "password_chosen",
        }
    }
}

/// Activations of policy bundles, in one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PolicyEvent {
    /// `standing_privilege` says why somebody could do this alone, if somebody could.
    BundleApplied { hash: Digest, by: Actor, standing_privilege: Option<String>, at: Timestamp },
    /// A roster that the root keys signed is in force: its epoch, and the digest of its text.
    RosterApplied { epoch: u64, digest: Digest, at: Timestamp },
}

impl PolicyEvent {
    /// The event's name in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BundleApplied { .. } => "bundle_applied",
            Self::RosterApplied { .. } => "roster_applied",
        }
    }
}

/// What happens to the node itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NodeEvent {
    Started {
        version: String,
        gateway: String,
        /// Digest of the document that people sign with in a browser, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signing_page: Option<Digest>,
        at: Timestamp,
    },
    Stopped {
        at: Timestamp,
    },
    /// The node did not stop in order: statements of at most the last second before may be missing from recordings.
    CrashFound {
        last_seen: Timestamp,
        at: Timestamp,
    },
    /// The wall clock is behind the store's high-water mark: no grant is live until an administrator confirms.
    ClockBehind {
        seconds: u64,
        at: Timestamp,
    },
    ClockConfirmed {
        by: Actor,
        at: Timestamp,
    },
    /// The store is older than what this gateway has signed or was put back from a backup: every grant that was live in it ended.
    Restored {
        why: String,
        at: Timestamp,
    },
    /// So many of one sort happened since then, beyond what is recorded one by one.
    RecordsLeftOut {
        what: LeftOut,
        count: u64,
        since: Timestamp,
        at: Timestamp,
    },
    /// A recording was found at start whose session this ledger does not know: the gateway died before it could record the opening, or
    /// the store is older than the recording.
    RecordingWithoutSession {
        session: SessionId,
        chunks: Vec<Chunk>,
        lost: Option<String>,
        at: Timestamp,
    },
    /// A server has roles that are named like those of sessions and that this ledger does not know. They are left alone.
    UnknownRoles {
        resource: ResourceName,
        roles: Vec<String>,
        at: Timestamp,
    },
}

/// What a flood makes too much of to record one by one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "sort", rename_all = "snake_case")]
pub enum LeftOut {
    FailedSignIns,
    /// What this principal asked for and policy denied.
    DeniedAsks {
        principal: PrincipalName,
    },
}

impl NodeEvent {
    /// The event's name in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "node_started",
            Self::Stopped { .. } => "node_stopped",
            Self::CrashFound { .. } => "crash_found",
            Self::ClockBehind { .. } => "clock_behind",
            Self::ClockConfirmed { .. } => "clock_confirmed",
            Self::Restored { .. } => "store_restored",
            Self::RecordsLeftOut { .. } => "records_left_out",
            Self::RecordingWithoutSession { .. } => "recording_without_session",
            Self::UnknownRoles { .. } => "unknown_roles",
        }
    }
}
