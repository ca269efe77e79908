"""An upstream resolver for the load tests that knows every name and can fall silent.

It can also drop packets that exceed a rate. Each A record says when it was made: in 10.x.y.z, x.y.z
is the number of tenths of a second since the start of the upstream. So a client that gets the
record through a cache can tell its age, whatever the cache says about it. Names below
`absent.example.com` do not exist, and names have no data of other types. The upstream runs in its
own process, which ends with its parent.
"""

import collections
import ctypes
import multiprocessing
import selectors
import signal
import socket
import struct
import time

HEALTHY, SILENT = 0, 1
SECONDS_MAX = 7200  # seconds for which statistics are kept
TCP_MAX = 256  # connections
TYPE_A, TYPE_SOA, TYPE_OPT = 1, 6, 41
NXDOMAIN = 3
NEGATIVE_TTL = 5
LIBC = ctypes.CDLL(None, use_errno=True)
FORK = multiprocessing.get_context("fork")


def die_with_parent():
    """Makes the kernel end this process when its parent ends, however the parent ends."""
    LIBC.prctl(1, signal.SIGKILL)


def encode(name):
    """Returns a name in wire format."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def query(name, number, rtype=TYPE_A):
    """Returns a query with RD=1."""
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + encode(name) + struct.pack("!2H", rtype, 1)


def skip_name(packet, at):
    """Returns the offset behind a name."""
    while packet[at]:
        if packet[at] >= 0xC0:
            return at + 2
        at += packet[at] + 1
    return at + 1


def first_address(response):
    """Returns the RCODE of a response, and its first address as a number, or None."""
    _, flags, questions, answers, _, _ = struct.unpack_from("!6H", response)
    at = 12
    for _ in range(questions):
        at = skip_name(response, at) + 4
    for _ in range(answers):
        at = skip_name(response, at)
        rtype, _, _, length = struct.unpack_from("!2HIH", response, at)
        at += 10 + length
        if rtype == TYPE_A:
            return flags & 15, struct.unpack_from("!I", response, at - 4)[0]
    return flags & 15, None


class Upstream:
    """The upstream as the test sees it.

    `cap` is the number of packets that it accepts in any sliding second. Further packets are
    dropped and counted, as a cloud's limit for each network interface does.
    """

    def __init__(self, ttl, cap=None, delay=0.0):
        self.ttl, self.cap, self.delay = ttl, cap, delay
        self.epoch = time.monotonic()
        self.mode = FORK.Value("i", HEALTHY)
        # For each second since the epoch: all packets that arrived, and those that the cap dropped.
        self.arrived, self.dropped = FORK.Array("I", SECONDS_MAX), FORK.Array("I", SECONDS_MAX)
        # The most packets that arrived in any second, whenever it began.
        self.peak = FORK.Value("I", 0)
        self.udp, self.tcp = self._open()
        self.port = self.udp.getsockname()[1]
        self.process = FORK.Process(target=self._serve, daemon=True)
        self.process.start()
        self.udp.close()
        self.tcp.close()

    @staticmethod
    def _open():
        """Opens sockets on a port that is free for both transports."""
        for _ in range(100):
            udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                udp.close()
                tcp.close()
                continue
            tcp.listen(64)
            return udp, tcp
        raise OSError("no port is free for both transports")

    def set(self, mode):
        """Makes the upstream answer (HEALTHY) or fall silent (SILENT)."""
        self.mode.value = mode

    def packets(self, start, end):
        """Returns the packets that arrived between two times of `time.monotonic`, by second."""
        return self.arrived[int(start - self.epoch):int(end - self.epoch)]

    def age(self, address):
        """Returns the seconds since an address was made."""
        return time.monotonic() - self.epoch - (address & 0xFFFFFF) / 10

    def stop(self):
        """Ends the process of the upstream."""
        self.process.kill()
        self.process.join(5)

    def _serve(self):
        """Answers queries in the upstream's own process."""
        die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        selector = selectors.DefaultSelector()
        self.udp.setblocking(False)
        self.tcp.setblocking(False)
        selector.register(self.udp, selectors.EVENT_READ, None)
        selector.register(self.tcp, selectors.EVENT_READ, None)
        connections, window = {}, collections.deque()
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.udp:
                    self._drain(window)
                elif key.fileobj is self.tcp:
                    connection, _ = self.tcp.accept()
                    if len(connections) >= TCP_MAX:
                        connection.close()
                        continue
                    connection.setblocking(False)
                    connections[connection] = b""
                    selector.register(connection, selectors.EVENT_READ, None)
                else:
                    self._stream(key.fileobj, connections, selector)

    def _take(self, window):
        """Counts one packet, and returns False if the cap drops it."""
        now = time.monotonic()
        second = min(int(now - self.epoch), SECONDS_MAX - 1)
        self.arrived[second] += 1
        window.append(now)
        while window[0] <= now - 1:
            window.popleft()
        if len(window) > self.peak.value:
            self.peak.value = len(window)
        if self.cap and len(window) > self.cap:
            self.dropped[second] += 1
            return False
        return True

    def _drain(self, window):
        """Answers all datagrams that are waiting."""
        while True:
            try:
                packet, client = self.udp.recvfrom(4096)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if self._take(window) and self.mode.value == HEALTHY and (response := self._answer(packet)):
                if self.delay:
                    time.sleep(self.delay)
                try:
                    self.udp.sendto(response, client)
                except OSError:
                    pass

    def _stream(self, connection, connections, selector):
        """Answers the queries of a TCP connection, unless the upstream is silent."""
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        buffer = connections[connection] + data
        while data and len(buffer) >= 2 and len(buffer) >= 2 + (length := struct.unpack_from("!H", buffer)[0]):
            response = self._answer(buffer[2:2 + length])
            buffer = buffer[2 + length:]
            if response and self.mode.value == HEALTHY:
                try:
                    connection.send(struct.pack("!H", len(response)) + response)
                except OSError:
                    data = b""
        connections[connection] = buffer
        if not data:
            selector.unregister(connection)
            connection.close()
            del connections[connection]

    def _answer(self, packet):
        """Returns the response to a query, or None if the packet is not a query."""
        try:
            number, flags, questions, _, _, additional = struct.unpack_from("!6H", packet)
            if flags & 0x8000 or questions != 1:
                return None
            end = skip_name(packet, 12)
            rtype, rclass = struct.unpack_from("!2H", packet, end)
        except (struct.error, IndexError):
            return None
        question, rcode, answer, authority = packet[12:end + 4], 0, b"", b""
        if question[:-4].lower().endswith(encode("absent.example.com")):
            rcode = NXDOMAIN
        elif rtype == TYPE_A and rclass == 1:
            made = int((time.monotonic() - self.epoch) * 10) & 0xFFFFFF
            answer = struct.pack("!3HIHI", 0xC00C, TYPE_A, 1, self.ttl, 4, 10 << 24 | made)
        if not answer:
            soa = encode("ns.example.com") + encode("hostmaster.example.com") + struct.pack("!5I", 1, 3600, 600, 86400, NEGATIVE_TTL)
            authority = b"\0" + struct.pack("!2HIH", TYPE_SOA, 1, NEGATIVE_TTL, len(soa)) + soa
        opt = b"\0" + struct.pack("!2HIH", TYPE_OPT, 1232, 0, 0) if additional else b""
        head = struct.pack("!6H", number, 0x8080 | flags & 0x0110 | rcode, 1, bool(answer), bool(authority), bool(opt))
        return head + question + answer + authority + opt
