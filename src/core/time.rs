//! One timeline for everything that ages.
//!
//! A [`Timestamp`] is the wall time at process start plus what a monotonic clock has counted since
//! (`CLOCK_BOOTTIME`, so a suspended host's sleep counts). It never jumps when somebody sets the
//! wall clock, yet can be stored and read back by another process. The core never reads a clock:
//! `now` is always the last parameter.

use std::fmt;
use std::time::Duration;

/// A point on the timeline, in microseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch; earlier than anything that holdover stores.
    pub const EPOCH: Self = Self(0);
    /// Later than any time that is reached.
    pub const NEVER: Self = Self(u64::MAX);

    /// Makes a timestamp from microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Makes a timestamp from whole seconds since the Unix epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero when `earlier` lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The time left until `later`; zero when it has been reached.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        later.since(self)
    }

    /// This point moved later by `by`; stays at [`Timestamp::NEVER`] on overflow.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// This point moved earlier by `by`; stays at the epoch on underflow.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Tells the time on holdover's one timeline. The core defines it and never calls it: `now` comes
/// in as a parameter.
pub trait Clock: Send + Sync + 'static {
    /// The present moment; never goes back.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_stamp_has_no_age() {
        assert_eq!(Timestamp::from_secs(5).since(Timestamp::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn adding_saturates_at_never() {
        assert_eq!(Timestamp::from_secs(5).plus(Duration::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp::from_secs(5).minus(Duration::MAX), Timestamp::EPOCH);
    }
}
