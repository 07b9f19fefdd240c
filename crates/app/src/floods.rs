//! Bounds on what strangers and refused askers can write into the ledger. What is not recorded one by one is counted, and an entry
//! says how much it was.
//!
//! Refuses no sign-in and no asking: whoever is flooding gets the answers everybody gets.

use std::{collections::BTreeMap, collections::HashMap, hash::Hash};

use parking_lot::Mutex;
use safeconduct_lifecycle::{LeftOut, NodeEvent, StreamId};
use safeconduct_model::{PrincipalName, Timestamp};

use crate::{node::App, problem::Problem};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// Failed sign-ins recorded one by one, per minute: of one source, of one name, and of everybody.
const FAILED_SIGN_INS: u32 = 30;
const FAILED_SIGN_INS_OF_ALL: u32 = 300;
/// Askings that policy denied and that are recorded one by one, per hour and principal.
const DENIED_ASKS: u32 = 60;
/// Most sources and names that are counted apart. Beyond, nothing more is recorded one by one.
const MOST_KEYS: usize = 10_000;

/// How often each of many things happened in its present period.
struct Counts<K> {
    seconds: i64,
    by_key: HashMap<K, (Timestamp, u32)>,
}

impl<K: Eq + Hash> Counts<K> {
    fn per(seconds: i64) -> Self {
        Self { seconds, by_key: HashMap::new() }
    }

    fn over(&self, since: Timestamp, now: Timestamp) -> bool {
        since.plus_seconds(self.seconds) <= now
    }

    /// True if it happened fewer than `most` times in its period, and there is room to count it.
    fn has_room(&mut self, key: &K, most: u32, now: Timestamp) -> bool {
        match self.by_key.get(key) {
            Some((since, _)) if self.over(*since, now) => true,
            Some((_, count)) => *count < most,
            None => {
                if self.by_key.len() >= MOST_KEYS {
                    let seconds = self.seconds;
                    self.by_key.retain(|_, (since, _)| since.plus_seconds(seconds) > now);
                }
                self.by_key.len() < MOST_KEYS
            }
        }
    }

    fn count(&mut self, key: K, now: Timestamp) {
        let seconds = self.seconds;
        let (since, count) = self.by_key.entry(key).or_insert((now, 0));
        if since.plus_seconds(seconds) <= now {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
    }
}

/// What was recorded and what was left out lately.
pub(crate) struct Floods(Mutex<State>);

struct State {
    sources: Counts<String>,
    names: Counts<PrincipalName>,
    everybody: Counts<()>,
    denied: Counts<PrincipalName>,
    /// How many, and since when.
    left_out: BTreeMap<LeftOut, (u64, Timestamp)>,
}

impl Default for Floods {
    fn default() -> Self {
        Self(Mutex::new(State {
            sources: Counts::per(MINUTE),
            names: Counts::per(MINUTE),
            everybody: Counts::per(MINUTE),
            denied: Counts::per(HOUR),
            left_out: BTreeMap::new(),
        }))
    }
}

impl State {
    fn leave_out(&mut self, what: LeftOut, now: Timestamp) {
        let (count, _) = self.left_out.entry(what).or_insert((0, now));
        *count = count.saturating_add(1);
    }
}

impl Floods {
    /// True if this failed sign-in is to be recorded; else it is counted.
    pub fn records_sign_in(&self, source: &str, name: Option<&PrincipalName>, now: Timestamp) -> bool {
        let mut state = self.0.lock();
        let source = source.to_owned();
        let room = state.everybody.has_room(&(), FAILED_SIGN_INS_OF_ALL, now)
            && state.sources.has_room(&source, FAILED_SIGN_INS, now)
            && name.is_none_or(|name| state.names.has_room(name, FAILED_SIGN_INS, now));
        if room {
            state.everybody.count((), now);
            state.sources.count(source, now);
            if let Some(name) = name {
                state.names.count(name.clone(), now);
            }
        } else {
            state.leave_out(LeftOut::FailedSignIns, now);
        }
        room
    }

    /// True if this denied asking is to be recorded; else it is counted.
    pub fn records_denial(&self, principal: &PrincipalName, now: Timestamp) -> bool {
        let mut state = self.0.lock();
        let room = state.denied.has_room(principal, DENIED_ASKS, now);
        if room {
            state.denied.count(principal.clone(), now);
        } else {
            state.leave_out(LeftOut::DeniedAsks { principal: principal.clone() }, now);
        }
        room
    }

    /// True if something left out is to be told now.
    fn is_due(&self, now: Timestamp) -> bool {
        self.0.lock().left_out.iter().any(|(what, (_, since))| since.plus_seconds(period(what)) <= now)
    }

    fn take(&self, due_by: Option<Timestamp>) -> BTreeMap<LeftOut, (u64, Timestamp)> {
        let mut state = self.0.lock();
        let (due, rest) = std::mem::take(&mut state.left_out)
            .into_iter()
            .partition(|(what, (_, since))| due_by.is_none_or(|now| since.plus_seconds(period(what)) <= now));
        state.left_out = rest;
        due
    }

    fn put_back(&self, untold: BTreeMap<LeftOut, (u64, Timestamp)>) {
        let mut state = self.0.lock();
        for (what, (count, since)) in untold {
            let (total, began) = state.left_out.entry(what).or_insert((0, since));
            *total = total.saturating_add(count);
            *began = (*began).min(since);
        }
    }
}

const fn period(what: &LeftOut) -> i64 {
    match what {
        LeftOut::FailedSignIns => MINUTE,
        LeftOut::DeniedAsks { .. } => HOUR,
    }
}

impl App {
    /// Records how much was left out: what is due, or at the end everything. At most an entry a minute, and one an hour and principal.
    pub(crate) async fn tell_left_out(&self, all: bool) -> Result<(), Problem> {
        let floods = &self.node.floods;
        if !all && !floods.is_due(self.now()) {
            return Ok(());
        }
        let (guard, mut work) = self.begin().await;
        let now = work.now;
        let told = floods.take((!all).then_some(now));
        for (what, (count, since)) in &told {
            work.push(StreamId::Node, NodeEvent::RecordsLeftOut { what: what.clone(), count: *count, since: *since, at: now });
        }
        let result = self.commit(guard, work).await;
        if result.is_err() {
            floods.put_back(told);
        }
        result
    }
}
