"""One private network: two upstreams, and an application with glibc and with musl, each with a sidecar and without; what breaks it."""

import ipaddress
import itertools
import os
import pathlib
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from engine import HERE, PATH, PREFIX, RUN, Failed, demand, docker, inspect, run, wait, wait_for

# RFC 2544: networks for tests of network equipment. A /24 each.
SUBNETS = [str(network) for network in ipaddress.ip_network("198.18.0.0/15").subnets(new_prefix=24)][1:]
_subnets, _subnet_lock = itertools.count(RUN % 256), threading.Lock()
RATE = 20  # lookups a second of each application
NAMES = [f"n{index}.known.test" for index in range(20)]
TTL = 4  # seconds, of answers and of denials
RELAY_PORT = 5300
LIBCS = ("glibc", "musl")
SIDES = ("without", "with")
# The change of all addresses that tells a fresh answer from a stale one.
GENERATION = 100


def zone(lines):
    """A zone file: what every one begins with, and these lines."""
    return "\n".join([f"$TTL {TTL}", f"@ SOA ns.example.test. hostmaster.example.test. 1 3600 600 86400 {TTL}", "@ NS ns.example.test.", *lines, ""])


def has_v6(name):
    """Every second name has an IPv6 address as well; of the others the denial of one has to be remembered."""
    return NAMES.index(name) % 2 == 0


