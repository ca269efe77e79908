//! The habits of one endpoint that its connections have shown: how many queries it answers on one,
//! how many it accepts at once, and how long its answers usually take.
//!
//! | seen | learned |
//! |---|---|
//! | closed by the upstream after n answers, at once or with queries outstanding | a connection is given n queries |
//! | closed by the upstream without an answer, though it had several queries | a connection is given one query |
//! | a connection that has given its n answers stays open | the first two are forgotten |
//! | not set up, or closed without an answer, while other connections work | no more connections than those |
//! | the same once, while nothing was answered on the others | nothing |
//!
//! What is learned is forgotten after a while, and whatever is learned wrongly costs connections or
//! time, never an answer. No I/O and no clock: what happened is told.

use std::time::Duration;

use tokio::time::Instant;

use crate::adapters::upstream::limits::StreamLimits;

/// How long the number of queries on one connection is remembered after it was seen last.
const ANSWERS_KEPT: Duration = Duration::from_secs(300);
/// How long the number of connections is remembered: a minute later the upstream may have room
/// again.
const CONNECTIONS_KEPT: Duration = Duration::from_secs(60);
/// A connection that ends so soon after an answer was ended because of it, and not for being idle.
const AT_ONCE: Duration = Duration::from_millis(100);
/// A connection that is still open so long after its last allowed answer would take more queries.
const STAYS_OPEN: Duration = Duration::from_millis(300);

/// The habits of one endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointHabits {
    /// How many queries the upstream answers on one connection.
    answers: Option<Learned>,
    /// How many connections the upstream accepts at the same moment.
    connections: Option<Learned>,
    /// Connections in a row that were closed without an answer, while none was answered.
    closed_in_a_row: usize,
    /// The longest that an answer took lately; it shrinks by an eighth with each quicker one.
    usual: Duration,
}

/// A number that was learned, and until when it is believed.
#[derive(Clone, Copy, Debug)]
struct Learned {
    number: usize,
    until: Instant,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    /// The connection could not be set up.
    NotSetUp,
    /// The upstream closed or reset the connection.
    ByUpstream,
    /// Our own side ended the connection, for being idle, silent or no longer wanted.
    ByUs,
}

/// What a connection was in its life.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLife {
    /// Queries that were given to the connection.
    pub(super) given: usize,
    /// Queries on the connection for whose response an exchange waits.
    pub(super) outstanding: usize,
    /// Queries that were answered on it.
    pub(super) answered: usize,
    /// When the last message arrived.
    pub(super) last_message: Option<Instant>,
    /// Other connections to the endpoint that have been set up and are open.
    pub(super) working_beside: usize,
    /// Those of them on which something was answered.
    pub(super) answering_beside: usize,
}

impl EndpointHabits {
    /// How many queries a connection may be given in its life.
    pub(super) fn answers(&self, now: Instant) -> usize {
        self.answers.filter(|learned| now < learned.until).map_or(usize::MAX, |learned| learned.number)
    }

    /// How many connections may be open at the same moment.
    pub(super) fn connections(&self, limits: &StreamLimits, now: Instant) -> usize {
        let all = limits.per_endpoint.saturating_mul(limits.in_flight);
        let needed = all.checked_div(self.answers(now)).unwrap_or(all);
        let bound = needed.min(limits.per_hasty_endpoint).max(limits.per_endpoint);
        let accepted = self.connections.filter(|learned| now < learned.until).map(|learned| learned.number);
        accepted.map_or(bound, |accepted| accepted.clamp(1, bound))
    }

    /// How long nothing may arrive on a connection before it is doubted: twice as long as answers
    /// take at the most, within once and four times the limit.
    pub(super) fn patience(&self, limits: &StreamLimits) -> Duration {
        self.usual.saturating_mul(2).clamp(limits.silence, limits.silence.saturating_mul(4))
    }

    /// An answer came after this time.
    pub(super) fn note_answer(&mut self, took: Duration) {
        self.closed_in_a_row = 0;
        self.usual = took.max(self.usual.saturating_sub(self.usual / 8));
    }

    /// A connection is open at which nothing is outstanding.
    pub(super) fn note_open(&mut self, life: &ConnectionLife, now: Instant) {
        let is_old = life.last_message.is_some_and(|last| now.duration_since(last) > STAYS_OPEN);
        if is_old && life.answered >= self.answers(now) {
            self.answers = None;
        }
    }

    /// A connection has ended.
    pub(super) fn note_end(&mut self, end: ConnectionEnd, life: &ConnectionLife, now: Instant) {
        // Where no connection works, their number is not the reason.
        if life.working_beside == 0 {
            self.connections = None;
        }
        match end {
            ConnectionEnd::ByUs => {}
            ConnectionEnd::NotSetUp => self.note_connections(life, now),
            ConnectionEnd::ByUpstream if life.answered > 0 => {
                let is_at_once = life.last_message.is_some_and(|last| now.duration_since(last) <= AT_ONCE);
                if life.outstanding > 0 || is_at_once {
                    self.answers = Some(Learned { number: life.answered, until: now + ANSWERS_KEPT });
                }
            }
            // A single query may close every connection on which it is sent, while another is
            // never answered on its own: one such end shows no limit.
            ConnectionEnd::ByUpstream if life.working_beside > 0 => {
                self.closed_in_a_row += 1;
                if life.answering_beside > 0 || self.closed_in_a_row > 1 {
                    self.note_connections(life, now);
                }
            }
            ConnectionEnd::ByUpstream => {
                if life.given > 1 {
                    self.answers = Some(Learned { number: 1, until: now + ANSWERS_KEPT });
                }
            }
        }
    }

