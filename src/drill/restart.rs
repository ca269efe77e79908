//! The sidecar of the scenario restart: a child process with a state file, which is killed halfway
//! through the fault and started again.
//!
//! With a shared cache, a second child process starts beside it after the restart: a new instance
//! without a state file, which can answer only from the shared cache.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::client::PreparedQuery;
use super::zone::{self, AppName};
use crate::core::upstream_query::Extension;

/// Longest time that a child process may take until it answers; far longer than is promised.
const START_MAX: Duration = Duration::from_secs(10);
/// How often a child process is asked until it answers.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// Age of the oldest packets that the process had received and not yet answered when it was killed.
const IN_FLIGHT: Duration = Duration::from_millis(20);
/// Keys of `[shared_cache]` that a child process takes from the environment of this one, because
/// they are needed to open the shared cache.
const INHERITED_KEYS: [&str; 4] = ["USERNAME", "PASSWORD", "PASSWORD_FILE", "CA_FILE"];

/// The sidecar under test as a child process, and the new instance beside it.
pub(super) struct ChildSidecar {
    child: Process,
    /// The new instance, once it was started.
    newcomer: Option<Process>,
    setup: Setup,
}

/// The settings that all child processes of one drill have in common.
struct Setup {
    upstream: SocketAddr,
    /// Folder of the state file and the shared cache's key; removed at the end.
    folder: PathBuf,
    /// URL of the shared cache; `None` without one.
    shared_cache: Option<String>,
}

/// A running `holdover serve`, which is killed when this value is dropped.
struct Process {
    child: Child,
    /// Address on which the process listens.
    address: SocketAddr,
}

/// Time in which the sidecar was not listening.
#[derive(Clone, Copy, Debug)]
pub(super) struct Downtime {
    /// When the sidecar was killed.
    pub(super) from: Instant,
    /// When the restarted sidecar gave its first answer; `None` until then.
    pub(super) until: Option<Instant>,
}

impl Downtime {
    /// Whether no sidecar was there to answer a query that was due at this moment.
    pub(super) fn covers(&self, due: Instant) -> bool {
        due + IN_FLIGHT >= self.from && self.until.is_none_or(|until| due < until)
    }
}

impl ChildSidecar {
    /// Starts the sidecar in front of this upstream, with this shared cache if any, and waits until
    /// it answers.
    pub(super) fn start(upstream: SocketAddr, shared_cache: Option<&str>) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("holdover-drill-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let setup = Setup { upstream, folder, shared_cache: shared_cache.map(str::to_owned) };
        if setup.shared_cache.is_some() {
            std::fs::write(setup.key_file(), rand::random::<[u8; 32]>())
                .context("cannot write the key of the shared cache")?;
        }
        let child = setup.start(free_address()?, &["--state".into(), setup.state_file().into()])?;
        Ok(Self { child, newcomer: None, setup })
    }

    /// Address on which the sidecar listens, before and after the restart.
    pub(super) const fn address(&self) -> SocketAddr {
        self.child.address
    }

    /// Kills the sidecar and starts it again; gives the time from that start to the first answer.
    pub(super) fn restart(&mut self) -> anyhow::Result<Duration> {
        self.child.kill();
        let began = Instant::now();
        self.child = self.setup.start(self.child.address, &["--state".into(), self.setup.state_file().into()])?;
        Ok(began.elapsed())
    }

    /// Starts a new instance without a state file and waits until it answers; gives the address on
    /// which it listens, or `None` without a shared cache.
    pub(super) fn start_newcomer(&mut self) -> anyhow::Result<Option<SocketAddr>> {
        if self.setup.shared_cache.is_some() {
            self.newcomer = Some(self.setup.start(free_address()?, &["--state".into(), "off".into()])?);
        }
        Ok(self.newcomer.as_ref().map(|newcomer| newcomer.address))
    }
}

impl Setup {
    /// State file of the sidecar that is killed and started again.
    fn state_file(&self) -> PathBuf {
        self.folder.join("state.redb")
    }

    /// File with the key that signs entries of the shared cache.
    fn key_file(&self) -> PathBuf {
        self.folder.join("shared-cache.key")
    }

    /// Starts `holdover serve` on this address and waits until the process answers.
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
        // The drill tests the default settings, whatever is configured by this process's
        // environment.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_left_out(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        if let Some(url) = &self.shared_cache {
            command.env("HOLDOVER_SHARED_CACHE_URL", url).env("HOLDOVER_SHARED_CACHE_KEY_FILE", self.key_file());
            // A group of its own keeps the drill away from entries that others have published. Its
            // own entries outlive the longest drill by little.
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

/// Whether an environment variable configures holdover and a child process must not inherit it.
fn is_left_out(variable: &str) -> bool {
    let is_inherited = variable.strip_prefix("HOLDOVER_SHARED_CACHE_").is_some_and(|key| INHERITED_KEYS.contains(&key));
    variable.starts_with("HOLDOVER_") && !is_inherited
}

/// An address of loopback with a port on which nothing listens.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?)
}

impl Process {
    /// Asks for a name until there is a response of any kind.
    fn wait_for_answer(&self) -> anyhow::Result<()> {
        let question = zone::questions(AppName::public(0)).into_iter().next().context("no name")?;
        let query = PreparedQuery::new(question, Extension::Plain).with_id(1);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(ASK_EVERY))?;
        let began = Instant::now();
        let mut response = [0; 512];
        while began.elapsed() < START_MAX {
            // As long as nothing listens, the kernel rejects the packet and both calls can fail.
            if socket.send(&query).is_ok() && socket.recv(&mut response).is_ok() {
                return Ok(());
            }
            std::thread::sleep(ASK_EVERY / 4);
        }
        anyhow::bail!("the sidecar does not answer on {}", self.address)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Drop for ChildSidecar {
    fn drop(&mut self) {
        // The sidecar writes to its state file, so it has to end before the folder is removed.
        self.child.kill();
        let _ = std::fs::remove_dir_all(&self.setup.folder);
    }
}
