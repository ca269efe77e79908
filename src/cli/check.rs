//! `holdover check`: the health check of images, probes and units.
//!
//! It sends the sidecar a DNS query for `ready.holdover.invalid`, which the sidecar answers itself
//! and never forwards: an outage of the upstream must not restart the sidecar that bridges it. It
//! needs nothing but this binary, neither a shell nor a port of its own.
//!
//! | response | meaning | exit code |
//! |---|---|---|
//! | an address | ready | 0 |
//! | NXDOMAIN from holdover | queries are answered, but critical names are missing | 1, with `--alive` 0 |
//! | NODATA from holdover | what resolves and recovers has stood still for 2 s | 1 |
//! | anything else | something else answers there | 1 |
//! | none, or "port unreachable" | holdover does not run there | 1 |

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::upstreams;
use crate::adapters::chance::SystemChance;
use crate::config::layer::Raw;
use crate::config::quantity::{Bounds, Quantity};
use crate::config::{self, Flags, UnknownNames, limits};
use crate::core::key::{Dnssec, Key};
use crate::core::message::{Header, TYPE_A};
use crate::core::special::{READY, RESPONSIBLE};
use crate::core::upstream_query::{self, Extension};
use crate::resolver::ports::Chance;
use crate::telemetry::console;

/// Queries within the timeout, so that one lost datagram does not make a sidecar unhealthy.
const TRIES: u32 = 2;
/// Largest response that is read, in bytes.
const ANSWER_MAX: usize = 512;
const NXDOMAIN: u16 = 3;

/// Arguments of `holdover check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Address on which holdover answers queries [default: the first listen address of environment
    /// and configuration file, else 127.0.0.1:53]
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = server)]
    server: Option<SocketAddr>,
    /// How long to wait for the response
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = timeout)]
    timeout: Duration,
    /// Succeed as soon as holdover answers, also while it waits for its critical names
    #[arg(long)]
    alive: bool,
    /// Configuration file to take the listen address from
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also ask each configured upstream once, for roll-outs; never for probes, since an outage of
    /// the upstreams must not restart the sidecar that bridges it
    #[arg(long)]
    upstream: bool,
    /// File from which the upstreams are read when none is configured, with --upstream
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
}

/// The kind of program that answers at an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CheckResult {
    /// Holdover answers and is ready.
    Ready,
    /// Holdover answers, but waits for its critical names.
    NotReady,
    /// Holdover answers from memory, but nothing behind that moves any more.
    Stalled,
    /// Something answers that is not holdover.
    NotHoldover,
}

/// Reads an address; the port is 53 if none is given.
fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, limits::DNS_PORT)))
        .map_err(|_| "allowed: an IP address with an optional port, such as 127.0.0.1:53 or [::1]:53".to_owned())
}

/// Reads a timeout from the command line.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let bounds = Bounds { min: Duration::from_millis(10), max: Duration::from_secs(60) };
    Duration::read(&Raw::Word(text.to_owned()))
        .filter(|duration| !duration.is_outside(bounds))
        .ok_or_else(|| format!("allowed: {}", Duration::range(bounds)))
}

/// Runs the subcommand.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: CheckArguments) -> anyhow::Result<ExitCode> {
    // Without a flag, the address is the one at which a sidecar with this configuration listens.
    let flags = Flags { config: arguments.config.clone(), unknown: UnknownNames::Allow, ..Flags::default() };
    let settings = if arguments.server.is_none() || arguments.upstream {
        match config::load(flags, std::env::vars_os()) {
            Ok(settings) => Some(settings),
            Err(error) => {
                console::complain(&error);
                return Ok(ExitCode::from(error.exit_code()));
            }
        }
    } else {
        None
    };
    let configured = settings.as_ref().map(|settings| settings.listen.addresses.as_slice());
    let server = arguments.server.unwrap_or_else(|| first_present(configured.unwrap_or_default()));
    let code = check(server, &arguments)?;
    match settings {
        Some(settings) if arguments.upstream && code == ExitCode::SUCCESS => {
            upstreams::ask_all(settings, &arguments.resolv_conf, arguments.timeout)
        }
        Some(_) | None => Ok(code),
    }
}

