//! Restores an answer that another process remembered. This is the only place that deals with a
//! wall clock that was set between the two processes.
//!
//! | the record, once its times are on our timeline | becomes |
//! |---|---|
//! | stored now or earlier, within maximum stale | the same answer, with its life bounded by the present policy |
//! | stored now or earlier, beyond maximum stale | nothing |
//! | stored in the future | an undated answer that is stale from now on |
//!
//! A record comes from the future when the clock was set back, or when the clock of another host is
//! ahead. Its age is unknown, so it must not count as fresh: as a stale answer it is refreshed by
//! the next query for it. It must not live for ever either, so its maximum stale begins now. And
//! since it is undated, any answer whose time is known replaces it.
//!
//! When it is known by how much the wall clock was set, apart from the time that really passed
//! ([`Shift`]), all times of the record are moved by that much. So a clock that was set ahead by a
//! day does not end everything that was remembered.

use std::time::Duration;

use super::classify::Kind;
use super::entry::{self, Entry, Times};
use super::key::Key;
use super::policy::Policy;
use super::time::Timestamp;
use super::upstream_record::RememberedUpstream;

/// By how much the wall clock was set since a record was written, apart from the time that really
/// passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// The clock was set ahead by this much; zero also when nothing is known.
    Ahead(Duration),
    /// The clock was set back by this much.
    Back(Duration),
}

/// The moment at which the host booted, as two processes of that boot compute it from the wall
/// clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootTimes {
    /// The moment according to the process that wrote the record.
    pub theirs: Timestamp,
    /// The moment according to this process.
    pub ours: Timestamp,
}

impl Shift {
    /// The clock was not set, as far as is known.
    pub const NONE: Self = Self::Ahead(Duration::ZERO);

    /// The shift that explains why two processes disagree about when the same boot of the host
    /// began.
    #[must_use]
    pub fn between(boot: BootTimes) -> Self {
        let BootTimes { theirs, ours } = boot;
        if ours >= theirs { Self::Ahead(ours.since(theirs)) } else { Self::Back(theirs.since(ours)) }
    }

    /// Moves a time of the process that wrote the record onto our timeline.
    #[must_use]
    pub fn apply(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Ahead(by) => time.plus(by),
            Self::Back(by) => time.minus(by),
        }
    }
}

/// The answer that a record gives now; `None` when the record is beyond maximum stale.
#[must_use]
pub fn restore(key: &Key, record: Entry, shift: Shift, policy: &Policy, now: Timestamp) -> Option<Entry> {
    // The policy may have changed since the record was written: its bounds hold for old answers
    // too.
    let at_most = match record.kind {
        Kind::Positive => policy.ttl.positive_max,
        Kind::NoData | Kind::NxDomain => policy.ttl.negative_max,
    };
    let life = record.fresh_until.since(record.stored).min(at_most);
    let (maximum_stale, _) = entry::maximum_stale(key, policy);
    let stored = shift.apply(record.stored);
    let entry = if stored > now {
        // Stored and fresh until now, so it never was fresh; see the table above.
        let times = Times { stored: now, fresh_until: now, stale_until: now.plus(maximum_stale) };
        record.at(times).without_date()
    } else {
        let fresh_until = stored.plus(life);
        record.at(Times { stored, fresh_until, stale_until: fresh_until.plus(maximum_stale) })
    };
    entry.is_servable(now).then_some(entry)
}

/// The same answer as one that is stale from now on at the latest: nobody vouches for an answer
/// that somebody gave by hand, so an upstream that is healthy is asked before it is believed.
#[must_use]
pub fn as_stale(entry: Entry, now: Timestamp) -> Entry {
    let (stored, stale_until) = (entry.stored, entry.stale_until);
    let fresh_until = entry.fresh_until.min(now);
    entry.at(Times { stored, fresh_until, stale_until })
}

/// What is known of an upstream, with its times on our timeline; what seems to come from the future
/// counts as saved now.
#[must_use]
pub fn restore_upstream(upstream: RememberedUpstream, shift: Shift, now: Timestamp) -> RememberedUpstream {
    let saved = shift.apply(upstream.saved).min(now);
    RememberedUpstream { since: shift.apply(upstream.since).min(saved), saved, ..upstream }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::classify::classify;
    use crate::core::key::Dnssec;
    use crate::core::testing::{Response, name, policy};

    const DAY: Duration = Duration::from_secs(86_400);
    const THEN: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn key() -> Key {
        Key::new(&name("www.example.com"), 1, 1, Dnssec::default())
    }

    fn record() -> Entry {
        let bytes = Response::new("www.example.com", 1).a("www.example.com", 60).bytes();
        Entry::remember(&key(), &bytes, classify(1, &bytes), &policy(), THEN).unwrap().entry
    }

    fn restored(shift: Shift, now: Timestamp) -> Option<Entry> {
        restore(&key(), record(), shift, &policy(), now)
    }

    #[test]
    fn what_is_fresh_stays_fresh_and_what_is_stale_stays_servable() {
        assert!(
            restored(Shift::NONE, THEN.plus(Duration::from_secs(59)))
                .is_some_and(|entry| entry.is_fresh(THEN.plus(Duration::from_secs(59))))
        );
        assert!(restored(Shift::NONE, THEN.plus(DAY)).is_some_and(|entry| !entry.is_fresh(THEN.plus(DAY))));
        assert_eq!(restored(Shift::NONE, THEN.plus(DAY + Duration::from_secs(60))), None);
    }

    #[test]
    fn a_record_from_the_future_is_stale_at_once_and_not_immortal() {
        let now = THEN.minus(DAY * 30);
        let entry = restored(Shift::NONE, now).expect("kept");
        assert!(!entry.is_fresh(now) && entry.stale_until == now.plus(DAY) && entry.undated);
    }

    #[test]
    fn a_clock_that_was_set_ahead_by_days_ends_nothing_when_the_shift_is_known() {
        let now = THEN.plus(DAY * 3);
        assert_eq!(restored(Shift::NONE, now), None, "three days have passed for all that is known");
        let shift = Shift::between(BootTimes {
            theirs: THEN.minus(DAY),
            ours: THEN.plus(DAY * 2).minus(Duration::from_secs(30)),
        });
        let entry = restored(shift, now).expect("30 seconds have passed");
        assert!(entry.is_fresh(now) && entry.stored == now.minus(Duration::from_secs(30)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_younger_when_the_shift_is_known() {
        let shift = Shift::between(BootTimes { theirs: THEN, ours: THEN.minus(DAY) });
        let now = THEN.minus(DAY).plus(Duration::from_secs(90));
        let entry = restored(shift, now).expect("servable");
        assert!(!entry.is_fresh(now) && entry.stored == THEN.minus(DAY));
    }

    #[test]
    fn a_policy_that_was_tightened_holds_for_restored_answers() {
        let mut tight = policy();
        tight.stale.maximum = Duration::from_secs(60);
        tight.ttl.positive_max = Duration::from_secs(10);
        let entry = restore(&key(), record(), Shift::NONE, &tight, THEN).expect("servable");
        assert_eq!(
            (entry.fresh_until, entry.stale_until),
            (THEN.plus(Duration::from_secs(10)), THEN.plus(Duration::from_secs(70)))
        );
    }
}
