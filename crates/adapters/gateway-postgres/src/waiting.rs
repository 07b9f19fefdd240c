//! Who has not signed in yet: silent connections make room for new ones and delay nobody.
//!
//! At a bound the oldest unauthenticated connection ends: of the same address if that address is at its own bound, else of all.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::AbortHandle;

/// The connections that have not signed in.
#[derive(Clone)]
pub(crate) struct Waiting {
    inner: Arc<Mutex<Inner>>,
    most: usize,
    most_per_address: usize,
}

#[derive(Default)]
struct Inner {
    next: u64,
    queue: VecDeque<Entry>,
}

struct Entry {
    number: u64,
    address: IpAddr,
    /// `None` until the task is known: it can't be ended before.
    task: Option<AbortHandle>,
}

/// A place among those waiting; given up when dropped.
pub(crate) struct Place {
    waiting: Waiting,
    number: u64,
}

impl Waiting {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Self {
        Self { inner: Arc::default(), most: most.max(1), most_per_address: most_per_address.max(1) }
    }

    /// Takes a place, ending the oldest where there is none.
    pub(crate) fn enter(&self, address: IpAddr) -> Place {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let here = inner.queue.iter().filter(|entry| entry.address == address).count();
        let leaves = if here >= self.most_per_address {
            inner.queue.iter().position(|entry| entry.address == address)
        } else {
            (inner.queue.len() >= self.most).then_some(0)
        };
        if let Some(task) = leaves.and_then(|place| inner.queue.remove(place)).and_then(|entry| entry.task) {
            task.abort();
        }
        let number = inner.next;
        inner.next += 1;
        inner.queue.push_back(Entry { number, address, task: None });
        Place { waiting: self.clone(), number }
    }

    /// Makes the place's task known. A place that was taken away meanwhile ends it at once.
    pub(crate) fn attach(&self, number: u64, task: AbortHandle) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = inner.queue.iter_mut().find(|entry| entry.number == number) {
            entry.task = Some(task);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).queue.len()
    }
}

impl Place {
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Leaves as one who has signed in: false if the place was taken away, then nothing may go on.
    pub(crate) fn admit(self) -> bool {
        self.leave()
    }

    fn leave(&self) -> bool {
        let mut inner = self.waiting.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.queue.len();
        inner.queue.retain(|entry| entry.number != self.number);
        inner.queue.len() < before
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f41_the_oldest_silent_connection_makes_room() {
        let waiting = Waiting::new(3, 2);
        let [one, two]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let silent = |place: &Place| {
            let task = tokio::spawn(std::future::pending::<()>());
            waiting.attach(place.number(), task.abort_handle());
            task
        };
        let first = waiting.enter(one);
        let first_task = silent(&first);
        let second = waiting.enter(one);
        let second_task = silent(&second);
        let third = waiting.enter(one);
        let _third_task = silent(&third);
        assert!(first_task.await.is_err_and(|error| error.is_cancelled()));
        assert!(!first.admit());

        let fourth = waiting.enter(two);
        let _fourth_task = silent(&fourth);
        let fifth = waiting.enter(two);
        assert!(second_task.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(waiting.len(), 3);
        assert!(fifth.admit() && third.admit());
        drop(fourth);
        assert_eq!(waiting.len(), 0);
    }
}
