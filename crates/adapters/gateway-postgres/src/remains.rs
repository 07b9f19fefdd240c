//! What may still run at a server after its session was cut: messages that had arrived there are worked off even if nobody listens.
//!
//! A cancel stops one statement, not those that wait behind it. So the server is told, over a connection of the gateway's own, to end the
//! process that served the session: the one that still carries the session's name, and no other. Many sessions that end together share one
//! such connection and one statement: a right that a hundred sessions live by ends at the server as fast as one.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_model::Resource;
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    Secrets,
    transport::CancelTarget,
    upstream::{self, Login, Upstream},
    wire::{Body, Reader, malformed},
};

/// How often it is tried.
const ATTEMPTS: u32 = 5;
/// The wait after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long a connection waits for more to end.
const LINGER: Duration = Duration::from_secs(2);
/// Most sessions ended with one statement.
const AT_ONCE: usize = 500;
/// Largest message taken from the server.
const MESSAGE_BYTES: usize = 64 * 1024;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What is needed to end the work of one session.
pub(crate) struct Remains {
    pub target: CancelTarget,
    pub resource: Arc<Resource>,
    pub database: String,
    pub session: String,
    /// For a cancel, where the process can't be ended at once.
    pub cancel: Duration,
}

struct Job {
    remains: Remains,
    done: oneshot::Sender<()>,
}

/// By resource and database. The resource is known by its address: while its worker lives, no other can have it.
type Workers = HashMap<(usize, String), mpsc::UnboundedSender<Job>>;

/// Ends processes at servers.
#[derive(Clone)]
pub(crate) struct Enders {
    workers: Arc<Mutex<Workers>>,
    secrets: Secrets,
    connect: Duration,
}

impl Enders {
    /// Nobody works before there is something to end. `connect` bounds each connection.
    pub(crate) fn new(secrets: Secrets, connect: Duration) -> Self {
        Self { workers: Arc::default(), secrets, connect }
    }

    /// Ends the process; returns once the server was told, or all attempts failed.
    pub(crate) async fn end(&self, remains: Remains) {
        let (done, ended) = oneshot::channel();
        self.hand_over(Job { remains, done });
        let _ = ended.await;
    }

    fn hand_over(&self, job: Job) {
        let key = (Arc::as_ptr(&job.remains.resource).addr(), job.remains.database.clone());
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match workers.get(&key) {
            Some(worker) => match worker.send(job) {
                Ok(()) => return,
                Err(mpsc::error::SendError(job)) => job,
            },
            None => job,
        };
        let (send, jobs) = mpsc::unbounded_channel();
        let resource = Arc::clone(&job.remains.resource);
        // The receiver is here: it is taken.
        let _ = send.send(job);
        workers.insert(key.clone(), send);
        tokio::spawn(self.clone().work(key, resource, jobs));
    }

    /// Ends what it is given until there was nothing for a while.
    async fn work(self, key: (usize, String), resource: Arc<Resource>, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut connection = None;
        let mut batch = Vec::new();
        loop {
            if timeout(LINGER, jobs.recv_many(&mut batch, AT_ONCE)).await.is_err() {
                // INVARIANT: whoever hands over holds this lock, so that nothing is left in the queue.
                let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
                if jobs.is_empty() {
                    workers.remove(&key);
                    break;
                }
                continue;
            }
            self.end_all(&resource, &key.1, &batch, &mut connection).await;
            for job in batch.drain(..) {
                let _ = job.done.send(());
            }
        }
        if let Some(Upstream { mut stream, .. }) = connection {
            let mut goodbye = BytesMut::new();
            frontend::terminate(&mut goodbye);
            let _ = timeout(LINGER, stream.write_all(&goodbye)).await;
            let _ = timeout(LINGER, stream.shutdown()).await;
        }
    }

    async fn end_all(&self, resource: &Resource, database: &str, batch: &[Job], connection: &mut Option<Upstream>) {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let kept = connection.take();
            let fresh = kept.is_none();
            match timeout(self.connect.saturating_mul(2), self.tell(resource, database, batch, kept)).await {
                Ok(Ok(open)) => return *connection = Some(open),
                // A connection that was kept may be gone without blame.
                Ok(Err(_)) if !fresh => continue,
                Ok(Err(error)) => {
                    tracing::warn!(attempt, sessions = batch.len(), resource = %resource.name, error = &*error, "could not end the work upstream");
                }
                Err(_) => tracing::warn!(attempt, sessions = batch.len(), resource = %resource.name, "the server does not end the work"),
            }
            // No connection for it: then at least what runs is cancelled, which takes none of the server's connections.
            for Job { remains, .. } in batch {
                remains.target.send(remains.cancel).await;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn tell(&self, resource: &Resource, database: &str, batch: &[Job], kept: Option<Upstream>) -> Result<Upstream, Failed> {
        let mut upstream = match kept {
            Some(upstream) => upstream,
            None => upstream::connect(&Login::own(resource, database, "safeconduct ending"), &self.secrets, self.connect).await?,
        };
        let mut request = BytesMut::new();
        frontend::query(&statement(batch.iter().map(|job| (job.remains.target.process, job.remains.session.as_str()))), &mut request)?;
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
        upstream.rest = reader.into_rest();
        Ok(upstream)
    }
}

/// Process ids are used again: the name says whether it is still the same one.
fn statement<'a>(sessions: impl Iterator<Item = (i32, &'a str)>) -> String {
    let mut which = String::new();
    for (process, session) in sessions {
        let name = format!("safeconduct {session}").replace('\'', "''");
        let or = if which.is_empty() { "" } else { " OR " };
        let bytes = name.len();
        let _ = write!(
            which,
            "{or}pid OPERATOR(pg_catalog.=) {process} AND pg_catalog.left(application_name, {bytes}) OPERATOR(pg_catalog.=) '{name}'"
        );
    }
    format!("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE {which}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f44_only_processes_that_carry_the_sessions_name_are_ended() {
        assert_eq!(
            statement([(7, "se-a"), (8, "se-'b")].into_iter()),
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE \
             pid OPERATOR(pg_catalog.=) 7 AND pg_catalog.left(application_name, 16) OPERATOR(pg_catalog.=) 'safeconduct se-a' OR \
             pid OPERATOR(pg_catalog.=) 8 AND pg_catalog.left(application_name, 18) OPERATOR(pg_catalog.=) 'safeconduct se-''b'"
        );
    }
}
