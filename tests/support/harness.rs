//! A real sidecar and a scripted upstream, on real loopback sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use holdover::app;
use holdover::config::settings::Settings;

/// What the upstream does with a query.
pub enum Reaction {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends several messages, one after the other.
    SendAll(Vec<Vec<u8>>),
    /// Sends these bytes after a while.
    Late(Duration, Vec<u8>),
    /// Sends nothing.
    Silence,
}

/// Decides over queries: the query, and whether it came over TCP.
pub type Script = dyn Fn(&Message, Via) -> Reaction + Send + Sync;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Tcp,
}

/// A scripted upstream.
pub struct Upstream {
    pub address: SocketAddr,
    pub queries: Arc<AtomicU64>,
    pub sources: Arc<Mutex<Vec<SocketAddr>>>,
    script: Arc<Mutex<Arc<Script>>>,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    pub fn start(script: impl Fn(&Message, Via) -> Reaction + Send + Sync + 'static) -> Self {
        // The port that UDP gets may be in use over TCP.
        let (udp, address, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
                let address = udp.local_addr().unwrap();
                Some((udp, address, TcpListener::bind(address).ok()?))
            })
            .expect("a port that is free for both");
        let upstream = Self {
            address,
            queries: Arc::default(),
            sources: Arc::default(),
            script: Arc::new(Mutex::new(Arc::new(script))),
            stop: Arc::default(),
        };
        upstream.serve_udp(udp);
        upstream.serve_tcp(tcp);
        upstream
    }

    /// Changes what it does.
    pub fn set(&self, script: impl Fn(&Message, Via) -> Reaction + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub fn seen(&self) -> u64 {
        self.queries.load(Ordering::SeqCst)
    }

    fn serve_udp(&self, socket: UdpSocket) {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (script, queries, stop, sources) =
            (Arc::clone(&self.script), Arc::clone(&self.queries), Arc::clone(&self.stop), Arc::clone(&self.sources));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
                if query.queries.first().is_some_and(|query| query.name().to_string().contains("holdover-loop")) {
                    continue;
                }
                queries.fetch_add(1, Ordering::SeqCst);
                sources.lock().unwrap().push(from);
                let script = Arc::clone(&*script.lock().unwrap());
                let socket = socket.try_clone().unwrap();
                match script(&query, Via::Udp) {
                    Reaction::Send(bytes) => drop(socket.send_to(&bytes, from)),
                    Reaction::SendAll(all) => all.iter().for_each(|bytes| drop(socket.send_to(bytes, from))),
                    Reaction::Late(after, bytes) => {
                        std::thread::spawn(move || {
                            std::thread::sleep(after);
                            let _ = socket.send_to(&bytes, from);
                        });
                    }
                    Reaction::Silence => {}
                }
            }
        });
    }

    fn serve_tcp(&self, listener: TcpListener) {
        let (script, queries) = (Arc::clone(&self.script), Arc::clone(&self.queries));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let (script, queries) = (Arc::clone(&script), Arc::clone(&queries));
                std::thread::spawn(move || {
                    while let Some(bytes) = read_frame(&mut stream) {
                        let Ok(query) = Message::from_vec(&bytes) else { return };
                        queries.fetch_add(1, Ordering::SeqCst);
                        let script = Arc::clone(&*script.lock().unwrap());
                        match script(&query, Via::Tcp) {
                            Reaction::Send(bytes) => write_frame(&mut stream, &bytes),
                            Reaction::SendAll(all) => all.iter().for_each(|bytes| write_frame(&mut stream, bytes)),
                            Reaction::Late(after, bytes) => {
                                std::thread::sleep(after);
                                write_frame(&mut stream, &bytes);
                            }
                            Reaction::Silence => {}
                        }
                    }
                });
            }
        });
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

pub fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

pub fn write_frame(stream: &mut TcpStream, bytes: &[u8]) {
    let mut frame = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(bytes);
    let _ = stream.write_all(&frame);
}

/// A sidecar in a thread of its own.
pub struct Sidecar {
    pub address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sidecar {
    pub fn start(settings: Settings) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let running = app::start(&settings).unwrap();
                tell.send(running.addresses()[0]).unwrap();
                let _ = stopped.await;
                running.stop().await;
            });
        });
        Self { address: told.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Sends raw bytes by UDP; `None` when nothing comes back within the time.
    pub fn exchange(&self, packet: &[u8], within: Duration) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(within)).unwrap();
        socket.send_to(packet, self.address).unwrap();
        let mut buffer = [0; 65_535];
        let (length, from) = socket.recv_from(&mut buffer).ok()?;
        assert_eq!(from, self.address, "answers leave from the address that was asked");
        Some(buffer[..length].to_vec())
    }

    /// Asks and waits up to three seconds.
    pub fn ask(&self, query: &Message) -> Message {
        let bytes = self.exchange(&query.to_vec().unwrap(), Duration::from_secs(3)).expect("an answer");
        Message::from_vec(&bytes).expect("a message")
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        stream
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A query with RD and EDNS.
pub fn query(name: &str, rtype: RecordType) -> Message {
    let mut message = plain_query(name, rtype);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.edns = Some(edns);
    message
}

/// A query with RD, without EDNS.
pub fn plain_query(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(0x4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

/// An empty response to a query, with RA.
pub fn response(query: &Message, rcode: ResponseCode) -> Message {
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.metadata.response_code = rcode;
    message.add_queries(query.queries.iter().cloned());
    message
}

/// The name that a query asks for.
pub fn qname(query: &Message) -> Name {
    query.queries[0].name().clone()
}

/// An answer with one record of this data.
pub fn answer(query: &Message, ttl: u32, data: RData) -> Vec<u8> {
    let mut message = response(query, ResponseCode::NoError);
    message.add_answer(Record::from_rdata(qname(query), ttl, data));
    message.to_vec().unwrap()
}

/// 192.0.2.`last` for A, 2001:db8::`last` for AAAA.
pub fn address(query: &Message, ttl: u32, last: u8) -> Vec<u8> {
    match query.queries[0].query_type() {
        RecordType::AAAA => answer(query, ttl, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)))),
        _ => answer(query, ttl, RData::A(A::new(192, 0, 2, last))),
    }
}

/// A CNAME to `target` and its address.
pub fn chain(query: &Message, ttl: u32, target: &str) -> Vec<u8> {
    let mut message = response(query, ResponseCode::NoError);
    let target = Name::from_ascii(target).unwrap();
    message.add_answer(Record::from_rdata(qname(query), ttl, RData::CNAME(CNAME(target.clone()))));
    message.add_answer(Record::from_rdata(target, ttl, RData::A(A::new(192, 0, 2, 1))));
    message.to_vec().unwrap()
}

/// NXDOMAIN or NODATA with an SOA.
pub fn negative(query: &Message, rcode: ResponseCode, ttl: u32) -> Vec<u8> {
    let mut message = response(query, rcode);
    let zone = Name::from_ascii("example.com.").unwrap();
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, ttl);
    let mut record = Record::from_rdata(zone, ttl, RData::SOA(soa));
    record.dns_class = DNSClass::IN;
    message.add_authority(record);
    message.to_vec().unwrap()
}

/// The addresses in an answer.
pub fn addresses(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// The extended errors in an answer.
pub fn extended_errors(message: &Message) -> Vec<u16> {
    let Some(edns) = &message.edns else { return Vec::new() };
    edns.options()
        .as_ref()
        .iter()
        .filter(|(code, _)| u16::from(*code) == 15)
        .filter_map(|(_, option)| {
            let bytes = Vec::<u8>::try_from(option).ok()?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        })
        .collect()
}
