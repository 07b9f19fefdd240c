//! Failed sign-ins, counted per name and source: slows guessing down. Never locks an account: others' failures stop nobody elsewhere.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failures within the window after which a name from one source waits.
const PER_NAME_AND_SOURCE: u32 = 10;
/// Failures within the window after which a source waits.
const PER_SOURCE: u32 = 60;
/// Failures at identity providers within the window after which a source waits. Nobody guesses there: this only bounds what calls to the
/// provider cost, and is beyond what people behind one address bring about.
const PER_SOURCE_AT_PROVIDERS: u32 = 600;
const WINDOW: Duration = Duration::from_secs(60);
/// Most counters kept; when full, those that ran out go first, then all.
const MOST: usize = 10_000;

/// Counts failures of the last minute.
#[derive(Debug)]
pub(crate) struct Attempts {
    counters: Mutex<HashMap<String, (Instant, u32)>>,
    per_name_and_source: u32,
    per_source: u32,
}

impl Attempts {
    /// Counts guesses of secrets that people choose.
    pub fn at_passwords() -> Self {
        Self { counters: Mutex::default(), per_name_and_source: PER_NAME_AND_SOURCE, per_source: PER_SOURCE }
    }

    /// Counts what came from identity providers and did not count. There is no name before somebody is known.
    pub fn at_providers() -> Self {
        Self { counters: Mutex::default(), per_name_and_source: PER_SOURCE_AT_PROVIDERS, per_source: PER_SOURCE_AT_PROVIDERS }
    }

    /// True if another attempt may be made.
    pub fn may_try(&self, name: &str, source: &str, now: Instant) -> bool {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |key: &str| counters.get(key).filter(|(since, _)| now.duration_since(*since) < WINDOW).map_or(0, |(_, count)| *count);
        count(&pair(name, source)) < self.per_name_and_source && count(source) < self.per_source
    }

    /// Counts a failure.
    pub fn failed(&self, name: &str, source: &str, now: Instant) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() + 2 > MOST {
            counters.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            if counters.len() + 2 > MOST {
                counters.clear();
            }
        }
        for key in [pair(name, source), source.to_owned()] {
            let counter = counters.entry(key).or_insert((now, 0));
            if now.duration_since(counter.0) >= WINDOW {
                *counter = (now, 0);
            }
            counter.1 = counter.1.saturating_add(1);
        }
    }
}

/// Names are short where they exist; longer ones share a counter.
fn pair(name: &str, source: &str) -> String {
    format!("{source} {}", name.chars().take(64).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_waits_and_others_do_not() {
        let attempts = Attempts::at_passwords();
        let start = Instant::now();
        for _ in 0..PER_NAME_AND_SOURCE {
            assert!(attempts.may_try("alice", "10.0.0.1", start));
            attempts.failed("alice", "10.0.0.1", start);
        }
        assert!(!attempts.may_try("alice", "10.0.0.1", start));
        assert!(attempts.may_try("alice", "10.0.0.2", start));
        assert!(attempts.may_try("bob", "10.0.0.1", start));
        assert!(attempts.may_try("alice", "10.0.0.1", start + WINDOW));
    }

    #[test]
    fn what_providers_refuse_is_bounded_by_its_cost_alone() {
        let attempts = Attempts::at_providers();
        let start = Instant::now();
        for _ in 0..PER_SOURCE_AT_PROVIDERS {
            assert!(attempts.may_try("", "10.0.0.1", start));
            attempts.failed("", "10.0.0.1", start);
        }
        assert!(!attempts.may_try("", "10.0.0.1", start));
        assert!(attempts.may_try("", "10.0.0.2", start));
        assert!(attempts.may_try("", "10.0.0.1", start + WINDOW));
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::at_passwords();
        let start = Instant::now();
        for n in 0..MOST {
            attempts.failed(&n.to_string(), "10.0.0.1", start);
        }
        assert!(attempts.counters.lock().unwrap().len() <= MOST);
        attempts.failed(&"x".repeat(10_000), "10.0.0.1", start);
    }
}
