"""The private network of one scenario, and the faults that can happen to it.

On the network are two upstreams, and an application linked with glibc and one linked with musl,
each of them once with a sidecar and once without.
"""

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

# The addresses are those that RFC 2544 reserves for tests of network equipment. Each scenario gets
# a /24 network.
SUBNETS = [str(network) for network in ipaddress.ip_network("198.18.0.0/15").subnets(new_prefix=24)][1:]
_subnets, _subnet_lock = itertools.count(RUN % 256), threading.Lock()
RATE = 20  # lookups a second of each application
NAMES = [f"n{index}.known.test" for index in range(20)]
TTL = 4  # seconds, of positive and negative answers
RELAY_PORT = 5300
LIBCS = ("glibc", "musl")
SIDES = ("without", "with")
# What is added to the last byte of all addresses, so that a fresh answer differs from a stale one.
GENERATION = 100


def zone(lines):
    """Returns the text of a zone file with these lines."""
    return "\n".join([f"$TTL {TTL}", f"@ SOA ns.example.test. hostmaster.example.test. 1 3600 600 86400 {TTL}", "@ NS ns.example.test.", *lines, ""])


def has_v6(name):
    """Returns whether a name has an IPv6 address, as every second one has.

    For the others, NODATA has to be remembered.
    """
    return NAMES.index(name) % 2 == 0


class World:
    """Everything that belongs to one scenario."""

    def __init__(self, key, images, netem, shares=False):
        self.key, self.images, self.netem, self.shares = key, images, netem, shares
        self.name = f"{PREFIX}-{key.lower()}"
        self.folder = tempfile.TemporaryDirectory(prefix="holdover-world.")
        self.path = pathlib.Path(self.folder.name)
        self.path.chmod(0o755)
        self.generation, self.denied, self.empty = 0, set(), set()
        self.upstreams, self.relays = {}, {}

    # Methods that set the scenario up.

    def start_upstreams(self):
        """Starts the network, both upstreams, and the Redis of the shared cache."""
        self._network()
        self.publish()
        for index in (1, 2):
            self._run(f"up{index}", "--ip", f"{self.prefix}.5{index}", "-v", f"{self.path}:/zone:ro", self.images["upstream"])
            self.upstreams[f"up{index}"] = f"{self.prefix}.5{index}"
        if self.shares:
            self._run("shared", "--ip", f"{self.prefix}.60", self.images["shared"])
            # The key of the fleet is for this test alone. Another user has to read it.
            (self.path / "fleet.key").write_text(secrets.token_hex(32))
        for name in self.upstreams:
            wait_for(f"{name} listens", 20, lambda name=name: ":0035 " in run(["nsenter", "-t", self.pid(name), "-n", "cat", "/proc/net/udp"]))

    def _network(self):
        """Creates a network with unused addresses and no route to other networks."""
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
        """Starts all four applications, and the sidecars of two of them."""
        threads = [Checked(self._start_application, libc, side) for libc in LIBCS for side in SIDES]
        for thread in threads:
            thread.wait()

    def _start_application(self, libc, side):
        """Starts one application. The four differ only in libc and resolv.conf."""
        name = f"{libc}-{side}"
        servers = ["127.0.0.1"] if side == "with" else list(self.upstreams.values())
        resolv_conf = self.path / f"{name}.conf"
        # Clusters set search and ndots like this. Each name is tried in the search domain first, so
        # a lookup takes four answers, two of which are NXDOMAIN.
        resolv_conf.write_text("".join(f"nameserver {server}\n" for server in servers) + "search search.test\noptions ndots:5\n")
        self._run(name, "-v", f"{resolv_conf}:/etc/resolv.conf:ro", self.images[libc], RATE, *NAMES)
        if side == "with":
            self._start_sidecar(libc)

    def _start_sidecar(self, libc):
        """Starts a sidecar without any privilege that it does not need, as in the manifests."""
        shared = ["-v", f"{self.path}/fleet.key:/fleet.key:ro", "-e", "HOLDOVER_SHARED_CACHE_KEY_FILE=/fleet.key",
                  "-e", f"HOLDOVER_SHARED_CACHE_URL=redis://{self.prefix}.60"] if self.shares else []
        self._run(f"{libc}-sidecar", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "32m", "--restart", "always", *shared,
                  self.images["holdover"], "serve", *self.images["state"], *(part for address in self.upstreams.values() for part in ("--upstream", address)),
                  network=f"container:{self.name}-{libc}-with")

    def _run(self, name, *arguments, network=None):
        """Starts one container."""
        docker("run", "--detach", "--name", f"{self.name}-{name}", "--network", network or self.name, *map(str, arguments))

    def wait_ready(self, seconds):
        """Waits until every sidecar is ready, and returns how long the slowest one took."""
        return max(wait_for(f"the sidecar of {libc} is ready", seconds, lambda libc=libc: self.ready(libc)) for libc in LIBCS)

    def ready(self, libc):
        """Returns whether a sidecar reports that it is ready."""
        return docker("exec", f"{self.name}-{libc}-sidecar", "/holdover", "check", check=False) == "ready"

    # Methods that change the zones of the upstreams.

    def publish(self):
        """Writes the zone files, and makes the upstreams read them."""
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
        """Changes all addresses, so that from now on an old address is a stale one."""
        self.generation += 1
        self.publish()

    # Methods that cause faults.

    def pid(self, name):
        """Returns the process ID of a container on the host."""
        return inspect(f"{self.name}-{name}")["State"]["Pid"]

    def each(self, *arguments):
        """Calls docker with these arguments for both upstreams."""
        for name in self.upstreams:
            docker(*arguments, f"{self.name}-{name}")

    def inside(self, name, *command):
        """Runs a command of the host in the network namespace of a container."""
        return run(["nsenter", "-t", self.pid(name), "-n", *command])

    def firewall(self, table, chain, *rule):
        """Replaces the rules of a chain of both upstreams by this rule for DNS, or by none."""
        for name in self.upstreams:
            self.inside(name, "iptables", "-w", "-t", table, "-F", chain)
            for protocol in ("udp", "tcp") if rule else ():
                of_protocol = [part.replace("PORT-UNREACHABLE", "icmp-port-unreachable" if protocol == "udp" else "tcp-reset") for part in rule]
                self.inside(name, "iptables", "-w", "-t", table, "-A", chain, "-p", protocol, "--dport", "53", *of_protocol)

    def drop(self):
        """Drops every packet to the upstreams."""
        self.firewall("mangle", "PREROUTING", "-j", "DROP")

    def reject(self):
        """Rejects packets to the upstreams, as closed ports do."""
        self.firewall("filter", "INPUT", "-j", "REJECT", "--reject-with", "PORT-UNREACHABLE")

    def weather(self, loss=0.0, late=None):
        """Loses a share of all packets, and delays the rest by a time between two limits."""
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
        """Sends UDP packets to either upstream through a relay that holds them back.

        Packets on loopback, such as those of the relay itself, are not redirected.
        """
        self.relays[late] = []
        for name in self.upstreams:
            relay = subprocess.Popen(["nsenter", "-t", str(self.pid(name)), "-n", sys.executable, str(HERE / "late.py"), str(RELAY_PORT), *map(str, late)],
                                     stdout=subprocess.PIPE, text=True)
            self.relays[late].append(relay)
            demand(relay.stdout.readline() == "listening\n", "the relay does not listen")
            self.inside(name, "iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-p", "udp", "--dport", "53", "-j", "REDIRECT", "--to-ports", RELAY_PORT)

    def disconnect(self):
        """Disconnects the upstreams from the network."""
        self.each("network", "disconnect", self.name)

    def reconnect(self):
        """Connects the upstreams again, with the same addresses."""
        for name, address in self.upstreams.items():
            docker("network", "connect", "--ip", address, self.name, f"{self.name}-{name}")

    def kill_sidecars(self):
        """Kills the sidecars with SIGKILL.

        `docker kill` would not do, because the engine does not restart what it stopped itself.
        """
        for libc in LIBCS:
            os.kill(self.pid(f"{libc}-sidecar"), signal.SIGKILL)

    def replace_sidecars(self):
        """Replaces the sidecars by new ones with new and empty volumes."""
        for libc in LIBCS:
            docker("rm", "--force", "--volumes", f"{self.name}-{libc}-sidecar")
            self._start_sidecar(libc)

    # Methods that read the results.

    def lookups(self, libc, side, until):
        """Returns all lookups of an application, also those that never ended."""
        return read_lookups(docker("logs", f"{self.name}-{libc}-{side}"), until)

    def restarts(self, libc):
        """Returns how often the engine has restarted a sidecar."""
        return inspect(f"{self.name}-{libc}-sidecar")["RestartCount"]

    def log(self, libc):
        """Returns the log of a sidecar."""
        return docker("logs", f"{self.name}-{libc}-sidecar")

    def end(self):
        """Removes everything of this scenario."""
        for relay in itertools.chain(*self.relays.values()):
            relay.kill()
            relay.wait()
        if containers := docker("ps", "-aq", "--filter", f"name=^{self.name}-", check=False).split():
            docker("rm", "--force", "--volumes", *containers, check=False, timeout=300)
        docker("network", "rm", self.name, check=False)
        self.folder.cleanup()


