"""A web server that does as a test says."""

import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends whatever a test wants sent, and is silent about it."""

    def log_message(self, *arguments):
        pass

    def send(self, body, status=200, length=None, **headers):
        """An answer whole, or, with another ``length``, one that says it has so many bytes."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
