//! Tests each row of the table in [`super`].

use super::*;
use crate::core::testing::policy;

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn at(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

fn target(upstream: usize) -> Target {
    Target {
        upstream: UpstreamId::new(upstream),
        transport: Transport::Udp,
        extension: Extension::Edns,
        class: Class::Miss,
    }
}

fn attempts(upstreams: &[usize]) -> Attempts {
    let plan = Plan {
        targets: upstreams.iter().map(|upstream| target(*upstream)).collect(),
        timer: Duration::from_millis(20),
        hedge: Duration::from_millis(100),
        deadline: Duration::from_secs(2),
        linger: Duration::from_secs(5),
    };
    Attempts::new(policy().attempts, plan, START)
}

/// Runs attempts that get no response to their end, and returns every step with the millisecond at
/// which it came.
fn run(attempts: &mut Attempts) -> Vec<(u64, Step)> {
    let mut now = START;
    let mut steps = Vec::new();
    for _ in 0..100 {
        for step in attempts.advance(now) {
            let millis = u64::try_from(now.since(START).as_millis()).expect("short");
            steps.push((millis, step));
            if matches!(step, Step::End(_)) {
                return steps;
            }
        }
        now = attempts.wake_at().max(now.plus(Duration::from_micros(1)));
    }
    panic!("the attempts do not end: {steps:?}");
}

/// The millisecond and the upstream of every send.
fn sends(steps: &[(u64, Step)]) -> Vec<(u64, usize)> {
    steps
        .iter()
        .filter_map(|(at, step)| match step {
            Step::Send(_, target) => Some((*at, target.upstream.index())),
            Step::Report(..) | Step::Overdue(..) | Step::Trouble | Step::GiveUp(_) | Step::End(_) => None,
        })
        .collect()
}

#[test]
fn silence_costs_three_sends_then_servfail_at_the_deadline_then_lingers() {
    let steps = run(&mut attempts(&[0, 1, 0]));
    assert_eq!(sends(&steps), [(0, 0), (100, 1), (1000, 0)]);
    assert!(steps.contains(&(2000, Step::GiveUp(Failure::Timeout))), "{steps:?}");
    assert_eq!(steps.last(), Some(&(5000, Step::End(Failure::Timeout))));
    assert!(steps.contains(&(20, Step::Overdue(UpstreamId::new(0), START))));
    assert!(steps.contains(&(200, Step::Report(UpstreamId::new(0), AttemptOutcome::Late))));
    assert!(steps.contains(&(400, Step::Report(UpstreamId::new(0), AttemptOutcome::TimedOut))));
    assert!(steps.contains(&(500, Step::Report(UpstreamId::new(1), AttemptOutcome::TimedOut))));
}

#[test]
fn after_servfail_one_other_upstream_is_asked_at_once() {
    let mut attempts = attempts(&[0, 1, 0]);
    let _ = attempts.advance(at(0));
    let steps = attempts.failed_response(AttemptId(0), Failure::ServFail, SuffixHash::new(7), at(3));
    assert_eq!(
        steps,
        [
            Step::Report(
                UpstreamId::new(0),
                AttemptOutcome::UnusableResponse(Duration::from_millis(3), SuffixHash::new(7))
            ),
            Step::Send(AttemptId(1), target(1))
        ]
    );
    let steps = attempts.failed_response(AttemptId(1), Failure::ServFail, SuffixHash::new(7), at(6));
    assert_eq!(
        steps,
        [
            Step::Report(
                UpstreamId::new(1),
                AttemptOutcome::UnusableResponse(Duration::from_millis(3), SuffixHash::new(7))
            ),
            Step::End(Failure::ServFail)
        ]
    );
}

#[test]
fn after_a_closed_port_another_upstream_is_asked_at_once() {
    let mut attempts = attempts(&[0, 1, 0]);
    let _ = attempts.advance(at(0));
    let steps = attempts.failed(AttemptId(0), Failure::NetworkError, at(1));
    assert_eq!(steps, [Step::Report(UpstreamId::new(0), AttemptOutcome::Failed), Step::Send(AttemptId(1), target(1))]);
}

#[test]
fn a_closed_port_without_alternative_uses_up_the_plan_at_once_and_clients_get_stale_answers() {
    let mut attempts = attempts(&[0, 0, 0]);
    let _ = attempts.advance(at(0));
    let again = |number| {
        vec![
            Step::Report(UpstreamId::new(0), AttemptOutcome::Failed),
            Step::Trouble,
            Step::Send(AttemptId(number), target(0)),
        ]
    };
    assert_eq!(
        attempts.failed(AttemptId(0), Failure::NetworkError, at(1)),
        again(1),
        "another server may stand behind the same address"
    );
    assert_eq!(attempts.failed(AttemptId(1), Failure::NetworkError, at(2)), again(2));
    let end =
        [Step::Report(UpstreamId::new(0), AttemptOutcome::Failed), Step::Trouble, Step::End(Failure::NetworkError)];
    assert_eq!(
        attempts.failed(AttemptId(2), Failure::NetworkError, at(3)),
        end,
        "every send was refused, so there is nothing to wait for"
    );
}

#[test]
fn a_closed_port_ends_nothing_while_another_upstream_may_still_answer() {
    let mut attempts = attempts(&[0, 1, 1]);
    let _ = attempts.advance(at(0));
    let _ = attempts.advance(at(100));
    assert_eq!(
        attempts.failed(AttemptId(1), Failure::NetworkError, at(101)),
        [Step::Report(UpstreamId::new(1), AttemptOutcome::Failed), Step::Trouble, Step::Send(AttemptId(2), target(1))]
    );
    assert_eq!(
        attempts.failed(AttemptId(2), Failure::NetworkError, at(102)),
        [Step::Report(UpstreamId::new(1), AttemptOutcome::Failed), Step::Trouble],
        "the first is still open"
    );
    assert!(attempts.answered(AttemptId(0), at(300)).is_some());
}

#[test]
fn without_room_on_our_own_side_the_same_upstream_is_asked_at_its_time() {
    let mut attempts = attempts(&[0, 0, 0]);
    let _ = attempts.advance(at(0));
    assert_eq!(attempts.failed(AttemptId(0), Failure::LocalLimit, at(1)), [Step::Trouble]);
    assert_eq!(attempts.advance(at(100)), [Step::Send(AttemptId(1), target(0))]);
}

#[test]
fn after_formerr_the_query_is_repeated_without_opt() {
    let mut attempts = attempts(&[0, 0, 0]);
    let _ = attempts.advance(at(0));
    let steps = attempts.failed_response(AttemptId(0), Failure::NotUnderstood, SuffixHash::new(7), at(3));
    assert_eq!(steps.get(1), Some(&Step::Send(AttemptId(1), Target { extension: Extension::Plain, ..target(0) })));
    assert!(attempts.answered(AttemptId(1), at(5)).is_some());
}

#[test]
fn a_truncated_answer_is_asked_for_over_tcp_and_a_dead_tcp_ends_it() {
    let mut attempts = attempts(&[0, 0, 0]);
    let _ = attempts.advance(at(0));
    let steps = attempts.truncated_response(AttemptId(0), at(3));
    assert_eq!(steps.get(1), Some(&Step::Send(AttemptId(1), Target { transport: Transport::Tcp, ..target(0) })));
    assert_eq!(
        attempts.failed(AttemptId(1), Failure::NetworkError, at(6)).last(),
        Some(&Step::End(Failure::NetworkError))
    );
}

#[test]
fn a_dead_tcp_says_nothing_about_an_upstream_that_answers_over_udp() {
    let mut attempts = attempts(&[0, 0, 0]);
    let mut steps = attempts.advance(at(0));
    steps.extend(attempts.truncated_response(AttemptId(0), at(3)));
    for millis in [23, 203, 403] {
        steps.extend(attempts.advance(at(millis)));
    }
    assert!(steps.contains(&Step::GiveUp(Failure::Timeout)), "the truncated answer is given after 400 ms: {steps:?}");
    steps.extend(attempts.failed(AttemptId(1), Failure::NetworkError, at(450)));
    let reports: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Report(..) | Step::Overdue(..))).collect();
    assert_eq!(reports, [&Step::Report(UpstreamId::new(0), AttemptOutcome::Answered(Duration::from_millis(3)))]);
}

