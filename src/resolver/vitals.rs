//! The vital signs of the process: whether what answers, resolves and recovers is still at work.
//!
//! A health check is answered by a thread that has nothing to do with the runtime, so its answer
//! alone would say "ready" while nothing behind it moves any more. Therefore the answer depends on
//! these signs, and on nothing else: what an upstream does is no reason to restart the process that
//! bridges its outage.
//!
//! | sign | the process is stalled when |
//! |---|---|
//! | the heartbeat: once a second, by the review of the upstreams | it is older than [`BEAT_WITHIN`] |
//! | the tasks that run for good, each under [`supervise`] | one has kept failing for that long |
//!
//! A task that panics is logged, counted and started again, after a pause that doubles from
//! [`PAUSE_MIN`] to [`PAUSE_MAX`]. A task that returns has ended as it is meant to: those that must
//! not end are loops without an exit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::core::special::Readiness;
use crate::core::time::Timestamp;
use crate::telemetry::counters::Counters;
use crate::telemetry::events;
use crate::telemetry::tasks::LongTask;

/// Age from which the last heartbeat, or the failure of a task, is too old.
const BEAT_WITHIN: Duration = Duration::from_secs(2);
/// Age from which a task that was started again counts as well.
const WELL_AFTER: Duration = Duration::from_secs(1);
/// Pause before a task that has failed is started again for the first time.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest such pause, below [`BEAT_WITHIN`].
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The time that stands for "not failing".
const WELL: u64 = u64::MAX;

/// The vital signs of one sidecar.
pub struct Vitals {
    /// The clock.
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// When the heart last beat, in microseconds.
    beat: AtomicU64,
    /// By task: since when it has been failing, in microseconds, else [`WELL`].
    failing_since: Vec<AtomicU64>,
    restarts: Counters<LongTask>,
}

impl Vitals {
    /// The signs of a process that was just started.
    pub(super) fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let beat = AtomicU64::new(now().as_micros());
        let failing_since = LongTask::ALL.iter().map(|_| AtomicU64::new(WELL)).collect();
        Self { now: Box::new(now), beat, failing_since, restarts: Counters::default() }
    }

    /// Takes note that the review of the upstreams is at work.
    pub(super) fn beat(&self, now: Timestamp) {
        self.beat.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Readiness as a health check sees it: what the start waits for, unless the process is
    /// stalled.
    pub(super) fn readiness(&self, of_start: Readiness, now: Timestamp) -> Readiness {
        let is_old = |since: &AtomicU64| {
            let since = since.load(Ordering::Relaxed);
            since != WELL && now.since(Timestamp::from_micros(since)) > BEAT_WITHIN
        };
        if is_old(&self.beat) || self.failing_since.iter().any(is_old) { Readiness::Stalled } else { of_start }
    }

    /// How often each task was started again.
    #[must_use]
    pub const fn restarts(&self) -> &Counters<LongTask> {
        &self.restarts
    }

    /// Counts and logs that a task has failed and is started again.
    pub fn note_failure(&self, task: LongTask, reason: &str) {
        if let Some(since) = self.failing_since.get(task.index()) {
            let now = (self.now)().as_micros();
            let _ = since.compare_exchange(WELL, now, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.restarts.count(task);
        events::TaskRestarted { task: task.label(), reason }.emit();
    }

    /// Takes note that a task is at work again.
    pub fn note_well(&self, task: LongTask) {
        if let Some(since) = self.failing_since.get(task.index()) {
            since.store(WELL, Ordering::Relaxed);
        }
    }
}

/// Runs a task until it returns, and starts it again whenever it panics.
///
/// Cancel safe: the task ends with this future.
pub async fn supervise<F>(task: LongTask, vitals: Arc<Vitals>, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut pause = PAUSE_MIN;
    loop {
        let mut running = JoinSet::new();
        running.spawn(start());
        let ended = match timeout(WELL_AFTER, running.join_next()).await {
            Ok(ended) => ended,
            Err(_) => {
                vitals.note_well(task);
                pause = PAUSE_MIN;
                running.join_next().await
            }
        };
        match ended {
            Some(Err(error)) if error.is_panic() => vitals.note_failure(task, "panic"),
            // The task has returned, or the runtime ends.
            Some(Ok(()) | Err(_)) | None => return,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// The signs of a process whose clock shows tokio's time.
    fn vitals() -> Arc<Vitals> {
        let began = tokio::time::Instant::now();
        Arc::new(Vitals::new(move || Timestamp::from_secs(1000).plus(began.elapsed())))
    }

    fn readiness(vitals: &Vitals) -> Readiness {
        vitals.readiness(Readiness::Ready, (vitals.now)())
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_heartbeat_for_two_seconds_the_process_is_stalled() {
        let vitals = vitals();
        tokio::time::sleep(BEAT_WITHIN).await;
        assert_eq!(readiness(&vitals), Readiness::Ready);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(readiness(&vitals), Readiness::Stalled);
        vitals.beat((vitals.now)());
        assert_eq!(readiness(&vitals), Readiness::Ready);
        assert_eq!(vitals.readiness(Readiness::NotYet, (vitals.now)()), Readiness::NotYet);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_counted_and_started_again() {
        let (vitals, starts) = (vitals(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&starts);
        supervise(LongTask::Probing, Arc::clone(&vitals), move || {
            let starts = Arc::clone(&counted);
            async move { assert!(starts.fetch_add(1, Ordering::Relaxed) >= 2, "the first two fail") }
        })
        .await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
        assert_eq!(vitals.restarts().total(LongTask::Probing), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_again_and_again_stalls_the_process_until_it_is_well() {
        let (vitals, fails) = (vitals(), Arc::new(AtomicU64::new(1)));
        let (own, told) = (Arc::clone(&fails), Arc::clone(&vitals));
        let supervised = tokio::spawn(supervise(LongTask::HostsFile, told, move || {
            let fails = Arc::clone(&own);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert!(fails.load(Ordering::Relaxed) == 0, "it fails");
                std::future::pending::<()>().await;
            }
        }));
        let beat_for = async |millis: u64| {
            for _ in 0..millis / 100 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                vitals.beat((vitals.now)());
            }
        };
        beat_for(1500).await;
        assert_eq!(readiness(&vitals), Readiness::Ready, "it may be over soon");
        beat_for(1500).await;
        assert_eq!(readiness(&vitals), Readiness::Stalled);
        fails.store(0, Ordering::Relaxed);
        beat_for(3000).await;
        assert_eq!(readiness(&vitals), Readiness::Ready);
        supervised.abort();
    }
}
