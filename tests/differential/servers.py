"""The scripted upstream, the three servers in front of it, and the client that asks them.

Unbound and BIND remember what they think of an upstream, so each pair has an address of its own for
them, as a forward zone. holdover has one upstream for all pairs, as it has in a container, and a second one for those for which
TCP connections break or stay silent: questions behind such a one wait in line for a connection.
"""

import asyncio
import contextlib
import os
import pathlib
import socket
import struct
import subprocess
import time

import messages
import pairs
from messages import IN, TYPES, Record, lower, opt, soa, to_wire

PEERS = ["unbound", "bind"]
SERVERS = ["holdover", *PEERS]
# The second number of the address at which a server asks the upstream.
NETWORKS = {"holdover": 51, "unbound": 52, "bind": 53}
UDP_MAX = 1232
PATIENCE = 25.0  # seconds for one answer, on a busy machine
RESENT_AFTER = 9.0  # seconds, in case that a datagram was lost; later than any server gives up
# Names beside those of the pairs, for pairs that are asked again.
SPARE = 200
STEADY = [(b"steady%d" % i,) + pairs.DOMAIN for i in range(20)]

HOLDOVER = """\
[listen]
addresses = ["127.0.0.1:{port}"]
[[upstream]]
addresses = ["127.51.0.1:{upstream}"]
[[upstream]]
addresses = ["127.51.0.2:{upstream}"]
zones = ["faulty.example.com"]
[cache]
entries = 100000
size = "256MiB"
negatives = "50%"
negative_without_soa = "30s"
[budget]
per_second = 100000
outage_per_second = 100000
"""
# What is not said of cache and patience is as near to holdover as it can be set.
UNBOUND = """\
server:
    interface: 127.0.0.1
    port: {port}
    do-daemonize: no
    use-syslog: no
    logfile: ""
    verbosity: 0
    chroot: ""
    username: ""
    directory: "{folder}"
    pidfile: "{folder}/unbound.pid"
    module-config: "iterator"
    num-threads: 1
    do-ip6: no
    do-not-query-localhost: no
    qname-minimisation: no
    edns-buffer-size: 1232
    max-udp-size: 1232
    rrset-roundrobin: no
    cache-max-ttl: 3600
    cache-max-negative-ttl: 30
    so-rcvbuf: 4m
    num-queries-per-thread: 4096
    outgoing-range: 4096
    outbound-msg-retry: 3
    infra-cache-numhosts: 40000
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.52.0.1@{upstream}
"""
BIND = """\
options {{
    directory "{folder}";
    pid-file "{folder}/named.pid";
    session-keyfile "{folder}/session.key";
    lock-file none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion yes;
    forward only;
    forwarders port {upstream} {{ 127.53.0.1; }};
    dnssec-validation no;
    qname-minimization off;
    edns-udp-size 1232;
    max-udp-size 1232;
    max-cache-ttl 3600;
    max-ncache-ttl 30;
    servfail-ttl 0;
    recursive-clients 4096;
    resolver-query-timeout 7000;
    rrset-order {{ order none; }};
}};
controls {{ }};
"""


def address(network, number):
    """Returns the address at which the upstream is asked for one pair."""
    return f"127.{network}.{1 + number // 250}.{1 + number % 250}"


