//! Gives the refreshes of stale answers their turns ([`crate::core::pace`]). Threads that answer
//! ask for a turn without a lock. After a recovery only what expired before it has to wait for a
//! turn, so that the backlog comes to an end however short the TTLs are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::decision::Availability;
use crate::core::pace::{Pace, PaceReport};
use crate::core::time::Timestamp;

/// The longest random pause before the first turn after a recovery.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long nobody gets a turn after losses: a limit of packets a second drops all that comes until
/// its second is over.
const REST: Duration = Duration::from_millis(500);

/// The turns of one group of names.
#[derive(Default)]
pub struct Pacing {
    pace: Mutex<Option<Pace>>,
    /// Microseconds between two turns; 0 while there is no pace.
    interval: AtomicU64,
    /// When the next turn is, in microseconds since the Unix epoch.
    next: AtomicU64,
    /// What expired from this time on, in microseconds since the Unix epoch, has no need of a turn:
    /// the recovery, or never while no upstream is healthy.
    exempt_from: AtomicU64,
    /// Refreshes that had to wait since the last review.
    waited: AtomicU64,
    /// Attempts without response since the last review.
    lost: AtomicU64,
    /// Attempts without response since the last answer.
    lost_in_a_row: AtomicU64,
    /// Attempts that were answered since the last review.
    answered: AtomicU64,
    /// Whether all upstreams were down since one was healthy.
    was_down: AtomicBool,
    /// The length of the next random pause, in microseconds.
    pause: AtomicU64,
}

