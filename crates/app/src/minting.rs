//! The second lock: a login role per session, whose rights at the server are those of the live grants and no more.
//!
//! Intended in the ledger before it is made, retired with proof after its session, tried for ever. A grant is ended only after that.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use safeconduct_lifecycle::{Access, Session, SessionEvent, StreamId};
use safeconduct_model::{
    AccessRequestId, GrantId, Minted, OperationSet, Postgres, PrincipalName, Resource, ResourceName, SESSION_ROLE_PREFIX, Scope, SessionId,
};

use crate::{
    door::Door,
    door_session::DoorSession,
    node::App,
    ports::{Login, Minting, MintingError, Rights, Role},
    problem::Problem,
    rights,
    world::{Work, World},
};

/// The wait after the first failure to retire a role; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Grants from which roles have rights at servers, by session.
pub(crate) type Given = BTreeMap<SessionId, BTreeSet<GrantId>>;

/// The login role of an open session.
pub(crate) struct MintedRole {
    pub role: Role,
    /// Held by whoever changes the role: what is under way is finished before it is retired.
    state: Arc<tokio::sync::Mutex<State>>,
}

#[derive(Default)]
struct State {
    login: Option<Login>,
    has: Rights,
    /// A claimed action's needs, while it runs.
    raised: Option<(GrantId, OperationSet)>,
    /// Nothing is made or changed any more.
    over: bool,
}

impl MintedRole {
    /// The role a session is to have, if its resource makes roles.
    pub fn of(session: &SessionId, resource: &Arc<Resource>, database: &str) -> Option<Self> {
        resource.postgres()?.credentials.minted()?;
        let role = Role { name: name(session), resource: Arc::clone(resource), database: database.to_owned() };
        Some(Self { role, state: Arc::default() })
    }
}

/// The name of a session's role.
fn name(session: &SessionId) -> String {
    format!("{SESSION_ROLE_PREFIX}{session}")
}

fn minted(resource: &Resource) -> Option<(&Postgres, &Minted)> {
    let postgres = resource.postgres()?;
    Some((postgres, postgres.credentials.minted()?))
}

impl DoorSession {
    /// Makes the session's login role with the rights of its live grants. `None` if the resource's stored login is used.
    ///
    /// Cancellation: once begun it is finished; the end of the session retires it.
    ///
    /// # Errors
    /// [`MintingError`] for the log; the session can't go on.
    pub async fn make_role(&self) -> Result<Option<Login>, MintingError> {
        if self.door().minted.is_none() {
            return Ok(None);
        }
        self.change_role(Change::Mint).await
    }

    /// Makes the role's rights what live grants give together, as they are now.
    ///
    /// Cancellation: once begun it is finished.
    ///
    /// # Errors
    /// [`MintingError`]: the session must end, for its role may have more than it should.
    pub async fn follow_grants(&self) -> Result<(), MintingError> {
        self.change_role(Change::Follow).await.map(drop)
    }

    /// Adds what a claimed action needs, until [`DoorSession::lower_rights`].
    ///
    /// # Errors
    /// As [`DoorSession::follow_grants`].
    pub async fn raise_rights(&self, request: &AccessRequestId) -> Result<(), MintingError> {
        let needs = self.app().world().access.get(request).map(|access| access.envelope.scope.operations().clone());
        self.change_role(Change::Raise(request.grant(), needs.unwrap_or_default())).await.map(drop)
    }

    /// Takes back what was added for a claimed action.
    ///
    /// # Errors
    /// As [`DoorSession::follow_grants`].
    pub async fn lower_rights(&self) -> Result<(), MintingError> {
        self.change_role(Change::Lower).await.map(drop)
    }

    /// True while transactions are to be read only; `None` if the resource's stored login is used.
    #[must_use]
    pub fn read_only(&self) -> Option<bool> {
        self.door().minted.as_ref().map(|_| rights::grants_are_read_only(&self.door().grants.load(), self.app().now()))
    }

    /// Begins to retire the session's role: sign-in and every connection of it end at once. Nothing is lost by saying so twice.
    pub fn retire_role(&self) {
        self.app().retire_role_of(self.door());
    }

    /// On a task of its own: a change that was begun is known to have ended before the role is retired.
    async fn change_role(&self, change: Change) -> Result<Option<Login>, MintingError> {
        let (app, door) = (self.app().clone(), Arc::clone(self.door()));
        let changed = tokio::spawn(async move { app.change_role(&door, change).await }).await;
        changed.unwrap_or_else(|cause| Err(MintingError::Unreachable(Box::new(cause))))
    }
}

