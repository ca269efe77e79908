"""The servers under load: how each one is configured, started, killed and measured."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

from upstream import die_with_parent, query

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
START_MAX = 15.0  # seconds
PACKAGES = {
    "dnsperf": "dnsperf",
    "stdbuf": "coreutils",
    "unbound": "unbound",
    "dnsmasq": "dnsmasq-base",
    "named": "bind9",
    "kresd": "knot-resolver",
    "pdns_recursor": "pdns-recursor",
    "dnsdist": "dnsdist",
}
# The arguments with which each program prints its version.
VERSIONS = {
    "unbound": ["-V"],
    "dnsmasq": ["--version"],
    "named": ["-v"],
    "kresd": ["--version"],
    "pdns_recursor": ["--version"],
    "dnsdist": ["--version"],
    "dnsperf": ["-h"],
}
DAY = 86_400


def install(programs):
    """Installs missing programs, without letting their packages start services."""
    missing = sorted({PACKAGES[program] for program in programs if program in PACKAGES and not shutil.which(program, path=PATH)})
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"missing: {', '.join(missing)}; install them, or run this as root")
    # With RUNLEVEL=1, packages do not start their services.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "-q", *arguments], env=quiet, check=True, timeout=900, stdout=sys.stderr)


def build():
    """Builds holdover, and returns the path of the binary."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "holdover"], cwd=ROOT, check=True, timeout=1800, stdout=sys.stderr)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "holdover"


def free_port():
    """Returns a loopback port that is free for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return udp.getsockname()[1]


def version(program):
    """Returns the version number of a program, or "?" if it prints none."""
    done = subprocess.run([program, *VERSIONS.get(pathlib.Path(program).name, ["--version"])], env={"PATH": PATH}, capture_output=True, text=True, timeout=10)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "?"


def holdover(folder, port, upstream):
    """holdover with its default settings and a state file."""
    return [BINARY, "serve", "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{upstream}", *state(folder)]


def state(folder):
    """Returns the flags for a state file; versions without state files have none."""
    told = subprocess.run([BINARY, "serve", "--help"], capture_output=True, text=True, timeout=10).stdout
    return ["--state", folder / "holdover.state"] if "--state" in told else []


def unbound(folder, port, upstream, timer):
    """Unbound with serve-expired; `timer` is its client timeout in milliseconds."""
    path = folder / "unbound.conf"
    path.write_text(f"""server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  pidfile: ""
  directory: "{folder}"
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  serve-expired: yes
  serve-expired-ttl: {DAY}
  serve-expired-client-timeout: {timer}
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
""")
    return ["unbound", "-d", "-c", path]


def dnsmasq(_folder, port, upstream):
    """dnsmasq with use-stale-cache."""
    return ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts", "--bind-interfaces",
            "--listen-address=127.0.0.1", f"--port={port}", f"--server=127.0.0.1#{upstream}", "--cache-size=10000", f"--use-stale-cache={DAY}",
            "--user=root"]


def bind(folder, port, upstream, timer):
    """BIND with stale-answer-enable; `timer` is its client timeout in milliseconds, or "off"."""
    path = folder / "named.conf"
    path.write_text(f"""options {{
  directory "{folder}";
  pid-file none;
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  forwarders port {upstream} {{ 127.0.0.1; }};
  forward only;
  recursion yes;
  dnssec-validation no;
  empty-zones-enable no;
  stale-cache-enable yes;
  stale-answer-enable yes;
  stale-answer-client-timeout {timer};
  max-stale-ttl {DAY};
}};
controls {{ }};
""")
    return ["named", "-g", "-c", path, "-n", "1"]


def knot(folder, port, upstream):
    """Knot Resolver with the module serve_stale; it always keeps its cache in a file."""
    path = folder / "kresd.conf"
    path.write_text(f"""net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