impl Pacing {
    /// Takes a turn for the refresh of an answer that expired at `expired`; false when its turn has
    /// not come, so that the name is answered stale and left alone.
    pub fn take(&self, expired: Timestamp, now: Timestamp) -> bool {
        let interval = self.interval.load(Ordering::Relaxed);
        if interval == 0 || self.is_exempt(expired) {
            return true;
        }
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            // Up to one turn that nobody took is made up for, so that the pace is kept on average.
            let now = now.as_micros();
            (next <= now).then(|| next.max(now.saturating_sub(interval)).saturating_add(interval))
        });
        if taken.is_err() {
            self.waited.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn is_exempt(&self, expired: Timestamp) -> bool {
        expired.as_micros() >= self.exempt_from.load(Ordering::Relaxed)
    }

    /// Whether the refresh of an answer that expired at `expired` would have to wait if it asked
    /// now. It counts as having waited then.
    pub fn has_to_wait(&self, expired: Timestamp, now: Timestamp) -> bool {
        let waits = self.interval.load(Ordering::Relaxed) != 0
            && !self.is_exempt(expired)
            && self.next.load(Ordering::Relaxed) > now.as_micros();
        if waits {
            self.waited.fetch_add(1, Ordering::Relaxed);
        }
        waits
    }

    /// Whether refreshes take turns at present.
    pub fn is_active(&self) -> bool {
        self.interval.load(Ordering::Relaxed) != 0
    }

    /// Whether clients' refreshes had to wait for their turns lately.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        self.pace.lock().is_some_and(|pace| pace.is_busy(now))
    }

    /// Notes an attempt that was answered.
    pub fn note_answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.lost_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Notes an attempt that has had no response in time.
    pub fn note_loss(&self, now: Timestamp) {
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        let in_a_row = self.lost_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.is_active() {
            return;
        }
        let mut pace = self.pace.lock();
        let report = PaceReport { lost, in_a_row, answered: self.answered.load(Ordering::Relaxed) };
        if pace.as_mut().is_some_and(|present| present.lose(report, now)) {
            self.publish(pace.as_ref());
            let rest = u64::try_from(REST.as_micros()).unwrap_or(u64::MAX);
            self.next.fetch_max(now.as_micros().saturating_add(rest), Ordering::Relaxed);
        }
    }

    /// Takes a change of the best state among the upstreams.
    pub fn follow(&self, before: Availability, after: Availability, now: Timestamp) {
        let mut pace = self.pace.lock();
        if after == Availability::Down {
            self.was_down.store(true, Ordering::Relaxed);
        }
        match (before, after) {
            (Availability::Healthy, Availability::Healthy) => return,
            (Availability::Healthy, Availability::Impaired | Availability::Down) => {
                self.exempt_from.store(u64::MAX, Ordering::Relaxed);
                match pace.as_mut() {
                    Some(present) => present.relapse(),
                    None => *pace = Some(Pace::new(now)),
                }
            }
            (Availability::Impaired | Availability::Down, Availability::Healthy) => {
                self.exempt_from.store(now.as_micros(), Ordering::Relaxed);
                let was_silent = self.was_down.swap(false, Ordering::Relaxed);
                if !pace.as_mut().is_some_and(|present| present.heal(now)) {
                    *pace = None;
                } else if was_silent {
                    self.next.store(now.as_micros() + self.pause.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            (Availability::Impaired | Availability::Down, Availability::Impaired | Availability::Down) => {}
        }
        self.publish(pace.as_ref());
    }

    /// Lets a second pass. `chance` is a random number.
    pub fn review(&self, chance: u64, now: Timestamp) {
        let pause = u64::try_from(PAUSE_MAX.as_micros()).unwrap_or(u64::MAX);
        self.pause.store(chance % pause.max(1), Ordering::Relaxed);
        let waited = self.waited.swap(0, Ordering::Relaxed);
        self.lost.store(0, Ordering::Relaxed);
        self.answered.store(0, Ordering::Relaxed);
        let mut pace = self.pace.lock();
        if pace.as_mut().is_some_and(|present| !present.step(waited, now)) {
            *pace = None;
        }
        self.publish(pace.as_ref());
    }

    fn publish(&self, pace: Option<&Pace>) {
        let interval = pace.map_or(Duration::ZERO, Pace::interval);
        self.interval.store(u64::try_from(interval.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(millis: u64) -> Timestamp {
        NOW.plus(Duration::from_millis(millis))
    }

    /// The turns that are given within a second, when one is asked for every millisecond.
    fn turns(pacing: &Pacing, from: u64) -> usize {
        (from..from + 1_000).filter(|millis| pacing.take(NOW, at(*millis))).count()
    }

    #[test]
    fn refreshes_take_turns_from_the_recovery_on_until_nobody_waits() {
        let pacing = Pacing::default();
        assert_eq!(turns(&pacing, 0), 1_000, "no pace while all is well");
        pacing.follow(Availability::Healthy, Availability::Down, at(1_000));
        assert_eq!(turns(&pacing, 1_000), 21);
        pacing.review(500_000, at(9_000));
        pacing.follow(Availability::Impaired, Availability::Healthy, at(10_000));
        assert_eq!(turns(&pacing, 10_000), 10, "the first half second is a random pause");
        let mut each_second = Vec::new();
        for second in 11..18 {
            pacing.review(0, at(second * 1_000));
            each_second.push(turns(&pacing, second * 1_000));
        }
        let expected = [30, 40, 50, 60, 70, 80, 80];
        assert!(each_second.iter().zip(expected).all(|(turns, at_most)| (at_most - 5..=at_most + 1).contains(turns)));
        assert!((18_000..18_100).all(|millis| pacing.take(at(10_000), at(millis))), "what expired since is no backlog");
        (18..80).for_each(|second| pacing.review(0, at(second * 1_000)));
        assert_eq!(turns(&pacing, 80_000), 1_000);
    }

    #[test]
    fn a_moment_of_illness_leaves_no_pace_behind() {
        let pacing = Pacing::default();
        pacing.follow(Availability::Healthy, Availability::Impaired, at(0));
        assert!(pacing.take(NOW, at(0)) && pacing.take(NOW, at(0)) && pacing.has_to_wait(NOW, at(1)));
        pacing.follow(Availability::Impaired, Availability::Healthy, at(300));
        assert_eq!(turns(&pacing, 300), 1_000);
    }
}
