"""An application that resolves a name and calls what is behind it ten times a second, and says each second how that goes.

Calls are due whether or not earlier ones have ended: a slow resolver cannot hide behind a slow client.
"""

import os
import socket
import threading
import time

HOST, PORT = os.environ.get("SERVICE", "shop.example.com"), 8080
PERIOD = 0.1  # seconds
PATIENCE = 1.0  # seconds for the call itself, not for the lookup, which libc decides about
UNDER_WAY_MAX = 500


class Tally:
    """What became of the calls that ended in this second."""

    def __init__(self):
        self.lock = threading.Lock()
        self.under_way = 0
        self.clear()

    def clear(self):
        """Begins the next second."""
        self.good, self.unresolved, self.failed, self.slowest = 0, 0, 0, 0.0

    def end(self, outcome, lookup):
        """One call ended."""
        with self.lock:
            self.under_way -= 1
            setattr(self, outcome, getattr(self, outcome) + 1)
            self.slowest = max(self.slowest, lookup)


def call(tally):
    """One lookup and one call."""
    began = time.monotonic()
    try:
        address = socket.getaddrinfo(HOST, PORT, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    except OSError:
        tally.end("unresolved", time.monotonic() - began)
        return
    lookup = time.monotonic() - began
    try:
        with socket.create_connection(address, PATIENCE) as connection:
            connection.sendall(b"?")
            tally.end("good" if connection.recv(16) == b"hello\n" else "failed", lookup)
    except OSError:
        tally.end("failed", lookup)


def main():
    """Calls, and tells."""
    tally, due, told = Tally(), time.monotonic(), time.monotonic()
    while True:
        with tally.lock:
            room = tally.under_way < UNDER_WAY_MAX
            tally.under_way += room
        if room:
            threading.Thread(target=call, args=(tally,), daemon=True).start()
        due += PERIOD
        time.sleep(max(0.0, due - time.monotonic()))
        if time.monotonic() - told >= 1:
            told += 1
            with tally.lock:
                # A call that just began is not one that waits.
                print(f"{time.strftime('%H:%M:%S')}  {tally.good:2} good  {tally.unresolved:2} without an address  {tally.failed:2} failed  "
                      f"{max(0, tally.under_way - 1):3} waiting  slowest lookup {tally.slowest * 1e3:7.1f} ms", flush=True)
                tally.clear()


if __name__ == "__main__":
    main()
