//! The drill's upstream resolver: hickory-server on real UDP and TCP sockets, with a zone that is
//! made up and faults that are real.
//!
//! A lost packet is one that is not answered; a closed port is a socket that is closed, so that the
//! kernel itself refuses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Header, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use parking_lot::Mutex;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::{Fate, Scenario, fate};
use super::zone::{self, NEGATIVE_TTL, Truth, Type};

/// How long a TCP connection may be idle.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that may be queued on one.
const TCP_QUEUE: usize = 32;
/// Largest UDP answer.
const UDP_MAX: u16 = 1232;
/// Pause before a port is tried again that could not be had.
const BIND_AGAIN: Duration = Duration::from_millis(50);

/// How many free ports are tried for one that is free for UDP and TCP.
const PORT_TRIES: u32 = 16;

/// The fault under way.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What goes wrong.
    pub scenario: Scenario,
    /// Since when.
    pub began: Instant,
    /// For how long.
    pub whole: Duration,
    /// How fast Seoul passes.
    pub speed: f64,
}

/// What the drill and the server share.
struct Shared {
    /// When generation 0 was.
    zone_began: Instant,
    /// The fault under way.
    fault: Mutex<Option<Fault>>,
    /// Packets received.
    received: AtomicU64,
    /// Throws dice.
    dice: AtomicU64,
}

/// A running upstream.
pub struct Upstream {
    /// Where it listens.
    address: SocketAddr,
    /// Shared with the server.
    shared: Arc<Shared>,
    /// Whether its port is open; dropped, the server ends.
    open: watch::Sender<bool>,
}

impl Upstream {
    /// Starts an upstream on its own thread; port 0 chooses a free one. Generations are counted
    /// from `zone_began`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn start(address: SocketAddr, zone_began: Instant, seed: u64) -> io::Result<Self> {
        let (udp, tcp) = bind_both(address)?;
        let address = udp.local_addr()?;
        let shared = Arc::new(Shared {
            zone_began,
            fault: Mutex::new(None),
            received: AtomicU64::new(0),
            dice: AtomicU64::new(seed | 1),
        });
        let (open, opened) = watch::channel(true);
        let handler = Handler(Arc::clone(&shared));
        std::thread::Builder::new().name("drill-upstream".into()).spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(serve(handler, (udp, tcp), address, opened));
            }
        })?;
        Ok(Self { address, shared, open })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Packets received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Lets a fault happen, or heals it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let closed = fault.is_some_and(|fault| fault.scenario.closes_the_port());
        *self.shared.fault.lock() = fault;
        self.open.send_replace(!closed);
    }
}

/// Opens both sockets on one port; for port 0 on the first that is free for both, as one that is
/// free for UDP may be taken for TCP.
fn bind_both(address: SocketAddr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    let mut outcome = bind(address);
    for _ in 1..tries {
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => outcome = bind(address),
            Ok(_) | Err(_) => break,
        }
    }
    outcome
}

/// Opens both sockets on one port, once.
fn bind(address: SocketAddr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let udp = std::net::UdpSocket::bind(address)?;
    let tcp = std::net::TcpListener::bind(udp.local_addr()?)?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

/// Serves while the port is open, closes it, opens it again.
async fn serve(
    handler: Handler,
    first: (std::net::UdpSocket, std::net::TcpListener),
    address: SocketAddr,
    mut opened: watch::Receiver<bool>,
) {
    let mut sockets = Some(first);
    loop {
        let (udp, tcp) = match sockets.take().map_or_else(|| bind(address), Ok) {
            Ok(sockets) => sockets,
            Err(_) => {
                tokio::time::sleep(BIND_AGAIN).await;
                continue;
            }
        };
        let mut server = Server::new(handler.clone());
        if let (Ok(udp), Ok(tcp)) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) {
            server.register_socket(udp);
            server.register_listener(tcp, TCP_IDLE, TCP_QUEUE);
        }
        if opened.wait_for(|open| !open).await.is_err() {
            return;
        }
        let _ = server.shutdown_gracefully().await;
        drop(server);
        if opened.wait_for(|open| *open).await.is_err() {
            return;
        }
    }
}

