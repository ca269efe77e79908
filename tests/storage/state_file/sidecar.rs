//! The built binary on a state file, and upstreams that answer or do not.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rustix::process::Signal;

use crate::support::binary::*;
use crate::support::harness::{Reaction, Upstream, address, query};

/// A running `holdover serve` on a state file.
pub struct Sidecar {
    pub process: Running,
    pub address: SocketAddr,
}

impl Sidecar {
    #[track_caller]
    pub fn start(state: &Path, upstream: SocketAddr) -> Self {
        Self::started(state, upstream, |_| {})
    }

    #[track_caller]
    pub fn started(state: &Path, upstream: SocketAddr, prepare: impl Fn(&mut std::process::Command)) -> Self {
        for _ in 0..5 {
            let address = loopback();
            let mut command = holdover();
            command
                .args(["serve", "--listen", &address.to_string(), "--upstream", &upstream.to_string(), "--state"])
                .arg(state);
            command.env("HOLDOVER_STATE_WRITE_EVERY", "100ms").env("HOLDOVER_DRAIN_IDLE", "0s");
            prepare(&mut command);
            let mut process = Running::spawn(&mut command);
            if process.wait_for("ready").is_some() {
                return Self { process, address };
            }
            let log = process.log();
            assert!(log.iter().any(|line| line.contains("in use")), "did not start: {log:#?}");
        }
        panic!("no port stayed free");
    }

    /// Asks for one name; whether there was an address.
    pub fn knows(&self, name: &str) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect(self.address).unwrap();
        socket.send(&query(name, RecordType::A).to_vec().unwrap()).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("an answer");
        let message = Message::from_vec(&buffer[..length]).unwrap();
        message.metadata.response_code == ResponseCode::NoError && !message.answers.is_empty()
    }

    #[track_caller]
    pub fn expect_all(&self, names: &[String]) {
        let missing: Vec<_> = names.iter().filter(|name| !self.knows(name)).collect();
        assert!(
            missing.is_empty(),
            "{} of {} are lost, such as {}\n{:#?}",
            missing.len(),
            names.len(),
            missing[0],
            self.process.log()
        );
    }

    pub fn kill(self) {
        self.process.signal(Signal::KILL);
        drop(self.process.finish(PATIENCE));
    }

    pub fn says(&self, text: &str) -> usize {
        self.process.log().iter().filter(|line| line.contains(text)).count()
    }
}

pub fn upstream() -> Upstream {
    Upstream::start(|query, _| Reaction::Send(address(query, 60, 7)))
}

/// Where nobody answers.
pub fn nobody() -> Upstream {
    Upstream::start(|_, _| Reaction::Silence)
}
