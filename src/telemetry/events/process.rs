//! Log lines about the start and the end of the process, and about its threads.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{error, info};

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
