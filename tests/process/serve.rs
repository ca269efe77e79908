//! `holdover serve` as its operator meets it: the built binary on real sockets, its signals, exit
//! codes, settings and log.

mod answers;
mod drain;
mod garbage;
mod hangs;
mod hosts;
mod limits;
mod log;
mod printing;
mod settings;
mod start;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::asking::*;
use crate::support::binary::*;
use crate::support::files::file;
use crate::support::frames::blocking::{read_frame, write_frame};
use crate::support::messages::{self, address, addresses, extended_errors, qname, query};
use crate::support::stalled::StalledPipe;
use crate::support::upstream::{Reaction, Upstream, Via};
use crate::support::waiting::eventually;

/// A running `holdover serve` and its listen address.
struct Sidecar {
    process: Running,
    address: SocketAddr,
}

impl Sidecar {
    /// Starts a sidecar that forwards to this upstream, with further flags.
    #[track_caller]
    fn start(upstream: &Upstream, flags: &[&str]) -> Self {
        Self::start_with(|command, _| {
            command.args(["--upstream", &upstream.address.to_string()]).args(flags);
        })
    }

    /// Starts a sidecar with the arguments that `prepare` adds to `serve --listen ADDRESS`.
    #[track_caller]
    fn start_with(prepare: impl Fn(&mut Command, SocketAddr)) -> Self {
        let (process, address) = serve("ready", prepare);
        Self { process, address }
    }

    fn ask(&self, message: &Message) -> Message {
        ask(self.address, message)
    }
}

fn upstream(ttl: u32, last: u8) -> Upstream {
    Upstream::answering(ttl, last)
}

/// Runs `holdover` with these arguments, with which it should end by itself.
#[track_caller]
fn run_with(arguments: &[&str]) -> Finished {
    run(holdover().args(arguments))
}

/// The number behind `name=` in a line of text.
fn number(line: &str, name: &str) -> f64 {
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(&format!("{name}=")))
        .unwrap_or_else(|| panic!("no {name}: {line}"));
    word.parse().unwrap()
}
