//! Points in time and lengths of time, in microseconds. The core never reads a clock: time is an argument.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Wraps microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The moment `ttl` later. Saturates.
    #[must_use]
    pub const fn after(self, ttl: Ttl) -> Self {
        Self(self.0.saturating_add(ttl.micros()))
    }

    /// Time left until `self`, seen from `now`; zero if it has passed.
    #[must_use]
    pub const fn left(self, now: Self) -> std::time::Duration {
        let micros = self.0.saturating_sub(now.0);
        std::time::Duration::from_micros(if micros < 0 { 0 } else { micros.unsigned_abs() })
    }

    /// Moves by whole seconds, backwards if negative. Saturates.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{}", at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp(text.to_owned()))?;
        Ok(Self(at.as_microsecond()))
    }
}

/// A text that is no RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time; write it as 2026-11-22T14:05:00Z")]
pub struct InvalidTimestamp(pub String);

/// How long a right lasts: more than zero, at most [`Ttl::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Ttl(u64);

impl Ttl {
    /// One second.
    pub const MIN: Self = Self(1);

    /// Sixty seconds.
    pub const MINUTE: Self = Self(60);

    /// Seven days.
    pub const MAX: Self = Self(7 * 24 * 3600);

    /// Whole seconds.
    ///
    /// # Errors
    /// [`InvalidTtl`] if zero or above [`Ttl::MAX`].
    pub const fn from_seconds(seconds: u64) -> Result<Self, InvalidTtl> {
        if seconds == 0 || seconds > Self::MAX.0 { Err(InvalidTtl) } else { Ok(Self(seconds)) }
    }

    /// Length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Length in microseconds.
    #[must_use]
    #[expect(clippy::cast_possible_wrap, reason = "at most seven days, far below i64::MAX microseconds")]
    pub const fn micros(self) -> i64 {
        (self.0 as i64) * 1_000_000
    }

    /// The same length as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0)
    }
}

/// A length of time that no right may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration between 1 second and 7 days; write it as 90s, 30m, 8h or 2d")]
pub struct InvalidTtl;

impl TryFrom<u64> for Ttl {
    type Error = InvalidTtl;
    fn try_from(seconds: u64) -> Result<Self, Self::Error> {
        Self::from_seconds(seconds)
    }
}

impl From<Ttl> for u64 {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

impl FromStr for Ttl {
    type Err = InvalidTtl;
    /// `90s`, `30m`, `8h`, `2d` or a sum such as `1h30m`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut total, mut digits) = (0_u64, String::new());
        for c in text.trim().chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let unit = match c {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                _ => return Err(InvalidTtl),
            };
            let count: u64 = digits.parse().map_err(|_| InvalidTtl)?;
            digits.clear();
            total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or(InvalidTtl)?;
        }
        if digits.is_empty() { Self::from_seconds(total) } else { Err(InvalidTtl) }
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (size, unit) in [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
            let count = rest / size;
            rest %= size;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("7d", 604_800)] {
            assert_eq!(text.parse::<Ttl>().unwrap().seconds(), seconds);
        }
        assert_eq!(Ttl::from_seconds(90).unwrap().to_string(), "1m30s");
        for bad in ["", "0s", "30", "m", "8d", "1x", "-5m", "99999999999999999999s"] {
            assert!(bad.parse::<Ttl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_prints_and_reads_back_to_the_millisecond() {
        let at: Timestamp = "2026-11-22T14:05:00.250Z".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-22T14:05:00.250Z");
        assert_eq!(at.left(at.plus_seconds(-3)), std::time::Duration::from_secs(3));
        assert_eq!(at.left(at.plus_seconds(3)), std::time::Duration::ZERO);
    }
}
