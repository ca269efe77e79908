//! The sidecar of the restart drill: a real child process with a state file, killed in the middle of the outage and started again.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::client::Prepared;
use super::zone;
use crate::core::upstream_query::Extension;

/// How long the child may take until it answers; far longer than the verdict allows.
const START_MAX: Duration = Duration::from_secs(10);
/// How often it is asked until it answers.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// The child.
pub(super) struct Restarted {
    /// Its process.
    child: Child,
    /// Where it listens.
    address: SocketAddr,
    /// Its upstream.
    upstream: SocketAddr,
    /// Where its state file lies; removed in the end.
    folder: PathBuf,
}

/// The time in which nobody listened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// From the kill …
    pub(super) from: Instant,
    /// … to the first answer of the next process; none while that is awaited.
    pub(super) until: Option<Instant>,
}

/// Packets that had arrived and were not answered when the process was killed are as old as this at the most.
const IN_FLIGHT: Duration = Duration::from_millis(20);

impl Gap {
    /// Whether a query that was due then had nobody to answer it.
    pub(super) fn covers(&self, due: Instant) -> bool {
        due + IN_FLIGHT >= self.from && self.until.is_none_or(|until| due < until)
    }
}

impl Restarted {
    /// Starts the child before this upstream and waits until it answers.
    pub(super) fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("holdover-drill-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
        let address = listener.local_addr()?;
        drop(listener);
        let child = spawn(address, upstream, &folder)?;
        let started = Self { child, address, upstream, folder };
        started.wait_for_answer()?;
        Ok(started)
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the child and starts it again; gives how long that one took from its start to its first answer.
    pub(super) fn restart(&mut self) -> anyhow::Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let began = Instant::now();
        self.child = spawn(self.address, self.upstream, &self.folder)?;
        self.wait_for_answer()?;
        Ok(began.elapsed())
    }

    /// Asks for a name until there is an answer of any kind.
    fn wait_for_answer(&self) -> anyhow::Result<()> {
        let question = zone::questions(0).into_iter().next().context("no name")?;
        let query = Prepared::new(question, Extension::Plain).query(1);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(ASK_EVERY))?;
        let began = Instant::now();
        let mut answer = [0; 512];
        while began.elapsed() < START_MAX {
            // Refused while nobody listens.
            if socket.send(&query).is_ok() && socket.recv(&mut answer).is_ok() {
                return Ok(());
            }
            std::thread::sleep(ASK_EVERY / 4);
        }
        anyhow::bail!("the sidecar does not answer on {}", self.address)
    }
}

impl Drop for Restarted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Starts `holdover serve`.
fn spawn(address: SocketAddr, upstream: SocketAddr, folder: &std::path::Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.arg("serve").args(["--listen", &address.to_string(), "--upstream", &upstream.to_string(), "--log-level", "error"]);
    command.arg("--state").arg(folder.join("state.redb"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HOLDOVER_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start the sidecar")
}
