//! Cancel keys: each session has its own random one, and a CancelRequest acts on that session alone.
//!
//! Keys are compared in constant time. The server's own key never reaches a client.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};

/// Bytes of a cancel key in protocol 3.0. With the random process id that makes 63 bits to guess.
const KEY_BYTES: usize = 4;

/// The cancel keys of all open sessions.
#[derive(Clone, Default)]
pub(crate) struct CancelKeys {
    sessions: Arc<Mutex<HashMap<u32, Registered>>>,
}

struct Registered {
    key: [u8; KEY_BYTES],
    cancel: mpsc::Sender<Cancel>,
}

/// Asks a session to cancel what it is doing. Dropped when that is done.
#[derive(Debug)]
pub(crate) struct Cancel(#[expect(dead_code, reason = "its end is what it says")] oneshot::Sender<()>);

/// A session's cancel key; dropping it takes it out of use.
pub(crate) struct CancelKey {
    keys: CancelKeys,
    process: u32,
    key: [u8; KEY_BYTES],
}

impl CancelKeys {
    /// Makes a key for a session and keeps it until it is dropped.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn register(&self) -> Result<(CancelKey, mpsc::Receiver<Cancel>), getrandom::Error> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)?;
        let (cancel, cancels) = mpsc::channel(1);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut bytes = [0; 4];
            getrandom::fill(&mut bytes)?;
            let process = u32::from_be_bytes(bytes) & 0x7fff_ffff;
            if process != 0 && !sessions.contains_key(&process) {
                sessions.insert(process, Registered { key, cancel });
                return Ok((CancelKey { keys: self.clone(), process, key }, cancels));
            }
        }
    }

    /// Passes a cancel on to its session and waits until the session has acted. Says nothing about whether there is such a session.
    pub(crate) async fn cancel(&self, process: u32, key: &[u8]) {
        let found = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let registered = sessions.get(&process);
            let known = registered.map_or([0; KEY_BYTES], |registered| registered.key);
            let equal: bool = known.as_slice().ct_eq(key).into();
            registered.filter(|_| equal).map(|registered| registered.cancel.clone())
        };
        let Some(session) = found else { return };
        let (done, acted) = oneshot::channel();
        if session.send(Cancel(done)).await.is_ok() {
            let _ = acted.await;
        }
    }
}

impl CancelKey {
    /// The process id told to the client. No process has it.
    pub(crate) const fn process(&self) -> u32 {
        self.process
    }

    /// The key told to the client.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.keys.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f33_only_the_right_key_of_a_live_session_cancels() {
        let keys = CancelKeys::default();
        let (key, mut cancels) = keys.register().unwrap();
        let (other, _other_cancels) = keys.register().unwrap();

        keys.cancel(key.process(), other.key()).await;
        keys.cancel(other.process(), key.key()).await;
        keys.cancel(key.process(), &[]).await;
        keys.cancel(key.process(), &[key.key(), &[0_u8]].concat()).await;
        keys.cancel(0, &[0; KEY_BYTES]).await;
        assert!(cancels.try_recv().is_err());

        let (sent, got) = tokio::join!(keys.cancel(key.process(), key.key()), async { cancels.recv().await.map(drop) });
        assert_eq!((sent, got), ((), Some(())));

        let (process, bytes) = (key.process(), key.key().to_owned());
        drop(key);
        keys.cancel(process, &bytes).await;
        assert!(cancels.try_recv().is_err());
    }
}
