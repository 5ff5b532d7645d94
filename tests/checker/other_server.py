"""Servers as other people write them, one for each word: ``python other_server.py WORD``.

All but ``fixed`` words listen on ``PORT``, those on the port that is given behind them.
"""

from __future__ import annotations

import gzip
import http.server
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

_WORD = sys.argv[1]
_BODY = b'{"a":1}'
_counts: Counter[tuple[str, int]] = Counter()
_stored: dict[str, bytes] = {}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer_metrics()
            return
        if self.path in _stored:
            self._answer(200, _stored[self.path])
            return
        if _WORD in {"zipped", "modern"}:
            self._answer_zipped()
            return
        self.send_response(200 if self.path in ("/livez", "/a") else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_BODY)))
        if _WORD == "star" and self.path == "/a":
            self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(_BODY)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PATCH(self) -> None:
        if _WORD == "patches":
            self._answer(200, b'{"a":2}')
        else:
            self.send_error(501)

    def _answer_zipped(self) -> None:
        text = json.dumps(["a text that is worth its compression"] * 300).encode()
        accepted = "gzip" in self.headers.get("Accept-Encoding", "") and self.request_version == "HTTP/1.1"
        if _WORD == "zipped" or accepted:
            self._answer(200, gzip.compress(text), **{"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
        else:
            self._answer(200, text, Vary="Accept-Encoding")

    def _answer_metrics(self) -> None:
        lines = [
            "# HELP upstream_requests_total Requests to our supplier.",
            "# TYPE upstream_requests_total counter",
        ]
        lines.append(f"upstream_requests_total {_counts.total() // 3}")
        if _WORD != "upstream":
            lines += ["# HELP http_requests_total Requests.", "# TYPE http_requests_total counter"]
        for (method, status), count in _counts.items() if _WORD != "upstream" else ():
            lines.append(f'http_requests_total{{method="{method}",status="{status}"}} {count}')
        body = "\n".join([*lines, ""]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, status: int, body: bytes, **fields: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **fields}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        if _WORD == "located":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            _stored[f"/a/{len(_stored)}"] = body
            self._answer(201, b"{}", Location=f"./a/{len(_stored) - 1}")
            return
        if _WORD == "brief":
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            # The nested object gets a member by default, and the answer has the id alone.
            found = {**sent, "part": {**sent["part"], "kind": "plain"}, "id": str(len(_stored))}
            _stored[f"/a/{found['id']}"] = json.dumps(found).encode()
            self._answer(201, json.dumps({"id": found["id"]}).encode(), Location=f"/a/{found['id']}")
            return
        print(json.dumps({"level": "error", "error": "Traceback\nOSError: no space left"}), flush=True)
        self.send_error(500)

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        if self.path != "/metrics":
            _counts[self.command, int(code)] += 1
        record = {"method": self.command, "path": self.path, "status": int(code)}
        if "silent" in _WORD:
            return
        if _WORD == "coloured":
            print(f"\x1b[0m{self.command} {self.path} \x1b[31m{int(code)}\x1b[0m 1.2 ms\x1b[0m", flush=True)
        elif _WORD == "terse":
            print(f"  [12:00:00] {int(code)} ─ 0.21ms ─ {self.path}", flush=True)
        elif _WORD == "split":
            print(json.dumps(record, indent=2), flush=True)
        else:
            print(json.dumps(record), flush=True)


if _WORD == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if _WORD == "helper":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.7)"])
_port = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ["PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", _port), _Handler).serve_forever()
