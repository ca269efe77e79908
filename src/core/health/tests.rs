//! Tests each row of the table in [`super`], and mixtures of outcomes.

use super::*;
use crate::core::suffix::SuffixHash;
use crate::core::testing::policy;

const START: Timestamp = Timestamp::from_secs(1_000_000);
const FAST: Duration = Duration::from_millis(2);

fn health() -> Health {
    Health::new(policy().health)
}

fn at(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

/// Reports an outcome several times in a row, 10 ms apart, from `from` on.
fn repeat(health: &mut Health, outcome: AttemptOutcome, times: u64, from: u64) {
    for index in 0..times {
        let _ = health.record(outcome, at(from + index * 10));
    }
}

#[test]
fn five_failures_in_a_row_open_the_breaker() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::Failed, 4, 0);
    assert_eq!(health.state(), UpstreamState::Impaired);
    assert_eq!(
        health.record(AttemptOutcome::Failed, at(50)),
        Some(Transition { from: UpstreamState::Impaired, to: UpstreamState::Down })
    );
}

#[test]
fn any_response_between_failures_keeps_the_breaker_closed() {
    let mut health = health();
    for round in 0..20 {
        repeat(&mut health, AttemptOutcome::Failed, 4, round * 100);
        let _ = health.record(AttemptOutcome::UnusableResponse(FAST, SuffixHash::new(1)), at(round * 100 + 50));
    }
    assert_eq!(health.state(), UpstreamState::Impaired);
}

#[test]
fn two_failures_in_a_row_impair_and_three_successes_heal() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::Answered(FAST), 20, 0);
    repeat(&mut health, AttemptOutcome::Failed, 2, 1000);
    assert_eq!(health.state(), UpstreamState::Impaired);
    repeat(&mut health, AttemptOutcome::Answered(FAST), 2, 2000);
    assert_eq!(health.state(), UpstreamState::Impaired);
    repeat(&mut health, AttemptOutcome::Answered(FAST), 1, 2100);
    assert_eq!(health.state(), UpstreamState::Healthy);
}

#[test]
fn a_fifth_of_failures_among_twenty_impairs() {
    let mut health = health();
    for index in 0..40_u64 {
        let outcome = if index % 4 == 0 { AttemptOutcome::Failed } else { AttemptOutcome::Answered(FAST) };
        let _ = health.record(outcome, at(index * 10));
    }
    assert_eq!(health.state(), UpstreamState::Impaired);
    let mut rarer = Health::new(policy().health);
    for index in 0..60_u64 {
        let outcome = if index % 10 == 9 { AttemptOutcome::Failed } else { AttemptOutcome::Answered(FAST) };
        let _ = rarer.record(outcome, at(index * 10));
    }
    assert_eq!(rarer.state(), UpstreamState::Healthy);
}

#[test]
fn an_overdue_attempt_impairs_until_the_next_answer() {
    let mut health = health();
    let _ = health.record(AttemptOutcome::Answered(FAST), at(0));
    assert_eq!(health.overdue(at(10)), Some(Transition { from: UpstreamState::Healthy, to: UpstreamState::Impaired }));
    assert_eq!(
        health.record(AttemptOutcome::Answered(FAST), at(40)),
        Some(Transition { from: UpstreamState::Impaired, to: UpstreamState::Healthy })
    );
    assert_eq!(health.overdue(at(20)), None, "something was answered since");
}

#[test]
fn an_upstream_that_is_always_late_is_impaired_not_down() {
    let mut health = health();
    for index in 0..30_u64 {
        let _ = health.record(AttemptOutcome::Late, at(index * 100));
        let _ = health.record(AttemptOutcome::TimedOut, at(index * 100 + 20));
        let _ = health.record(AttemptOutcome::Answered(Duration::from_secs(2)), at(index * 100 + 50));
    }
    assert_eq!(health.state(), UpstreamState::Impaired);
}

#[test]
fn servfail_for_one_suffix_is_no_outage() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::UnusableResponse(FAST, SuffixHash::new(7)), 500, 0);
    assert_eq!(health.state(), UpstreamState::Healthy);
}

#[test]
fn servfail_for_everything_is_an_outage_that_only_an_answer_ends() {
    let mut health = health();
    for suffix in 0..5 {
        let _ = health.record(AttemptOutcome::UnusableResponse(FAST, SuffixHash::new(suffix)), at(suffix));
    }
    assert_eq!(health.state(), UpstreamState::Down);
    let _ = health.record(AttemptOutcome::UnusableResponse(FAST, SuffixHash::new(9)), at(100));
    assert_eq!(health.state(), UpstreamState::Down);
    let _ = health.record(AttemptOutcome::Answered(FAST), at(200));
    assert_eq!(health.state(), UpstreamState::Impaired);
}

