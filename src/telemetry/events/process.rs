//! Log lines about the start and the end of the process, and about its parts.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{error, info};

/// A socket that receives queries is open.
#[derive(Debug)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Threads that receive UDP on it.
    pub threads: usize,
}

impl Listening {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(address = %self.address, threads = self.threads, "listening on UDP and TCP");
    }
}

/// The process is about to serve.
#[derive(Debug)]
pub struct Ready<'a> {
    /// Upstreams by name and address.
    pub upstreams: &'a [String],
    /// Milliseconds since the process began.
    pub after: Duration,
    /// Answers for critical names that health checks still wait for.
    pub awaited: usize,
}

impl Ready<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        let (upstreams, after_ms, version) =
            (self.upstreams.join(", "), (self.after.as_secs_f64() * 1e6).round() / 1e3, env!("CARGO_PKG_VERSION"));
        match self.awaited {
            0 => info!(upstreams, after_ms, version, "ready"),
            awaited => {
                info!(upstreams, after_ms, version, awaited, "serving: ready as soon as the critical names are known")
            }
        }
    }
}

/// The process was asked to end.
#[derive(Debug)]
pub struct Draining<'a> {
    /// The signal's name.
    pub signal: &'a str,
    /// It ends after so long without a query …
    pub idle: Duration,
    /// … and after so long in any case.
    pub at_most: Duration,
}

impl Draining<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(
            signal = self.signal,
            idle_seconds = self.idle.as_secs_f64(),
            at_most_seconds = self.at_most.as_secs_f64(),
            "draining: queries go on being answered"
        );
    }
}

/// The process ends.
#[derive(Debug)]
pub struct Stopped {
    /// Queries answered in its life.
    pub answered: u64,
}

impl Stopped {
    /// Writes it to the log.
    pub fn emit(&self) {
        info!(answered = self.answered, "stopped");
    }
}

/// A part of the process failed and is started again.
#[derive(Debug)]
pub struct PartRestarted<'a> {
    /// Which.
    pub part: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl PartRestarted<'_> {
    /// Writes it to the log.
    pub fn emit(&self) {
        error!(part = self.part, reason = self.reason, "a part failed and is started again");
    }
}
