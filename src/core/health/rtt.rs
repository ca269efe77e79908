//! A smoothed percentile of round-trip times: a histogram on a logarithmic scale in which older
//! times count less and less.
//!
//! The scale has four steps to the octave from 64 µs to 7 s, which makes an error of at most 19 %.
//! After every 256 round trips all counts are halved, so that the last few hundred decide. All of
//! it takes 140 bytes and never allocates.

use std::time::Duration;

/// Steps of the scale.
const STEPS: usize = 68;
/// The upper end of the first step, in microseconds.
const FIRST_MICROS: f64 = 64.0;
/// Round trips after which all earlier ones count half.
const HALVE_EVERY: u16 = 256;

/// Counts of round-trip times by step of the scale.
#[derive(Debug)]
pub(super) struct RoundTrips {
    counts: [u16; STEPS],
    /// Sum of `counts`.
    total: u16,
    since_halving: u16,
}

impl Default for RoundTrips {
    fn default() -> Self {
        Self { counts: [0; STEPS], total: 0, since_halving: 0 }
    }
}

impl RoundTrips {
    /// Adds one round-trip time.
    pub(super) fn add(&mut self, time: Duration) {
        if self.since_halving >= HALVE_EVERY {
            self.since_halving = 0;
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().sum();
        }
        if let Some(count) = self.counts.get_mut(step(time)) {
            *count += 1;
            self.total += 1;
            self.since_halving += 1;
        }
    }

    /// The upper end of the step in which the 99th percentile lies; `None` before the first time
    /// was added.
    pub(super) fn p99(&self) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let above = self.total / 100;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate().rev() {
            seen += count;
            if seen > above {
                return Some(upper_end(index));
            }
        }
        None
    }
}

/// The step of the scale in which a time lies; the last one for all longer times.
fn step(time: Duration) -> usize {
    let micros = time.as_secs_f64() * 1e6;
    if micros <= FIRST_MICROS {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and limited to the scale")]
    let step = ((micros / FIRST_MICROS).log2() * 4.0).ceil() as usize;
    step.min(STEPS - 1)
}

fn upper_end(step: usize) -> Duration {
    let octaves = f64::from(u32::try_from(step).unwrap_or_default()) / 4.0;
    Duration::from_secs_f64(FIRST_MICROS * octaves.exp2() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_within_a_step_of_the_truth() {
        let mut times = RoundTrips::default();
        for micros in 1..=200_u64 {
            times.add(Duration::from_micros(micros * 100));
        }
        let p99 = times.p99().expect("answers");
        assert!(p99 >= Duration::from_micros(19_800) && p99 < Duration::from_micros(24_000), "{p99:?}");
    }

    #[test]
    fn one_slow_answer_in_two_hundred_does_not_move_the_percentile_and_old_times_fade() {
        let mut times = RoundTrips::default();
        times.add(Duration::from_secs(3));
        for _ in 0..200 {
            times.add(Duration::from_millis(1));
        }
        assert!(times.p99().expect("answers") < Duration::from_millis(2));
        for _ in 0..2000 {
            times.add(Duration::from_millis(50));
        }
        assert!(times.p99().expect("answers") > Duration::from_millis(45));
    }

    #[test]
    fn extremes_stay_on_the_scale() {
        let mut times = RoundTrips::default();
        assert_eq!(times.p99(), None);
        times.add(Duration::MAX);
        assert!(times.p99().expect("an answer") > Duration::from_secs(6));
        times.add(Duration::ZERO);
    }
}