/// Asks the sidecar at an address. Only one that answers as it should gives success; everything
/// else is a problem.
fn check(server: SocketAddr, arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let problem = match ask(server, arguments.timeout) {
        Ok(CheckResult::Ready) => {
            console::say("ready\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(CheckResult::NotReady) if arguments.alive => {
            console::say("alive, not ready yet\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(CheckResult::NotReady) => {
            format!("holdover answers on {server}, but is not ready: it waits for its critical names")
        }
        Ok(CheckResult::Stalled) => {
            format!(
                "holdover answers on {server} from memory alone: it does not resolve or recover any more; restart it"
            )
        }
        Ok(CheckResult::NotHoldover) => format!("what answers on {server} is not holdover"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => format!("nothing listens on {server}"),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            format!("no answer from {server} within {:?}", arguments.timeout)
        }
        Err(error) => format!("cannot ask {server}: {error}"),
    };
    console::complain(problem);
    Ok(ExitCode::FAILURE)
}

/// The first listen address that this host has at present, as a client on this host reaches it: the
/// others are not served before they are there. When it has none of them, the first one.
pub(super) fn first_present(listen: &[SocketAddr]) -> SocketAddr {
    let is_present = |address: &SocketAddr| UdpSocket::bind(SocketAddr::new(address.ip(), 0)).is_ok();
    let all = || listen.iter().map(|address| reachable(Some(*address)));
    all().find(is_present).unwrap_or_else(|| reachable(listen.first().copied()))
}

/// The listen address as a client on this host reaches it: loopback if it stands for all addresses.
pub(super) fn reachable(listen: Option<SocketAddr>) -> SocketAddr {
    let mut address = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, limits::DNS_PORT)));
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Sends the query for readiness, and returns which kind of program answers it.
pub(super) fn ask(server: SocketAddr, timeout: Duration) -> io::Result<CheckResult> {
    // A connected socket reports a closed port at once, and takes no datagrams of others.
    let any_port = if server.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let socket = UdpSocket::bind(any_port)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(timeout / TRIES))?;
    let [high, low, ..] = SystemChance::new().map_err(io::Error::other)?.number().to_be_bytes();
    let query = upstream_query::write(
        &Key::new(READY, TYPE_A, 1, Dnssec::default()),
        u16::from_be_bytes([high, low]),
        Extension::Plain,
    );
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(&query)?;
        let mut answer = [0; ANSWER_MAX];
        match socket.recv(&mut answer) {
            Ok(length) if answer.get(..2) == query.get(..2) => {
                return Ok(read_response(answer.get(..length).unwrap_or_default()));
            }
            // The socket is connected, so this is a belated response to the query of the first try.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_response(answer: &[u8]) -> CheckResult {
    let Ok(header) = Header::read(answer) else { return CheckResult::NotHoldover };
    let [answers, ..] = header.records;
    let is_ours = || answer.windows(RESPONSIBLE.len()).any(|window| window == RESPONSIBLE);
    match (header.rcode(), answers) {
        (0, 1) => CheckResult::Ready,
        (NXDOMAIN, 0) if is_ours() => CheckResult::NotReady,
        (0, 0) if is_ours() => CheckResult::Stalled,
        _ => CheckResult::NotHoldover,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_address_for_all_is_asked_over_loopback() {
        let reached = |text: &str| reachable(Some(text.parse().unwrap())).to_string();
        assert_eq!(reached("0.0.0.0:5353"), "127.0.0.1:5353");
        assert_eq!(reached("[::]:53"), "[::1]:53");
        assert_eq!(reached("192.0.2.7:53"), "192.0.2.7:53");
        assert_eq!(reachable(None).to_string(), "127.0.0.1:53");
    }

    #[test]
    fn an_address_that_this_host_does_not_have_is_not_asked_while_there_is_another() {
        let read = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (missing, present) = (read("192.0.2.99:53"), read("127.0.0.1:5353"));
        assert_eq!(first_present(&[missing, present]), present);
        assert_eq!(first_present(&[missing]), missing);
        assert_eq!(first_present(&[read("0.0.0.0:5353")]).to_string(), "127.0.0.1:5353");
        assert_eq!(first_present(&[]).to_string(), "127.0.0.1:53");
    }

    #[test]
    fn addresses_and_times_say_what_is_allowed() {
        assert_eq!(server("::1").unwrap().to_string(), "[::1]:53");
        assert_eq!(server("[::1]").unwrap().to_string(), "[::1]:53");
        assert!(server("localhost").unwrap_err().contains("127.0.0.1:53"));
        assert_eq!(timeout("250ms").unwrap(), Duration::from_millis(250));
        assert!(timeout("0s").unwrap_err().contains("10ms to 1m"));
    }

    #[test]
    fn another_resolver_that_denies_the_name_is_not_holdover() {
        let denial = [0, 1, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(read_response(&denial), CheckResult::NotHoldover);
        assert_eq!(read_response(&[0; 3]), CheckResult::NotHoldover);
        assert_eq!(read_response(&[&denial[..], RESPONSIBLE].concat()), CheckResult::NotReady);
        let nodata = [0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(read_response(&nodata), CheckResult::NotHoldover);
        assert_eq!(read_response(&[&nodata[..], RESPONSIBLE].concat()), CheckResult::Stalled);
    }
}
