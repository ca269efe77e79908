//! The built binary on a state file, before upstreams that answer or stay silent.

use std::net::SocketAddr;
use std::path::Path;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use rustix::process::Signal;

use crate::support::asking::ask;
use crate::support::binary::*;
use crate::support::messages::query;
use crate::support::upstream::Upstream;

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
        let (process, address) = serve("ready", |command, _| {
            command.args(["--upstream", &upstream.to_string(), "--state"]).arg(state);
            command.env("HOLDOVER_STATE_WRITE_EVERY", "100ms").env("HOLDOVER_DRAIN_IDLE", "0s");
            prepare(command);
        });
        Self { process, address }
    }

    /// Asks for one name, and says whether the answer holds an address.
    pub fn knows(&self, name: &str) -> bool {
        let message = ask(self.address, &query(name, RecordType::A));
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
    Upstream::answering(60, 7)
}

/// An upstream that never answers.
pub fn nobody() -> Upstream {
    Upstream::silent()
}