enum Change {
    Mint,
    Follow,
    Raise(GrantId, OperationSet),
    Lower,
}

impl App {
    /// Who makes login roles. Set once, before anything is asked. What a crash left is retired from here on.
    pub fn set_minting(&self, minting: Arc<dyn Minting>) {
        if self.node.minting.set(minting).is_err() {
            return tracing::warn!("roles are made by somebody already");
        }
        for session in self.world().sessions.values().filter(|session| session.closed.is_some()) {
            self.retire_later(session.id.clone(), None);
        }
        let node = Arc::downgrade(&self.node);
        tokio::spawn(crate::sweep::for_ever(node));
    }

    pub(crate) fn minting(&self) -> Result<Arc<dyn Minting>, MintingError> {
        let none = || MintingError::Unreachable("this gateway makes no roles".into());
        self.node.minting.get().cloned().ok_or_else(none)
    }

    async fn change_role(&self, door: &Door, change: Change) -> Result<Option<Login>, MintingError> {
        let (Some(found), Some((postgres, minted))) = (&door.minted, minted(&door.resource)) else { return Ok(None) };
        let minting = self.minting()?;
        let mut state = found.state.lock().await;
        if state.over {
            return Err(MintingError::Unreachable("the session is over".into()));
        }
        let is_mint = matches!(change, Change::Mint);
        match change {
            Change::Mint | Change::Follow => {}
            Change::Raise(grant, needs) => state.raised = Some((grant, needs)),
            Change::Lower => state.raised = None,
        }
        let grants = door.grants.load_full();
        let mut wanted = rights::of_grants(&grants, postgres, minted, self.now());
        let mut given: BTreeSet<GrantId> = grants.iter().map(|access| access.grant()).collect();
        if let Some((grant, needs)) = &state.raised {
            rights::add_operations(&mut wanted, needs, minted);
            given.insert(grant.clone());
        }
        // Before: what may have been given counts as given until it is known to be gone.
        self.node.given.lock().entry(door.id.clone()).or_default().extend(given.iter().cloned());
        let login = if is_mint {
            let login = minting.make(&found.role, &wanted).await?;
            state.login = Some(login.clone());
            Some(login)
        } else {
            if state.has != wanted
                && let Err(error) = minting.change(&found.role, &state.has, &wanted).await
            {
                if !matches!(error, MintingError::Refused { .. }) {
                    // It may have been done all the same: nobody knows what the role has.
                    door.end("the rights of its role at the server are not known".to_owned(), self.now());
                }
                state.raised = None;
                return Err(error);
            }
            None
        };
        state.has = wanted;
        let before = self.node.given.lock().insert(door.id.clone(), given.clone());
        if before.is_some_and(|before| before != given) {
            let app = self.clone();
            tokio::spawn(async move { app.retire_ended().await });
        }
        drop(state);
        if is_mint {
            let (app, id, role) = (self.clone(), door.id.clone(), found.role.name.clone());
            let event = SessionEvent::CredentialMinted { role, at: self.now() };
            tokio::spawn(async move { app.add_session_events(&id, vec![event]).await });
        }
        Ok(login)
    }

    /// Begins the retiring of a session's role, which goes on until it is proved.
    pub(crate) fn retire_role_of(&self, door: &Arc<Door>) {
        let Some(minted) = &door.minted else { return };
        let (app, id, state) = (self.clone(), door.id.clone(), Arc::clone(&minted.state));
        tokio::spawn(async move {
            let mut state = state.lock().await;
            if !std::mem::replace(&mut state.over, true) {
                app.retire_later(id, state.login.take());
            }
        });
    }

