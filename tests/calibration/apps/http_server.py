"""The server of the standard library."""

from __future__ import annotations

import http.server
import os
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers `/` and `/slow`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, on `/slow` after two seconds."""
        if self.path == "/slow":
            time.sleep(2)
        body = b'{"ok":true}'
        self.send_response(200 if self.path in {"/", "/slow"} else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