class World:
    """Everything of one scenario."""

    def __init__(self, key, images, netem, shares=False):
        self.key, self.images, self.netem, self.shares = key, images, netem, shares
        self.name = f"{PREFIX}-{key.lower()}"
        self.folder = tempfile.TemporaryDirectory(prefix="holdover-world.")
        self.path = pathlib.Path(self.folder.name)
        self.path.chmod(0o755)
        self.generation, self.denied, self.empty = 0, set(), set()
        self.upstreams, self.relays = {}, {}

    # Setting up.

    def start_upstreams(self):
        """The network, both upstreams, and what the sidecars share."""
        self._network()
        self.publish()
        for index in (1, 2):
            self._run(f"up{index}", "--ip", f"{self.prefix}.5{index}", "-v", f"{self.path}:/zone:ro", self.images["upstream"])
            self.upstreams[f"up{index}"] = f"{self.prefix}.5{index}"
        if self.shares:
            self._run("shared", "--ip", f"{self.prefix}.60", self.images["shared"])
            # The key of the fleet: for the test alone, and read by another user.
            (self.path / "fleet.key").write_text(secrets.token_hex(32))
        for name in self.upstreams:
            wait_for(f"{name} listens", 20, lambda name=name: ":0035 " in run(["nsenter", "-t", self.pid(name), "-n", "cat", "/proc/net/udp"]))

    def _network(self):
        """A network whose addresses nobody has, without a way out."""
        for _ in range(len(SUBNETS)):
            with _subnet_lock:
                subnet = SUBNETS[next(_subnets) % len(SUBNETS)]
            self.prefix = subnet.rsplit(".", 1)[0]
            made = subprocess.run(["docker", "network", "create", "--internal", "--subnet", subnet, self.name],
                                  capture_output=True, text=True, timeout=60, check=False)
            if made.returncode == 0:
                return
            demand("overlap" in made.stderr.lower(), f"no network: {made.stderr}")
        raise Failed("every network of 198.18.0.0/15 is taken")

    def start_applications(self):
        """All four, and the sidecars beside two of them."""
        threads = [Checked(self._start_application, libc, side) for libc in LIBCS for side in SIDES]
        for thread in threads:
            thread.wait()

    def _start_application(self, libc, side):
        """One application; what its resolv.conf says is all that differs."""
        name = f"{libc}-{side}"
        servers = ["127.0.0.1"] if side == "with" else list(self.upstreams.values())
        resolv_conf = self.path / f"{name}.conf"
        # As a cluster sets it: each name is tried in the search domain first, so that a lookup takes four answers, two of them denials.
        resolv_conf.write_text("".join(f"nameserver {server}\n" for server in servers) + "search search.test\noptions ndots:5\n")
        self._run(name, "-v", f"{resolv_conf}:/etc/resolv.conf:ro", self.images[libc], RATE, *NAMES)
        if side == "with":
            self._start_sidecar(libc)

    def _start_sidecar(self, libc):
        """The sidecar of one: everything taken away that it does not need, as in the manifests."""
        shared = ["-v", f"{self.path}/fleet.key:/fleet.key:ro", "-e", "HOLDOVER_SHARED_CACHE_KEY_FILE=/fleet.key",
                  "-e", f"HOLDOVER_SHARED_CACHE_URL=redis://{self.prefix}.60"] if self.shares else []
        self._run(f"{libc}-sidecar", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "32m", "--restart", "always", *shared,
                  self.images["holdover"], "serve", *self.images["state"], *(part for address in self.upstreams.values() for part in ("--upstream", address)),
                  network=f"container:{self.name}-{libc}-with")

    def _run(self, name, *arguments, network=None):
        """Starts one container."""
        docker("run", "--detach", "--name", f"{self.name}-{name}", "--network", network or self.name, *map(str, arguments))

    def wait_ready(self, seconds):
        """Waits until every sidecar is ready; gives the seconds of the slowest."""
        return max(wait_for(f"the sidecar of {libc} is ready", seconds, lambda libc=libc: self.ready(libc)) for libc in LIBCS)

    def ready(self, libc):
        """Whether a sidecar says that it is ready."""
        return docker("exec", f"{self.name}-{libc}-sidecar", "/holdover", "check", check=False) == "ready"

    # What the upstreams know.

    def publish(self):
        """Writes the zones."""
        lines = []
        for index, name in enumerate(NAMES):
            label, last = name.split(".")[0], index + 1 + self.generation * GENERATION
            if name in self.denied:
                continue
            if name in self.empty:
                lines.append(f'{label} TXT "here, without an address"')
                continue
            lines.append(f"{label} A 192.0.2.{last}")
            if has_v6(name):
                lines.append(f"{label} AAAA 2001:db8::{last}")
        for file, text in (("known.test", zone(lines)), ("search.test", zone([]))):
            fresh = self.path / f"{file}.new"
            fresh.write_text(text)
            fresh.rename(self.path / file)
        for name in self.upstreams:
            docker("kill", "--signal", "HUP", f"{self.name}-{name}", check=False)

    def next_generation(self):
        """All addresses change: from now on an old one is a stale one."""
        self.generation += 1
        self.publish()

    # What breaks.

    def pid(self, name):
        """A container's process, as the host counts."""
        return inspect(f"{self.name}-{name}")["State"]["Pid"]

    def each(self, *arguments):
        """The same call of the engine for both upstreams."""
        for name in self.upstreams:
            docker(*arguments, f"{self.name}-{name}")

    def inside(self, name, *command):
        """A command of the host in the network namespace of a container."""
        return run(["nsenter", "-t", self.pid(name), "-n", *command])

    def firewall(self, table, chain, *rule):
        """For both upstreams this rule for DNS, in place of whatever was in the chain; none without one."""
        for name in self.upstreams:
            self.inside(name, "iptables", "-w", "-t", table, "-F", chain)
            for protocol in ("udp", "tcp") if rule else ():
                of_protocol = [part.replace("PORT-UNREACHABLE", "icmp-port-unreachable" if protocol == "udp" else "tcp-reset") for part in rule]
                self.inside(name, "iptables", "-w", "-t", table, "-A", chain, "-p", protocol, "--dport", "53", *of_protocol)

    def drop(self):
        """Everything for the upstreams vanishes."""
        self.firewall("mangle", "PREROUTING", "-j", "DROP")

    def reject(self):
        """The upstreams' ports are closed."""
        self.firewall("filter", "INPUT", "-j", "REJECT", "--reject-with", "PORT-UNREACHABLE")

    def weather(self, loss=0.0, late=None):
        """A share of all packets is lost, the rest late by as many seconds."""
        if self.netem:
            for name in self.upstreams:
                self.inside(name, "tc", "qdisc", "replace", "dev", "eth0", "root", "netem", "loss", f"{100 * loss:.1f}%",
                            *(("delay", f"{500 * sum(late):.0f}ms", f"{500 * (late[1] - late[0]):.0f}ms") if late else ()))
            return
        self.firewall("mangle", "PREROUTING", *(("-m", "statistic", "--mode", "random", "--probability", f"{loss:.3f}", "-j", "DROP") if loss else ()))
        if late and late not in self.relays:
            self._relay(late)
        if not late:
            for relay in itertools.chain(*self.relays.values()):
                relay.kill()
                relay.wait()
            self.relays.clear()
            for name in self.upstreams:
                self.inside(name, "iptables", "-w", "-t", "nat", "-F", "PREROUTING")

    def _relay(self, late):
        """What arrives for either upstream over UDP goes through a relay that holds it back; what loopback brings does not."""
        self.relays[late] = []
        for name in self.upstreams:
            relay = subprocess.Popen(["nsenter", "-t", str(self.pid(name)), "-n", sys.executable, str(HERE / "late.py"), str(RELAY_PORT), *map(str, late)],
                                     stdout=subprocess.PIPE, text=True)
            self.relays[late].append(relay)
            demand(relay.stdout.readline() == "listening\n", "the relay does not listen")
            self.inside(name, "iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-p", "udp", "--dport", "53", "-j", "REDIRECT", "--to-ports", RELAY_PORT)

    def disconnect(self):
        """Pulls the upstreams' plug."""
        self.each("network", "disconnect", self.name)

    def reconnect(self):
        """Puts it back: the same addresses."""
        for name, address in self.upstreams.items():
            docker("network", "connect", "--ip", address, self.name, f"{self.name}-{name}")

    def kill_sidecars(self):
        """`kill -9`, not by the engine: it restarts what was not stopped through itself."""
        for libc in LIBCS:
            os.kill(self.pid(f"{libc}-sidecar"), signal.SIGKILL)

    def replace_sidecars(self):
        """New ones in their place, whose volumes are new and empty."""
        for libc in LIBCS:
            docker("rm", "--force", "--volumes", f"{self.name}-{libc}-sidecar")
            self._start_sidecar(libc)

    # What came of it.

    def lookups(self, libc, side, until):
        """All lookups of an application: also those that never came back."""
        return read_lookups(docker("logs", f"{self.name}-{libc}-{side}"), until)

    def restarts(self, libc):
        """How often the engine had to start a sidecar again."""
        return inspect(f"{self.name}-{libc}-sidecar")["RestartCount"]

    def log(self, libc):
        """What a sidecar said."""
        return docker("logs", f"{self.name}-{libc}-sidecar")

    def end(self):
        """Removes all of it."""
        for relay in itertools.chain(*self.relays.values()):
            relay.kill()
            relay.wait()
        if containers := docker("ps", "-aq", "--filter", f"name=^{self.name}-", check=False).split():
            docker("rm", "--force", "--volumes", *containers, check=False, timeout=300)
        docker("network", "rm", self.name, check=False)
        self.folder.cleanup()