    /// Retires the role of a session in the background, for ever if it must be.
    fn retire_later(&self, id: SessionId, login: Option<Login>) {
        let app = self.clone();
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            for attempt in 1_u64.. {
                match app.retire_role(&id, login.as_ref()).await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::warn!(attempt, session = %id, error = &*error, "the session's role is not retired yet; it is tried again");
                    }
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            app.node.given.lock().remove(&id);
            app.retire_ended().await;
        });
    }

    /// One try to retire a session's role, and its record.
    pub(crate) async fn retire_role(&self, id: &SessionId, login: Option<&Login>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let session = self.load_session(id).await.map_err(|problem| problem.to_string())?;
        let Some((session, credential)) = session.as_ref().and_then(|session| Some((session, session.unretired()?))) else { return Ok(()) };
        let role = self.role_of(session, &credential.bundle, credential.role.clone()).await?;
        let proof = self.minting()?.retire(&role, login).await?;
        let retired = SessionEvent::CredentialRetired { role: role.name, proof, at: self.now() };
        self.add_session_events(id, vec![retired]).await;
        Ok(())
    }

    /// The role as it was made: at the server of the resource file that was in force then.
    pub(crate) async fn role_of(
        &self,
        session: &Session,
        bundle: &safeconduct_model::Digest,
        name: String,
    ) -> Result<Role, Box<dyn std::error::Error + Send + Sync>> {
        let made_by = self.load_bundle(bundle).await.map_err(|problem| problem.to_string())?;
        let made_by = made_by.resources.get(&session.resource).cloned().ok_or("the resource it was made for is not in its bundle")?;
        let place = |resource: &Resource| resource.postgres().map(|postgres| (postgres.host.clone(), postgres.port));
        // The same server under its present description: the gateway's own password may have moved.
        let present = self.world().resource(&session.resource).cloned();
        let present = present.filter(|resource| minted(resource).is_some() && place(resource) == place(&made_by));
        Ok(Role { name, resource: present.unwrap_or(made_by), database: session.database.clone() })
    }

    /// Roles of closed sessions that are not proved to be retired.
    pub(crate) fn unretired_roles(&self) -> usize {
        self.world().sessions.values().filter(|session| session.closed.is_some() && session.unretired().is_some()).count()
    }

    /// Opens a session in the ledger for one exact action, and makes its role with just what the action needs.
    pub(crate) async fn make_role_for_run(
        &self,
        id: &SessionId,
        access: &Access,
        resource: &Arc<Resource>,
        database: &str,
    ) -> Result<Option<Login>, MintingError> {
        let Some((_, minted)) = minted(resource) else { return Ok(None) };
        let minting = self.minting()?;
        let role = Role { name: name(id), resource: Arc::clone(resource), database: database.to_owned() };
        let (guard, mut work) = self.begin().await;
        let opened = SessionEvent::Opened {
            principal: access.envelope.requester.clone(),
            resource: resource.name.clone(),
            database: database.to_owned(),
            source: access.envelope.access_request.to_string(),
            grants: vec![access.grant()],
            at: work.now,
        };
        work.push(StreamId::Session(id.clone()), opened);
        intend(&mut work, id, role.name.clone());
        self.commit(guard, work).await.map_err(|problem: Problem| MintingError::Unreachable(problem.to_string().into()))?;
        let mut wanted = Rights { until: self.now().after(access.envelope.duration), ..Rights::default() };
        let Scope::Exact { needs, .. } = &access.envelope.scope else { return Ok(None) };
        let mut needs = needs.clone();
        needs.insert(safeconduct_model::Operation::Connect);
        rights::add_operations(&mut wanted, &needs, minted);
        let app = self.clone();
        let minted = tokio::spawn(async move {
            let login = minting.make(&role, &wanted).await;
            (app, role, login)
        });
        let (app, role, login) = minted.await.map_err(|cause| MintingError::Unreachable(Box::new(cause)))?;
        if login.is_ok() {
            app.add_session_events(id, vec![SessionEvent::CredentialMinted { role: role.name, at: app.now() }]).await;
        }
        login.map(Some)
    }

    /// The end of an exact action's session: its role is retired.
    pub(crate) async fn close_run(&self, id: &SessionId, login: Option<Login>, why: &str) {
        if !self.world().sessions.contains_key(id) {
            return;
        }
        self.add_session_events(id, vec![SessionEvent::Closed { why: why.to_owned(), statements: 1, at: self.now() }]).await;
        self.retire_later(id.clone(), login);
    }
}

/// From here on the role may exist.
pub(crate) fn intend(work: &mut Work, session: &SessionId, role: String) {
    let bundle = work.world.bundle.hash;
    work.push(StreamId::Session(session.clone()), SessionEvent::CredentialIntended { role, bundle, at: work.now });
}

/// Grants from which somebody may still have rights at a server.
pub(crate) struct WithRights {
    grants: HashSet<GrantId>,
    /// Holders of whom a role is left that was not proved to be retired.
    holders: HashSet<(PrincipalName, ResourceName)>,
}

impl WithRights {
    pub fn of(world: &World, given: &Given) -> Self {
        let left = world.sessions.values().filter(|session| session.closed.is_some() && session.unretired().is_some());
        Self {
            grants: given.values().flatten().cloned().collect(),
            holders: left.map(|session| (session.principal.clone(), session.resource.clone())).collect(),
        }
    }

    pub fn has(&self, access: &Access) -> bool {
        self.grants.contains(&access.grant())
            || self.holders.contains(&(access.envelope.requester.clone(), access.envelope.resource.clone()))
    }
}
