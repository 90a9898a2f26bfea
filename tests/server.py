"""A web server whose answers a test decides."""

import contextlib
import http.server
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """Keep the path and headers of the n-th request and let the n-th of the server's ``answers`` reply, or the last."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        answers = self.server.answers
        answers[min(len(self.server.requests), len(answers)) - 1](self)

    def send(self, body, status=200, length=None, **headers):
        """Send a body. With another ``length`` than its own, the body ends too early."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_rest(self, body):
        """Send the part of ``body`` that the header Range names; all of it without that header."""
        if "Range" not in self.headers:
            self.send(body)
            return
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send(body[start:], 206, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")


class Server(http.server.ThreadingHTTPServer):
    """A server on this machine: its address is ``url``."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answers, self.requests = [], []

    def handle_error(self, request, client_address):
        pass


@contextlib.contextmanager
def running():
    """Run a `Server` in a thread."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
