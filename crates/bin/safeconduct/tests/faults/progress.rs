//! What decides when the node is killed: the seeded number of something sent or heard by anybody, not a time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub struct Progress {
    seen: AtomicU64,
    at: AtomicU64,
    reached: Notify,
}

impl Progress {
    /// Is reached when this much was seen.
    pub fn until(at: u64) -> Self {
        Self { at: AtomicU64::new(at), ..Self::default() }
    }

    /// Something was sent or heard.
    pub fn tick(&self) {
        if self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.at.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }

    pub async fn reached(&self) {
        self.reached.notified().await;
    }
}
