//! The decisions of `holdover run` about its sidecar: to start it again, to kill it, and to give
//! `resolv.conf` back while it does not answer. This module has no I/O and no clock, so that each
//! case is one line in a test.
//!
//! | observation | action |
//! |---|---|
//! | a holdover answers | `resolv.conf` is pointed at it |
//! | nothing answers for [`GIVE_BACK_AFTER`] | the original name servers are put back, until a holdover answers |
//! | the same for [`HUNG_AFTER`], and our own is older than [`STARTED_AFTER`] | it is killed, and so started again |
//! | our own sidecar has ended | it is started again after a pause |
//! | another holdover answered, and is gone | our own sidecar is started after [`COMES_AGAIN_WITHIN`] |
//! | the same, and its `holdover run` has given the file back | our own sidecar is started at once |
//!
//! A holdover that answers is used also when it is not our own: containers of one task share one
//! sidecar. The pause before a start is [`PAUSE_MIN`], then twice as long each time, up to
//! [`PAUSE_MAX`]. It is longer where another holdover had answered: our own sidecar would take the
//! port from the other one, which may come back with the answers that it remembers.
//!
//! So an application is without name resolution for a second at the worst, and not at all where
//! `resolv.conf` names a second name server.

use std::time::Duration;

use crate::core::time::Timestamp;

/// How long nothing may answer before the original name servers are put back: a lookup of the
/// application has not failed by then. Two looks at least have to find nothing.
const GIVE_BACK_AFTER: Duration = Duration::from_millis(400);
/// How long a sidecar that does not answer may go on before it counts as hanging: killing it costs
/// what it remembers, and a busy host may starve it for a moment.
const HUNG_AFTER: Duration = Duration::from_secs(3);
/// Age from which a sidecar may count as hanging; before, it may be reading its state file.
const STARTED_AFTER: Duration = Duration::from_secs(10);
/// Time within which another holdover that is gone is started again by its own supervisor; ECS and
/// the kubelet take some seconds.
const COMES_AGAIN_WITHIN: Duration = Duration::from_secs(15);
/// Pause before a sidecar that has ended is started again for the first time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause before a sidecar is started again: a configuration that cannot work is reported
/// twice a minute.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Age from which a sidecar counts as healthy, so that its next end counts as its first.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// Time between two looks while a holdover answers.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time between two looks while nothing answers.
const LOOK_EVERY_WHEN_SILENT: Duration = Duration::from_millis(50);

/// The finding of one look at the address of the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A holdover answers, our own or another.
    Answers,
    /// Nothing answers, or something that is not holdover.
    Silent,
}

/// Whether our own sidecar runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Our own sidecar runs.
    Runs,
    /// Our own sidecar does not run.
    None,
}

/// The steps to take after a look, in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Point `resolv.conf` at holdover, if it does not point there yet.
    pub(super) point: bool,
    /// Give `resolv.conf` back, if it points at holdover.
    pub(super) give_back: bool,
    /// Kill our own sidecar.
    pub(super) kill: bool,
    /// Start our own sidecar.
    pub(super) start: bool,
}

/// The history of the sidecar, as far as decisions depend on it.
#[derive(Debug, Default)]
pub(super) struct Supervision {
    /// Looks without an answer in a row.
    silent: u32,
    /// When the first of these looks was.
    silent_since: Timestamp,
    /// Whether the holdover that answered last was not our own.
    another: bool,
    /// When the `holdover run` of another holdover was seen to have ended.
    other_left: Option<Timestamp>,
    /// Ends in a row of a sidecar that had not run for [`WELL_AFTER`] before.
    ends: u32,
    started: Timestamp,
    /// Our own sidecar is not started again before this time.
    not_before: Timestamp,
}

impl Supervision {
    /// Decides what to do after a look.
    pub(super) fn look(&mut self, seen: Seen, own: Own, now: Timestamp) -> Steps {
        match seen {
            Seen::Answers => {
                self.silent = 0;
                self.another = own == Own::None;
                Steps { point: true, ..Steps::default() }
            }
            Seen::Silent => {
                if self.silent == 0 {
                    self.silent_since = now;
                }
                self.silent = self.silent.saturating_add(1);
                let has_left = self.other_left.is_some_and(|left| now.since(left) < COMES_AGAIN_WITHIN);
                let may_come_again = self.another && !has_left && now.since(self.silent_since) < COMES_AGAIN_WITHIN;
                let silent_for = now.since(self.silent_since);
                let is_grown = now.since(self.started) >= STARTED_AFTER;
                let start = own == Own::None && now >= self.not_before && !may_come_again;
                Steps {
                    point: false,
                    give_back: self.silent > 1 && silent_for >= GIVE_BACK_AFTER,
                    kill: own == Own::Runs && is_grown && silent_for >= HUNG_AFTER,
                    start,
                }
            }
        }
    }

