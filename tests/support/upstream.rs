//! A scripted upstream on real loopback sockets, over UDP and TCP at one port.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::Name;

use super::frames::blocking::{read_frame, write_frame};
use super::messages::address;

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

/// Says how the upstream reacts to a query, and to the transport over which it came.
pub type Script = dyn Fn(&Message, Via) -> Reaction + Send + Sync;

/// The transport over which a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Tcp,
}

fn note_name(names: &Mutex<HashMap<Name, u64>>, query: &Message) {
    if let Some(query) = query.queries.first() {
        *names.lock().unwrap().entry(query.name().clone()).or_default() += 1;
    }
}

/// A scripted upstream, which counts its queries and stops when the value is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    pub queries: Arc<AtomicU64>,
    pub sources: Arc<Mutex<Vec<SocketAddr>>>,
    /// How often each name was asked for.
    names: Arc<Mutex<HashMap<Name, u64>>>,
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
            names: Arc::default(),
            script: Arc::new(Mutex::new(Arc::new(script))),
            stop: Arc::default(),
        };
        upstream.serve_udp(udp);
        upstream.serve_tcp(tcp);
        upstream
    }

    /// An upstream that answers every query with 192.0.2.`last` (2001:db8::`last` for AAAA).
    pub fn answering(ttl: u32, last: u8) -> Self {
        Self::start(move |query, _| Reaction::Send(address(query, ttl, last)))
    }

    /// An upstream that receives queries and never answers.
    pub fn silent() -> Self {
        Self::start(|_, _| Reaction::Silence)
    }

    /// Gives the upstream another script.
    pub fn set(&self, script: impl Fn(&Message, Via) -> Reaction + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub fn seen(&self) -> u64 {
        self.queries.load(Ordering::SeqCst)
    }

    /// The number of queries for one name, in whatever case. A sidecar asks for other names on its
    /// own account as well, to see whether the upstream is healthy.
    pub fn seen_for(&self, name: &str) -> u64 {
        let name = Name::from_ascii(name).unwrap();
        self.names.lock().unwrap().get(&name).copied().unwrap_or_default()
    }

    fn serve_udp(&self, socket: UdpSocket) {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (script, queries, stop) = (Arc::clone(&self.script), Arc::clone(&self.queries), Arc::clone(&self.stop));
        let (sources, names) = (Arc::clone(&self.sources), Arc::clone(&self.names));
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
                note_name(&names, &query);
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
        let (script, queries, names) = (Arc::clone(&self.script), Arc::clone(&self.queries), Arc::clone(&self.names));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let (script, queries, names) = (Arc::clone(&script), Arc::clone(&queries), Arc::clone(&names));
                std::thread::spawn(move || {
                    while let Some(bytes) = read_frame(&mut stream) {
                        let Ok(query) = Message::from_vec(&bytes) else { return };
                        queries.fetch_add(1, Ordering::SeqCst);
                        note_name(&names, &query);
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
