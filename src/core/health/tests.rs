//! Tests of the health of an upstream: what each kind of evidence does in each phase.

use super::*;
use crate::core::policy::ClientResponseTimer;
use crate::core::testing::policy;

const START: Timestamp = Timestamp::from_secs(1_000_000);
const FAST: Duration = Duration::from_millis(2);
/// How long the witnesses of these tests are waited for.
const PATIENCE: Duration = Duration::from_millis(50);

fn health() -> Health {
    Health::new(policy().health)
}

fn at(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

/// Has so many witnesses testify the same, `every` milliseconds apart, from `from` on.
fn testify(health: &mut Health, testimony: Testimony, times: u64, from: u64, every: u64) {
    for index in 0..times {
        health.ask_witness(at(from + index * every));
        let _ = health.testify(testimony, FAST, at(from + index * every));
    }
}

/// An upstream that answered once, then left a client's question and two witnesses without an
/// answer.
fn impaired() -> Health {
    let mut health = health();
    let _ = health.record(AttemptOutcome::Answered(FAST), at(0));
    health.overdue(at(100));
    testify(&mut health, Testimony::Silent, 2, 200, 1);
    assert_eq!(health.state(), UpstreamState::Impaired);
    health
}

/// An upstream that was silent for more than three seconds.
fn down() -> Health {
    let mut health = impaired();
    testify(&mut health, Testimony::Silent, 4, 1_000, 1_000);
    assert_eq!(health.state(), UpstreamState::Down);
    health
}

#[test]
fn trouble_with_a_question_is_no_trouble_of_the_upstream_when_the_witness_is_answered() {
    let mut health = health();
    for round in 0..10_000 {
        let from = round * 300;
        health.overdue(at(from));
        assert!(health.wants_witness());
        health.ask_witness(at(from + 20));
        assert_eq!(health.testify(Testimony::InTime, FAST, at(from + 22)), None);
        assert!(!health.wants_witness());
        for outcome in [AttemptOutcome::Late, AttemptOutcome::TimedOut, AttemptOutcome::UnusableResponse(FAST)] {
            assert_eq!(health.record(outcome, at(from + 200)), None, "round {round}");
        }
        testify(&mut health, Testimony::InTime, 1, from + 201, 1);
    }
    assert_eq!(health.state(), UpstreamState::Healthy);
}

#[test]
fn two_silent_or_four_unusable_witnesses_in_a_row_impair() {
    for (testimony, number) in [(Testimony::Silent, 2), (Testimony::Unusable, 4)] {
        let mut health = health();
        health.overdue(at(0));
        assert_eq!(health.state(), UpstreamState::Healthy, "suspicion alone changes nothing");
        for _ in 1..number {
            assert_eq!(health.testify(testimony, PATIENCE, at(70)), None);
            assert_eq!(health.next_witness(0, at(70)), Some(Duration::ZERO), "the next one at once");
        }
        assert_eq!(
            health.testify(testimony, PATIENCE, at(120)),
            Some(Transition { from: UpstreamState::Healthy, to: UpstreamState::Impaired })
        );
    }
}

#[test]
fn garbage_ends_a_silence_and_raises_no_suspicion() {
    let mut health = health();
    assert_eq!(health.record(AttemptOutcome::Garbage(FAST), at(0)), None);
    assert!(!health.wants_witness());
    let mut down = down();
    let change = down.record(AttemptOutcome::Garbage(FAST), at(9_000));
    assert_eq!(change, Some(Transition { from: UpstreamState::Down, to: UpstreamState::Impaired }));
}

#[test]
fn a_poor_witness_proves_nothing_when_something_else_was_answered() {
    let mut health = health();
    health.overdue(at(0));
    let _ = health.record(AttemptOutcome::Answered(FAST), at(30));
    assert_eq!(health.testify(Testimony::Silent, PATIENCE, at(70)), None);
    assert_eq!((health.state(), health.wants_witness()), (UpstreamState::Healthy, false));
}

#[test]
fn a_response_to_a_question_that_was_never_answered_shows_only_that_the_upstream_is_there() {
    let mut health = health();
    health.overdue(at(0));
    assert_eq!(health.testify(Testimony::Inconclusive, FAST, at(30)), None);
    assert!(!health.wants_witness());
    let mut ill = impaired();
    testify(&mut ill, Testimony::Inconclusive, 50, 1_000, 100);
    assert_eq!(ill.state(), UpstreamState::Impaired, "it does not heal either");
}

#[test]
fn a_fifth_of_twenty_witnesses_impairs_though_others_are_answered() {
    let share = |every: u64| {
        let mut health = health();
        for index in 1..=60_u64 {
            health.overdue(at(index * 100));
            let _ = health.record(AttemptOutcome::Answered(FAST), at(index * 100 + 1));
            let testimony = if index % every == 0 { Testimony::Silent } else { Testimony::InTime };
            let _ = health.testify(testimony, FAST, at(index * 100 + 50));
        }
        health.state()
    };
    assert_eq!((share(4), share(10)), (UpstreamState::Impaired, UpstreamState::Healthy));
}

#[test]
fn three_witnesses_in_a_row_heal_whatever_becomes_of_clients_questions() {
    let mut health = impaired();
    testify(&mut health, Testimony::InTime, 2, 1_000, 100);
    let _ = health.record(AttemptOutcome::TimedOut, at(1_150));
    assert_eq!(health.state(), UpstreamState::Impaired);
    testify(&mut health, Testimony::InTime, 1, 1_200, 100);
    assert_eq!(health.state(), UpstreamState::Healthy);
}

#[test]
fn answers_to_clients_alone_heal_nothing() {
    let mut health = impaired();
    for index in 0..100 {
        let _ = health.record(AttemptOutcome::Answered(FAST), at(1_000 + index));
    }
    assert_eq!(health.state(), UpstreamState::Impaired);
}

#[test]
fn only_a_long_silence_with_two_witnesses_opens_the_breaker() {
    let mut health = impaired();
    for index in 0..100 {
        let _ = health.record(AttemptOutcome::TimedOut, at(300 + index * 100));
    }
    assert_eq!(health.state(), UpstreamState::Down);
    let mut short = impaired();
    testify(&mut short, Testimony::Silent, 20, 210, 100);
    assert_eq!(short.state(), UpstreamState::Impaired, "two seconds are not enough");
}

#[test]
fn an_upstream_whose_every_answer_takes_seconds_is_impaired_and_never_down() {
    let mut health = impaired();
    for index in 0..100_u64 {
        let from = 1_000 + index * 1_000;
        testify(&mut health, Testimony::Silent, 1, from, 1);
        for query in 0..20 {
            let _ = health.record(AttemptOutcome::TimedOut, at(from + query * 40));
        }
        // The answer to the witness before, 2.5 s late.
        let _ = health.testify(Testimony::Late, Duration::from_millis(2_500), at(from + 900));
        assert_eq!(health.state(), UpstreamState::Impaired);
    }
}

#[test]
fn network_errors_are_the_upstreams_own_word() {
    let mut health = health();
    let first = health.record(AttemptOutcome::Failed, at(0));
    assert_eq!(first, Some(Transition { from: UpstreamState::Healthy, to: UpstreamState::Impaired }));
    assert_eq!(health.record(AttemptOutcome::Failed, at(10)), None);
    let third = health.record(AttemptOutcome::Failed, at(20));
    assert_eq!(third, Some(Transition { from: UpstreamState::Impaired, to: UpstreamState::Down }));
}

#[test]
fn any_response_between_network_errors_keeps_the_breaker_closed() {
    let mut health = health();
    for round in 0..20 {
        for index in 0..2 {
            let _ = health.record(AttemptOutcome::Failed, at(round * 100 + index));
        }
        let _ = health.record(AttemptOutcome::UnusableResponse(FAST), at(round * 100 + 50));
        assert_eq!(health.state(), UpstreamState::Impaired);
    }
}

#[test]
fn any_response_closes_the_breaker_and_three_witnesses_heal() {
    for outcome in [AttemptOutcome::Answered(Duration::from_secs(3)), AttemptOutcome::UnusableResponse(FAST)] {
        let mut health = down();
        let back = health.record(outcome, at(9_000));
        assert_eq!(back, Some(Transition { from: UpstreamState::Down, to: UpstreamState::Impaired }));
        testify(&mut health, Testimony::InTime, 3, 9_100, 100);
        assert_eq!(health.state(), UpstreamState::Healthy);
    }
}

#[test]
fn a_half_healed_upstream_does_not_flap() {
    let mut health = impaired();
    let mut changes = 0;
    for index in 0..2_000_u64 {
        // A fixed pattern with half of the witnesses lost, in uneven runs.
        let lost = (index * 2_654_435_761) >> 7 & 1 == 0;
        let now = at(1_000 + index * 100);
        let testimony = if lost { Testimony::Silent } else { Testimony::InTime };
        health.overdue(now);
        changes += u64::from(health.testify(testimony, FAST, now).is_some());
    }
    assert!(changes <= 12, "{changes} changes of state in 200 s");
}

#[test]
fn a_breaker_that_opens_again_within_a_minute_takes_twice_the_silence() {
    let mut health = down();
    let _ = health.testify(Testimony::InTime, FAST, at(9_000));
    testify(&mut health, Testimony::Silent, 5, 10_000, 1_000);
    assert_eq!(health.state(), UpstreamState::Down);
    let _ = health.testify(Testimony::InTime, FAST, at(20_000));
    testify(&mut health, Testimony::Silent, 9, 21_000, 1_000);
    assert_eq!(health.state(), UpstreamState::Impaired);
    testify(&mut health, Testimony::Silent, 1, 30_000, 1_000);
    assert_eq!(health.state(), UpstreamState::Down);
}

#[test]
fn the_timer_adapts_between_its_bounds_and_a_witness_gets_at_least_50_ms() {
    let adaptive = policy().stale.client_response_timer;
    let mut health = health();
    assert_eq!(health.client_response_timer(adaptive), Duration::from_millis(200), "nothing is known yet");
    for index in 0..100 {
        let _ = health.record(AttemptOutcome::Answered(Duration::from_micros(300)), at(index));
    }
    assert_eq!(health.client_response_timer(adaptive), Duration::from_millis(20));
    assert_eq!(health.witness_patience(adaptive), Duration::from_millis(50));
    for index in 0..300 {
        let _ = health.record(AttemptOutcome::Answered(Duration::from_millis(10)), at(5_000 + index));
    }
    let timer = health.client_response_timer(adaptive);
    assert!(timer > Duration::from_millis(75) && timer < Duration::from_millis(100), "{timer:?}");
    assert_eq!(health.client_response_timer(ClientResponseTimer::Fixed(Duration::ZERO)), Duration::ZERO);
}

#[test]
fn responses_without_answer_do_not_make_the_upstream_seem_slow() {
    let mut health = health();
    let _ = health.record(AttemptOutcome::Answered(FAST), at(0));
    for index in 0..100 {
        let _ = health.record(AttemptOutcome::UnusableResponse(Duration::from_secs(3)), at(index));
    }
    assert!(health.p99() < Some(Duration::from_millis(3)), "{:?}", health.p99());
}

#[test]
fn witnesses_are_wanted_at_once_then_every_second_and_quickly_while_they_are_answered() {
    let millis = |health: &Health, now: u64| health.next_witness(200, at(now)).map(|wait| wait.as_millis());
    let mut health = health();
    assert_eq!(millis(&health, 0), None, "none while healthy");
    let _ = health.record(AttemptOutcome::Answered(FAST), at(0));
    health.overdue(at(10));
    assert_eq!(millis(&health, 30), Some(0));
    let mut waits = Vec::new();
    for now in [100, 200, 300, 400, 1_400] {
        health.ask_witness(at(now));
        let _ = health.testify(Testimony::Silent, PATIENCE, at(now));
        waits.push(millis(&health, now).unwrap());
    }
    assert_eq!(waits, [0, 100, 100, 100, 1_000]);
    testify(&mut health, Testimony::InTime, 1, 2_400, 1);
    assert_eq!(millis(&health, 2_400), Some(125), "it answers again");
    let mut dead = down();
    let waits = [200, 0, 400, 200].map(|chance| {
        dead.ask_witness(at(5_000));
        dead.next_witness(chance, at(5_000)).unwrap().as_millis()
    });
    assert_eq!(waits, [1_500, 1_600, 2_400, 2_000], "at least every 2.4 s");
}

#[test]
fn a_resumed_illness_is_doubted_at_once() {
    let mut health = health();
    health.resume(UpstreamState::Down, at(0), Some(FAST));
    assert_eq!((health.state(), health.next_witness(0, at(500))), (UpstreamState::Down, Some(Duration::ZERO)));
    assert!(health.p99().is_some());
    testify(&mut health, Testimony::InTime, 3, 500, 1);
    assert_eq!(health.state(), UpstreamState::Healthy);
}
