//! A server that a test scripts, and the other parts that a link needs to be tested without a
//! sidecar.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::link::{Link, SharedCachePorts};
use super::replies;
use super::seal::Seal;
use super::secrets::Secrets;
use super::status::LinkStatus;
use crate::config::settings::{Server, SharedCacheServers, SharedCacheSettings, SharedCacheTransport, Topology};
use crate::core::classify::classify;
use crate::core::entry::Entry;
use crate::core::key::{Dnssec, Key};
use crate::core::routes::Routes;
use crate::core::testing::{Response, name, policy};
use crate::core::time::{Clock, Timestamp};
use crate::memory::Memory;
use crate::resolver::ports::{Answer, Chance, PortFuture};

/// The time at which all tests happen.
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct World;

impl Clock for World {
    fn now(&self) -> Timestamp {
        NOW
    }
}

impl Chance for World {
    fn number(&self) -> u64 {
        0
    }
}

impl Answer for World {
    fn answer(&self, _: Vec<u8>, _: std::net::SocketAddr) -> PortFuture<Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }
}

pub(super) fn seal() -> Seal {
    Seal::new("web", &[1; 32], None)
}

pub(super) fn key(text: &str) -> Key {
    Key::new(&name(text), 1, 1, Dnssec::default())
}

/// A positive answer that came now.
pub(super) fn entry(text: &str) -> Entry {
    let bytes = Response::new(text, 1).a(text, 60).bytes();
    Entry::remember(&key(text), &bytes, classify(1, &bytes), &policy(), NOW).unwrap().entry
}

pub(super) fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(&policy(), Routes::new(&[]), Arc::new(World)))
}

/// A bulk string as a reply.
pub(super) fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A server that replies to each command with the next of its replies, and closes the connection
/// when it has none left. The probe gets a reply of its own.
#[derive(Clone, Default)]
pub(super) struct Script {
    replies: Arc<Mutex<VecDeque<Vec<u8>>>>,
    commands: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// Adds a reply to the end of the script.
    pub(super) fn reply(&self, reply: impl Into<Vec<u8>>) -> &Self {
        self.replies.lock().push_back(reply.into());
        self
    }

    /// The names of the commands since the last time, without those of the probe.
    pub(super) fn commands(&self) -> Vec<String> {
        std::mem::take(&mut *self.commands.lock())
    }

    /// A link to this server, which is not connected yet.
    pub(super) async fn link(&self, memory: &Arc<Memory>) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.serve(stream).await;
            }
        });
        let settings = SharedCacheSettings {
            url: format!("redis://127.0.0.1:{port}"),
            servers: SharedCacheServers {
                topology: Topology::Single,
                hosts: vec![Server { host: "127.0.0.1".to_owned(), port }],
                transport: SharedCacheTransport::Plain,
                database: 0,
            },
            group: "web".to_owned(),
            key_file: PathBuf::new(),
            former_key_file: None,
            username: None,
            password: None,
            ca_file: None,
            timeout: Duration::from_secs(10),
            start_names: 10,
        };
        let secrets = Secrets { seal: seal(), password: None, tls: None };
        let ports = SharedCachePorts { memory: Arc::clone(memory), chance: Arc::new(World), answer: Arc::new(World) };
        Link::new(&settings, secrets, ports, Arc::new(LinkStatus::new(NOW)))
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut received = Vec::new();
        loop {
            while let Ok(Some(end)) = replies::end(&received) {
                let rest = received.split_off(end);
                let Ok(Value::Array(words)) = redis::parse_redis_value(&std::mem::replace(&mut received, rest)) else {
                    return;
                };
                let reply = if words.get(1) == Some(&Value::BulkString(b"holdover:{web}:".to_vec())) {
                    Some(bulk(b""))
                } else {
                    let Some(Value::BulkString(name)) = words.first() else { return };
                    self.commands.lock().push(String::from_utf8_lossy(name).into_owned());
                    self.replies.lock().pop_front()
                };
                let Some(reply) = reply else { return };
                if stream.write_all(&reply).await.is_err() {
                    return;
                }
            }
            if !stream.read_buf(&mut received).await.is_ok_and(|length| length > 0) {
                return;
            }
        }
    }
}
