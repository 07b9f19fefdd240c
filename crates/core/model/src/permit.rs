//! Permits: proof that `authorize` said yes to one action. Can't be forged, copied or kept for later.

use crate::{AccessRequestId, Audit, GrantId, SessionId};

/// Proof that one action of one session may be forwarded once. Spent by taking it by value.
#[derive(Debug)]
#[must_use = "a permit that is not spent forwards nothing"]
pub struct Permit {
    session: SessionId,
    grant: GrantId,
    claimed: Option<AccessRequestId>,
    sync_first: bool,
    audit: Audit,
}

/// The right to mint permits. The binary makes one and moves it into `app`.
#[derive(Debug)]
pub struct MintingKey(());

impl MintingKey {
    /// Makes a key. `xtask` refuses any caller but the binary and test support.
    #[must_use]
    pub const fn make() -> Self {
        Self(())
    }

    /// Mints a permit. `xtask` refuses any caller but `app`'s `authorize`.
    pub const fn mint(
        &self,
        session: SessionId,
        grant: GrantId,
        claimed: Option<AccessRequestId>,
        sync_first: bool,
        audit: Audit,
    ) -> Permit {
        Permit { session, grant, claimed, sync_first, audit }
    }
}

impl Permit {
    /// The session it is for.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.session
    }

    /// The grant the action passes under.
    #[must_use]
    pub const fn grant(&self) -> &GrantId {
        &self.grant
    }

    /// For a held or exact action: the access request that was claimed.
    #[must_use]
    pub const fn claimed(&self) -> Option<&AccessRequestId> {
        self.claimed.as_ref()
    }

    /// True if the intent must be on disk, not only out of the process, before the action is forwarded.
    #[must_use]
    pub const fn sync_first(&self) -> bool {
        self.sync_first
    }

    /// How strictly the action is audited.
    #[must_use]
    pub const fn audit(&self) -> Audit {
        self.audit
    }
}
