//! From a proved secret to a running session: opened in the ledger, connected upstream, told to the client.
//!
//! The door's proof is sent only after the session was opened, so that a right secret without a grant looks like a wrong one.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use safeconduct_app::{DoorLookup, DoorRefused, DoorSession, SessionEnd, Turned, ports::Login as Minted};
use safeconduct_model::{Operation, Resource};
use safeconduct_protocol::postgres::{
    gate::own_name,
    messages::{self, Report, TransactionStatus},
    startup::OpenSession,
};
use tokio::{
    io::AsyncWriteExt,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    greeting::say_farewell,
    listener::Shared,
    session::{self, Ends},
    settings::{Wishes, as_statement},
    sign_in::{self, Proved},
    stream::ClientStream,
    upstream::{self, Login, Reached, UpstreamError},
};

/// Reads what the client asks for.
pub(crate) fn read(open: &OpenSession) -> Result<Wishes, Report> {
    Wishes::read(open).map_err(|unfit| Report::new("08P01", unfit.to_string()))
}

/// Tells a client of a newer minor version, or with protocol options, that 3.0 without any is spoken.
pub(crate) async fn negotiate(stream: &mut ClientStream, open: &OpenSession) -> io::Result<()> {
    if open.needs_negotiation() {
        stream.write_all(&messages::negotiate_protocol_version(&open.protocol_options)).await?;
    }
    Ok(())
}

/// Opens the session and runs it to its end.
pub(crate) async fn open(
    shared: &Arc<Shared>,
    mut stream: Box<ClientStream>,
    wishes: Wishes,
    lookup: DoorLookup,
    proved: Proved,
    peer: SocketAddr,
    shutdown: watch::Receiver<bool>,
) {
    let (meters, began) = (shared.app.meters(), Instant::now());
    let on_the_way = OnTheWay::to(shared.app.door_resource(&lookup), shared.config.limits.upstream_connect);
    let session = match Box::pin(shared.app.door_open(lookup, proved.index, peer)).await {
        Ok(session) => session,
        Err(DoorRefused::NoGrant) => {
            meters.turned_away(Turned::NoGrant);
            return say_farewell(&mut stream, &sign_in::refusal()).await;
        }
        Err(DoorRefused::Unavailable) => {
            meters.turned_away(Turned::Unrecorded);
            return say_farewell(&mut stream, &Report::new("57P03", "the gateway can't record sessions and takes none")).await;
        }
    };
    match Box::pin(begin(shared, &mut stream, &wishes, &session, on_the_way, &proved.server_final)).await {
        Ok(begun) => {
            meters.open.took(began.elapsed());
            session::run(shared, session, *stream, proved.rest, &wishes, begun, shutdown).await;
        }
        Err((report, why)) => {
            say_farewell(&mut stream, &report).await;
            session.close(&why).await;
        }
    }
}

/// A connection to the server that is opened while the session is being recorded. Nobody is signed in over it before the session is, and
/// it is closed if that does not come about.
struct OnTheWay {
    resource: Option<Arc<Resource>>,
    opening: JoinSet<Result<Reached, UpstreamError>>,
}

impl OnTheWay {
    fn to(resource: Option<Arc<Resource>>, limit: Duration) -> Self {
        let mut opening = JoinSet::new();
        if let Some(resource) = resource.clone() {
            opening.spawn(async move { upstream::reach(&resource, limit).await });
        }
        Self { resource, opening }
    }

    /// The connection, or another one if the resource changed meanwhile.
    async fn arrive(mut self, resource: &Arc<Resource>, limit: Duration) -> Result<Reached, UpstreamError> {
        let same = self.resource.is_some_and(|before| Arc::ptr_eq(&before, resource));
        match self.opening.join_next().await {
            Some(Ok(reached)) if same => reached,
            _ => upstream::reach(resource, limit).await,
        }
    }
}

