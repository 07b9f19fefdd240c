//! Roles at servers that nobody accounts for: looked for at the servers themselves, reported, and left alone.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use safeconduct_lifecycle::{NodeEvent, StreamId};
use safeconduct_model::{Resource, SESSION_ROLE_PREFIX, SessionId};

use crate::node::{App, Node};

/// How often servers are asked.
const EVERY: Duration = Duration::from_secs(60);

/// Sweeps until the application is gone.
pub(crate) async fn for_ever(node: Weak<Node>) {
    loop {
        let Some(node) = node.upgrade() else { return };
        App { node }.sweep_roles().await;
        tokio::time::sleep(EVERY).await;
    }
}

impl App {
    /// Asks every server which roles are named like those of sessions, and reports those that no session accounts for.
    pub async fn sweep_roles(&self) {
        let resources: Vec<Arc<Resource>> = self.world().bundle.resources.values().cloned().collect();
        for resource in resources.iter().filter(|resource| resource.postgres().is_some_and(|p| p.credentials.minted().is_some())) {
            if let Err(error) = self.sweep(resource).await {
                tracing::warn!(resource = %resource.name, error = &*error, "roles at the server could not be listed");
            }
        }
    }

    async fn sweep(&self, resource: &Arc<Resource>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Before the server is asked: what is retired meanwhile was known.
        let before = self.known_roles();
        let found = self.minting()?.found(resource).await?;
        let after = self.known_roles();
        let mut unknown = BTreeSet::new();
        for role in found.into_iter().filter(|role| !before.contains(role) && !after.contains(role)) {
            let session = role.strip_prefix(SESSION_ROLE_PREFIX).and_then(|id| id.parse::<SessionId>().ok());
            let session = match session {
                Some(id) => self.load_session(&id).await.map_err(|problem| problem.to_string())?,
                None => None,
            };
            let credential = session.as_ref().and_then(|session| session.credential.as_ref());
            match (&session, credential.filter(|credential| credential.role == role)) {
                // Ours after all: made at the server after it was found to be missing there.
                (Some(session), Some(credential)) if session.resource == resource.name => {
                    tracing::warn!(role, "a role that was retired is there again; it is retired once more");
                    let again = self.role_of(session, &credential.bundle, role.clone()).await?;
                    self.minting()?.retire(&again, None).await?;
                }
                _ => {
                    unknown.insert(role);
                }
            }
        }
        let is_news = {
            let mut known = self.node.unknown_roles.lock();
            let before = known.insert(resource.name.clone(), unknown.clone()).unwrap_or_default();
            before != unknown
        };
        if is_news {
            tracing::warn!(resource = %resource.name, roles = ?unknown, "roles at the server that no session accounts for");
            let (name, roles) = (resource.name.clone(), unknown.into_iter().collect::<Vec<_>>());
            self.insist("roles nobody knows", |work| {
                work.push(StreamId::Node, NodeEvent::UnknownRoles { resource: name.clone(), roles: roles.clone(), at: work.now });
            })
            .await;
        }
        Ok(())
    }

    fn known_roles(&self) -> BTreeSet<String> {
        self.world().sessions.values().filter_map(|session| session.unretired()).map(|credential| credential.role.clone()).collect()
    }
}
