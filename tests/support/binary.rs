//! The built binary as a child process: started, watched, ended. No wait is without a bound, and no
//! child outlives its test.
//!
//! A child does not depend on who runs the tests. It gets no `HOLDOVER_…` variables, and its
//! signals mean what they mean by default: `nohup` and a shell that starts something in the
//! background have it ignore SIGHUP, SIGINT or SIGQUIT, and an ignored signal is handed on from
//! parent to child.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use super::waiting::PATIENCE;

/// Ports for children. The system gives out ports from 32768 by itself, to clients and to whoever
/// binds port 0, so that none of those takes a port between its choice here and the child's start.
const PORTS: Range<u32> = 20_000..32_000;

/// Ports that were chosen in this test process.
static CHOSEN: AtomicU32 = AtomicU32::new(0);

/// An address of this host whose port is free for UDP and TCP, and that no other test in this
/// process gets.
pub fn free_address(ip: impl Into<IpAddr>) -> SocketAddr {
    let ip = ip.into();
    // Test processes that run at the same time begin at different ports.
    let begin = std::process::id() % 97 * 123;
    for _ in 0..1_000 {
        let place = (begin + CHOSEN.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        let address = SocketAddr::new(ip, u16::try_from(PORTS.start + place).unwrap());
        let tcp = TcpListener::bind(address);
        if tcp.is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on {ip}");
}

/// A free address on 127.0.0.1.
pub fn loopback() -> SocketAddr {
    free_address(Ipv4Addr::LOCALHOST)
}

/// The built binary, prepared as [`clean`] does.
pub fn holdover() -> Command {
    clean(env!("CARGO_BIN_EXE_holdover"))
}

/// A command without variables that holdover would read, and with the default meaning of every
/// signal. Its output is collected.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDOVER_") {
            command.env_remove(name);
        }
    }
    hear_signals(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Gives every signal its default meaning in the child. The test process itself stays as it was
/// started: under `nohup` it goes on when the terminal is closed.
#[allow(unsafe_code, reason = "only pre_exec runs between fork and exec")]
fn hear_signals(command: &mut Command) {
    // SAFETY: signal(2) may be called between fork and exec; SIG_DFL is no handler, so that nothing
    // of this process is called, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            for signal in 1..32 {
                // SIGKILL and SIGSTOP refuse, and need nothing.
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

/// Starts `holdover serve` on a free address, prepared further by the caller, and waits for a line
/// of its log.
#[track_caller]
pub fn serve(line: &str, prepare: impl Fn(&mut Command, SocketAddr)) -> (Running, SocketAddr) {
    // Another process may take the port between its choice and the start.
    for _ in 0..5 {
        let address = loopback();
        let mut command = holdover();
        command.args(["serve", "--listen", &address.to_string()]);
        prepare(&mut command, address);
        let mut process = Running::spawn(&mut command);
        if process.wait_for(line).is_some() {
            return (process, address);
        }
        let log = process.log();
        assert!(log.iter().any(|line| line.contains("in use")), "did not start: {log:#?}");
    }
    panic!("no port stayed free");
}

/// Lines that a thread collects from a pipe.
struct Collected {
    lines: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Collected {
    fn from(pipe: impl Read + Send + 'static) -> Self {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let into = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                into.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
                line.clear();
            }
        });
        Self { lines, thread: Some(thread) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until the pipe is closed: call it only when the child has ended.
    fn finish(&mut self) -> Vec<String> {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.lines()
    }
}

/// A child process, which is killed when the value is dropped.
pub struct Running {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

/// How a child ended, and what it wrote.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code; a signal that killed it is a failure of the test.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("killed: {self:?}"))
    }
}

impl Running {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        // What a test gives the child as standard output or error, it reads itself.
        let stdout = child.stdout.take().map_or_else(|| Collected::from(std::io::empty()), Collected::from);
        let stderr = child.stderr.take().map_or_else(|| Collected::from(std::io::empty()), Collected::from);
        Self { child, stdout, stderr }
    }

    /// The child's resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The lines that the child has written to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// The lines that the child has written to standard output so far.
    pub fn output(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// Waits for a line of standard error that contains this; `None` when the child ended without
    /// one.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> Option<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            let log = if ended { self.stderr.finish() } else { self.stderr.lines() };
            if let Some(line) = log.iter().find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            if ended {
                return None;
            }
            assert!(Instant::now() < end, "no {text:?} within {PATIENCE:?}: {log:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes the child's standard input, which has to be a pipe.
    pub fn end_input(mut self) -> Self {
        drop(self.child.stdin.take().expect("a pipe"));
        self
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the child ends. A child that runs longer than `within`, or that panicked, fails
    /// the test.
    #[track_caller]
    pub fn finish(mut self, within: Duration) -> Finished {
        let end = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "still running after {within:?}: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (self.stdout.finish().join("\n"), self.stderr.finish().join("\n"));
        assert!(!stderr.contains("panicked"), "{stderr}");
        Finished { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that ends by itself within [`PATIENCE`].
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    Running::spawn(command).finish(PATIENCE)
}
