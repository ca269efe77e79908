//! The drill's upstream resolver: hickory-server on real UDP and TCP sockets, which answers from a
//! generated zone and fails on request.
//!
//! A lost packet is a query that is not answered. A closed port is a socket that is closed, so that
//! the kernel itself rejects packets with ICMP errors.

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
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use parking_lot::Mutex;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fate::{Fate, Fault, Packet};
use super::fault::Port;
use super::zone::{self, AddressType, AppName, Domain, ExpectedAnswer, Generation, NEGATIVE_TTL};
use super::zone_clock::ZoneClock;
use crate::core::upstream::Transport;

/// Time for which a TCP connection may be idle.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Responses that may be queued on one TCP connection.
const TCP_QUEUE: usize = 32;
/// Largest UDP response, in bytes.
const UDP_MAX: u16 = 1232;
/// Pause before the upstream tries again to open its port.
const BIND_AGAIN: Duration = Duration::from_millis(50);

/// Number of free UDP ports that are tried until one is free for TCP as well.
const PORT_TRIES: u32 = 16;

/// A fault that is under way.
#[derive(Clone, Copy, Debug)]
pub struct ActiveFault {
    /// The fault that decides what happens to queries.
    pub fault: Fault,
    /// Moment at which the fault began.
    pub began: Instant,
}

/// The names that an upstream knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All names.
    Internal,
    /// Public names alone; the upstream denies that internal ones exist.
    Public,
}

/// State that the drill and the server's handlers share.
struct ServerState {
    view: View,
    clock: ZoneClock,
    fault: Mutex<Option<ActiveFault>>,
    received: AtomicU64,
    /// State of the random number generator.
    random: AtomicU64,
}

/// A running upstream; its server ends when this value is dropped.
pub struct FaultyUpstream {
    address: SocketAddr,
    state: Arc<ServerState>,
    port: watch::Sender<Port>,
}

impl FaultyUpstream {
    /// Starts an upstream with this view in a thread of its own; with port 0 it listens on a free
    /// port. The clock says which addresses are valid.
    ///
    /// # Errors
    /// The upstream cannot listen on the address, or its thread cannot be started.
    pub fn start(address: SocketAddr, view: View, clock: ZoneClock, seed: u64) -> io::Result<Self> {
        let (udp, tcp) = bind_both(address)?;
        let address = udp.local_addr()?;
        let state = Arc::new(ServerState {
            view,
            clock,
            fault: Mutex::new(None),
            received: AtomicU64::new(0),
            random: AtomicU64::new(seed | 1),
        });
        let (port, watched) = watch::channel(Port::Open);
        let handler = Handler(Arc::clone(&state));
        std::thread::Builder::new().name("drill-upstream".into()).spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(serve(handler, (udp, tcp), address, watched));
            }
        })?;
        Ok(Self { address, state, port })
    }

    /// Address on which the upstream listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of packets that the upstream has received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::Relaxed)
    }

    /// Begins a fault, or heals it with `None`.
    pub fn set_fault(&self, active: Option<ActiveFault>) {
        *self.state.fault.lock() = active;
        self.port.send_replace(active.map_or(Port::Open, |active| active.fault.scenario.port()));
    }
}

/// Opens both sockets on one port. Port 0 stands for any port that is free for both protocols: a
/// port that is free for UDP may be in use for TCP, so several ports are tried.
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

/// Serves while the port is to be open, closes the sockets while it is to be closed, and ends when
/// the upstream is dropped.
async fn serve(
    handler: Handler,
    first: (std::net::UdpSocket, std::net::TcpListener),
    address: SocketAddr,
    mut port: watch::Receiver<Port>,
) {
    let mut sockets = Some(first);
    loop {
        // Open the port, again and again while another program has it.
        let (udp, tcp) = match sockets.take().map_or_else(|| bind(address), Ok) {
            Ok(sockets) => sockets,
            Err(_) => {
                tokio::time::sleep(BIND_AGAIN).await;
                continue;
            }
        };

        // Serve until the port is to be closed.
        let mut server = Server::new(handler.clone());
        if let (Ok(udp), Ok(tcp)) = (UdpSocket::from_std(udp), TcpListener::from_std(tcp)) {
            server.register_socket(udp);
            server.register_listener(tcp, TCP_IDLE, TCP_QUEUE);
        }
        if port.wait_for(|port| *port == Port::Closed).await.is_err() {
            return;
        }

        // Close the sockets, and wait until the port is to be open again.
        let _ = server.shutdown_gracefully().await;
        drop(server);
        if port.wait_for(|port| *port == Port::Open).await.is_err() {
            return;
        }
    }
}

/// The handler of queries: it answers, or treats the query as the fault demands.
#[derive(Clone)]
struct Handler(Arc<ServerState>);

