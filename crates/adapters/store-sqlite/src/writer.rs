//! The one thread that writes. What is waiting goes into one transaction, so many callers share one flush to disk.
//!
//! Each piece of work is atomic by itself (a savepoint): one conflict undoes one append. If the transaction as a whole can't
//! be committed, all of its work failed and nothing of it stays.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use safeconduct_app::ports::{StoreError, TreeHead};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::{Refusal, broken, refused},
    sequence::Sequence,
};

/// Most pieces of work that wait; callers beyond wait for a place.
pub(crate) const QUEUE: usize = 1024;
/// Most pieces of work in one transaction.
const BATCH: usize = 256;

/// Tells its caller how it ended. `Some` if the transaction around it failed.
type Answer = Box<dyn FnOnce(Option<String>) + Send>;
type Work = Box<dyn FnOnce(&Connection, &mut Sequence) -> (bool, Answer) + Send>;

/// One piece of work for the writer.
pub(crate) struct Job(Work);

impl Job {
    /// Wraps what is to be done inside the transaction, and where its result goes once that is durable.
    pub(crate) fn new<T, F>(work: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>)
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Sequence) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job = Self(Box::new(move |connection, sequence| {
            let result = work(connection, sequence);
            let done = result.is_ok();
            let answer: Answer = Box::new(move |failed| {
                // Nobody listens any more if the caller gave up: what was done stays done.
                drop(sender.send(match failed {
                    Some(why) if done => Err(refused(Refusal::RolledBack(why))),
                    _ => result,
                }));
            });
            (done, answer)
        }));
        (job, receiver)
    }
}

/// The writer's side: runs until all senders are gone.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    /// `None` after a failed transaction: read anew from the file before the next.
    pub(crate) sequence: Option<Sequence>,
    pub(crate) head: Arc<Mutex<TreeHead>>,
}

impl Writer {
    pub(crate) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(job) = jobs.blocking_recv() {
            batch.push(job);
            while batch.len() < BATCH
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            self.transact(batch.drain(..));
        }
    }

    fn transact(&mut self, jobs: impl Iterator<Item = Job>) {
        let mut answers = Vec::new();
        let failed = match self.run_all(jobs, &mut answers) {
            Ok(sequence) => {
                *self.head.lock() = head(&sequence);
                self.sequence = Some(sequence);
                None
            }
            Err(error) => {
                self.sequence = None;
                if !self.connection.is_autocommit()
                    && let Err(cause) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%cause, "a failed transaction can't be rolled back");
                }
                let why = explain(&error);
                tracing::error!(%why, "the store did not commit");
                Some(why)
            }
        };
        for answer in answers {
            answer(failed.clone());
        }
    }

    /// Does the work and commits. Work that is dropped unrun tells its caller so.
    fn run_all(&mut self, jobs: impl Iterator<Item = Job>, answers: &mut Vec<Answer>) -> Result<Sequence, StoreError> {
        let mut sequence = match self.sequence.take() {
            Some(sequence) => sequence,
            None => Sequence::read(&self.connection)?,
        };
        let run = |sql: &str| self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(drop).map_err(broken);
        run("BEGIN IMMEDIATE")?;
        for Job(work) in jobs {
            run("SAVEPOINT one")?;
            let before = sequence.clone();
            let (done, answer) = work(&self.connection, &mut sequence);
            answers.push(answer);
            if self.connection.is_autocommit() {
                // A full disk, a lost file: SQLite has rolled back everything already.
                return Err(refused(Refusal::RolledBack("out of space or out of reach".to_owned())));
            }
            if !done {
                sequence = before;
                run("ROLLBACK TO one")?;
            }
            run("RELEASE one")?;
        }
        run("COMMIT")?;
        Ok(sequence)
    }
}

/// Size and root of the tree.
pub(crate) fn head(sequence: &Sequence) -> TreeHead {
    TreeHead { size: sequence.frontier.size(), root: *sequence.frontier.root().as_bytes() }
}

/// The error with its causes on one line.
fn explain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