modules = {{ 'serve_stale < cache' }}
cache.size = 100 * MB
trust_anchors.remove('.')
policy.add(policy.all(policy.FORWARD({{'127.0.0.1@{upstream}'}})))
""")
    return ["kresd", "-n", "-c", path, folder]


def recursor(folder, port, upstream):
    """PowerDNS Recursor with serve-stale-extensions: a day in steps of 30 s."""
    path = folder / "recursor.conf"
    path.write_text(f"""local-address=127.0.0.1
local-port={port}
forward-zones-recurse=.=127.0.0.1:{upstream}
serve-stale-extensions={DAY // 30}
dnssec=off
dont-query=
security-poll-suffix=
socket-dir={folder}
daemon=no
threads=1
""")
    return ["pdns_recursor", f"--config-dir={folder}"]


def dnsdist(folder, port, upstream):
    """dnsdist with stale entries in its packet cache, served while no server is up.

    Its health checks decide whether a server is up.
    """
    path = folder / "dnsdist.conf"
    path.write_text(f"""setLocal('127.0.0.1:{port}')
setACL('127.0.0.0/8')
setSecurityPollSuffix('')
newServer({{address='127.0.0.1:{upstream}'}})
getPool(''):setCache(newPacketCache(10000, {{maxTTL={DAY}, keepStaleData=true}}))
setStaleCacheEntriesTTL(30)
""")
    return ["dnsdist", "--supervised", "--disable-syslog", "-C", path]


BINARY = "holdover"
# Label, program and command of each server, by the key that `--only` takes.
CONTENDERS = {
    "holdover": ("holdover", None, holdover),
    "unbound": ("Unbound, serve-expired", "unbound", lambda *a: unbound(*a, 1800)),
    "unbound-0": ("Unbound, client timeout 0", "unbound", lambda *a: unbound(*a, 0)),
    "dnsmasq": ("dnsmasq, use-stale-cache", "dnsmasq", dnsmasq),
    "bind": ("BIND, stale-answer-enable", "named", lambda *a: bind(*a, "off")),
    "bind-0": ("BIND, client timeout 0", "named", lambda *a: bind(*a, 0)),
    "knot": ("Knot Resolver, serve_stale", "kresd", knot),
    "pdns": ("PowerDNS Recursor, serve-stale-extensions", "pdns_recursor", recursor),
    "dnsdist": ("dnsdist, keepStaleData", "dnsdist", dnsdist),
}


class Server:
    """A server on its own loopback port, with a folder that is kept when it is started again."""

    def __init__(self, key, folder, upstream):
        self.folder, self.port = folder, free_port()
        self.command = [str(part) for part in CONTENDERS[key][2](folder, self.port, upstream)]
        self.log = folder / "log"
        self.process = None

    def start(self):
        """Starts the server, and returns the seconds until it listens."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            environment = {"PATH": PATH, "HOME": str(self.folder)}
            self.process = subprocess.Popen(self.command, env=environment, stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent)
        while time.monotonic() < began + START_MAX and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return time.monotonic() - began
            time.sleep(0.005)
        sys.exit(f"{self.command[0]} does not listen:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self):
        """Kills the server with SIGKILL."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def cpu(self):
        """Returns the user and system time so far, in seconds."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Returns the resident memory in MiB."""
        return int(re.search(r"VmRSS:\s+(\d+)", self._status())[1]) / 1024

    def threads(self):
        """Returns the number of threads."""
        return int(re.search(r"Threads:\s+(\d+)", self._status())[1])

    def descriptors(self):
        """Returns the number of open file descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _status(self):
        return pathlib.Path(f"/proc/{self.process.pid}/status").read_text()


class Canary:
    """A client that returns whole responses, so that the age of an answer can be read from it."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.number = 0

    def ask(self, name, seconds):
        """Sends one query, and returns the response, or None if none comes in time."""
        self.number = (self.number + 1) & 0xFFFF
        until = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            self.socket.send(query(name, self.number))
            while (left := until - time.monotonic()) > 0:
                self.socket.settimeout(left)
                response = self.socket.recv(4096)
                if response[:2] == self.number.to_bytes(2, "big"):
                    return response
        return None

    def close(self):
        """Closes the socket."""
        self.socket.close()
