"""The service that the application calls: it sends "hello" and closes the connection."""

import socketserver


class Hello(socketserver.BaseRequestHandler):
    """Answers one call."""

    def handle(self):
        self.request.settimeout(1)
        if self.request.recv(16):
            self.request.sendall(b"hello\n")


class Server(socketserver.ThreadingTCPServer):
    """Runs each call in its own thread."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("", 8080), Hello).serve_forever()
