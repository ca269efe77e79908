//! The pace at which stale answers in use are refreshed while upstreams are ill, and after they
//! have healed.
//!
//! When an upstream heals, everything that expired meanwhile is due at once, in every sidecar
//! behind it. So a refresh that a client's query asks for has to fit into a pace, and until its
//! turn comes the name is answered stale at once. The pace starts slowly, grows while nothing is
//! lost, and halves when something is: a tenth of what is sent, or two in a row. (Single names may
//! be dead, paths lose a few packets anyway, and a limit that was reached drops all that comes.)
//!
//! | | refreshes a second |
//! |---|---|
//! | while no upstream is healthy | 20; what is lost then is not lost for their number |
//! | from the recovery on | 20, and 10 more each second, up to 80 |
//! | after losses | none for half a second, then half as many, at least 10 |
//! | later | 10 more each second up to three quarters of where losses began, then 1, 2, 4, 5 more |
//! | nobody had to wait for a turn for a minute | any number |
//!
//! Only what expired before the recovery needs a turn. After a silence the recovery begins with a
//! random pause of up to a second, so that many sidecars do not begin together. The sweep begins
//! when nobody waits any more. Thirty sidecars behind one AWS network interface (1024 packets a
//! second) settle at some 30 refreshes a second each.

use std::time::Duration;

use super::time::Timestamp;

/// Refreshes a second at the beginning.
const START: u32 = 20;
/// How many more a second after each second without losses.
const GROWTH: u32 = 10;
/// The largest number of refreshes a second.
const MOST: u32 = 80;
/// The most that the pace grows by a second beyond where losses began.
const STRIDE_MOST: u32 = 5;
/// One lost attempt in so many slows the pace down.
const LOSS_SHARE: u64 = 10;
/// So many lost attempts in a second at least do.
const LOSSES: u64 = 2;
/// So many lost attempts without an answer between them do as well.
const LOSSES_IN_A_ROW: u64 = 2;
/// The shortest time between two halvings, and from a halving to further growth.
const HALVINGS_APART: Duration = Duration::from_secs(1);
/// The smallest number of refreshes a second, whatever is lost: a hundred sidecars behind one AWS
/// network interface fit into its 1024 packets a second.
const LEAST: u32 = 10;
/// A pace ends when nobody had to wait for a turn for this long.
const OVER_AFTER: Duration = Duration::from_secs(60);
/// While somebody had to wait for a turn within this time, the sweep leaves all turns to clients.
const BUSY_FOR: Duration = Duration::from_secs(5);
/// An illness shorter than this leaves no pace behind: nothing has piled up.
const SHORT: Duration = Duration::from_secs(3);

/// The pace of refreshes of one group of names.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    per_second: u32,
    /// Up to this number the pace grows quickly: three quarters of where losses began.
    ceiling: u32,
    /// How many more a second beyond the ceiling after the next second without losses. It doubles,
    /// since losses that ended may have had nothing to do with the pace.
    stride: u32,
    /// When no upstream was healthy any more.
    began: Timestamp,
    /// When an upstream was healthy again.
    healed: Option<Timestamp>,
    /// When the pace was halved last.
    halved_at: Timestamp,
    /// When somebody had to wait for a turn last.
    waited_at: Timestamp,
}

/// What became of attempts since the last step.
#[derive(Clone, Copy, Debug, Default)]
pub struct PaceReport {
    /// Attempts that had no response in time.
    pub lost: u64,
    /// Those since the last answer.
    pub in_a_row: u64,
    /// Attempts that were answered.
    pub answered: u64,
}

