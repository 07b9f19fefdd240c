//! Turns for what is expensive: a few at a time, a few more wait, everybody else is sent away at once.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Places for work of one kind.
pub(crate) struct Turns {
    working: Semaphore,
    /// Places of those who work and those who wait.
    queue: Semaphore,
}

/// A place and a turn; both are free again when it is dropped.
pub(crate) struct Turn<'t> {
    _place: SemaphorePermit<'t>,
    _turn: SemaphorePermit<'t>,
}

impl Turns {
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self { working: Semaphore::new(at_once), queue: Semaphore::new(at_once.saturating_add(waiting)) }
    }

    /// Waits for its turn; `None` at once if too many wait already.
    pub async fn take(&self) -> Option<Turn<'_>> {
        let place = self.queue.try_acquire().ok()?;
        let turn = self.working.acquire().await.ok()?;
        Some(Turn { _place: place, _turn: turn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_finds_no_place_is_sent_away_and_a_place_is_free_again_after_its_turn() {
        let turns = Turns::new(1, 1);
        let first = turns.take().await;
        assert!(first.is_some());
        let mut second = Box::pin(turns.take());
        assert!(asked_once(&mut second).await.is_none(), "it waits");
        assert!(turns.take().await.is_none(), "no place is left");
        drop(first);
        assert!(second.await.is_some());
        assert!(turns.take().await.is_some());
    }

    /// What a future says when it is asked once.
    async fn asked_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