    /// Whether anything is known that is worth keeping while there is no connection.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        [self.answers, self.connections].into_iter().flatten().any(|learned| now < learned.until)
    }

    fn note_connections(&mut self, life: &ConnectionLife, now: Instant) {
        if life.working_beside > 0 {
            self.connections = Some(Learned { number: life.working_beside, until: now + CONNECTIONS_KEPT });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StreamLimits = StreamLimits::DEFAULT;

    fn life(given: usize, answered: usize, last_message: Instant) -> ConnectionLife {
        let last_message = (answered > 0).then_some(last_message);
        let outstanding = given - answered;
        ConnectionLife { given, outstanding, answered, last_message, working_beside: 0, answering_beside: 0 }
    }

    #[test]
    fn an_upstream_that_closes_after_each_answer_gets_a_connection_for_each_query() {
        let now = Instant::now();
        let mut habits = EndpointHabits::default();
        assert_eq!((habits.answers(now), habits.connections(&LIMITS, now)), (usize::MAX, 16));
        habits.note_end(ConnectionEnd::ByUpstream, &life(8, 1, now), now);
        assert_eq!((habits.answers(now), habits.connections(&LIMITS, now)), (1, 64));
        let later = now + ANSWERS_KEPT;
        assert_eq!((habits.answers(later), habits.connections(&LIMITS, later)), (usize::MAX, 16));
    }

    #[test]
    fn a_close_for_being_idle_teaches_nothing_and_a_connection_that_stays_open_is_believed() {
        let now = Instant::now();
        let mut habits = EndpointHabits::default();
        habits.note_end(ConnectionEnd::ByUpstream, &life(1, 1, now), now + Duration::from_secs(1));
        assert_eq!(habits.answers(now), usize::MAX);
        habits.note_end(ConnectionEnd::ByUs, &life(9, 1, now), now);
        assert_eq!(habits.answers(now), usize::MAX);
        habits.note_end(ConnectionEnd::ByUpstream, &life(2, 2, now), now);
        assert_eq!(habits.answers(now), 2);
        habits.note_open(&life(2, 2, now), now + AT_ONCE);
        assert_eq!(habits.answers(now), 2);
        habits.note_open(&life(2, 2, now), now + Duration::from_secs(1));
        assert_eq!(habits.answers(now), usize::MAX);
    }

    #[test]
    fn no_more_connections_are_opened_than_the_upstream_kept() {
        let now = Instant::now();
        let mut habits = EndpointHabits::default();
        let refused = ConnectionLife { working_beside: 2, answering_beside: 1, ..life(3, 0, now) };
        habits.note_end(ConnectionEnd::ByUpstream, &refused, now);
        assert_eq!((habits.answers(now), habits.connections(&LIMITS, now)), (usize::MAX, 2));
        assert_eq!(habits.connections(&LIMITS, now + CONNECTIONS_KEPT), 16);
        habits.note_end(ConnectionEnd::NotSetUp, &life(1, 0, now), now);
        assert_eq!(habits.connections(&LIMITS, now), 16, "nothing works beside it");
    }

    #[test]
    fn a_query_that_closes_its_connection_beside_one_that_is_never_answered_teaches_nothing() {
        let now = Instant::now();
        let mut habits = EndpointHabits::default();
        let closed = ConnectionLife { working_beside: 1, ..life(1, 0, now) };
        habits.note_end(ConnectionEnd::ByUpstream, &closed, now);
        assert_eq!((habits.answers(now), habits.connections(&LIMITS, now)), (usize::MAX, 16));
        habits.note_answer(Duration::from_millis(1));
        habits.note_end(ConnectionEnd::ByUpstream, &closed, now);
        assert_eq!(habits.connections(&LIMITS, now), 16, "the two are not in a row");
        habits.note_end(ConnectionEnd::ByUpstream, &closed, now);
        assert_eq!(habits.connections(&LIMITS, now), 1, "these are");
    }

    #[test]
    fn patience_follows_the_slowest_of_the_latest_answers() {
        let mut habits = EndpointHabits::default();
        assert_eq!(habits.patience(&LIMITS), Duration::from_millis(400));
        habits.note_answer(Duration::from_millis(500));
        assert_eq!(habits.patience(&LIMITS), Duration::from_secs(1));
        habits.note_answer(Duration::from_secs(3));
        assert_eq!(habits.patience(&LIMITS), Duration::from_millis(1600));
        for _ in 0..30 {
            habits.note_answer(Duration::from_millis(2));
        }
        assert_eq!(habits.patience(&LIMITS), Duration::from_millis(400));
    }
}