#[test]
fn fifteen_percent_of_servfail_change_nothing() {
    let mut health = health();
    for index in 0..1000_u64 {
        let outcome = if index % 7 == 0 {
            AttemptOutcome::UnusableResponse(FAST, SuffixHash::new(index))
        } else {
            AttemptOutcome::Answered(FAST)
        };
        assert_eq!(health.record(outcome, at(index * 10)), None);
    }
}

#[test]
fn recovery_takes_three_successes() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::Failed, 30, 0);
    assert_eq!(health.state(), UpstreamState::Down);
    let first = health.record(AttemptOutcome::Answered(FAST), at(5_000));
    assert_eq!(first, Some(Transition { from: UpstreamState::Down, to: UpstreamState::Impaired }));
    repeat(&mut health, AttemptOutcome::Answered(FAST), 1, 5_010);
    assert_eq!(health.state(), UpstreamState::Impaired);
    repeat(&mut health, AttemptOutcome::Answered(FAST), 1, 5_020);
    assert_eq!(health.state(), UpstreamState::Healthy);
}

#[test]
fn a_half_healed_upstream_does_not_flap() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::Failed, 10, 0);
    let mut changes = 0;
    for index in 0..20_000_u64 {
        // A fixed pattern with half of the attempts lost, in uneven runs.
        let lost = (index * 2_654_435_761) >> 7 & 1 == 0;
        let outcome = if lost { AttemptOutcome::Failed } else { AttemptOutcome::Answered(FAST) };
        changes += u64::from(health.record(outcome, at(1_000 + index * 10)).is_some());
    }
    assert!(changes <= 12, "{changes} changes of state in 200 s");
}

#[test]
fn an_impairment_without_attempts_is_forgotten() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::Failed, 2, 0);
    assert_eq!(health.review(at(20_000)), None);
    assert!(health.review(at(31_000)).is_some());
    assert_eq!(health.state(), UpstreamState::Healthy);
}

#[test]
fn a_breaker_is_not_forgotten() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::Failed, 5, 0);
    assert_eq!(health.review(at(3_600_000)), None);
}

#[test]
fn the_timer_adapts_between_its_bounds() {
    let adaptive = policy().stale.client_response_timer;
    let mut health = health();
    assert_eq!(health.client_response_timer(adaptive), Duration::from_millis(200), "nothing is known yet");
    repeat(&mut health, AttemptOutcome::Answered(Duration::from_micros(300)), 100, 0);
    assert_eq!(health.client_response_timer(adaptive), Duration::from_millis(20));
    repeat(&mut health, AttemptOutcome::Answered(Duration::from_millis(10)), 300, 5_000);
    let timer = health.client_response_timer(adaptive);
    assert!(timer > Duration::from_millis(75) && timer < Duration::from_millis(100), "{timer:?}");
    assert_eq!(health.client_response_timer(ClientResponseTimer::Fixed(Duration::ZERO)), Duration::ZERO);
}

#[test]
fn probes_slow_down_and_stay_within_a_fifth() {
    let mut health = health();
    repeat(&mut health, AttemptOutcome::Failed, 5, 0);
    assert_eq!(health.next_probe(200), Duration::from_secs(1));
    assert_eq!(health.next_probe(0), Duration::from_millis(1_200));
    assert_eq!(health.next_probe(400), Duration::from_millis(2_400));
    assert_eq!(health.next_probe(200), Duration::from_secs(2));
    let _ = health.record(AttemptOutcome::Answered(FAST), at(9_000));
    assert_eq!(
        (health.next_probe(200), health.next_probe(200)),
        (Duration::from_millis(250), Duration::from_millis(250)),
        "it answers again"
    );
}

#[test]
fn a_long_row_of_successes_outweighs_a_window_full_of_failures() {
    let mut health = health();
    for round in 0..100 {
        repeat(&mut health, AttemptOutcome::Failed, 1, round * 20);
        let _ = health.record(AttemptOutcome::Answered(FAST), at(round * 20 + 10));
    }
    assert_eq!(health.state(), UpstreamState::Impaired);
    repeat(&mut health, AttemptOutcome::Answered(FAST), 16, 2_000);
    assert_eq!(health.state(), UpstreamState::Impaired, "half of all attempts in the last ten seconds failed");
    repeat(&mut health, AttemptOutcome::Answered(FAST), 2, 2_200);
    assert_eq!(health.state(), UpstreamState::Healthy);
    let _ = health.record(AttemptOutcome::Failed, at(2_300));
    assert_eq!(health.state(), UpstreamState::Healthy, "the failures from before no longer count");
}
