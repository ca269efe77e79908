//! Tests each row of the tables in [`super`], [`super::choice`] and [`super::denials`].

use super::*;
use crate::core::edns::EdnsTrust;
use crate::core::testing::policy;
use crate::core::upstream::UpstreamId;

mod answers;
mod ways;

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn at(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

fn target(upstream: usize) -> Target {
    Target {
        upstream: UpstreamId::new(upstream),
        transport: Transport::Udp,
        extension: Extension::Edns,
        trust: EdnsTrust::Proven,
        class: Class::Miss,
    }
}

/// An upstream of which it is not known whether it understands EDNS.
fn open(upstream: usize) -> Target {
    Target { trust: EdnsTrust::Open, ..target(upstream) }
}

fn plain(upstream: usize) -> Target {
    Target { extension: Extension::Plain, ..target(upstream) }
}

fn over_tcp(upstream: usize) -> Target {
    Target { transport: Transport::Tcp, ..target(upstream) }
}

/// A plan whose primaries are asked in the order in which they are given and listed in that of
/// their numbers. Each is waited for 400 ms.
fn plan(primaries: &[usize], fallbacks: &[usize]) -> Plan {
    let mut listed = primaries.to_vec();
    listed.sort_unstable();
    let patience = Some(Duration::from_millis(400));
    Plan {
        primaries: primaries.iter().map(|upstream| target(*upstream)).collect(),
        fallbacks: fallbacks.iter().map(|upstream| target(*upstream)).collect(),
        last_resort: None,
        listed: listed.into_iter().map(|own| Listed { upstream: UpstreamId::new(own), patience }).collect(),
        rescues: 2,
        rounds: 2,
        signatures: Signatures::NotWanted,
        timer: Duration::from_millis(20),
        hedge: Duration::from_millis(20),
        deadline: Duration::from_millis(4_800),
        linger: Duration::from_secs(6),
    }
}

fn begin(plan: Plan) -> Attempts {
    let mut attempts = Attempts::new(policy().attempts, plan, START);
    let steps = attempts.advance(START);
    assert!(matches!(steps.first(), Some(Step::Send(AttemptId(0), _))), "{steps:?}");
    attempts
}

fn attempts(primaries: &[usize]) -> Attempts {
    begin(plan(primaries, &[]))
}

/// Lets time pass up to `until`, and returns every step with the millisecond at which it came.
fn pass(attempts: &mut Attempts, from: u64, until: u64) -> Vec<(u64, Step)> {
    let (mut now, mut steps) = (at(from), Vec::new());
    for _ in 0..200 {
        if now > at(until) {
            return steps;
        }
        for step in attempts.advance(now) {
            let millis = u64::try_from(now.since(START).as_millis()).expect("short");
            steps.push((millis, step));
            if matches!(step, Step::End(_)) {
                return steps;
            }
        }
        now = attempts.wake_at().max(now.plus(Duration::from_micros(1)));
    }
    panic!("the attempts go round and round: {steps:?}");
}

/// What was sent at which millisecond.
fn sends(steps: &[(u64, Step)]) -> Vec<(u64, Target)> {
    steps
        .iter()
        .filter_map(|(at, step)| match step {
            Step::Send(_, target) => Some((*at, *target)),
            Step::Report(..) | Step::Overdue(..) | Step::Trouble | Step::Take(_) | Step::GiveUp(_) | Step::End(_) => {
                None
            }
        })
        .collect()
}

/// What is sent at once.
fn sent(steps: &[Step]) -> Vec<Target> {
    sends(&steps.iter().map(|step| (0, *step)).collect::<Vec<_>>()).into_iter().map(|(_, target)| target).collect()
}

fn takes(steps: &[(u64, Step)]) -> Option<u64> {
    steps.iter().find(|(_, step)| matches!(step, Step::Take(_))).map(|(at, _)| *at)
}

/// Takes a response that is no answer, of an upstream that understands EDNS.
fn useless(attempts: &mut Attempts, attempt: usize, failure: Failure, millis: u64) -> Vec<Step> {
    attempts.failed_response(AttemptId(attempt), failure, Extension::Edns, at(millis))
}

fn servfail(attempts: &mut Attempts, attempt: usize, millis: u64) -> Vec<Step> {
    useless(attempts, attempt, Failure::ServFail, millis)
}

// ------------------------------------------------------------------------------- silence and time

#[test]
fn one_upstream_that_is_silent_is_asked_three_times_then_over_tcp_then_anew() {
    let steps = pass(&mut attempts(&[0]), 1, 9_000);
    assert_eq!(sends(&steps), [(20, target(0)), (70, plain(0)), (195, over_tcp(0)), (3_000, plain(0))]);
    assert!(steps.contains(&(4_800, Step::GiveUp(Failure::Timeout))), "{steps:?}");
    assert_eq!(steps.last(), Some(&(6_000, Step::End(Failure::Timeout))));
    for report in [
        (20, Step::Overdue(UpstreamId::new(0), START)),
        (200, Step::Report(UpstreamId::new(0), AttemptOutcome::Late)),
        (400, Step::Report(UpstreamId::new(0), AttemptOutcome::TimedOut)),
        (420, Step::Report(UpstreamId::new(0), AttemptOutcome::TimedOut)),
    ] {
        assert!(steps.contains(&report), "{report:?} in {steps:?}");
    }
    let first_round = steps.iter().filter(|(at, step)| *at < 3_000 && matches!(step, Step::Report(..))).count();
    assert_eq!(first_round, 6, "late and timed out for three, and nothing of TCP");
}

#[test]
fn every_upstream_is_asked_before_any_is_asked_again() {
    let steps = pass(&mut attempts(&[0, 1, 2, 3]), 1, 1_200);
    let first: Vec<_> = sends(&steps);
    assert_eq!(first[..3], [(20, target(1)), (70, target(2)), (195, plain(3))]);
    assert_eq!(first[3..], [(507, over_tcp(0))], "then the best over TCP: {first:?}");
    let steps = pass(&mut attempts(&[0, 1]), 1, 1_200);
    assert_eq!(sends(&steps), [(20, target(1)), (70, plain(0)), (195, over_tcp(0)), (507, over_tcp(1))]);
}

#[test]
fn waits_grow_to_a_second_and_no_further() {
    let slow = Plan { hedge: Duration::from_millis(400), ..plan(&[0], &[]) };
    let steps = pass(&mut begin(slow), 1, 3_000);
    assert_eq!(sends(&steps), [(400, target(0)), (1_400, plain(0)), (2_400, over_tcp(0))]);
}

#[test]
fn an_answer_after_seconds_is_an_answer() {
    let mut attempts = attempts(&[0]);
    let _ = pass(&mut attempts, 1, 2_500);
    assert_eq!(
        attempts.answered(AttemptId(0), at(2_501)),
        Some(Step::Report(UpstreamId::new(0), AttemptOutcome::Answered(Duration::from_millis(2_501))))
    );
}

#[test]
fn the_primary_that_is_down_is_asked_last() {
    let last = Target { class: Class::Outage, ..target(1) };
    let steps = pass(&mut begin(Plan { last_resort: Some(last), ..plan(&[0], &[]) }), 1, 1_000);
    assert_eq!(sends(&steps)[2..], [(195, over_tcp(0)), (507, last)]);
    let all_down = Plan { last_resort: Some(last), deadline: Duration::from_millis(400), ..plan(&[], &[]) };
    assert_eq!(sends(&pass(&mut Attempts::new(policy().attempts, all_down, START), 0, 9_000)), [(0, last)]);
}

#[test]
fn without_a_target_the_attempts_end_at_once() {
    let mut none = Attempts::new(policy().attempts, plan(&[], &[]), START);
    assert_eq!(none.advance(START), [Step::End(Failure::Timeout)]);
}

#[test]
fn a_single_question_is_sent_once() {
    let single = Plan::single(target(0), Duration::from_millis(20), Duration::from_millis(400));
    let steps = pass(&mut begin(single), 1, 9_000);
    assert_eq!(sends(&steps), []);
    assert_eq!(steps.last(), Some(&(400, Step::End(Failure::Timeout))));
}

// ------------------------------------------------------------------------------ useless responses

#[test]
fn after_servfail_and_refused_the_third_is_asked_at_once() {
    let mut attempts = attempts(&[0, 1, 2]);
    assert_eq!(
        servfail(&mut attempts, 0, 3),
        [
            Step::Report(UpstreamId::new(0), AttemptOutcome::UnusableResponse(Duration::from_millis(3))),
            Step::Send(AttemptId(1), target(1))
        ]
    );
    let steps = useless(&mut attempts, 1, Failure::Refused, 6);
    assert_eq!(sent(&steps), [target(2)]);
    assert_eq!(servfail(&mut attempts, 2, 9).last(), Some(&Step::End(Failure::ServFail)));
}

#[test]
fn a_useless_response_is_asked_for_again_once() {
    let mut one = attempts(&[0]);
    assert_eq!(sent(&servfail(&mut one, 0, 3)), [target(0)]);
    assert_eq!(servfail(&mut one, 1, 6).last(), Some(&Step::End(Failure::ServFail)));
    let mut two = attempts(&[0, 1]);
    assert_eq!(sent(&servfail(&mut two, 0, 3)), [target(1)]);
    assert_eq!(sent(&servfail(&mut two, 1, 6)), [target(0)]);
    assert_eq!(servfail(&mut two, 2, 9).last(), Some(&Step::End(Failure::ServFail)));
}

#[test]
fn nonsense_is_asked_for_again_without_edns() {
    let mut attempts = attempts(&[0, 1]);
    let steps = useless(&mut attempts, 0, Failure::Malformed, 3);
    assert_eq!(sent(&steps), [plain(0)]);
    assert_eq!(sent(&useless(&mut attempts, 1, Failure::Malformed, 6)), [target(1)], "then it is somebody else's turn");
}

#[test]
fn a_useless_response_ends_nothing_while_another_may_answer() {
    let mut attempts = attempts(&[0, 1]);
    let _ = pass(&mut attempts, 1, 20);
    let steps = servfail(&mut attempts, 0, 25);
    assert!(!steps.iter().any(|step| matches!(step, Step::Send(..) | Step::End(_))), "{steps:?}");
    // The one that has not failed gets the rest.
    assert_eq!(sends(&pass(&mut attempts, 26, 300)), [(70, target(1)), (195, plain(1))]);
    let _ = servfail(&mut attempts, 1, 310);
    assert!(attempts.answered(AttemptId(2), at(320)).is_some());
}

#[test]
fn a_fallback_is_asked_at_once_when_primaries_talk_nonsense_and_later_when_they_are_silent() {
    let mut loud = begin(plan(&[0], &[8, 9]));
    let _ = servfail(&mut loud, 0, 3);
    assert_eq!(sent(&servfail(&mut loud, 1, 6)), [target(8)]);
    assert_eq!(sent(&servfail(&mut loud, 2, 9)), [target(9)], "each address");
    assert_eq!(servfail(&mut loud, 3, 12).last(), Some(&Step::End(Failure::ServFail)));
    let steps = pass(&mut begin(plan(&[0], &[8])), 1, 400);
    assert_eq!(sends(&steps)[1..], [(70, plain(0)), (195, over_tcp(0)), (195, target(8))]);
    let down = Plan { primaries: Vec::new(), ..plan(&[0], &[8]) };
    assert_eq!(sends(&pass(&mut begin(down), 1, 100)), [(20, target(8)), (70, plain(8))]);
}

#[test]
fn after_formerr_the_query_is_repeated_without_opt_and_counts() {
    let mut attempts = attempts(&[0]);
    let steps = useless(&mut attempts, 0, Failure::NotUnderstood, 3);
    assert_eq!(steps.get(1), Some(&Step::Send(AttemptId(1), plain(0))));
    let later = pass(&mut attempts, 4, 60);
    assert_eq!(sends(&later), [(20, plain(0))], "three packets at the most");
    assert!(attempts.answered(AttemptId(1), at(191)).is_some());
}

// ------------------------------------------------------------------------------- errors and limits

#[test]
fn after_a_closed_port_another_upstream_is_asked_at_once() {
    let mut attempts = attempts(&[0, 1]);
    let steps = attempts.failed(AttemptId(0), Failure::NetworkError, at(1));
    assert_eq!(steps, [Step::Report(UpstreamId::new(0), AttemptOutcome::Failed), Step::Send(AttemptId(1), target(1))]);
}

#[test]
fn a_closed_port_without_alternative_uses_up_the_sends_at_once_and_clients_get_stale_answers() {
    let mut attempts = attempts(&[0]);
    let report = Step::Report(UpstreamId::new(0), AttemptOutcome::Failed);
    for number in [1, 2] {
        let steps = attempts.failed(AttemptId(number - 1), Failure::NetworkError, at(1));
        assert_eq!(steps, [report, Step::Trouble, Step::Send(AttemptId(number), target(0))]);
    }
    let steps = attempts.failed(AttemptId(2), Failure::NetworkError, at(3));
    assert_eq!(steps, [report, Step::Trouble, Step::End(Failure::NetworkError)], "nothing is left to wait for");
}

#[test]
fn a_limit_of_our_own_is_no_failure_while_the_deadline_runs() {
    let mut attempts = attempts(&[0]);
    let (mut now, mut number) = (1, 0);
    for pause in [50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 500, 500] {
        assert_eq!(attempts.failed(AttemptId(number), Failure::LocalLimit, at(now)), [Step::Trouble]);
        let steps = pass(&mut attempts, now, now + pause);
        assert_eq!(sends(&steps), [(now + pause, target(0))]);
        (now, number) = (now + pause + 1, number + 1);
    }
    assert!(!attempts.is_later_send(AttemptId(number)), "none of them was sent");
    assert!(attempts.answered(AttemptId(number), at(now)).is_some());
}

#[test]
fn over_budget_a_first_send_waits_its_turn_and_clients_get_stale_answers() {
    let mut attempts = attempts(&[0]);
    assert_eq!(attempts.postpone(AttemptId(0), Class::Miss, at(1_050)), [Step::Trouble]);
    assert_eq!(attempts.wake_at(), at(1_050));
    assert_eq!(attempts.advance(at(1_050)), [Step::Send(AttemptId(1), target(0))]);
    assert!(!attempts.is_later_send(AttemptId(1)));
}

#[test]
fn over_budget_a_retry_waits_in_silence() {
    let mut attempts = attempts(&[0]);
    let _ = pass(&mut attempts, 1, 20);
    assert!(attempts.is_later_send(AttemptId(1)));
    assert_eq!(attempts.postpone(AttemptId(1), Class::Retry, at(9_000)), []);
    let steps = pass(&mut attempts, 21, 4_800);
    assert_eq!(steps.last(), Some(&(4_800, Step::GiveUp(Failure::Timeout))), "the first may still be answered");
}

#[test]
fn over_budget_until_after_the_deadline_is_the_end() {
    let mut attempts = attempts(&[0]);
    assert_eq!(attempts.postpone(AttemptId(0), Class::Outage, at(4_900)), [Step::End(Failure::LocalLimit)]);
}

#[test]
fn a_response_after_giving_up_starts_nothing_new() {
    let mut attempts = attempts(&[0, 1]);
    let _ = pass(&mut attempts, 1, 4_900);
    assert_eq!(sent(&servfail(&mut attempts, 0, 5_000)), []);
}
