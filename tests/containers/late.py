"""Delays queries to a resolver, where the kernel has no netem.

    late.py PORT SECONDS_MIN SECONDS_MAX

iptables redirects queries to this relay, which holds each of them back for a random time between
the two limits and then sends it to the resolver. It runs in the network namespace of the resolver
and reaches it over loopback. It prints a line when it listens.
"""

import ctypes
import heapq
import random
import selectors
import signal
import socket
import sys
import time

RESOLVER = ("127.0.0.1", 53)
HELD_MAX = 20_000  # queries that wait; more are dropped, as a router would drop them
ASKED_MAX = 500  # queries that the resolver has not answered yet
PATIENCE = 5.0  # seconds after which a response is not expected any more
PR_SET_PDEATHSIG = 1


def main():
    """Relays queries until the parent process ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    port, least, most = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    front.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    front.bind(("0.0.0.0", port))
    front.setblocking(False)
    selector, held, asked, number = selectors.DefaultSelector(), [], {}, 0
    selector.register(front, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        pause = max(0.0, held[0][0] - time.monotonic()) if held else 1.0
        for key, _ in selector.select(min(pause, 1.0)):
            try:
                packet, client = key.fileobj.recvfrom(4096)
            except OSError:
                packet, client = None, None
            if key.fileobj is front:
                if packet and len(held) < HELD_MAX:
                    number += 1
                    heapq.heappush(held, (time.monotonic() + random.uniform(least, most), number, packet, client))
            else:
                target, _ = asked.pop(key.fileobj)
                selector.unregister(key.fileobj)
                key.fileobj.close()
                if packet:
                    front.sendto(packet, target)
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, _, packet, client = heapq.heappop(held)
            if len(asked) < ASKED_MAX:
                back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                back.setblocking(False)
                back.connect(RESOLVER)
                back.send(packet)
                asked[back] = (client, now)
                selector.register(back, selectors.EVENT_READ)
        for back in [back for back, (_, since) in asked.items() if now - since > PATIENCE]:
            del asked[back]
            selector.unregister(back)
            back.close()


if __name__ == "__main__":
    main()
