//! The one timeline for everything that ages.
//!
//! A [`Timestamp`] is the wall-clock time at which the process started, plus what a monotonic clock
//! has counted since (`CLOCK_BOOTTIME`, so the time for which a host was suspended counts). It
//! never jumps when somebody sets the wall clock, yet it can be stored and read by another process.
//!
//! The core never reads a clock: the present moment is always the last parameter, `now`.

use std::fmt;
use std::time::Duration;

/// A point on the timeline, in microseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch, which is earlier than anything that holdover stores.
    pub const EPOCH: Self = Self(0);
    /// A time later than any that is ever reached.
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

    /// The microseconds from the Unix epoch to this point.
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

    /// The point that lies later by `by`; stays at [`Timestamp::NEVER`] on overflow.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The point that lies earlier by `by`; stays at the epoch on underflow.
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

/// A clock that gives the time on this timeline. The core defines the trait and never calls it.
pub trait Clock: Send + Sync + 'static {
    /// The present moment, which is never earlier than one returned before.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_the_future_has_no_age() {
        assert_eq!(Timestamp::from_secs(5).since(Timestamp::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn adding_saturates_at_never() {
        assert_eq!(Timestamp::from_secs(5).plus(Duration::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp::from_secs(5).minus(Duration::MAX), Timestamp::EPOCH);
    }
}
