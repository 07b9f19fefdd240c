//! Names: what prepared statements, portals and cursors mean, known from the server's answers and never from what was sent.
//!
//! While an answer is outstanding that could change a name, the name is `Unsettled` and nothing passes under it, with one exception that is
//! certain: a message that follows in the same pipeline runs only if every message before it succeeded. Names that a statement beyond
//! understanding may have changed are `Uncertain` until the server confirms them anew.

use std::{collections::HashMap, sync::Arc};

/// Longest name: beyond it PostgreSQL cuts names off, and two would become one.
pub(crate) const MAX_NAME_BYTES: usize = 63;

/// What a name means at the point where the next message would run.
#[derive(Debug)]
pub(crate) enum Meaning<T> {
    /// Exactly this.
    Is(Arc<T>),
    /// This, unless a statement beyond understanding changed it.
    Uncertain(Arc<T>),
    /// Nothing known.
    Nothing,
    /// Wait for outstanding answers.
    Unsettled,
}

/// A meaning, and the number of the message that gave it.
type Known<T> = (Arc<T>, u64);

/// The names of one sort in one session.
#[derive(Debug)]
pub(crate) struct Names<T> {
    slots: HashMap<Box<[u8]>, Slot<T>>,
    /// Outstanding messages that may remove every name.
    pending_all: u32,
    /// What holds if everything since the last Sync succeeded.
    segment: HashMap<Box<[u8]>, Option<Known<T>>>,
    /// Names confirmed before this message are uncertain.
    tainted_at: u64,
}

#[derive(Debug)]
struct Slot<T> {
    now: Option<Known<T>>,
    /// Outstanding messages that may change this name.
    pending: u32,
    /// A message that may have changed this name failed half-way.
    doubtful: bool,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { slots: HashMap::new(), pending_all: 0, segment: HashMap::new(), tainted_at: 0 }
    }
}

impl<T> Names<T> {
    pub(crate) fn meaning(&self, name: &[u8]) -> Meaning<T> {
        let graded = |(value, since): &Known<T>, doubtful: bool| {
            if doubtful || *since < self.tainted_at { Meaning::Uncertain(Arc::clone(value)) } else { Meaning::Is(Arc::clone(value)) }
        };
        if let Some(assumed) = self.segment.get(name) {
            return assumed.as_ref().map_or(Meaning::Nothing, |found| graded(found, false));
        }
        let slot = self.slots.get(name);
        if self.pending_all > 0 || slot.is_some_and(|slot| slot.pending > 0) {
            return Meaning::Unsettled;
        }
        slot.and_then(|slot| slot.now.as_ref().map(|found| graded(found, slot.doubtful))).unwrap_or(Meaning::Nothing)
    }

    /// How many names are known or outstanding.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The sum of something over everything known.
    pub(crate) fn weigh(&self, weight: impl Fn(&T) -> usize) -> usize {
        self.slots.values().filter_map(|slot| slot.now.as_ref()).map(|(value, _)| weight(value)).sum()
    }

    /// A message was sent that makes `name` mean `value` (or nothing) if it succeeds.
    pub(crate) fn sent(&mut self, name: &[u8], value: Option<Known<T>>) {
        self.slots.entry(name.into()).or_insert_with(|| Slot { now: None, pending: 0, doubtful: false }).pending += 1;
        self.segment.insert(name.into(), value);
    }

    /// The server confirmed: the name means this.
    pub(crate) fn confirmed(&mut self, name: &[u8], value: Option<Known<T>>) -> Option<Arc<T>> {
        let slot = self.slots.get_mut(name)?;
        slot.pending = slot.pending.saturating_sub(1);
        slot.doubtful = false;
        let before = std::mem::replace(&mut slot.now, value).map(|(value, _)| value);
        self.forget_if_unused(name);
        before
    }

    /// The message failed or was skipped: the name means what it meant. `doubtful` if it may have taken effect all the same.
    pub(crate) fn failed(&mut self, name: &[u8], doubtful: bool) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.pending = slot.pending.saturating_sub(1);
            slot.doubtful |= doubtful && slot.now.is_some();
            self.forget_if_unused(name);
        }
    }

    pub(crate) fn sent_all(&mut self) {
        self.pending_all += 1;
        self.segment.clear();
    }

    /// The server confirmed that every name is gone; those for which `keep` says so stay.
    pub(crate) fn confirmed_all(&mut self) -> Vec<Arc<T>> {
        self.pending_all = self.pending_all.saturating_sub(1);
        self.clear_unless(|_| false)
    }

    pub(crate) fn failed_all(&mut self) {
        self.pending_all = self.pending_all.saturating_sub(1);
        self.taint_now();
    }

    /// Forgets what is known, except what `keep` keeps and what is outstanding.
    pub(crate) fn clear_unless(&mut self, keep: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut gone = Vec::new();
        self.slots.retain(|_, slot| {
            if slot.now.as_ref().is_some_and(|(value, _)| !keep(value)) {
                gone.extend(slot.now.take().map(|(value, _)| value));
                slot.doubtful = false;
            }
            slot.now.is_some() || slot.pending > 0
        });
        gone
    }

    /// Removes one name at once, if nothing about it is outstanding.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<T>> {
        let gone = self.slots.get_mut(name)?.now.take().map(|(value, _)| value);
        self.forget_if_unused(name);
        gone
    }

    /// A statement that may have done anything was sent as message number `order`.
    pub(crate) fn taint(&mut self, order: u64) {
        self.tainted_at = self.tainted_at.max(order);
    }

    /// Sync or a simple query: what follows may run although something before failed.
    pub(crate) fn end_segment(&mut self) {
        if !self.segment.is_empty() {
            self.segment.clear();
        }
    }

    fn taint_now(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.doubtful = slot.now.is_some());
    }

    fn forget_if_unused(&mut self, name: &[u8]) {
        if self.slots.get(name).is_some_and(|slot| slot.now.is_none() && slot.pending == 0) {
            self.slots.remove(name);
        }
    }
}
