//! Brings back what another run remembered: the one place that deals with a clock that moved
//! between runs.
//!
//! | the record | becomes |
//! |---|---|
//! | past its maximum stale | nothing |
//! | from the future (the clock was set back, or another host's runs ahead) | as if it had come now, and stale at once: whoever asks has it refreshed, it cannot live for ever, and whatever has a date replaces it |
//! | anything else | what it was, with the bounds of the present policy |
//!
//! When it is known by how much the wall clock was moved beside the time that really passed
//! ([`Shift`]), all times are moved with it, so that a clock that was set a day ahead ends nobody's
//! memory.

use std::time::Duration;

use super::classify::Kind;
use super::entry::{self, Entry};
use super::key::Key;
use super::policy::Policy;
use super::time::Timestamp;

/// By how much the wall clock was moved since a record was written, beside the time that really
/// passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Set ahead by this much, or not at all; also when nothing is known.
    Ahead(Duration),
    /// Set back by this much.
    Back(Duration),
}

impl Shift {
    /// Not moved, as far as is known.
    pub const NONE: Self = Self::Ahead(Duration::ZERO);

    /// What lies between two ideas of when the host was started: that of the run that wrote, and
    /// ours.
    #[must_use]
    pub fn between(theirs: Timestamp, ours: Timestamp) -> Self {
        if ours >= theirs { Self::Ahead(ours.since(theirs)) } else { Self::Back(theirs.since(ours)) }
    }

    /// A time of the run that wrote on our timeline.
    fn of(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Ahead(by) => time.plus(by),
            Self::Back(by) => time.minus(by),
        }
    }
}

/// What a record is worth now; `None` when it is past its time.
#[must_use]
pub fn restore(key: &Key, record: Entry, shift: Shift, policy: &Policy, now: Timestamp) -> Option<Entry> {
    let at_most = match record.kind {
        Kind::Positive => policy.ttl.positive_max,
        Kind::NoData | Kind::NxDomain => policy.ttl.negative_max,
    };
    let life = record.fresh_until.since(record.stored).min(at_most);
    let (maximum_stale, _) = entry::maximum_stale(key, policy);
    let stored = shift.of(record.stored);
    let entry = if stored > now {
        record.at(now, now, now.plus(maximum_stale)).without_date()
    } else {
        let fresh_until = stored.plus(life);
        record.at(stored, fresh_until, fresh_until.plus(maximum_stale))
    };
    entry.is_servable(now).then_some(entry)
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
    fn a_clock_that_was_set_ahead_by_days_ends_nothing_when_the_host_knows() {
        let now = THEN.plus(DAY * 3);
        assert_eq!(restored(Shift::NONE, now), None, "three days have passed for all that is known");
        let shift = Shift::between(THEN.minus(DAY), THEN.plus(DAY * 2).minus(Duration::from_secs(30)));
        let entry = restored(shift, now).expect("30 seconds have passed");
        assert!(entry.is_fresh(now) && entry.stored == now.minus(Duration::from_secs(30)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_younger_when_the_host_knows() {
        let shift = Shift::between(THEN, THEN.minus(DAY));
        let now = THEN.minus(DAY).plus(Duration::from_secs(90));
        let entry = restored(shift, now).expect("servable");
        assert!(!entry.is_fresh(now) && entry.stored == THEN.minus(DAY));
    }

    #[test]
    fn a_policy_that_was_tightened_holds_for_what_is_brought_back() {
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
