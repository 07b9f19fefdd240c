//! A world whose resource makes a login role for each session.

use std::sync::Arc;

use safeconduct_app::{
    App, Ports,
    ports::{SessionQuery, Store as _},
};
use safeconduct_gateway_postgres::{PostgresMinting, Secrets};
use safeconduct_lifecycle::{Access, Event, Retirement, Session, SessionEvent, StreamId};
use safeconduct_model::{GrantId, MintingKey, SessionId, Timestamp};
use safeconduct_testkit::TestEntropy;

use super::{NoSigner, Setup, World, settings};

/// The gateway's own account and what it needs; group roles for operations.
pub const ROLES: &str = "
CREATE ROLE orders_read; GRANT SELECT ON ALL TABLES IN SCHEMA public TO orders_read;
CREATE ROLE orders_write; GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO orders_write;
CREATE ROLE orders_ddl; GRANT CREATE ON SCHEMA public TO orders_ddl;
CREATE ROLE orders_temp; GRANT TEMP ON DATABASE app TO orders_temp;
REVOKE TEMP ON DATABASE app FROM PUBLIC;
ALTER ROLE app CREATEROLE;
";

/// What the resource file says about it.
pub const CREDENTIALS: &str = "kind = \"minted\"\n[postgres.credentials.roles]\nread = [\"orders_read\"]\nwrite = [\"orders_write\"]\n\
     ddl = [\"orders_ddl\"]\ntemp = [\"orders_temp\"]\n";

impl World {
    /// The roles of sessions at the server, whatever they are.
    pub fn roles(&self) -> String {
        self.rows("SELECT rolname FROM pg_roles WHERE rolname LIKE 'safeconduct\\_%' ORDER BY 1")
    }

    pub async fn until_roles(&self, wanted: &str) {
        while self.roles() != wanted {
            tokio::task::yield_now().await;
        }
    }

    pub async fn sessions(&self) -> Vec<Session> {
        self.app.sessions(&self.caller("ann"), SessionQuery { limit: 50, ..SessionQuery::default() }).await.unwrap()
    }

    pub async fn only_session(&self) -> Session {
        let mut sessions = self.sessions().await;
        assert_eq!(sessions.len(), 1);
        sessions.remove(0)
    }
}

impl World {
    /// Another gateway on the same store, as after a crash: the one before is left behind without a session.
    pub async fn restart(&mut self) {
        let ports = Ports {
            store: Arc::clone(&self.store) as _,
            recorder: Arc::new(self.recorder.clone()),
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::new(TestEntropy::seeded(8)),
            signer: Arc::new(NoSigner),
        };
        let app = App::start(ports, settings(String::new()), MintingKey::make()).await.unwrap();
        let password = self.server.password.clone();
        let secrets: Secrets = Arc::new(move |_| Ok(zeroize::Zeroizing::new(password.clone())));
        app.set_minting(Arc::new(PostgresMinting::new(secrets, self.limits)));
        self.app = app;
    }

    pub async fn access(&self, grant: &GrantId) -> Access {
        self.app.access(&self.caller("ann"), &grant.access_request()).await.unwrap().access
    }

    pub async fn deadline(&self, grant: &GrantId) -> Timestamp {
        self.access(grant).await.deadline().unwrap()
    }

    /// Waits until a grant is ended: whatever hung on it is gone.
    pub async fn until_ended(&self, grant: &GrantId) {
        while !self.access(grant).await.ended {
            tokio::task::yield_now().await;
        }
    }

    /// A world with the second lock. Its clock begins at the machine's time: the server has no other.
    pub async fn minted(sql: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let at = Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap());
        Self::set_up(Setup { sql: format!("{ROLES}{sql}"), credentials: CREDENTIALS.to_owned(), at: Some(at), ..Setup::default() }).await
    }

    /// What happened to a session, in order.
    pub async fn session_events(&self, session: &SessionId) -> Vec<SessionEvent> {
        let stored = self.store.load(StreamId::Session(session.clone())).await.unwrap();
        stored.into_iter().filter_map(|stored| if let Some(Event::Session(event)) = stored.event { Some(event) } else { None }).collect()
    }

    /// The proof that a session's role is retired, once there is one.
    pub async fn proof(&self, session: &SessionId) -> Retirement {
        loop {
            let events = self.session_events(session).await;
            if let Some(proof) = events.into_iter().find_map(|event| match event {
                SessionEvent::CredentialRetired { proof, .. } => Some(proof),
                _ => None,
            }) {
                return proof;
            }
            tokio::task::yield_now().await;
        }
    }
}