class Upstream:
    """The scripted upstream, on all loopback addresses."""

    def __init__(self, seed, count, only):
        self.seed, self.count, self.only, self.known = seed, count, only, {}
        # The pairs that have a spare name, by its number.
        self.renamed = {}
        # Pairs that a server is asked for the second time, as (network, number).
        self.again = set()
        self.seen, self.streams = {}, set()
        self.queries = 0

    def pair(self, number):
        """Returns a pair by its number."""
        if number not in self.known:
            self.known[number] = pairs.one(self.seed, self.renamed.get(number, number), self.only, number)
        return self.known[number]

    async def start(self):
        """Opens the sockets on a port that is free for UDP and TCP."""
        for _ in range(100):
            self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self.datagrams.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
            self.datagrams.bind(("0.0.0.0", 0))
            self.port = self.datagrams.getsockname()[1]
            try:
                self.listener = await asyncio.start_server(self.serve_stream, "0.0.0.0", self.port, backlog=1024)
                break
            except OSError:
                self.datagrams.close()
        self.datagrams.setblocking(False)
        asyncio.get_running_loop().add_reader(self.datagrams.fileno(), self.serve_datagrams)

    def serve_datagrams(self):
        """Answers what has come over UDP."""
        for _ in range(50):
            try:
                wire, ancillary, _, client = self.datagrams.recvmsg(4096, 256)
            except BlockingIOError:
                return
            here = next((data for level, which, data in ancillary if which == 8), None)
            if not client[0].startswith("127.") or here is None:
                continue
            reply = self.respond(wire, "udp", here[9])
            if isinstance(reply, bytes):
                with contextlib.suppress(OSError):
                    # The address that was asked is the source of the reply.
                    self.datagrams.sendmsg([reply], [(socket.IPPROTO_IP, 8, struct.pack("=I", 0) + here[8:12] + bytes(4))], 0, client)

    async def serve_stream(self, reader, writer):
        """Answers what comes over one TCP connection."""
        network = socket.inet_aton(writer.get_extra_info("sockname")[0])[1]
        self.streams.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            while writer.get_extra_info("peername")[0].startswith("127."):
                length, = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), 30))
                reply = self.respond(await asyncio.wait_for(reader.readexactly(length), 30), "tcp", network)
                if reply == "closed":
                    break
                if reply is not None:
                    writer.write(struct.pack("!H", len(reply)) + reply)
        writer.close()
        self.streams.discard(writer)

    async def end(self):
        """Closes all sockets."""
        asyncio.get_running_loop().remove_reader(self.datagrams.fileno())
        self.datagrams.close()
        self.listener.close()
        for writer in list(self.streams):
            writer.transport.abort()
        await asyncio.sleep(0.1)

    def respond(self, wire, transport, network):
        """Returns the reply to a query: bytes, "closed", or `None` for silence."""
        self.queries += 1
        query = messages.read(wire)
        name = lower(query.qname)
        number = self.number(name)
        if number is None:
            return plain_reply(query, *self.other(query, name))
        pair = self.pair(number)
        if (network, number) in self.again:
            return plain_reply(query, 2, [], [])
        if name != lower(pair.qname) or query.qtype != pair.qtype:
            return plain_reply(query, *derived(pair, query.qname, query.qtype))
        if pair.plain and query.opts:
            return None if pair.plain == "silent" else plain_reply(query, {"FORMERR": 1, "NOTIMP": 4}[pair.plain], [], [], with_opt=False)
        how = pair.udp if transport == "udp" else pair.tcp
        if how in ("silent", "closed"):
            return None if how == "silent" else "closed"
        if pair.rcode > 15 and not query.opts:
            return plain_reply(query, 2, [], [])
        reply = encode(pair, query, how)
        self.seen[number] = reply
        room = UDP_MAX if query.opts else 512
        return encode(pair, query, "truncated") if transport == "udp" and len(reply) > room else reply

    @staticmethod
    def number(name):
        """Returns the number of the pair to which a name belongs; `None` if it belongs to none."""
        zone = pairs.FAULTY if name[-3:] == pairs.FAULTY else pairs.DOMAIN
        label = name[-len(zone) - 1] if name[-len(zone):] == zone and len(name) > len(zone) else b""
        return int(label[1:]) if label[:1] == b"p" and label[1:].isdigit() else None

    @staticmethod
    def other(query, name):
        """Returns code, answer and authority for names that belong to no pair."""
        if name in STEADY and query.qtype == TYPES["A"]:
            return 0, [Record(query.qname, 1, 3600, bytes([192, 0, 2, 1]))], []
        if not name and query.qtype == TYPES["NS"]:
            return 0, [Record((), 2, 3600, to_wire((b"ns", b"test")))], []
        return 3, [], [soa((), 3600, 3600)]


def derived(pair, qname, qtype):
    """Returns what the upstream says of the other names and types of a pair, from the same records."""
    known = [record for record in pair.hidden + pair.answer if record.rclass == IN]
    found, here = [], qname
    for _ in range(60):
        data = [record for record in known if lower(record.owner) == lower(here) and record.rtype == qtype]
        alias = next((record for record in known if lower(record.owner) == lower(here) and record.rtype == TYPES["CNAME"]), None)
        if data or alias is None:
            found += data
            break
        found.append(alias)
        here, _ = messages.read_name(alias.data, 0)
    if data:
        return 0, found, []
    is_denied = pair.kind.startswith("denial") and pair.rcode in (0, 3)
    return (pair.rcode, found, pair.authority) if is_denied else (0, found, [soa(pair.apex, 300, 300)])


def plain_reply(query, rcode, answer, authority, with_opt=True):
    """Returns a reply without faults."""
    opts = [opt()] if query.opts and with_opt else []
    head = struct.pack("!6H", query.ident, messages.QR | messages.RD | messages.RA | rcode, 1, len(answer), len(authority), len(opts))
    return head + query.question + b"".join(record.wire() for record in answer + authority + opts)


