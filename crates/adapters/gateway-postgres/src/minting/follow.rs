//! A session's role while the session runs: what grants give, and what a claimed action needs while it runs.

use safeconduct_app::DoorSession;
use safeconduct_lifecycle::ExactOutcome;
use safeconduct_model::AccessRequestId;
use safeconduct_protocol::postgres::messages::Report;

use crate::session;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    Grants,
    /// The claimed action is over.
    Lower,
}

/// Makes the role's rights what they are to be. How transactions are to begin from here on; `None` without a role of its own.
///
/// # Errors
/// What the client is told; the session must end.
pub(crate) async fn follow(session: &DoorSession, what: Follow) -> Result<Option<bool>, Report> {
    let Some(read_only) = session.read_only() else { return Ok(None) };
    let changing = async {
        match what {
            Follow::Grants => session.follow_grants().await,
            Follow::Lower => session.lower_rights().await,
        }
    };
    let mut standing = session.standing();
    tokio::select! {
        changed = changing => changed.map(|()| Some(read_only)).map_err(|error| {
            tracing::warn!(session = %session.id(), error = &error as &dyn std::error::Error, "the session's rights could not be changed");
            Report::new("57P01", "terminating connection: the session's rights at the server could not be changed")
        }),
        // It is cut for that reason as soon as somebody looks.
        _ = session::ended(&mut standing) => Ok(Some(read_only)),
    }
}

/// Adds what a claimed action needs. If that fails it is settled as not run.
///
/// # Errors
/// What the client is told in place of the statement's answer.
pub(crate) async fn raise(session: &DoorSession, request: &AccessRequestId) -> Result<(), Report> {
    if session.read_only().is_none() {
        return Ok(());
    }
    let Err(error) = session.raise_rights(request).await else { return Ok(()) };
    tracing::warn!(session = %session.id(), error = &error as &dyn std::error::Error, "the rights of a claimed action could not be given");
    let why = "the rights it needs could not be given at the server";
    session.settle(request, ExactOutcome::RefusedNotRun { why: why.to_owned() }).await;
    Err(Report::new("42501", format!("not run: {why}")).hint("Ask again; the gateway's log says what the server said."))
}
