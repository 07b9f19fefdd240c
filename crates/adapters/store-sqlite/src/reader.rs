//! Reading: a few threads with connections of their own, so that no caller waits for the writer or blocks a runtime's worker.

use std::{path::Path, sync::Arc, thread};

use parking_lot::Mutex;
use rusqlite::Connection;
use safeconduct_app::ports::StoreError;
use tokio::sync::{mpsc, oneshot};

use crate::schema;

/// Most questions that wait; callers beyond wait for a place.
const QUEUE: usize = 1024;
const THREADS: usize = 2;

/// One question.
pub(crate) struct Question(Box<dyn FnOnce(&Connection) + Send>);

impl Question {
    pub(crate) fn new<T, F>(ask: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>)
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        (Self(Box::new(move |connection| drop(sender.send(ask(connection))))), receiver)
    }
}

/// Starts the threads. They run until the sender is gone.
pub(crate) fn start(path: &Path) -> Result<(mpsc::Sender<Question>, Vec<thread::JoinHandle<()>>), StoreError> {
    let (sender, receiver) = mpsc::channel::<Question>(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    let threads = (0..THREADS)
        .map(|number| {
            let (connection, receiver) = (schema::open_reader(path)?, Arc::clone(&receiver));
            let answer = move || {
                loop {
                    // One thread waits in the channel, the other for the lock.
                    let next = receiver.lock().blocking_recv();
                    let Some(Question(ask)) = next else { return };
                    ask(&connection);
                }
            };
            thread::Builder::new()
                .name(format!("store-read-{number}"))
                .spawn(answer)
                .map_err(|cause| StoreError::Unavailable(Box::new(cause)))
        })
        .collect::<Result<_, _>>()?;
    Ok((sender, threads))
}
