//! The decision on a query's arrival: two pure, total functions, one for names of which an answer
//! is remembered and one for all others.
//!
//! | entry | refresh | upstreams | action |
//! |---|---|---|---|
//! | fresh, prefetch due | idle | healthy, impaired | answer fresh, and start a refresh |
//! | fresh, any other case | any | any | answer fresh |
//! | stale | failed, recheck not due | any | answer stale at once |
//! | stale | in flight | healthy | wait for the rest of the client response timer, then answer stale |
//! | stale | in flight | impaired, down | answer stale at once |
//! | stale | idle | down | answer stale at once; probes look for recovery |
//! | stale | idle | impaired | answer stale at once, and start a refresh |
//! | stale | idle | healthy | start a refresh, wait up to the client response timer, then answer stale |
//! | absent | failed, recheck not due | any | what is nearest, else SERVFAIL from the failure cache |
//! | absent | any other | down | what is nearest, else ask |
//! | absent | any other | healthy, impaired | ask: join the resolution under way, or start one; else what is nearest |
//!
//! What is nearest is decided in [`super::nearest`]. A fresh denial of another type of the name
//! comes before all of this: it is as good as an answer. What is nearest and about the name itself
//! (its answer with other DO or CD bits, its denial for another type) counts as a stale answer to
//! the question: a client waits beside it no longer than beside one of its own.
//!
//! Which upstreams are asked for an absent name, and for how long, depends on their states. That is
//! the plan of a resolution (`resolver::upstreams`), not a decision about the query.
//!
//! A refresh in flight is waited for only while an upstream is healthy. While they are impaired,
//! the query that started the refresh was answered at once, so a client that asks a moment later
//! must not wait either.
//!
//! A query with RD=0 gets a fresh answer or none. That is decided before these functions are
//! called.

/// How fresh a remembered answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// The answer is within its TTL.
    Fresh(Prefetch),
    /// The answer is beyond its TTL and within maximum stale.
    Stale,
}

/// Whether a fresh answer in use should be refreshed ahead of its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefetch {
    /// The answer is in use and near its expiry.
    Due,
    /// The answer is hardly used, or its expiry is far.
    NotDue,
}

/// The state of the refresh of a remembered name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refresh {
    /// No resolution is under way, and the last one did not fail a moment ago.
    Idle,
    /// A resolution is under way.
    InFlight,
    /// The last resolution failed, and its failure recheck timer has not run out.
    Failed,
}

/// Whether a name and type of which no answer is remembered may be asked for (RFC 9520 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recheck {
    /// No failure is cached, or its failure recheck timer has run out.
    Due,
    /// A failure is cached, and its failure recheck timer is still running.
    NotDue,
}

/// The best state among the upstreams that a name may be forwarded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Availability {
    /// At least one upstream is healthy.
    Healthy,
    /// No upstream is healthy, at least one is not down.
    Impaired,
    /// All upstreams are down.
    Down,
}

/// The work that is done beside answering a client at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beside {
    /// Nothing else is done.
    Nothing,
    /// A refresh is started, for which the client does not wait.
    Refresh,
}

/// The action for a query for a name and type of which an answer is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KnownAction {
    /// The client gets the fresh answer at once.
    Fresh(Beside),
    /// The client gets the stale answer at once.
    Stale(Beside),
    /// The client waits for the refresh under way until what is left of the client response timer
    /// has run out, then gets the stale answer.
    AwaitRefresh,
    /// A refresh is started; the client waits for it until the client response timer has run out,
    /// then gets the stale answer.
    StartRefresh,
}

/// The action for a query for a name and type of which no answer is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownAction {
    /// The client gets what is nearest, else SERVFAIL from the failure cache (RFC 9520 §3.2).
    NearestElseFailure,
    /// The client gets what is nearest at once, else it waits as for [`Self::Ask`].
    NearestElseAsk,
    /// The client waits for the resolution under way, or for one that is started now.
    Ask,
}