/// Answers queries as fate has it.
#[derive(Clone)]
struct Handler(Arc<Shared>);

impl Handler {
    /// What becomes of a query for this name.
    fn fate(&self, name: &str) -> Fate {
        let Some(fault) = *self.0.fault.lock() else { return Fate::Answer };
        // A linear congruential step (Knuth, MMIX): good enough to lose packets with.
        let step =
            |state: u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let dice = self.0.dice.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_default() >> 20;
        fate(fault.scenario, fault.began.elapsed(), fault.whole, fault.speed, hash(name), dice)
    }

    /// The response code and records for a question.
    fn records(&self, name: &Name, rtype: RecordType) -> (ResponseCode, Vec<Record>, Vec<Record>) {
        let generation = u32::try_from(self.0.zone_began.elapsed().as_secs()).unwrap_or_default();
        let wanted = match rtype {
            RecordType::A => Type::A,
            RecordType::AAAA => Type::Aaaa,
            _ => return (ResponseCode::NoError, Vec::new(), authority()),
        };
        match zone::truth(&name.to_ascii(), wanted) {
            Truth::NoData => (ResponseCode::NoError, Vec::new(), authority()),
            Truth::NxDomain => (ResponseCode::NXDomain, Vec::new(), authority()),
            Truth::Address { aliases, ttl } => {
                let mut owner = name.clone();
                let mut answers = Vec::new();
                for alias in aliases.iter().filter_map(|alias| Name::from_ascii(format!("{alias}.")).ok()) {
                    answers.push(Record::from_rdata(owner, ttl, RData::CNAME(CNAME(alias.clone()))));
                    owner = alias;
                }
                let data = match wanted {
                    Type::A => RData::A(A(zone::address_v4(generation))),
                    Type::Aaaa => RData::AAAA(AAAA(zone::address_v6(generation))),
                };
                answers.push(Record::from_rdata(owner, ttl, data));
                (ResponseCode::NoError, answers, Vec::new())
            }
        }
    }
}

/// The SOA of negative answers.
fn authority() -> Vec<Record> {
    let Ok(zone) = Name::from_ascii("test.") else { return Vec::new() };
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, NEGATIVE_TTL);
    vec![Record::from_rdata(zone, NEGATIVE_TTL, RData::SOA(soa))]
}

/// The same number for the same name (FNV-1a).
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut responder: R) -> ResponseInfo {
        self.0.received.fetch_add(1, Ordering::Relaxed);
        let nothing = || ResponseInfo::from(Header { metadata: request.metadata, counts: Default::default() });
        let Ok(info) = request.request_info() else { return nothing() };
        let name: Name = info.query.name().into();
        let rcode = match self.fate(&name.to_ascii()) {
            Fate::Drop => return nothing(),
            Fate::Answer => None,
            Fate::Delay(delay) => {
                tokio::time::sleep(delay).await;
                None
            }
            Fate::ServFail => Some(ResponseCode::ServFail),
            Fate::NxDomain => Some(ResponseCode::NXDomain),
        };
        let (code, answers, authorities) = match rcode {
            None => self.records(&name, info.query.query_type()),
            Some(ResponseCode::NXDomain) => (ResponseCode::NXDomain, Vec::new(), authority()),
            Some(code) => (code, Vec::new(), Vec::new()),
        };
        let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, OpCode::Query);
        metadata.recursion_desired = request.metadata.recursion_desired;
        metadata.recursion_available = true;
        metadata.response_code = code;
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if request.edns.is_some() {
            builder.edns(&edns);
        }
        let response = builder.build(metadata, &answers, &authorities, &[], &[]);
        responder.send_response(response).await.unwrap_or_else(|_| nothing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_for_tcp_is_passed_over() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        // Few enough descriptors for a limit of 1024, enough to be met by one of these many tries.
        let taken: Vec<_> = (0..500).map_while(|_| std::net::TcpListener::bind(loopback).ok()).collect();
        assert!(taken.len() > 400);
        for _ in 0..400 {
            let (udp, tcp) = bind_both(loopback).unwrap();
            assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        }
    }
}
