//! The clock of the operating system: the wall time when the clock was created, plus the time that
//! `CLOCK_BOOTTIME` has counted since.
//!
//! The wall clock is read once, so that setting it, by a day or by a leap second, moves nothing
//! that is remembered. `CLOCK_BOOTTIME` counts the time that a suspended host or a frozen virtual
//! machine slept, which `std::time::Instant` does not; an entry that expired over night is
//! therefore known to be stale in the morning. It never goes back. Both clocks are read through the
//! vDSO, without a system call. Everything that is remembered has its time from this clock; only
//! time limits on sockets and connections are kept by tokio's clock.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::core::time::Timestamp;
use crate::resolver::ports::Clock;

/// The monotonic clock that also counts the time in which the host is suspended.
#[cfg(target_os = "linux")]
const ELAPSED: ClockId = ClockId::Boottime;
/// The monotonic clock of other systems than Linux, which counts suspension by itself or not at
/// all.
#[cfg(not(target_os = "linux"))]
const ELAPSED: ClockId = ClockId::Monotonic;

/// The clock that gives the time on holdover's timeline, from the clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    wall_at_start: Timestamp,
    /// The reading of the monotonic clock at the same moment.
    elapsed_at_start: Duration,
}

impl SystemClock {
    /// Starts the timeline at the present wall time.
    #[must_use]
    pub fn new() -> Self {
        let wall = since_zero(clock_gettime(ClockId::Realtime));
        Self { wall_at_start: Timestamp::EPOCH.plus(wall), elapsed_at_start: since_zero(clock_gettime(ELAPSED)) }
    }

    /// When the host was started, on this timeline. If two processes of the same boot disagree on
    /// this moment, somebody has set the wall clock between their starts.
    #[must_use]
    pub fn booted_at(&self) -> Timestamp {
        self.wall_at_start.minus(self.elapsed_at_start)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = since_zero(clock_gettime(ELAPSED));
        self.wall_at_start.plus(elapsed.saturating_sub(self.elapsed_at_start))
    }
}

/// The time since the zero of a clock; zero for a clock that stands before it.
fn since_zero(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_starts_at_the_wall_time() {
        let clock = SystemClock::new();
        #[expect(clippy::disallowed_methods, reason = "the wall clock of the standard library is the oracle here")]
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let difference = wall.abs_diff(Duration::from_micros(clock.now().as_micros()));
        assert!(difference < Duration::from_secs(1), "{difference:?}");
    }

    #[test]
    fn it_never_goes_back_and_does_not_stand_still() {
        let clock = SystemClock::new();
        let start = clock.now();
        let mut last = start;
        while last.since(start) < Duration::from_millis(2) {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_clock_before_its_zero_reads_as_zero() {
        assert_eq!(since_zero(Timespec { tv_sec: -5, tv_nsec: 0 }), Duration::ZERO);
    }
}
