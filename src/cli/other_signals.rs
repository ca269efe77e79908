//! Signals that mean something to other daemons, and nothing to this one: log rotation sends
//! SIGUSR1, operators ask dnsmasq for statistics with it, and without a handler it ends a process.
//!
//! They get a handler that does nothing, rather than be ignored: an ignored signal is handed on to
//! programs that are started from here. SIGHUP has a meaning ([`super::serve`]), as have SIGTERM
//! and SIGINT; SIGQUIT and those that the kernel sends for a fault go on ending the process.

use tokio::signal::unix::{SignalKind, signal};

/// Numbers of the signals (signal(7)) that would end the process although nobody means that:
/// SIGUSR1, SIGUSR2, SIGALRM, SIGSTKFLT, SIGVTALRM, SIGPROF, SIGIO, SIGPWR.
const OTHERS: [i32; 8] = [10, 12, 14, 16, 26, 27, 29, 30];
/// The real-time signals that libc leaves to programs.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Has these signals do nothing. To be called within a tokio runtime.
pub(super) fn disregard() {
    for number in OTHERS.into_iter().chain(REAL_TIME) {
        // The handler stays when the stream of signals is dropped. A number that this platform does
        // not have is refused, and needs nothing.
        let _ = signal(SignalKind::from_raw(number));
    }
}
