//! The built binary as a child process: started, watched, ended; no wait is without a bound, and no
//! child outlives its test.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use super::waiting::PATIENCE;

/// Ports that were handed out in this test process.
static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// An address of this host whose port is free for UDP and TCP, and that no other test in this
/// process gets.
pub fn free_address(ip: impl Into<IpAddr>) -> SocketAddr {
    let ip = ip.into();
    for _ in 0..100 {
        let tcp = TcpListener::bind((ip, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        let fresh = TAKEN.lock().unwrap().get_or_insert_default().insert(address.port());
        if fresh && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on {ip}");
}

/// A free address on 127.0.0.1.
pub fn loopback() -> SocketAddr {
    free_address(Ipv4Addr::LOCALHOST)
}

/// Has children of this process hear what ends them: a shell without job control has what it starts
/// in the background ignore Ctrl-C, and who ignores it hands that on.
fn hear_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
            // SAFETY: SIG_DFL is no handler: nothing of this process is called.
            #[allow(unsafe_code)]
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    });
}

/// The binary, without the variables of whoever runs the tests.
pub fn holdover() -> Command {
    clean(env!("CARGO_BIN_EXE_holdover"))
}

/// A command without variables that holdover would read.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    hear_signals();
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDOVER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
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

/// A child that is killed when it goes out of sight.
pub struct Running {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

/// What a child left behind.
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
        let stdout = Collected::from(child.stdout.take().unwrap());
        let stderr = Collected::from(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Its resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.stderr.lines()
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

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Closes its standard input, which has to be a pipe.
    pub fn end_input(mut self) -> Self {
        drop(self.child.stdin.take().expect("a pipe"));
        self
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; too late is a failure of the test, and so is a panic in the child.
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

/// Runs a command that should end by itself soon.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    Running::spawn(command).finish(PATIENCE)
}
