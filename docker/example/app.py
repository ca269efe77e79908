"""An application that resolves a name and calls the service behind it ten times a second.

It prints the results every second. Each call starts when it is due, even if earlier ones have not
ended, so that a slow resolver is not hidden by a slow client.
"""

import os
import socket
import threading
import time

HOST, PORT = os.environ.get("SERVICE", "shop.example.com"), 8080
PERIOD = 0.1  # seconds
PATIENCE = 1.0  # seconds for the call itself; libc decides how long the lookup may take
UNDER_WAY_MAX = 500


class Tally:
    """Counts the results of the calls that ended in the present second."""

    def __init__(self):
        self.lock = threading.Lock()
        self.under_way = 0
        self.clear()

    def clear(self):
        """Resets the counts for the next second."""
        self.good, self.unresolved, self.failed, self.slowest = 0, 0, 0, 0.0

    def end(self, outcome, lookup):
        """Counts the end of one call."""
        with self.lock:
            self.under_way -= 1
            setattr(self, outcome, getattr(self, outcome) + 1)
            self.slowest = max(self.slowest, lookup)


def call(tally):
    """Looks the name up and calls the service once."""
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
    """Starts the calls when they are due, and prints the counts every second."""
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
                # The call that has just begun does not count as waiting.
                print(f"{time.strftime('%H:%M:%S')}  {tally.good:2} good  {tally.unresolved:2} without an address  {tally.failed:2} failed  "
                      f"{max(0, tally.under_way - 1):3} waiting  slowest lookup {tally.slowest * 1e3:7.1f} ms", flush=True)
                tally.clear()


if __name__ == "__main__":
    main()
