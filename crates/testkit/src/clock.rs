//! A clock that moves when told to, and random bytes that follow from a seed.

use std::time::Duration;

use parking_lot::Mutex;
use safeconduct_app::ports::{Clock, Entropy, NoEntropy};
use safeconduct_model::Timestamp;

/// A clock moved by hand. Begins at 2026-01-05 09:00 UTC, a Monday.
#[derive(Debug)]
pub struct TestClock(Mutex<(Timestamp, Duration)>);

/// Where test clocks begin: 2026-01-05T09:00:00Z.
pub const START: Timestamp = Timestamp::from_micros(1_767_603_600_000_000);

impl Default for TestClock {
    fn default() -> Self {
        Self::at(START)
    }
}

impl TestClock {
    /// A clock that shows this wall time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new((now, Duration::from_secs(1_000))))
    }

    /// Time passes: both clocks go on.
    pub fn advance(&self, by: Duration) {
        let mut clocks = self.0.lock();
        clocks.0 = shifted(clocks.0, by);
        clocks.1 += by;
    }

    /// Somebody sets the wall clock; the boot clock knows nothing of it.
    pub fn set_wall(&self, now: Timestamp) {
        self.0.lock().0 = now;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().0
    }
    fn boot(&self) -> Duration {
        self.0.lock().1
    }
}

/// `n` minutes.
#[must_use]
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn shifted(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(at.micros().saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}

/// Bytes that look random and follow from a seed (splitmix64). For tests only.
#[derive(Debug)]
pub struct TestEntropy(Mutex<u64>);

impl TestEntropy {
    /// The same seed gives the same bytes.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next number.
    pub fn next_u64(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for TestEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        for part in buffer.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            part.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// A system without random bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct DryEntropy;

impl Entropy for DryEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), NoEntropy> {
        Err(NoEntropy)
    }
}