class Checked(threading.Thread):
    """A thread whose exception is raised again in the thread that waits for it."""

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
        """Waits for the end of the thread, and returns its result."""
        self.join()
        if self.failure:
            raise self.failure
        return self.result


class Lookup:
    """One lookup of an application, and whether it got the right addresses."""

    __slots__ = ("due", "took", "code", "name", "right", "generation")

    def __init__(self, due, name, took=None, code=None, v4=0, v6=0, last=-1):
        self.due, self.name, self.took, self.code = due, name, took, code
        self.generation, index = divmod(last - 1, GENERATION) if last > 0 else (None, None)
        self.right = code == 0 and v4 == 1 and v6 == has_v6(name) and index == NAMES.index(name)

    def within(self, seconds):
        """Returns whether the right addresses came within so many seconds."""
        return self.right and self.took <= seconds


def read_lookups(text, until):
    """Reads the application's lines. A number without a line is a lookup that has not ended."""
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
    """Returns whether this kernel has netem, whose module may be missing."""
    name = f"{PREFIX}-netem"
    docker("run", "--detach", "--name", name, "--network", "none", images["glibc"], "1", "localhost")
    tried = subprocess.run(["nsenter", "-t", str(inspect(name)["State"]["Pid"]), "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "1%"],
                           capture_output=True, env={**os.environ, "PATH": PATH}, timeout=20, check=False)
    docker("rm", "--force", "--volumes", name)
    return tried.returncode == 0
