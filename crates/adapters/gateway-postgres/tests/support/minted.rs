//! A world whose resource makes a login role for each session.

use safeconduct_app::ports::{SessionQuery, Store as _};
use safeconduct_lifecycle::{Event, Retirement, Session, SessionEvent, StreamId};
use safeconduct_model::{SessionId, Timestamp};

use super::{Setup, World};

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
