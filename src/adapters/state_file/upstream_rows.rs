//! The rows of the upstreams' states: one for each upstream address, in a table beside the answers.
//!
//! | what has changed since the rows were last written | they are written |
//! |---|---|
//! | an upstream, its state, or since when it is in that state | with the next write |
//! | only a round-trip time, or how long an upstream has been ill | after a minute |
//! | nothing, but answers were written just now | after a minute, so that the rows say that nothing has changed |
//! | nothing | not at all: an idle process writes nothing |
//!
//! A row that cannot be read is dropped, and costs nothing but itself. A file of a version without
//! the table has no rows. While no upstream is known, the rows of the file stay as they are.

use std::time::Duration;

use redb::{ReadTransaction, WriteTransaction};

use super::checksum::Sealing;
use super::error::StateFileError;
use super::small_table::{self, SmallTable};
use crate::core::health::UpstreamState;
use crate::core::time::Timestamp;
use crate::core::upstream_record::{self, RememberedUpstream};

const UPSTREAMS: SmallTable = SmallTable::new("upstreams");
/// The largest number of rows; further upstreams get none. A host names three, a configuration some
/// ten.
const ROWS_MAX: usize = 64;
/// The shortest time between two writes for which no state has changed.
const REWRITE_EVERY: Duration = Duration::from_secs(60);

/// Reads the rows of all upstreams, without those that cannot be read.
///
/// # Errors
/// [`StateFileError`] when the file cannot be read.
pub(super) fn read(transaction: &ReadTransaction, sealing: Sealing) -> Result<Vec<RememberedUpstream>, StateFileError> {
    small_table::read(transaction, UPSTREAMS, ROWS_MAX, sealing, upstream_record::read)
}

/// Writes the rows of these upstreams and removes all others; false when nothing had to be changed.
///
/// # Errors
/// [`StateFileError`] when the file cannot be written.
pub(super) fn write(transaction: &WriteTransaction, upstreams: &[RememberedUpstream]) -> Result<bool, StateFileError> {
    let rows = upstreams.iter().take(ROWS_MAX).map(|upstream| (upstream.key(), upstream.value()));
    small_table::replace(transaction, UPSTREAMS, rows)
}

/// What the rows of an open file say, and when they were written.
#[derive(Debug, Default)]
pub(super) struct WrittenUpstreams {
    rows: Vec<RememberedUpstream>,
    /// `None` until the rows have been written for the first time since the file was opened.
    at: Option<Timestamp>,
}

impl WrittenUpstreams {
    /// The rows to be written now, stamped with this moment; `None` when none are.
    /// `answers_written` is when answers were last written.
    pub(super) fn due(
        &self,
        mut present: Vec<RememberedUpstream>,
        answers_written: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Vec<RememberedUpstream>> {
        present.truncate(ROWS_MAX);
        for upstream in &mut present {
            upstream.since = upstream.since.min(now);
            upstream.saved = now;
        }
        let Some(at) = self.at else { return (!present.is_empty()).then_some(present) };
        let state =
            |upstream: &RememberedUpstream| (upstream.address, upstream.transport, upstream.state, upstream.since);
        let times_changed = present.iter().map(|own| own.p99).ne(self.rows.iter().map(|own| own.p99));
        let is_any_ill = present.iter().any(|upstream| upstream.state != UpstreamState::Healthy);
        let is_due = present.iter().map(state).ne(self.rows.iter().map(state))
            || now.since(at) >= REWRITE_EVERY && (times_changed || is_any_ill || answers_written == Some(now));
        (is_due && !present.is_empty()).then_some(present)
    }

    /// Notes that these rows were written.
    pub(super) fn note(&mut self, rows: Vec<RememberedUpstream>, now: Timestamp) {
        *self = Self { rows, at: Some(now) };
    }

    /// Has the rows written again with the next write, whatever they say.
    pub(super) fn write_next(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::upstream::Transport;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn upstream(state: UpstreamState, millis: u64) -> RememberedUpstream {
        RememberedUpstream {
            address: "192.0.2.53:53".parse().unwrap(),
            transport: Transport::Udp,
            state,
            since: NOW,
            p99: Some(Duration::from_millis(millis)),
            saved: Timestamp::EPOCH,
        }
    }

    #[test]
    fn states_are_written_at_once_times_after_a_minute_and_nothing_for_nothing() {
        let healthy = upstream(UpstreamState::Healthy, 3);
        let mut written = WrittenUpstreams::default();
        let first = written.due(vec![healthy], None, NOW).unwrap();
        assert_eq!(first, [RememberedUpstream { saved: NOW, ..healthy }]);
        written.note(first, NOW);
        let due = |present: RememberedUpstream, answers: Option<Timestamp>, now| {
            written.due(vec![present], answers, now).is_some()
        };
        assert!(!due(healthy, None, later(3600)));
        assert!(!due(upstream(UpstreamState::Healthy, 9), None, later(59)), "only the time");
        assert!(due(upstream(UpstreamState::Healthy, 9), None, later(60)));
        assert!(due(upstream(UpstreamState::Down, 3), None, later(2)));
        assert!(due(RememberedUpstream { since: later(1), ..healthy }, None, later(2)), "down and up again");
        assert!(due(RememberedUpstream { transport: Transport::Tcp, ..healthy }, None, later(2)));
        assert!(!due(healthy, Some(later(59)), later(60)));
        assert!(due(healthy, Some(later(60)), later(60)), "beside answers");
        assert!(written.due(Vec::new(), None, later(60)).is_none(), "no upstream is known at present");
        assert!(written.due(vec![healthy; 2], None, later(1)).is_some(), "one more");
    }

    #[test]
    fn an_ill_upstream_is_written_every_minute_so_that_it_is_known_to_be_ill_still() {
        let mut written = WrittenUpstreams::default();
        let down = upstream(UpstreamState::Down, 3);
        written.note(vec![down], NOW);
        assert!(written.due(vec![down], None, later(59)).is_none());
        assert!(written.due(vec![down], None, later(60)).is_some());
        written.write_next();
        assert!(written.due(vec![down], None, later(1)).is_some(), "at the end of the process");
    }

    #[test]
    fn there_are_never_more_rows_than_the_bound() {
        let many: Vec<_> = (0..100)
            .map(|port| RememberedUpstream {
                address: format!("192.0.2.53:{port}").parse().unwrap(),
                ..upstream(UpstreamState::Healthy, 3)
            })
            .collect();
        assert_eq!(WrittenUpstreams::default().due(many, None, NOW).unwrap().len(), ROWS_MAX);
    }
}
