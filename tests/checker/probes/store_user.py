"""A service that connects to the store of ``DATABASE_URL`` when it starts, and signs in with no password."""

from __future__ import annotations

import http.server
import os
import socket
import sys
from urllib.parse import urlsplit


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


_url = urlsplit(os.environ["DATABASE_URL"])
if _url.scheme != "postgresql":
    sys.exit("DATABASE_URL is no URL of PostgreSQL")
socket.create_connection((_url.hostname or "", _url.port or 0), timeout=5).close()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), _Handler).serve_forever()
