//! Asks each configured upstream once, for roll-outs: `holdover check --upstream` and `holdover
//! config check --ask`. Nothing of the sidecar is used, so that a sidecar which answers from memory
//! hides nothing.
//!
//! | upstream | question | counts as |
//! |---|---|---|
//! | for all names | `. NS` | an answer with any RCODE but SERVFAIL, REFUSED or NOTAUTH |
//! | for zones | the SOA of its first zone | the same |
//!
//! A health check must not do this: an outage of the upstreams must not restart the sidecar that
//! bridges it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::adapters::chance::SystemChance;
use crate::adapters::clock::SystemClock;
use crate::config::settings::Settings;
use crate::core::key::{Dnssec, Key};
use crate::core::message::Header;
use crate::core::upstream::{Transport, UpstreamPolicy};
use crate::core::upstream_query::{self, Extension};
use crate::resolver::ports::{Chance, Clock};
use crate::telemetry::console;

/// Queries over UDP within the timeout, so that one lost datagram is no failure.
const TRIES: u32 = 2;
/// Largest datagram that is read, in bytes.
const DATAGRAM_MAX: usize = 4096;
const TYPE_NS: u16 = 2;
const TYPE_SOA: u16 = 6;
/// Names of the RCODEs with which an upstream says that it does not resolve for us.
const UNUSABLE: [(u16, &str); 3] = [(2, "SERVFAIL"), (5, "REFUSED"), (9, "NOTAUTH")];

/// Asks all upstreams and prints a line for each; the exit code is 1 when one gives no answer.
///
/// # Errors
/// Standard output cannot be written, or the system has no random numbers.
pub(super) fn ask_all(settings: Settings, resolv_conf: &Path, within: Duration) -> anyhow::Result<ExitCode> {
    let settings = match super::serve::with_host_upstreams(settings, resolv_conf) {
        Ok(settings) => settings,
        Err(error) => {
            console::complain(&error);
            return Ok(ExitCode::from(error.exit_code()));
        }
    };
    let (chance, clock) = (SystemChance::new()?, SystemClock::new());
    let (mut lines, mut code) = (String::new(), ExitCode::SUCCESS);
    let mut asked = 0;
    for upstream in &settings.upstreams {
        for address in &upstream.addresses {
            let began = clock.now();
            let found = ask(upstream, *address, &chance, within);
            let took = clock.now().since(began).as_secs_f64() * 1000.0;
            asked += 1;
            let _ = match found {
                Ok(None) => writeln!(lines, "{}@{address} answers, after {took:.1} ms", upstream.name),
                Ok(Some(rcode)) => {
                    code = ExitCode::FAILURE;
                    writeln!(lines, "{}@{address} answers {rcode}: it does not resolve for this host", upstream.name)
                }
                Err(error) => {
                    code = ExitCode::FAILURE;
                    let reason = match error.kind() {
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("nothing within {within:?}"),
                        _ => error.to_string(),
                    };
                    writeln!(lines, "{}@{address} does not answer: {reason}", upstream.name)
                }
            };
        }
    }
    if asked == 0 {
        console::complain(format_args!("{} names no upstream that could be asked", resolv_conf.display()));
        return Ok(ExitCode::FAILURE);
    }
    console::say(&lines)?;
    Ok(code)
}

/// Asks one upstream; gives the RCODE when it is none of an answer.
fn ask(
    upstream: &UpstreamPolicy,
    address: SocketAddr,
    chance: &SystemChance,
    within: Duration,
) -> io::Result<Option<&'static str>> {
    let (name, qtype) = upstream.zones.first().map_or((&[0][..], TYPE_NS), |zone| (&**zone, TYPE_SOA));
    let [high, low, ..] = chance.number().to_be_bytes();
    let key = Key::new(name, qtype, 1, Dnssec::default());
    let query = upstream_query::write(&key, u16::from_be_bytes([high, low]), Extension::Plain);
    let answer = match upstream.transport {
        Transport::Udp => over_udp(address, &query, within)?,
        Transport::Tcp => over_tcp(address, &query, within)?,
    };
    let header = Header::read(&answer).map_err(|_| io::Error::other("what it sends is no DNS message"))?;
    Ok(UNUSABLE.iter().find(|(rcode, _)| *rcode == header.rcode()).map(|(_, name)| *name))
}

fn over_udp(address: SocketAddr, query: &[u8], within: Duration) -> io::Result<Vec<u8>> {
    // A connected socket reports a closed port at once, and takes no datagrams of others.
    let any_port = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any_port)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(within / TRIES))?;
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(query)?;
        let mut answer = vec![0; DATAGRAM_MAX];
        match socket.recv(&mut answer) {
            Ok(length) if answer.get(..2) == query.get(..2) => {
                answer.truncate(length);
                return Ok(answer);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn over_tcp(address: SocketAddr, query: &[u8], within: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length, query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