def encode(pair, query, how):
    """Returns the reply of a pair to a query."""
    answer, authority, additional = pair.answer, pair.authority, pair.additional
    if how.startswith("truncated"):
        answer, authority, additional = answer[:1] if how == "truncated with content" else [], [], []
    opts = [] if not query.opts else [opt()] if pair.opts is None else pair.opts
    flags = pair.flags | pair.rcode & 15 | (messages.TC if how.startswith("truncated") else 0)
    head = struct.pack("!6H", query.ident, flags, 1, len(answer), len(authority), len(additional) + len(opts))
    wire = head + query.question + b"".join(record.wire(pair.qname) for record in answer + authority + additional + opts)
    return pair.edit(wire, query) if pair.edit and how == "reply" else wire


class Client(asyncio.DatagramProtocol):
    """The client of one server."""

    def __init__(self, port):
        self.port, self.waiting, self.next = port, {}, 1

    async def start(self):
        """Opens the socket from which all questions go out."""
        self.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, remote_addr=("127.0.0.1", self.port))
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)

    def datagram_received(self, data, addr):
        future = self.waiting.get(data[:2])
        if future and not future.done():
            future.set_result(data)

    def error_received(self, exc):
        """A port that is not open yet; the wait for an answer ends by itself."""

    async def ask(self, qname, qtype, flags, patience=PATIENCE):
        """Asks over UDP, and over TCP if the answer is truncated. Returns bytes and whether it was."""
        self.next = self.next % 65535 + 1
        query = struct.pack("!6H", self.next, flags, 1, 0, 0, 1) + to_wire(qname) + struct.pack("!2H", qtype, IN) + opt().wire()
        future = self.waiting[query[:2]] = asyncio.get_running_loop().create_future()
        try:
            self.transport.sendto(query)
            with contextlib.suppress(asyncio.TimeoutError):
                return await self.fetch(query, await asyncio.wait_for(asyncio.shield(future), min(RESENT_AFTER, patience)))
            self.transport.sendto(query)
            with contextlib.suppress(asyncio.TimeoutError):
                return await self.fetch(query, await asyncio.wait_for(future, patience))
            return query, None, False
        finally:
            del self.waiting[query[:2]]

    async def fetch(self, query, answer):
        """Asks again over TCP if an answer is truncated."""
        if not answer[2] & 2:
            return query, answer, False
        with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), PATIENCE)
            try:
                writer.write(struct.pack("!H", len(query)) + query)
                length, = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), PATIENCE))
                return query, await asyncio.wait_for(reader.readexactly(length), PATIENCE), True
            finally:
                writer.close()
        return query, answer, True


def free_port():
    """Returns a port of 127.0.0.1 that is free for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as stream:
            datagrams.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                stream.bind(datagrams.getsockname())
                return datagrams.getsockname()[1]


def start(server, binary, folder, upstream, count):
    """Starts a server, and returns its process and its port."""
    port = free_port()
    words = {"port": port, "folder": folder, "upstream": upstream}
    zones = [(f"p{i:05}.{below}example.com", address(NETWORKS[server], i)) for i in range(count + SPARE) for below in ("", "faulty.")]
    text, command = {
        "holdover": (HOLDOVER.format(**words), [binary, "serve", "--config"]),
        "unbound": (UNBOUND.format(**words) + "".join(f'forward-zone:\n    name: "{zone}"\n    forward-addr: {host}@{upstream}\n' for zone, host in zones),
                    ["unbound", "-d", "-c"]),
        "bind": (BIND.format(**words) + "".join(f'zone "{zone}" {{ type forward; forward only; forwarders port {upstream} {{ {host}; }}; }};\n' for zone, host in zones),
                 ["named", "-g", "-4", "-n", "1", "-c"]),
    }[server]
    file = pathlib.Path(folder) / f"{server}.conf"
    file.write_text(text)
    quiet = {key: value for key, value in os.environ.items() if not key.startswith(("HOLDOVER_", "STATE_DIRECTORY"))}
    with open(pathlib.Path(folder) / f"{server}.log", "w") as log:
        return subprocess.Popen([*map(str, command), str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=quiet, cwd=folder), port


async def until_ready(server, process, client, folder):
    """Waits until a server answers."""
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            _, answer, _ = await client.ask(STEADY[0], TYPES["A"], messages.RD, patience=0.5)
            if answer and messages.read(answer).sections[0]:
                return
        await asyncio.sleep(0.05)
    log = (pathlib.Path(folder) / f"{server}.log").read_text()
    raise AssertionError(f"{server} does not answer; its exit code is {process.poll()}\n{log[-3000:]}")