class Checked(threading.Thread):
    """A thread whose failure is that of who waits for it."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.function, self.arguments, self.failure, self.result = function, arguments, None, None
        self.start()

    def run(self):
        try:
            self.result = self.function(*self.arguments)
        except BaseException as failure:  # noqa: B902 — handed on by wait
            self.failure = failure

    def wait(self):
        """Its result."""
        self.join()
        if self.failure:
            raise self.failure
        return self.result


class Lookup:
    """One lookup of an application."""

    __slots__ = ("due", "took", "code", "name", "right", "generation")

    def __init__(self, due, name, took=None, code=None, v4=0, v6=0, last=-1):
        self.due, self.name, self.took, self.code = due, name, took, code
        self.generation, index = divmod(last - 1, GENERATION) if last > 0 else (None, None)
        self.right = code == 0 and v4 == 1 and v6 == has_v6(name) and index == NAMES.index(name)

    def within(self, seconds):
        """Whether the right addresses came in time."""
        return self.right and self.took <= seconds


def read_lookups(text, until):
    """The application's lines; a number without a line is a lookup that is not back yet."""
    found = {}
    for line in text.splitlines():
        number, due, took, code, v4, v6, last, name = line.split()
        found[int(number)] = Lookup(int(due) / 1000, name, int(took) / 1e6, int(code), int(v4), int(v6), int(last))
    demand(found, f"the application said nothing: {text[-500:]}")
    start = statistics.median(lookup.due - number / RATE for number, lookup in found.items())
    for number in range(int((until - start) * RATE)):
        found.setdefault(number, Lookup(start + number / RATE, NAMES[number % len(NAMES)]))
    return [found[number] for number in sorted(found) if found[number].due < until]


def has_netem(images):
    """Whether this kernel has netem: its module may be missing."""
    name = f"{PREFIX}-netem"
    docker("run", "--detach", "--name", name, "--network", "none", images["glibc"], "1", "localhost")
    tried = subprocess.run(["nsenter", "-t", str(inspect(name)["State"]["Pid"]), "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "1%"],
                           capture_output=True, env={**os.environ, "PATH": PATH}, timeout=20, check=False)
    docker("rm", "--force", "--volumes", name)
    return tried.returncode == 0