impl Handler {
    /// The treatment of a query under the present fault.
    fn fate(&self, name: &str, rtype: RecordType, transport: Transport) -> Fate {
        let app = AppName::read(name);
        if self.0.view == View::Public && app.is_some_and(|app| app.domain == Domain::Internal) {
            return Fate::NxDomain;
        }
        let Some(active) = *self.0.fault.lock() else { return Fate::Answer };
        // A linear congruential step (Knuth, MMIX) is good enough to lose packets with. Its low
        // bits are not, so they are dropped.
        let step =
            |state: u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let random = self.0.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_default() >> 20;
        let packet = Packet { name: app, rtype: address_type(rtype), transport, name_hash: hash(name), random };
        active.fault.fate(active.began.elapsed(), packet)
    }

    /// The response of the zone to a question at this moment.
    fn records(&self, name: &Name, rtype: RecordType) -> ZoneResponse {
        Self::records_of(self.0.clock.generation(), name, rtype)
    }

    /// The response of the zone to a question, with the addresses of this generation.
    fn records_of(generation: Generation, name: &Name, rtype: RecordType) -> ZoneResponse {
        let Some(wanted) = address_type(rtype) else { return ZoneResponse::negative(ResponseCode::NoError) };
        match zone::expected_answer(&name.to_ascii(), wanted) {
            ExpectedAnswer::NoData => ZoneResponse::negative(ResponseCode::NoError),
            ExpectedAnswer::NxDomain => ZoneResponse::negative(ResponseCode::NXDomain),
            ExpectedAnswer::Address { aliases, ttl } => {
                let mut owner = name.clone();
                let mut answers = Vec::new();
                for alias in aliases.iter().filter_map(|alias| Name::from_ascii(format!("{alias}.")).ok()) {
                    answers.push(Record::from_rdata(owner, ttl, RData::CNAME(CNAME(alias.clone()))));
                    owner = alias;
                }
                let data = match wanted {
                    AddressType::A => RData::A(A(generation.address_v4())),
                    AddressType::Aaaa => RData::AAAA(AAAA(generation.address_v6())),
                };
                answers.push(Record::from_rdata(owner, ttl, data));
                ZoneResponse { code: ResponseCode::NoError, answers, authorities: Vec::new() }
            }
        }
    }
}

/// The type of address that is queried; `None` if another type is.
const fn address_type(rtype: RecordType) -> Option<AddressType> {
    match rtype {
        RecordType::A => Some(AddressType::A),
        RecordType::AAAA => Some(AddressType::Aaaa),
        _ => None,
    }
}

/// Response code and records of one response.
struct ZoneResponse {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl ZoneResponse {
    /// A negative response, which is cacheable (RFC 2308 §2).
    fn negative(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authorities: authority() }
    }

    /// A response without any records, which is not cacheable.
    const fn empty(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authorities: Vec::new() }
    }
}

/// SOA record of negative responses.
fn authority() -> Vec<Record> {
    let Ok(zone) = Name::from_ascii("test.") else { return Vec::new() };
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, NEGATIVE_TTL);
    vec![Record::from_rdata(zone, NEGATIVE_TTL, RData::SOA(soa))]
}

/// Hash of a name, whatever its case (FNV-1a).
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
        // The fault decides whether there is a response, when, and of what kind.
        let Ok(info) = request.request_info() else { return nothing() };
        let (name, rtype): (Name, RecordType) = (info.query.name().into(), info.query.query_type());
        let transport = if info.protocol == Protocol::Tcp { Transport::Tcp } else { Transport::Udp };
        let ZoneResponse { code, answers, authorities } = match self.fate(&name.to_ascii(), rtype, transport) {
            Fate::Drop => return nothing(),
            Fate::Answer => self.records(&name, rtype),
            Fate::Former => Self::records_of(ZoneClock::former(), &name, rtype),
            Fate::Delay(delay) => {
                tokio::time::sleep(delay).await;
                self.records(&name, rtype)
            }
            Fate::ServFail => ZoneResponse::empty(ResponseCode::ServFail),
            Fate::LateServFail(delay) => {
                tokio::time::sleep(delay).await;
                ZoneResponse::empty(ResponseCode::ServFail)
            }
            Fate::NxDomain => ZoneResponse::negative(ResponseCode::NXDomain),
        };

        // The response has the flags of a recursive resolver, and EDNS when the query has it.
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
        // So many sockets stay below a limit of 1024 descriptors, and are enough for one of the
        // tries to hit a taken port.
        let taken: Vec<_> = (0..500).map_while(|_| std::net::TcpListener::bind(loopback).ok()).collect();
        assert!(taken.len() > 400);
        for _ in 0..400 {
            let (udp, tcp) = bind_both(loopback).unwrap();
            assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        }
    }
}
