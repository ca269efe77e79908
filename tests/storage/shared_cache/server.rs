//! Real `redis-server` processes on loopback, each in a folder of its own: a single server, a
//! sentinel, or the members of a cluster.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::binary::{PATIENCE, loopback};
use crate::support::waiting::eventually;

/// The server program; Valkey's takes the same arguments.
const PROGRAM: &str = "redis-server";

/// Whether `redis-server` is installed. Without it the test prints that it is skipped, or fails if
/// `REQUIRE_REDIS` is set.
pub fn is_here() -> bool {
    let here = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !here {
        assert!(std::env::var_os("REQUIRE_REDIS").is_none(), "{PROGRAM} is not here, and REQUIRE_REDIS is set");
        eprintln!("SKIPPED: {PROGRAM} is not here (Debian: apt-get install redis-server openssl)");
    }
    here
}

/// A server process, which is killed when the value is dropped.
pub struct Server {
    child: Option<Child>,
    address: &'static str,
    pub port: u16,
    pub folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server that keeps no file on disk, with further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let mut own = Self::prepare(arguments);
        own.again();
        own
    }

    /// A server that has its port, but is not running yet.
    pub fn prepare(arguments: &[&str]) -> Self {
        Self::prepare_at("127.0.0.1", loopback().port(), arguments)
    }

    /// The same at a certain loopback address and port.
    pub fn prepare_at(address: &'static str, port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { child: None, address, port, folder, arguments }
    }

    /// Starts the server again, empty, at the same port.
    pub fn again(&mut self) {
        self.kill();
        let dir = self.folder.path().to_str().unwrap().to_owned();
        let port = self.port.to_string();
        let common = [
            "--port",
            &port,
            "--bind",
            self.address,
            "--dir",
            &dir,
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ];
        let mut command = Command::new(PROGRAM);
        command.args(common).args(&self.arguments);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        self.wait_until_it_listens(self.port);
    }

    /// Starts a sentinel that watches the primary `main` at this port.
    pub fn sentinel(primary: u16) -> Self {
        let mut own = Self::prepare(&[]);
        let file = own.folder.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            own.port,
            own.folder.path().display()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        own.child = Some(command.spawn().unwrap());
        own.wait_until_it_listens(own.port);
        own
    }

    fn wait_until_it_listens(&mut self, port: u16) {
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect((self.address, port)).is_err() {
            let ended = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some());
            assert!(!ended && Instant::now() < end, "{PROGRAM} does not listen on {port}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}:{}", self.address, self.port)
    }

    /// Sends a command of text arguments, and gives the reply.
    #[track_caller]
    pub fn say<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.tell(&words)
    }

    /// Sends a command of binary arguments, and gives the reply. It tries again on a new connection
    /// if one is cut, as a sentinel cuts the connections of a replica that it promotes.
    #[track_caller]
    pub fn tell<T: redis::FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        let ask = || command.query(&mut redis::Client::open(self.url())?.get_connection_with_timeout(PATIENCE)?);
        let mut reply = ask();
        for _ in 0..4 {
            if !reply
                .as_ref()
                .is_err_and(|problem: &redis::RedisError| problem.is_connection_dropped() || problem.is_io_error())
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            reply = ask();
        }
        reply.unwrap()
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        eventually(what, PATIENCE * 2, || holds(self));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A certificate authority, and a server certificate that it signed.
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    pub fn make() -> Self {
        let own = Self { folder: tempfile::tempdir().unwrap() };
        let extensions = "subjectAltName=IP:127.0.0.1,DNS:cache.example.com\nbasicConstraints=critical,CA:FALSE\n";
        std::fs::write(own.file("server.ext"), extensions).unwrap();
        own.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -keyout \
                     ca.key -out ca.pem",
        );
        own.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cache -keyout server.key -out server.csr",
        );
        own.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext \
                     -out server.pem",
        );
        own
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }
}

/// Starts three servers and joins them to one cluster.
pub fn cluster() -> [Server; 3] {
    let members = [(); 3].map(|()| {
        // The cluster bus listens on a second port, which has to be free as well.
        let bus = loopback().port().to_string();
        Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
    });
    let addresses = members.iter().map(|server| format!("127.0.0.1:{}", server.port));
    let output = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .arg("--cluster-yes")
        .output()
        .expect("redis-cli");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for member in &members {
        member.wait_until("the cluster is whole", |own| {
            own.say::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
    }
    members
}