/// Connects upstream and greets the client. What fails here is told to the client and ends the session.
async fn begin(
    shared: &Arc<Shared>,
    stream: &mut ClientStream,
    wishes: &Wishes,
    session: &DoorSession,
    on_the_way: OnTheWay,
    server_final: &str,
) -> Result<Ends, (Report, String)> {
    let lost = |error: io::Error| (Report::new("08006", "connection was lost"), format!("connection lost: {error}"));
    let mut out = BytesMut::new();
    out.extend_from_slice(&messages::authentication_sasl_final(server_final));
    out.extend_from_slice(&messages::authentication_ok());
    stream.write_all(&out.split()).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;

    for (name, value) in &wishes.settings {
        decide_setting(session, name, value).map_err(|report| (report, format!("startup parameter `{name}` refused")))?;
    }
    let application_name = wishes.upstream_name(session.id().as_str());
    let mut standing = session.standing();
    let cut = |end: SessionEnd| (Report::new(end.sqlstate, end.reason.clone()), end.reason);
    let minted = tokio::select! {
        minted = make_role(session, shared.config.limits.upstream_connect) => minted?,
        end = session::ended(&mut standing) => return Err(cut(end)),
    };
    let read_only = session.read_only();
    let login = Login {
        resource: session.resource(),
        database: session.database(),
        application_name: &application_name,
        settings: &wishes.settings,
        minted: minted.as_ref(),
        // Whatever the grants: what RESET goes back to is read only.
        read_only: read_only.is_some(),
        expects_refusal: false,
    };
    let (secrets, limit) = (&shared.config.secrets, shared.config.limits.upstream_connect);
    let connecting = async { upstream::sign_in(on_the_way.arrive(session.resource(), limit).await?, &login, secrets, limit).await };
    let connected = tokio::select! {
        connected = connecting => connected,
        end = session::ended(&mut standing) => return Err(cut(end)),
    };
    let upstream = connected.map_err(|error| {
        shared.app.meters().upstream_failed(session.resource().name.as_str());
        tracing::warn!(session = %session.id(), error = &error as &dyn std::error::Error, "no connection upstream");
        (Report::new(error.sqlstate(), error.to_string()), error.to_string())
    })?;
    let no_entropy = |_| (Report::new("58000", "no random bytes to be had"), "no random bytes".to_owned());
    let (key, cancels) = shared.cancels.register().map_err(no_entropy)?;

    for (name, value) in upstream.parameters.iter().filter(|(name, _)| !wishes.has(name)) {
        let own = if name == "application_name" { own_name(value, session.id()) } else { None };
        out.extend_from_slice(&messages::parameter_status(name, own.unwrap_or(value)));
    }
    let mut ready = BytesMut::from(messages::backend_key_data(key.process(), key.key()));
    ready.extend_from_slice(&messages::ready_for_query(TransactionStatus::Idle));
    Ok(Ends { upstream, read_only, to_client: out, ready, key, cancels })
}

/// The session's own login, if the resource makes one.
async fn make_role(session: &DoorSession, limit: Duration) -> Result<Option<Minted>, (Report, String)> {
    let failed = |why: &str| {
        let message = format!("the gateway could not make a login at the server of `{}`", session.resource().name);
        (Report::new("08006", message), why.to_owned())
    };
    match timeout(limit, session.make_role()).await {
        Ok(Ok(minted)) => Ok(minted),
        Ok(Err(error)) => {
            tracing::warn!(session = %session.id(), error = &error as &dyn std::error::Error, "no login could be made");
            Err(failed("no login could be made"))
        }
        Err(_) => Err(failed("no login was made in time")),
    }
}

/// Decides a startup parameter like the SET it stands for: only what needs nothing but `connect` is passed.
fn decide_setting(session: &DoorSession, name: &str, value: &str) -> Result<(), Report> {
    let facts = session.facts(&as_statement(name, value));
    if facts.unparsable.is_none() && facts.operations.iter().all(|operation| operation == Operation::Connect) {
        Ok(())
    } else {
        let detail = facts.statements.iter().flat_map(|statement| statement.why.clone()).collect::<Vec<_>>().join("; ");
        let report = Report::new("42501", format!("parameter `{name}` can't be set at sign-in to this value"));
        Err(if detail.is_empty() { report } else { report.detail(detail) })
    }
}
