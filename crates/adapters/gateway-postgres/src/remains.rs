//! What may still run at a server after its session was cut: messages that had arrived there are worked off even if nobody listens.
//!
//! A cancel stops one statement, not those that wait behind it. So the server is told, over a connection of the gateway's own, to end the
//! process that served the session: the one that still carries the session's name, and no other.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_model::Resource;
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    Secrets,
    transport::CancelTarget,
    upstream::{self, Login},
    wire::{Body, Reader, malformed},
};

/// How often it is tried.
const ATTEMPTS: u32 = 5;
/// The wait after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Largest message taken from the server.
const MESSAGE_BYTES: usize = 64 * 1024;

/// What is needed to end the work of one session.
pub(crate) struct Remains {
    pub target: CancelTarget,
    pub resource: Arc<Resource>,
    pub database: String,
    pub session: String,
    pub secrets: Secrets,
}

impl Remains {
    /// Stops the running statement, then ends the process. `limit` is for each connection.
    pub(crate) async fn end(&self, cancel: Duration, connect: Duration) {
        self.target.send(cancel).await;
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            match timeout(connect.saturating_mul(2), self.terminate(connect)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!(attempt, session = self.session, error = &*error, "could not end the work upstream"),
                Err(_) => tracing::warn!(attempt, session = self.session, "the server does not end the work"),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn terminate(&self, connect: Duration) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let name = format!("safeconduct ending {}", self.session);
        let login = Login::own(&self.resource, &self.database, &name);
        let mut upstream = upstream::connect(&login, &self.secrets, connect).await?;
        let mut request = BytesMut::new();
        frontend::query(&self.statement(), &mut request)?;
        upstream.stream.write_all(&request).await?;
        upstream.stream.flush().await?;
        let mut reader = Reader::from_rest(std::mem::take(&mut upstream.rest));
        loop {
            let message = reader.next(&mut upstream.stream, MESSAGE_BYTES).await?;
            match (message.tag, message.body) {
                (b'Z', _) => break,
                (b'E', Body::Whole(body)) => {
                    let report = crate::wire::Report::parse(body)?;
                    return Err(format!("{}: {}", report.sqlstate, report.message).into());
                }
                (_, Body::Whole(_)) => {}
                (_, Body::Skipped) => return Err(malformed("message is too large").into()),
            }
        }
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        let _ = upstream.stream.write_all(&goodbye).await;
        let _ = upstream.stream.shutdown().await;
        Ok(())
    }

    /// Process ids are used again: the name says whether it is still the same one.
    fn statement(&self) -> String {
        let name = format!("safeconduct {}", self.session).replace('\'', "''");
        let name_bytes = name.len();
        format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE pid OPERATOR(pg_catalog.=) {} AND pg_catalog.left(application_name, {name_bytes}) OPERATOR(pg_catalog.=) '{name}'",
            self.target.process
        )
    }
}
