//! The sidecar of the restart drill: a real child process with a state file, killed in the middle
//! of the outage and started again; and, where a shared cache is given, a new, empty instance
//! beside it, which lives from that.

use std::ffi::OsString;
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

/// The child, and the newcomer beside it.
pub(super) struct Restarted {
    /// Its process.
    child: Process,
    /// A new instance, where there is a shared cache.
    newcomer: Option<Process>,
    /// What both begin with.
    setup: Setup,
}

/// What the processes begin with.
struct Setup {
    /// Their upstream.
    upstream: SocketAddr,
    /// Where the state file and the fleet's key lie; removed in the end.
    folder: PathBuf,
    /// URL of the cache that they share.
    shared_cache: Option<String>,
}

/// A running `holdover serve`, killed in the end.
struct Process {
    /// It.
    child: Child,
    /// Where it listens.
    address: SocketAddr,
}

/// The time in which nobody listened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// From the kill …
    pub(super) from: Instant,
    /// … to the first answer of the next process; none while that is awaited.
    pub(super) until: Option<Instant>,
}

/// Packets that had arrived and were not answered when the process was killed are as old as this at
/// the most.
const IN_FLIGHT: Duration = Duration::from_millis(20);

impl Gap {
    /// Whether a query that was due then had nobody to answer it.
    pub(super) fn covers(&self, due: Instant) -> bool {
        due + IN_FLIGHT >= self.from && self.until.is_none_or(|until| due < until)
    }
}

impl Restarted {
    /// Starts the child before this upstream, with this shared cache if any, and waits until it
    /// answers.
    pub(super) fn start(upstream: SocketAddr, shared_cache: Option<&str>) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("holdover-drill-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let setup = Setup { upstream, folder, shared_cache: shared_cache.map(str::to_owned) };
        if setup.shared_cache.is_some() {
            std::fs::write(setup.key_file(), rand::random::<[u8; 32]>()).context("cannot write the fleet's key")?;
        }
        let child = setup.start(free_address()?, &["--state".into(), setup.state_file().into()])?;
        Ok(Self { child, newcomer: None, setup })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.child.address
    }

    /// Kills the child and starts it again; gives how long that one took from its start to its
    /// first answer.
    pub(super) fn restart(&mut self) -> anyhow::Result<Duration> {
        self.child.end();
        let began = Instant::now();
        self.child = self.setup.start(self.child.address, &["--state".into(), self.setup.state_file().into()])?;
        Ok(began.elapsed())
    }

    /// Starts a new instance without a state file, if there is a cache to share; gives where it
    /// listens once it answers.
    pub(super) fn start_newcomer(&mut self) -> anyhow::Result<Option<SocketAddr>> {
        if self.setup.shared_cache.is_some() {
            self.newcomer = Some(self.setup.start(free_address()?, &["--state".into(), "off".into()])?);
        }
        Ok(self.newcomer.as_ref().map(|newcomer| newcomer.address))
    }
}

impl Setup {
    /// The state file of the one that is started again.
    fn state_file(&self) -> PathBuf {
        self.folder.join("state.redb")
    }

    /// The key of the drill's fleet.
    fn key_file(&self) -> PathBuf {
        self.folder.join("fleet.key")
    }

    /// Starts `holdover serve` and waits until it answers.
    fn start(&self, address: SocketAddr, arguments: &[OsString]) -> anyhow::Result<Process> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("serve").args([
            "--listen",
            &address.to_string(),
            "--upstream",
            &self.upstream.to_string(),
            "--log-level",
            "error",
        ]);
        command.args(arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_to_be_left_out(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        if let Some(url) = &self.shared_cache {
            command.env("HOLDOVER_SHARED_CACHE_URL", url).env("HOLDOVER_SHARED_CACHE_KEY_FILE", self.key_file());
            // Nobody else's entries, and none that outlive the longest drill for long.
            command
                .env("HOLDOVER_SHARED_CACHE_GROUP", format!("drill-{}", std::process::id()))
                .args(["--maximum-stale", "1h"]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start the sidecar")?;
        let started = Process { child, address };
        started.wait_for_answer()?;
        Ok(started)
    }
}

/// Variables of this process are not for the drill's, but for those that open its shared cache.
fn is_to_be_left_out(name: &str) -> bool {
    const KEPT: [&str; 4] = ["USERNAME", "PASSWORD", "PASSWORD_FILE", "CA_FILE"];
    let is_kept = name.strip_prefix("HOLDOVER_SHARED_CACHE_").is_some_and(|key| KEPT.contains(&key));
    name.starts_with("HOLDOVER_") && !is_kept
}

/// An address of loopback where nobody listens.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?)
}

impl Process {
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

    /// Kills it.
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Restarted {
    fn drop(&mut self) {
        self.child.end();
        let _ = std::fs::remove_dir_all(&self.setup.folder);
    }
}
