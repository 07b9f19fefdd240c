//! The gateway's own state on the wire, and news about what happens.

use safeconduct_app::{News as AppNews, Status as AppStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the gateway is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub gateway: String,
    pub version: String,
    /// Who could change something alone, and why; empty if nobody could.
    pub standing_privilege: Vec<String>,
    /// Why no grant is live, if none may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// Why the bundle that is watched does not apply, if it does not; the one before does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_problem: Option<String>,
    /// True while sessions end because the gateway is about to stop.
    #[serde(default)]
    pub draining: bool,
    /// Hash of the active policy.
    pub policy: String,
    /// SHA-256 of the document that people sign with in a browser, as `/sign` serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_page: Option<String>,
    pub live_grants: u64,
    pub live_sessions: u64,
    /// Login roles of closed sessions that are not proved to be retired; each is tried for ever.
    #[serde(default)]
    pub unretired_roles: u64,
    /// Roles at servers that are named like those of sessions and that no session accounts for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_roles: Vec<String>,
    pub pending: u64,
    /// Entries that are sequenced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_size: Option<u64>,
    /// Entries that the newest checkpoint covers.
    pub checkpoint_size: u64,
}

/// Something happened. Look it up to see what: news holds names, no content.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct News {
    pub index: u64,
    pub stream: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_request: Option<String>,
}

/// Answer of the health checks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    pub status: String,
}

impl From<AppStatus> for Status {
    fn from(status: AppStatus) -> Self {
        Self {
            gateway: status.gateway,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            standing_privilege: status.standing_privilege,
            frozen: status.frozen,
            bundle_problem: status.bundle_problem,
            draining: status.draining,
            policy: status.policy.to_string(),
            signing_page: status.signing_page.map(|digest| digest.to_string()),
            live_grants: status.live_grants as u64,
            live_sessions: status.live_sessions as u64,
            unretired_roles: status.unretired_roles as u64,
            unknown_roles: status.unknown_roles,
            pending: status.pending as u64,
            ledger_size: status.ledger.map(|head| head.size),
            checkpoint_size: status.checkpoint_size,
        }
    }
}

impl From<&AppNews> for News {
    fn from(news: &AppNews) -> Self {
        Self {
            index: news.index,
            stream: news.stream.to_string(),
            kind: news.kind.to_owned(),
            access_request: news.access.as_ref().map(|access| access.envelope.access_request.to_string()),
        }
    }
}
