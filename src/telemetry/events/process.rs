//! Log lines about the start and the end of the process, and about its threads.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{error, info, warn};

/// Sockets for queries are open on one address.
#[derive(Debug)]
pub struct Listening {
    /// Listen address, with its final port.
    pub address: SocketAddr,
    /// Number of threads that receive queries over UDP on this address.
    pub threads: usize,
}

impl Listening {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(address = %self.address, threads = self.threads, "listening on UDP and TCP");
    }
}

/// A listen address cannot be had at present; it is tried again and again.
#[derive(Debug)]
pub struct AddressMissing<'a> {
    /// The listen address.
    pub address: SocketAddr,
    /// Why it cannot be had, in words.
    pub reason: &'a str,
}

impl AddressMissing<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            address = %self.address,
            reason = self.reason,
            "not listening here: the other addresses are served, and this one as soon as it is there"
        );
    }
}

/// The configuration holds something that is not known here, or that is hardly meant.
#[derive(Debug)]
pub struct ConfigurationDoubtful<'a> {
    /// Place and value, and what to write instead.
    pub problem: &'a str,
}

impl ConfigurationDoubtful<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!("{}", self.problem);
    }
}

/// Something was made smaller at the start, because it does not fit into a limit of the process.
#[derive(Debug)]
pub struct CapacityShrunk<'a> {
    /// The key of the configuration, or what has no key in words.
    pub what: &'a str,
    /// The number that is configured.
    pub configured: u64,
    /// The number that fits.
    pub fits: u64,
    /// The limit, and what to change.
    pub limit: &'a str,
}

impl CapacityShrunk<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        let Self { what, configured, fits, limit } = self;
        warn!(what, configured, fits, limit, "made smaller than configured, to fit into a limit of the process");
    }
}

/// Descriptors or local ports have run out for the first time.
#[derive(Debug)]
pub struct SocketsLacking<'a> {
    /// The error of the operating system, in words.
    pub reason: &'a str,
}

impl SocketsLacking<'_> {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(
            reason = self.reason,
            "no socket to be had for a query to an upstream, which is tried again; said once, then counted"
        );
    }
}

/// The process answers queries from now on.
#[derive(Debug)]
pub struct Ready<'a> {
    /// Names and addresses of all upstreams.
    pub upstreams: &'a [String],
    /// Time since the process started.
    pub after: Duration,
    /// Number of critical names and types that have no answer yet, and that health checks wait for.
    pub awaited: usize,
}

impl Ready<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        let (upstreams, after_seconds, version) =
            (self.upstreams.join(", "), self.after.as_secs_f64(), env!("CARGO_PKG_VERSION"));
        match self.awaited {
            0 => info!(upstreams, after_seconds, version, "ready"),
            critical_missing => {
                info!(
                    upstreams,
                    after_seconds, version, critical_missing, "serving: ready as soon as the critical names are known"
                );
            }
        }
    }
}

/// The process was asked to end, and goes on answering queries for a bounded time.
#[derive(Debug)]
pub struct Draining<'a> {
    /// Name of the signal that ends the process, or another reason.
    pub signal: &'a str,
    /// Time without a query after which the process ends.
    pub idle: Duration,
    /// Time after which the process ends at the latest.
    pub at_most: Duration,
}

impl Draining<'_> {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(
            signal = self.signal,
            idle_seconds = self.idle.as_secs_f64(),
            maximum_seconds = self.at_most.as_secs_f64(),
            "draining: queries are still answered until none has come for some time"
        );
    }
}

/// The process ends in order, after the drain.
#[derive(Debug)]
pub struct Stopped {
    /// Number of queries that got a response since the start.
    pub answered: u64,
}

impl Stopped {
    /// Writes one log line at INFO.
    pub fn emit(&self) {
        info!(answered = self.answered, "stopped");
    }
}

/// A thread of the process failed and is started again.
#[derive(Debug)]
pub struct ThreadRestarted<'a> {
    /// The task of the thread: `udp` or `admin`.
    pub thread: &'a str,
    /// Why the thread failed, in words.
    pub reason: &'a str,
}

impl ThreadRestarted<'_> {
    /// Writes one log line at ERROR.
    pub fn emit(&self) {
        error!(thread = self.thread, reason = self.reason, "a thread failed and is started again");
    }
}

/// A thread panicked. What follows is logged by whoever owns the thread.
#[derive(Debug)]
pub struct ThreadPanicked<'a> {
    /// Name of the thread.
    pub thread: &'a str,
    /// Place and message of the panic.
    pub panic: &'a str,
}

impl ThreadPanicked<'_> {
    /// Writes one log line at ERROR.
    pub fn emit(&self) {
        error!(thread = self.thread, panic = self.panic, "a thread panicked");
    }
}

/// Lines of the log were dropped, because standard error took no more; it takes lines again.
#[derive(Debug)]
pub struct LogLinesDropped {
    /// Number of lines that were dropped since the last line of this kind.
    pub dropped: u64,
}

impl LogLinesDropped {
    /// Writes one log line at WARN.
    pub fn emit(&self) {
        warn!(dropped = self.dropped, "lines were dropped here: whatever reads standard error was too slow");
    }
}

/// A task of the process failed and is started again.
#[derive(Debug)]
pub struct TaskRestarted<'a> {
    /// The task, as in the metric `holdover_task_restarts_total`.
    pub task: &'a str,
    /// Why the task failed, in words.
    pub reason: &'a str,
}

impl TaskRestarted<'_> {
    /// Writes one log line at ERROR.
    pub fn emit(&self) {
        error!(task = self.task, reason = self.reason, "a task failed and is started again");
    }
}
