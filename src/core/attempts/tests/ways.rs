//! The ways in which a question is asked: with or without OPT, and over TCP because of near misses.

use super::*;

#[test]
fn silence_is_answered_by_a_query_without_opt_where_that_loses_nothing() {
    let of = |own: Target| Plan { primaries: vec![own], rescues: 0, rounds: 1, ..plan(&[0], &[]) };
    let extensions = |plan: Plan| {
        let mut attempts = Attempts::new(policy().attempts, plan, START);
        sends(&pass(&mut attempts, 0, 1_000)).iter().map(|(_, target)| target.extension).collect::<Vec<_>>()
    };
    let (with, without) = (Extension::Edns, Extension::Plain);
    let doubted = Target { trust: EdnsTrust::Doubted, extension: without, ..target(0) };
    assert_eq!(extensions(of(target(0))), [with, with, without]);
    assert_eq!(extensions(of(open(0))), [with, with, without]);
    assert_eq!(extensions(of(doubted)), [without; 3]);
    // A client that wants signatures can use nothing else, if there is anything else.
    assert_eq!(extensions(of(target(0)).with_signatures()), [with; 3], "it knows EDNS, and packets get lost");
    assert_eq!(extensions(of(open(0)).with_signatures()), [with, with, without]);
    assert_eq!(extensions(of(doubted).with_signatures()), [with, without, without]);
}

#[test]
fn of_several_upstreams_that_drop_opt_one_is_asked_without_it() {
    let primaries = [open(0), open(1), open(2)];
    let mut attempts = begin(Plan { primaries: primaries.to_vec(), ..plan(&[0, 1, 2], &[]) });
    let steps = sends(&pass(&mut attempts, 1, 4_000));
    let without = |own: Target| Target { extension: Extension::Plain, ..own };
    assert_eq!(steps[..2], [(20, open(1)), (70, without(open(2)))]);
    // Over TCP there is nothing to lose, and then each is asked without.
    assert!(steps[2..].iter().all(|(_, target)| target.extension == Extension::Plain), "{steps:?}");
    assert_eq!(steps[2..].iter().filter(|(_, target)| target.transport == Transport::Udp).count(), 3);
}

#[test]
fn an_answer_suggests_something_about_edns_only_after_a_query_with_opt_was_not_answered() {
    let mut silent = attempts(&[0]);
    let _ = pass(&mut silent, 1, 200);
    assert_eq!([0, 1, 2, 3].map(|number| silent.suggests_plain(AttemptId(number))), [false, false, true, false]);
    let mut old = attempts(&[0]);
    let _ = useless(&mut old, 0, Failure::NotUnderstood, 1);
    assert!(old.suggests_plain(AttemptId(1)));
    let mut others = begin(Plan { primaries: vec![open(0), open(1), open(2)], ..plan(&[0, 1, 2], &[]) });
    let _ = pass(&mut others, 1, 100);
    assert!(!others.suggests_plain(AttemptId(2)), "this upstream was not asked with OPT");
}

#[test]
fn a_response_without_opt_to_a_query_with_one_is_asked_for_again_without() {
    let servfail = |plan: Plan| {
        let mut attempts = begin(plan);
        sent(&attempts.failed_response(AttemptId(0), Failure::ServFail, Extension::Plain, at(3)))
    };
    assert_eq!(servfail(plan(&[0], &[])), [plain(0)]);
    assert_eq!(servfail(plan(&[0], &[]).with_signatures()), [target(0)], "nothing else is of use");
}

#[test]
fn what_somebody_tries_to_answer_is_asked_over_tcp_once_and_the_true_answer_is_still_taken() {
    let mut attempts = attempts(&[0, 1]);
    assert_eq!(attempts.near_missed(AttemptId(0), at(3)), [Step::Send(AttemptId(1), over_tcp(0))]);
    assert_eq!(attempts.near_missed(AttemptId(0), at(4)), []);
    let steps = pass(&mut attempts, 5, 200);
    assert_eq!(sends(&steps), [(20, target(1)), (70, plain(0)), (195, over_tcp(1))], "the plan goes on");
    assert_eq!(attempts.near_missed(AttemptId(3), at(201)), [], "nor again at another port of the same upstream");
    // That nobody listens on TCP is not held against the upstream.
    assert_eq!(attempts.failed(AttemptId(1), Failure::NetworkError, at(202)), [Step::Trouble]);
    assert!(attempts.answered(AttemptId(0), at(300)).is_some());
}

#[test]
fn a_near_miss_sends_nothing_after_the_end_of_an_attempt_or_the_deadline() {
    let mut over = attempts(&[0, 1]);
    let _ = servfail(&mut over, 0, 3);
    assert_eq!(over.near_missed(AttemptId(0), at(4)), []);
    let mut late = attempts(&[0]);
    let _ = pass(&mut late, 1, 4_900);
    assert_eq!(late.near_missed(AttemptId(0), at(4_901)), []);
}

#[test]
fn a_truncated_answer_waits_for_the_tcp_that_a_near_miss_began() {
    let mut attempts = attempts(&[0]);
    let _ = attempts.near_missed(AttemptId(0), at(3));
    assert_eq!(sent(&attempts.truncated_response(AttemptId(0), TruncatedAnswer::Usable, at(5))), []);
    let steps = pass(&mut attempts, 6, 1_000);
    assert_eq!(steps, [(405, Step::GiveUp(Failure::Timeout))], "then the truncated answer is given");
}
