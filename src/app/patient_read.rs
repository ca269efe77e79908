//! Reads of files whose file system may hang: on a thread that may block, one read at a time, and
//! waited for only as long as a good file system needs.
//!
//! A mount that has lost its server blocks whoever touches it, and nothing can wake that thread.
//! So a read that does not come back keeps its thread, no second one is begun beside it, and
//! nothing waits for it: neither the start, nor a query, nor the end of the process.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a read is waited for while the process runs.
const READ_WAIT: Duration = Duration::from_secs(5);
/// How long the start waits for the reads of one part.
const START_WAIT: Duration = Duration::from_secs(1);

/// What an operator is told of a file whose file system hangs.
pub(super) const HANGS: &str = "its file system does not answer";

/// The reads of one file, one after the other.
pub(super) struct PatientReads<T>(Option<JoinHandle<T>>);

impl<T: Send + 'static> PatientReads<T> {
    /// No read is under way yet.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Reads, or goes on waiting for the read that is under way; `None` when it does not come back
    /// in time.
    ///
    /// Cancel safe: the next call waits for the same read.
    pub(super) async fn read(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let under_way = self.0.get_or_insert_with(|| tokio::task::spawn_blocking(work));
        let done = timeout(READ_WAIT, under_way).await.ok()?;
        self.0 = None;
        done.ok()
    }
}

/// Does work of the start that reads files, on a thread of its own, and waits for it for one second
/// at most; the work then goes on beside the running sidecar.
pub fn at_start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    wait_at_start(&begin(work))
}

/// Begins work of the start on a thread of its own; where there is no thread, nothing comes of it.
pub(super) fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (report, done) = mpsc::sync_channel(1);
    let _ = std::thread::Builder::new().name("start-read".to_owned()).spawn(move || drop(report.send(work())));
    done
}

/// Waits for what comes of such work, for one second at most.
pub(super) fn wait_at_start<T>(done: &Receiver<T>) -> Option<T> {
    done.recv_timeout(START_WAIT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a read when the time in which it is waited for passes. Paused time does not go
    /// on by itself while a thread is at work.
    async fn out_of_patience<T>(read: impl Future<Output = T>) -> T {
        tokio::join!(read, tokio::time::advance(READ_WAIT * 2)).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_hangs_is_left_and_waited_for_again() {
        let (let_go, held) = mpsc::channel::<()>();
        let mut reads = PatientReads::new();
        assert_eq!(out_of_patience(reads.read(move || held.recv().map(|()| 1))).await, None);
        assert_eq!(out_of_patience(reads.read(|| Ok(2))).await, None, "no second one is begun");
        let_go.send(()).unwrap();
        assert_eq!(reads.read(|| Ok(3)).await, Some(Ok(1)));
        assert_eq!(reads.read(|| Ok(4)).await, Some(Ok(4)));
    }

    #[test]
    fn the_start_goes_on_without_a_read_that_hangs() {
        let (_let_go, held) = mpsc::channel::<()>();
        assert_eq!(at_start(move || held.recv()), None);
        assert_eq!(at_start(|| 7), Some(7));
    }
}
