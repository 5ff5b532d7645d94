"""Items with a document of them: ``python documented_server.py WORD``, where the word is how it behaves.

``good`` refuses what the document does not allow, and takes an Idempotency-Key where the document has one:
when an item is created, not when a note is. ``capitals`` takes ``NAME`` for ``name``, ``digits`` a text of
digits for a number, ``truth`` true for one. ``stale`` has a list that does not show changes.
"""

from __future__ import annotations

import http.server
import itertools
import json
import os
import sys
import threading
from typing import Any

_WORD = sys.argv[1]
_ITEM = {
    "type": "object",
    "required": ["name", "quantity"],
    "properties": {"name": {"type": "string"}, "quantity": {"type": "integer"}},
}
_TAKES = {"requestBody": {"content": {"application/json": {"schema": _ITEM}}}}
_DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {
        "/items": {"post": {**_TAKES, "parameters": [{"name": "Idempotency-Key", "in": "header"}]}},
        "/items/{id}": {"put": _TAKES, "get": {}, "delete": {}},
        "/items/{id}/notes": {"post": {"responses": {}}},
    },
}
_ids = itertools.count(1)
_items: dict[str, dict[str, Any]] = {}
_listed: dict[str, dict[str, Any]] = {}
_keys: dict[str, tuple[str, bytes]] = {}
_turn = threading.Lock()


def _item(body: bytes) -> dict[str, Any] | None:
    try:
        sent = json.loads(body)
    except ValueError:
        return None
    if not isinstance(sent, dict):
        return None
    if _WORD == "capitals":
        sent = {name.lower(): value for name, value in sent.items()}
    quantity = sent.get("quantity")
    if _WORD == "digits" and isinstance(quantity, str) and quantity.isdecimal():
        quantity = int(quantity)
    if _WORD == "truth" and quantity is True:
        quantity = 1
    if set(sent) != {"name", "quantity"} or type(quantity) is not int or not isinstance(sent["name"], str):
        return None
    return {"name": sent["name"], "quantity": quantity}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        key = self.path.rpartition("/")[2]
        if self.path == "/openapi.json":
            self._answer(200, _DOCUMENT)
        elif self.path == "/livez":
            self._answer(200, {})
        elif self.path == "/items":
            for name, item in _items.items():
                _listed.setdefault(name, item)
            shown = _listed if _WORD == "stale" else _items
            self._answer(200, {"data": [item for name, item in shown.items() if name in _items]})
        else:
            self._answer(200 if key in _items else 404, _items.get(key, {}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/notes"):
            self._answer(201, {"id": next(_ids)})
            return
        item = _item(body)
        if item is None:
            self._answer(422, {})
            return
        with _turn:
            key = self.headers.get("Idempotency-Key") or f"none {next(_ids)}"
            number, before = _keys.setdefault(key, (str(next(_ids)), body))
            _items.setdefault(number, {"id": number, **item})
        self._answer(201 if before == body else 422, _items[number])

    def do_PUT(self) -> None:
        item, key = _item(self.rfile.read(int(self.headers["Content-Length"]))), self.path.rpartition("/")[2]
        if item is not None and key in _items:
            _items[key] = {"id": key, **item}
        self._answer(404 if key not in _items else 422 if item is None else 200, _items.get(key, {}))

    def do_DELETE(self) -> None:
        self._answer(200 if _items.pop(self.path.rpartition("/")[2], None) else 404, {})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), _Handler).serve_forever()
