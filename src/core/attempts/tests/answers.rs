//! Truncated answers and denials: what is done with answers that may not be the last word.

use super::*;

#[test]
fn a_truncated_answer_is_asked_for_over_tcp_and_a_dead_tcp_ends_it() {
    let mut attempts = attempts(&[0]);
    let steps = attempts.truncated_response(AttemptId(0), TruncatedAnswer::Usable, at(3));
    assert_eq!(steps.get(1), Some(&Step::Send(AttemptId(1), over_tcp(0))));
    let steps = attempts.failed(AttemptId(1), Failure::NetworkError, at(6));
    assert_eq!(steps, [Step::Trouble, Step::End(Failure::NetworkError)], "not a word to the health");
}

#[test]
fn a_silent_tcp_says_nothing_about_an_upstream_that_answers_over_udp() {
    let mut attempts = attempts(&[0]);
    let _ = attempts.truncated_response(AttemptId(0), TruncatedAnswer::Usable, at(3));
    let steps = pass(&mut attempts, 4, 1_000);
    assert_eq!(steps, [(403, Step::GiveUp(Failure::Timeout))], "then the truncated answer is given");
}

#[test]
fn when_tcp_is_dead_another_upstream_may_have_the_whole_answer() {
    let mut attempts = attempts(&[0, 1]);
    let _ = attempts.truncated_response(AttemptId(0), TruncatedAnswer::Usable, at(3));
    assert_eq!(sent(&attempts.failed(AttemptId(1), Failure::NetworkError, at(4))), [target(1)]);
}

#[test]
fn truncated_to_nothing_is_no_answer() {
    let mut attempts = attempts(&[0, 1]);
    let _ = attempts.truncated_response(AttemptId(0), TruncatedAnswer::Empty, at(3));
    let steps = pass(&mut attempts, 4, 4_000);
    assert_eq!(sends(&steps).first(), Some(&(403, target(1))));
    assert!(!steps.iter().any(|(_, step)| matches!(step, Step::GiveUp(_))), "{steps:?}");
}

#[test]
fn the_denial_of_the_first_counts_at_once() {
    let mut attempts = attempts(&[0, 1]);
    let report = Step::Report(UpstreamId::new(0), AttemptOutcome::Answered(Duration::from_millis(3)));
    let steps = attempts.denied(AttemptId(0), at(3));
    assert_eq!(steps, [report, Step::Take(AttemptId(0)), Step::End(Failure::Timeout)]);
}

#[test]
fn a_later_denial_waits_until_the_earlier_server_was_silent_through_all_its_attempts() {
    let mut attempts = attempts(&[0, 1]);
    let _ = pass(&mut attempts, 1, 20);
    let steps = attempts.denied(AttemptId(1), at(21));
    assert!(!steps.iter().any(|step| matches!(step, Step::Take(_) | Step::Send(..))), "{steps:?}");
    let steps = pass(&mut attempts, 22, 700);
    assert_eq!(sends(&steps), [(70, plain(0)), (195, over_tcp(0))], "nobody else is asked");
    assert_eq!(takes(&steps), Some(595));
    // The earlier one may still contradict, and is listened to; nothing more is sent.
    let steps = pass(&mut attempts, 701, 3_000);
    assert_eq!(sends(&steps), []);
    assert!(attempts.answered(AttemptId(0), at(3_001)).is_some());
}

#[test]
fn a_later_denial_counts_when_the_earlier_server_fails_aloud() {
    let mut refused = attempts(&[0, 1]);
    let _ = refused.failed(AttemptId(0), Failure::NetworkError, at(1));
    let steps = refused.denied(AttemptId(1), at(3));
    assert_eq!(steps[1..], [Step::Take(AttemptId(1)), Step::End(Failure::NetworkError)]);
    // After one SERVFAIL it is asked again: it may know better.
    let mut useless = attempts(&[0, 1]);
    let _ = servfail(&mut useless, 0, 1);
    assert_eq!(sent(&useless.denied(AttemptId(1), at(3))), [target(0)]);
    assert_eq!(servfail(&mut useless, 2, 5)[1..], [Step::Take(AttemptId(1)), Step::End(Failure::ServFail)]);
}

#[test]
fn an_earlier_server_that_was_not_asked_is_asked_at_once() {
    // The earlier one is impaired, and would have come second.
    let mut attempts = attempts(&[1, 0]);
    assert_eq!(sent(&attempts.denied(AttemptId(0), at(3))), [target(0)]);
    let steps = attempts.denied(AttemptId(1), at(5));
    assert_eq!(steps[1..], [Step::Take(AttemptId(1)), Step::End(Failure::Timeout)], "its own denial is the one");
}

#[test]
fn nobody_waits_for_an_earlier_server_that_is_down() {
    let mut one_down = plan(&[1], &[]);
    one_down.listed.insert(0, Listed { upstream: UpstreamId::new(0), patience: None });
    let mut attempts = begin(one_down);
    let steps = attempts.denied(AttemptId(0), at(3));
    assert_eq!(steps[1..], [Step::Take(AttemptId(0)), Step::End(Failure::Timeout)]);
}

#[test]
fn a_positive_answer_of_a_later_server_is_taken_at_once() {
    let mut attempts = attempts(&[0, 1]);
    let _ = pass(&mut attempts, 1, 20);
    assert!(attempts.answered(AttemptId(1), at(21)).is_some());
}

#[test]
fn a_fallback_denies_nothing() {
    let mut attempts = begin(plan(&[0], &[8]));
    let _ = servfail(&mut attempts, 0, 3);
    let _ = servfail(&mut attempts, 1, 6);
    let steps = attempts.denied(AttemptId(2), at(9));
    assert_eq!(steps.last(), Some(&Step::End(Failure::ServFail)));
    // A slow primary is waited for.
    let mut slow = begin(plan(&[0], &[8]));
    let _ = pass(&mut slow, 1, 195);
    let steps = slow.denied(AttemptId(4), at(196));
    assert!(!steps.iter().any(|step| matches!(step, Step::Take(_) | Step::End(_))), "{steps:?}");
    let steps = pass(&mut slow, 197, 4_800);
    assert_eq!((takes(&steps), steps.last()), (None, Some(&(4_800, Step::GiveUp(Failure::Timeout)))));
}

#[test]
fn a_truncated_answer_of_an_earlier_server_is_not_denied() {
    let mut attempts = attempts(&[0, 1]);
    let _ = pass(&mut attempts, 1, 20);
    let _ = attempts.truncated_response(AttemptId(0), TruncatedAnswer::Usable, at(21));
    let _ = attempts.denied(AttemptId(1), at(22));
    let steps = pass(&mut attempts, 23, 5_000);
    assert_eq!((takes(&steps), steps.last()), (None, Some(&(421, Step::GiveUp(Failure::Timeout)))));
}
