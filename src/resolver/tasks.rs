//! The tasks that the resolver owns, and that end with it.

use std::future::Future;

use parking_lot::Mutex;
use tokio::task::JoinSet;

/// Everything that the resolver runs on the tokio runtime on which it was started.
#[derive(Default)]
pub(super) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock();
        // The set keeps the results of ended tasks until somebody takes them.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(super) fn stop(&self) {
        self.0.lock().abort_all();
    }
}
