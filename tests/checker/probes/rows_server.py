"""A list of rows that others may add to: ``python rows_server.py WORD``, where the word is how it behaves.

``steady`` changes when a row is created, ``grows`` with every request, ``ticks`` in a member with each
request. ``lies`` ticks and compresses another text, ``shares`` has one ETag for all variants, ``longer``
gives a false length to HEAD. ``counts`` shows in a row how often it was read, and ``forgets`` lets a refused
duplicate change it, too.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import itertools
import json
import os
import sys
from typing import Any

_WORD = sys.argv[1]
_rows: list[dict[str, Any]] = [
    {"id": number, "name": f"row {number} of the list " * 4} for number in range(200)
]
_ids = itertools.count(1000)
_ticks = itertools.count(100_000)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/livez":
            self._answer(200, {"status": "ok"})
        elif self.path == "/rows":
            if _WORD == "grows":
                _rows.append({"id": next(_ids), "name": "one more"})
            ticking = {"tick": next(_ticks)} if _WORD in {"ticks", "lies"} else {}
            self._answer(200, {"rows": _rows, **ticking})
        else:
            found = [row for row in _rows if self.path == f"/rows/{row['id']}"]
            for row in found if _WORD in {"counts", "forgets"} else ():
                row["reads"] = row.get("reads", 0) + 1
            self._answer(200 if found else 404, found[0] if found else {"title": "not found"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        same = [row for row in _rows if row["name"] == sent["name"]]
        for row in same if _WORD == "forgets" else ():
            row["name"] = "another"
        if same:
            self._answer(409, {"title": "there is such a row"})
            return
        _rows.append({**sent, "id": next(_ids)})
        self._answer(201, _rows[-1])

    def do_DELETE(self) -> None:
        _rows[:] = [row for row in _rows if self.path != f"/rows/{row['id']}"]
        self.send_response(204)
        self.end_headers()

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        accepted = self.headers.get("Accept-Encoding", "").lower()
        coded = len(body) > 1000 and accepted.partition(";")[0].strip() == "gzip" and "q=0" not in accepted
        text = body.replace(b"row 7 ", b"row 8 ") if _WORD == "lies" and coded else body
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}{"-gzip" if coded and _WORD != "shares" else ""}"'
        if status == 200 and self.headers.get("If-None-Match") == tag:
            status, text, coded = 304, b"", False
        sent = gzip.compress(text, mtime=0) if coded else text
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Vary", "Accept-Encoding")
        if status in {200, 304}:
            self.send_header("ETag", tag)
        if coded:
            self.send_header("Content-Encoding", "gzip")
        more = 7 if _WORD == "longer" and self.command == "HEAD" else 0
        if status != 304:
            self.send_header("Content-Length", str(len(sent) + more))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), _Handler).serve_forever()