    /// Takes note that the `holdover run` of the other holdover has ended, and its sidecar with it.
    pub(super) fn other_left(&mut self, now: Timestamp) {
        self.other_left = Some(now);
    }

    /// Takes note that our own sidecar was started.
    pub(super) fn started(&mut self, now: Timestamp) {
        self.started = now;
    }

    /// Takes note that our own sidecar has ended, and returns the pause before it is started again.
    pub(super) fn ended(&mut self, now: Timestamp) -> Duration {
        if now.since(self.started) >= WELL_AFTER {
            self.ends = 0;
        }
        let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(self.ends)).min(PAUSE_MAX);
        self.ends = self.ends.saturating_add(1);
        self.not_before = now.plus(pause);
        pause
    }

    /// How long to wait before the next look.
    pub(super) const fn pause(&self) -> Duration {
        if self.silent == 0 { LOOK_EVERY } else { LOOK_EVERY_WHEN_SILENT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    #[test]
    fn a_sidecar_that_ended_is_started_again_ever_later() {
        let mut supervision = Supervision::default();
        supervision.started(NOW);
        let pauses: Vec<u128> = (0..11).map(|_| supervision.ended(NOW).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        assert!(!supervision.look(Seen::Silent, Own::None, NOW.plus(Duration::from_secs(29))).start);
        assert!(supervision.look(Seen::Silent, Own::None, NOW.plus(Duration::from_secs(30))).start);
        assert_eq!(supervision.ended(NOW.plus(WELL_AFTER)).as_millis(), 100, "it was well for a minute");
    }

    /// This many milliseconds later.
    fn after(millis: u64) -> Timestamp {
        NOW.plus(Duration::from_millis(millis))
    }

    #[test]
    fn the_file_is_given_back_while_nobody_answers_and_not_for_one_lost_packet() {
        let mut supervision = Supervision::default();
        supervision.started(NOW);
        let looks = [0, 200, 399, 400, 600];
        let back = looks.map(|millis| supervision.look(Seen::Silent, Own::Runs, after(millis)).give_back);
        assert_eq!(back, [false, false, false, true, true]);
        assert_eq!(supervision.look(Seen::Answers, Own::Runs, after(700)), Steps { point: true, ..Steps::default() });
        assert!(!supervision.look(Seen::Silent, Own::Runs, after(5000)).give_back, "one look says nothing");
    }

    #[test]
    fn one_that_hangs_is_killed_and_one_that_starts_is_not() {
        let mut supervision = Supervision::default();
        supervision.started(NOW);
        assert!((0..20).all(|second| !supervision.look(Seen::Silent, Own::Runs, after(second * 400)).kill));
        assert!(supervision.look(Seen::Silent, Own::Runs, NOW.plus(STARTED_AFTER)).kill);
        // One that has been well hangs for three seconds before it is killed.
        supervision.look(Seen::Answers, Own::Runs, after(60_000));
        let kills =
            [61_000, 63_999, 64_000].map(|millis| supervision.look(Seen::Silent, Own::Runs, after(millis)).kill);
        assert_eq!(kills, [false, false, true]);
    }

    #[test]
    fn one_of_our_own_takes_over_at_once_from_another_that_has_left() {
        let mut supervision = Supervision::default();
        supervision.look(Seen::Answers, Own::None, NOW);
        assert!(!supervision.look(Seen::Silent, Own::None, after(500)).start);
        supervision.other_left(after(520));
        assert!(supervision.look(Seen::Silent, Own::None, after(550)).start);
    }

    #[test]
    fn another_that_is_gone_has_time_to_come_again_before_one_of_our_own_is_started() {
        let mut supervision = Supervision::default();
        let after = |seconds| NOW.plus(Duration::from_secs(seconds));
        assert!(supervision.look(Seen::Answers, Own::None, NOW).point);
        let steps: Vec<Steps> =
            (1..=16).map(|second| supervision.look(Seen::Silent, Own::None, after(second))).collect();
        assert_eq!(steps.iter().position(|step| step.start), Some(15), "15 s after the first silent look");
        assert_eq!(steps.iter().position(|step| step.give_back), Some(1), "the file is given back as always");
        // It comes again, and goes again: the time begins anew.
        assert!(supervision.look(Seen::Answers, Own::None, after(20)).point);
        assert!(
            !supervision.look(Seen::Silent, Own::None, after(30)).start
                && supervision.look(Seen::Silent, Own::None, after(45)).start
        );
        // One of our own that answered is started again at once.
        supervision.started(after(45));
        assert!(supervision.look(Seen::Answers, Own::Runs, after(46)).point);
        supervision.ended(after(50));
        assert!(supervision.look(Seen::Silent, Own::None, after(51)).start);
    }

    #[test]
    fn none_of_our_own_is_started_while_another_answers() {
        assert!(!Supervision::default().look(Seen::Answers, Own::None, NOW).start);
    }
}