#[test]
fn a_failed_response_does_not_end_attempts_that_are_under_way() {
    let mut attempts = attempts(&[0, 1, 0]);
    let _ = attempts.advance(at(0));
    assert_eq!(sends(&attempts.advance(at(100)).into_iter().map(|step| (100, step)).collect::<Vec<_>>()), [(100, 1)]);
    let steps = attempts.failed_response(AttemptId(0), Failure::ServFail, SuffixHash::new(7), at(120));
    assert!(
        !steps.iter().any(|step| matches!(step, Step::Send(..) | Step::End(_))),
        "the other attempt is under way: {steps:?}"
    );
    let steps = attempts.failed_response(AttemptId(1), Failure::ServFail, SuffixHash::new(7), at(150));
    assert_eq!(steps.last(), Some(&Step::End(Failure::ServFail)));
}

#[test]
fn an_upstream_without_edns_gets_three_packets_at_the_most() {
    let mut attempts = attempts(&[0, 0, 0]);
    let _ = attempts.advance(at(0));
    let plain = Target { extension: Extension::Plain, ..target(0) };
    assert_eq!(
        attempts.failed_response(AttemptId(0), Failure::NotUnderstood, SuffixHash::new(7), at(3)).last(),
        Some(&Step::Send(AttemptId(1), plain))
    );
    let later: Vec<Step> =
        [100, 300, 1000, 1003, 1500].into_iter().flat_map(|millis| attempts.advance(at(millis))).collect();
    let sent: Vec<_> = later.iter().filter(|step| matches!(step, Step::Send(..))).collect();
    assert_eq!(sent, [&Step::Send(AttemptId(2), plain)], "{later:?}");
}

#[test]
fn over_budget_the_send_waits_and_clients_get_stale_answers() {
    let mut attempts = attempts(&[0, 0, 0]);
    assert_eq!(attempts.advance(at(0)), [Step::Send(AttemptId(0), target(0))]);
    assert_eq!(attempts.postpone(AttemptId(0), Class::Miss, at(300)), [Step::Trouble]);
    assert_eq!(attempts.wake_at(), at(300));
    assert_eq!(attempts.advance(at(300)), [Step::Send(AttemptId(1), target(0))]);
}

#[test]
fn over_budget_until_after_the_deadline_is_the_end() {
    let mut attempts = attempts(&[0]);
    let _ = attempts.advance(at(0));
    assert_eq!(attempts.postpone(AttemptId(0), Class::Miss, at(2_500)), [Step::End(Failure::LocalLimit)]);
}

#[test]
fn a_response_after_giving_up_starts_nothing_new() {
    let mut attempts = attempts(&[0, 1, 0]);
    for millis in [0, 100, 1000, 2000] {
        let _ = attempts.advance(at(millis));
    }
    let steps = attempts.failed_response(AttemptId(0), Failure::ServFail, SuffixHash::new(7), at(3000));
    assert!(!steps.iter().any(|step| matches!(step, Step::Send(..))), "{steps:?}");
}

#[test]
fn without_a_target_the_attempts_end_at_once() {
    assert_eq!(attempts(&[]).advance(START), [Step::End(Failure::Timeout)]);
}
