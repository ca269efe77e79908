"""The service that the application calls: it says hello and hangs up."""

import socketserver


class Hello(socketserver.BaseRequestHandler):
    """One call."""

    def handle(self):
        self.request.settimeout(1)
        if self.request.recv(16):
            self.request.sendall(b"hello\n")


class Server(socketserver.ThreadingTCPServer):
    """A thread a call."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("", 8080), Hello).serve_forever()
