//! The decision on a query's arrival: one pure, total function over freshness, refresh and
//! availability.
//!
//! | entry | refresh | upstreams | action |
//! |---|---|---|---|
//! | fresh | any | any | fresh; a refresh when prefetch is due and an upstream is not down |
//! | stale | failed, recheck not due | any | stale at once |
//! | stale | in flight | healthy | wait for the rest of the client response timer, then stale |
//! | stale | in flight | impaired, down | stale at once |
//! | stale | idle | down | stale at once; probes look for recovery |
//! | stale | idle | impaired | stale at once, and a refresh |
//! | stale | idle | healthy | refresh, wait up to the client response timer, then stale |
//! | absent | failed, recheck not due | any | SERVFAIL from the failure cache |
//! | absent | in flight | any | join it |
//! | absent | idle | healthy, impaired | forward |
//! | absent | idle | down | last resort: fallback upstreams, then the outage budget |
//!
//! The contract's row "stale, in flight, any: wait for the rest" is narrowed to healthy upstreams:
//! the query that started the refresh while they were impaired was answered at once, so whoever
//! asks a moment later must not wait either.
//!
//! RD=0 is served what is fresh and nothing else; that is decided before this table is asked.

/// What is remembered of a name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// An answer within its TTL.
    Fresh(Prefetch),
    /// An answer beyond its TTL and within maximum stale.
    Stale,
    /// Nothing that could be served.
    Absent,
}

/// Whether a fresh answer in use should be refreshed ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefetch {
    /// It should.
    Due,
    /// It need not yet.
    NotDue,
}

/// What is going on for a name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refresh {
    /// Nothing.
    Idle,
    /// A resolution is under way.
    InFlight,
    /// The last resolution failed, and its failure recheck timer has not run out.
    Failed,
}

/// The best state among the upstreams that a name may be forwarded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Availability {
    /// At least one is healthy.
    Healthy,
    /// None is healthy, at least one is not down.
    Impaired,
    /// All are down.
    Down,
}

/// What is done beside answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// A refresh is started.
    Refresh,
}

/// What is done with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The fresh answer is given.
    AnswerFresh(Beside),
    /// The stale answer is given at once.
    AnswerStale(Beside),
    /// The refresh under way is waited for as long as the client response timer runs; then the
    /// stale answer is given.
    AwaitRefresh,
    /// A refresh is started and waited for likewise.
    StartRefresh,
    /// SERVFAIL is given from the failure cache.
    AnswerFailure,
    /// The resolution under way is joined.
    Join,
    /// The query is forwarded.
    Forward,
    /// Fallback upstreams are asked, and the upstreams that count as down as far as the outage
    /// budget goes.
    LastResort,
}

/// Decides.
#[must_use]
pub const fn decide(freshness: Freshness, refresh: Refresh, upstreams: Availability) -> Action {
    match (freshness, refresh, upstreams) {
        (Freshness::Fresh(Prefetch::Due), Refresh::Idle, Availability::Healthy | Availability::Impaired) => {
            Action::AnswerFresh(Beside::Refresh)
        }
        (
            Freshness::Fresh(Prefetch::Due | Prefetch::NotDue),
            Refresh::Idle | Refresh::InFlight | Refresh::Failed,
            _,
        ) => Action::AnswerFresh(Beside::Nothing),
        (Freshness::Stale, Refresh::Failed, _) => Action::AnswerStale(Beside::Nothing),
        (Freshness::Stale, Refresh::InFlight, Availability::Healthy) => Action::AwaitRefresh,
        (Freshness::Stale, Refresh::InFlight, Availability::Impaired | Availability::Down) => {
            Action::AnswerStale(Beside::Nothing)
        }
        (Freshness::Stale, Refresh::Idle, Availability::Down) => Action::AnswerStale(Beside::Nothing),
        (Freshness::Stale, Refresh::Idle, Availability::Impaired) => Action::AnswerStale(Beside::Refresh),
        (Freshness::Stale, Refresh::Idle, Availability::Healthy) => Action::StartRefresh,
        (Freshness::Absent, Refresh::Failed, _) => Action::AnswerFailure,
        (Freshness::Absent, Refresh::InFlight, _) => Action::Join,
        (Freshness::Absent, Refresh::Idle, Availability::Healthy | Availability::Impaired) => Action::Forward,
        (Freshness::Absent, Refresh::Idle, Availability::Down) => Action::LastResort,
    }
}

#[cfg(test)]
mod tests {
    use super::Action::*;
    use super::Availability::{Down, Healthy, Impaired};
    use super::Freshness::{Absent, Fresh, Stale};
    use super::Refresh::{Failed, Idle, InFlight};
    use super::*;

    /// The table, row by row.
    #[test]
    fn every_row_of_the_table_holds() {
        let rows: &[(Freshness, &[Refresh], &[Availability], Action)] = &[
            (
                Fresh(Prefetch::NotDue),
                &[Idle, InFlight, Failed],
                &[Healthy, Impaired, Down],
                AnswerFresh(Beside::Nothing),
            ),
            (Fresh(Prefetch::Due), &[Idle], &[Healthy, Impaired], AnswerFresh(Beside::Refresh)),
            (Fresh(Prefetch::Due), &[Idle], &[Down], AnswerFresh(Beside::Nothing)),
            (Fresh(Prefetch::Due), &[InFlight, Failed], &[Healthy, Impaired, Down], AnswerFresh(Beside::Nothing)),
            (Stale, &[Failed], &[Healthy, Impaired, Down], AnswerStale(Beside::Nothing)),
            (Stale, &[InFlight], &[Healthy], AwaitRefresh),
            (Stale, &[InFlight], &[Impaired, Down], AnswerStale(Beside::Nothing)),
            (Stale, &[Idle], &[Down], AnswerStale(Beside::Nothing)),
            (Stale, &[Idle], &[Impaired], AnswerStale(Beside::Refresh)),
            (Stale, &[Idle], &[Healthy], StartRefresh),
            (Absent, &[Failed], &[Healthy, Impaired, Down], AnswerFailure),
            (Absent, &[InFlight], &[Healthy, Impaired, Down], Join),
            (Absent, &[Idle], &[Healthy, Impaired], Forward),
            (Absent, &[Idle], &[Down], LastResort),
        ];
        let mut seen = 0;
        for (freshness, refreshes, availabilities, action) in rows {
            for refresh in *refreshes {
                for availability in *availabilities {
                    assert_eq!(
                        decide(*freshness, *refresh, *availability),
                        *action,
                        "{freshness:?} {refresh:?} {availability:?}"
                    );
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 4 * 3 * 3, "the rows cover every combination once");
    }
}