impl Pace {
    /// Begins the pace, since no upstream is healthy.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            per_second: START,
            ceiling: MOST,
            stride: 1,
            began: now,
            healed: None,
            halved_at: Timestamp::EPOCH,
            waited_at: now,
        }
    }

    /// Notes that an upstream is healthy again; false when the illness was so short that there is
    /// nothing to pace.
    pub fn heal(&mut self, now: Timestamp) -> bool {
        self.healed = Some(now);
        self.per_second = START;
        self.ceiling = MOST;
        self.waited_at = now;
        now.since(self.began) >= SHORT
    }

    /// Notes that no upstream is healthy once more.
    pub const fn relapse(&mut self) {
        self.healed = None;
        self.per_second = START;
    }

    /// Takes losses as soon as they are noticed: the pace halves, at most once a second. Gives
    /// whether it did.
    pub fn lose(&mut self, report: PaceReport, now: Timestamp) -> bool {
        let many = report.lost >= LOSSES && report.lost.saturating_mul(LOSS_SHARE) >= report.answered
            || report.in_a_row >= LOSSES_IN_A_ROW;
        if !many || self.healed.is_none() || now.since(self.halved_at) < HALVINGS_APART {
            return false;
        }
        self.halved_at = now;
        self.ceiling = (self.per_second / 4 * 3).max(LEAST);
        self.stride = 1;
        self.per_second = (self.per_second / 2).max(LEAST);
        true
    }

    /// Lets a second pass in which so many refreshes had to wait for a turn; false when the pace is
    /// over.
    pub fn step(&mut self, waited: u64, now: Timestamp) -> bool {
        if waited > 0 {
            self.waited_at = now;
        }
        if now.since(self.halved_at) < HALVINGS_APART {
            // The effect has to show first.
        } else if self.healed.is_some() {
            let quick = (self.per_second + GROWTH).min(self.ceiling);
            if quick <= self.per_second {
                self.per_second = (self.per_second + self.stride).min(MOST);
                self.stride = (self.stride * 2).min(STRIDE_MOST);
            } else {
                self.per_second = quick;
            }
        } else {
            self.per_second = self.per_second.max(START);
        }
        self.healed.is_none() || now.since(self.waited_at) < OVER_AFTER
    }

    /// Whether somebody had to wait for a turn lately.
    #[must_use]
    pub fn is_busy(&self, now: Timestamp) -> bool {
        now.since(self.waited_at) < BUSY_FOR
    }

    /// The time between two refreshes.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    const LOSSY: PaceReport = PaceReport { lost: 4, in_a_row: 1, answered: 30 };

    fn healed() -> Pace {
        let mut pace = Pace::new(NOW);
        assert!(pace.heal(at(60)));
        pace
    }

    /// The refreshes a second after each of these seconds, in all of which somebody waits.
    fn rates(pace: &mut Pace, seconds: std::ops::Range<u64>) -> Vec<u32> {
        seconds
            .map(|second| {
                assert!(pace.step(9, at(second)));
                pace.per_second
            })
            .collect()
    }

    #[test]
    fn it_grows_each_second_without_losses_up_to_its_limit() {
        let mut pace = healed();
        assert_eq!(rates(&mut pace, 61..70), [30, 40, 50, 60, 70, 80, 80, 80, 80]);
        assert_eq!(pace.interval(), Duration::from_micros(12_500));
    }

    #[test]
    fn losses_halve_it_down_to_its_least_once_a_second() {
        let mut pace = healed();
        let halved: Vec<u32> = (61..65)
            .map(|second| {
                assert!(pace.lose(LOSSY, at(second)));
                assert!(!pace.lose(LOSSY, at(second)), "at most once a second");
                pace.per_second
            })
            .collect();
        assert_eq!(halved, [10, 10, 10, 10]);
    }

    #[test]
    fn single_names_that_are_dead_do_not_slow_the_others_down() {
        for (lost, answered) in [(1, 0), (2, 30), (9, 100)] {
            assert!(!healed().lose(PaceReport { lost, in_a_row: 1, answered }, at(61)), "{lost} of {answered}");
        }
        assert!(healed().lose(PaceReport { lost: 2, in_a_row: 2, answered: 100 }, at(61)), "a limit was reached");
    }

    #[test]
    fn after_losses_it_grows_slowly_at_first_where_they_began() {
        let mut pace = healed();
        let _ = rates(&mut pace, 61..63);
        assert!(pace.lose(LOSSY, at(63)));
        assert_eq!(rates(&mut pace, 63..70), [20, 30, 31, 33, 37, 42, 47], "losses began at 40");
    }

    #[test]
    fn it_does_not_grow_while_upstreams_are_ill_and_starts_again_after_a_relapse() {
        let mut pace = Pace::new(NOW);
        assert!(rates(&mut pace, 1..100).iter().all(|rate| *rate == START));
        assert!(pace.heal(at(100)));
        let _ = rates(&mut pace, 101..103);
        pace.relapse();
        assert_eq!(pace.per_second, START);
        assert!((103..300).all(|second| pace.step(0, at(second))), "it lasts as long as the illness");
    }

    #[test]
    fn it_is_over_when_nobody_had_to_wait_and_a_short_illness_leaves_none() {
        let mut pace = healed();
        let _ = rates(&mut pace, 61..62);
        assert!((62..121).all(|second| pace.step(0, at(second))));
        assert!(pace.is_busy(at(65)) && !pace.is_busy(at(66)));
        assert!(!pace.step(0, at(121)));
        assert!(!Pace::new(NOW).heal(at(2)));
    }
}
