//! The machine's clock, random bytes and limits. The only place where the product reads any of them.
//!
//! Decides nothing: effective time is made from these readings by `app`. Refuses to go on without random bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use safeconduct_app::ports::{Clock, Entropy, NoEntropy};
use safeconduct_model::Timestamp;

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

// CLOCK_MONOTONIC stands still on Linux while the machine is suspended: a grant would be stretched by the nap.
#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::Monotonic;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock set before 1970 reads as 1970: far behind the high-water mark, which is what freezes grants.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn boot(&self) -> Duration {
        let time = clock_gettime(BOOT);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// Bytes that an ordinary user may still write where this path is, and bytes in all.
///
/// # Errors
/// When the system does not say.
pub fn space(path: &std::path::Path) -> std::io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(path)?;
    Ok((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}

/// Random bytes of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        getrandom::fill(buffer).map_err(|_| NoEntropy)
    }
}

/// Lets this process have as many files open as the system permits at most; returns how many that is, if there is a bound.
///
/// What shells and init systems give by default (1,024) is less than the connections a node takes: silent ones would use all of it up.
#[must_use]
pub fn open_as_many_files_as_permitted() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f14_the_boot_clock_never_goes_back() {
        let first = SystemClock.boot();
        assert!(SystemClock.boot() >= first);
        assert!(first > Duration::ZERO);
        assert!(SystemClock.now() > "2026-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn random_bytes_differ() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut one).unwrap();
        SystemEntropy.fill(&mut other).unwrap();
        assert_ne!(one, other);
    }
}
