//! Doubted answers: a positive answer that goes against what is known is confirmed by others before
//! it counts ([`crate::core::reversal`]).
//!
//! From the first doubted answer on, nothing is sent but questions by which it is confirmed: one
//! after the other, at once when the one before has ended, else when the next send would be due. An
//! answer that is not doubted ends the attempts like any other. When all that came is doubted and
//! nobody is left to be asked, or at the deadline, the resolver decides.

use super::ledger::EndedBy;
use super::plan::{AttemptId, Confirmed, Step};
use super::{Attempts, Phase};
use crate::core::classify::Failure;
use crate::core::health::AttemptOutcome;
use crate::core::time::Timestamp;

impl Attempts {
    /// Takes a positive answer that is doubted, and asks others for confirmation.
    pub fn doubted(&mut self, attempt: AttemptId, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((target, age)) = self.ledger.close(attempt, EndedBy::Doubt, now) else { return steps };
        steps.push(Step::Report(target.upstream, AttemptOutcome::Answered(age)));
        self.failure = Failure::Unconfirmed;
        if self.phase == Phase::Asking {
            self.wait = self.plan.hedge;
        }
        self.go_elsewhere(now, &mut steps);
        self.conclude(now, &mut steps);
        steps
    }

    /// What has come of the confirmation of a doubted answer; `None` when none was doubted.
    #[must_use]
    pub fn confirmed(&self) -> Option<Confirmed> {
        match self.ledger.doubts() {
            0 => None,
            1 => Some(Confirmed::ByNobody),
            _ => Some(Confirmed::ByOthers),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::choice::CONFIRMATIONS;
    use super::super::plan::{Plan, Target};
    use super::*;
    use crate::core::budget::Class;
    use crate::core::edns::EdnsTrust;
    use crate::core::testing::policy;
    use crate::core::upstream::{Transport, UpstreamId};
    use crate::core::upstream_query::Extension;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(millis: u64) -> Timestamp {
        NOW.plus(Duration::from_millis(millis))
    }

    fn attempts(upstreams: usize) -> Attempts {
        let target = |index| Target {
            upstream: UpstreamId::new(index),
            transport: Transport::Udp,
            extension: Extension::Edns,
            trust: EdnsTrust::Proven,
            class: Class::Miss,
        };
        let plan = Plan::single(target(0), Duration::from_millis(200), Duration::from_secs(2));
        let plan = Plan { primaries: (0..upstreams).map(target).collect(), hedge: Duration::from_millis(50), ..plan };
        Attempts::new(policy().attempts, plan, NOW)
    }

    /// The sends among steps: attempt, upstream and transport.
    fn sends(steps: &[Step]) -> Vec<(AttemptId, usize, Transport)> {
        let sends = steps.iter().filter_map(|step| match step {
            Step::Send(attempt, target) => Some((*attempt, target.upstream.index(), target.transport)),
            _ => None,
        });
        sends.collect()
    }

    /// Doubts every answer, each 1 ms after it was asked for; gives whom that asks, and the last
    /// steps.
    fn doubt_all(attempts: &mut Attempts) -> (Vec<(usize, Transport)>, Vec<Step>) {
        let mut steps = attempts.advance(NOW);
        let mut asked = Vec::new();
        for now in 1.. {
            let [(attempt, upstream, transport)] = sends(&steps)[..] else { break };
            asked.push((upstream, transport));
            steps = attempts.doubted(attempt, at(now));
        }
        (asked, steps)
    }

    #[test]
    fn another_upstream_is_asked_first_and_then_tcp() {
        let (asked, last) = doubt_all(&mut attempts(2));
        let expected =
            [(0, Transport::Udp), (1, Transport::Udp), (0, Transport::Tcp), (1, Transport::Tcp), (0, Transport::Udp)];
        assert_eq!(asked, expected);
        assert_eq!(asked.len(), 1 + CONFIRMATIONS);
        assert!(last.contains(&Step::End(Failure::Unconfirmed)), "{last:?}");
    }

    #[test]
    fn a_single_upstream_is_asked_over_tcp() {
        let (asked, _) = doubt_all(&mut attempts(1));
        assert_eq!(asked[1], (0, Transport::Tcp));
        assert_eq!(asked.iter().filter(|(_, transport)| *transport == Transport::Udp).count(), 3);
    }

    #[test]
    fn who_gives_no_confirmation_is_passed_over() {
        let mut attempts = attempts(1);
        let [(first, ..)] = sends(&attempts.advance(NOW))[..] else { panic!("one send") };
        let [(over_tcp, _, Transport::Tcp)] = sends(&attempts.doubted(first, at(1)))[..] else { panic!("over TCP") };
        assert_eq!(attempts.confirmed(), Some(Confirmed::ByNobody));
        // Nobody listens on TCP, so only UDP is left.
        let steps = attempts.failed(over_tcp, Failure::NetworkError, at(2));
        assert!(matches!(sends(&steps)[..], [(_, 0, Transport::Udp)]), "{steps:?}");
        let steps = attempts.advance(attempts.wake_at());
        assert!(matches!(sends(&steps)[..], [(_, 0, Transport::Udp)]), "{steps:?}");
        assert_eq!(sends(&attempts.advance(at(1_000))), [], "three sends over UDP are the most");
        assert!(matches!(attempts.advance(at(2_000))[..], [.., Step::GiveUp(_) | Step::End(_)]));
        assert_eq!(attempts.confirmed(), Some(Confirmed::ByNobody));
    }

    #[test]
    fn an_answer_that_is_not_doubted_ends_it() {
        let mut attempts = attempts(1);
        assert_eq!(attempts.confirmed(), None);
        let [(first, ..)] = sends(&attempts.advance(NOW))[..] else { panic!("one send") };
        let [(second, ..)] = sends(&attempts.doubted(first, at(1)))[..] else { panic!("one confirmation") };
        let [(third, ..)] = sends(&attempts.doubted(second, at(2)))[..] else { panic!("one confirmation") };
        assert_eq!(attempts.confirmed(), Some(Confirmed::ByOthers));
        assert!(attempts.answered(third, at(3)).is_some());
    }
}