/// Decides what is done with a query for a name and type of which an answer is remembered.
#[must_use]
pub const fn decide_known(freshness: Freshness, refresh: Refresh, upstreams: Availability) -> KnownAction {
    match (freshness, refresh, upstreams) {
        (Freshness::Fresh(Prefetch::Due), Refresh::Idle, Availability::Healthy | Availability::Impaired) => {
            KnownAction::Fresh(Beside::Refresh)
        }
        (
            Freshness::Fresh(Prefetch::Due | Prefetch::NotDue),
            Refresh::Idle | Refresh::InFlight | Refresh::Failed,
            Availability::Healthy | Availability::Impaired | Availability::Down,
        ) => KnownAction::Fresh(Beside::Nothing),
        (Freshness::Stale, Refresh::Failed, Availability::Healthy | Availability::Impaired | Availability::Down) => {
            KnownAction::Stale(Beside::Nothing)
        }
        (Freshness::Stale, Refresh::InFlight, Availability::Healthy) => KnownAction::AwaitRefresh,
        (Freshness::Stale, Refresh::InFlight, Availability::Impaired | Availability::Down) => {
            KnownAction::Stale(Beside::Nothing)
        }
        (Freshness::Stale, Refresh::Idle, Availability::Down) => KnownAction::Stale(Beside::Nothing),
        (Freshness::Stale, Refresh::Idle, Availability::Impaired) => KnownAction::Stale(Beside::Refresh),
        (Freshness::Stale, Refresh::Idle, Availability::Healthy) => KnownAction::StartRefresh,
    }
}

/// Decides what is done with a query for a name and type of which no answer is remembered.
#[must_use]
pub const fn decide_unknown(recheck: Recheck, upstreams: Availability) -> UnknownAction {
    match (recheck, upstreams) {
        (Recheck::NotDue, Availability::Healthy | Availability::Impaired | Availability::Down) => {
            UnknownAction::NearestElseFailure
        }
        (Recheck::Due, Availability::Down) => UnknownAction::NearestElseAsk,
        (Recheck::Due, Availability::Healthy | Availability::Impaired) => UnknownAction::Ask,
    }
}

#[cfg(test)]
mod tests {
    use super::Availability::{Down, Healthy, Impaired};
    use super::Freshness::{Fresh, Stale};
    use super::Refresh::{Failed, Idle, InFlight};
    use super::*;

    #[test]
    fn every_row_of_the_table_for_known_names_holds() {
        use KnownAction as Do;
        let rows: &[(Freshness, &[Refresh], &[Availability], KnownAction)] = &[
            (
                Fresh(Prefetch::NotDue),
                &[Idle, InFlight, Failed],
                &[Healthy, Impaired, Down],
                Do::Fresh(Beside::Nothing),
            ),
            (Fresh(Prefetch::Due), &[Idle], &[Healthy, Impaired], Do::Fresh(Beside::Refresh)),
            (Fresh(Prefetch::Due), &[Idle], &[Down], Do::Fresh(Beside::Nothing)),
            (Fresh(Prefetch::Due), &[InFlight, Failed], &[Healthy, Impaired, Down], Do::Fresh(Beside::Nothing)),
            (Stale, &[Failed], &[Healthy, Impaired, Down], Do::Stale(Beside::Nothing)),
            (Stale, &[InFlight], &[Healthy], Do::AwaitRefresh),
            (Stale, &[InFlight], &[Impaired, Down], Do::Stale(Beside::Nothing)),
            (Stale, &[Idle], &[Down], Do::Stale(Beside::Nothing)),
            (Stale, &[Idle], &[Impaired], Do::Stale(Beside::Refresh)),
            (Stale, &[Idle], &[Healthy], Do::StartRefresh),
        ];
        let mut seen = 0;
        for (freshness, refreshes, availabilities, action) in rows {
            for refresh in *refreshes {
                for availability in *availabilities {
                    let decided = decide_known(*freshness, *refresh, *availability);
                    assert_eq!(decided, *action, "{freshness:?} {refresh:?} {availability:?}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 3 * 3 * 3, "the rows cover every combination once");
    }

    #[test]
    fn an_unknown_name_is_asked_for_unless_it_failed_a_moment_ago_or_all_upstreams_are_down() {
        for upstreams in [Healthy, Impaired, Down] {
            assert_eq!(decide_unknown(Recheck::NotDue, upstreams), UnknownAction::NearestElseFailure);
        }
        assert_eq!(decide_unknown(Recheck::Due, Healthy), UnknownAction::Ask);
        assert_eq!(decide_unknown(Recheck::Due, Impaired), UnknownAction::Ask);
        assert_eq!(decide_unknown(Recheck::Due, Down), UnknownAction::NearestElseAsk);
    }
}
