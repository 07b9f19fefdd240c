//! Effective time: follows the wall clock forwards, never goes back, and never stands still.
//!
//! When the wall clock is set back, effective time goes on by the clock that also counts suspended time: no grant gets longer.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use safeconduct_model::Timestamp;

use crate::ports::Clock;

/// How far the wall clock may be behind the store at start before grants are frozen.
pub(crate) const TOLERATED_SECONDS: i64 = 60;

pub(crate) struct EffectiveClock {
    clock: Arc<dyn Clock>,
    last: Mutex<(Timestamp, Duration)>,
}

impl EffectiveClock {
    /// Starts at the later of wall clock and high-water mark.
    pub fn new(clock: Arc<dyn Clock>, high_water: Option<Timestamp>) -> Self {
        let start = high_water.map_or_else(|| clock.now(), |mark| mark.max(clock.now()));
        let boot = clock.boot();
        Self { clock, last: Mutex::new((start, boot)) }
    }

    /// The effective time.
    pub fn now(&self) -> Timestamp {
        let (wall, boot) = (self.clock.now(), self.clock.boot());
        let mut last = self.last.lock();
        let passed = i64::try_from(boot.saturating_sub(last.1).as_micros()).unwrap_or(i64::MAX);
        let elapsed = Timestamp::from_micros(last.0.micros().saturating_add(passed));
        *last = (wall.max(elapsed), boot.max(last.1));
        last.0
    }
}
